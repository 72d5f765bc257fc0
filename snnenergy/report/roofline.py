"""Where each layer stands under the roof of a dense chip: operations per byte moved, and the rate the latency model gives it.

    attainable(x) = min(peak, x bandwidth)              x: operations per byte
    reached       = operations / (launches + max(operations / rate, bytes / bandwidth))
A layer far below the roof waits for its launches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.cost.roofline import LayerTime, bandwidth, rate, times
from snnenergy.cost.run import Run
from snnenergy.hardware.profile import Roofline

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile


@dataclass(frozen=True, slots=True)
class Point:
    """One layer: operations (a MAC is two) and bytes of one inference, and operations per second with its launches."""

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
    """A chip's roof over the format that runs most of the work, and the layers.

    peak: operations per second, the highest that one of the format's layers is given; bandwidth: bytes per second, of the level
    that holds everything
    """

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
    rows, _ = times(run, model)
    work = [row for row in rows if row.layer.dense_macs]
    width = bandwidth(run, sum(row.terms.bits for row in rows))
    if not work or width is None:
        return None
    used = run.arithmetic(max(work, key=lambda row: row.layer.dense_macs).layer)
    rates = [r.value for row in work if run.arithmetic(row.layer) == used and (r := rate(run, row.layer)) is not None]
    if not rates:
        return None
    points = tuple(_point(row) for row in work if row.terms.bits)
    return Roof(chip.name, name, used.format, max(rates), width.value / 8, points)


def _point(row: LayerTime) -> Point:
    seconds = row.launch.nominal + row.busy.nominal
    return Point(row.layer.path, row.terms.operations, row.terms.bits / 8, row.terms.operations / seconds)
