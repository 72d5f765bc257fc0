"""Launch overhead and rate of each class of operations, fitted to what probes took: plain arithmetic.

    seconds = sum over layers of   launch x kernels + max(operations / rate, bits / bandwidth)
A fit minimises the sum of squared log(predicted / measured), so that twice too long and half too short weigh the same.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from snnenergy.cost.roofline import Terms
from snnenergy.hardware.profile import OpClass

GRID = 24
"""Points on each axis of a search; it is then repeated around the best of them."""
ROUNDS = 6
SPAN = 3.0
"""The first search reaches this many factors of e to either side of the first guess."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A probe that was counted and timed.  bandwidth: bits per second of the memory level that holds it"""

    kind: OpClass
    name: str
    terms: tuple[Terms, ...]
    bandwidth: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Speed:
    """One class of operations: seconds per kernel, operations per second."""

    launch: float
    rate: float


Speeds = Mapping[OpClass, Speed]


def predicted(sample: Sample, speeds: Speeds) -> float:
    """Seconds of a probe; a class without a speed takes no time."""
    return sum(_seconds(row, sample.bandwidth, speeds[row.kind]) for row in sample.terms if row.kind in speeds)


def _seconds(row: Terms, bandwidth: float, speed: Speed) -> float:
    return speed.launch * row.kernels + max(row.operations / speed.rate, row.bits / bandwidth)


def fit(samples: Sequence[Sample], kind: OpClass, known: Speeds, launch: float | None = None) -> Speed:
    """The speed of a class; `known` are those of the classes its probes contain too.

    launch: the overhead, where it is known already (it does not depend on the number format)
    """
    own = [s for s in samples if s.kind == kind]
    most = max(_operations(s, kind) / s.seconds for s in own)
    least = min(s.seconds / max(1.0, _kernels(s, kind)) for s in own)
    best = Speed(least if launch is None else launch, most)
    reach = SPAN
    for _ in range(ROUNDS):
        steps = [math.exp(reach * (2 * i / GRID - 1)) for i in range(GRID + 1)]
        launches = [best.launch * f for f in steps] if launch is None else [launch]
        tried = [Speed(a, best.rate * f) for a in launches for f in steps]
        best = min(tried, key=lambda speed: _misfit(own, {**known, kind: speed}))
        reach *= 3 / GRID
    return best


def _misfit(samples: Iterable[Sample], speeds: Speeds) -> float:
    return sum(math.log(predicted(s, speeds) / s.seconds) ** 2 for s in samples)


def _operations(sample: Sample, kind: OpClass) -> float:
    return sum(row.operations for row in sample.terms if row.kind == kind)


def _kernels(sample: Sample, kind: OpClass) -> float:
    return sum(row.kernels for row in sample.terms if row.kind == kind)


@dataclass(frozen=True, slots=True)
class Residuals:
    """Predicted / measured over the probes of a class, and the probe that was met worst."""

    probes: int
    median: float
    low: float
    high: float
    worst: str


def residuals(samples: Sequence[Sample], kind: OpClass, speeds: Speeds) -> Residuals:
    rows = [(predicted(s, speeds) / s.seconds, s.name) for s in samples if s.kind == kind]
    ratios = [ratio for ratio, _ in rows]
    ratio, name = max(rows, key=lambda row: abs(math.log(row[0])))
    return Residuals(len(rows), statistics.median(ratios), min(ratios), max(ratios), f"{name}: {ratio:.2f}")
