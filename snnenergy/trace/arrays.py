"""Tensors as NumPy arrays, whose calls cost a fraction of torch's, and the scratch memory that reading them needs."""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
Rows = NDArray[np.float64]
CHUNK = 1 << 17
"""Elements looked at in one piece: their flags stay in a core's cache."""
FEW = 1 << 12
"""Elements that are counted fastest without more ado."""
EXACT_FLOAT32 = 1 << 24
"""Integers below this are exact in float32, and so are sums of them that stay below it."""
FLOAT8 = [kind for name, kind in vars(torch).items() if name.startswith("float8_")]
_UNLIKE = frozenset((torch.bfloat16, torch.float16, *FLOAT8, torch.complex32, torch.complex64, torch.complex128))
"""Types that NumPy does not have, or does not add up as it should."""


def host(x: Tensor) -> Array:
    """A tensor as a NumPy array, exactly: half precision becomes float32."""
    if x.requires_grad:
        x = x.detach()
    if x.dtype in _UNLIKE:
        x = x.resolve_conj() if x.is_complex() else x.to(torch.float32)
    if not x.is_cpu:
        x = x.cpu()
    array: Array = (x.resolve_neg() if x.is_neg() else x).numpy()
    return array


_kept = threading.local()


def scratch(shape: tuple[int, ...], name: str = "flags") -> NDArray[np.bool_]:
    """Flags of this thread, to be written before they are read; fresh pages cost more than the arithmetic on them."""
    size = 1
    for extent in shape:
        size *= extent
    flags: NDArray[np.bool_] | None = getattr(_kept, name, None)
    if flags is None or flags.size < size:
        flags = np.empty(max(size, 1 << 14), dtype=np.bool_)
        setattr(_kept, name, flags)
    return flags[:size].reshape(shape)


def packed(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Flags [n, ...] as bits [n, bytes]; every line begins with a byte of its own."""
    n = flags.shape[0]
    elements = math.prod(flags.shape[1:])
    if elements % 8:
        return np.packbits(flags.reshape(n, elements), axis=1)
    return np.packbits(flags).reshape(n, elements // 8)


def nonzeros(values: Array) -> int:
    """How many values are not zero: where none is, as in most weights, by one look at each."""
    flat = values.reshape(-1) if values.flags.c_contiguous else values.T.reshape(-1)  # a weight, or its transpose
    if flat.size <= FEW:
        return int(np.count_nonzero(flat))
    if flat.all():
        return int(flat.size)
    total = 0
    for start in range(0, flat.size, CHUNK):  # flags of one piece stay in cache
        part = flat[start : start + CHUNK]
        total += int(np.count_nonzero(np.not_equal(part, 0, out=scratch(part.shape))))
    return total


def nonzero_columns(x: Array) -> Rows:
    """[B, m, k] -> [B, k]: how many over m are not zero."""
    count, rows, width = x.shape
    found = np.zeros((count, width))
    step = max(1, CHUNK // max(1, count * width))
    for start in range(0, rows, step):
        part = x[:, start : start + step]
        found += column_sums(np.not_equal(part, 0, out=scratch(part.shape)).astype(np.float32))
    return found


def dot(a: Array, b: Array) -> Array:
    """a @ b by BLAS, of masks and counts.  Its kernels raise floating point flags on lanes they do not use, which NumPy reports."""
    with np.errstate(all="ignore"):
        product: Array = a.dot(b)
    return product


def column_sums(x: NDArray[np.float32]) -> Rows:
    """[B, m, k] -> [B, k], exact where sums stay below 2^24 units of a grid that all values lie on."""
    if x.shape[1] >= EXACT_FLOAT32:
        wide: Rows = x.sum(1, dtype=np.float64)
        return wide
    with np.errstate(all="ignore"):
        sums: Rows = np.matmul(ones(x.shape[1]), x).astype(np.float64)
    return sums


@lru_cache(maxsize=256)
def ones(n: int) -> NDArray[np.float32]:
    """To add up rows by BLAS, which takes a third of the time of a sum."""
    return np.ones(n, dtype=np.float32)
