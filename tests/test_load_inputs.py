"""Inputs: which array a model gets, in which dtype, and what an input file may not do."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from snnenergy.errors import InputError
from snnenergy.load import Slot, load, load_inputs
from tests.attacks import DIGITS, plain_zip, sings, torch_bytes


def saved(tmp_path: Path, **arrays: object) -> Path:
    path = tmp_path / "inputs.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # any array-like
    return path


def test_each_net_gets_the_array_it_was_exported_for() -> None:
    ann = load(DIGITS / "digits_ann.pt2", input=DIGITS / "digits.npz")
    snn = load(DIGITS / "digits_snn.pt2", input=DIGITS / "digits.npz")
    assert ann.inputs[0].shape == (200, 1, 8, 8)
    assert snn.inputs[0].shape == (8, 200, 1, 8, 8)
    assert (ann.time_axis, ann.samples) == (None, 200)
    assert (snn.time_axis, snn.samples) == (0, 200)  # 8 calls of every layer, axis 0 is 8 long
    assert snn.inputs[0].dtype == torch.float32
    assert snn.notes == ("input frames: uint8 read as float32",)
    assert len(snn.labels) == 200


def test_a_model_that_says_nothing_gets_x_or_the_array_named() -> None:
    plain = load(DIGITS / "digits_ann_model.pt", input=DIGITS / "digits.npz")
    assert plain.inputs[0].shape == (200, 1, 8, 8)
    named = load("examples.digits.train:make_snn", input=f"{DIGITS / 'digits.npz'}:frames")
    assert named.inputs[0].shape == (8, 200, 1, 8, 8)
    assert (named.time_axis, named.samples) == (0, 200)  # 200 labels: axis 1


def test_two_arrays_that_fit_are_asked_for_not_guessed(tmp_path: Path) -> None:
    slots = (Slot("image", (None, 3)),)
    path = saved(tmp_path, a=np.zeros((2, 3), np.float32), b=np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match=r"several arrays fit .*--input .*npz:a"):
        load_inputs(path, slots)
    assert torch.equal(load_inputs(f"{path}:b", slots).values[0], torch.zeros(2, 3))
    with pytest.raises(InputError, match="no array 'c'"):
        load_inputs(f"{path}:c", slots)


def test_several_inputs_by_name_or_in_order(tmp_path: Path) -> None:
    slots = (Slot("left", (None, 1)), Slot("right", (None, 2)))
    by_name = load_inputs(saved(tmp_path, right=np.ones((4, 2), "f4"), left=np.zeros((4, 1), "f4")), slots)
    assert [tuple(v.shape) for v in by_name.values] == [(4, 1), (4, 2)]
    in_order = load_inputs(saved(tmp_path, p=np.zeros((4, 1), "f4"), q=np.ones((4, 2), "f4")), slots)
    assert [tuple(v.shape) for v in in_order.values] == [(4, 1), (4, 2)]
    with pytest.raises(InputError, match=r"takes left .*right"):
        load_inputs(saved(tmp_path, p=np.zeros((4, 1)), q=np.zeros(1), r=np.zeros(1)), slots)


@pytest.mark.parametrize(
    ("given", "slot", "becomes"),
    [
        (np.uint8, None, torch.float32),
        (np.bool_, None, torch.float32),
        (np.int64, torch.int64, torch.int64),
        (np.float64, torch.float32, torch.float32),
        (np.float64, None, torch.float64),
        (np.float32, torch.float16, torch.float16),
        (np.dtype(">f4"), None, torch.float32),
    ],
)
def test_dtypes(given: object, slot: torch.dtype | None, becomes: torch.dtype, tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.ones((2, 2)).astype(given))  # type: ignore[call-overload]  # a dtype by name or class
    value = load_inputs(path, (Slot("x", None, slot),)).values[0]
    assert value.dtype == becomes
    assert bool((value == 1).all())


def test_an_embedding_keeps_its_integers(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(torch_bytes(nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))))
    work = load(tmp_path / "net.pt", input=saved(tmp_path, x=np.array([[1, 2]])))
    assert work.inputs[0].dtype == torch.int64


def test_complex_numbers_for_a_model_of_floats_are_not_cut(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"takes torch\.float32, the file holds torch\.complex64"):
        load_inputs(saved(tmp_path, x=np.array([1j], np.complex64)), (Slot("x", None, torch.float32),))


def test_floats_for_a_model_of_integers_are_not_rounded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"takes torch\.int64"):
        load_inputs(saved(tmp_path, x=np.array([0.5])), (Slot("x", None, torch.int64),))


def test_npy_and_pt_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6, dtype=np.float32).reshape(2, 3))
    assert torch.equal(load_inputs(tmp_path / "x.npy").values[0], torch.arange(6.0).reshape(2, 3))
    (tmp_path / "x.pt").write_bytes(torch_bytes({"x": torch.ones(2, 3), "y": torch.tensor([0, 1])}))
    both = load_inputs(tmp_path / "x.pt")
    assert torch.equal(both.values[0], torch.ones(2, 3))
    assert both.labels.tolist() == [0, 1]


def test_synthetic_inputs_are_seeded_and_labelled() -> None:
    one, same, other = (load(DIGITS / "digits_ann.pt2", input_shape=(3, 1, 8, 8), seed=s) for s in (1, 1, 2))
    assert one.synthetic
    assert one.seed == 1
    assert torch.equal(one.inputs[0], same.inputs[0])
    assert not torch.equal(one.inputs[0], other.inputs[0])
    assert one.samples == 3


def test_making_inputs_up_leaves_the_global_seed_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load(DIGITS / "digits_ann.pt2", input_shape=(1, 1, 8, 8))
    assert torch.equal(torch.rand(1), expected)


def test_without_inputs_the_files_own_or_the_line_to_try(tmp_path: Path) -> None:
    own = load(DIGITS / "digits_ann.pt2")
    assert own.inputs[0].shape == (2, 1, 8, 8)
    assert "example inputs" in own.notes[0]
    with pytest.raises(InputError, match=r"--input-shape 1,1,32,32"):
        load(DIGITS / "digits_ann_model.pt")
    with pytest.raises(InputError, match="one of them"):
        load(DIGITS / "digits_ann.pt2", input="x.npy", input_shape=(1,))


@pytest.mark.parametrize("shape", [(), (0, 3), (-1,), (2**20, 2**20)])
def test_shapes_nobody_means(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="--input-shape"):
        load(DIGITS / "digits_ann.pt2", input_shape=shape)


def _npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def _object_array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return out.getvalue()


BAD = {
    "an object array": _object_array(),
    "a header that lies": _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", bytes(8)),
    "a header that runs code": _npy("__import__('os').system('touch canary')"),
    "a nested header": _npy("(" * 5000),
    "a record dtype": _npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    "a cut header": b"\x93NUMPY\x01\x00\xff",
    "text": b"1,2,3\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("wrapped", [False, True], ids=["npy", "npz"])
def test_arrays_that_are_none(name: str, wrapped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(plain_zip({"x.npy": BAD[name]}) if wrapped else BAD[name])
    with pytest.raises(InputError) as caught:
        load_inputs(path)
    assert caught.value.exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_a_pickle_among_the_inputs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "x.pt").write_bytes(torch_bytes({"x": torch.zeros(1), "more": sings(canary)}))
    with pytest.raises(InputError, match="can run code"):
        load_inputs(tmp_path / "x.pt")
    assert not canary.exists()


def test_an_npz_that_declares_more_than_is_read(tmp_path: Path) -> None:
    data = bytearray(plain_zip({"x.npy": _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(8))}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "x.npz").write_bytes(bytes(data))
    with pytest.raises(InputError):
        load_inputs(tmp_path / "x.npz")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            load_inputs(path)
