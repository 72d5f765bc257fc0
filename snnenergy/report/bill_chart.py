"""Energy spent since training began, against inferences: a straight bill for each net and chip, on logarithmic axes."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from snnenergy.report import quantities as q
from snnenergy.report.escape import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnenergy.report.payback import Bill

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 200, 14, 46
POINTS = 60
LINE = 15
"""Height of a label."""
Curve = tuple[str, str, float, float]
"""Label, class, J of training, J per inference."""


def svg(bill: Bill) -> str:
    """Nominal figures; empty where no chip prices both nets."""
    curves = _curves(bill)
    if not curves:
        return ""
    low, high = _decades(bill)
    totals = [train + 10.0**x * each for _, _, train, each in curves for x in (low, high)]
    bottom, top = math.floor(math.log10(min(totals))), math.ceil(math.log10(max(totals)))

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (x - low) / (high - low)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - bottom) / max(1, top - bottom)

    parts = [
        f'<svg class="bill" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Energy against inferences; the numbers are in the tables">'
    ]
    for x in range(low, high + 1, max(1, (high - low) // 6)):
        parts.append(
            f'<line class="rule" x1="{across(x):.1f}" y1="{TOP}" x2="{across(x):.1f}" y2="{HEIGHT - BOTTOM}"/>'
        )
        parts.append(_text(across(x), HEIGHT - BOTTOM + 18, q.count(10.0**x), "middle"))
    for y in range(bottom, top + 1, max(1, (top - bottom) // 6)):
        parts.append(f'<line class="rule" x1="{LEFT}" y1="{up(y):.1f}" x2="{WIDTH - RIGHT}" y2="{up(y):.1f}"/>')
        parts.append(_text(LEFT - 8, up(y) + 4, q.quantity(10.0**y, "J", micro="µ"), "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "inferences", "middle"))
    xs = [low + (high - low) * i / POINTS for i in range(POINTS + 1)]
    ends = _apart([up(math.log10(train + 10.0**high * each)) for _, _, train, each in curves])
    for (label, kind, train, each), end in zip(curves, ends, strict=True):
        line = " ".join(f"{across(x):.1f},{up(math.log10(train + 10.0**x * each)):.1f}" for x in xs)
        parts.append(f'<polyline class="{kind}" points="{line}"/>')
        parts.append(_text(WIDTH - RIGHT + 8, end + 4, label, "start"))
    return "".join([*parts, "</svg>"])


def _curves(bill: Bill) -> list[Curve]:
    rows = [row for row in bill.rows if row.ann is not None and row.snn is not None]
    anns = {row.ann_hardware: row.ann.nominal for row in rows if row.ann is not None}
    curves = [(f"ANN on {chip}", "ann", bill.ann.energy.nominal, each) for chip, each in anns.items()]
    return curves + [
        (f"SNN on {row.hardware}", f"snn snn-{i % 4}", bill.snn.energy.nominal, row.snn.nominal)
        for i, row in enumerate(rows)
        if row.snn is not None
    ]


def _decades(bill: Bill) -> tuple[int, int]:
    """Powers of ten of inferences: two decades around where the bills meet; where they never do, until one of them doubles."""
    meet = [math.log10(row.inferences.nominal) for row in bill.rows if row.inferences and row.inferences.nominal > 1]
    if not meet:
        doubled = [math.log10(max(10.0, train / each)) for _, _, train, each in _curves(bill) if each and train]
        meet = [min(doubled, default=3.0)]
    return max(0, math.floor(min(meet)) - 2), math.ceil(max(meet)) + 2


def _apart(ends: Sequence[float]) -> list[float]:
    """Labels moved down until none lies on another."""
    moved = list(ends)
    last = -math.inf
    for i in sorted(range(len(ends)), key=lambda i: ends[i]):
        last = moved[i] = max(ends[i], last + LINE)
    return moved


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(plain(words))}</text>'
