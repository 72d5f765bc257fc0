"""Which axis is time, how many steps ran, how many samples: from what the framework states and what the forward did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnenergy.errors import TimeAxisError
from snnenergy.frameworks import TimeLayout
from snnenergy.trace.arrays import Rows


@dataclass(frozen=True, slots=True)
class Clock:
    """steps T (None: no time), axis of the model's input that is time, samples, where it is from.

    order: how a layer that runs all steps at once holds them: `TN` or `NT` in its first axes, `XT` last, ``: not known
    looped: one call of a layer is one step, as far as the forward showed
    """

    steps: int | None
    axis: int | None
    samples: int
    order: str = "TN"
    source: str = ""
    looped: bool = False


def read(
    shape: tuple[int, ...] | None,
    *,
    stated: TimeLayout | None,
    time_axis: int | None,
    samples: int | None,
    neuron_calls: Iterable[int],
    layer_calls: Iterable[int],
    selects: Mapping[int, int],
    unbatched: bool,
    conv_rows: int | None,
    linear_rows: int | None = None,
    step_rows: int | None = None,
) -> Clock:
    """The clock of one forward whose first input has `shape`; raises TimeAxisError where samples cannot be known.

    neuron_calls, layer_calls: how often each ran; selects: slices the model took off its input, per axis;
    conv_rows, linear_rows: of the first such layer, which are samples x steps where a framework folds them
    step_rows: rows of one call of the first neuron, or else layer, which are samples where a loop runs the steps
    """
    order = stated.order if stated is not None else "TN"
    axis: int | None
    if time_axis is not None:
        given = _axis(time_axis, shape)
        order = order if stated is not None else _order(given, shape or ())
        clock = Clock(shape[given] if shape else None, given, 0, order, "time_axis given")
    elif stated is not None:
        seen = stated.samples if stated.squeezed or stated.samples in (shape or ())[:2] else None
        if stated.axis is not None:
            axis = _axis(stated.axis, shape)
        elif seen is None or stated.squeezed:
            axis = _folded_axis(shape, stated, conv_rows)
        else:
            axis = _stated_axis(shape or (), stated, conv_rows or linear_rows)
        clock = Clock(stated.steps, axis, 0, order, stated.source)
        if samples is None and seen is not None:
            samples = seen
        elif samples is None and stated.folded and conv_rows and conv_rows % stated.steps == 0:
            samples = conv_rows // stated.steps
    else:
        steps = _loop(neuron_calls, layer_calls, _one_taken(selects, shape, step_rows))
        source = "a loop inside forward" if steps else ""
        axis = _taken_axis(selects, steps, shape, step_rows)
        if axis is None and steps and shape and len(shape) > 1 and shape[0] == steps != shape[1] == step_rows:
            axis = 0  # the model took its steps off something it made of its input
        clock = Clock(steps, axis, 0, order, source, looped=True)
    return replace(clock, samples=_samples(shape, clock.axis, unbatched) if samples is None else samples)


def _stated_axis(shape: tuple[int, ...], stated: TimeLayout, rows: int | None) -> int | None:
    """Where T lies in an input that has an axis of N samples as the layers have: None, it was repeated.

    rows: of the first layer; N of them where it ran once per sample, before the steps were made
    """
    at = 0 if stated.order == "TN" else 1
    both = len(shape) > 1 and shape[at] == stated.steps and shape[1 - at] == stated.samples
    once = shape[0] == stated.samples == rows and stated.steps > 1
    return at if both and not once else None


def _folded_axis(shape: tuple[int, ...] | None, stated: TimeLayout, conv_rows: int | None) -> int | None:
    """Where the T steps that a framework's layers saw lie in the model's own input; None: it was repeated, or is folded."""
    if stated.squeezed and shape and shape[0] == (stated.samples or 0) * stated.steps:
        return None
    axis = 0 if stated.order == "TN" else 1
    if not shape or len(shape) <= axis or shape[axis] != stated.steps:
        return None
    return (
        None if conv_rows is not None and len(shape) > 1 and conv_rows not in (shape[0] * shape[1], shape[0]) else axis
    )


def _loop(neuron_calls: Iterable[int], layer_calls: Iterable[int], one: bool) -> int | None:
    """Steps of a loop inside forward: how often neurons ran, or, without neurons, every layer.

    Where every layer ran a number of times and the neurons a multiple of it, each of them serves several layers in a step.
    one: the model took one step off its input, as a loop over one step does
    """
    neurons = [n for n in neuron_calls if n]
    layers = {n for n in layer_calls if n}
    each = layers.pop() if len(layers) == 1 else 1
    if neurons:
        steps = max(set(neurons), key=lambda n: (neurons.count(n), n))
        steps = each if each > 1 and steps % each == 0 else steps
        return steps if steps > 1 or one else None
    return each if each > 1 else None


def _one_taken(selects: Mapping[int, int], shape: tuple[int, ...] | None, rows: int | None) -> bool:
    """Whether the model took all of an axis 0 that is one long, and a call then saw the samples of axis 1."""
    return shape is not None and len(shape) > 1 and shape[0] == 1 == selects.get(0) and shape[1] == rows


def _taken_axis(
    selects: Mapping[int, int], steps: int | None, shape: tuple[int, ...] | None, rows: int | None
) -> int | None:
    """The axis of the input off which the model took one slice per step; or several, where the axis is T long.

    Or the first axis, where all of it was taken and not one slice a step: it would else be the samples.
    """
    if not steps:
        return None
    once = [axis for axis, taken in selects.items() if taken == steps]
    often = [axis for axis, taken in selects.items() if taken % steps == 0 and shape and shape[axis] == steps]
    hits = once if len(once) == 1 else often
    if len(hits) == 1:
        return hits[0]
    return 0 if not hits and shape and _taken_whole(selects.get(0, 0), steps, shape, rows) else None


def _taken_whole(taken: int, steps: int, shape: tuple[int, ...], rows: int | None) -> bool:
    """Whether the slices taken off axis 0 are time: what one call read of them is then samples, whole.

    Frames that are run several times each, or whose neurons serve several layers; differences of frames, T or T - 1 of them.
    """
    length = shape[0]
    if length < 2 or (len(shape) > 2 and (not rows or not shape[1] or rows % shape[1])):
        return False
    runs = taken == length and steps % length == 0
    differences = (length == steps and taken >= length) or (length == steps + 1 and taken in (length, 2 * steps))
    return runs or differences


def _order(axis: int, shape: tuple[int, ...]) -> str:
    """Of a model that keeps the axes of its input."""
    if axis == 0:
        return "TN"
    return "XT" if axis == len(shape) - 1 else "NT" if axis == 1 else ""


def _axis(time_axis: int, shape: tuple[int, ...] | None) -> int:
    if not shape:
        raise TimeAxisError("time_axis was given, but the model has no tensor input to find it in")
    if not -len(shape) <= time_axis < len(shape):
        raise TimeAxisError(
            f"time_axis={time_axis}: the first input has shape {list(shape)}; use -{len(shape)} to {len(shape) - 1}"
        )
    return time_axis % len(shape)


def _samples(shape: tuple[int, ...] | None, axis: int | None, unbatched: bool) -> int:
    if shape is None:
        raise TimeAxisError("the number of samples cannot be known: no input is a tensor; pass samples=N")
    if unbatched or len(shape) <= 1:
        return 1
    if axis is None:
        return shape[0]
    if len(shape) == 2:
        return 1 if axis == 0 else shape[0]
    return shape[1] if axis == 0 else shape[0]


def per_step(kept: Rows, steps: int, order: str) -> Rows | None:
    """[3, slots, rows] -> [3, steps]: a loop's calls in order, else rows folded as `order` says; None: neither fits.

    A row is one place of axis 0, over which steps that lie last are already summed.
    """
    _, slots, rows = kept.shape
    if slots % steps == 0 and (slots > 1 or steps == 1):
        folded: Rows = kept.sum(2).reshape(3, steps, -1).sum(2)
        return folded
    if rows % steps == 0 and order in ("TN", "NT"):
        flat = kept.sum(1)
        shaped = flat.reshape(3, steps, -1).sum(2) if order == "TN" else flat.reshape(3, -1, steps).sum(1)
        return np.asarray(shaped)
    return None


def add_steps(parts: Sequence[Rows | None]) -> Rows | None:
    """Sum of [3, steps] parts; None if any is unknown."""
    total: Rows | None = None
    for part in parts:
        if part is None:
            return None
        total = part if total is None else total + part
    return total
