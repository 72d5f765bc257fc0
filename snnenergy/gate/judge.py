"""Budgets against counts: every budget on every model and chip it matches, each with a sentence where it is broken."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from snnenergy.errors import ActivityError, UsageError
from snnenergy.gate.chips import Chips, Prices, matching
from snnenergy.gate.metrics import Layers, Metric, Side, show
from snnenergy.gate.settings import Placed
from snnenergy.gate.verdict import Notice, Outcome, State

if TYPE_CHECKING:
    from snnenergy.cost.records import Range
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

SUSPICIOUS = 0.5
"""A cost that falls below this share of its baseline is told: more often a broken run than a better model."""


@dataclass(frozen=True)
class Case:
    """What is judged: counts by model, their baselines, chips, and accuracies that somebody measured.

    bases: None where the project keeps no baseline
    known: every model that there is, also those not judged this time; gone: models that a pull request removed
    """

    heads: Mapping[str, Counts]
    bases: Mapping[str, Counts] | None = None
    chips: Chips = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)
    known: Collection[str] = ()
    gone: Collection[str] = ()
    prices: Prices = field(default_factory=Prices)

    def sides(self, model: str, chip: Profile | None) -> tuple[Side, Side | None]:
        """The model now, and its baseline with today's profile."""
        base = self.bases.get(model) if self.bases else None
        counted = self.heads[model]
        head = self._side(counted, chip, self.accuracy.get(model, counted.answers.accuracy))
        return head, None if base is None else self._side(base, chip, None)

    def _side(self, counts: Counts, chip: Profile | None, accuracy: float | None) -> Side:
        return Side(counts, None if chip is None else self.prices.of(counts, chip), accuracy)


def judge(case: Case, budgets: Sequence[Placed]) -> tuple[list[Outcome], list[Notice]]:
    """Every outcome, and what a reader must know besides; UsageError for a budget that matches nothing."""
    outcomes: list[Outcome] = []
    notices: list[Notice] = []
    for placed in budgets:
        made = list(_outcomes(case, placed))
        outcomes += made
        if not made:
            words = f"{placed.budget.metric} of {placed.budget.match.model}: not checked, its models were not asked for"
            notices.append(Notice("not checked", words, placed.place.file, placed.place.line))
        notices += (n for outcome in made if (n := _remark(case, outcome)))
    return outcomes, list(dict.fromkeys(notices))


def _outcomes(case: Case, placed: Placed) -> Iterator[Outcome]:
    chips = matching(placed, case.chips)
    for name in case.gone:
        if fnmatchcase(name, placed.budget.match.model):
            words = (
                f"{placed.budget.metric} of {name}: the model is gone (removed or renamed), so nothing holds its budget"
            )
            yield _failed(placed, name, None, words)
    models = _models(case, placed)
    layers = {name: _layers(case, placed, name) for name in models}
    wanted = placed.budget.match.layer
    if models and wanted is not None and not any(any(pair) for pair in layers.values()):
        raise UsageError(
            f"{placed.place}: match.layer {wanted!r} matches no layer of {', '.join(models[:5])}; "
            f"there are {', '.join(row.path for row in case.heads[models[0]].layers[:12])}"
        )
    for name in models:
        head, base = layers[name]
        if wanted is not None and not head:
            if base:
                gone = ", ".join(sorted(base)[:5])
                words = f"{placed.budget.metric} of {wanted} of {name}: {gone} gone (removed or renamed)"
                yield _failed(placed, name, None, words)
            continue
        for chip in chips:
            yield _outcome(case, placed, name, chip, layers[name])


def _models(case: Case, placed: Placed) -> list[str]:
    """The judged models a budget matches; it must match one of those that are known."""
    glob = placed.budget.match.model
    known = {*case.known, *case.heads, *case.gone}
    if not any(fnmatchcase(name, glob) for name in known):
        there = ", ".join(sorted(known)[:12]) or "none"
        raise UsageError(f"{placed.place}: match.model {glob!r} matches no model; there are {there}")
    return [name for name in case.heads if fnmatchcase(name, glob)]


def _layers(case: Case, placed: Placed, name: str) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """Paths that the layer glob matches now and in the baseline; None, None for the whole model."""
    glob = placed.budget.match.layer
    if glob is None:
        return None, None
    base = case.bases.get(name) if case.bases else None
    sides = (case.heads[name], base)
    head, before = (
        frozenset(row.path for row in side.layers if fnmatchcase(row.path, glob)) if side else frozenset()
        for side in sides
    )
    return head, before


def _outcome(
    case: Case,
    placed: Placed,
    name: str,
    chip: Profile | None,
    layers: tuple[frozenset[str] | None, frozenset[str] | None],
) -> Outcome:
    budget, row = placed.budget, placed.budget.row
    head, base = case.sides(name, chip)
    if budget.metric == "accuracy" and head.accuracy is None and budget.level != "off":
        raise UsageError(
            f"{placed.place}: accuracy of {name} is not known: nothing it ran on has labels (an array y, labels or targets in "
            f"its `input` or `data`); add them, or pass --accuracy {name}=SHARE"
        )
    after = _read(row, head, layers[0])
    where = None if chip is None else chip.name
    if after is None:
        return _failed(placed, name, where, f"{_subject(placed, name, where)}: {_why_unknown(head)}")
    before = _read(row, base, layers[1]) if base is not None and row.based else None
    now = getattr(after, budget.bound)
    then = None if before is None else getattr(before, budget.bound)
    faults, used, limit = _measure(placed, now, then)
    if gone := sorted((layers[1] or frozenset()) - (layers[0] or frozenset())):
        faults.append(f"{', '.join(gone[:5])} gone (removed or renamed)")
    if dark := _newly_unpriced(head, base):
        faults.append(f"only a lower bound: {', '.join(dark)} no longer priced")
    if budget.max_increase is not None and then is None and base is not None:
        faults.append("the baseline has no such figure to compare with")
    words = f"{_subject(placed, name, where)}: {'; '.join(faults)}" if faults else ""
    state = _state(placed, bool(faults))
    if state is State.HELD and budget.max_increase is not None and then is None:
        state = State.UNJUDGED  # and the model has a Problem that says so
    return Outcome(placed, name, where, then, now, limit, used, state, words)


