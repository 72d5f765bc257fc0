"""Looking a module up by the classes it is made of, without importing the framework that defines them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

PACKAGES = ("snntorch", "spikingjelly", "norse", "sinabs", "bindsnet", "lava")
"""The frameworks: a file of this room each, under their own name."""


def active(value: Any) -> bool:
    """Whether a state variable is a tensor that holds something else than zeros; one without values holds nothing."""
    count = getattr(value, "count_nonzero", None) if getattr(value, "fake_mode", None) is None else None
    return callable(count) and bool(count())


def lookup(module: Any, package: str, table: Mapping[str, str]) -> str | None:
    """The table's entry for the first class of `module` that `package` defines, or None."""
    if defined_by(module, package):
        for cls in type(module).__mro__:
            if cls.__name__ in table and cls.__module__.partition(".")[0] == package:
                return table[cls.__name__]
    return None


def time_first(shape: tuple[int, ...], source: str) -> Mapping[str, Any]:
    """What a layer says of time that sees T x N x X, or T x X of one sample; of T x X nobody knows which of them X is."""
    return {"steps": shape[0], "order": "TN", "samples": shape[1] if len(shape) > 2 else None, "source": source}


def put(owner: Any, name: str, value: float) -> bool:
    """Sets a number, or every element of a tensor, that `owner` holds as `name`, or as `name.field` of a named tuple.

    False where it holds no such thing.  No tensor is written into: a framework's default may be shared by all its neurons.
    """
    head, _, rest = name.partition(".")
    held: Any = getattr(owner, head, None)
    if rest:
        if (inner := _like(getattr(held, rest, None), value)) is not None:
            setattr(owner, head, held._replace(**{rest: inner}))
        return inner is not None
    if (made := _like(held, value)) is None:
        return False
    if head in getattr(owner, "_parameters", {}):
        held.data = made
    else:
        setattr(owner, head, made)
    return True


def _like(held: Any, value: float) -> Any:
    """The value in the form of what is held: a number, or a tensor of its shape and dtype; None for anything else."""
    if hasattr(held, "new_full"):
        return held.new_full(held.shape, value)
    return value if isinstance(held, int | float) and not isinstance(held, bool) else None


def defined_by(value: Any, package: str) -> bool:
    """Whether some class of `value` comes from `package`."""
    return package in _packages(type(value))  # type: ignore[arg-type]  # a class is hashable


@lru_cache(maxsize=512)
def _packages(cls: type) -> frozenset[str]:
    """Where a class and those it is made of are defined."""
    return frozenset(base.__module__.partition(".")[0] for base in cls.__mro__)
