"""One model against its baseline: prices on both sides, what moved them, and which layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from snnenergy.errors import CoverageError, NotComparableError
from snnenergy.gate.difference import PROFILE, Change, Difference, between
from snnenergy.gate.verdict import ModelReport, Problem

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts
    from snnenergy.gate.chips import Prices
    from snnenergy.hardware import Profile

WHOLE_CHIP = "(whole chip)"
MAX_LAYERS = 50
"""Layers that a report keeps, largest change first."""


def compare(
    name: str,
    head: Counts,
    base: Counts | None,
    chips: Mapping[str, Profile],
    prices: Prices,
    *,
    then: Mapping[str, float] | None = None,
    why: Mapping[str, str] | None = None,
    problems: tuple[Problem, ...] = (),
) -> ModelReport:
    """chips: by their own names; then: joules of the baseline as it was priced when it was made, by chip.

    why: what made those differ from today's, by chip, where it is known not to be the profile
    """
    difference = None
    if base is not None:
        try:
            difference = between(base, head)
        except NotComparableError as error:
            problems, base = (*problems, Problem(NotComparableError, str(error))), None
    priced: list[Change] = []
    causes: list[Change] = []
    for chip in chips.values():
        now = prices.of(head, chip)
        before = prices.of(base, chip) if base is not None else None
        priced += _priced(chip.name, before, now)
        if difference is not None and before is not None:
            source = (why or {}).get(chip.name, PROFILE)
            causes += _causes(chip.name, difference, (then or {}).get(chip.name), source, before, now)
    first = next(iter(chips.values()), None)
    return ModelReport(
        name,
        difference,
        tuple(priced),
        tuple(causes),
        tuple(_layers(head, base, first, prices)),
        first.name if first else "",
        problems,
    )


def _priced(chip: str, before: Estimate | None, now: Estimate) -> Iterator[Change]:
    for what, unit in (("energy", "J"), ("latency", "s")):
        base, head = (_nominal(side, what) for side in (before, now))
        yield Change(f"{what} on {chip}", base, head, unit)


def _nominal(estimate: Estimate | None, what: str) -> float | None:
    found = None if estimate is None else getattr(estimate, what)
    return None if found is None else found.nominal


def _causes(
    chip: str, difference: Difference, then: float | None, source: str, before: Estimate, now: Estimate
) -> Iterator[Change]:
    """The way from then to now in two steps: the profile under the same counts, the counts under the same profile."""
    base, head = (_nominal(side, "energy") for side in (before, now))
    if then is not None and then != base:
        yield Change(f"{source} {chip}", then, base, "J")
    if base != head:
        yield Change(f"{difference.cause} on {chip}", base, head, "J")


def _layers(head: Counts, base: Counts | None, chip: Profile | None, prices: Prices) -> list[Change]:
    """Layers by size of change, or by size where there is no baseline."""
    sides = [_cost(counts, chip, prices) if counts else {} for counts in (base, head)]
    unit = "J" if chip is not None else ""
    rows = [
        Change(path, sides[0].get(path), sides[1].get(path), unit) for path in dict.fromkeys([*sides[0], *sides[1]])
    ]
    rows.sort(key=lambda row: -abs((row.head or 0) - (row.base or 0)))
    return [row for row in rows if row.base != row.head][:MAX_LAYERS]


def _cost(counts: Counts, chip: Profile | None, prices: Prices) -> dict[str, float]:
    """Joules per layer and of the chip as a whole; operations where there is no chip."""
    if chip is None:
        return {row.path: (row.acs + row.macs) / counts.samples for row in counts.layers}
    estimate = prices.of(counts, chip)
    costs = {row.path: row.energy.nominal for row in estimate.layers}
    return {**costs, WHOLE_CHIP: estimate.breakdown.static.nominal}


def uncovered(name: str, counts: Counts, percent: float) -> tuple[Problem, ...]:
    """A problem where less than `percent` of the model's parameters or arithmetic calls was counted."""
    share = 100 * min(counts.coverage.parameters, counts.coverage.calls)
    if share >= percent:
        return ()
    ledger = [f"{row.path}: {row.op}, {row.calls} calls {row.reason}".rstrip() for row in counts.uncounted]
    words = "\n".join([f"{share:.4g} % counted, {percent:g} % demanded; uncounted:", *ledger])
    return (Problem(CoverageError, words),)
