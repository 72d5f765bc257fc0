"""Weights of every dtype and kind: what is read is read exactly, and what is not is refused in words of its own."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from snnenergy.errors import UnsafeModelError, UsageError
from snnenergy.load import inspect, load_model, safetensors
from tests.attacks import torch_bytes

WEIGHT = torch.tensor([[1.0, 0.0, 2.0], [0.5, 4.0, 8.0]])
FACTORY = "def net():\n    import torch\n    return torch.nn.Linear(3, 2, bias=False)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weight_nets.py").write_text(FACTORY)
    return tmp_path


DTYPES = (
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 float8_e8m0fnu complex64 int64 int32 int16 int8 "
    "uint64 uint32 uint16 uint8 bool"
)


def test_every_dtype_of_safetensors_that_torch_has_is_read() -> None:
    witness = pytest.importorskip("safetensors.torch")
    many = {name: WEIGHT.to(getattr(torch, name)) for name in DTYPES.split()} | {"empty": torch.zeros(0, 3)}
    read = safetensors.load(witness.save(many), "many")
    for name, held in many.items():
        assert (read[name].dtype, read[name].shape) == (held.dtype, held.shape)
        assert torch.equal(read[name].view(torch.uint8), held.view(torch.uint8))


@pytest.mark.parametrize(("dtype", "held"), [(torch.float32, 24), (torch.float8_e4m3fn, 6)])
def test_safetensors_with_a_factory(dtype: torch.dtype, held: int, project: Path) -> None:
    witness = pytest.importorskip("safetensors.torch")
    witness.save_file({"weight": WEIGHT.to(dtype)}, "w.safetensors")
    model = load_model("w.safetensors", factory="weight_nets:net")
    assert model.kind == "safetensors"
    assert torch.equal(model.module.get_parameter("weight"), WEIGHT)
    seen = inspect("w.safetensors")
    assert (seen.kind, seen.parameters, seen.declared_bytes) == ("safetensors", 6, held)
    assert seen.command == "snnenergy profile w.safetensors --factory pkg.mod:fn --input-shape 1,3"


def test_a_dtype_that_is_not_read_is_no_damage(project: Path) -> None:
    header = json.dumps({"weight": {"dtype": "F4", "shape": [2, 4], "data_offsets": [0, 4]}}).encode()
    (project / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(UnsafeModelError, match=r"^w\.safetensors: tensor 'weight': dtype 'F4' is not read; save it as"):
        load_model("w.safetensors", factory="weight_nets:net")


def quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will drop such tensors; files of them remain
        return torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8)


UNREAD: dict[str, tuple[Callable[[], Tensor], str]] = {
    "sparse": (WEIGHT.to_sparse, r"sparse: save `tensor\.to_dense\(\)`"),
    "compressed": (WEIGHT.to_sparse_csr, r"sparse: save `tensor\.to_dense\(\)`"),
    "quantised": (quantised, r"quantised: save `tensor\.dequantize\(\)`"),
    "meta": (lambda: torch.empty(2, 3, device="meta"), "on the meta device and has no values"),
    "float8": (lambda: WEIGHT.to(torch.float8_e4m3fn), r"of a dtype that is not read.*torch\.float8_e4m3fn"),
    "uint16": (lambda: WEIGHT.to(torch.uint16), r"of a dtype that is not read.*torch\.uint16"),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.parametrize("kind", UNREAD)
def test_a_harmless_tensor_that_is_not_read_is_no_attack(kind: str, project: Path) -> None:
    make, words = UNREAD[kind]
    (project / "w.pt").write_bytes(torch_bytes({"weight": make()}))
    with pytest.raises(UnsafeModelError, match=rf"refused: a tensor in it is {words}"):
        load_model("w.pt", factory="weight_nets:net")
    seen = inspect("w.pt")
    assert not seen.loadable
    assert {row.verdict for row in seen.globals} == {"allowed", "unknown"}


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return eval, ("1",)


def test_a_harmless_tensor_hides_no_attack(project: Path) -> None:
    (project / "w.pt").write_bytes(torch_bytes({"weight": WEIGHT.to_sparse(), "more": Evil()}))
    with pytest.raises(UnsafeModelError, match=r"would import '__builtin__\.eval', which can run code"):
        load_model("w.pt", factory="weight_nets:net")


def test_imaginary_parts_are_not_dropped(project: Path) -> None:
    (project / "w.pt").write_bytes(torch_bytes({"weight": WEIGHT.to(torch.complex64)}))
    with pytest.raises(UsageError, match="'weight' is complex and the module's is real"):
        load_model("w.pt", factory="weight_nets:net")
