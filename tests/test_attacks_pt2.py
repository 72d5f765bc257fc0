"""Crafted .pt2 files: every place where torch 2.13 would run what the file holds, and the archive around it."""

from __future__ import annotations

import io
import json
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from snnenergy.errors import InputError, UnsafeModelError
from snnenergy.load import inspect, load, load_inputs, load_model
from tests.attacks import DIGITS, archive, everywhere, members_of, pt2, sings, torch_bytes

Json = dict[str, Any]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def refused(data: bytes, tmp_path: Path, canary: Path, *words: str) -> None:
    file = tmp_path / "model.pt2"
    file.write_bytes(data)
    with pytest.raises(UnsafeModelError) as caught:
        load_model(file)
    seen = inspect(file)
    assert not seen.loadable
    assert not canary.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt2"]
    for word in words:
        assert word in str(caught.value)
    assert "\x1b" not in str(caught.value)


def _size(code: str) -> Callable[[Json], None]:
    def change(item: Json) -> None:
        if "expr_str" in item:
            item["expr_str"] = code

    return lambda document: everywhere(document, change)


def _guard(code: str) -> Callable[[Json], None]:
    return lambda document: document.update(guards_code=[f"{code} or True"])


def _argument(code: str) -> Callable[[Json], None]:
    """The forward's argument renamed to `input=CODE`, a default evaluated when the function is made."""

    def edit(document: Json) -> None:
        new = f"input={code}"

        def change(item: Json) -> None:
            if item.get("name") == "input" and set(item) == {"name"}:
                item["name"] = new
            if "input" in item and isinstance(item["input"], dict) and "dtype" in item["input"]:
                item[new] = item.pop("input")

        everywhere(document, change)

    return edit


SOURCE = {"symbolic size": _size, "guard": _guard, "argument name": _argument}


@pytest.mark.parametrize("name", SOURCE)
def test_strings_that_torch_runs(name: str, tmp_path: Path, canary: Path) -> None:
    data = pt2(SOURCE[name](f"__import__('os').system('touch {canary}')"))
    refused(data, tmp_path, canary, "is not allowed here" if name != "argument name" else "")


@pytest.mark.parametrize("name", SOURCE)
def test_torch_itself_does_run_them(name: str, canary: Path) -> None:
    # the day this fails, torch has closed the hole and the words in docs/file-safety.md are out of date
    data = pt2(SOURCE[name](f"__import__('os').system('touch {canary}')"))
    logging.getLogger("torch.export").disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.load(io.BytesIO(data)).module()(torch.zeros(2, 1, 8, 8))
    except Exception:  # noqa: BLE001  # it fails after the fact
        pass
    finally:
        logging.getLogger("torch.export").disabled = False
    assert canary.exists()


def test_sample_inputs_that_run_code(tmp_path: Path, canary: Path) -> None:
    evil = torch_bytes(((sings(canary),), {}))
    refused(pt2(members={"data/sample_inputs/model.pt": evil}), tmp_path, canary)


def test_sample_inputs_in_a_zip_of_another_kind(tmp_path: Path, canary: Path) -> None:
    program = (DIGITS / "digits_ann.pt2").read_bytes()
    refused(pt2(members={"data/sample_inputs/model.pt": program}), tmp_path, canary, "found a zip of kind pt2")
    with pytest.raises(InputError, match="found a zip of kind pt2"):
        load_inputs(DIGITS / "digits_ann.pt2")


def _itself() -> tuple[Any, ...]:
    held: list[Any] = []
    held.append(held)
    return (held,)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((torch.nn.Linear(2, 2),), "found Linear"),
        (_itself(), "nested deeper"),
        ((set(),), "found set"),
        ((torch.relu,), ""),
    ],
    ids=["a module", "a list that holds itself", "a set", "a function"],
)
def test_sample_inputs_that_are_no_values(args: tuple[Any, ...], words: str, tmp_path: Path, canary: Path) -> None:
    refused(pt2(members={"data/sample_inputs/model.pt": torch_bytes((args, {}))}), tmp_path, canary, words)


def test_torch_itself_runs_sample_inputs(canary: Path) -> None:
    logging.getLogger("torch.export").disabled = True
    logger = logging.getLogger("torch._export.serde.serialize")
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.load(
                io.BytesIO(pt2(members={"data/sample_inputs/model.pt": torch_bytes(((sings(canary),), {}))}))
            )
    except Exception:  # noqa: BLE001  # it fails after the fact
        pass
    finally:
        logging.getLogger("torch.export").disabled = logger.disabled = False
    assert canary.exists()


@pytest.mark.parametrize("folder", ["weights", "constants"])
def test_pickled_tensors(folder: str, tmp_path: Path, canary: Path) -> None:
    table = f"data/{folder}/model_{folder}_config.json"
    config = json.loads(members_of((DIGITS / "digits_ann.pt2").read_bytes())[table])
    name = "weight_9" if folder == "weights" else "tensor_9"
    config["config"]["extra"] = {"path_name": name, "is_param": False, "use_pickle": True, "tensor_meta": None}
    members = {table: json.dumps(config).encode(), f"data/{folder}/{name}": torch_bytes(sings(canary))}
    refused(pt2(members=members), tmp_path, canary, "pickled")


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("data/constants/custom_obj_0", "custom object"),
        ("data/constants/opaque_obj_0", "custom object"),
        ("data/aotinductor/model/model.so", "compiled code"),
        ("data/aotinductor/model/model.cpp", "compiled code"),
        ("data/weights/model.pt", "pickled format"),
        ("models/second.json", "second program"),
        ("data/xl_model_weights/model", "not one torch.export.save writes"),
    ],
)
def test_members_that_run_or_unpickle(member: str, words: str, tmp_path: Path, canary: Path) -> None:
    refused(pt2(members={member: pickle.dumps(sings(canary))}), tmp_path, canary, words)


