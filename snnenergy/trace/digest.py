"""Fingerprints: of the inputs (may two runs be compared?) and of the model (what changed?)."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnenergy.frameworks import kept_weights
from snnenergy.trace.arrays import FLOAT8
from snnenergy.trace.tensors import valueless, version
from snnenergy.trace.tree import Modules, parameters_of, plain_name

SMALL = 1 << 16
"""Bytes of inputs that are copied and digested later, of at most so many forwards."""
MANY = 32
_known: dict[int, tuple[weakref.ref[Tensor], tuple[Any, ...], bytes]] = {}
"""By id of a living tensor: it, what its digest rests on, and the digest."""


def _content(t: Tensor) -> Any:
    """The bytes of a tensor, as a buffer."""
    plain = t.detach()
    if plain.dtype == torch.bfloat16 or plain.dtype in FLOAT8 or plain.is_complex():
        plain = plain.contiguous().reshape(-1).view(torch.uint8)
    return np.ascontiguousarray(plain.cpu().numpy()).reshape(-1).view(np.uint8).data if plain.numel() else b""


def _tensor(t: Tensor, nonzero: int | None = None) -> bytes:
    """sha256 of dtype, shape and content; remembered per parameter until it changes.

    nonzero: how many words of it are not zero, where that was counted
    """
    if valueless(t) or t.layout != torch.strided:
        return repr((t.dtype, tuple(t.shape))).encode()
    sample = _sample(t)
    key = (t.data_ptr(), version(t), t.shape, t.dtype, sample, nonzero)
    seen = _known.get(id(t))
    if seen is not None and seen[1] == key and seen[0]() is t:
        return seen[2]
    state = hashlib.sha256(repr((t.dtype, tuple(t.shape))).encode())
    state.update(_content(t))
    found = state.digest()
    _known[id(t)] = weakref.ref(t, partial(_forget, id(t))), key, found
    return found


def _forget(key: int, gone: weakref.ref[Tensor]) -> None:
    if key in _known and _known[key][0] is gone:
        del _known[key]


def _sample(t: Tensor) -> bytes:
    """A few words of the content: an edit through `.data` leaves no version behind."""
    if t.dtype == torch.bfloat16 or t.dtype in FLOAT8 or not t.is_cpu:
        return b""
    flat = (t.detach() if t.requires_grad else t).numpy().reshape(-1)
    return flat[:: max(1, flat.size // 64)].tobytes()


def weights(modules: Modules, nonzero: Mapping[str, int] = MappingProxyType({})) -> str:
    """Of all parameters, by name; state buffers do not count.

    nonzero: words that are not zero, by name, of those that were counted just now: pruning through `.data` leaves no version
    """
    state = hashlib.sha256()
    for raw, t in (*parameters_of(modules), *kept_weights(modules)):
        name = plain_name(raw)
        state.update(name.encode() + b"=" + _tensor(t, nonzero.get(name)))
    return state.hexdigest()[:32]


def architecture(layers: Iterable[tuple[Any, ...]]) -> str:
    """Of the layers' structure: paths, ops, shapes."""
    return hashlib.sha256(repr(sorted(map(repr, layers))).encode()).hexdigest()[:32]


class Inputs:
    """Sum over samples of each one's digest, modulo 2^128: independent of order, batch size and sharding.

    `begin` where a forward begins, `end` where it has ended and counts.  Small inputs are copied, and digested many
    forwards at a time: between two forwards of a model all that a digest touches has left the cache.
    """

    def __init__(self) -> None:
        self._total = 0
        self._open: int | _Copies = 0
        self._waiting: list[_Copies] = []

    def begin(self, tensors: Sequence[Tensor], axis: int, others: Sequence[tuple[str, Any]]) -> None:
        """axis: along which the samples lie; others: plain arguments."""
        small = 0 < sum([t.nbytes for t in tensors]) <= SMALL
        if small and all(
            type(t) is Tensor and t.dtype is torch.float32 and t.is_cpu and not t.is_neg() for t in tensors
        ):
            self._open = [(t.detach() if t.requires_grad else t).numpy().copy() for t in tensors], axis
        else:
            self._open = inputs(tensors, axis, dict(others))

    def along(self, tensors: Sequence[Tensor], axis: int, others: Sequence[tuple[str, Any]]) -> None:
        """The samples turned out to lie along another axis; what was copied is as it was when the forward began."""
        if isinstance(self._open, int):
            self.begin(tensors, axis, others)
        else:
            self._open = self._open[0], axis

    def end(self) -> None:
        if isinstance(self._open, int):
            self._total += self._open
        else:
            self._waiting.append(self._open)
            if len(self._waiting) == MANY:
                self._settle()
        self._open = 0

    def _settle(self) -> None:
        self._total += sum(inputs([torch.from_numpy(t) for t in copies], axis, {}) for copies, axis in self._waiting)
        self._waiting = []

    @property
    def total(self) -> int:
        self._settle()
        return self._total % (1 << 128)


_Copies = tuple[list[Any], int]
"""Inputs of one forward as arrays, and the axis of their samples."""


def inputs(tensors: Sequence[Tensor], axis: int, others: Mapping[str, Any]) -> int:
    """Of one forward; others: of which only those without tensors are known by."""
    if any(map(valueless, tensors)):
        return 0  # shapes alone: no run on values has these inputs
    if not tensors:
        return int.from_bytes(hashlib.sha256(repr(sorted(others.items())).encode()).digest()[:16], "big")
    batch, split, head = _layout(axis, tuple((t.shape, t.dtype) for t in tensors))
    rows = [_rows(t, axis if s else None) for t, s in zip(tensors, split, strict=True)]
    total = 0
    for i in range(batch):
        sample = hashlib.sha256(head)
        for row, s in zip(rows, split, strict=True):
            sample.update(row[i if s else 0])
        total += int.from_bytes(sample.digest()[:16], "big")
    return total


@lru_cache(maxsize=256)
def _layout(axis: int, tensors: tuple[tuple[tuple[int, ...], torch.dtype], ...]) -> tuple[int, tuple[bool, ...], bytes]:
    """Samples, which tensors hold one row per sample along `axis`, and what every sample's digest begins with."""
    first = tensors[0][0]
    batch = first[axis] if len(first) > axis else None
    split = tuple(batch is not None and len(shape) > axis and shape[axis] == batch for shape, _ in tensors)
    alone = [
        (str(dtype), shape[:axis] + shape[axis + 1 :] if s else shape)
        for (shape, dtype), s in zip(tensors, split, strict=True)
    ]
    return 1 if batch is None else batch, split, repr([(d, tuple(shape)) for d, shape in alone]).encode()


def _rows(t: Tensor, axis: int | None) -> Any:
    """The bytes of each sample along `axis`, or of the whole tensor, as rows [samples, bytes]."""
    if t.requires_grad:
        t = t.detach()
    if not t.is_cpu:
        t = t.cpu()
    if t.dtype == torch.bfloat16 or t.dtype in FLOAT8:
        t = t.view(torch.int16 if t.dtype == torch.bfloat16 else torch.uint8)
    if axis:
        t = t.movedim(axis, 0)
    if not t.is_contiguous() or t.is_conj() or t.is_neg():
        t = t.contiguous().resolve_conj().resolve_neg()
    values = t.numpy()
    rows = values.shape[0] if axis is not None else 1
    if not values.size:
        return np.empty((rows, 0), dtype=np.uint8)
    return values.reshape(rows, -1).view(np.uint8)
