"""Which part of the constants moves a verdict most: the SNN to ANN ratio with one part at its ends, all others nominal.

A part's constants are the chip's, so both models move together; parts are the finest grain an estimate keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.cost.records import PARTS, Range

if TYPE_CHECKING:
    from snnenergy.report.summary import Pair


@dataclass(frozen=True, slots=True)
class Swing:
    """The ratio when `part` goes from low to high."""

    part: str
    ratio: Range

    @property
    def width(self) -> float:
        return self.ratio.high - self.ratio.low

    @property
    def flips(self) -> bool:
        """Whether the verdict turns inside the swing."""
        return self.ratio.low < 1 < self.ratio.high


def swings(pair: Pair) -> tuple[Swing, ...]:
    """Widest first; parts that neither model spends anything on are left out."""
    made = []
    for part in PARTS:
        if part == "host" or not (getattr(pair.ann.breakdown, part) or getattr(pair.snn.breakdown, part)):
            continue
        low, nominal, high = (_ratio(pair, part, end) for end in ("low", "nominal", "high"))
        made.append(Swing(part, Range(min(low, nominal, high), nominal, max(low, nominal, high))))
    return tuple(sorted(made, key=lambda s: -s.width))


def _ratio(pair: Pair, part: str, end: str) -> float:
    ann, snn = (_total(e.breakdown.total.nominal, getattr(e.breakdown, part), end) for e in (pair.ann, pair.snn))
    return snn / ann if ann else float("inf")


def _total(nominal: float, moved: Range, end: str) -> float:
    return nominal - moved.nominal + float(getattr(moved, end))
