"""Small files that ask for much: time, memory, a reader that never ends.  Each was a hole once; each is refused in a moment."""

from __future__ import annotations

import base64
import io
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnenergy.counts import Counts
from snnenergy.errors import InputError, SnnEnergyError, UnsafeModelError, UsageError
from snnenergy.gate import settings
from snnenergy.hardware import load_hardware
from snnenergy.load import load_inputs, load_model
from snnenergy.load.mapped import map_arrays
from snnenergy.report import document
from tests.attacks import DIGITS, archive, everywhere, members_of, plain_zip, pt2, torch_bytes

SECONDS = 5


@pytest.fixture
def quick() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SECONDS


def refused(data: bytes, tmp_path: Path, words: str) -> None:
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(UnsafeModelError, match=words):
        load_model(tmp_path / "model.pt")


def test_a_tensor_is_not_set_to_another_size(tmp_path: Path) -> None:
    members = members_of(torch_bytes({"w": torch.zeros(6)}))
    body = members["data.pkl"]
    end = body.rindex(b"s.")  # the tensor lies on the stack, its storage's id is memo 7
    state = b"(h\x07QK\x00J\x00\x00\x00\x40\x85K\x01\x85tb"
    refused(archive(members | {"data.pkl": body[:end] + state + body[end:]}), tmp_path, "state")


@pytest.mark.usefixtures("quick")
def test_source_that_unpacks_to_more_than_it_declares(tmp_path: Path) -> None:
    name = "archive/code/x.py"
    data = bytearray(plain_zip({name: bytes(300_000_000)}, zipfile.ZIP_DEFLATED))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 10)
    struct.pack_into("<I", data, 22, 10)
    refused(bytes(data), tmp_path, "TorchScript")


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore:Duplicate name")  # Python's own writer warns about what is made here on purpose
def test_a_twin_among_many_members(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for i in [*range(30_000), 29_999]:
            file.writestr(f"archive/{i}", b"")
    refused(out.getvalue(), tmp_path, "two members")


@pytest.mark.parametrize("read", [load_inputs, map_arrays], ids=["--input", "--data"])
def test_a_small_npz_of_36_gigabytes(read: Callable[[Path], object], tmp_path: Path) -> None:
    data = bytearray(plain_zip({f"x{i}.npy": bytes(100) for i in range(9)}, zipfile.ZIP_DEFLATED))
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        struct.pack_into("<I", data, at + 24, 2**32 - 2)
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"unpack to 36.0 GiB, .*np\.savez"):
        read(tmp_path / "x.npz")


def _symbols(number: int) -> str:
    return ",".join(f"Symbol('a{i}', positive=True, integer=True)" for i in range(number))


SIZES = {
    "digits": "Float('0.1', precision=10000000000)",
    "a maximum of many": f"Max({_symbols(60)})",
    "maxima of maxima": f"Max({','.join(f'Max({_symbols(5)})' for _ in range(9))})",
    "maxima in maxima": "Max(" * 150 + "a0" + ",a1)" * 150,
    "a product of sums": "*".join(f"(a{i}+b{i})" for i in range(60)),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_sympy_would_work_on_for_ever(name: str, tmp_path: Path) -> None:
    def change(item: dict[str, Any]) -> None:
        if "expr_str" in item:
            item["expr_str"] = SIZES[name]

    refused(pt2(lambda program: everywhere(program, change)), tmp_path, "not allowed here")


def test_a_weight_that_repeats_its_bytes(tmp_path: Path) -> None:
    import json

    table = "data/weights/model_weights_config.json"
    config = json.loads(members_of((DIGITS / "digits_ann.pt2").read_bytes())[table])
    meta = next(iter(config["config"].values()))["tensor_meta"]
    meta["sizes"], meta["strides"] = [[{"as_int": n}] * 2 for n in (2**16, 0)]
    refused(pt2(members={table: json.dumps(config).encode()}), tmp_path, "repeats")


TOML = {
    "lists in lists": "a = " + "[" * 10_000,
    "tables in tables": "a = " + "{a=" * 10_000,
    "digits": "a = " + "9" * 100_000,
    "a key of many parts": ".".join("a" * 20_000) + " = 1",
    "a long key": "a" * 500_000 + " = 1",
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", TOML)
def test_settings(name: str, tmp_path: Path) -> None:
    (tmp_path / "snnenergy.toml").write_text(TOML[name])
    with pytest.raises(UsageError) as caught:
        settings.read(tmp_path / "snnenergy.toml")
    assert len(str(caught.value)) < 1000 + len(str(tmp_path))


EMPTIES = b"[" + b"[]," * 5_000_000 + b"[]]"


@pytest.mark.usefixtures("quick")
def test_json_of_nothing_but_brackets(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_bytes(EMPTIES)
    packed = base64.b64encode(zlib.compress(EMPTIES, 1)).decode()
    (tmp_path / "page.html").write_text(f'<script id="snnenergy-record" type="a">{packed}</script>')
    for read, name in ((Counts.load, "counts.json"), (document.read, "page.html")):
        with pytest.raises(SnnEnergyError, match="lists and objects"):
            read(tmp_path / name)


def test_a_number_too_large_for_a_float_is_none(tmp_path: Path) -> None:
    layer = '{"path": "a", "role": "synaptic", "geometry": {"kernel": 1e400}}'
    (tmp_path / "counts.json").write_text(f'{{"schema_version": 1, "model": "m", "samples": 1, "layers": [{layer}]}}')
    with pytest.raises(SnnEnergyError, match="1e400 is not allowed"):
        Counts.load(tmp_path / "counts.json")


READERS: dict[str, Callable[[Path], object]] = {
    "counts": Counts.load,
    "report": document.read,
    "settings": settings.read,
    "profile": load_hardware,
    "inputs": load_inputs,
    "model": load_model,
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", READERS)
def test_links_to_what_never_ends(name: str, tmp_path: Path) -> None:
    """Git keeps links: a pull request may commit one to a device."""
    pipe, endless = tmp_path / "pipe.yaml", tmp_path / "endless.yaml"
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    for file in (pipe, endless):
        with pytest.raises(SnnEnergyError):
            READERS[name](file)


EVENTS: dict[str, dict[str, Any]] = {
    "width NaN": {"width": np.nan, "height": 4},
    "width infinite": {"width": np.inf, "height": 4},
    "width complex": {"width": 4j, "height": 4},
    "time complex": {"t": [0, 1j]},
    "time beyond floats": {"t": [-1e308, 1e308]},
    "time in too many bins": {"t": [-(2**63), 2**63 - 1]},
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", EVENTS)
def test_events(name: str, tmp_path: Path) -> None:
    arrays = {"x": [0, 1], "y": [0, 1], "t": [0, 5], "p": [0, 1]} | EVENTS[name]
    columns: dict[str, Any] = {key: np.array(value) for key, value in arrays.items()}
    np.savez(tmp_path / "events.npz", **columns)
    with pytest.raises(InputError):
        load_inputs(tmp_path / "events.npz", event_bin=1.0)
