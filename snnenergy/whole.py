"""A file, whole or absent: written beside its place under another name, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: str | os.PathLike[str], document: str | bytes) -> None:
    """Text is written as UTF-8; whatever interrupts the writing, the old file (or none) is still there."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(document.encode("utf-8") if isinstance(document, str) else document)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
