"""Static inputs as T steps, and events as frames: what an SNN is fed when the file holds images or a camera's events.

direct    the values themselves, the same at every step
rate      a spike with probability x at every step, x in 0..1; from a seed
latency   one spike per element, at step round((1 - x) (T - 1)), x in 0..1; none where x = 0
delta     +1 or -1 where the signal moved by 0.1 or more since the step before, first from 0: a static input speaks once
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError

if TYPE_CHECKING:
    import torch

CODINGS = ("direct", "rate", "latency", "delta")
DELTA_THRESHOLD = 0.1
MAX_ELEMENTS = 2**31
"""Largest encoded input, elements."""
EVENT_KEYS = ("x", "y", "t", "p")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a static input [N, ...] becomes steps: [T, N, ...], or with time on another axis; seed: of `rate`."""

    coding: str
    steps: int
    seed: int = 0
    axis: int = 0

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise InputError(f"--encode: expected one of {', '.join(CODINGS)}; found {self.coding!r}")
        if self.steps < 1:
            raise InputError(f"--steps: expected at least 1, found {self.steps}")

    def __str__(self) -> str:
        seeded = f", seed {self.seed}" if self.coding == "rate" else ""
        return f"input encoded by {self.coding} coding, T = {self.steps} on axis {self.axis}{seeded}"


def encode(x: torch.Tensor, how: Encoding) -> torch.Tensor:
    """x [N, ...] -> [T, N, ...] (time on `how.axis`); InputError where x is outside the coding's range."""
    import torch

    if not 0 <= how.axis <= x.dim():
        raise InputError(f"--time-axis {how.axis}: an encoded input has {x.dim() + 1} axes; use 0 to {x.dim()}")
    if x.numel() * how.steps > MAX_ELEMENTS:
        raise InputError(f"--steps {how.steps}: more than {MAX_ELEMENTS} elements; use fewer steps or samples")
    _check_range(x, how.coding)
    if how.coding == "direct":
        coded = x.expand(how.steps, *x.shape).clone()
    elif how.coding == "rate":
        generator = torch.Generator().manual_seed(how.seed)
        coded = (torch.rand((how.steps, *x.shape), generator=generator) < x).to(x.dtype)
    elif how.coding == "latency":
        at = ((1 - x) * (how.steps - 1)).round()
        step = torch.arange(how.steps, dtype=x.dtype).view(-1, *[1] * x.dim())
        coded = ((step == at) & (x > 0)).to(x.dtype)
    else:
        coded = torch.zeros((how.steps, *x.shape), dtype=x.dtype)
        coded[0] = x.sign() * (x.abs() >= DELTA_THRESHOLD)
    return coded.movedim(0, how.axis).contiguous()


def _check_range(x: torch.Tensor, coding: str) -> None:
    import torch

    if not x.is_floating_point():
        raise InputError(f"--encode {coding}: the model takes {x.dtype}; only values that may be fractions are encoded")
    if not x.numel() or not bool(torch.isfinite(x).all()):
        raise InputError(f"--encode {coding}: the input is empty, or holds NaN or infinity")
    low, high = float(x.min()), float(x.max())
    if coding in ("rate", "latency") and (low < 0 or high > 1):
        raise InputError(
            f"--encode {coding}: takes values from 0 to 1, found {low:g} to {high:g}; scale the input (bytes: divide by 255)"
        )


def are_events(arrays: Mapping[str, Any]) -> bool:
    """Whether a file's arrays are events: x, y, t and p of one length."""
    if not set(EVENT_KEYS) <= set(arrays):
        return False
    shapes = {tuple(arrays[key].shape) for key in EVENT_KEYS}
    return len(shapes) == 1 and len(shapes.pop()) == 1


def frames(
    arrays: Mapping[str, Any], width_of_bin: float, where: str, only: int | None = None
) -> tuple[torch.Tensor, str]:
    """Events x, y, t, p -> frames [T, 1, 2, H, W] of event counts (polarity on axis 2), and a note of what was done.

    width_of_bin: in the file's own unit of t.  Sensor size: the file's `width` and `height`, or its largest coordinates.
    only: T, where it is given: later events are left out, frames after the last event are empty
    """
    import torch

    if not math.isfinite(width_of_bin) or width_of_bin <= 0:
        raise InputError(f"--event-bin: expected a positive duration in the file's unit of t, found {width_of_bin:g}")
    x, y, t, p = (_column(arrays[key], key, where) for key in EVENT_KEYS)
    if not len(t):
        raise InputError(f"{where}: holds no events")
    if t.dtype.is_floating_point and not bool(torch.isfinite(t).all()):
        raise InputError(f"{where}: t holds NaN or infinity")
    polarity = _polarity(p, where)
    width, height = _size(arrays, "width", x, where), _size(arrays, "height", y, where)
    step = torch.div(t - t.min(), width_of_bin, rounding_mode="floor")
    if not float(step.max()) < MAX_ELEMENTS:  # also NaN: a span beyond the largest float
        raise InputError(f"{where}: t spans more than {MAX_ELEMENTS} bins; use a wider --event-bin")
    steps = int(step.max()) + 1
    if steps * 2 * width * height > MAX_ELEMENTS:
        raise InputError(
            f"{where}: {steps} bins of 2 x {height} x {width} are more than {MAX_ELEMENTS} elements; use a wider --event-bin"
        )
    place = ((step.long() * 2 + polarity) * height + y) * width + x
    counted = torch.bincount(place, minlength=steps * 2 * height * width).to(torch.float32)
    stated = "stated in the file" if "width" in arrays and "height" in arrays else "from the largest coordinates"
    note = f"{len(t)} events as {steps} frames of {width_of_bin:g} each (event counts, T x 1 x 2 x {height} x {width}, {stated})"
    made = counted.view(steps, 1, 2, height, width)
    if only is None or only == steps:
        return made, note
    if only < steps:
        left = int(made[only:].sum())
        return made[:only].clone(), f"{note}; the first {only} of them, {left} events later than that left out"
    empty = made.new_zeros(only - steps, *made.shape[1:])
    return torch.cat([made, empty]), f"{note}; {only - steps} empty ones after them"


def _column(values: torch.Tensor, key: str, where: str) -> torch.Tensor:
    import torch

    if key == "t" and not values.dtype.is_complex:
        return values.double()
    if values.dtype.is_floating_point or values.dtype.is_complex:
        raise InputError(f"{where}: events' {key} must be integers, found {values.dtype}")
    return values.to(torch.int64)


def _polarity(p: torch.Tensor, where: str) -> torch.Tensor:
    if not (bool(((p == 0) | (p == 1)).all()) or bool((p.abs() == 1).all())):
        raise InputError(f"{where}: p must be 0 and 1, or -1 and 1; found {int(p.min())} to {int(p.max())}")
    return (p > 0).long()


def _size(arrays: Mapping[str, Any], name: str, places: torch.Tensor, where: str) -> int:
    """Pixels along one axis; every event must lie inside."""
    low, high = int(places.min()), int(places.max())
    stated = arrays.get(name)
    if stated is not None and (stated.numel() != 1 or stated.dtype.is_floating_point or stated.dtype.is_complex):
        raise InputError(f"{where}: {name} must be one integer, found {stated.dtype} of shape {tuple(stated.shape)}")
    size = int(stated.item()) if stated is not None else high + 1
    if low < 0 or high >= size:
        axis = "x" if name == "width" else "y"
        raise InputError(
            f"{where}: events' {axis} runs from {low} to {high}; a sensor of {name} {size} has 0 to {size - 1}"
        )
    return size
