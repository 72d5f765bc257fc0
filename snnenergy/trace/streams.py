"""What values arrive: counters and evidence of one stream, read without keeping a tensor longer than a few steps.

A tally sees batches of calls stacked to lines [calls * rows, channels, positions] and keeps, per call slot and row, the
non-zero elements, driven taps and effective taps; and over the whole run the set of magnitudes seen, from which the
domain follows.  On the CPU lines are bits, whose taps are counted many lines at a time; on an accelerator the same sums
are made there, with one synchronisation per read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnenergy.counts import Evidence
from snnenergy.trace.arrays import CHUNK, EXACT_FLOAT32, Array, Rows, column_sums, host, packed, scratch
from snnenergy.trace.events import Fan, Map, Pad, Words, counted, events, words
from snnenergy.trace.magnitudes import Magnitudes

LATE = 64
"""Reads that wait at most until they are added up."""

Reading = tuple[int, list[int], Rows]
"""Lines per call, which call of its forward each one is, and nonzero, driven and effective of every line [3, lines]."""


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

    def look(self, x: Array, pad: Pad, fan: Fan) -> NDArray[np.uint8] | None:
        """Events of x as bits, whose values are what this stream always had; None where they say something new of it."""
        flags, lines, axis = pad
        usual = None
        if fan.reached and not self.magnitudes.many:
            usual = self.magnitudes.usual
            if usual is None:
                return None
        np.not_equal(x, 0, flags)
        bits = np.packbits(lines, axis)
        if usual is not None:
            np.equal(x, usual, flags)
            if np.packbits(lines, axis).tobytes() != bits.tobytes():
                return None
        return bits

    def read(self, x: Array | Tensor, slots: list[int], rows: int, fan: Fan) -> Words | None:
        """x [calls * rows, channels, positions]; slots[i]: which call of its forward the i-th one is.

        Returns the events of every line where the values lie on the host.
        """
        alone = self.magnitudes.alone
        if isinstance(x, Tensor):
            found = self._read_device(x, fan)
            if len(self.magnitudes.seen) > 1:
                self._weigh(host(x), alone, fan)
            self.elements += fan.elements(x.numel())
            self._readings.append((rows, slots, found))
            return None
        lines = events(x, self.magnitudes if fan.reached else None)
        if len(self.magnitudes.seen) > 1:
            self._weigh(x, alone, fan)
        self.add(lines, slots, rows, fan, x.shape[1] * x.shape[2])
        return lines

    def add(self, lines: Words, slots: list[int], rows: int, fan: Fan, elements: int) -> None:
        """Events [calls * rows, words] of lines of so many elements."""
        self.elements += fan.elements(len(lines) * elements)
        self._readings.append((rows, slots, fan.found(lines, elements)))

    def _weigh(self, x: Array, alone: float, fan: Fan) -> None:
        """Sum of |value| x driven taps, in float64.  While one magnitude was alone it was that times the taps, and not kept."""
        if alone:
            self.value_taps = alone * self.totals[1]
        taps = fan.taps if isinstance(fan.taps, int) else fan.taps.values
        step = max(1, CHUNK // max(1, math.prod(x.shape[1:])))
        for start in range(0, x.shape[0], step):
            met = self.magnitudes.added(x[start : start + step], (0, 1)) * taps
            self.value_taps += float(met.sum()) * fan.reached

    def _read_device(self, x: Tensor, fan: Fan) -> Rows:
        """The same on an accelerator: masks and sums stay there, and come over together."""
        n, channels, places = x.shape
        mask = x != 0

        def weighed(by: Map) -> Tensor:
            values = torch.from_numpy(by.values).to(x.device)
            if len(values.shape) == 1 and by.values.sum(dtype=np.float64) < EXACT_FLOAT32:
                per_line = torch.mv(mask.reshape(n * channels, places).to(torch.float32), values.to(torch.float32))
                return per_line.view(n, channels).sum(1, dtype=torch.float64)
            return (mask * values).reshape(n, -1).sum(1, dtype=torch.float64)

        rows = [mask.reshape(n, -1).sum(1, dtype=torch.float64) if fan.copies is None else weighed(fan.copies)]
        rows.append((rows[0] * fan.taps if isinstance(fan.taps, int) else weighed(fan.taps)) * fan.reached)
        rows.append(rows[1] if fan.effective is None else weighed(fan.effective))
        usual = self.magnitudes.usual
        usually = (x == usual).sum(dtype=torch.float64) if usual is not None else torch.zeros((), device=x.device)
        flat = torch.cat([*rows, usually.to(torch.float64).reshape(1)]).cpu().numpy()
        counts: Rows = flat[:-1].reshape(3, n)
        total = int(counts[0].sum())
        if total and fan.reached and not self.magnitudes.many and flat[-1] != total:
            events(host(x), self.magnitudes)
        return counts

    def columns(self, x: Array) -> Rows:
        """How many of x [B, m, k] are not zero for each k: [B, k]; the magnitudes see x."""
        found = np.zeros((x.shape[0], x.shape[2]))
        for lines, flags, mixed in self._flags(x):
            found[lines] = column_sums(flags.astype(np.float32)) if mixed else x.shape[1]
        return found

    def lines(self, x: Array) -> Rows:
        """How many of x [B, k, n] are not zero for each k: [B, k]; the magnitudes see x."""
        _, k, n = x.shape
        found = np.zeros(x.shape[:2])
        for lines, flags, mixed in self._flags(x):
            found[lines] = counted(words(packed(flags.reshape(-1, n)))).reshape(-1, k) if mixed else n
        return found

    def _flags(self, x: Array) -> Iterator[tuple[slice, NDArray[np.bool_], bool]]:
        """Pieces of x along its first axis that have events: where, which elements are not zero, and whether some are zero."""
        step = max(1, CHUNK // max(1, math.prod(x.shape[1:])))
        for start in range(0, x.shape[0], step):
            part = x[start : start + step]
            flags = np.not_equal(part, 0, out=scratch(part.shape))
            if not self.magnitudes.many:
                self.magnitudes.see(part, packed(flags))
            events = int(np.count_nonzero(flags))
            if events:
                yield slice(start, start + step), flags, events < flags.size

    def add_taps(self, taps: Rows, nonzero: int, elements: int, slot: int) -> None:
        """Counts found elsewhere (products of activations): taps [rows] of one call; driven equals effective."""
        self.elements += elements
        found = np.stack([np.zeros(taps.shape), taps, taps])
        found[0, :1] = nonzero
        self._readings.append((taps.shape[0], [slot], found))

    @property
    def rows(self) -> dict[int, Rows]:
        """Rows per call -> [3, slots, rows]: nonzero, driven, effective of all that was read."""
        self._sum_up()
        return _added(self._rows, self._readings)

    def pass_by(self, elements: int) -> None:
        """So many elements arrived whose values nobody knows."""
        self.elements += elements
        self.seen = False

    def see(self, values: Array, mask: NDArray[np.bool_]) -> int:
        """Evidence of a whole tensor, and which of it is not zero; returns how many are not."""
        self.magnitudes.see(values, packed(mask))
        return int(np.count_nonzero(mask))

    @property
    def totals(self) -> tuple[int, int, int]:
        """nonzero, driven, effective."""
        sums = np.zeros(3)
        for kept in self._rows.values():
            sums += kept.sum(axis=(1, 2))
        for _, _, found in self._readings:
            sums += found.sum(1)
        nonzero, driven, effective = map(int, sums.tolist())
        return nonzero + self.nonzero_only, driven, effective

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

    def belongs(self, forward: int) -> None:
        """What is read next belongs to `forward`; 0: to forwards that are over."""
        if forward:
            self.save(forward)
        else:
            self.settle()

    def settle(self) -> None:
        """What was read so far belongs to forwards that are over, and so does what is read next."""
        self._forward, self._over = 0, len(self._readings)
        if self._over >= LATE:
            self._sum_up()

    def _sum_up(self) -> None:
        """Add up what forwards that are over have brought."""
        self._rows = _added(self._rows, self._readings[: self._over])
        del self._readings[: self._over]
        self._over = 0

    def restore(self, forward: int) -> None:
        if self._forward != forward:
            return
        m = self.magnitudes
        self.elements, self.nonzero_only, self.value_taps, m.seen, m.many, m.positive, m.negative = self._before
        del self._readings[self._over :]
        self._forward = 0


def _added(kept: dict[int, Rows], readings: list[Reading]) -> dict[int, Rows]:
    """{rows per call: [3, slots, rows]} with `readings`, all of them counted, added."""
    total = dict(kept)
    for rows in {r[0] for r in readings}:
        sums = _summed([(slots, found) for n, slots, found in readings if n == rows], rows)
        before = total.get(rows)
        if before is not None:
            small, large = sorted((before, sums), key=lambda r: r.shape[1])
            sums = large.copy()
            sums[:, : small.shape[1]] += small
        total[rows] = sums
    return total


def _summed(parts: list[tuple[list[int], Rows]], rows: int) -> Rows:
    """[3, slots, rows] of several reads with a line per call and row."""
    slots = [slot for calls, _ in parts for slot in calls]
    found = parts[0][1] if len(parts) == 1 else np.concatenate([found for _, found in parts], axis=1)
    if slots == list(range(len(slots))):
        return found.reshape(3, len(slots), rows)
    calls = np.array(slots)
    need = int(calls.max(initial=-1)) + 1
    lines = (calls[:, None] * rows + np.arange(rows)).reshape(-1)
    sums = np.empty((3, need, rows))
    for row, brought in zip(sums, found, strict=True):
        row.reshape(-1)[:] = np.bincount(lines, brought, need * rows)
    return sums
