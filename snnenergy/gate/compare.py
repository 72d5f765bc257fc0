"""One model against its baseline: prices on both sides, what moved them, and which layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from snnenergy.errors import CoverageError, NotComparableError
from snnenergy.gate.difference import Change, between
from snnenergy.gate.verdict import ModelReport, Problem

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts
    from snnenergy.gate.chips import Prices
    from snnenergy.hardware import Profile

Past = Sequence[tuple[str, float | None]]
"""Earlier prices of a baseline in J, oldest first, each with what made the next one differ."""
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
    past: Mapping[str, Past] | None = None,
    problems: tuple[Problem, ...] = (),
) -> ModelReport:
    """chips: by their own names; past: what the baseline cost before today, by chip."""
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
            causes += _causes((past or {}).get(chip.name, ()), f"{difference.cause} on {chip.name}", before, now)
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


def _causes(past: Past, counts: str, before: Estimate, now: Estimate) -> Iterator[Change]:
    """The way from then to now: what moved the price of the same counts, step by step; then the counts under one profile."""
    base, head = (_nominal(side, "energy") for side in (before, now))
    steps = [*past, (counts, base)]
    for (cause, start), end in zip(steps, [*(joules for _, joules in steps[1:]), head], strict=True):
        if start != end:
            yield Change(cause, start, end, "J")


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
        done = {row.path: row.acs + row.macs if counts.seen else row.dense_macs for row in counts.layers}
        return {path: operations / counts.samples for path, operations in done.items()}
    estimate = prices.of(counts, chip)
    costs = {row.path: row.energy.nominal for row in estimate.layers}
    return {**costs, WHOLE_CHIP: estimate.breakdown.static.nominal}


def uncovered(counts: Counts, percent: float) -> tuple[Problem, ...]:
    """A problem where less than `percent` of the model's parameters or arithmetic calls was counted."""
    share = 100 * min(counts.coverage.parameters, counts.coverage.calls)
    if share >= percent:
        return ()
    ledger = [f"{row.path}: {row.op}, {row.calls} calls {row.reason}".rstrip() for row in counts.uncounted]
    words = "\n".join([f"{share:.4g} % counted, {percent:g} % demanded; uncounted:", *ledger])
    return (Problem(CoverageError, words),)
