"""The first witness: every tap of an operator visited one by one, in plain Python.

A tap is one (input element, weight) pair of the dense operator.  It is valid when the input is a real element (or a copy
of one that reflected, circular or replicated padding makes) and the output exists; driven when that element is not zero
either; effective when its weight is not zero either.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

Index = tuple[int, ...]


@dataclass
class Taps:
    """dense, valid, driven, effective taps, and the driven ones weighted by |value|."""

    dense: int = 0
    valid: int = 0
    driven: int = 0
    effective: int = 0
    weighted: float = 0.0

    def visit(self, value: float | None, weight: float) -> None:
        """One tap; `value` is None where it falls on zero padding or on no output."""
        self.dense += 1
        if value is None:
            return
        self.valid += 1
        if value != 0:
            self.driven += 1
            self.weighted += abs(value)
            self.effective += weight != 0


def positions(sizes: Sequence[int]) -> Iterator[Index]:
    return itertools.product(*(range(n) for n in sizes))


def _zeros(i: int, size: int) -> int | None:
    return i if 0 <= i < size else None


def _reflect(i: int, size: int) -> int:
    # ... 2 1 | 0 1 2 3 | 2 1 ...
    if i < 0:
        return -i
    return i if i < size else 2 * (size - 1) - i


def _circular(i: int, size: int) -> int:
    return i % size


def _replicate(i: int, size: int) -> int:
    return min(max(i, 0), size - 1)


PADDED: dict[str, Callable[[int, int], int | None]] = {
    "zeros": _zeros,
    "reflect": _reflect,
    "circular": _circular,
    "replicate": _replicate,
}
"""Which real position stands at position i of the padded axis; None: a zero."""


def convolution(
    x: Tensor,
    w: Tensor,
    out: Sequence[int],
    *,
    stride: Sequence[int],
    before: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    mode: str = "zeros",
) -> Taps:
    """x [N, Cin, *sizes], w [Cout, Cin/groups, *kernel]; `before`: elements padded in front of each axis."""
    taps = Taps()
    values, weights = elements(x), elements(w)
    inputs, outputs = w.shape[1], w.shape[0] // groups
    real = PADDED[mode]
    for n, o, place in itertools.product(range(x.shape[0]), range(w.shape[0]), positions(out)):
        for c, k in itertools.product(range(inputs), positions(w.shape[2:])):
            at = [
                real(p * s + q * d - b, size)
                for p, s, q, d, b, size in zip(place, stride, k, dilation, before, x.shape[2:], strict=True)
            ]
            channel = o // outputs * inputs + c
            inside = [i for i in at if i is not None]
            value = values[n, channel, *inside] if len(inside) == len(at) else None
            taps.visit(value, weights[o, c, *k])
    return taps


def transposed_convolution(
    x: Tensor,
    w: Tensor,
    out: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Taps:
    """x [N, Cin, *sizes], w [Cin, Cout/groups, *kernel]: every input scatters its kernel; what is cropped is not valid."""
    taps = Taps()
    values, weights = elements(x), elements(w)
    for n, c, place in itertools.product(range(x.shape[0]), range(x.shape[1]), positions(x.shape[2:])):
        for o, k in itertools.product(range(w.shape[1]), positions(w.shape[2:])):
            at = [p * s + q * d - b for p, s, q, d, b in zip(place, stride, k, dilation, padding, strict=True)]
            lands = all(0 <= i < size for i, size in zip(at, out, strict=True))
            taps.visit(values[n, c, *place] if lands else None, weights[c, o, *k])
    return taps


def linear(x: Tensor, w: Tensor) -> Taps:
    """x [*, k], w [n, k]"""
    taps = Taps()
    weights = elements(w)
    for row in x.reshape(-1, x.shape[-1]).tolist():
        for o, i in positions(w.shape):
            taps.visit(row[i], weights[o, i])
    return taps


def product(a: Tensor, b: Tensor) -> Taps:
    """a [B, m, k] @ b [B, k, n], two activations: a tap is driven when both are not zero."""
    taps = Taps()
    left, right = elements(a), elements(b)
    for z, i, j, k in positions((*a.shape[:2], b.shape[2], a.shape[2])):
        one, other = left[z, i, k], right[z, k, j]
        taps.visit(one if other != 0 else 0.0, other)
    return taps


def elements(t: Tensor) -> dict[Index, float]:
    return dict(zip(positions(t.shape), t.detach().reshape(-1).tolist(), strict=True))
