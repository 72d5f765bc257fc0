"""The verdict: which model is cheaper on which chip, by how much, whether the constants leave it open, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snnenergy.cost import verdict
from snnenergy.cost.records import Breakdown, Comparison, Estimate, Range
from snnenergy.report import markdown, summary, terminal, why
from tests import test_report_records as made


def _estimate(model: str, chip: str, joules: Range, **more: object) -> Estimate:
    return replace(Estimate(model, chip, chip, joules, None, breakdown=Breakdown(static=joules)), **more)  # type: ignore[arg-type]  # fields by name


def _two(first: Range, second: Range) -> Comparison:
    counts = {"a": made.digits_ann("a"), "b": made.digits_ann("b")}
    return Comparison(counts, (_estimate("a", "x", first), _estimate("b", "x", second)))


@pytest.mark.parametrize(
    ("second", "says", "cheaper", "by"),
    [
        # corner by corner: 2/1, 6/2, 12/3
        (Range(2, 6, 12), "a takes less energy than b on x (3x, 2 to 4)", "a", "3x [2x, 4x]"),
        # 0.5/1, 3/2, 6/3: at the low corner b is the cheaper one
        (Range(0.5, 3, 6), "a and b are not told apart on x (1.5x, 0.5 to 2)", "either", "1.5x [0.5x, 2x]"),
        # b below a: the best comes first, 1/0.5, 2/0.5, 3/1
        (Range(0.5, 0.5, 1), "b takes less energy than a on x (4x, 2 to 4)", "b", "4x [2x, 4x]"),
    ],
)
def test_the_cheaper_one_by_hand(second: Range, says: str, cheaper: str, by: str) -> None:
    both = _two(Range(1, 2, 3), second)
    assert verdict.sentence(both) == says
    (row,) = why.rows(both)
    assert (row.chip, row.cheaper, row.by) == ("x", cheaper, by)


def test_a_lower_bound_is_no_side_of_a_verdict() -> None:
    both = _two(Range(1, 2, 3), Range(2, 6, 12))
    first = replace(both.estimates[0], partial=True, verdict="partial: analog in 1 of 3 layers")
    bound = replace(both, estimates=(first, both.estimates[1]))
    assert verdict.sentence(bound) == (
        "no chip prices both a and b in full; not comparable on x (a: partial: analog in 1 of 3 layers)"
    )
    (row,) = why.rows(bound)
    assert (row.cheaper, row.by, row.why) == ("only b", "-", "a: partial: analog in 1 of 3 layers")


def test_of_three_models_the_cheapest_and_the_next() -> None:
    counts = {name: made.digits_ann(name) for name in "abc"}
    rows = tuple(_estimate(name, "x", Range(j, j, j)) for name, j in (("a", 8.0), ("b", 1.0), ("c", 2.0)))
    assert verdict.sentence(Comparison(counts, rows)) == "b takes less energy than c on x (2x, 2 to 2)"


def test_one_model_has_no_verdict_but_its_energies_with_their_ranges() -> None:
    one = Comparison({"a": made.digits_ann("a")}, (_estimate("a", "x", Range(1e-6, 2e-6, 3e-6)),))
    assert verdict.sentence(one) == "energy per inference of a: x 2 uJ (1 uJ to 3 uJ)"
    assert why.rows(one) == ()


def test_the_reason_is_the_largest_change_and_the_largest_against_it() -> None:
    """Seven more time steps cost the SNN; that most of its taps are silent gives part of it back."""
    rows = {row.chip: row for row in why.rows(made.digits())}
    assert rows["tianjic"].why.startswith("digits_snn: extra time steps +")
    assert ", sparsity -" in rows["tianjic"].why
    assert rows["h100_sxm"].why == "digits_snn: static energy +9.6 mJ"  # 27 kernels to 3, at 5 us and 80 W
    assert (rows["truenorth"].cheaper, rows["truenorth"].why) == (
        "only digits_snn",
        "digits_ann: analog: not supported",
    )


def test_two_nets_of_one_kind_differ_by_parts() -> None:
    (row,) = why.rows(_two(Range(1e-9, 2e-9, 3e-9), Range(2e-9, 6e-9, 12e-9)))
    assert row.why == "b: static energy +4 nJ"


def test_the_first_screen_has_verdict_reasons_and_every_row() -> None:
    text = terminal.render(made.digits())
    screen = text.split("Layers of")[0]
    assert "validated against silicon: truenorth, tianjic; not validated: h100_sxm, loihi" in screen
    assert len(screen.splitlines()) <= 40
    assert all(chip in screen for chip in made.CHIPS)
    assert "| `tianjic` | digits\\_ann | 1.3× \\[1.3×, 1.3×\\] |" in markdown.render(made.digits())


def test_few_words_only_where_the_fit_does_not_say_them() -> None:
    fits = made.neuromorphic(made.digits_snn(), "loihi")
    assert [summary.short(replace(fits, verdict=v)) for v in ("fits 12 cores", "12 cores", "launch-bound")] == [
        "",
        "",
        "launch-bound",
    ]
