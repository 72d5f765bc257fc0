"""Arrays of .npy and .npz files as memory maps: a data set larger than memory is read as it is used, and nothing else."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError
from snnenergy.load.arrays import LABEL_KEYS, MAX_ARRAYS, Arrays, check_size, check_unpacked, header, mapped, native
from snnenergy.load.files import quoted

if TYPE_CHECKING:
    import torch

MAX_UNPACKED = 32 * 1024**3
"""Bytes that the compressed arrays of one file may unpack to, on the disk of temporary files."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")


def map_arrays(path: Path) -> Arrays:
    """The arrays of one file, mapped; a compressed .npz is unpacked to a temporary file first.  InputError as `read_arrays`."""
    where = str(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        named = _npz(path, where) if zipped else {"x": mapped(path)}
    except InputError:
        raise
    except Exception as error:  # zlib.error, struct.error, RuntimeError (password) ...: all mean unreadable
        raise InputError(f"{where}: cannot be read as .npy or .npz: {quoted(error)}") from error
    labels = next((named[k] for k in LABEL_KEYS if k in named and len(named) > 1), None)
    return Arrays(where, {k: v for k, v in named.items() if k not in LABEL_KEYS or len(named) == 1}, labels)


def _npz(path: Path, where: str) -> dict[str, torch.Tensor]:
    with zipfile.ZipFile(path) as file:
        infos = file.infolist()
        if len(infos) > MAX_ARRAYS:
            raise InputError(f"{where}: declares more than {MAX_ARRAYS} arrays")
        check_unpacked(infos, MAX_UNPACKED, where)
        return {i.filename.removesuffix(".npy"): _member(path, file, i, where) for i in infos}


def _member(path: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> torch.Tensor:
    import numpy as np
    import torch

    inside = f"{where}: array {info.filename!r:.80}"
    with file.open(info) as stream:
        shape, dtype, offset = header(stream.read(70_000), inside)
    check_size(shape, dtype, info.file_size - offset, inside)
    with file.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, fortran, kind = read(stream)
    if not info.file_size - offset:
        return torch.from_numpy(native(np.empty(shape, kind), inside))
    order: Any = "F" if fortran else "C"
    if info.compress_type == zipfile.ZIP_STORED:
        array = np.memmap(path, kind, "c", _place(path, info) + offset, shape, order)
    else:
        with tempfile.TemporaryFile() as unpacked, file.open(info) as stream:  # the map outlives the name
            shutil.copyfileobj(stream, unpacked, 1 << 20)
            unpacked.flush()
            array = np.memmap(unpacked, kind, "r+", offset, shape, order)
    return torch.from_numpy(native(array, inside))


def _place(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin in the file."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        magic, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start: int = info.header_offset + _LOCAL_HEADER.size + name + extra
    if magic != b"PK\x03\x04" or start + info.file_size > os.path.getsize(path):
        raise ValueError(f"array {info.filename!r:.80} lies outside the file")
    return start
