"""An exported program's JSON, copied field by field into a clean one: what has no rule here is refused, never passed on.

The walk follows the types of torch's own schema classes; every string field needs a row in the table below.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from snnenergy import untrusted
from snnenergy.errors import UnsafeModelError
from snnenergy.load import pt2_terms as T
from snnenergy.load.files import quoted

MAX_JSON_BYTES = 128 * 1024**2
MAX_ELEMENTS = 2**33
"""Largest tensor a program may declare anywhere in its graph, elements."""
MAX_DEPTH = 60
MAX_NODES = 2_000_000

_CUSTOM_OP = ": not an arithmetic op of torch; export without custom kernels, or pass the model through --factory"

Rule = Callable[[str], bool]

STRINGS: dict[tuple[str, str], Rule] = {
    ("Argument", "as_string"): T.plain,
    ("Argument", "as_strings"): T.plain,
    ("Argument", "as_operator"): T.op,
    ("BufferMutationSpec", "buffer_name"): T.dotted,
    ("ConstantValue", "as_string"): T.plain,
    ("ExportedProgram", "guards_code"): T.expression,
    ("ExportedProgram", "torch_version"): T.plain,
    ("ExportedProgram", "verifiers"): T.name,
    ("GradientToParameterSpec", "parameter_name"): T.dotted,
    ("GradientToUserInputSpec", "user_input_name"): T.name,
    ("GraphArgument", "name"): T.name,
    ("InputToBufferSpec", "buffer_name"): T.dotted,
    ("InputToConstantInputSpec", "name"): T.optional_name,
    ("InputToParameterSpec", "parameter_name"): T.dotted,
    ("InputToTensorConstantSpec", "tensor_constant_name"): T.dotted,
    ("ModuleCallEntry", "fqn"): T.call_path,
    ("ModuleCallSignature", "forward_arg_names"): T.name,
    ("ModuleCallSignature", "in_spec"): T.tree,
    ("ModuleCallSignature", "out_spec"): T.tree,
    ("NamedArgument", "name"): T.optional_name,
    ("Node", "name"): T.name,
    ("Node", "target"): T.op,
    ("ParameterMutationSpec", "parameter_name"): T.dotted,
    ("PayloadMeta", "path_name"): T.name,
    ("SymBoolArgument", "as_name"): T.name,
    ("SymExpr", "expr_str"): T.expression,
    ("SymFloatArgument", "as_name"): T.name,
    ("SymIntArgument", "as_name"): T.name,
    ("TensorArgument", "name"): T.name,
    ("TokenArgument", "name"): T.name,
    ("UserInputMutationSpec", "user_input_name"): T.name,
}
KEYS: dict[tuple[str, str], Rule] = {
    ("Argument", "as_string_to_argument"): T.name,
    ("ExportedProgram", "opset_version"): T.name,
    ("ExportedProgram", "range_constraints"): T.expression,
    ("Graph", "tensor_values"): T.name,
    ("Graph", "sym_int_values"): T.name,
    ("Graph", "sym_bool_values"): T.name,
    ("Graph", "sym_float_values"): T.name,
    ("PayloadConfig", "config"): T.dotted,
}
METADATA: dict[str, Rule] = {"nn_module_stack": T.module_stack, "torch_fn": T.plain}
"""What is kept of a node's metadata; the rest (source lines, traces) is for debuggers and is left behind."""
REFUSED = {
    "CustomObjArgument": "a custom object, which is unpickled on load",
    "InputToCustomObjSpec": "a custom object, which is unpickled on load",
    "NamedTupleDef": "a named tuple, which is imported on load: return plain tuples",
}


