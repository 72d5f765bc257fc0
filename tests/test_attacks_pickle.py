"""Pickles that run code, lie about sizes, or name what is not on the list: nothing runs, exit 3, in bounded memory."""

from __future__ import annotations

import pickle
import resource
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from snnenergy.errors import UnsafeModelError
from snnenergy.load import inspect, load_model
from tests.attacks import (
    Calls,
    archive,
    evaluates,
    members_of,
    plain_zip,
    reaches,
    sings,
    torch_bytes,
    with_pickle,
)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def refused(data: bytes, tmp_path: Path, canary: Path, *words: str) -> str:
    """Loading refuses with exit 3, inspecting tells why, nothing was executed or written; returns the message."""
    before = sorted(p.name for p in tmp_path.iterdir())
    file = tmp_path / "model.pt"
    file.write_bytes(data)
    with pytest.raises(UnsafeModelError) as caught:
        load_model(file)
    seen = inspect(file)
    assert caught.value.exit_code == 3
    assert not seen.loadable
    assert seen.command is None
    assert not canary.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({*before, "model.pt"})
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


EVIL = {"os.system": sings, "eval": evaluates, "getattr chain": reaches}


@pytest.mark.parametrize("name", EVIL)
def test_the_canary_is_alive(name: str, canary: Path) -> None:
    # a canary that no loader could make would prove nothing
    pickle.loads(pickle.dumps(EVIL[name](canary)))
    assert canary.exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", EVIL)
def test_code_in_a_saved_object(name: str, legacy: bool, tmp_path: Path, canary: Path) -> None:
    data = torch_bytes({"weight": torch.zeros(2), "extra": EVIL[name](canary)}, legacy=legacy)
    refused(data, tmp_path, canary, "can run code")


