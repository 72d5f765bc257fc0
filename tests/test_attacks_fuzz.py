"""Valid files, mutated at random: every loader answers with a result or with one of our own errors, never another one.

A few hundred here; the long run is `SNNENERGY_FUZZ=20000 pytest tests/test_attacks_fuzz.py`, spread over all loaders.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snnenergy import compare, counts
from snnenergy.errors import SnnEnergyError, UnsafeModelError, UsageError
from snnenergy.gate import settings
from snnenergy.hardware import load_hardware
from snnenergy.load import inspect, load_inputs, load_model, nir_file, nir_graph
from snnenergy.load.mapped import map_arrays
from snnenergy.report import document
from tests.attacks import DIGITS, archive, members_of, plain_zip, torch_bytes
from tests.conftest import ROOT, Cli

RUNS = int(os.environ.get("SNNENERGY_FUZZ", "320"))
SEED = int(os.environ.get("SNNENERGY_FUZZ_SEED", "0"))
TOKENS = [
    b"\x80\x02",
    b"cposix\nsystem\n",
    b"R",
    b"\x81",
    b"b",
    b"(",
    b".",
    b"..",
    b"\x00",
    b"\xff\xff\xff\x7f",
    b"1e400",
    b"null",
    b"[",
    b"{",
    b"-1",
    b"9" * 40,
    b"__import__('os')",
    b"'",
    b'"',
    b"\\",
    b"\x1b[2J",
    b"torch.ops.aten.save.default",
    b"NaN",
]


def flip(data: bytes, chance: random.Random) -> bytes:
    """One to eight random edits: a byte, a token, a cut, a swap, a repetition."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(6)
        if kind == 0 and out:
            out[at % len(out)] = chance.randrange(256)
        elif kind == 1:
            out[at:at] = chance.choice(TOKENS)
        elif kind == 2:
            token = chance.choice(TOKENS)
            out[at : at + len(token)] = token
        elif kind == 3:
            del out[at : at + chance.randint(1, 64)]
        elif kind == 4:
            out[at:at] = out[at : at + chance.randint(1, 64)]
        else:
            out = out[: max(1, at)] if chance.random() < 0.2 else out
    return bytes(out)


def flip_member(data: bytes, chance: random.Random) -> bytes:
    """The edits inside one member, so that they get past the checksums of the archive around it."""
    members = members_of(data)
    name = chance.choice(sorted(members))
    changed = (
        flip_json(members[name], chance)
        if name.endswith(".json") and chance.random() < 0.7
        else flip(members[name], chance)
    )
    return archive(members | {name: changed})


def flip_npz(data: bytes, chance: random.Random) -> bytes:
    """One array of an .npz with other values, of another kind or shape."""
    with np.load(io.BytesIO(data)) as held:
        arrays = {name: held[name] for name in held.files}
    name = chance.choice(sorted(arrays))
    kinds = ["u1", "u8", "i1", "i8", "f2", "f8", "c8", "?"]
    shape = chance.choice([arrays[name].shape, arrays[name].shape, (), (0,), (2, 2)])
    values = np.array([chance.choice([0, 1, 2, 127, -1, 2**62]) for _ in range(max(1, int(np.prod(shape))))])
    with np.errstate(all="ignore"):
        arrays[name] = values[: int(np.prod(shape))].reshape(shape).astype(chance.choice(kinds))
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def flip_json(data: bytes, chance: random.Random) -> bytes:
    """One value somewhere in a JSON document replaced by another kind of value."""
    document = json.loads(data)
    spots: list[tuple[Any, Any]] = []
    todo = [document]
    while todo:
        item = todo.pop()
        pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, value in list(pairs):
            spots.append((item, key))
            todo.append(value)
    holder, key = chance.choice(spots)
    holder[key] = chance.choice(
        [None, -1, 2**70, 1e308, "", "x'y", "a.b", [], {}, [[]], True, holder[key], "Symbol('s0')"]
    )
    return json.dumps(document).encode()


def _counts_json(tmp_path: Path) -> bytes:
    layer = counts.LayerCounts(
        path="fc", role="synaptic", dense_macs=6, streams=(counts.Stream(elements=3, nonzero=1),)
    )
    fields = {f.name for f in dataclasses.fields(counts.Counts)}
    assert "layers" in fields
    made = counts.Counts.build(model="m", samples=1, layers=[layer])
    made.save(tmp_path / "valid.json")
    return (tmp_path / "valid.json").read_bytes()


