"""Which constant moves a verdict most: the SNN to ANN ratio with one of them at its ends, all others nominal.

A constant is the chip's, so both models move together.  Where the profile is at hand it is one figure of it, priced again;
else it is one part of the energy, the finest grain an estimate keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.cost.price import again
from snnenergy.cost.records import PARTS, Range
from snnenergy.hardware.figures import Figure, Strict

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile
    from snnenergy.report.summary import Pair

ENDS = ("low", "nominal", "high")


@dataclass(frozen=True, slots=True)
class Swing:
    """The ratio when `part`, a figure of the chip or a part of the energy, goes from low to high."""

    part: str
    ratio: Range

    @property
    def width(self) -> float:
        return self.ratio.high - self.ratio.low

    @property
    def flips(self) -> bool:
        """Whether the verdict turns inside the swing."""
        return self.ratio.low < 1 < self.ratio.high


def of_figures(pair: Pair, ann: Counts, snn: Counts, chip: Profile) -> tuple[Swing, ...] | None:
    """Every figure with a range that moves the ratio at all, widest first; None where today's arithmetic prices the pair otherwise."""
    if not all(_same(e, again(counts, chip, e.options)) for counts, e in ((ann, pair.ann), (snn, pair.snn))):
        return None
    made = []
    for place, figure in chip.figures().items():
        if isinstance(figure, Figure) and figure.spread:
            low, high = (_priced(pair, ann, snn, _at(chip, place.split("."), end)) for end in (figure.low, figure.high))
            made.append(_swing(place, low, pair.ratio.nominal, high))
    return _widest([swing for swing in made if swing.width])


def _same(then: Estimate, now: Estimate) -> bool:
    return (
        then.energy is not None
        and now.energy is not None
        and math.isclose(then.energy.nominal, now.energy.nominal, rel_tol=1e-9)
    )


def _priced(pair: Pair, ann: Counts, snn: Counts, chip: Profile) -> float:
    """Nominal energy of the SNN over the ANN's, under the options of the estimates."""
    above, below = (again(c, chip, e.options).energy for c, e in ((snn, pair.snn), (ann, pair.ann)))
    return above.nominal / below.nominal if above is not None and below is not None and below.nominal else math.inf


def _at(value: Any, place: list[str], end: float) -> Any:
    """The profile with one figure at another value; its range is not read here."""
    if not place:
        return value.model_copy(update={"value": end})
    name, *rest = place
    if isinstance(value, Strict):
        return value.model_copy(update={name: _at(getattr(value, name), rest, end)})
    if isinstance(value, dict):
        return value | {name: _at(value[name], rest, end)}
    return (*value[: int(name)], _at(value[int(name)], rest, end), *value[int(name) + 1 :])


def of_parts(pair: Pair) -> tuple[Swing, ...]:
    """Widest first; parts that neither model spends anything on are left out."""
    sides = (pair.ann.breakdown, pair.snn.breakdown)
    spent = [part for part in PARTS if part != "host" and any(getattr(side, part) for side in sides)]
    return _widest([_swing(part, *(_ratio(pair, part, end) for end in ENDS)) for part in spent])


def _ratio(pair: Pair, part: str, end: str) -> float:
    ann, snn = (_total(e.breakdown.total.nominal, getattr(e.breakdown, part), end) for e in (pair.ann, pair.snn))
    return snn / ann if ann else math.inf


def _total(nominal: float, moved: Range, end: str) -> float:
    return nominal - moved.nominal + float(getattr(moved, end))


def _swing(part: str, low: float, nominal: float, high: float) -> Swing:
    return Swing(part, Range(min(low, nominal, high), nominal, max(low, nominal, high)))


def _widest(made: list[Swing]) -> tuple[Swing, ...]:
    return tuple(sorted(made, key=lambda s: -s.width))
