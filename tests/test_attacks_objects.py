"""Objects of allowed classes whose state is the attack: what a pickle sets on them, how often, how deep; each is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from snnenergy.errors import UnsafeModelError
from snnenergy.load import inspect, load_model
from tests.attacks import with_pickle


def refused(body: bytes, tmp_path: Path, words: str) -> None:
    """Loading refuses, and inspecting says the same."""
    (tmp_path / "model.pt").write_bytes(with_pickle(b"\x80\x02" + body + b".", **{"data/0": bytes(24)}))
    with pytest.raises(UnsafeModelError, match=words) as caught:
        load_model(tmp_path / "model.pt")
    seen = inspect(tmp_path / "model.pt")
    assert seen.problems == (str(caught.value),)
    assert len(f"{seen.parameters}") < 2000  # Python writes no longer numbers


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def built(cls: str, *pairs: bytes) -> bytes:
    """A pickle's object of a class, its state a dict of these keys and values."""
    return f"c{cls}\n".encode() + b")\x81}(" + b"".join(pairs) + b"ub"


SEQUENTIAL = "torch.nn.modules.container\nSequential"
LIF = "spikingjelly.activation_based.neuron.lif\nLIFNode"
ORDERED = b"ccollections\nOrderedDict\n)R"
BACKEND = text("_backend") + text("cupy")


HOOKS = b"".join(text(f"_{kind}_hooks") + ORDERED for kind in ("forward", "forward_pre", "backward"))
TABLES = text("_parameters") + b"}" + text("_buffers") + b"}" + text("training") + b"\x88" + HOOKS


def whole(children: bytes, *more: bytes) -> bytes:
    """A Sequential with everything a module must hold, these children (a pickled dict), and more keys and values."""
    return built(SEQUENTIAL, TABLES, text("_modules"), children, *more)


def shared(levels: int) -> bytes:
    """A module that holds the next one by two paths, so that the last is reached by 2**levels."""
    out = whole(b"}") + b"q\x01"
    for i in range(2, levels):
        below = bytes([0x68, i - 1])
        other = whole(b"}" + text("0") + below + b"s")
        out += whole(b"}(" + text("0") + below + text("1") + other + b"u") + b"q" + bytes([i])
    return out


def itself() -> bytes:
    head = f"c{SEQUENTIAL}\n".encode() + b")\x81q\x01}("
    return head + TABLES + text("_modules") + b"}" + text("0") + b"h\x01s" + b"ub"


RELU = b"ctorch.nn.functional\nrelu\n"
LINEAR = b"ctorch.nn.modules.linear\nLinear\n"
NUMBERS = b"K\x06"


