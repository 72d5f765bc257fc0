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