def _npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.zeros((2, 3), np.float32), y=np.arange(2))
    return out.getvalue()


def _npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros((2, 3), np.float32))
    return out.getvalue()


def _safetensors(tmp_path: Path) -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"I64","shape":[1],"data_offsets":[16,24]}}'
    return len(header).to_bytes(8, "little") + header + bytes(24)


def _events() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.array([0, 1]), y=np.array([1, 0]), t=np.array([0.0, 5.0]), p=np.array([0, 1]), width=2, height=2)
    return out.getvalue()


def _profile() -> bytes:
    """A shipped profile under the name of the file it lies in."""
    return (ROOT / "hardware_profiles" / "loihi.yaml").read_bytes().replace(b"name: loihi\n", b"name: file\n", 1)


def _report(tmp_path: Path) -> bytes:
    _counts_json(tmp_path)
    compared = compare({"m": counts.Counts.load(tmp_path / "valid.json")}, hardware=["loihi"])
    return document.to_json(compared).encode()


def _page(content: bytes) -> bytes:
    packed = base64.b64encode(zlib.compress(content)).decode()
    return f'<html><script id="{document.ELEMENT}" type="application/json">{packed}</script></html>'.encode()


def _nir(tmp_path: Path) -> bytes:
    """An affine layer and two neurons, in the HDF5 layout of `nir.write`."""
    nir = pytest.importorskip("nir")
    ones = np.ones(2, np.float32)
    nodes = {
        "input": nir.Input(np.array([3])),
        "fc": nir.Affine(np.ones((2, 3), np.float32), ones),
        "lif": nir.LIF(tau=ones, r=ones, v_leak=ones, v_threshold=ones),
        "output": nir.Output(np.array([2])),
    }
    nir.write(tmp_path / "valid.nir", nir.NIRGraph(nodes, [("input", "fc"), ("fc", "lif"), ("lif", "output")]))
    return (tmp_path / "valid.nir").read_bytes()


