"""A site is one operand of one contraction (or a neuron's output): where its values are read, buffered and tallied.

Small inputs are copied when they arrive and read many at a time, over the steps of a loop and over forwards: reading
costs a few operator calls whatever the size.  Others become bits at once, while they lie in cache; very large ones are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from ctypes import memmove
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnenergy.counts import Domain
from snnenergy.trace.activity import Hearing, Listener
from snnenergy.trace.arrays import CHUNK, Array, Rows, host
from snnenergy.trace.events import NO_FAN, Fan, Map, Pad, words
from snnenergy.trace.streams import Tally
from snnenergy.trace.tensors import valueless

SMALL = 1 << 12
"""Inputs of at most this many elements are buffered."""
FULL = 1 << 17
"""Elements a buffer holds at most before it is read."""
FAR = 1 << 24
"""The same on an accelerator, where a read is a synchronisation."""
MANY = 128
"""Calls a buffer holds at most."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the reduced axis (input channels or features) that comes from one source."""

    source: str | None
    index: Array | None = None
    override: Domain | None = None


WHOLE = (Segment(None),)
NO_BUFFER: Array = np.empty(0, object)
"""Of a dtype that no input has."""
Fans = tuple[Fan, ...]
OUTPUT_FANS: Fans = (NO_FAN,)