def tensor(key: bytes = text("0"), elements: bytes = NUMBERS, hooks: bytes = ORDERED) -> bytes:
    """Six numbers of storage 0."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + key + text("cpu") + elements + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x06\x85K\x01\x85\x89" + hooks + b"tR"


def parameter(*state: bytes) -> bytes:
    """A parameter, with attributes if a state is given."""
    name = b"_rebuild_parameter_with_state" if state else b"_rebuild_parameter"
    return b"ctorch._utils\n" + name + b"\n(" + tensor() + b"\x88" + ORDERED + b"".join(state) + b"tR"


def weights(value: bytes) -> bytes:
    return b"}" + text("w") + value + b"s"


def deep(levels: int) -> bytes:
    """A tuple in a tuple in a tuple."""
    return b"N" + b"\x85" * levels


def nested(levels: int) -> bytes:
    head = f"c{SEQUENTIAL}\n".encode() + b")\x81}(" + TABLES + text("_modules") + b"}" + text("0")
    return head * levels + b"N" + b"sub" * levels


def named(key: bytes) -> bytes:
    return whole(b"}" + key + whole(b"}") + b"s")


LONG = b"\x8b" + struct.pack("<i", 5000) + b"\x7f" * 5000
MANY = b"(" + b"".join(text(f"a{i}") + b"N" for i in range(20_000)) + b"u"

MODULES: dict[str, tuple[bytes, str]] = {
    "no state": (b"ctorch.nn.modules.linear\nLinear\n)\x81", "incomplete"),
    "a list of children": (whole(b"]"), "incomplete"),
    "numbers for children": (whole(b"}" + text("0") + b"K\x02s"), "incomplete"),
    "a number names a child": (named(b"K\x00"), "incomplete"),
    "a path names a child": (named(text("a.b")), "incomplete"),
    "nothing names a child": (named(text("")), "incomplete"),
    "a tensor where a parameter is": (whole(b"}", text("_parameters"), weights(tensor())), "incomplete"),
    "no set of buffers": (whole(b"}", text("_non_persistent_buffers_set"), b"K\x01"), "incomplete"),
    "a mode that is neither": (whole(b"}", text("training"), b"K\x02"), "incomplete"),
    **{
        f"{kind} hooks": (whole(b"}", text(f"_{kind}_hooks"), b"}K\x01" + RELU + b"s"), "hooks")
        for kind in ("forward", "forward_pre", "backward", "backward_pre", "state_dict", "load_state_dict_pre")
    },
    "a plain dict of hooks": (whole(b"}", text("_forward_hooks"), b"}"), "hooks"),
    "a tensor for hooks": (whole(b"}", text("_forward_hooks"), tensor()), "hooks"),
    "memories that are none": (
        built(LIF, TABLES, text("_modules"), b"}", text("_memories"), b"K\x01"),
        "not iterable",
    ),
    "itself": (itself(), "hold each other"),
    "one child by 2**40 paths": (shared(42), "hold each other"),
    "modules 2000 deep": (nested(2000), "nested"),
    "another forward": (whole(b"}", text("forward"), RELU), "'forward'"),
    "a class for its forward": (whole(b"}", text("forward"), LINEAR), "'forward'"),
    "no forward at all": (whole(b"}", text("forward"), b"N"), "'forward'"),
    "a number for eval": (whole(b"}", text("eval"), b"K\x01"), "'eval'"),
    "a compiled call": (whole(b"}", text("_compiled_call_impl"), RELU), "_compiled_call_impl"),
    "another class": (whole(b"}", text("__class__"), LINEAR), "__class__"),
    "a number for a name": (whole(b"}", b"K\x01K\x01"), "state"),
    "a recurrent layer that counts": (
        built(
            "torch.nn.modules.rnn\nLSTM", text("_all_weights"), b"]]K\x01aa", text("num_layers"), b"J\xff\xff\xff\x7f"
        ),
        "layers",
    ),
    "a backend in pairs": (f"c{LIF}\n".encode() + b")\x81](" + BACKEND + b"\x86eb", "state"),
    "a backend in the first of two states": (f"c{LIF}\n".encode() + b")\x81}" + BACKEND + b"sb}b", "twice"),
    "a backend among the memories": (built(LIF, text("_memories"), b"}" + BACKEND + b"s"), "backend"),
    "a mapping with its own items": (ORDERED + b"}" + text("items") + b"K\x01sb", "state"),
    "a parameter with its own data": (weights(parameter(b"}" + text("data") + b"K\x01s")), "'data'"),
    "a parameter of slots": (weights(parameter(b"}}" + text("data") + tensor() + b"s\x86")), "state"),
    "a tensor with hooks": (weights(tensor(hooks=ORDERED + b"K\x01" + RELU + b"s")), "hooks"),
    "a storage of two sizes": (b"](" + tensor() + tensor(elements=b"K\x05") + b"e", "two sizes"),
    "a storage named by a deep tuple": (weights(tensor(key=deep(50_000))), "described"),
    "a storage named by a long number": (weights(tensor(key=LONG)), "described"),
    "a storage of True elements": (weights(tensor(elements=b"\x88")), "described"),
    "a long name": (b"c" + b"a" * 501 + b"\nb\n", "more than 500 characters"),
    "one state for 300 modules": (b"}q\x01" + MANY + b"0](" + (LINEAR + b")\x81h\x01b") * 300 + b"e", "copy more than"),
    "one list for 300 sets": (
        b"]q\x01(" + b"K\x01" * 20_000 + b"e0](" + b"cbuiltins\nset\nh\x01\x85R" * 300 + b"e",
        "copy more than",
    ),
    "a tensor of a thousand axes": (
        weights(tensor().replace(b"K\x06\x85K\x01\x85", b"(" + b"J\xff\xff\xff\x7f" * 1000 + b"tK\x01\x85")),
        "described",
    ),
    "a set of a tensor": (b"cbuiltins\nset\n" + tensor() + b"\x85R", "called"),
    "a set of a text": (b"cbuiltins\nset\n" + text("abc") + b"\x85R", "called"),
    "a size of a storage": (
        b"ctorch\nSize\n(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x06tQ\x85R",
        "called",
    ),
    "objects without end": (b"](" + b"ccollections\nOrderedDict\nq\x00" + b"h\x00)R" * 300_001 + b"e", "300000 calls"),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_that_are_none(name: str, tmp_path: Path) -> None:
    if name == "memories that are none":  # only the framework itself finds out what it cannot iterate
        pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed", exc_type=ImportError)
    body, words = MODULES[name]
    refused(body, tmp_path, words)


def test_what_is_made_by_hand_here_does_load(tmp_path: Path) -> None:
    # the refusals above would also come from a check that refuses everything
    for body in (shared(3), named(text("a")), nested(50), whole(b"}", text("_parameters"), weights(parameter()))):
        (tmp_path / "model.pt").write_bytes(with_pickle(b"\x80\x02" + body + b".", **{"data/0": bytes(24)}))
        assert load_model(tmp_path / "model.pt").kind == "module"


def test_what_is_shown_of_a_tree_held_by_many_paths_is_short(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(with_pickle(b"\x80\x02" + shared(42) + b"."))
    assert len(inspect(tmp_path / "model.pt").modules) == 81
