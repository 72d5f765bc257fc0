"""Where each layer stands under the roof of a dense chip: operations per byte moved, and the rate the latency model gives it.

    attainable(x) = min(peak, x bandwidth)              x: operations per byte
    reached       = operations / (launches + max(operations / peak, bytes / bandwidth))
A layer far below the roof waits for its launches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.cost.memory import traffic
from snnenergy.cost.run import Run
from snnenergy.hardware.profile import Roofline

if TYPE_CHECKING:
    from snnenergy.counts import Counts, LayerCounts
    from snnenergy.hardware import Profile


@dataclass(frozen=True, slots=True)
class Point:
    """One layer: operations (a MAC is two) and bytes per inference, and operations per second with its launches."""

    path: str
    operations: float
    moved: float
    reached: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.moved


@dataclass(frozen=True, slots=True)
class Roof:
    """A chip's peak (operations per second) of the format that runs most layers, its bandwidth (bytes per second), the layers."""

    chip: str
    model: str
    format: str
    peak: float
    bandwidth: float
    points: tuple[Point, ...]

    def attainable(self, intensity: float) -> float:
        return min(self.peak, intensity * self.bandwidth)


def roof(counts: Counts, chip: Profile, name: str, bits: int | None = None) -> Roof | None:
    """None where the chip is no dense processor, a figure is unpublished, or nothing was counted; one inference at a time."""
    model = chip.latency
    if not isinstance(model, Roofline) or model.launch is None or chip.memory is None or counts.samples < 1:
        return None
    run = Run(counts, chip, bits=bits)
    work = [layer for layer in counts.layers if layer.dense_macs]
    width = chip.memory.levels[-1].bandwidth
    if not work or width is None:
        return None
    used = run.arithmetic(max(work, key=lambda layer: layer.dense_macs))
    if used.peak is None:
        return None
    top = Roof(chip.name, name, used.format, used.peak.value, width.value / 8, ())
    points = [_point(run, layer, top, model.launch.value) for layer in work]
    return Roof(top.chip, top.model, top.format, top.peak, top.bandwidth, tuple(p for p in points if p is not None))


def _point(run: Run, layer: LayerCounts, top: Roof, launch: float) -> Point | None:
    operations, moved = run.per(2 * layer.dense_macs), traffic(run, layer).bits / 8
    if not moved:
        return None
    kernels = layer.kernels / run.counts.forwards if layer.kernels and run.counts.forwards else run.calls(layer)
    seconds = launch * kernels + operations / top.attainable(operations / moved)
    return Point(layer.path, operations, moved, operations / seconds)
