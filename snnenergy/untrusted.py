"""Text documents that anybody may have written: a regular file, and JSON that is no bomb."""

from __future__ import annotations

import errno
import json as json_text
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_CONTAINERS = 4_000_000
"""Lists and objects of one JSON document; each takes some 60 to 230 bytes, so a small file may ask for many GiB."""


def regular(path: Path) -> os.stat_result:
    """The status of a regular file; OSError for a pipe or a device (a committed link may lead to one), which never ends."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return status


def json(text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Plain values of a JSON text; ValueError (or RecursionError) where it is none, too large, or holds NaN or 1e400."""
    opening: tuple[Any, Any] = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, opening)) > MAX_CONTAINERS:
        raise ValueError(f"more than {MAX_CONTAINERS} lists and objects")
    return json_text.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=pairs)


def _finite(digits: str) -> float:
    return value if math.isfinite(value := float(digits)) else _no_number(digits)


def _no_number(found: str) -> float:
    raise ValueError(f"the number {found:.40} is not allowed")
