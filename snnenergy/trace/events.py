"""Events as bits: which elements of a line are not zero, and how many taps those drive.

A line (one sample of one call) becomes words of 64 flags, a thirty-second of its float32 values, so that lines can wait
and be added up many at a time.  A map of taps is kept as bit planes, and what a line drives is

    sum over planes b of 2^b |line & plane b|

in integers, exact whatever the size of the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnenergy.trace.arrays import CHUNK, EXACT_FLOAT32, Array, Rows, dot, ones, packed, scratch
from snnenergy.trace.magnitudes import Magnitudes

Words = NDArray[np.uint64]
AT_ONCE = 1 << 14
"""Words of planes met by lines at a time."""
BLAS = 1 << 12
"""Words from which on a product with ones adds faster than a sum."""
WIDE = 1 << 12
"""Positions from which on planes are not made for every channel: they would be as large as many inputs."""
FEW = 2
"""Lines that do not make up for the planes of a map."""


def events(x: Array, magnitudes: Magnitudes | None = None) -> Words:
    """Lines x [n, channels, positions] -> words [n, ceil(elements / 64)]; `magnitudes` sees the values that are not zero."""
    if x.size <= CHUNK:
        return words(_piece(x, magnitudes))
    n, channels, places = x.shape
    bits = np.empty((n, -(-channels * places // 8)), dtype=np.uint8)
    for lines, chosen in _pieces(n, channels, places):
        part = _piece(x[lines, chosen], magnitudes)
        start = chosen.start * places // 8
        bits[lines, start : start + part.shape[1]] = part
    return words(bits)


def _piece(x: Array, magnitudes: Magnitudes | None) -> NDArray[np.uint8]:
    bits = packed(np.not_equal(x, 0, out=scratch(x.shape)))
    if magnitudes is not None:
        magnitudes.see(x, bits)
    return bits


def _pieces(n: int, channels: int, places: int) -> Iterator[tuple[slice, slice]]:
    """Lines and channels of about a chunk, which begin at a whole byte."""
    step = max(1, CHUNK // max(1, channels * places))
    width = channels if channels * places <= CHUNK else max(1, CHUNK // places // 8) * 8
    for line in range(0, n, step):
        for first in range(0, channels, width):
            yield slice(line, min(n, line + step)), slice(first, min(channels, first + width))


class Pad(NamedTuple):
    """Scratch for the flags of one call: in the shape of its values, and as what is packed along `axis`, line by line."""

    flags: NDArray[np.bool_]
    lines: NDArray[np.bool_]
    axis: int | None

    @classmethod
    def of(cls, shape: tuple[int, ...], lines: int) -> Pad:
        flags = scratch(shape)
        apart = flags.reshape(lines, -1)
        return cls(flags, apart, 1) if apart.shape[1] % 8 else cls(flags, flags, None)


def words(bits: NDArray[np.uint8]) -> Words:
    """Lines of bits [n, bytes] as words, with zeros after the last byte."""
    n, width = bits.shape
    if width % 8:
        wide = np.zeros((n, -(-width // 8) * 8), dtype=np.uint8)
        wide[:, :width] = bits
        bits = wide
    return bits.view(np.uint64)


def counted(lines: Words) -> Rows:
    """Events of each line [n, words]."""
    return _added(np.bitwise_count(lines))


def _added(counts: NDArray[np.uint8]) -> Rows:
    """Sums over the last axis of the events in each word."""
    width = counts.shape[-1]
    if counts.size < BLAS or width * 64 >= EXACT_FLOAT32:
        sums: Rows = np.add.reduce(counts, axis=-1, dtype=np.float64)
        return sums
    return dot(counts.astype(np.float32), ones(width)).astype(np.float64)


@dataclass(slots=True, eq=False)
class Map:
    """A number of taps for each position [positions], the same in every channel, or for each element [channels, positions]."""

    values: NDArray[np.int32]
    met: int = 0  # lines weighed so far
    _planes: dict[int, tuple[Words, Rows]] = field(init=False, default_factory=dict, repr=False)

    def weigh(self, lines: Words, elements: int) -> Rows:
        """Sum over the events of each line, of so many elements."""
        width = self.values.shape[-1]
        if width >= WIDE and not width % 64 and self.values.size == width < elements:  # every channel a line of its own
            sums: Rows = self.weigh(lines.reshape(-1, width // 64), width).reshape(len(lines), -1).sum(1)
            return sums
        kept = self._planes.get(elements)
        if kept is None:
            self.met += len(lines)
            if self.met <= FEW and self.values.size == elements:
                return self._once(lines)
            kept = self._planes[elements] = _planes(np.broadcast_to(self.values, (elements // width, width)))
        planes, powers = kept
        step = max(1, AT_ONCE // max(1, planes.size))
        if len(lines) <= step:
            return _added(np.bitwise_count(lines[:, None, :] & planes)) @ powers
        return np.concatenate([self.weigh(lines[i : i + step], elements) for i in range(0, len(lines), step)])

    def _once(self, lines: Words) -> Rows:
        """The same without planes, which are worth making for more than a few lines."""
        numbers = self.values.reshape(-1)
        exact = np.float32 if numbers.sum(dtype=np.float64) < EXACT_FLOAT32 else np.float64
        flags = np.unpackbits(lines.view(np.uint8), axis=1, count=numbers.size)
        return dot(flags.astype(exact), numbers.astype(exact)).astype(np.float64)


def _planes(values: NDArray[np.int32]) -> tuple[Words, Rows]:
    """[bits of the largest, words]: plane b holds bit b of every number; and what each plane counts for."""
    numbers = values.reshape(-1)
    planes = np.zeros((int(numbers.max(initial=0)).bit_length(), -(-numbers.size // 64) * 8), dtype=np.uint8)
    for b, plane in enumerate(planes):
        plane[: -(-numbers.size // 8)] = np.packbits((numbers & np.int32(1 << b)) != 0)
    return planes.view(np.uint64), np.exp2(np.arange(len(planes)))


@dataclass(frozen=True, slots=True)
class Fan:
    """How an input [n, channels, positions] reaches its taps.

    reached: dense synapses per (element, position tap); taps: kernel taps of each position, or one int for all
    effective: [channels, positions] non-zero weights met, or None where no weight is zero
    copies: how often each position occurs in the padded input that the kernel sees, whose positions are `padded`
    """

    reached: int
    taps: Map | int
    effective: Map | None = None
    copies: Map | None = None
    padded: int = 0

    def elements(self, size: int) -> int:
        """Elements the kernel sees when `size` arrive."""
        return size if self.copies is None else size // self.copies.values.size * self.padded

    def found(self, lines: Words, elements: int) -> Rows:
        """[3, n]: nonzero, driven and effective taps of each line of so many elements."""
        found = np.zeros((3, len(lines)))
        found[0] = counted(lines) if self.copies is None else self.copies.weigh(lines, elements)
        if self.reached:
            found[1] = found[0] * self.taps if isinstance(self.taps, int) else self.taps.weigh(lines, elements)
            found[1] *= self.reached
            found[2] = found[1] if self.effective is None else self.effective.weigh(lines, elements)
        return found


NO_FAN = Fan(0, 0)
