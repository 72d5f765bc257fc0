"""Chip by chip: which model is cheaper, by how much, what makes the difference, and whether the chip is validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.cost.records import PARTS
from snnenergy.cost.verdict import blocked, lead
from snnenergy.report import quantities as q
from snnenergy.report import summary, waterfall

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.cost.verdict import Lead


WORTH = 0.05
"""Share of the difference below which a change is no reason for it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One chip's verdict, in the words of a table."""

    chip: str
    cheaper: str
    by: str
    why: str
    band: str


def rows(comparison: Comparison, *, times: str = "x", micro: str = "u") -> tuple[Row, ...]:
    """Nothing for a single model: there is no verdict to explain."""
    if len(comparison.models) < 2:
        return ()
    return tuple(_row(comparison, chip, times, micro) for chip in comparison.hardware)


def _row(comparison: Comparison, chip: str, times: str, micro: str) -> Row:
    found, band = lead(comparison, chip), summary.on_chip(comparison, chip)[0].band
    if found is None:
        priced = [e.model for e in summary.on_chip(comparison, chip) if not blocked(e)]
        missing = [f"{e.model}: {why}" for e in summary.on_chip(comparison, chip) if (why := blocked(e))]
        return Row(chip, f"only {priced[0]}" if priced else "none", q.NONE, "; ".join(missing[:2]), band)
    cheaper = "either" if found.open else found.best.model
    return Row(chip, cheaper, q.factor(found.ratio, times), _why(comparison, found, micro), band)


def _why(comparison: Comparison, found: Lead, micro: str) -> str:
    """`snn: extra time steps +107 nJ, sparsity -90 nJ`: the largest change on the side of the verdict, and the largest against it."""
    who, changes = _changes(comparison, found)
    total = sum(joules for _, joules in changes)
    large = [change for change in changes if abs(change[1]) >= WORTH * abs(total)]
    ordered = sorted(large, key=lambda change: -abs(change[1]))
    sides = ([c for c in ordered if (c[1] > 0) is (total > 0)], [c for c in ordered if (c[1] > 0) is not (total > 0)])
    told = [
        f"{label} {'+' if j > 0 else ''}{q.quantity(j, 'J', micro=micro)}" for side in sides for label, j in side[:1]
    ]
    return f"{who}: {', '.join(told)}" if told else ""


def _changes(comparison: Comparison, found: Lead) -> tuple[str, list[tuple[str, float]]]:
    """From the ANN to the SNN where it is one of each, else from the cheaper to the dearer, part by part."""
    ends = {summary.is_snn(comparison.counts[e.model]): e for e in (found.best, found.second)}
    if len(ends) == 2:
        pair = summary.Pair(found.chip, ends[False], ends[True])
        steps = waterfall.steps(pair, comparison.counts[pair.ann.model], comparison.counts[pair.snn.model])
        return pair.snn.model, [(step.label, step.joules) for step in steps[1:-1]]
    before, after = found.best.breakdown, found.second.breakdown
    changes = [(f"{p} energy", getattr(after, p).nominal - getattr(before, p).nominal) for p in PARTS if p != "host"]
    return found.second.model, [change for change in changes if change[1]]
