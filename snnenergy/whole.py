"""A file, whole or absent: written beside its place under another name, then renamed."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


def write(path: str | os.PathLike[str], document: str | bytes) -> None:
    """Text is written as UTF-8; whatever interrupts the writing, the old file (or none) is still there.

    A link stays one, and its file is replaced.  What is there and is no regular file, such as a pipe or a terminal, is written to.
    """
    content = document.encode("utf-8") if isinstance(document, str) else document
    if _device(path):
        with open(path, "wb") as device:
            device.write(content)
        return
    target = Path(os.path.realpath(path))
    handle, temporary = _beside(target)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def probe(path: str | os.PathLike[str]) -> None:
    """OSError where `write` would find no place for a file; nothing is changed."""
    if not _device(path):
        handle, temporary = _beside(Path(os.path.realpath(path)))
        os.close(handle)
        os.unlink(temporary)
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _device(path: str | os.PathLike[str]) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


def _beside(target: Path) -> tuple[int, str]:
    return tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