def _hdf5(data: bytes, chance: random.Random) -> bytes:
    """One dataset replaced or removed: the library reads such a file, so the graph's own checks are met."""
    h5py = pytest.importorskip("h5py")
    held = io.BytesIO(data)
    with h5py.File(held, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = chance.choice(sorted(names))
        del file[name]
        made = chance.choice(
            [None, -1, 2**40, np.nan, "x\x1b[2J", "NIRGraph", "LIF", np.zeros((0, 2)), np.ones((3, 3, 3)), [b"a", b"b"]]
        )
        if made is not None:
            file[name] = made
    return held.getvalue()


def _graph(path: Path) -> None:
    """As the child process reads it, but here: these files are whole."""
    graph = nir_file.parse(path.read_bytes(), str(path))
    nir_graph.input_shape(graph, str(path))
    nir_graph.build(graph, str(path))


def flip_attribute(data: bytes, chance: random.Random) -> bytes:
    """A whole module, one attribute of one of its modules set to another value, removed, or added."""
    net = torch.load(io.BytesIO(data), weights_only=False)
    held = vars(chance.choice(list(net.modules())))
    name = chance.choice([*held, "forward", "extra", "_memories", "step_mode"])
    values: list[Any] = [
        None,
        -1,
        2**40,
        0.5,
        "x\x1b[2J",
        [],
        {},
        (2, 2),
        torch.ones(2),
        nn.Linear(2, 2),
        nn.functional.relu,
    ]
    if name in held and chance.random() < 0.2:
        del held[name]
    elif name in held and isinstance(held[name], dict) and chance.random() < 0.7:
        held[name][chance.choice(["weight", "a.b", 1, ""])] = chance.choice(values)
    else:
        held[name] = chance.choice(values)
    return torch_bytes(net)


def _model(path: Path) -> None:
    """What `inspect` says of a file is what `load_model`, and so `profile`, does with it."""
    loadable = inspect(path).loadable
    try:
        load_model(path)
    except UnsafeModelError:
        assert not loadable, "inspect calls loadable what is refused"
        raise
    except UsageError:  # weights, which want a factory
        pass
    assert loadable, "inspect calls refused what loads"


Loader = Callable[[Path], object]
Seed = Callable[[Path], bytes]
LOADERS: dict[str, tuple[Seed, Callable[[bytes, random.Random], bytes], Loader]] = {
    "pt2 bytes": (lambda _: (DIGITS / "digits_ann.pt2").read_bytes(), flip, _model),
    "pt2 members": (lambda _: (DIGITS / "digits_ann.pt2").read_bytes(), flip_member, _model),
    "module bytes": (lambda _: (DIGITS / "digits_ann_model.pt").read_bytes(), flip, _model),
    "module members": (lambda _: (DIGITS / "digits_ann_model.pt").read_bytes(), flip_member, _model),
    "module attributes": (lambda _: (DIGITS / "digits_ann_model.pt").read_bytes(), flip_attribute, _model),
    "legacy": (lambda _: torch_bytes(nn.Linear(2, 3).state_dict(), legacy=True), flip, _model),
    "safetensors": (_safetensors, flip, _model),
    "npz": (lambda _: _npz(), flip, load_inputs),
    "npz mapped": (lambda _: plain_zip({"x.npy": _npy()}, zipfile.ZIP_DEFLATED), flip, map_arrays),
    "npy inside npz": (lambda _: _npy(), lambda d, c: plain_zip({"x.npy": flip(d, c)}), load_inputs),
    "npy": (lambda _: _npy(), flip, load_inputs),
    "input pt": (lambda _: torch_bytes({"x": torch.zeros(2, 3)}), flip_member, load_inputs),
    "events": (lambda _: _events(), flip_npz, lambda path: load_inputs(path, event_bin=1.0)),
    "nir bytes": (_nir, flip, load_model),
    "nir values": (_nir, _hdf5, _graph),
    "profile": (lambda _: _profile(), flip, load_hardware),
    "settings": (lambda _: (ROOT / "snnenergy.toml").read_bytes(), flip, settings.read),
    "report": (_report, lambda d, c: flip_json(d, c) if c.random() < 0.7 else flip(d, c), document.read),
    "page": (lambda t: _page(_report(t)), flip, document.read),
    "record in a page": (
        _report,
        lambda d, c: _page(flip_json(d, c)),
        lambda path: path.read_bytes() and document.read(path),
    ),
    "counts": (_counts_json, lambda d, c: flip_json(d, c) if c.random() < 0.5 else flip(d, c), counts.Counts.load),
}


@pytest.mark.parametrize("name", LOADERS)
def test_no_loader_crashes(name: str, tmp_path: Path) -> None:
    seed, mutate, loader = LOADERS[name]
    valid = seed(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(valid)
    loader(path)
    for i in range(max(1, RUNS // len(LOADERS))):
        chance = random.Random(f"{SEED}/{name}/{i}")
        path.write_bytes(mutate(valid, chance))
        escapes = False
        try:
            loader(path)
        except SnnEnergyError as error:
            escapes = "\x1b" in str(error)
        except Exception as error:
            raise AssertionError(
                f"{name} #{i} with SNNENERGY_FUZZ_SEED={SEED}: {type(error).__name__}: {error}"
            ) from error
        assert not escapes, f"{name} #{i} with SNNENERGY_FUZZ_SEED={SEED}: a raw escape in the message"


@pytest.mark.parametrize("mutate", [flip_attribute, flip_member, flip])
def test_inspect_and_profile_agree(mutate: Callable[[bytes, random.Random], bytes], tmp_path: Path, cli: Cli) -> None:
    """`inspect` exits with 3 where `profile` does, and nowhere else."""
    path = tmp_path / "net.pt"
    for i in range(max(10, RUNS // 50)):
        path.write_bytes(mutate((DIGITS / "digits_ann_model.pt").read_bytes(), random.Random(f"{SEED}/agree/{i}")))
        looked = cli("inspect", str(path)).code
        ran = cli("profile", str(path), "--input-shape", "1,1,8,8", "--hardware", "loihi").code
        assert looked in (0, 3)
        assert ran in (0, 2, 3, 4)
        assert (looked == 3) is (ran == 3), f"#{i} with SNNENERGY_FUZZ_SEED={SEED}: inspect {looked}, profile {ran}"
