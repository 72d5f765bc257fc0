"""What values arrive: counters and evidence of one stream, read without keeping a tensor longer than a few steps.

A tally sees batches of calls stacked to lines [calls * rows, channels, positions] and keeps, per call slot and row, the
non-zero elements, driven taps and effective taps; and over the whole run the set of magnitudes seen, from which the
domain follows.  On the CPU lines are read as NumPy arrays, whose calls cost a fraction of torch's, in pieces that stay in
cache; on an accelerator the same sums are made there, with one synchronisation per read.  Sums of float32 integers stay
below 2^24, so they are exact in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnenergy.counts import MAX_MAGNITUDES, Evidence
from snnenergy.trace.fanout import EXACT_FLOAT32

CHUNK = 1 << 18
"""Elements read at a time: 1 MiB of float32, which stays in a core's cache."""
SAMPLE = 1024

Rows = NDArray[np.float64]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Fan:
    """How an input [n, channels, positions] reaches its taps.

    reached: dense synapses per (element, position tap); taps: kernel taps [positions], or one int for all positions
    effective: [channels, positions] non-zero weights met, or None where no weight is zero
    copies: how often each position occurs in the padded input that the kernel sees, whose positions are `padded`
    """

    reached: int
    taps: Array | int
    effective: Array | None = None
    copies: Array | None = None
    padded: int = 0

    @property
    def exact(self) -> bool:
        """Whether sums of these taps over all positions stay exact in float32."""
        arrays = [a for a in (self.taps, self.effective) if isinstance(a, np.ndarray)]
        return all(a.dtype == np.float32 for a in arrays)

    def elements(self, size: int, places: int) -> int:
        """Elements the kernel sees when `size` arrive, `places` to a channel."""
        return size if self.copies is None else size // places * self.padded


NO_FAN = Fan(0, 0)


