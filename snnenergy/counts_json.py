"""Counts as JSON: strict in, stable out.  A file is untrusted: sizes are capped, types checked, nothing constructed by name."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from snnenergy import counts as C
from snnenergy import untrusted
from snnenergy.errors import CountsError

MAX_BYTES = 256 * 1024 * 1024
MAX_COUNT = 10**30
"""No run counts so far; products of two such counts are still floats."""


def encode(value: Any) -> Any:
    """Dataclasses to plain JSON values; fields at their default are left out below the top level."""
    if isinstance(value, C.Stream):
        known = value.seen or value.override is not None
        return ({"domain": str(value.domain)} if known else {}) | _fields(value)
    if isinstance(value, C.Coverage):
        return {"parameters": value.parameters, "calls": value.calls} | _fields(value, keep=True)
    if dataclasses.is_dataclass(value):
        return _fields(value, keep=isinstance(value, C.Counts | C.Conditions | C.Identity))
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [encode(v) for v in value]
    return value


_WHERE_SAID = ("answers", "nonfinite", "shards", "predicted", "assumed", "training")
"""Left out where there is nothing to say, also at the top."""


def _fields(value: Any, *, keep: bool = False) -> dict[str, Any]:
    out: dict[str, Any] = {}
    fields = dataclasses.fields(value)
    if isinstance(value, C.Counts):  # the version first: a reader looks there before anything else
        fields = tuple(sorted(fields, key=lambda f: f.name != "schema_version"))
    for f in fields:
        item = getattr(value, f.name)
        if (keep and f.name not in _WHERE_SAID) or item != _default(f):
            out[f.name] = encode(item)
    return out


def _default(f: dataclasses.Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default


def read(path: Path) -> object:
    """The JSON document of a file, or CountsError."""
    try:
        if untrusted.regular(path).st_size > MAX_BYTES:
            raise CountsError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; this is no Counts file")
        return untrusted.json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CountsError(f"{path}: no such file") from error
    except OSError as error:
        raise CountsError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CountsError(f"{path}: not a Counts JSON file: {str(error)[:200]}") from error


T = TypeVar("T", bound=C.Counts)


def decode(cls: type[T], document: object) -> T:
    if not isinstance(document, dict) or "schema_version" not in document:
        raise CountsError(
            "not a Counts document: no schema_version; expected the JSON that `snnenergy profile --json` writes"
        )
    version = document["schema_version"]
    if version != C.SCHEMA_VERSION:
        raise CountsError(f"Counts schema_version {version!r}: this version of snnenergy reads {C.SCHEMA_VERSION}")
    return typing.cast(T, _object(cls, document, "counts"))


def layer(document: Mapping[str, Any], where: str) -> C.LayerCounts:
    return typing.cast(C.LayerCounts, _object(C.LayerCounts, document, where))


R = TypeVar("R")


def plain_record(cls: type[R], document: object, where: str) -> R:
    """Any frozen dataclass of plain values, with the same checks: what the JSON of a report holds beside Counts."""
    return typing.cast(R, _object(cls, document, where))


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


_DERIVED = {
    C.Coverage: {"parameters", "calls"},
    C.Stream: {"domain"},
    C.Counts: {"estimates", "profiles", "witness", "spread"},
}
"""Written for readers, ignored when read: what follows from the other fields, prices, the second witness and spreads over samples."""


def _object(cls: type, document: object, where: str) -> Any:
    if not isinstance(document, Mapping):
        raise CountsError(f"{where}: expected an object, found {_kind(document)}")
    if dataclasses.is_dataclass(document):
        raise CountsError(f"{where}: expected plain values")
    hints = _hints(cls)
    derived = _DERIVED.get(cls, set())
    unknown = sorted(set(map(str, document)) - set(hints) - derived)
    if unknown:
        raise CountsError(f"{where}: unknown field {unknown[0]!r:.80}")
    values = {n: _value(hints[n], document[n], f"{where}.{n}") for n in hints if n in document}
    if cls is C.LayerCounts:
        _geometry(values.get("geometry", {}), f"{where}.geometry")
    made = _construct(cls, values, where)
    if cls is C.Stream and "domain" in document and document["domain"] != made.domain:
        try:
            domain = C.Domain(document["domain"])
        except ValueError as error:
            raise CountsError(f"{where}.domain: expected spike, ternary, graded or analog") from error
        if made.evidence != C.Evidence() or made.override is not None:
            raise CountsError(f"{where}.domain: says {domain}, but its evidence says {made.domain}")
        made = dataclasses.replace(made, override=domain)
    return made


_SIZES = frozenset("in_channels out_channels groups inputs outputs batch m k n synapses".split())
_AXES = frozenset("input output kernel stride padding dilation".split())
_DIVISORS = frozenset("groups kernel stride dilation".split())
"""Never zero."""


def _geometry(shape: Mapping[str, object], where: str) -> None:
    """What a layer may say of its structure: sizes, and lists with one number for each axis."""
    for name, found in shape.items():
        if name not in _SIZES | _AXES:
            raise CountsError(f"{where}: unknown field {name!r:.80}")
        made = _value(int if name in _SIZES else tuple[int, ...], found, f"{where}.{name}")
        if name in _DIVISORS and 0 in (made if name in _AXES else (made,)):
            raise CountsError(f"{where}.{name}: expected 1 or more, found 0")


def _construct(cls: type, values: dict[str, Any], where: str) -> Any:
    try:
        return cls(**values)
    except TypeError as error:
        raise CountsError(f"{where}: {str(error).split('__init__() ')[-1]}") from error


def _value(hint: Any, value: object, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        (inner,) = (a for a in args if a is not type(None))
        return _value(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise CountsError(f"{where}: expected a list, found {_kind(value)}")
        if args[0] is int and all(type(v) is int and 0 <= v <= MAX_COUNT for v in value):
            return tuple(value)  # lists per step are long: no place is worked out for numbers that are right
        return tuple(_value(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise CountsError(f"{where}: expected an object, found {_kind(value)}")
        return dict(value)
    if hint is C.Domain:
        try:
            return C.Domain(value)  # type: ignore[arg-type]  # any JSON value is tried; a wrong one raises ValueError
        except ValueError as error:
            raise CountsError(f"{where}: expected spike, ternary, graded or analog, found {value!r}") from error
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else _object(hint, value, where)  # type: ignore[arg-type]  # hint is a class
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: object, where: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if value < 0 and not where.endswith(".seed"):
            raise CountsError(f"{where}: a count cannot be negative, found {value}")
        if abs(value) > MAX_COUNT:
            raise CountsError(f"{where}: larger than {float(MAX_COUNT):g}, which no run counts")
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    raise CountsError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {_kind(value)}")


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), f"{value!r:.60}")