def _target(target: str) -> Callable[[Json], None]:
    def edit(document: Json) -> None:
        node = document["graph_module"]["graph"]["nodes"][1]
        node["target"] = target

    return edit


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.os.system",
        "torch.ops.aten.save.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.warn.default",
        "torch.ops.aten._nested_view_from_buffer.default",
        "torch.ops.aten._sparse_coo_tensor_unsafe.default",
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten.__class__.mro",
        "torch.ops.profiler._record_function_enter.default",
        "torch.ops.load_library",
        "_operator.methodcaller",
        "math.__loader__",
        "#evil:os",
        "os.system",
        "",
    ],
)
def test_ops_that_are_no_arithmetic(target: str, tmp_path: Path, canary: Path) -> None:
    refused(pt2(_target(target)), tmp_path, canary, "target")


def test_the_format_of_torch_2_7(tmp_path: Path, canary: Path) -> None:
    refused(archive({"serialized_exported_program.json": b"{}", "version": b"8.2"}), tmp_path, canary, "2.7")


def _first_name(document: Json, name: str) -> None:
    document["graph_module"]["graph"]["nodes"][0]["name"] = name


EDITS: dict[str, Callable[[Json], None]] = {
    "an unknown field": lambda d: d.update(surprise=1),
    "a custom object": lambda d: d["graph_module"]["graph"]["custom_obj_values"].update(
        x={"name": "x", "class_fqn": "a.B"}
    ),
    "a named tuple": lambda d: d["graph_module"]["treespec_namedtuple_fields"].update(x={"field_names": ["a"]}),
    "a terminal escape": lambda d: _first_name(d, "x\x1b[2J"),
    "a script": lambda d: _first_name(d, "<script>alert(1)</script>"),
    "a huge tensor": lambda d: d["graph_module"]["graph"]["tensor_values"]["relu"].update(sizes=[{"as_int": 2**50}]),
    "a negative size": lambda d: d["graph_module"]["graph"]["tensor_values"]["relu"].update(sizes=[{"as_int": -1}]),
    "a power tower": _size("Integer(9)**Integer(9)**Integer(9)"),
    "an attribute": _size("Symbol('x').__class__"),
    "a lambda": _size("(lambda: 1)()"),
    "a guard that reads an attribute": lambda d: d.update(guards_code=["L['x'].__class__ == 1"]),
    "a tree of objects": lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec='[1, {"type": "evil.Cls", "context": null, "children_spec": []}]'
    ),
    "a quote in a constant": lambda d: d["graph_module"]["signature"]["input_specs"].append(
        {"constant_input": {"name": "k", "value": {"as_string": "' + evil() + '"}}}
    ),
    "a number for a list": lambda d: d["graph_module"]["graph"].update(nodes=3),
    "null for everything": lambda d: d.update(graph_module=None),
    "no graph": lambda d: d.pop("graph_module"),
}


@pytest.mark.parametrize("name", EDITS)
def test_json_outside_the_rules(name: str, tmp_path: Path, canary: Path) -> None:
    refused(pt2(EDITS[name]), tmp_path, canary)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"1e400",
        b"NaN",
        b"\xff\xfe",
        b"",
        b"9" * 1_000_000,
        b'"' + b"a" * 10**6 + b'"',
    ],
    ids=["lists", "objects", "1e400", "NaN", "no UTF-8", "empty", "digits", "a long string"],
)
def test_json_that_is_no_program(content: bytes, tmp_path: Path, canary: Path) -> None:
    refused(pt2(members={"models/model.json": content}), tmp_path, canary)


def test_weights_shorter_than_declared(tmp_path: Path, canary: Path) -> None:
    refused(pt2(members={"data/weights/weight_0": b"\0" * 4}), tmp_path, canary)


def test_a_program_exported_on_a_gpu_loads_on_the_cpu(tmp_path: Path) -> None:
    def to_cuda(item: Json) -> None:
        if set(item) == {"type", "index"}:
            item.update(type="cuda", index=0)

    file = tmp_path / "gpu.pt2"
    file.write_bytes(pt2(lambda d: everywhere(d, to_cuda)))
    work = load(file, input_shape=(3, 1, 8, 8))
    assert work.module(*work.inputs).shape == (3, 10)


def test_the_copy_computes_what_the_file_does(tmp_path: Path) -> None:
    for name, shape in (("digits_ann", (5, 1, 8, 8)), ("digits_snn", (8, 5, 1, 8, 8))):
        file = DIGITS / f"{name}.pt2"
        mine = load_model(file).module
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = torch.export.load(file).module()
        x = (torch.rand(shape) > 0.5).float()
        assert torch.equal(mine(x), theirs(x))
