"""What a gate found: one Outcome per budget, model and chip; one ModelReport per model; and the Verdict over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from snnenergy.errors import BudgetError, CoverageError, NotComparableError, SnnEnergyError
from snnenergy.gate import metrics

if TYPE_CHECKING:
    from snnenergy.gate.difference import Change, Difference
    from snnenergy.gate.settings import Placed

COLUMNS = ("budget", "before", "now", "change", "limit", "used", "")
"""Of a table of outcomes."""
MAX_NAMED = 3
"""Broken budgets that the first sentence names; the table holds the rest."""


class State(StrEnum):
    """Whether a budget holds; a broken one of level `warn` is warned; one whose baseline is missing is not judged."""

    HELD = "held"
    BROKEN = "broken"
    WARNED = "warned"
    OFF = "off"
    UNJUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One budget on one model (and chip), in the metric's SI unit, per inference.

    before: the baseline with today's profile; limit: the tightest of the budget's limits, used: how much of it is used
    words: what is wrong, as a sentence; empty where nothing is
    """

    placed: Placed
    model: str
    chip: str | None
    before: float | None
    after: float | None
    limit: float | None
    used: float | None
    state: State
    words: str = ""

    @property
    def subject(self) -> str:
        """`energy of conv* of net on loihi`."""
        budget = self.placed.budget
        layer = f" of {budget.match.layer}" if budget.match.layer else ""
        bound = f" ({budget.bound})" if budget.bound != "nominal" else ""
        return f"{budget.metric}{bound}{layer} of {self.model}{f' on {self.chip}' if self.chip else ''}"

    @property
    def change(self) -> float | None:
        """Relative to the baseline; None without one, or where it was 0."""
        return None if self.after is None or not self.before else self.after / self.before - 1

    @property
    def cells(self) -> tuple[str, ...]:
        """What a table shows of it, under `COLUMNS` between its subject and its state."""
        change = "-" if self.change is None else "0" if self.change == 0 else f"{100 * self.change:+.3g} %"
        used = "-" if self.used is None else f"{100 * self.used:.4g} %"
        return (self.show(self.before), self.show(self.after), change, self.show(self.limit), used)

    def show(self, value: float | None) -> str:
        return metrics.show(value, self.placed.budget.row.unit)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a reader must know that is no broken budget: a loosened budget, a removed model, a suspicious gain."""

    kind: str
    words: str
    file: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a model could not be gated at all: not comparable, baseline missing, too little counted."""

    error: type[SnnEnergyError]
    words: str


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model: against its baseline where there is one.

    priced: energy and latency on each chip, both sides with today's profile
    causes: why the energy differs: model, tool, hardware profile; one row a chip and cause
    layers: the layers by size of change (of energy on the first chip, else of operations), or by size without a baseline
    """

    name: str
    difference: Difference | None = None
    priced: tuple[Change, ...] = ()
    causes: tuple[Change, ...] = ()
    layers: tuple[Change, ...] = ()
    layers_on: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def grown(self) -> list[str]:
        """`conv2 +1.2 uJ`: the layers that became dearer, largest first; without a baseline the largest ones."""
        if self.difference is None:
            return [f"{row.name} {metrics.show(row.head, row.unit)}" for row in self.layers if row.head]
        rows = [(row, (row.head or 0) - (row.base or 0)) for row in self.layers]
        return [f"{row.name} +{metrics.show(delta, row.unit)}" for row, delta in rows if delta > 0]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything a gate found; `passed` and `exit_code` follow from it."""

    outcomes: tuple[Outcome, ...]
    models: tuple[ModelReport, ...]
    notices: tuple[Notice, ...] = ()
    provenance: tuple[str, ...] = ()

    def of(self, state: State) -> list[Outcome]:
        return [o for o in self.outcomes if o.state is state]

    @property
    def problems(self) -> list[tuple[str, Problem]]:
        return [(m.name, p) for m in self.models for p in m.problems]

    @property
    def exit_code(self) -> int:
        """A broken budget is never hidden behind another failure: 1, then 4, then 5, then 0."""
        if self.of(State.BROKEN):
            return BudgetError.exit_code
        codes = {problem.error.exit_code for _, problem in self.problems}
        return min(codes, default=0)

    @property
    def passed(self) -> bool:
        return self.exit_code == 0

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        parts = []
        if broken := self.of(State.BROKEN):
            named = "; ".join(map(_brief, broken[:MAX_NAMED]))
            more = f"; and {len(broken) - MAX_NAMED} more" if len(broken) > MAX_NAMED else ""
            parts.append(f"{len(broken)} of {_budgets(len(self.outcomes))} broken: {named}{more}")
        for error, title in ((CoverageError, "counted too little"), (NotComparableError, "not comparable")):
            if found := [f"{name}: {p.words.splitlines()[0]}" for name, p in self.problems if p.error is error]:
                more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
                parts.append(f"{title}: {found[0]}{more}")
        if parts:
            return "FAILED: " + ". ".join(parts)
        warned = self.of(State.WARNED)
        held = len(self.of(State.HELD))
        warning = f", {len(warned)} {'warns' if len(warned) == 1 else 'warn'}: {_brief(warned[0])}" if warned else ""
        return f"passed: {_budgets(held)} {'holds' if held == 1 else 'hold'}{warning}{self._tightest()}"

    def _tightest(self) -> str:
        used = [o for o in self.of(State.HELD) if o.used is not None and o.placed.budget.min is None]
        if not used or self.of(State.WARNED):
            return ""
        tightest = max(used, key=lambda o: o.used or 0)
        return f"; the tightest: {tightest.subject}, {100 * (tightest.used or 0):.4g} % used"

    def require(self) -> Verdict:
        """Itself where it passed; else the error that its exit code stands for."""
        if self.passed:
            return self
        errors = {e.exit_code: e for e in (BudgetError, CoverageError, NotComparableError)}
        told = [o.words for o in self.of(State.BROKEN)] + [f"{name}: {p.words}" for name, p in self.problems]
        raise errors[self.exit_code]("\n".join([self.sentence, *told]))


def _brief(outcome: Outcome) -> str:
    """`energy of net on loihi 512 nJ, +35.7 %`; the whole sentence where there is no figure."""
    if outcome.after is None:
        return outcome.words
    change = f", {100 * outcome.change:+.3g} %" if outcome.change else ""
    return f"{outcome.subject} {outcome.show(outcome.after)}{change}"


def _budgets(number: int) -> str:
    return f"{number} budget{'' if number == 1 else 's'}"
