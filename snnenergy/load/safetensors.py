"""safetensors: a length, a JSON header, raw tensors.  Read here in full, so that no extra package is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snnenergy import untrusted
from snnenergy.errors import UnsafeModelError
from snnenergy.load.files import quoted

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_AXES = 64
_DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
    "C64": ("complex64", 8),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U64": ("uint64", 8),
    "U32": ("uint32", 4),
    "U16": ("uint16", 2),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""Torch's name, and bytes, of each dtype that is read; the format's others pack several numbers into a byte."""


def header(data: bytes, where: str) -> dict[str, dict[str, Any]]:
    """The tensors a file declares: dtype, shape, offsets; each checked against the bytes that follow."""
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise UnsafeModelError(f"{where}: a safetensors header of {length} bytes in a file of {len(data)}")
    try:
        document = untrusted.json(data[8 : 8 + length])
        entries = {k: v for k, v in document.items() if k != "__metadata__"}
        for name, entry in entries.items():
            _check(name, entry, len(data) - 8 - length, where)
        ends = [0]
        for start, end in sorted(entry["data_offsets"] for entry in entries.values()):
            if start != ends[-1]:
                raise ValueError("its tensors overlap, or leave a hole")
            ends.append(end)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
        raise UnsafeModelError(f"{where}: a damaged safetensors header: {quoted(error)}") from error
    return entries


def _check(name: str, entry: dict[str, Any], held: int, where: str) -> None:
    start, end = entry["data_offsets"]
    shape, dtype = entry["shape"], entry["dtype"]
    if dtype not in _DTYPES:
        raise UnsafeModelError(
            f"{where}: tensor {name!r:.80}: dtype {dtype!r:.20} is not read; save it as one of {', '.join(_DTYPES)}"
        )
    if len(shape) > MAX_AXES:
        raise ValueError(f"tensor {name!r:.80}: {len(shape)} axes")
    if not all(type(n) is int and 0 <= n < 2**48 for n in (*shape, start, end)):
        raise ValueError(f"tensor {name!r:.80}: sizes that are no counts")
    if not start <= end <= held or end - start != math.prod(shape) * item_bytes(dtype):
        raise ValueError(f"tensor {name!r:.80}: shape {shape} and offsets {start}..{end} do not agree with the file")


def item_bytes(dtype: str) -> int:
    return _DTYPES[dtype][1]


def load(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """The tensors, copied out of the file."""
    import torch

    entries = header(data, where)
    base = 8 + int.from_bytes(data[:8], "little")
    out = {}
    for name, entry in entries.items():
        start, end = entry["data_offsets"]
        raw = bytearray(data[base + start : base + end])
        dtype = getattr(torch, _DTYPES[entry["dtype"]][0])
        flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        out[name] = flat.reshape(entry["shape"])
    return out
