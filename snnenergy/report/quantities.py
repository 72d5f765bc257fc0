"""Numbers as people read them: three digits, an SI prefix, a range beside the nominal value.

The prefix of a micro is the letter u in plain text; pages and figures pass `micro="µ"`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnenergy.cost.records import Range

DIGITS = 3
PREFIXES = {
    -24: "y",
    -21: "z",
    -18: "a",
    -15: "f",
    -12: "p",
    -9: "n",
    -6: "u",
    -3: "m",
    0: "",
    3: "k",
    6: "M",
    9: "G",
    12: "T",
    15: "P",
    18: "E",
}
NONE = "-"


def scale(value: float) -> tuple[float, int]:
    """Mantissa and power of a thousand, rounded first so that 999.9 becomes 1 of the next prefix: (1.23, -6)."""
    if not value or not math.isfinite(value):
        return value, 0
    rounded = float(f"{value:.{DIGITS - 1}e}")
    exponent = 3 * math.floor(math.log10(abs(rounded)) / 3)
    exponent = min(max(exponent, min(PREFIXES)), max(PREFIXES))
    mantissa = scaled(value, exponent)
    if abs(mantissa) >= 1000 and exponent < max(PREFIXES):  # log10 sits a rounding below a power of a thousand
        return mantissa / 1000, exponent + 3
    return mantissa, exponent


def scaled(value: float, exponent: int) -> float:
    """The mantissa at a power of ten that is given; rounded first too, so that what shows the same digits in one shows them in all."""
    return float(f"{float(f'{value:.{DIGITS - 1}e}') / 10.0**exponent:.{DIGITS}g}")


def quantity(value: float | None, unit: str, *, micro: str = "u") -> str:
    """`1.23 uJ`; a dash where there is no value.

    >>> quantity(1.234e-6, "J"), quantity(0.9999e-3, "s"), quantity(0, "J"), quantity(None, "J")
    ('1.23 uJ', '1 ms', '0 J', '-')
    """
    if value is None:
        return NONE
    mantissa, exponent = scale(value)
    return f"{_digits(mantissa)} {_prefix(exponent, micro)}{unit}"


def interval(value: Range | None, unit: str, *, micro: str = "u") -> str:
    """`[0.9, 1.6] uJ`: one prefix, the nominal value's, unless an end lies too far from it to be read so."""
    if value is None:
        return NONE
    _, exponent = scale(value.nominal)
    ends = [scaled(end, exponent) for end in (value.low, value.high)]
    if all(math.isfinite(e) and (e == 0 or 0.01 <= abs(e) < 9999.5) for e in ends):
        low, high = map(_digits, ends)
        return f"[{low}, {high}] {_prefix(exponent, micro)}{unit}"
    return f"[{quantity(value.low, unit, micro=micro)}, {quantity(value.high, unit, micro=micro)}]"


def count(value: float | None) -> str:
    """`12.3 M`, `432`, `0.25`: a number of events, which per inference need not be whole."""
    return (
        NONE
        if value is None
        else quantity(value, "").strip()
        if abs(value) >= 1000 or not value
        else f"{value:.{DIGITS}g}"
    )


def number(value: float) -> str:
    """`12.3`, `12,300`: three digits of a pure number, without an exponent where that stays short.

    >>> number(6.333), number(12216.0), number(1.2e9)
    ('6.33', '12,200', '1.2e+09')
    """
    rounded = float(f"{value:.{DIGITS}g}")
    return f"{rounded:,.0f}" if 1000 <= rounded < 1e6 else _digits(rounded)


def percent(share: float | None) -> str:
    """`12.3 %`; neither `0 %` nor `100 %` is shown for a share that is not exactly that."""
    if share is None:
        return NONE
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 < share < 1:
        return ">99.9 %"
    if share < 0.001:
        return f"{round(100 * share, 3):g} %"  # 0.0747 would not go into a column
    return f"{_digits(100 * share)} %"


def factor(value: Range, times: str = "x") -> str:
    """`3.2x [2.1x, 4x]`: a ratio with its range."""
    return f"{_ratio(value.nominal)}{times} [{_ratio(value.low)}{times}, {_ratio(value.high)}{times}]"


def _ratio(value: float) -> str:
    return _digits(float(f"{value:.{DIGITS}g}")) if math.isfinite(value) else "inf"


def _digits(value: float) -> str:
    """Without an exponent where that stays short."""
    if not math.isfinite(value):
        return "inf" if value > 0 else "-inf" if value < 0 else "?"
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.{DIGITS}g}"


def _prefix(exponent: int, micro: str) -> str:
    return micro if exponent == -6 else PREFIXES[exponent]


_BOUND = re.compile(r"(?<=\d) (?=(?:%|[fpnuµmkMGT]?[JsWV]|[kMGT])(?!\w))|(?<=\bT) (?== \d)|(?<=\bT =) (?=\d)")


def bound(text: str, glue: str = "\N{NO-BREAK SPACE}") -> str:
    """Prose in which no line ends between a number and its unit.

    >>> bound("12.3 uJ at T = 8, 0.4 % of it", "~")
    '12.3~uJ at T~=~8, 0.4~% of it'
    """
    return _BOUND.sub(glue, text)