def _read(row: Metric, side: Side, layers: Layers) -> Range | None:
    """A figure; None where nobody knows it, or only values would tell it and none was looked at."""
    try:
        return row.read(side, layers)
    except ActivityError:
        return None


def _subject(placed: Placed, name: str, chip: str | None) -> str:
    return Outcome(placed, name, chip, None, None, None, None, State.HELD).subject


def _failed(placed: Placed, name: str, chip: str | None, words: str) -> Outcome:
    return Outcome(placed, name, chip, None, None, None, None, _state(placed, broken=True), words)


def _state(placed: Placed, broken: bool) -> State:
    if placed.budget.level == "off":
        return State.OFF
    if not broken:
        return State.HELD
    return State.WARNED if placed.budget.level == "warn" else State.BROKEN


def _measure(placed: Placed, now: float, then: float | None) -> tuple[list[str], float | None, float | None]:
    """What is exceeded; how much of the tightest limit is used, and that limit."""
    budget, unit = placed.budget, placed.budget.row.unit
    if unit == "yes":
        return ([] if now else ["it does not fit"]), None, None
    faults: list[str] = []
    used: list[tuple[float, float]] = []
    if budget.max is not None:
        used.append((_share(now, budget.max), budget.max))
        if now > budget.max:
            faults.append(f"{_apart(now, budget.max, unit)} above max {show(budget.max, unit)}")
    if budget.min is not None:
        used.append((_share(budget.min, now), budget.min))
        if now < budget.min:
            faults.append(f"{_apart(now, budget.min, unit)} below min {show(budget.min, unit)}")
    if budget.max_increase is not None and then is not None:
        limit = budget.max_increase.limit(then)
        used.append((_share(now, limit), limit))
        if now > limit:
            faults.append(_increase(placed, now, then))
    share, tightest = max(used, default=(None, None))
    return faults, share, tightest


def _increase(placed: Placed, now: float, then: float) -> str:
    """`16.2 uJ, +8 % from 15 uJ, more than max_increase 2 %`."""
    unit, allowed = placed.budget.row.unit, placed.budget.max_increase
    assert allowed is not None
    limit = f"{100 * allowed.amount:.4g} %" if allowed.relative else show(allowed.amount, unit)
    grew = f"{100 * (now / then - 1):+.3g} %" if then else f"+{show(now, unit)}"
    return f"{_apart(now, then, unit)}, {grew} from {_apart(then, now, unit)}, more than max_increase {limit}"


def _apart(value: float, other: float, unit: str) -> str:
    """A value with as many digits as it takes to look different from the other."""
    if unit == "share" or show(value, unit) != show(other, unit):
        return show(value, unit)
    return f"{value:.9g}{f' {unit}' if unit else ''}"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0 if not part else float("inf")


def _why_unknown(side: Side) -> str:
    chip = side.estimate
    if chip is None:
        return "there is nothing of the kind in these counts" if side.counts.seen else "they are counted from shapes"
    if chip.energy is None:
        return f"{chip.hardware} cannot price it: {chip.verdict}"
    return f"the profile of {chip.hardware} says nothing about it"


def _unpriced(side: Side | None) -> frozenset[str]:
    if side is None or side.estimate is None:
        return frozenset()
    return frozenset(row.path for row in side.estimate.layers if not row.priced)


def _newly_unpriced(head: Side, base: Side | None) -> list[str]:
    """Layers whose price was in the baseline's total and is missing now: a total that shrank by looking away."""
    return sorted(_unpriced(head) - _unpriced(base)) if base is not None else []


def _remark(case: Case, outcome: Outcome) -> Notice | None:
    """A gain too large to be believed, or a total that is only a lower bound."""
    placed, unit = outcome.placed, outcome.placed.budget.row.unit
    if outcome.state is State.OFF or outcome.after is None:
        return None
    if outcome.before and unit not in ("share", "yes") and outcome.after < SUSPICIOUS * outcome.before:
        fell = f"{outcome.show(outcome.before)} -> {outcome.show(outcome.after)} ({100 * (outcome.change or 0):.3g} %)"
        words = f"{outcome.subject}: {fell}: an improvement this large is often a run that went wrong; look at it"
        return Notice("suspicious", words, placed.place.file, placed.place.line)
    chip = next((c for c in case.chips.values() if c.name == outcome.chip), None)
    dark = _unpriced(case.sides(outcome.model, chip)[0]) if chip is not None else frozenset()
    if dark:
        named = ", ".join(sorted(dark)[:5])
        return Notice(
            "lower bound", f"{outcome.model} on {outcome.chip}: a lower bound, {named} cannot be priced there"
        )
    return None
