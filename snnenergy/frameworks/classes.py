"""Looking a module up by the classes it is made of, without importing the framework that defines them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lookup(module: Any, package: str, table: Mapping[str, str]) -> str | None:
    """The table's entry for the first class of `module` that `package` defines, or None."""
    for cls in type(module).__mro__:
        if cls.__name__ in table and cls.__module__.partition(".")[0] == package:
            return table[cls.__name__]
    return None


def first_shape(inputs: tuple[Any, ...]) -> tuple[int, ...] | None:
    """Shape of the first tensor among the inputs, mappings and lists looked into."""
    for value in inputs:
        shape = getattr(value, "shape", None)
        if shape is not None:
            return tuple(shape)
        inner = tuple(value.values()) if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
        found = first_shape(tuple(inner))
        if found is not None:
            return found
    return None
