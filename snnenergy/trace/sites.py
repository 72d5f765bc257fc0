"""A site is one operand of one contraction (or a neuron's output): where its values are read, buffered and tallied.

Small inputs are copied when they arrive and read many at a time, over the steps of a loop and over forwards: reading
costs a few operator calls whatever the size.  Large inputs are read at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from snnenergy.counts import Domain
from snnenergy.trace.streams import NO_FAN, Fan, Rows, Scratch, Tally

SMALL = 1 << 14
"""Inputs of at most this many elements are buffered."""
FULL = 1 << 16
"""Elements a buffer holds at most before it is read."""
MANY = 128
"""Calls a buffer holds at most."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the reduced axis (input channels or features) that comes from one source."""

    source: str | None
    index: Tensor | None = None
    override: Domain | None = None


WHOLE = (Segment(None),)
Fans = tuple[Fan, ...]
OUTPUT_FANS: Fans = (NO_FAN,)


@dataclass(eq=False)
class Site:
    """kind: `linear` (features on the last axis), `conv` (channels on axis 1) or `output` (only events are counted)."""

    path: str
    kind: str
    label: str | None
    scratch: Scratch
    segments: tuple[Segment, ...] = WHOLE
    operand: str = "a"
    neuron: bool = True
    tallies: list[Tally] = field(default_factory=list)
    partner: Site | None = None
    _calls: list[Tensor] = field(default_factory=list)
    _slots: list[int] = field(default_factory=list)
    _size: int = 0
    _fans: Fans = OUTPUT_FANS
    _mark: int = 0
    _forward: int = 0
    slot: int = 0

    def __post_init__(self) -> None:
        self.tallies = [Tally() for _ in self.segments]

    def begin(self, forward: int) -> None:
        self._mark, self._forward, self.slot = len(self._calls), forward, 0

    def take(self, x: Tensor, fans: Fans) -> None:
        """One call's input arrived: copy it, or read it now; it may be overwritten later."""
        slot = self.slot
        self.slot = slot + 1
        n = x.numel()
        if n > SMALL:
            self._read([x], [slot], fans, current=True)
            return
        calls = self._calls
        if calls and (fans is not self._fans or x.shape != calls[0].shape or x.dtype != calls[0].dtype):
            self.flush()
        self._fans = fans
        self._calls.append(x.clone())
        self._slots.append(slot)
        self._size += n
        if self._size > FULL or len(self._calls) >= MANY:
            self.flush()

    def flush(self) -> None:
        """Read what is buffered: first what belongs to finished forwards, then what belongs to the open one."""
        calls, slots, mark = self._calls, self._slots, self._mark
        self._calls, self._slots, self._size, self._mark = [], [], 0, 0
        if mark:
            self._read(calls[:mark], slots[:mark], self._fans, current=False)
        if len(calls) > mark:
            self._read(calls[mark:], slots[mark:], self._fans, current=True)

    def drop(self) -> None:
        """The open forward does not count: forget what it brought."""
        if len(self._calls) > self._mark:
            self._size -= sum(t.numel() for t in self._calls[self._mark :])
            del self._calls[self._mark :], self._slots[self._mark :]
        for tally in self.tallies:
            tally.restore(self._forward)

    def _read(self, calls: list[Tensor], slots: list[int], fans: Fans, *, current: bool) -> None:
        stacked = calls[0].unsqueeze(0) if len(calls) == 1 else torch.stack(calls)
        for segment, tally, fan in zip(self.segments, self.tallies, fans, strict=True):
            if current:
                tally.save(self._forward)
            tally.read(self._lines(stacked, segment.index), slots, fan, self.scratch)

    def _lines(self, x: Tensor, index: Tensor | None) -> Tensor:
        """[calls, *shape] -> [calls, rows, channels, positions]."""
        calls = x.shape[0]
        if self.kind == "linear":
            x = x if index is None else x.index_select(x.dim() - 1, index)
            return x.reshape(calls, -1, 1, x.shape[-1])
        if self.kind == "conv":
            x = x if index is None else x.index_select(2, index)
            return x.reshape(calls, x.shape[1], x.shape[2], -1)
        return x.reshape(calls, x.shape[1] if x.dim() > 2 else 1, 1, -1)

    def take_whole(self, x: Tensor, taps: int) -> None:
        """A call whose taps a user's rule gave: all of them are taken as driven."""
        slot = self.slot
        self.slot = slot + 1
        tally = self.tallies[0]
        tally.save(self._forward)
        nonzero = tally.see(x)
        tally.add_taps(np.full(1, float(taps)), nonzero, x.numel(), slot)


def read_product(left: Site, right: Site, a: Tensor, b: Tensor) -> None:
    """Two activations a [B, m, k] @ b [B, k, n]: a tap is driven when both are non-zero; taps stand on `left`."""
    one, other = left.tallies[0], right.tallies[0]
    one.save(left._forward)
    other.save(right._forward)
    a_mask, b_mask = a != 0, b != 0
    a_lines, b_lines = a_mask.sum(1, dtype=torch.float64), b_mask.sum(2, dtype=torch.float64)  # [B, k]
    taps: Rows = (a_lines * b_lines).sum(1).cpu().numpy()
    nonzero_a, nonzero_b = one.see(a), other.see(b)
    one.add_taps(taps, nonzero_a, a.numel(), left.slot)
    other.elements += b.numel()
    other.nonzero_only += nonzero_b
    left.slot += 1
    right.slot += 1
    # sum of |value| x taps, by either operand: which of them weighs the unit taps follows from the domains at the end
    if one.magnitudes.seen:
        one.value_taps += float((a.abs().to(torch.float64).sum(1) * b_lines).sum())
    if other.magnitudes.seen:
        other.value_taps += float((a_lines * b.abs().to(torch.float64).sum(2)).sum())


def segment_fans(fan: Fan, segments: Sequence[Segment], kind: str) -> Fans:
    """The fan of the whole input, cut into its segments."""
    if fan.effective is None or all(s.index is None for s in segments):
        return (fan,) * len(segments)
    axis = 1 if kind == "linear" else 0
    cut = (fan.effective if s.index is None else fan.effective.index_select(axis, s.index) for s in segments)
    return tuple(Fan(fan.reached, fan.taps, part) for part in cut)
