"""The roofline of a processor: launches, then per layer the longer of arithmetic and memory; one batch.

Where a profile says so, each class of operations has a launch overhead and a rate of its own, and memory is as wide as the
smallest level that holds everything one forward touches: warm forwards find it there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from snnenergy.cost.memory import traffic
from snnenergy.cost.records import ZERO, Duration, Range
from snnenergy.cost.run import Run, is_convolution, span
from snnenergy.counts import LayerCounts
from snnenergy.hardware.figures import Bandwidth, Rate, Time
from snnenergy.hardware.profile import OpClass, Roofline


@dataclass(frozen=True, slots=True)
class Terms:
    """What one layer asks of a processor in one batch: kernels, operations (a MAC is two), bits moved."""

    kind: OpClass
    kernels: float
    operations: float
    bits: float


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Seconds of one layer in one batch: its launches, its arithmetic and what it moves."""

    layer: LayerCounts
    terms: Terms
    launch: Range
    work: Range
    move: Range

    @property
    def busy(self) -> Range:
        """The longer of arithmetic and memory."""
        one, other = self.work, self.move
        return Range(max(one.low, other.low), max(one.nominal, other.nominal), max(one.high, other.high))


def kind(layer: LayerCounts) -> OpClass:
    """Which class of operations a layer is."""
    if not layer.dense_macs:
        return "elementwise"
    if layer.op == "rnn":
        return "recurrent"
    return "conv" if is_convolution(layer) else "matmul"


def terms(run: Run) -> tuple[tuple[Terms, ...], bool]:
    """The terms of every layer, and whether launches were not recorded: one per layer and call is then taken."""
    recorded = run.counts.forwards and any(layer.kernels for layer in run.counts.layers)

    def kernels(layer: LayerCounts) -> float:
        return layer.kernels / run.counts.forwards if recorded else run.calls(layer)

    rows = [
        Terms(kind(la), kernels(la), _operations(run, la), run.batch * traffic(run, la).bits)
        for la in run.counts.layers
    ]
    return tuple(rows), not recorded


def _operations(run: Run, layer: LayerCounts) -> float:
    return run.batch * run.per(2 * layer.dense_macs + layer.adds + layer.muls + layer.compares + layer.specials)


def times(run: Run, model: Roofline, apart: Collection[str] = ()) -> tuple[tuple[LayerTime, ...], bool]:
    """The time of every layer but those apart, and whether launches were not recorded."""
    every, assumed = terms(run)
    rows = [(la, row) for la, row in zip(run.counts.layers, every, strict=True) if la.path not in apart]
    width = bandwidth(run, sum(row.bits for _, row in rows))
    made = (
        LayerTime(
            layer,
            row,
            span(_launch(model, row.kind)) * row.kernels,
            _over(row.operations, rate(run, layer)),
            _over(row.bits, width),
        )
        for layer, row in rows
    )
    return tuple(made), assumed


def roofline(run: Run, model: Roofline, apart: Collection[str] = ()) -> Duration | None:
    """None where the launch overhead is not published.  apart: paths of layers that the chip does not run"""
    if model.launch is None:
        return None
    rows, assumed = times(run, model, apart)
    launch, compute, memory, busy = (
        sum((getattr(row, part) for row in rows), ZERO) for part in ("launch", "work", "move", "busy")
    )
    bounds = {"launch-bound": launch.nominal, "compute-bound": compute.nominal, "bandwidth-bound": memory.nominal}
    notes = ("latency: kernel launches were not recorded; one per layer and call is taken",) if assumed else ()
    return Duration(launch + busy, launch + busy, max(bounds, key=bounds.__getitem__), notes)


def bandwidth(run: Run, bits: float) -> Bandwidth | None:
    """Of the smallest level that holds that many bits, else of the farthest; levels without a bandwidth do not count."""
    if run.chip.memory is None:
        return None
    levels = [level for level in run.chip.memory.levels if level.bandwidth is not None]
    held = [level for level in levels if level.capacity is not None and bits <= level.capacity.value]
    return (held or levels[-1:])[0].bandwidth if levels else None


def _launch(model: Roofline, kind: OpClass) -> Time | None:
    own: Time | None = getattr(model.launches, kind)
    return own or model.launch


def rate(run: Run, layer: LayerCounts) -> Rate | None:
    """Operations per second of the layer's format: its class's own, or the peak."""
    figures = run.arithmetic(layer)
    own: Rate | None = getattr(figures.rates, kind(layer))
    return own or figures.peak


def _over(amount: float, speed: Rate | Bandwidth | None) -> Range:
    """Seconds that an amount takes at a speed."""
    return Range(amount / speed.high, amount / speed.value, amount / speed.low) if speed else ZERO