class Site:
    """kind: `linear` (features on the last axis), `conv` (channels on axis 1), `output` (only events are counted) or
    `product` (one operand of a product of activations; `partner` is the other).
    """

    def __init__(self, path: str, kind: str, segments: tuple[Segment, ...] = WHOLE, operand: str = "a") -> None:
        self.path, self.kind, self.segments, self.operand = path, kind, segments, operand
        self.tallies = [Tally() for _ in segments]
        self.partner: Site | None = None
        self.neuron = self._neuron_before = True  # every value so far came from a spiking neuron
        self.listener: Listener | Hearing | None = None  # of a neuron's spikes
        self.rank = 0  # of a convolution's kernel input: batch, channel and spatial axes
        self.slot = 0  # calls so far in the open forward
        self.forward = 0
        self._fans: Fans = OUTPUT_FANS  # of what is held, as are shape and dtype
        self._shape: tuple[int, ...] = ()
        self._dtype: torch.dtype | None = None
        self._direct = False  # inputs lie in memory as NumPy has them
        self._room = self._held = self._mark = 0  # calls that may be held, that are, and that finished forwards brought
        self._slots: list[int] = []
        self._buffer: Array = NO_BUFFER
        self._address = self._bytes = 0  # of the buffer, and of one call in it
        self._pad: Pad | None = None  # where events are held instead of values
        self._events: list[NDArray[np.uint8]] = []
        self._lines = (0, 0)  # of one call, and elements of one line
        self._waiting: list[Tensor] = []  # on an accelerator: copies that stay there
        self._pairs: list[tuple[Tensor, Tensor, int, int]] = []  # there too: both operands, call, forward

    def begin(self, forward: int) -> None:
        self._mark, self.forward, self.slot = self._held, forward, 0
        self._neuron_before = self.neuron

    def listen(self, listener: Listener | Hearing | None) -> None:
        """Who hears what is read from the next call on."""
        if self.listener is not listener:
            self.flush()
            if self.listener is not None:
                self.listener.close()
            self.listener = listener

    def take(self, x: Tensor, fans: Fans) -> None:
        """One call's input arrived: copy it, or note its events; it may be overwritten later."""
        slot = self.slot
        self.slot = slot + 1
        held = self._held
        if (
            held < self._room
            and fans is self._fans
            and x.dtype is self._dtype
            and x.shape == self._shape
            and self._direct
            and x.is_cpu
            and not x.is_neg()
        ):  # the usual call: between two kernels of the model all that Python touches has left the cache
            pad = self._pad
            if pad is not None:
                values = x.detach().numpy() if x.requires_grad else x.numpy()
                events = self.tallies[0].look(values, pad, fans[0])
                if events is not None:
                    self._events.append(events)
                    self._slots.append(slot)
                    self._held = held + 1
                    return
            elif x.is_contiguous():
                memmove(self._address + held * self._bytes, x.data_ptr(), self._bytes)
                self._slots.append(slot)
                self._held = held + 1
                return
        if valueless(x):
            self._pass_by(x, fans)
        elif x.is_cpu:
            self._take_host(x, fans, slot)
        else:
            self._take_device(x, fans, slot)

    def _pass_by(self, x: Tensor, fans: Fans) -> None:
        """One call's input of which only the shape is known."""
        channels = x.dim() - 1 if self.kind == "linear" else x.dim() - (self.rank - 1)
        for segment, tally, fan in zip(self.segments, self.tallies, fans, strict=True):
            tally.save(self.forward)
            size = x.numel() if segment.index is None else x.numel() // x.shape[channels] * len(segment.index)
            tally.pass_by(fan.elements(size) if size else 0)

    def _take_host(self, x: Tensor, fans: Fans, slot: int) -> None:
        values = host(x)
        if values.shape != self._shape or x.dtype is not self._dtype or fans is not self._fans or self._waiting:
            self.flush()
            self._fit(values, x, fans)
        elif self._held == self._room:
            self._make_room(values, x)
        if self._buffer is not NO_BUFFER:
            self._buffer[self._held] = values
        else:
            events = None if self._pad is None else self.tallies[0].look(values, self._pad, fans[0])
            if events is None:
                self.flush()
                self._read(values[None], [slot], fans, current=True)
                return
            self._events.append(events)
        self._slots.append(slot)
        self._held += 1

    def _fit(self, values: Array, x: Tensor, fans: Fans) -> None:
        """From here on inputs are like this one: how are they held?"""
        lines, rows = self._in_lines(values[None], None)
        elements = lines.shape[1] * lines.shape[2]
        self._shape, self._fans, self._lines = values.shape, fans, (rows, elements)
        self._dtype, self._direct = x.dtype, _as_they_lie(values, x)
        self._buffer, self._pad, self._room = NO_BUFFER, None, 0
        if values.size <= SMALL:
            self._room, self._direct = 1, False  # of one call, until another comes
            self._buffer = np.empty((1, *values.shape), dtype=values.dtype)
        elif values.size <= CHUNK and self.segments[0].index is None:
            self._room = MANY
            self._pad = Pad.of(values.shape, rows)

    def _make_room(self, values: Array, x: Tensor) -> None:
        """Another input like the one before has come: so will more."""
        room = max(1, min(MANY, FULL // max(1, values.size)))
        if self._buffer is NO_BUFFER or self._room == room:
            self.flush()
            return
        first, self._room, self._direct = self._buffer, room, _as_they_lie(values, x)
        self._buffer = np.empty((room, *values.shape), dtype=values.dtype)
        self._buffer[: self._held] = first[: self._held]
        self._address, self._bytes = self._buffer.ctypes.data, values.nbytes

    def expect(self, shape: tuple[int, ...], dtype: torch.dtype, fans: Fans) -> None:
        """Inputs like these come next."""
        other = shape != self._shape or dtype is not self._dtype or fans is not self._fans
        if other or self._room == 1:
            x = torch.empty(shape, dtype=dtype, device="cpu")
            values = host(x)
            if other:
                self.flush()
                self._fit(values, x, fans)
            if self._room == 1:
                self._make_room(values, x)

    def touch(self) -> None:
        """Memory that later calls are copied to, met first between two kernels, costs more than the copy."""
        if self._buffer is not NO_BUFFER:
            self._buffer[self._held :] = 0

    def _take_device(self, x: Tensor, fans: Fans, slot: int) -> None:
        x = x.detach()
        first = self._waiting[0] if self._waiting else x
        if fans is not self._fans or x.shape != self._shape or x.dtype != first.dtype or not self._waiting:
            self.flush()
        if not self._waiting:
            self._fans, self._shape, self._room = fans, tuple(x.shape), max(1, min(MANY, FAR // max(1, x.numel())))
            self._buffer, self._pad, self._dtype = NO_BUFFER, None, None  # shape and room are no longer theirs
        self._waiting.append(x.clone())
        self._slots.append(slot)
        self._held += 1
        if self._held == self._room:
            self.flush()

    def flush(self) -> None:
        """Read what is buffered: first what belongs to finished forwards, then what belongs to the open one."""
        pairs, self._pairs = self._pairs, []
        for a, b, slot, forward in pairs:
            assert self.partner is not None
            _tally_product(self, self.partner, a, b, slot, current=forward == self.forward)
        held, mark, slots = self._held, self._mark, self._slots
        if not held:
            return
        kept: Any = self._events or self._waiting or self._buffer
        self._held, self._mark, self._slots, self._waiting, self._events = 0, 0, [], [], []
        for start, stop in ((0, mark), (mark, held)):
            if start == stop:
                continue
            part = kept[start:stop]
            if self._pad is not None:
                self._add(np.concatenate(part), slots[start:stop], current=start == mark)
            else:
                values = part if isinstance(part, np.ndarray) else torch.stack(part)
                self._read(values, slots[start:stop], self._fans, current=start == mark)

    def settle(self) -> None:
        """All forwards are over."""
        for tally in self.tallies:
            tally.settle()
        if self.listener is not None:
            self.listener.close()

    def drop(self) -> None:
        """The open forward does not count: forget what it brought."""
        self.neuron = self._neuron_before
        if self._held > self._mark:
            self._held = self._mark
            del self._slots[self._mark :], self._waiting[self._mark :], self._events[self._mark :]
        self._pairs = [pair for pair in self._pairs if pair[3] != self.forward]
        for tally in self.tallies:
            tally.restore(self.forward)
        if self.listener is not None:
            self.listener.drop(self.forward)

    def _read(self, x: Array | Tensor, slots: list[int], fans: Fans, *, current: bool) -> None:
        """x [calls, *shape]"""
        for segment, tally, fan in zip(self.segments, self.tallies, fans, strict=True):
            tally.belongs(self.forward if current else 0)
            values, rows = self._in_lines(x, segment.index)
            lines = tally.read(values, slots, rows, fan)
            if self.listener is not None:  # of a neuron's output, which is one segment
                shape = (rows, values.shape[1] * values.shape[2])
                self.listener.hear(values if lines is None else lines, slots, shape, self.forward if current else 0)

    def _add(self, events: NDArray[np.uint8], slots: list[int], *, current: bool) -> None:
        """Events of several calls."""
        rows, elements = self._lines
        lines = words(events.reshape(len(slots) * rows, -1))
        self.tallies[0].belongs(self.forward if current else 0)
        self.tallies[0].add(lines, slots, rows, self._fans[0], elements)
        if self.listener is not None:
            self.listener.hear(lines, slots, self._lines, self.forward if current else 0)

    def _in_lines(self, x: Any, index: Array | None) -> tuple[Any, int]:
        """[calls, *shape] -> [calls * rows, channels, positions], and rows per call."""
        shape = x.shape
        channels = len(shape) - 1 if self.kind == "linear" else len(shape) - (self.rank - 1)
        if index is not None:
            x = x.take(index, channels) if isinstance(x, np.ndarray) else _pick(x, index, channels)
            shape = x.shape
        if self.kind == "conv":  # [calls, ..., channels, *sizes]: steps and samples may be apart still
            rows = math.prod(shape[1:channels])
            return x.reshape(shape[0] * rows, shape[channels], math.prod(shape[channels + 1 :])), rows
        if self.kind == "linear":
            rows = math.prod(shape[1:-1])
            return x.reshape(shape[0] * rows, 1, shape[-1]), rows
        rows = shape[1] if len(shape) > 2 else 1
        return x.reshape(shape[0] * rows, 1, math.prod(shape[1:]) // max(1, rows)), rows

    def take_whole(self, x: Tensor, taps: int) -> None:
        """A call whose taps a user's rule gave: all of them are taken as driven; which value meets which is not known."""
        slot = self.slot
        self.slot = slot + 1
        tally = self.tallies[0]
        tally.save(self.forward)
        if valueless(x):
            tally.pass_by(x.numel())
            return
        values = host(x)
        nonzero = tally.see(values, values != 0)
        tally.value_taps = math.nan  # read as: no unit taps, once there are several magnitudes
        tally.add_taps(np.full(1, float(taps)), nonzero, x.numel(), slot)


def _as_they_lie(values: Array, x: Tensor) -> bool:
    """Whether NumPy reads the memory of a tensor as it is."""
    return values.itemsize == x.element_size() and not x.is_complex()


def _pick(x: Tensor, index: Array, axis: int) -> Tensor:
    return x.index_select(axis, torch.from_numpy(index).to(x.device))


def read_product(left: Site, right: Site, a: Tensor, b: Tensor, pairs: Pairs | None = None) -> None:
    """Two activations a [B, m, k] @ b [B, k, n]: a tap is driven when both are non-zero; taps stand on `left`.

    pairs: which elements meet, where that is no matrix product
    """
    slot = left.slot
    left.slot += 1
    right.slot += 1
    if valueless(a) or valueless(b):
        for site, x in ((left, a), (right, b)):
            site.tallies[0].save(site.forward)
            site.tallies[0].pass_by(x.numel())
        return
    if a.is_cpu or pairs is not None:  # pairs: of a backward pass, which is counted once
        _tally_product(left, right, a, b, slot, current=True, pairs=pairs)
        return
    left._pairs.append((a.detach().clone(), b.detach().clone(), slot, left.forward))
    if len(left._pairs) >= min(MANY, FAR // max(1, a.numel() + b.numel())):
        left.flush()


Pairs = Callable[[Array, Array], Rows]
"""Taps in which elements of one operand meet elements of the other, per row of the batch: of two masks their number, of
magnitudes and a mask the sum of the magnitudes."""


def _tally_product(
    left: Site, right: Site, a: Tensor, b: Tensor, slot: int, *, current: bool, pairs: Pairs | None = None
) -> None:
    one, other = left.tallies[0], right.tallies[0]
    for site in (left, right):
        if current:
            site.tallies[0].save(site.forward)
        else:
            site.tallies[0].settle()
    left_values, right_values = host(a), host(b)
    alone = [tally.magnitudes.alone for tally in (one, other)]
    if pairs is None:
        columns, rows = one.columns(left_values), other.lines(right_values)
        taps, left_events, right_events = (columns * rows).sum(1), int(columns.sum()), int(rows.sum())
    else:
        left_mask, right_mask = left_values != 0, right_values != 0
        left_events, right_events = one.see(left_values, left_mask), other.see(right_values, right_mask)
        taps = pairs(left_mask, right_mask)
    one.add_taps(taps, left_events, a.numel(), slot)
    other.elements += b.numel()
    other.nonzero_only += right_events
    # sum of |value| x taps, by either operand: which of them weighs the unit taps follows from the domains at the end
    for tally, was in zip((one, other), alone, strict=True):
        if len(tally.magnitudes.seen) > 1:
            if was:
                tally.value_taps = was * (one.totals[1] - int(taps.sum()))
            if pairs is not None:
                operands = (np.abs(left_values), right_mask) if tally is one else (left_mask, np.abs(right_values))
                tally.value_taps += float(pairs(*operands).sum())
            elif tally is one:
                tally.value_taps += float((one.magnitudes.columns(left_values) * rows).sum())
            else:
                tally.value_taps += float((columns * other.magnitudes.added(right_values, 2)).sum())


def segment_fans(fan: Fan, segments: Sequence[Segment], kind: str) -> Fans:
    """The fan of the whole input, cut into its segments."""
    if fan.effective is None or all(s.index is None for s in segments):
        return (fan,) * len(segments)
    axis = 1 if kind == "linear" else 0
    met = fan.effective.values
    cut = (met if s.index is None else met.take(s.index, axis) for s in segments)
    return tuple(replace(fan, effective=Map(part)) for part in cut)
