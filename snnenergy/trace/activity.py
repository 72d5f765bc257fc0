"""Silent and saturated neurons: which fired in no step of an inference, and which in every one.

Of a layer in one forward two bit sets are kept, over the elements of one call: fired in some call so far, and in every
call.  Only two sums outlive the forward, over neurons and samples, so they add over forwards and shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from snnenergy.trace.clock import Clock

Array = NDArray[Any]
CHUNK = 1 << 18
"""Elements packed at a time: their flags stay in a core's cache."""


class Fired:
    """The bit sets of one layer in one forward."""

    __slots__ = ("calls", "elements", "every", "forward", "some")

    def __init__(self, forward: int = 0) -> None:
        self.forward = forward
        self.calls = 0
        self.elements: int | None = 0  # of one call; None: calls of several sizes
        self.some: Any = None
        self.every: Any = None

    def see(self, x: Array | Tensor) -> None:
        """x [calls, *shape]: the spikes of consecutive calls."""
        calls = x.shape[0]
        flat = x.reshape(calls, -1)
        elements = flat.shape[1]
        if self.calls and self.elements != elements:
            self.elements = None
        else:
            self.elements = elements
            if isinstance(flat, Tensor):
                flags = flat != 0
                some, every = (flags[0], flags[0]) if calls == 1 else (flags.any(0), flags.all(0))
            else:
                bits = _packed(flat)
                some, every = (
                    (bits[0], bits[0])
                    if calls == 1
                    else (np.bitwise_or.reduce(bits, 0), np.bitwise_and.reduce(bits, 0))
                )
            if self.calls:
                some, every = self.some | some, self.every & every
            self.some, self.every = some, every
        self.calls += calls

    def sums(self, clock: Clock) -> tuple[Any, Any] | None:
        """(silent, saturated) neurons x samples of the forward; None where its steps cannot be told apart."""
        steps, elements = clock.steps or 1, self.elements
        if elements is None or not self.calls:
            return None
        if self.calls == steps:
            some, every = self.some, self.every
            if isinstance(some, Tensor):
                return elements - some.sum(), every.sum()
            return elements - int(np.bitwise_count(some).sum()), int(np.bitwise_count(every).sum())
        if self.calls != 1 or clock.looped or not clock.order or elements % (steps * max(1, clock.samples)):
            return None
        flags = self.some if isinstance(self.some, Tensor) else np.unpackbits(self.some, count=elements).astype(bool)
        folded, axis = {
            "TN": (flags.reshape(steps, -1), 0),
            "NT": (flags.reshape(max(1, clock.samples), steps, -1), 1),
            "XT": (flags.reshape(-1, steps), 1),
        }[clock.order]
        some, every = folded.any(axis), folded.all(axis)
        return (~some).sum(), every.sum()


def _packed(flat: Array) -> Array:
    """The non-zero elements of [calls, elements] as bits [calls, bytes]."""
    calls, elements = flat.shape
    if flat.size <= CHUNK:
        return np.packbits(flat != 0, axis=1)
    bits = np.empty((calls, -(-elements // 8)), dtype=np.uint8)
    for call in range(calls):
        for start in range(0, elements, CHUNK):
            part = np.packbits(flat[call, start : start + CHUNK] != 0)
            bits[call, start // 8 : start // 8 + part.size] = part
    return bits


@dataclass
class Activity:
    """Of one neuron layer over the whole run; known: every forward so far could be told."""

    silent: Any = 0  # on an accelerator it stays there until the end
    saturated: Any = 0
    known: bool = True

    def add(self, sums: tuple[Any, Any] | None) -> None:
        if sums is None:
            self.known = False
        else:
            self.silent, self.saturated = self.silent + sums[0], self.saturated + sums[1]

    @property
    def pair(self) -> tuple[int | None, int | None]:
        return (int(self.silent), int(self.saturated)) if self.known else (None, None)


class Hearing:
    """Hears a neuron layer in one surveyed forward, whose steps are told apart at its end."""

    def __init__(self) -> None:
        self.fired = Fired()

    def hear(self, x: Array | Tensor, slots: Sequence[int], forward: int) -> None:
        self.fired.see(x)

    def close(self) -> None:
        pass

    def drop(self, forward: int) -> None:
        pass  # it is thrown away with its forward


class Listener:
    """Hears a neuron layer in watched forwards, where a site reads its spikes anyway."""

    def __init__(self, activity: Activity, clock: Clock) -> None:
        self.activity, self.clock = activity, clock
        self.open: Fired | None = None

    def hear(self, x: Array | Tensor, slots: Sequence[int], forward: int) -> None:
        """x [calls, *shape]; slots[i]: which call of its forward the i-th one is; forward: 0 for those that are over."""
        starts = [i for i, slot in enumerate(slots) if slot == 0]
        for start, stop in zip([0, *starts], [*starts, len(slots)], strict=True):
            if start == stop:
                continue
            if slots[start] == 0:
                self.close()
                self.open = Fired()
            if self.open is not None:
                self.open.forward = forward
                self.open.see(x[start:stop])

    def close(self) -> None:
        """The forward heard last is over."""
        if self.open is not None:
            self.activity.add(self.open.sums(self.clock))
            self.open = None

    def drop(self, forward: int) -> None:
        """The open forward does not count."""
        if self.open is not None and self.open.forward == forward:
            self.open = None
