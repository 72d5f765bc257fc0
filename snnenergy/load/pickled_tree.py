"""The module tree of a pickle, rebuilt from what the walk recorded: types, names and shapes, without making a module."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from snnenergy.load.pickles import Global, Made

MAX_DEPTH = 60
MAX_ROWS = 20_000
MAX_NAME = 200
MAX_AXES = 64


@dataclass(frozen=True)
class ModuleRow:
    """One module (or, of a state_dict, one group of weights): its path, its type, the shapes of its own tensors."""

    path: str
    type: str
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())


def rows_of(value: object) -> tuple[ModuleRow, ...]:
    """Every module of a pickled module, or the weights of a state_dict grouped by their prefix; one held twice counts once."""
    if isinstance(value, Made) and _fields(value, "_modules") is not None:
        return tuple(islice(_modules(value, "", 0, set()), MAX_ROWS))
    return grouped(dict(_weights(value, "", 0, set())))


def grouped(shapes: dict[str, tuple[int, ...]]) -> tuple[ModuleRow, ...]:
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in list(shapes.items())[:MAX_ROWS]:
        path, _, leaf = name.rpartition(".")
        groups.setdefault(path, {})[leaf] = shape
    return tuple(ModuleRow(path, "", shapes) for path, shapes in groups.items())


def _fields(made: Made, name: str) -> list[tuple[object, object]] | None:
    """The items of the mapping an object's state keeps under `name`."""
    state = made.state
    if not isinstance(state, Made):
        return None
    found = next((v for k, v in reversed(state.items) if k == name), None)
    return found.items if isinstance(found, Made) else None


def _modules(made: Made, path: str, depth: int, seen: set[int]) -> Iterator[ModuleRow]:
    seen.add(id(made))
    tensors = [*(_fields(made, "_parameters") or ()), *(_fields(made, "_buffers") or ())]
    shapes = {_name(n): s for n, v in tensors if (s := _shape(v)) is not None}
    kind = made.callee.name if isinstance(made.callee, Global) else ""
    yield ModuleRow(path, kind, shapes)
    if depth < MAX_DEPTH:
        for name, child in _fields(made, "_modules") or ():
            if isinstance(child, Made) and id(child) not in seen:
                yield from _modules(child, f"{path}.{_name(name)}" if path else _name(name), depth + 1, seen)


def _weights(value: object, prefix: str, depth: int, seen: set[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    if not isinstance(value, Made) or depth > 4 or id(value) in seen:
        return
    seen.add(id(value))
    for name, item in value.items[:MAX_ROWS]:
        shape = _shape(item)
        if shape is not None:
            yield f"{prefix}{_name(name)}", shape
        else:
            yield from _weights(item, f"{prefix}{_name(name)}.", depth + 1, seen)


def _name(key: object) -> str:
    """A key as part of a path; it may be anything, of any length or depth."""
    return key[:MAX_NAME] if isinstance(key, str) else f"({type(key).__name__})"


def _shape(value: object) -> tuple[int, ...] | None:
    """The shape a rebuilt tensor or parameter would have."""
    for _ in range(3):
        if not isinstance(value, Made) or not isinstance(value.args, tuple) or not value.args:
            return None
        if isinstance(value.callee, Global) and value.callee.name.startswith("_rebuild_tensor"):
            sizes = value.args[2] if len(value.args) > 2 else None
            if not isinstance(sizes, tuple) or len(sizes) > MAX_AXES:
                return None
            return sizes if all(type(n) is int and 0 <= n < 2**48 for n in sizes) else None
        value = value.args[0]
    return None
