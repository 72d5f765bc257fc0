"""Stored Counts on chips: one row for each point and chip; pure arithmetic, so another chip costs milliseconds a point."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snnenergy.cost.price import dynamic_only
from snnenergy.sweep.front import front
from snnenergy.sweep.store import Failure

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate, Range
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile
    from snnenergy.sweep.points import Point

GOALS = ("accuracy", "latency", "cores")
"""What is set against the energy, in this order; more accuracy is better, less of the others."""


@dataclass(frozen=True, slots=True)
class Row:
    """One point on one chip, per inference; SI units.

    energy: None where the chip cannot price the point; partial: a lower bound, because layers are missing from it
    cores, chips, fits, at_bits: as in `Fit`; at_bits: it fits once its weights have that width
    accuracy: share of right answers, None without labels; acs, spikes ...: None where only shapes were counted
    activity: what the activity stands on, in words; empty where it was counted on data; samples: None where it is assumed
    fronts: the goals (`accuracy`, `latency`, `cores`) in which, together with the energy, no other row of the chip is better
    """

    model: str
    values: Mapping[str, Any]
    digest: str
    accuracy: float | None
    samples: int | None
    time_steps: int | None
    acs: float | None
    macs: float | None
    dense_macs: float | None
    spikes: float | None
    sparsity: float | None
    firing_rate: float | None
    covered: float
    activity: str
    hardware: str = ""
    energy: Range | None = None
    latency: Range | None = None
    partial: bool = False
    fits: bool | None = None
    at_bits: int | None = None
    cores: int | None = None
    chips: int | None = None
    verdict: str = ""
    caveats: tuple[str, ...] = ()
    fronts: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Priced in full, and on a chip that it fits, if only with weights of the chip's own width."""
        return self.energy is not None and not self.partial and (self.fits is not False or self.at_bits is not None)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep knows: rows by chip, the best first; why points failed; points that were not counted yet.

    points: of this sweep, or of this shard of it; shard: in words, `3/10`; axes: what varies, in the order of the file
    bands: chip to the band within which it predicted measurements, or `unvalidated`
    """

    points: int
    rows: tuple[Row, ...]
    failures: tuple[tuple[Point, Failure], ...] = ()
    missing: tuple[Point, ...] = ()
    hardware: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    shard: str = ""
    bands: Mapping[str, str] = field(default_factory=dict)

    def of(self, chip: str) -> list[Row]:
        return [row for row in self.rows if row.hardware == chip]


def priced(points: Iterable[tuple[Point, Counts]], chips: Sequence[Profile], batch: int | None = None) -> list[Row]:
    """Every point on every chip, chip by chip: whole prices first, the cheapest first; the rows nothing beats marked.

    Without a chip, what was counted: rows of no hardware.
    """
    made: dict[str, list[Row]] = {chip.name: [] for chip in chips}
    for point, counts in points:
        counted = _counted(point, counts)
        for chip in chips:
            made[chip.name].append(_row(counted, dynamic_only(counts, chip, batch=batch or 1)))
        if not chips:
            made.setdefault("", []).append(Row(**counted))
    return [row for rows in made.values() for row in sorted(_marked(rows), key=_order)]


def _order(row: Row) -> tuple[Any, ...]:
    joules = float("inf") if row.energy is None else row.energy.nominal
    return (not row.whole, joules, row.model, str(dict(row.values)))


def _counted(point: Point, counts: Counts) -> dict[str, Any]:
    """What is the same on every chip."""
    total = counts.total() if counts.seen else None
    per = {name: None if total is None else total.per_inference(name) for name in ("acs", "macs", "spikes_out")}
    return {
        "model": point.model,
        "values": point.values,
        "digest": point.digest,
        "accuracy": counts.answers.accuracy,
        "samples": None if counts.conditions.assumed else counts.samples,
        "time_steps": counts.time_steps,
        "acs": per["acs"],
        "macs": per["macs"],
        "dense_macs": counts.per_inference("dense_macs"),
        "spikes": per["spikes_out"],
        "sparsity": total.sparsity if total is not None and total.elements else None,
        "firing_rate": None if total is None else total.firing_rate,
        "covered": min(counts.coverage.parameters, counts.coverage.calls),
        "activity": counts.activity,
    }


def _row(counted: Mapping[str, Any], made: Estimate) -> Row:
    return Row(
        **counted,
        hardware=made.hardware,
        energy=made.energy,
        latency=made.latency,
        partial=made.partial,
        fits=made.fit.fits,
        at_bits=made.fit.at_bits,
        cores=made.fit.cores,
        chips=made.fit.chips,
        verdict=made.verdict,
        caveats=made.caveats or made.fit.problems,  # caveats tell the problems as well
    )


def _marked(rows: list[Row]) -> list[Row]:
    """With the goals in which each row lies on the front."""
    marks: dict[int, list[str]] = {}
    for goal in GOALS:
        pairs = {i: pair for i, row in enumerate(rows) if row.whole and (pair := against(row, goal)) is not None}
        kept = front(list(pairs.values()))
        for i, lies in zip(pairs, kept, strict=True):
            if lies:
                marks.setdefault(i, []).append(goal)
    return [dataclasses.replace(row, fronts=tuple(marks.get(i, ()))) for i, row in enumerate(rows)]


def against(row: Row, goal: str) -> tuple[float, float] | None:
    """(energy, cost in the goal) of a row, less is better in both; None where one is not known."""
    value = {
        "accuracy": None if row.accuracy is None else -row.accuracy,
        "latency": None if row.latency is None else row.latency.nominal,
        "cores": row.cores,
    }[goal]
    return None if row.energy is None or value is None else (row.energy.nominal, float(value))
