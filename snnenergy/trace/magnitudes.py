"""Evidence of a stream's domain in the making: which magnitudes and signs its values had so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnenergy.counts import MAX_MAGNITUDES
from snnenergy.trace.arrays import EXACT_FLOAT32, Array, Rows, column_sums, packed, scratch

SAMPLE = 1024
FEW = 1 << 14
"""Values that are looked at as soon as a sample of them."""
TINY = 2.0**-100
"""Units below this have no reciprocal to count on in float32."""
DOZEN = 12
"""Levels that are compared with one by one."""
LATTICE = 1 << 15
"""Values looked up at a time: what is made of them stays in cache."""


@dataclass(slots=True)
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

    def see(self, x: Array, events: NDArray[np.uint8]) -> None:
        """x: values [n, ...]; events: which of them are not zero, packed."""
        if self.many:
            return
        usual = self.usual
        if usual is not None:
            hits = packed(np.equal(x, usual, out=scratch(x.shape, "hits")))
            if hits.tobytes() == events.tobytes():
                return
        elif self._on_grid(x):
            return
        nonzero = int(np.bitwise_count(events).sum())
        if not nonzero:
            return
        if np.iscomplexobj(x):
            self._too_many()
            return
        self._learn(x, nonzero)

    def _on_grid(self, x: Array) -> bool:
        """Whether every value is a multiple as they came before, where all multiples up to the largest came."""
        steps = grid(self.seen)
        if steps is None or x.dtype.kind != "f" or len(self.seen) != steps.largest:
            return False
        low, high = -steps.largest if self.negative else 0, steps.largest if self.positive else 0
        flat, unit, scale = x.reshape(-1), x.dtype.type(steps.unit), x.dtype.type(1 / steps.unit)
        for start in range(0, flat.size, LATTICE):
            part = flat[start : start + LATTICE]
            multiples = np.rint(part * scale)  # of a value too small to be scaled 0, which is not that value
            if not (multiples.min() >= low and multiples.max() <= high and (multiples * unit == part).all()):
                return False
        return True

    def added(self, x: Array, axis: int | tuple[int, ...]) -> Rows:
        """Sums of the magnitudes of x over axes: in float64, unless float32 holds all of them exactly."""
        sizes = np.abs(x) if self.negative else x
        sums: Rows = sizes.sum(axis, dtype=np.float32 if self._exact(x) else np.float64).astype(np.float64)
        return sums

    def columns(self, x: Array) -> Rows:
        """The same over m of [B, m, k]: [B, k]."""
        if self._exact(x):
            return column_sums(np.abs(x) if self.negative else x)
        return self.added(x, 1)

    def _exact(self, x: Array) -> bool:
        """Whether float32 holds every sum of these magnitudes exactly."""
        steps = grid(self.seen)
        return steps is not None and x.dtype == np.float32 and x.size * steps.largest < EXACT_FLOAT32

    def _learn(self, x: Array, nonzero: int) -> None:
        flat = x.reshape(-1)
        large = flat.size > FEW
        if large and self._varied(flat, SAMPLE // 4):  # before all of it is looked at
            return
        largest = float(x.max())
        if largest > 0 and np.count_nonzero(x == largest) == nonzero:
            self.positive = True
            self._add([largest])
            return
        if (not large and self._varied(flat, SAMPLE // 4)) or self._varied(flat, SAMPLE):
            return
        smallest = float(x.min())
        if not math.isfinite(largest) or not math.isfinite(smallest):
            self._too_many()
            return
        size = np.abs(flat if x.dtype.kind == "f" else flat.astype(np.float64))
        if not self._known(size):
            found = levels_of(size)
            self._add(found[found != 0].tolist())
        if not (self.positive and self.negative):
            self.positive |= largest > 0
            self.negative |= smallest < 0

    def _varied(self, flat: Array, size: int) -> bool:
        """Whether a sample of so many values has too many magnitudes already."""
        sample = np.abs(flat[:: flat.size // size | 1])  # odd: a batch of equal images is no short period
        sample.sort()
        varied = int(np.count_nonzero(sample[1:] != sample[:-1])) > MAX_MAGNITUDES  # zero is no magnitude
        if varied:
            self._too_many()
        return varied

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
        levels = np.array([0.0, *self.seen])
        found = _multiples(size, _unit_of(levels))
        if found is not None:
            return bool(np.isin(found, levels).all())
        index = np.minimum(np.searchsorted(levels, size), len(self.seen))
        return bool((levels[index] == size).all())


def _unit_of(levels: Array) -> float:
    """The smallest distance of sorted, distinct magnitudes: of which all are multiples, if of anything."""
    return float(np.diff(levels).min(initial=math.inf))


def levels_of(size: Array) -> Array:
    """The distinct values of `size`, ascending."""
    sample = np.unique(size[:: size.size // SAMPLE | 1])
    if len(sample) <= DOZEN:
        rest = _without(size, sample)
        return np.union1d(sample, rest) if rest.size else sample
    found = _multiples(size, _unit_of(np.union1d(sample, [0.0])))
    return np.unique(size) if found is None else found


def _without(size: Array, levels: Array) -> Array:
    """The values that are none of a few levels."""
    rest = []
    for start in range(0, size.size, LATTICE):
        part = size[start : start + LATTICE]
        hits = part == levels[0]
        for level in levels[1:]:
            hits |= part == level
        if not hits.all():
            rest.append(part[~hits])
    return np.concatenate(rest) if rest else size[:0]


def _multiples(size: Array, unit: float) -> Array | None:
    """The distinct values of `size`, ascending, where all are multiples of `unit` with a small factor: counted, not sorted."""
    scale = size.dtype.type(unit)
    if not 0 < scale < math.inf:
        return None
    present = np.zeros(SAMPLE, dtype=np.bool_)
    for start in range(0, size.size, LATTICE):
        part = size[start : start + LATTICE]
        with np.errstate(over="ignore", invalid="ignore"):
            factor = np.rint(part / scale)
            if not (factor.max(initial=0) < SAMPLE and (factor * scale == part).all()):
                return None
        present[factor.astype(np.int32)] = True
    levels: Array = (np.flatnonzero(present).astype(size.dtype) * scale).astype(np.float64)
    return levels


class Grid(NamedTuple):
    """Multiples of a power of two, of which float32 adds as exactly as of 1."""

    unit: float
    largest: int


@lru_cache(maxsize=256)
def grid(seen: tuple[float, ...]) -> Grid | None:
    """The grid on which magnitudes lie, or None."""
    if not seen:
        return None
    unit = seen[0]
    if (
        unit < TINY
        or math.frexp(unit)[0] != 0.5
        or not all((s / unit).is_integer() for s in seen)
        or seen[-1] / unit >= SAMPLE
    ):
        return None
    return Grid(unit, int(seen[-1] / unit))
