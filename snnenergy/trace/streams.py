"""What values arrive: counters and evidence of one stream, read without keeping a tensor longer than a few steps.

A tally sees batches of calls stacked to lines [calls * rows, channels, positions] and keeps, per call slot and row, the
non-zero elements, driven taps and effective taps; and over the whole run the set of magnitudes seen, from which the
domain follows.  On the CPU lines are read as NumPy arrays, whose calls cost a fraction of torch's, in pieces that stay in
cache; on an accelerator the same sums are made there, with one synchronisation per read.  Sums of float32 integers stay
below 2^24, so they are exact in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnenergy.counts import MAX_MAGNITUDES, Evidence
from snnenergy.trace.fanout import EXACT_FLOAT32, dot, ones

CHUNK = 1 << 18
"""Elements read at a time: 1 MiB of float32, which stays in a core's cache."""
SAMPLE = 1024
WIDE = 128
"""Positions from which on events are summed over channels before they meet the map of taps."""
BYTE = 255
LATTICE = 1 << 14
"""Values looked up at a time: what is made of them stays in cache."""
LATE = 64
"""Reads that wait at most until they are added up."""

Rows = NDArray[np.float64]
Array = NDArray[Any]
Found = tuple[Any, Any, Any]
"""Nonzero, driven and effective of each line, or as numbers where there is one."""
Reading = tuple[int, list[int], Found]
"""Rows per call, which call of its forward each one is, and what was found in their lines."""
NOTHING: Found = (0, 0, 0)


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

    seen: tuple[float, ...] = ()
    many: bool = False
    positive: bool = False
    negative: bool = False

    @property
    def alone(self) -> float:
        """The one magnitude that was seen so far, or 0."""
        return self.seen[0] if len(self.seen) == 1 else 0.0

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
        for size in (SAMPLE // 4, SAMPLE):
            sample = flat[:: flat.size // size | 1]  # odd: a batch of equal images is no short period
            if len(set(np.abs(sample).tolist())) > MAX_MAGNITUDES + 1:  # zero is no magnitude
                self._too_many()
                return
        smallest = float(x.min())
        if not math.isfinite(largest) or not math.isfinite(smallest):
            self._too_many()
            return
        size = np.abs(flat if x.dtype.kind == "f" else flat.astype(np.float64))
        if not self._known(size):
            found = np.unique(size)
            self._add(found[found != 0].tolist())
        if not (self.positive and self.negative):
            self.positive |= largest > 0
            self.negative |= smallest < 0

    def _add(self, found: list[float]) -> None:
        self.seen = tuple(sorted({*self.seen, *found}))
        if len(self.seen) > MAX_MAGNITUDES:
            self._too_many()

    def _too_many(self) -> None:
        self.many, self.seen = True, ()

    def _known(self, size: Array) -> bool:
        """Whether every value is zero or a magnitude seen before."""
        if not self.seen:
            return False
        unit = min(b - a for a, b in zip((0.0, *self.seen), self.seen, strict=False))
        steps = [s / unit for s in self.seen]
        if all(s.is_integer() for s in steps) and steps[-1] < SAMPLE:  # a lattice: look up, not search
            rungs = np.full(int(steps[-1]) + 1, -1, size.dtype)
            rungs[[0, *map(int, steps)]] = [0.0, *self.seen]
            if all(_on(rungs, unit, size[i : i + LATTICE]) for i in range(0, size.size, LATTICE)):
                return True
        levels = np.array([0.0, *self.seen])
        index = np.minimum(np.searchsorted(levels, size), len(self.seen))
        return bool((levels[index] == size).all())


def _on(rungs: Array, unit: float, size: Array) -> bool:
    """Whether every size is the rung that it lies nearest to."""
    index = np.fmin(size / rungs.dtype.type(unit), rungs.size - 1)
    index += 0.5
    return bool((rungs[index.astype(np.int32)] == size).all())


def host(x: Tensor) -> Array:
    """A tensor as a NumPy array, exactly: half precision becomes float32."""
    if x.requires_grad:
        x = x.detach()
    if x.dtype in _HALVES:
        x = x.to(torch.float32)
    if not x.is_cpu:
        x = x.cpu()
    if x.is_complex():
        x = x.resolve_conj()
    array: Array = (x.resolve_neg() if x.is_neg() else x).numpy()
    return array


_HALVES = (torch.bfloat16, torch.float16)


class Tally:
    """Counters of one stream segment.  Rows are kept per call slot so that time steps can be told apart later."""

    def __init__(self) -> None:
        self.elements = 0
        self.nonzero_only = 0  # events of an operand whose taps stand on its partner
        self.magnitudes = Magnitudes()
        self.value_taps = 0.0  # sum of |value| x driven taps, once there are several magnitudes
        self._rows: dict[int, Rows] = {}
        self._readings: list[Reading] = []  # not added up yet
        self.seen = True  # False: shapes arrived here, and no values
        self._forward = 0
        self._over = 0  # readings of forwards that have ended
        self._before: tuple[Any, ...] = ()

    def read(self, x: Array | Tensor, slots: list[int], rows: int, fan: Fan) -> None:
        """x [calls * rows, channels, positions]; slots[i]: which call of its forward the i-th one is."""
        alone = self.magnitudes.alone
        if isinstance(x, Tensor):
            self.elements += fan.elements(x.numel(), x.shape[2])
            found = self._read_device(x, fan)
        else:
            self.elements += fan.elements(x.size, x.shape[2])
            found = self._read_part(x, fan, 0) if x.size <= CHUNK else self._read_parts(x, fan)
        if len(self.magnitudes.seen) > 1:
            self._weigh(host(x) if isinstance(x, Tensor) else x, alone, fan)
        self._readings.append((rows, slots, found))

    def _read_parts(self, lines: Array, fan: Fan) -> Found:
        n, channels, places = lines.shape
        found = np.zeros((3, n))
        step = max(1, CHUNK // (channels * places))
        width = channels if channels * places <= CHUNK else max(1, CHUNK // places)
        for start in range(0, n, step):
            for first in range(0, channels, width):
                part = self._read_part(lines[start : start + step, first : first + width], fan, first)
                for row, more in zip(found, part, strict=True):
                    row[start : start + step] += more
        return found[0], found[1], found[2]

    def _read_part(self, x: Array, fan: Fan, first: int) -> Found:
        """What is found in x [n, channels, positions], whose first channel is `first`."""
        n, channels, places = x.shape
        if not x.size:
            return NOTHING
        mask = _reuse("flags", _BOOL, x.shape)
        np.not_equal(x, 0, out=mask)
        if places >= WIDE and channels <= BYTE and fan.effective is None and fan.copies is None and fan.reached:
            return self._read_wide(x, mask, fan)
        total = int(np.count_nonzero(mask))
        if not total:
            return NOTHING
        if fan.reached:
            self.magnitudes.see(x, total)
        elif n == 1:
            return total, 0, 0
        if self.magnitudes.usual == 1.0 and x.dtype == _FLOAT32:
            lines = x  # the values are their own mask
        else:
            lines = _reuse("floats", _FLOAT32, x.shape)
            np.copyto(lines, mask)
        nonzero: Any = total
        if fan.copies is not None:
            nonzero = _driven(lines, fan.copies)
        elif n > 1:
            nonzero = dot(lines.reshape(n, -1), ones(channels * places)).astype(np.float64)
        if isinstance(fan.taps, int):
            driven = nonzero * (fan.reached * fan.taps)
        else:
            driven = _driven(lines, fan.taps) * fan.reached
        met = driven if fan.effective is None else _effective(lines, fan.effective[first : first + channels])
        return nonzero, driven, met

    def _read_wide(self, x: Array, mask: Array, fan: Fan) -> Found:
        """The same where positions are many: events of each position first, bytes that 255 channels cannot overflow."""
        events = np.add.reduce(mask.view(np.uint8), axis=1, dtype=np.uint8).astype(np.float64)
        nonzero = events.sum(1)
        total = int(nonzero.sum())
        if not total:
            return NOTHING
        self.magnitudes.see(x, total)
        taps = fan.taps
        driven = (nonzero * taps if isinstance(taps, int) else dot(events, taps)) * fan.reached
        return nonzero, driven, driven

    def _weigh(self, x: Array, alone: float, fan: Fan) -> None:
        """Sum of |value| x driven taps, in float64.  While one magnitude was alone it was that times the taps, and not kept."""
        if alone:
            self.value_taps = alone * self.totals[1]
        for start in range(0, x.shape[0], max(1, CHUNK // max(1, x[0].size))):
            part = np.abs(x[start : start + max(1, CHUNK // max(1, x[0].size))]).astype(np.float64)
            self.value_taps += float((part * fan.taps).sum()) * fan.reached

    def _read_device(self, x: Tensor, fan: Fan) -> Found:
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
        total = int(counts[0].sum())
        if total and fan.reached and not self.magnitudes.many and flat[-1] != total:
            self.magnitudes.see(host(x), total)
        return counts[0], counts[1], counts[2]

    def add_taps(self, taps: Rows, nonzero: int, elements: int, slot: int) -> None:
        """Counts found elsewhere (products of activations): taps [rows] of one call; driven equals effective."""
        self.elements += elements
        first = np.zeros(taps.shape)
        first[:1] = nonzero
        self._readings.append((taps.shape[0], [slot], (first, taps, taps)))

    @property
    def rows(self) -> dict[int, Rows]:
        """Rows per call -> [3, slots, rows]: nonzero, driven, effective of all that was read."""
        self._over = self._sum_up(self._over)
        return _added(self._rows, self._readings)

    def pass_by(self, elements: int) -> None:
        """So many elements arrived whose values nobody knows."""
        self.elements += elements
        self.seen = False

    def see(self, values: Array, mask: Array) -> int:
        """Evidence of a whole tensor, and which of it is not zero; returns how many are not."""
        nonzero = int(np.count_nonzero(mask))
        if nonzero:
            self.magnitudes.see(values, nonzero)
        return nonzero

    @property
    def totals(self) -> tuple[int, int, int]:
        """nonzero, driven, effective."""
        sums = [0.0, 0.0, 0.0]
        for kept in self._rows.values():
            sums = [one + more for one, more in zip(sums, kept.sum(axis=(1, 2)).tolist(), strict=True)]
        for _, _, found in self._readings:
            sums = [
                one + float(more.sum() if hasattr(more, "sum") else more) for one, more in zip(sums, found, strict=True)
            ]
        return int(sums[0]) + self.nonzero_only, int(sums[1]), int(sums[2])

    def evidence(self, *, neuron: bool, nonzero: int | None = None) -> Evidence:
        """nonzero: the first of `totals`, where it is at hand."""
        m = self.magnitudes
        return Evidence(
            magnitudes=m.seen,
            many=m.many,
            positive=m.positive,
            negative=m.negative,
            zeros=(self.totals[0] if nonzero is None else nonzero) < self.elements,
            neuron=neuron,
        )

    # A forward that turns out different midway must leave no trace: what it brings waits until it has ended.
    def save(self, forward: int) -> None:
        """What is read next belongs to `forward`, until it ends."""
        if self._forward != forward:
            self.settle()
            m = self.magnitudes
            self._forward = forward
            self._before = (self.elements, self.nonzero_only, self.value_taps, m.seen, m.many, m.positive, m.negative)

    def settle(self) -> None:
        """What was read so far belongs to forwards that are over, and so does what is read next."""
        self._forward, self._over = 0, len(self._readings)
        if self._over >= LATE:
            self._over = self._sum_up(self._over)

    def _sum_up(self, over: int) -> int:
        self._rows = _added(self._rows, self._readings[:over])
        del self._readings[:over]
        return 0

    def restore(self, forward: int) -> None:
        if self._forward != forward:
            return
        m = self.magnitudes
        self.elements, self.nonzero_only, self.value_taps, m.seen, m.many, m.positive, m.negative = self._before
        del self._readings[self._over :]
        self._forward = 0


def _added(kept: dict[int, Rows], readings: list[Reading]) -> dict[int, Rows]:
    """{rows per call: [3, slots, rows]} with `readings` added."""
    total = dict(kept)
    for rows in {r[0] for r in readings}:
        parts = [(slots, found) for n, slots, found in readings if n == rows]
        sums = _summed(parts, rows)
        before = total.get(rows)
        if before is not None:
            small, large = sorted((before, sums), key=lambda r: r.shape[1])
            sums = large.copy()
            sums[:, : small.shape[1]] += small
        total[rows] = sums
    return total


def _summed(parts: list[tuple[list[int], Found]], rows: int) -> Rows:
    """[3, slots, rows] of several reads; each has a line per call and row, or one number for its only line."""
    if len(parts) == 1 and parts[0][0] == list(range(len(parts[0][0]))):
        ((calls, found),) = parts
        alone = np.empty((3, len(calls), rows))
        for row, part in zip(alone, found, strict=True):
            row.reshape(-1)[:] = part
        return alone
    slots = np.array([slot for calls, _ in parts for slot in calls])
    need = int(slots.max(initial=-1)) + 1
    lines = (slots[:, None] * rows + np.arange(rows)).reshape(-1)
    sums = np.empty((3, need, rows))
    for i, row in enumerate(sums):
        brought = np.concatenate([np.broadcast_to(found[i], len(calls) * rows) for calls, found in parts])
        row.reshape(-1)[:] = np.bincount(lines, brought, need * rows)
    return sums


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


def nonzeros(values: Array) -> int:
    """How many values are not zero, counted in pieces whose flags stay in cache."""
    flat = values.reshape(-1) if values.flags.c_contiguous else values.T.reshape(-1)  # a weight, or its transpose
    total = 0
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        total += int(np.count_nonzero(np.not_equal(part, 0, out=_reuse("flags", _BOOL, part.shape))))
    return total


def _driven(lines: Array, taps: Array) -> Rows:
    """0/1 lines [n, channels, positions] x taps [positions] -> [n], exact."""
    n, channels, places = lines.shape
    rows: Rows = dot(lines.reshape(n * channels, places), taps).reshape(n, channels).sum(1, dtype=np.float64)
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
            total += dot(flat[:, start : start + width], met[start : start + width])
        return total
    return dot(lines.reshape(n, -1).astype(np.float64), met)
