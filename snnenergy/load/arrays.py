"""Arrays of an input file, by name: .npz, .npy or .pt, sniffed from content; nothing in them is unpickled or runs."""

from __future__ import annotations

import ast
import io
import math
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError, UnsafeModelError
from snnenergy.load.archive import open_archive
from snnenergy.load.files import quoted
from snnenergy.load.torchfile import load_archive

if TYPE_CHECKING:
    import torch

MAX_BYTES = 8 * 1024**3
MAX_ARRAYS = 1000
MAX_UNPACKED = 2 * 1024**3
"""Bytes that the compressed arrays of one file may unpack to: a thousand times as many as the file has are usual for spikes,
so it is no ratio that tells a bomb from a recording.  Arrays stored as they are may fill the file."""
LABEL_KEYS = ("y", "labels", "label", "targets", "target")
INPUT_KEYS = ("x", "input", "inputs")
_NPY_MAGIC = b"\x93NUMPY"
_DTYPE = re.compile(r"[<>|=]?[biufc]\d{1,2}|\|?b1|\?")


@dataclass(frozen=True)
class Arrays:
    """What an input file holds: tensors by name, in file order, and the labels taken out of them, if any."""

    where: str
    arrays: Mapping[str, Any]
    labels: Any = None


def read_arrays(path: Path) -> Arrays:
    """Tensors of an .npz, .npy or .pt file; InputError where it is none of them, damaged, too large or needs pickle."""
    where = str(path)
    try:
        if not path.is_file():
            raise InputError(f"{where}: no such input file; expected .npz, .npy or .pt")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{where}: larger than {MAX_BYTES // 1024**3} GiB")
        with path.open("rb") as file:
            head = file.read(8)
        if head.startswith(_NPY_MAGIC):
            return Arrays(where, {"x": mapped(path)})
        content = path.read_bytes() if head.startswith(b"PK") else b""
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: cannot be read: {quoted(error)}") from error
    if not content:
        raise InputError(f"{where}: expected .npz, .npy or .pt; this is none of them")
    named = _npz(content, where) if _holds_npy(content) else _pt(content, where)
    labels = next((named[k] for k in LABEL_KEYS if k in named and len(named) > 1), None)
    return Arrays(where, {k: v for k, v in named.items() if k not in LABEL_KEYS or len(named) == 1}, labels)


def mapped(path: Path) -> torch.Tensor:
    import numpy as np
    import torch

    with path.open("rb") as file:
        shape, dtype, offset = header(file.read(70_000), str(path))
    check_size(shape, dtype, path.stat().st_size - offset, str(path))
    return torch.from_numpy(native(np.load(path, mmap_mode="c", allow_pickle=False), str(path)))


def _holds_npy(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return any(n.endswith(".npy") for n in file.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error):
        return True  # the npz reader says what is wrong with it


def _npz(content: bytes, where: str) -> dict[str, torch.Tensor]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            infos = file.infolist()
            check_unpacked(infos, MAX_UNPACKED, where)
            if len(infos) > MAX_ARRAYS or sum(i.file_size for i in infos) > MAX_BYTES:
                raise InputError(f"{where}: declares more than {MAX_ARRAYS} arrays or {MAX_BYTES // 1024**3} GiB")
            return {i.filename.removesuffix(".npy"): _member(file, i, where) for i in infos}
    except InputError:
        raise
    except Exception as error:  # zlib.error, struct.error, RuntimeError (password) ...: all mean unreadable
        raise InputError(f"{where}: a damaged or encrypted .npz: {quoted(error)}") from error


def check_unpacked(infos: Sequence[zipfile.ZipInfo], most: int, where: str) -> None:
    """Raises InputError where compressed arrays declare more than `most` bytes."""
    packed = sum(i.file_size for i in infos if i.compress_type != zipfile.ZIP_STORED)
    if packed > most:
        raise InputError(
            f"{where}: its compressed arrays unpack to {packed / 1024**3:.1f} GiB, more than the {most // 1024**3} GiB read; "
            "save it with np.savez, which does not compress"
        )


def _member(file: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> torch.Tensor:
    import numpy as np
    import torch

    inside = f"{where}: array {info.filename!r:.80}"
    with file.open(info) as stream:
        shape, dtype, offset = header(stream.read(70_000), inside)
    check_size(shape, dtype, info.file_size - offset, inside)
    with file.open(info) as stream:
        return torch.from_numpy(native(np.lib.format.read_array(stream, allow_pickle=False), inside))


def header(head: bytes, where: str) -> tuple[tuple[int, ...], str, int]:
    """Shape, dtype and data offset of an .npy header, read before NumPy reserves memory for what it declares."""
    try:
        if not head.startswith(_NPY_MAGIC):
            raise ValueError("no .npy array")
        wide = head[6] > 1
        length = int.from_bytes(head[8:12] if wide else head[8:10], "little")
        start = 12 if wide else 10
        if length > 60_000:
            raise ValueError("a header of more than 60 kB")
        if b"\\" in head[start : start + length]:
            raise ValueError("a header with escapes")
        fields = ast.literal_eval(head[start : start + length].decode("latin1"))
        shape, dtype = tuple(fields["shape"]), fields["descr"]
        if not all(isinstance(n, int) and 0 <= n < 2**48 for n in shape) or len(shape) > 32:
            raise ValueError(f"shape {shape!r:.80}")
        if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
            raise ValueError(f"dtype {dtype!r:.60}; expected numbers (object arrays would be unpickled)")
    except (ValueError, KeyError, TypeError, SyntaxError, IndexError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: not a usable array: {quoted(error)}") from error
    return shape, dtype, start + length


def check_size(shape: tuple[int, ...], dtype: str, held: int, where: str) -> None:
    digits = re.sub(r"\D", "", dtype) or "1"
    declared = math.prod(shape) * int(digits)
    if declared != held:
        raise InputError(f"{where}: its header declares {declared} bytes of shape {shape}, the file holds {held}")


def native(array: Any, where: str) -> Any:
    """The array in this machine's byte order, of a dtype torch knows."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if (
        native.dtype.kind not in "biufc"
        or native.dtype.itemsize > 16
        or str(native.dtype) in ("float128", "longdouble")
    ):
        raise InputError(f"{where}: dtype {native.dtype} is not one torch knows")
    return native


def _pt(content: bytes, where: str) -> dict[str, torch.Tensor]:
    import torch

    try:
        value = load_archive(open_archive(content, where))
    except UnsafeModelError as error:
        raise InputError(str(error)) from error
    if isinstance(value, torch.Tensor):
        return {"x": value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    named = {str(k): v for k, v in pairs}
    if not named or not all(isinstance(v, torch.Tensor) for v in named.values()):
        raise InputError(f"{where}: expected a tensor, or a list or dict of tensors")
    return named