@pytest.mark.parametrize("name", EVIL)
def test_code_inside_a_module_of_allowed_classes(name: str, tmp_path: Path, canary: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    vars(net[0])["note"] = EVIL[name](canary)
    refused(torch_bytes(net), tmp_path, canary, "can run code")


def test_a_bare_pickle(tmp_path: Path, canary: Path) -> None:
    refused(pickle.dumps(sings(canary)), tmp_path, canary, "bare pickle")
    assert [(g.name, g.verdict) for g in inspect(tmp_path / "model.pt").globals] == [("posix.system", "dangerous")]


def test_a_pickle_inside_a_pickle(tmp_path: Path, canary: Path) -> None:
    inner = torch_bytes(sings(canary))
    data = torch_bytes({"w": Calls(torch.storage._load_from_bytes, inner)})
    message = refused(data, tmp_path, canary)
    assert "torch.storage._load_from_bytes" in message


def test_an_allowed_class_may_not_be_called(tmp_path: Path, canary: Path) -> None:
    # its constructor would reserve 4 * 10**12 bytes
    body = b"\x80\x02ctorch.nn.modules.linear\nLinear\nJ@B\x0f\x00J@B\x0f\x00\x86R."
    refused(with_pickle(body), tmp_path, canary, "torch.nn.modules.linear.Linear")


@pytest.mark.parametrize("callee", ["bytearray", "list", "map", "compile", "open", "type"])
def test_other_builtins_may_not_be_called(callee: str, tmp_path: Path, canary: Path) -> None:
    refused(
        with_pickle(f"\x80\x02cbuiltins\n{callee}\n".encode("latin1") + b"J\xff\xff\xff\x7f\x85R."), tmp_path, canary
    )


def test_what_a_call_returns_may_not_be_called(tmp_path: Path, canary: Path) -> None:
    refused(with_pickle(b"\x80\x02ccollections\nOrderedDict\n)R)R."), tmp_path, canary)


def test_a_name_computed_on_the_stack(tmp_path: Path, canary: Path) -> None:
    refused(with_pickle(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R."), tmp_path, canary, "posix.system")
    refused(with_pickle(b"\x80\x04K\x01\x8c\x06system\x93."), tmp_path, canary, "damaged")


def test_a_neuron_that_compiles_source(tmp_path: Path, canary: Path) -> None:
    # spikingjelly's other backends build kernels from strings among the neuron's attributes
    neuron = (
        b"cspikingjelly.activation_based.neuron.lif\nLIFNode\n)\x81}X\x08\x00\x00\x00_backendX\x04\x00\x00\x00cupysb"
    )
    refused(with_pickle(b"\x80\x02" + neuron + b"."), tmp_path, canary, "backend")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)


def test_a_class_of_the_author(tmp_path: Path, canary: Path) -> None:
    message = refused(torch_bytes(Net()), tmp_path, canary, "--factory", "--allow-class")
    assert "Net" in message


def _lying(data: bytes, elements: int) -> bytes:
    """The same file, its 6-element storage declared to hold `elements`."""
    return data.replace(b"K\x06tq", b"J" + struct.pack("<i", elements) + b"tq", 1)


def test_storages_that_lie_about_their_size(tmp_path: Path, canary: Path) -> None:
    members = members_of(torch_bytes({"w": torch.zeros(6)}))
    lying = _lying(members["data.pkl"], 2**30)
    assert lying != members["data.pkl"]
    refused(archive(members | {"data.pkl": lying}), tmp_path, canary, "declares 4294967296 bytes")


def test_a_storage_that_is_not_there(tmp_path: Path, canary: Path) -> None:
    members = members_of(torch_bytes({"w": torch.zeros(6)}))
    del members["data/0"]
    refused(archive(members), tmp_path, canary, "holds 0")


def test_a_tensor_larger_than_its_storage(tmp_path: Path, canary: Path) -> None:
    # (2**24, 2**24) with strides (0, 0) over one number
    refused(torch_bytes({"w": torch.zeros(1).expand(2**24, 2**24)}), tmp_path, canary, "repeats")
    members = members_of(torch_bytes({"w": torch.zeros(6)}))
    out_of_bounds = members["data.pkl"].replace(b"K\x00K\x06\x85", b"K\x00M\xff\xff\x85", 1)
    assert out_of_bounds != members["data.pkl"]
    refused(archive(members | {"data.pkl": out_of_bounds}), tmp_path, canary, "outside its storage")


BOMBS: dict[str, Callable[[], bytes]] = {
    "memo index": lambda: with_pickle(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "declared bytes": lambda: with_pickle(b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"."),
    "declared string": lambda: with_pickle(b"\x80\x02X\xff\xff\xff\x7fa."),
    "nested tuples": lambda: with_pickle(b"\x80\x02N" + b"\x85" * 300_000 + b"."),
    "nested dicts": lambda: with_pickle(b"\x80\x02" + b"}K\x01" * 100_000 + b"N" + b"s" * 100_000 + b"."),
    "marks": lambda: with_pickle(b"\x80\x02" + b"(" * 300_000 + b"."),
    "digits": lambda: with_pickle(b"I" + b"9" * 200_000 + b"\n."),
    "empty": lambda: with_pickle(b""),
    "no stop": lambda: with_pickle(b"\x80\x02N"),
    "empty stack": lambda: with_pickle(b"\x80\x02."),
    "extension": lambda: with_pickle(b"\x80\x02\x82\x01."),
    "out of band buffer": lambda: with_pickle(b"\x80\x05\x97."),
}


@pytest.mark.parametrize("name", BOMBS)
def test_pickles_that_would_eat_memory_or_time(name: str, tmp_path: Path, canary: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(BOMBS[name](), tmp_path, canary)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def test_names_with_terminal_escapes_are_shown_escaped(tmp_path: Path, canary: Path) -> None:
    message = refused(with_pickle(b"\x80\x02cevil\x1b[2J\n<script>\x07\n."), tmp_path, canary)
    assert "\x1b" not in message
    assert "\x07" not in message
    refused(plain_zip({"a\x1b[31m/data.pkl": b"N."}), tmp_path, canary)


def test_a_legacy_file_that_lies(tmp_path: Path, canary: Path) -> None:
    data = torch_bytes({"w": torch.zeros(6)}, legacy=True)
    lying = data.replace(b"K\x06Ntq", b"J\x00\x00\x00\x7fNtq", 1)
    assert lying != data
    refused(lying, tmp_path, canary, "declare")


@pytest.mark.parametrize("place", [b"}q\x00", b"]q\x00"], ids=["system information", "keys of storages"])
def test_what_lies_in_the_other_pickles_of_a_legacy_file(place: bytes, tmp_path: Path, canary: Path) -> None:
    # torch reads five pickles in a row; a recurrent layer in any of them counts to its number of layers
    data = torch_bytes({"w": torch.zeros(6)}, legacy=True)
    layers = b"X\x0c\x00\x00\x00_all_weights]]K\x01aaX\x0a\x00\x00\x00num_layersJ\xff\xff\xff\x7f"
    counts = b"ctorch.nn.modules.rnn\nLSTM\n)\x81}(" + layers + b"ub0"
    at = data.rindex(place) if place.startswith(b"]") else data.index(place)
    refused(data[:at] + counts + data[at:], tmp_path, canary, "layers")


def test_a_legacy_storage_of_two_sizes(tmp_path: Path, canary: Path) -> None:
    one = torch_bytes({"w": torch.zeros(6)}, legacy=True)
    storage = one[one.index(b"(X\x07\x00\x00\x00storage") : one.index(b"K\x06Ntq")]
    larger = storage + b"J\x00\x00\x00\x7fNtQ0"
    at = one.index(b"(X\x07\x00\x00\x00storage")
    refused(one[:at] + larger + one[at:], tmp_path, canary, "two sizes")


def test_good_files_load(tmp_path: Path) -> None:
    # the refusals above would also come from a loader that refuses everything
    parts = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LSTM(4, 4), nn.MultiheadAttention(4, 2), nn.Embedding(3, 4)]
    net = nn.Sequential(OrderedDict((f"part{i}", part) for i, part in enumerate(parts)))
    file = tmp_path / "net.bin"
    file.write_bytes(torch_bytes(net))
    loaded = load_model(file)
    assert (loaded.kind, loaded.module.training) == ("module", False)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), loaded.module.parameters(), strict=True))
    assert inspect(file).parameters == sum(t.numel() for t in net.state_dict().values())


def test_a_whole_module_before_torch_1_6(tmp_path: Path, canary: Path) -> None:
    refused(torch_bytes(nn.Linear(2, 2), legacy=True), tmp_path, canary, "before torch 1.6")
