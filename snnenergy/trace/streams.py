"""What values arrive: counters and evidence of one stream, read without keeping a tensor longer than a few steps.

A tally sees batches of calls stacked to lines [calls * rows, channels, positions] and keeps, per call slot and row, the
non-zero elements, driven taps and effective taps; and over the whole run the set of magnitudes seen, from which the
domain follows.  Masks are built in a small scratch that stays in cache; sums of float32 integers stay below 2^24.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Fan:
    """How an input [n, channels, positions] reaches its taps.

    reached: dense synapses per (element, position tap); taps: float32 [positions], or one int for all positions
    effective: [channels, positions] non-zero weights met, or None where no weight is zero
    """

    reached: int
    taps: Tensor | int
    effective: Tensor | None = None


NO_FAN = Fan(0, 0)


class Scratch:
    """Two reusable float32 lines per device, for masks and differences."""

    def __init__(self) -> None:
        self._lines: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lines = self._lines.get(x.device)
        if lines is None or lines[0].numel() < x.numel():
            size = max(x.numel(), 1 << 14)
            lines = (torch.empty(size, device=x.device), torch.empty(size, device=x.device))
            self._lines[x.device] = lines
        return lines[0][: x.numel()].view(x.shape), lines[1][: x.numel()].view(x.shape)


@dataclass
class Magnitudes:
    """Evidence in the making: the distinct non-zero magnitudes and signs seen so far."""

    seen: list[float] = field(default_factory=list)
    many: bool = False
    positive: bool = False
    negative: bool = False

    def see(self, x: Tensor, mask: Tensor, spare: Tensor) -> None:
        """x: values, any shape; mask: 1.0 where x is not zero (at least one is); spare: scratch of the same shape."""
        if self.many:
            return
        if x.dtype == torch.bool:
            self._learn_set([1.0], positive=True, negative=False)
            return
        if self.seen == [1.0] and self.positive and _equal(x, mask, spare):
            return
        if x.is_complex():
            self.many = True
            return
        self._learn(x.abs(), x)

    def _learn(self, size: Tensor, x: Tensor) -> None:
        if self._known(size):
            self._signs(x)
            return
        flat = size.reshape(-1)
        for part in (flat[:: max(1, flat.numel() // SAMPLE)], flat):
            found = torch.unique(part)
            found = found[found != 0].to(torch.float64)
            if found.numel() > MAX_MAGNITUDES or not bool(torch.isfinite(found).all()):
                self.many = True
                self.seen = []
                return
        self._learn_set(found.tolist(), positive=False, negative=False)
        self._signs(x)

    def _learn_set(self, found: list[float], *, positive: bool, negative: bool) -> None:
        self.seen = sorted({*self.seen, *found})
        self.positive |= positive
        self.negative |= negative
        if len(self.seen) > MAX_MAGNITUDES:
            self.many, self.seen = True, []

    def _known(self, size: Tensor) -> bool:
        """Whether every value is zero or a magnitude seen before."""
        if not self.seen:
            return False
        levels = torch.tensor([0.0, *self.seen], dtype=torch.float64, device=size.device).to(size.dtype)
        if len(self.seen) == 1:
            return bool(((size == 0) | (size == levels[1])).all())
        index = torch.bucketize(size, levels).clamp_(max=len(self.seen))
        return torch.equal(levels[index], size)

    def _signs(self, x: Tensor) -> None:
        if not (self.positive and self.negative):
            low, high = torch.aminmax(x)
            self.positive |= bool(high > 0)
            self.negative |= bool(low < 0)


def _equal(x: Tensor, mask: Tensor, spare: Tensor) -> bool:
    """x is its own 0/1 mask.  1 - x of a float is 0 or at least 6e-8, so the sum of squares cannot vanish by rounding."""
    torch.sub(mask, x, out=spare)
    line = spare.reshape(-1)
    return bool(torch.dot(line, line) == 0)


class Tally:
    """Counters of one stream segment.  Rows are kept per call slot so that time steps can be told apart later."""

    def __init__(self) -> None:
        self.elements = 0
        self.nonzero_only = 0  # events of an operand whose taps stand on its partner
        self.magnitudes = Magnitudes()
        self.value_taps = 0.0  # sum of |value| x driven taps; meaningful while the magnitudes are few
        self.rows: dict[int, Rows] = {}  # rows per call -> [3, slots, rows]: nonzero, driven, effective
        self._saved: tuple[int, Tally] | None = None

    def read(self, x: Tensor, slots: list[int], fan: Fan, scratch: Scratch) -> None:
        """x [calls, rows, channels, positions]; slots[i]: which call of its forward the i-th one is."""
        calls, rows, channels, places = x.shape
        self.elements += x.numel()
        lines = x.reshape(calls * rows, channels, places)
        found = np.zeros((3, calls * rows))
        step = max(1, CHUNK // max(1, channels * places))
        width = channels if step > 1 else max(1, CHUNK // max(1, places))
        for start in range(0, calls * rows, step):
            for first in range(0, channels, width):
                part = lines[start : start + step, first : first + width]
                self._read_part(part, found[:, start : start + step], fan, first, scratch)
        self._add(found.reshape(3, calls, rows), slots, rows)

    def _read_part(self, x: Tensor, found: Rows, fan: Fan, first: int, scratch: Scratch) -> None:
        """Adds the counts of x [n, channels, positions], whose first channel is `first`, to found [3, n]."""
        mask, spare = scratch.of(x)
        torch.ne(x, 0, out=mask)
        n = x.shape[0]
        nonzero = _row_sums(mask.view(n, -1))
        if not nonzero.any():
            return
        self.magnitudes.see(x, mask, spare)
        found[0] += nonzero
        driven = nonzero * (fan.reached * fan.taps) if isinstance(fan.taps, int) else _driven(mask, fan.taps) * fan.reached
        found[1] += driven
        found[2] += driven if fan.effective is None else _effective(mask, fan.effective[first : first + x.shape[1]])
        seen = self.magnitudes.seen
        if len(seen) == 1:
            self.value_taps += seen[0] * float(driven.sum())
        elif seen:
            self.value_taps += float((x.abs().to(torch.float64) * fan.taps).sum()) * fan.reached

    def _add(self, found: Rows, slots: list[int], rows: int) -> None:
        need = max(slots) + 1
        kept = self.rows.get(rows)
        if kept is None or kept.shape[1] < need:
            grown = np.zeros((3, need, rows))
            if kept is not None:
                grown[:, : kept.shape[1]] = kept
            self.rows[rows] = kept = grown
        np.add.at(kept, (slice(None), slots), found)

    def add_taps(self, taps: Rows, nonzero: int, elements: int, slot: int) -> None:
        """Counts found elsewhere (products of activations): taps [rows] of one call; driven equals effective."""
        self.elements += elements
        rows = taps.shape[0]
        found = np.zeros((3, 1, rows))
        found[0, 0, :1] = nonzero
        found[1:, 0] = taps
        self._add(found, [slot], rows)

    def see(self, x: Tensor) -> int:
        """Evidence of a whole tensor; returns its non-zero elements."""
        mask = (x != 0).to(torch.float32)
        nonzero = int(mask.sum(dtype=torch.float64))
        if nonzero:
            self.magnitudes.see(x, mask, torch.empty_like(mask))
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

    # A forward that turns out different midway must leave no trace: the first change of a forward saves the state.
    def save(self, forward: int) -> None:
        if self._saved is None or self._saved[0] != forward:
            saved = copy.copy(self)
            saved.magnitudes = copy.copy(self.magnitudes)
            saved.magnitudes.seen = self.magnitudes.seen[:]
            saved.rows = {n: kept.copy() for n, kept in self.rows.items()}
            self._saved = (forward, saved)

    def restore(self, forward: int) -> None:
        if self._saved is not None and self._saved[0] == forward:
            self.__dict__.update(self._saved[1].__dict__)
            self._saved = None


def _row_sums(mask: Tensor) -> Rows:
    """Sums of 0/1 rows [n, k], exact."""
    exact = mask.shape[1] < EXACT_FLOAT32
    sums: Rows = mask.sum(1, dtype=None if exact else torch.float64).to(torch.float64).cpu().numpy()
    return sums


def _driven(mask: Tensor, taps: Tensor) -> Rows:
    """mask [n, channels, positions] x kernel taps [positions] -> [n], exact."""
    n, channels, places = mask.shape
    per_line = torch.mv(mask.to(taps.dtype).view(n * channels, places), taps)
    rows: Rows = per_line.view(n, channels).sum(1, dtype=torch.float64).cpu().numpy()
    return rows


def _effective(mask: Tensor, effective: Tensor) -> Rows:
    """mask [n, channels, positions] x non-zero weights met [channels, positions] -> [n], exact."""
    n, channels, places = mask.shape
    if channels == 1 and effective.dtype == torch.float32:
        taps = torch.mv(mask.view(n, places), effective[0])
    else:
        taps = (mask * effective).sum(2).sum(1, dtype=torch.float64)
    rows: Rows = taps.to(torch.float64).cpu().numpy()
    return rows
