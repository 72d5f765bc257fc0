"""Which model is cheapest on each chip, by how much, and whether the constants leave that open: the first line of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.hardware.quantity import show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnenergy.cost.records import Comparison, Estimate, Range


@dataclass(frozen=True, slots=True)
class Lead:
    """The cheapest model on a chip, and the next one: among those that it prices in full."""

    best: Estimate
    second: Estimate

    @property
    def chip(self) -> str:
        return self.best.hardware

    @property
    def ratio(self) -> Range:
        """Energy of the second over that of the best, both at the same corner of every constant."""
        assert self.best.energy is not None and self.second.energy is not None  # `lead` makes no other
        return self.second.energy / self.best.energy

    @property
    def open(self) -> bool:
        """Whether either may be the cheaper one, within the range of the constants."""
        return self.ratio.low <= 1


def lead(made: Comparison, chip: str) -> Lead | None:
    """None where fewer than two models are priced in full."""
    rows = [(e.energy.nominal, e) for e in made.estimates if e.hardware == chip and e.energy and not blocked(e)]
    if len(rows) < 2:
        return None
    (_, best), (_, second) = sorted(rows, key=lambda row: row[0])[:2]
    return Lead(best, second)


def blocked(e: Estimate) -> str:
    """Why an energy is no side of a ratio: it is unknown, a lower bound, or of nothing; empty where it is one."""
    if e.energy is None or e.partial:
        return e.verdict or ("a lower bound" if e.partial else "not priced")
    return "" if e.energy.nominal else "no energy was priced"


def sentence(made: Comparison) -> str:
    """`ann takes less energy than snn on h100_sxm (34.2x, 34.2 to 34.2) ...; not comparable on loihi (ann: analog: ...)`."""
    if not made.estimates:
        return "nothing was priced"
    if len(made.models) == 1:
        return _alone(made)
    found = {chip: lead(made, chip) for chip in made.hardware}
    clauses: dict[str, list[str]] = {}
    for chip, row in found.items():
        if row is not None:
            best, second = row.best.model, row.second.model
            said = f"{best} and {second} are not told apart" if row.open else f"{best} takes less energy than {second}"
            clauses.setdefault(said, []).append(f"{chip} ({ratio(row.ratio)})")
    if not clauses:
        which = "both" if len(made.models) == 2 else "two of"
        return f"no chip prices {which} {_listed(made.models)} in full; {_dark(made, found)}"
    told = [f"{said} on {_listed(chips)}" for said, chips in clauses.items()]
    return "; ".join([*told, _dark(made, found)] if None in found.values() else told)


def _alone(made: Comparison) -> str:
    cells = [f"{e.hardware} {_energy(e)}" for e in made.estimates]
    return f"energy per inference of {made.models[0]}: {', '.join(cells)}"


def _energy(e: Estimate) -> str:
    if e.energy is None:
        return e.verdict or "not priced"
    ends = f"({show(e.energy.low, 'J')} to {show(e.energy.high, 'J')})"
    return f"{'at least ' if e.partial else ''}{show(e.energy.nominal, 'J')} {ends}"


def _dark(made: Comparison, found: dict[str, Lead | None]) -> str:
    """Chips on which nothing is compared, each with one reason."""
    reasons: dict[str, list[str]] = {}
    for chip, row in found.items():
        if row is None:
            why = next((f"{e.model}: {why}" for e in made.estimates if e.hardware == chip and (why := blocked(e))), "")
            reasons.setdefault(why, []).append(chip)
    return f"not comparable on {', '.join(_because(chips, why) for why, chips in reasons.items())}"


def _because(chips: list[str], why: str) -> str:
    return f"{_listed(chips)} ({why})" if why else _listed(chips)


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def ratio(value: Range) -> str:
    """`34.2x, 34.1 to 34.3`."""
    return f"{_digits(value.nominal)}x, {_digits(value.low)} to {_digits(value.high)}"


def _digits(value: float) -> str:
    """Three digits, and no exponent below a million: 3,830 and not 3.83e+03."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if 1000 <= rounded < 1e6 else f"{rounded:.3g}"
