"""Looking a module up by the classes it is made of, without importing the framework that defines them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def active(value: Any) -> bool:
    """Whether a state variable is a tensor that holds something else than zeros; one without values holds nothing."""
    count = getattr(value, "count_nonzero", None) if getattr(value, "fake_mode", None) is None else None
    return callable(count) and bool(count())


def lookup(module: Any, package: str, table: Mapping[str, str]) -> str | None:
    """The table's entry for the first class of `module` that `package` defines, or None."""
    for cls in type(module).__mro__:
        if cls.__name__ in table and cls.__module__.partition(".")[0] == package:
            return table[cls.__name__]
    return None


def put(owner: Any, name: str, value: float) -> bool:
    """Sets a number, or every element of a tensor, that `owner` holds as `name`, or as `name.field` of a named tuple.

    False where it holds no such thing.
    """
    head, _, rest = name.partition(".")
    held = getattr(owner, head, None)
    if rest:
        inner = getattr(held, rest, None)
        if inner is None:
            return False
        setattr(
            owner,
            head,
            held._replace(**{rest: inner.new_full(inner.shape, value) if hasattr(inner, "new_full") else value}),
        )
        return True
    if hasattr(held, "fill_"):
        held.detach().fill_(value)
        return True
    if isinstance(held, bool) or not isinstance(held, int | float):
        return False
    setattr(owner, head, value)
    return True
