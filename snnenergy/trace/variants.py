"""A loaded model made into one configuration of a sweep: other thresholds, another number format, fewer time steps.

The model is changed in place: it was loaded for this one run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnenergy.errors import InputError, UsageError
from snnenergy.frameworks import fires, set_threshold
from snnenergy.trace.tensors import valueless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnenergy.counts import Counts

CASTS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ROUNDED = {"int8": 8}
"""Formats that only round the weights: to so many bits, one scale a tensor, symmetric about zero."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs from the model and its input as they are; None: nothing does.

    steps: the first so many of the input, along `time_axis`
    """

    threshold: float | None = None
    precision: str | None = None
    steps: int | None = None
    time_axis: int = 0

    def change(self, model: nn.Module) -> None:
        """UsageError names a neuron whose threshold cannot be set, or says that there is nothing to change."""
        if self.threshold is not None:
            _set_thresholds(model, self.threshold)
        if self.precision in CASTS:
            _cast(model, CASTS[self.precision])
        elif self.precision is not None:
            _round(model, ROUNDED[self.precision])

    def inputs(
        self, values: tuple[Any, ...], named: Mapping[str, Any] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inputs of one forward, and those by name, cut and cast."""
        named = named or {}
        made = [self._cast(value) for value in self._cut((*values, *named.values()))]
        return tuple(made[: len(values)]), dict(zip(named, made[len(values) :], strict=True))

    def _cut(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.steps is None:
            return values
        first = next((x for x in values if isinstance(x, Tensor) and x.dim() > self.time_axis), None)
        if first is None:
            raise InputError(f"steps {self.steps}: no input has an axis {self.time_axis} to hold time")
        length = first.shape[self.time_axis]
        if length < self.steps:
            raise InputError(f"steps {self.steps}: the input has {length} along its time axis {self.time_axis}")
        timed = (isinstance(x, Tensor) and x.shape[self.time_axis : self.time_axis + 1] == (length,) for x in values)
        return tuple(x.narrow(self.time_axis, 0, self.steps) if t else x for x, t in zip(values, timed, strict=True))

    def _cast(self, value: Any) -> Any:
        wanted = CASTS.get(self.precision or "")
        cast = wanted is not None and isinstance(value, Tensor) and value.is_floating_point()
        return value.to(wanted) if cast else value

    def stated(self, counts: Counts) -> Counts:
        """Counts that say what was done: in a note, and rounded weights in the bits that are priced."""
        bits = ROUNDED.get(self.precision or "")
        notes = [] if self.threshold is None else [f"thresholds set to {self.threshold:g}"]
        notes += [f"cast to {self.precision}"] if self.precision in CASTS else []
        if bits is not None:
            notes.append(
                f"weights rounded to {bits} bits, one scale a tensor; values computed as before and priced at {bits} bits"
            )
            counts = dataclasses.replace(counts, layers=tuple(_narrowed(layer, bits) for layer in counts.layers))
        notes += [] if self.steps is None else [f"the first {self.steps} steps of the input"]
        return dataclasses.replace(
            counts, identity=dataclasses.replace(counts.identity, notes=(*counts.identity.notes, *notes))
        )


def _narrowed(layer: Any, bits: int) -> Any:
    known = {name: bits for name in ("weight_bits", "input_bits", "output_bits") if getattr(layer, name)}
    return dataclasses.replace(layer, **known)


def _set_thresholds(model: nn.Module, value: float) -> None:
    spiking = {path: module for path, module in model.named_modules() if fires(module)}
    if not spiking:
        raise UsageError("thresholds: no spiking neuron was recognised in this model; give it none (`thresholds: []`)")
    left = {path: module for path, module in spiking.items() if not set_threshold(module, value)}
    if odd := [path or type(m).__name__ for path, m in left.items() if not any(map(fires, _inside(m)))]:
        raise UsageError(
            f"thresholds: {', '.join(odd[:4])}: no attribute that is known to hold its threshold; "
            "make it an argument of the factory, and vary it under `args`"
        )


def _inside(module: nn.Module) -> list[nn.Module]:
    """What a neuron that wraps another holds: the inner one has the threshold."""
    return [inner for inner in module.modules() if inner is not module]


def _cast(model: nn.Module, dtype: torch.dtype) -> None:
    """`model.to(dtype)`, which cannot swap parameters that have shapes and no values; what was one tensor stays one."""
    if not any(map(valueless, model.parameters())):
        model.to(dtype)
        return
    made: dict[int, Any] = {}
    for own in (held for module in model.modules() for held in (module._parameters, module._buffers)):
        for name, t in own.items():
            if t is None or not t.is_floating_point():
                continue
            if id(t) not in made:
                cast = t.detach().to(dtype)
                made[id(t)] = nn.Parameter(cast, t.requires_grad) if isinstance(t, nn.Parameter) else cast
            own[name] = made[id(t)]


def _round(model: nn.Module, bits: int) -> None:
    """w -> round(w / s) s with s = max |w| / (2^(bits-1) - 1), for every weight of two axes or more; others stay."""
    weights = [p for p in model.parameters() if p.dim() > 1 and p.is_floating_point()]
    if not weights:
        raise UsageError("precisions: this model has no weights to round")
    for weight in weights:
        if valueless(weight):
            continue
        w = weight.detach()
        scale = w.abs().max() / (2 ** (bits - 1) - 1)
        if scale > 0:
            w.copy_((w / scale).round() * scale)
