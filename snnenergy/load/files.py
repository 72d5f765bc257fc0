"""What a model file is, by its content alone: the extension is whatever its author wrote."""

from __future__ import annotations

import stat
from enum import StrEnum
from pathlib import Path

from snnenergy.errors import UnsafeModelError, UsageError

MAX_BYTES = 8 * 1024**3
"""Largest model file read, bytes."""


class Kind(StrEnum):
    """What the content of a file says it is; a member equals its string."""

    PT2 = "pt2"
    TORCH = "torch"  # torch.save: a pickle and its storages in a zip
    LEGACY = "legacy"  # torch.save before 1.6: five pickles and raw storages in a row
    TORCHSCRIPT = "torchscript"
    SAFETENSORS = "safetensors"
    NIR = "nir"  # HDF5
    PICKLE = "pickle"
    OTHER = "other"


def code_hint(path: Path) -> str:
    """Where a file is named that looks like code: how a function of it is named."""
    text, _, name = str(path).partition(":")
    file = Path(text if text.endswith(".py") else text.replace(".", "/") + ".py").resolve()
    inside = file.is_relative_to(Path.cwd())
    parts = (file.relative_to(Path.cwd()) if inside else Path(file.name)).with_suffix("").parts
    if not file.is_file() or not all(map(str.isidentifier, parts)):
        return ""
    away = "" if inside else f", where {file.parent} is the current folder"
    return f"; a function that makes the model is named {'.'.join(parts)}:{name or 'function'}{away}"


def read_model(path: Path) -> bytes:
    """The whole file, read once: everything later looks at these bytes, so the file cannot change underneath."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such model file{code_hint(path)}") from error
    except (OSError, ValueError) as error:
        raise UnsafeModelError(f"{path}: cannot be read: {quoted(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeModelError(f"{path}: not a regular file; expected a model file such as a .pt2")
    if status.st_size > MAX_BYTES:
        raise UnsafeModelError(
            f"{path}: {status.st_size / 1024**3:.1f} GiB is more than the {MAX_BYTES // 1024**3} GiB read"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnsafeModelError(f"{path}: cannot be read: {error.strerror}") from error


_LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # LONG1 of torch.save's magic number
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NAMED = {
    b"\x7fELF": "a shared library",
    b"MZ": "a Windows program",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"\x93NUMPY": "a NumPy array: pass it as --input",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a Git LFS pointer: run `git lfs pull`",
}


def quoted(error: BaseException, width: int = 200, lines: int = 1) -> str:
    """The first lines of what an error says, escaped: it may quote the file."""
    spoken = [line.strip()[:width] for line in str(error).strip().splitlines()[:lines]] or [type(error).__name__]
    return repr(" ".join(spoken))[1:-1]


def is_zip(data: bytes) -> bool:
    """Whether the content starts as a zip does; a zip hidden behind something else is not taken for one."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def sniff_flat(data: bytes) -> Kind:
    """The kind of a file that is no zip, from its first bytes."""
    if data.startswith(_HDF5):
        return Kind.NIR
    if data[:1] == b"\x80" and data[2:14] == _LEGACY_MAGIC:
        return Kind.LEGACY
    if len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8:
        return Kind.SAFETENSORS
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Kind.PICKLE
    return Kind.OTHER


def describe_other(data: bytes) -> str:
    """What a file that is no model seems to be, in words."""
    if not data:
        return "an empty file"
    if data[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    for magic, words in _NAMED.items():
        if data.startswith(magic):
            return words
    if data.lstrip()[:1] == b"{" and b'"schema_version"' in data[:256]:
        return "stored Counts or a report: `snnenergy report` shows them"
    head = data[:64]
    return "text" if all(32 <= b < 127 or b in b"\r\n\t" for b in head) else "a file of no kind known here"
