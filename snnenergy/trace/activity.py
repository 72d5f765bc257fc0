"""Silent and saturated neurons: which fired in no step of an inference, and which in every one.

Of a layer in one forward two bit sets are kept, over the elements of one call: fired in some call so far, and in every
call.  Only two sums outlive the forward, over neurons and samples, so they add over forwards and shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from snnenergy.trace.clock import Clock
from snnenergy.trace.events import Words


class Fired:
    """What is kept of one layer in one forward: of each line of a call, which elements fired."""

    __slots__ = ("calls", "every", "forward", "shape", "some")

    def __init__(self, forward: int = 0) -> None:
        self.forward = forward
        self.calls = 0
        self.shape: tuple[int, int] | None = (0, 0)  # lines of one call, elements of one line; None: of several sizes
        self.some: Any = None
        self.every: Any = None

    def see(self, x: Words | Tensor, shape: tuple[int, int]) -> None:
        """x: the spikes of consecutive calls, [calls * lines, ...] words of flags or, on an accelerator, values."""
        lines = shape[0]
        calls = len(x) // max(1, lines)
        if self.calls and self.shape != shape:
            self.shape = None
        else:
            self.shape = shape
            some = every = (x.reshape(len(x), -1) != 0) if isinstance(x, Tensor) else x
            if calls > 1:
                some, every = _over(some.reshape(calls, lines, -1), 0)
            if self.calls:
                some, every = self.some | some, self.every & every
            self.some, self.every = some, every
        self.calls += calls

    def sums(self, clock: Clock) -> tuple[Any, Any] | None:
        """(silent, saturated) neurons x samples of the forward; None where its steps cannot be told apart."""
        if self.shape is None or not self.calls:
            return None
        steps, (lines, elements) = clock.steps or 1, self.shape
        if self.calls == steps:
            return lines * elements - _number(self.some), _number(self.every)
        samples = max(1, clock.samples)
        if self.calls != 1 or clock.looped or not clock.order or lines * elements % (steps * samples):
            return None
        some = self.some
        apart = clock.order != "XT" and not lines % (steps * (samples if clock.order == "NT" else 1))
        if not apart and not isinstance(some, Tensor):  # steps lie within a line
            some = np.unpackbits(some.view(np.uint8), axis=1, count=elements).astype(np.bool_)
        shape, axis = {"TN": ((steps, -1), 0), "NT": ((samples, steps, -1), 1), "XT": ((-1, steps), 1)}[clock.order]
        fired, always = _over(some.reshape(shape), axis)
        return lines * elements // steps - _number(fired), _number(always)


def _over(flags: Any, axis: int) -> tuple[Any, Any]:
    """Which are set in some, and in every place of an axis, of words or of flags."""
    if isinstance(flags, Tensor):
        return flags.any(axis), flags.all(axis)
    return np.bitwise_or.reduce(flags, axis), np.bitwise_and.reduce(flags, axis)


def _number(flags: Any) -> Any:
    """How many are set, in words or in flags."""
    return flags.sum() if isinstance(flags, Tensor) or flags.dtype == np.bool_ else int(np.bitwise_count(flags).sum())


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

    def hear(self, x: Words | Tensor, slots: Sequence[int], shape: tuple[int, int], forward: int) -> None:
        self.fired.see(x, shape)

    def close(self) -> None:
        pass

    def drop(self, forward: int) -> None:
        pass  # it is thrown away with its forward


class Listener:
    """Hears a neuron layer in watched forwards, where a site reads its spikes anyway."""

    def __init__(self, activity: Activity, clock: Clock) -> None:
        self.activity, self.clock = activity, clock
        self.open: Fired | None = None

    def hear(self, x: Words | Tensor, slots: Sequence[int], shape: tuple[int, int], forward: int) -> None:
        """x [calls * lines, ...]; slots[i]: which call of its forward the i-th one is; forward: 0 for those that are over.

        shape: lines of one call, elements of one line
        """
        lines = shape[0]
        starts = [i for i, slot in enumerate(slots) if slot == 0]
        for start, stop in zip([0, *starts], [*starts, len(slots)], strict=True):
            if start == stop:
                continue
            if slots[start] == 0:
                self.close()
                self.open = Fired()
            if self.open is not None:
                self.open.forward = forward
                self.open.see(x[start * lines : stop * lines], shape)

    def close(self) -> None:
        """The forward heard last is over."""
        if self.open is not None:
            self.activity.add(self.open.sums(self.clock))
            self.open = None

    def drop(self, forward: int) -> None:
        """The open forward does not count."""
        if self.open is not None and self.open.forward == forward:
            self.open = None
