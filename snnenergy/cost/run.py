"""One pricing: the counts, the chip at its operating point, and the options, with what every part needs of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from snnenergy.cost.records import ZERO, Range
from snnenergy.cost.structure import Population, populations
from snnenergy.counts import Counts, LayerCounts
from snnenergy.hardware.figures import Figure
from snnenergy.hardware.profile import Arithmetic, Profile

DEFAULT_BITS = 32
"""Width of a value where neither the counts nor an option says one."""


def span(figure: Figure | None) -> Range:
    """A figure as a range; nothing where there is none."""
    return ZERO if figure is None else Range(figure.low, figure.value, figure.high)


@dataclass(frozen=True)
class Run:
    """Counts on a chip.  batch: inferences that run together; bits: width that overrides the layers' own."""

    counts: Counts
    chip: Profile
    batch: int = 1
    bits: int | None = None
    pipeline: bool = False

    def per(self, total: float) -> float:
        """A total over all samples as one inference's share."""
        return total / self.counts.samples

    @cached_property
    def steps(self) -> int:
        """Time steps of an inference; one for a net without time."""
        return self.counts.time_steps or 1

    @cached_property
    def populations(self) -> tuple[Population, ...]:
        return populations(self.counts)

    def weight_bits(self, layer: LayerCounts) -> int:
        return self.bits or layer.weight_bits or DEFAULT_BITS

    def value_bits(self, layer: LayerCounts) -> int:
        """Bits per input or output element."""
        return self.bits or layer.input_bits or layer.output_bits or DEFAULT_BITS

    def width(self, layer: LayerCounts) -> int:
        """Bits of a layer's operands: its weights', or its values' where it has none."""
        return self.bits or layer.weight_bits or layer.input_bits or DEFAULT_BITS

    def arithmetic(self, layer: LayerCounts) -> Arithmetic:
        """The number format that runs this layer: its own width, or the next wider, or the widest there is."""
        formats = sorted(self.chip.arithmetic, key=lambda a: a.bits)
        return next((a for a in formats if a.bits >= self.width(layer)), formats[-1])

    def calls(self, layer: LayerCounts) -> float:
        """Calls of a layer per forward; one per time step where they were not recorded."""
        if layer.calls and self.counts.forwards:
            return layer.calls / self.counts.forwards
        return self.steps


def is_convolution(layer: LayerCounts) -> bool:
    """Whether one weight serves many positions: by its name, or by a kernel in its geometry."""
    return "conv" in f"{layer.op} {layer.module_type}".lower() or "kernel" in layer.geometry


def named(paths: Sequence[str]) -> str:
    """`layer conv1`, `layers conv1, conv2`, or the first few of many."""
    shown = ", ".join(path or "(the model itself)" for path in paths[:4]) + (
        f" and {len(paths) - 4} more" if len(paths) > 4 else ""
    )
    return f"layer{'s' * (len(paths) > 1)} {shown}"


def plain_model(name: str) -> str:
    """A neuron model's name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