@dataclass
class Magnitudes:
    """Evidence in the making: the distinct non-zero magnitudes and signs seen so far."""

    seen: list[float] = field(default_factory=list)
    many: bool = False
    positive: bool = False
    negative: bool = False

    @property
    def usual(self) -> float | None:
        """The one value that every event of this stream had so far, or None."""
        return self.seen[0] if len(self.seen) == 1 and self.positive and not self.negative else None

    def see(self, x: Array, nonzero: int) -> None:
        """x: values of any shape, `nonzero` (at least 1) of them not zero."""
        if self.many:
            return
        usual = self.usual
        if usual is not None:
            hits = np.equal(x, usual, out=_reuse("hits", _BOOL, x.shape))
            if np.count_nonzero(hits) == nonzero:
                return
        if np.iscomplexobj(x):
            self._too_many()
            return
        self._learn(x, nonzero)

    def _learn(self, x: Array, nonzero: int) -> None:
        largest = float(x.max())
        if largest > 0 and np.count_nonzero(x == largest) == nonzero:
            self.positive = True
            self._add([largest])
            return
        flat = x.reshape(-1)
        sample = np.unique(np.abs(flat[:: max(1, flat.size // SAMPLE)]))
        if sample.size > MAX_MAGNITUDES + 1:  # zero is no magnitude
            self._too_many()
            return
        size = np.abs(flat).astype(np.float64)
        if not math.isfinite(float(size.max())):
            self._too_many()
            return
        if not self._known(size):
            found = np.unique(size)
            self._add(found[found != 0].tolist())
        if not (self.positive and self.negative):
            self.positive |= largest > 0
            self.negative |= bool(x.min() < 0)

    def _add(self, found: list[float]) -> None:
        self.seen = sorted({*self.seen, *found})
        if len(self.seen) > MAX_MAGNITUDES:
            self._too_many()

    def _too_many(self) -> None:
        self.many, self.seen = True, []

    def _known(self, size: Rows) -> bool:
        """Whether every value is zero or a magnitude seen before."""
        if not self.seen:
            return False
        unit = self.seen[0]
        steps = [s / unit for s in self.seen]
        if all(s.is_integer() for s in steps) and steps[-1] < SAMPLE:  # a lattice: look up, not search
            multiple = size / unit
            index = np.minimum(multiple, steps[-1]).astype(np.int64)
            rungs = np.full(int(steps[-1]) + 1, -1.0)
            rungs[[0, *map(int, steps)]] = [0.0, *self.seen]
            if (rungs[index] == size).all():
                return True
        levels = np.array([0.0, *self.seen])
        index = np.minimum(np.searchsorted(levels, size), len(self.seen))
        return bool((levels[index] == size).all())


def host(x: Tensor) -> Array:
    """A tensor as a NumPy array, exactly: half precision becomes float32."""
    x = x.detach()
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.to(torch.float32)
    array: Array = x.cpu().resolve_conj().resolve_neg().numpy() if x.is_complex() else x.cpu().numpy()
    return array


class Tally:
    """Counters of one stream segment.  Rows are kept per call slot so that time steps can be told apart later."""

    def __init__(self) -> None:
        self.elements = 0
        self.nonzero_only = 0  # events of an operand whose taps stand on its partner
        self.magnitudes = Magnitudes()
        self.value_taps = 0.0  # sum of |value| x driven taps, once there are several magnitudes
        self.rows: dict[int, Rows] = {}  # rows per call -> [3, slots, rows]: nonzero, driven, effective
        self._forward = 0
        self._before: tuple[Any, ...] = ()
        self._journal: list[tuple[int, list[int], Rows]] = []

    def read(self, x: Array | Tensor, slots: list[int], rows: int, fan: Fan) -> None:
        """x [calls * rows, channels, positions]; slots[i]: which call of its forward the i-th one is."""
        alone = self.magnitudes.seen[0] if len(self.magnitudes.seen) == 1 else 0.0
        found = np.zeros((3, x.shape[0]))
        if isinstance(x, Tensor):
            self.elements += fan.elements(x.numel(), x.shape[2])
            self._read_device(x, found, fan)
        else:
            self.elements += fan.elements(x.size, x.shape[2])
            self._read_host(x, found, fan)
        if len(self.magnitudes.seen) > 1:
            self._weigh(host(x) if isinstance(x, Tensor) else x, alone, fan)
        self._add(found, slots, rows)

    def _read_host(self, lines: Array, found: Rows, fan: Fan) -> None:
        n, channels, places = lines.shape
        if lines.size <= CHUNK:
            if lines.size:
                self._read_part(lines, found, fan, 0)
            return
        step = max(1, CHUNK // (channels * places))
        width = channels if channels * places <= CHUNK else max(1, CHUNK // places)
        for start in range(0, n, step):
            for first in range(0, channels, width):
                part = lines[start : start + step, first : first + width]
                self._read_part(part, found[:, start : start + step], fan, first)

    def _read_part(self, x: Array, found: Rows, fan: Fan, first: int) -> None:
        """Adds the counts of x [n, channels, positions], whose first channel is `first`, to found [3, n]."""
        n, channels, places = x.shape
        mask = _reuse("flags", _BOOL, x.shape)
        np.not_equal(x, 0, out=mask)
        total = int(np.count_nonzero(mask))
        if not total:
            return
        if fan.reached:
            self.magnitudes.see(x, total)
        elif n == 1:
            found[0] += total
            return
        if self.magnitudes.usual == 1.0 and x.dtype == np.float32:
            lines = x  # the values are their own mask
        else:
            lines = _reuse("floats", _FLOAT32, x.shape)
            np.copyto(lines, mask)
        nonzero: Any = total
        if fan.copies is not None:
            nonzero = _driven(lines, fan.copies)
        elif n > 1:
            nonzero = lines.reshape(n, -1).dot(_ones(channels * places))
        if isinstance(fan.taps, int):
            driven = nonzero * (float(fan.reached) * fan.taps)
        else:
            driven = _driven(lines, fan.taps) * fan.reached
        met = driven if fan.effective is None else _effective(lines, fan.effective[first : first + channels])
        found[0] += nonzero
        found[1] += driven
        found[2] += met

    def _weigh(self, x: Array, alone: float, fan: Fan) -> None:
        """Sum of |value| x driven taps, in float64.  While one magnitude was alone it was that times the taps, and not kept."""
        if alone:
            self.value_taps = alone * self.totals[1]
        for start in range(0, x.shape[0], max(1, CHUNK // max(1, x[0].size))):
            part = np.abs(x[start : start + max(1, CHUNK // max(1, x[0].size))]).astype(np.float64)
            self.value_taps += float((part * fan.taps).sum()) * fan.reached

    def _read_device(self, x: Tensor, found: Rows, fan: Fan) -> None:
        """The same on an accelerator: masks and sums stay there, and come over together."""
        n, channels, places = x.shape
        mask = x != 0
        copies = 1 if fan.copies is None else torch.from_numpy(fan.copies).to(x.device)
        rows = [(mask * copies).reshape(n, -1).sum(1, dtype=torch.float64)]
        if isinstance(fan.taps, int):
            rows.append(rows[0] * (fan.reached * fan.taps))
        else:
            taps = torch.from_numpy(fan.taps).to(x.device, torch.float32)
            per_line = torch.mv(mask.reshape(n * channels, places).to(torch.float32), taps)
            rows.append(per_line.view(n, channels).sum(1, dtype=torch.float64) * fan.reached)
        if fan.effective is None:
            rows.append(rows[1])
        else:
            met = torch.from_numpy(fan.effective).to(x.device)
            rows.append((mask * met).reshape(n, -1).sum(1, dtype=torch.float64))
        usual = self.magnitudes.usual
        usually = (x == usual).sum(dtype=torch.float64) if usual is not None else torch.zeros((), device=x.device)
        flat = torch.cat([*rows, usually.to(torch.float64).reshape(1)]).cpu().numpy()
        counts = flat[:-1].reshape(3, n)
        found += counts
        total = int(counts[0].sum())
        if total and fan.reached and not self.magnitudes.many and flat[-1] != total:
            self.magnitudes.see(host(x), total)

    def _add(self, found: Rows, slots: list[int], rows: int) -> None:
        need = max(slots) + 1
        kept = self.rows.get(rows)
        if kept is None or kept.shape[1] < need:
            grown = np.zeros((3, need, rows))
            if kept is not None:
                grown[:, : kept.shape[1]] = kept
            self.rows[rows] = kept = grown
        _at(kept, slots, found.reshape(3, len(slots), rows))
        if self._forward:
            self._journal.append((rows, slots, found))

    def add_events(self, x: Array, slot: int) -> None:
        """Events of one row whose taps nobody asks for: a neuron's output."""
        self.elements += x.size
        events = np.count_nonzero(np.not_equal(x, 0, out=_reuse("flags", _BOOL, x.shape)))
        found = np.zeros((3, 1))
        found[0, 0] = events
        self._add(found, [slot], 1)

    def add_taps(self, taps: Rows, nonzero: int, elements: int, slot: int) -> None:
        """Counts found elsewhere (products of activations): taps [rows] of one call; driven equals effective."""
        self.elements += elements
        rows = taps.shape[0]
        found = np.zeros((3, 1, rows))
        found[0, 0, :1] = nonzero
        found[1:, 0] = taps
        self._add(found, [slot], rows)

    @property
    def weighed(self) -> float:
        """Sum of |value| x driven taps of all that was read."""
        seen = self.magnitudes.seen
        return seen[0] * self.totals[1] if len(seen) == 1 else self.value_taps

    def see(self, values: Array) -> int:
        """Evidence of a whole tensor; returns its non-zero elements."""
        nonzero = int(np.count_nonzero(values != 0))
        if nonzero:
            self.magnitudes.see(values, nonzero)
        return nonzero

    @property
    def totals(self) -> tuple[int, int, int]:
        """nonzero, driven, effective."""
        sums = sum((kept.sum(axis=(1, 2)) for kept in self.rows.values()), np.zeros(3))
        return int(sums[0]) + self.nonzero_only, int(sums[1]), int(sums[2])

    def evidence(self, *, neuron: bool) -> Evidence:
        m = self.magnitudes
        return Evidence(
            magnitudes=tuple(m.seen),
            many=m.many,
            positive=m.positive,
            negative=m.negative,
            zeros=self.totals[0] < self.elements,
            neuron=neuron,
        )

    # A forward that turns out different midway must leave no trace: from its first read on, changes are written down.
    def save(self, forward: int) -> None:
        if self._forward != forward:
            m = self.magnitudes
            self._forward, self._journal = forward, []
            self._before = (
                self.elements,
                self.nonzero_only,
                self.value_taps,
                m.seen[:],
                m.many,
                m.positive,
                m.negative,
            )

    def settle(self) -> None:
        """What is read next belongs to forwards that are over."""
        self._forward, self._journal = 0, []

    def restore(self, forward: int) -> None:
        if self._forward != forward:
            return
        m = self.magnitudes
        self.elements, self.nonzero_only, self.value_taps, m.seen, m.many, m.positive, m.negative = self._before
        for rows, slots, found in self._journal:
            _at(self.rows[rows], slots, -found.reshape(3, len(slots), rows))
        self.settle()


def _at(kept: Rows, slots: list[int], found: Rows) -> None:
    """kept[:, slots] += found, also when a slot occurs twice."""
    if len(slots) == 1:
        kept[:, slots[0]] += found[:, 0]
    elif slots[-1] - slots[0] == len(slots) - 1 and len(set(slots)) == len(slots):
        kept[:, slots[0] : slots[-1] + 1] += found
    else:
        for i, slot in enumerate(slots):
            kept[:, slot] += found[:, i]


# Scratch that is written before it is read; fresh pages cost more than the arithmetic on them.
_scratch: dict[str, Array] = {}


_BOOL, _FLOAT32 = np.dtype(np.bool_), np.dtype(np.float32)


def _reuse(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    size = 1
    for extent in shape:
        size *= extent
    kept = _scratch.get(name)
    if kept is None or kept.size < size:
        kept = _scratch[name] = np.empty(max(size, 1 << 14), dtype=dtype)
    return kept[:size].reshape(shape)


@lru_cache(maxsize=256)
def _ones(n: int) -> NDArray[np.float32]:
    return np.ones(n, dtype=np.float32)


# `dot`, not `@`: the ufunc reports floating point flags that BLAS kernels raise on lanes they do not use
def _driven(lines: Array, taps: Array) -> Rows:
    """0/1 lines [n, channels, positions] x taps [positions] -> [n], exact."""
    n, channels, places = lines.shape
    rows: Rows = lines.reshape(n * channels, places).dot(taps).reshape(n, channels).sum(1, dtype=np.float64)
    return rows


def _effective(lines: Array, effective: Array) -> Rows:
    """0/1 lines [n, channels, positions] x non-zero weights met [channels, positions] -> [n], exact."""
    n = lines.shape[0]
    met = effective.reshape(-1)
    if met.dtype == np.float32:  # the sum of each channel is exact in float32; whole rows may not be
        step = max(1, int(EXACT_FLOAT32 // max(1.0, float(effective.sum(1).max(initial=1.0)))))
        width = effective.shape[1] * step
        flat = lines.reshape(n, -1)
        total = np.zeros(n)
        for start in range(0, met.size, width):
            total += flat[:, start : start + width].dot(met[start : start + width])
        return total
    rows: Rows = lines.reshape(n, -1).astype(np.float64).dot(met)
    return rows
