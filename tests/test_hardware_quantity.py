"""Quantities with units: by hand, against a general units library, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnenergy.hardware.quantity import EXAMPLES, parse, show


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("23.6 pJ", "J", 23.6e-12),
        ("23.6pJ", "J", 23.6e-12),
        ("0 ns", "s", 0.0),
        (".5 uW", "W", 5e-7),
        ("1.09e-5 pJ/bit", "J/bit", 1.09e-17),
        ("128 KiB", "bit", 1048576.0),
        ("80 GB", "bit", 6.4e11),
        ("3350 GB/s", "bit/s", 2.68e13),
        ("66.9 TFLOP/s", "op/s", 66.9e12),
        ("1 GMAC/s", "op/s", 2e9),
        ("0.775 V", "V", 0.775),
    ],
)
def test_known_quantities(text: str, dimension: str, value: float) -> None:
    assert parse(text, dimension) == value


@pytest.mark.parametrize("dimension", EXAMPLES)
def test_the_example_of_every_error_message_parses(dimension: str) -> None:
    assert parse(EXAMPLES[dimension], dimension) > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (1e-12, r'expected a quantity such as "23.6 pJ", found 1e-12'),
        ("1e-12", 'found "1e-12"'),
        ("23.6", 'found "23.6"'),
        ("pJ", 'found "pJ"'),
        ("3.5 ns", 'found "3.5 ns", which is in s'),
        ("3 parsec", 'unknown unit "parsec"'),
        ("3 pJ/parsec", "unknown unit"),
        (None, "found None"),
        ("9" * 400 + " pJ", "found"),
    ],
)
def test_refused_quantities(text: object, words: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity") as raised:
        parse(text, "J")
    assert words in str(raised.value)


@pytest.mark.parametrize("unit", ["J", "s", "W", "V", "Hz"])
def test_a_general_units_library_agrees(unit: str) -> None:
    registry = pytest.importorskip("pint").UnitRegistry()
    for prefix in ("f", "p", "n", "u", "µ", "m", "", "k", "M", "G", "T"):
        for number in ("0", "1", "23.6", "0.0333", "999999.9999", "1.5e-7"):
            other = registry.Quantity(float(number), prefix + unit).to(unit).magnitude
            assert parse(f"{number} {prefix}{unit}", unit) == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.0935e-3, "J", "1.09 mJ"),
        (0.9996, "s", "1 s"),
        (23.6e-12, "J", "23.6 pJ"),
        (0.0, "W", "0 W"),
        (1e-30, "J", "1e-12 aJ"),
    ],
)
def test_shown_quantities(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


@given(st.floats(min_value=1e-17, max_value=1e17))
def test_what_is_shown_parses_back_to_three_digits(value: float) -> None:
    assert parse(show(value, "J"), "J") == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize("text", ["1e999 J", "1e-999 J", "9e999999999 J"])
def test_a_number_that_no_chip_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        parse(text, "J")
