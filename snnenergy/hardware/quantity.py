"""Quantities such as "23.6 pJ" to SI floats: an exact parser for the few units a profile holds.

A general units library takes a third of a second to import, which every torch-free command would pay; the tests compare
this parser with one, unit by unit.
"""

from __future__ import annotations

import re
from fractions import Fraction

_PREFIXES = {
    "a": -18,
    "f": -15,
    "p": -12,
    "n": -9,
    "u": -6,
    "µ": -6,
    "μ": -6,
    "m": -3,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
}  # both micro signs are in use
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_UNITS = {
    "J": ("J", 1),
    "s": ("s", 1),
    "W": ("W", 1),
    "V": ("V", 1),
    "Hz": ("Hz", 1),
    "bit": ("bit", 1),
    "B": ("bit", 8),
    "byte": ("bit", 8),
    "OP": ("op", 1),
    "FLOP": ("op", 1),
    "MAC": ("op", 2),
}
"""Unit -> its dimension and its size in that dimension; a MAC is two operations."""

EXAMPLES = {
    "J": "23.6 pJ",
    "s": "3.5 ns",
    "W": "104 mW",
    "V": "0.8 V",
    "Hz": "300 MHz",
    "bit": "128 KiB",
    "op/s": "66.9 TFLOP/s",
    "bit/s": "3350 GB/s",
    "J/bit": "3.9 pJ/bit",
}
"""Every dimension a profile asks for, with the example its error message shows."""

_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)\s*([A-Za-zµμ][A-Za-zµμ/ ]*?)\s*\Z")


SMALLEST, LARGEST = 1e-60, 1e60
"""Bounds of the number before its unit."""


def parse(text: object, dimension: str) -> float:
    """The SI value of a quantity of that dimension, correctly rounded; ValueError says what was expected and found.

    >>> parse("23.6 pJ", "J"), parse("128 KiB", "bit"), parse("3350 GB/s", "bit/s")
    (2.36e-11, 1048576.0, 26800000000000.0)
    """
    expected = f'expected a quantity such as "{EXAMPLES[dimension]}"'
    match = _QUANTITY.match(text) if isinstance(text, str) and len(text) <= 64 else None
    if match is None:
        found = f'"{text:.40}"' if isinstance(text, str) else f"{text!r:.40}"
        raise ValueError(f"{expected}, found {found}")
    number, unit = match.groups()
    try:
        found_dimension, scale = _unit(unit)
    except KeyError:
        raise ValueError(f'{expected}, found the unknown unit "{unit:.20}" in "{text}"') from None
    if found_dimension != dimension:
        raise ValueError(f'{expected}, found "{text}", which is in {found_dimension}')
    size = abs(Fraction(number))
    if size and not SMALLEST <= size <= LARGEST:
        raise ValueError(f'{expected}, found "{text}", which no chip has')
    return float(Fraction(number) * scale)


def _unit(text: str) -> tuple[str, Fraction]:
    """Dimension and SI scale of a unit, or of a quotient of two."""
    above, slash, below = text.partition("/")
    dimension, scale = _simple(above.strip())
    if not slash:
        return dimension, scale
    per, divisor = _simple(below.strip())
    return f"{dimension}/{per}", scale / divisor


def _simple(text: str) -> tuple[str, Fraction]:
    if text in _UNITS:
        dimension, size = _UNITS[text]
        return dimension, Fraction(size)
    if text[:2] in _BINARY and text[2:] in ("B", "bit"):
        return "bit", Fraction(_BINARY[text[:2]] * _UNITS[text[2:]][1])
    dimension, size = _UNITS[text[1:]]
    return dimension, size * Fraction(10) ** _PREFIXES[text[:1]]


def show(value: float, unit: str) -> str:
    """Three digits and a prefix, for sentences.

    >>> show(1.0935e-3, "J"), show(0.0, "W"), show(16.8e-6, "s")
    ('1.09 mJ', '0 W', '16.8 us')
    """
    if not value:
        return f"0 {unit}"
    value = float(f"{value:.3g}")
    ladder = [(p, e) for p, e in _PREFIXES.items() if p not in ("µ", "μ")] + [("", 0)]
    fitting = [(e, p) for p, e in ladder if abs(value) >= 0.9999 * 10.0**e]
    exponent, prefix = max(fitting, default=(-18, "a"))
    return f"{value / 10.0**exponent:.3g} {prefix}{unit}"