@dataclasses.dataclass
class _Copy:
    where: str
    nodes: int = 0

    def fail(self, path: str, found: str) -> UnsafeModelError:
        return UnsafeModelError(f"{self.where}: refused: {path[-160:]}: {found}")

    def value(self, hint: Any, value: Any, path: str, field: tuple[str, str], depth: int) -> Any:
        """A clean copy of one JSON value of type `hint`; `field` names the class and field it stands in."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES * 50:
            raise self.fail(path, "nested too deep, or too large")
        origin, args = get_origin(hint), get_args(hint)
        if origin is not None and type(None) in args:
            inner = next(a for a in args if a is not type(None))
            return None if value is None else self.value(inner, value, path, field, depth)
        if origin is list:
            items = self.typed(value, list, path)
            return [self.value(args[0], v, f"{path}[{i}]", field, depth + 1) for i, v in enumerate(items)]
        if origin is dict:
            return self.mapping(args[1], value, path, field, depth)
        if dataclasses.is_dataclass(hint):
            return self.record(hint, value, path, depth)
        return self.scalar(hint, value, path, field)

    def typed(self, value: Any, kind: type, path: str) -> Any:
        if not isinstance(value, kind):
            raise self.fail(path, f"expected {kind.__name__}, found {type(value).__name__}")
        return value

    def mapping(self, hint: Any, value: Any, path: str, field: tuple[str, str], depth: int) -> dict[str, Any]:
        items = self.typed(value, dict, path)
        if field[1] == "metadata":
            return self.metadata(items, path) if field[0] == "Node" else {}
        rule = KEYS.get(field)
        for key in items:
            if rule is None or not rule(key):
                raise self.fail(path, f"{key!r:.80} is no name expected here")
        return {k: self.value(hint, v, f"{path}.{k}", field, depth + 1) for k, v in items.items()}

    def metadata(self, items: dict[str, Any], path: str) -> dict[str, str]:
        kept = {k: v for k, v in items.items() if k in METADATA and isinstance(v, str)}
        if "nn_module_stack" in kept and not T.module_stack(kept["nn_module_stack"]):
            raise self.fail(path, f"a module path {kept['nn_module_stack']!r:.120}")
        return {k: v for k, v in kept.items() if METADATA[k](v)}

    def record(self, cls: Any, value: Any, path: str, depth: int) -> dict[str, Any]:
        if cls.__name__ in REFUSED:
            raise self.fail(path, f"the program holds {REFUSED[cls.__name__]}")
        if cls.__name__ == "Device":
            return {"type": "cpu", "index": None}  # wherever it was exported: it is counted on the CPU
        hints = _hints(cls)
        items = self.typed(value, dict, path)
        unknown = next((k for k in items if k not in hints), None)
        if unknown is not None:
            raise self.fail(path, f"unknown field {unknown!r:.80}; was it exported by a newer torch than is installed?")
        missing = _missing(cls, items)
        if missing:
            raise self.fail(path, f"a {cls.__name__} without {missing}")
        clean = {k: self.value(hints[k], v, f"{path}.{k}", (cls.__name__, k), depth + 1) for k, v in items.items()}
        if cls.__name__ == "TensorMeta":
            self.check_size(clean, path)
        return clean

    def check_size(self, meta: dict[str, Any], path: str) -> None:
        sizes = [s["as_int"] for s in meta.get("sizes", []) if "as_int" in s]
        if any(s < 0 for s in sizes) or math.prod(s for s in sizes if s) > MAX_ELEMENTS:
            raise self.fail(path, f"a tensor of size {sizes}, more than {MAX_ELEMENTS} elements")

    def scalar(self, hint: Any, value: Any, path: str, field: tuple[str, str]) -> Any:
        if isinstance(hint, type) and issubclass(hint, enum.IntEnum):
            known = isinstance(value, int) and not isinstance(value, bool) and value in hint._value2member_map_
            if not known:
                raise self.fail(path, f"{value!r:.40} is no {hint.__name__}")
            return value
        if hint is str:
            rule = STRINGS.get(field)
            if rule is None or not rule(self.typed(value, str, path)):
                hint = _CUSTOM_OP if rule is T.op else ""
                raise self.fail(path, f"{value!r:.120} is not allowed here{hint}")
            return value
        if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
            return self.number(value, path)
        if hint in (int, bool) and type(value) is hint and (hint is bool or abs(value) < 2**63):
            return value
        raise self.fail(path, f"expected {getattr(hint, '__name__', hint)}, found {value!r:.80}")

    def number(self, value: float | str, path: str) -> Any:
        if isinstance(value, str) and value not in ("Infinity", "-Infinity", "NaN"):
            raise self.fail(path, f"{value!r:.80} is no number")
        return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _missing(cls: Any, items: dict[str, Any]) -> str | None:
    """What a record lacks: a required field, or, of a union, its one value."""
    from torch._export.serde.union import _Union

    if issubclass(cls, _Union):
        return None if len(items) == 1 else "exactly one value"
    absent = dataclasses.MISSING
    required = [f.name for f in dataclasses.fields(cls) if f.default is absent and f.default_factory is absent]
    return next((name for name in required if name not in items), None)


def parse(content: bytes, where: str) -> Any:
    """JSON of an untrusted file: size, depth and digits capped."""
    if len(content) > MAX_JSON_BYTES:
        raise UnsafeModelError(f"{where}: {len(content) >> 20} MiB of JSON is no exported program")
    try:
        return untrusted.json(content)
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnsafeModelError(f"{where}: damaged JSON: {quoted(error)}") from error


def clean_program(content: bytes, where: str) -> dict[str, Any]:
    """A clean copy of models/model.json, or UnsafeModelError naming the field."""
    from torch._export.serde import schema

    document = parse(content, where)
    copy: dict[str, Any] = _Copy(where).value(schema.ExportedProgram, document, "program", ("", ""), 0)
    return copy


def clean_payload(content: bytes, where: str) -> dict[str, Any]:
    """A clean copy of a weights or constants table: path, `is_param`, `use_pickle` and the tensor's layout by name."""
    from torch._export.serde import schema

    copy: dict[str, Any] = _Copy(where).value(schema.PayloadConfig, parse(content, where), "weights", ("", ""), 0)
    return copy
