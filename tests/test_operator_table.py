"""docs/counting.md says what every operator is charged; here its tables are held to the code that charges."""

from __future__ import annotations

import pytest
import torch

from snnenergy.trace.formulas import TABLE_OF_ROWS, Arithmetic, Contraction, Free, row
from snnenergy.trace.operators import RULES
from tests import operator_table as t


def test_the_page_is_what_the_code_makes_now() -> None:
    page = t.PAGE.read_text(encoding="utf-8")
    assert t.rendered(page) == page, "run: python -m tests.operator_table"


@pytest.mark.parametrize(("name", "i"), [(name, i) for name, closed in t.CLOSED.items() for i in range(len(closed))])
def test_a_closed_formula_is_what_its_row_says(name: str, i: int) -> None:
    one = t.CLOSED[name][i]
    (formula,) = {r for r in TABLE_OF_ROWS.values() if getattr(r, "__name__", "") == name}
    assert not isinstance(formula, Free | Contraction)
    args, out, letters = one.example()
    first = out[0] if isinstance(out, tuple) else out
    known = {"n": args[0].numel(), "m": first.numel()} | dict(letters)
    expected = Arithmetic(**{kind: t.value(expression, known) for kind, expression in one.figures.items()})
    assert formula(args, out) == expected


def test_every_operator_is_on_the_page() -> None:
    page = t.PAGE.read_text(encoding="utf-8")
    assert [name for name in TABLE_OF_ROWS if f"`{name}`" not in page] == []


def test_a_contraction_without_a_rule_is_not_said_to_be_taps() -> None:
    ruled, _, lost = t.contraction_table().strip().split("\n\n")
    assert "`mm`" in ruled and "`convolution_backward`" in ruled
    assert "`_cudnn_rnn`" in lost and "`slow_conv_transpose2d`" in lost
    assert {name.strip("`") for name in ruled.split(", ")} <= RULES.keys()
    assert not {name.strip("`") for name in lost.split(", ")} & RULES.keys()


def test_a_root_per_normalised_group() -> None:
    found = row("rms_norm")
    assert callable(found)
    assert found((torch.zeros(2, 3, 4), [4]), torch.zeros(2, 3, 4)) == Arithmetic(adds=24, muls=72, specials=6)


def test_rows_by_hand() -> None:
    rows = {names: figures for names, _, figures in t.charged()}
    assert rows["`add`, `sub`, `rsub`"] == {"adds": "m"}
    (mean,) = (figures for names, figures in rows.items() if "`mean`" in names)
    assert mean == {"adds": "n", "muls": "m"}
    found = row("mean")
    assert not isinstance(found, Free | Contraction) and found is not None
    assert found([torch.zeros(3, 4)], torch.zeros(3)) == Arithmetic(adds=12, muls=3)


def test_a_formula_that_is_not_so_many_per_element_is_not_shown_as_one() -> None:
    with pytest.raises(AssertionError, match="not so many per element"):
        t.linear(lambda args, out: Arithmetic(adds=args[0].numel() * (1 + out.numel())))


def test_expressions() -> None:
    assert t.value("(k - 1) m", {"k": 4, "m": 10}) == 30
    assert t.value("n ceil(log2(l))", {"n": 30, "l": 10}) == 120


def test_a_page_without_the_marks_is_found() -> None:
    with pytest.raises(ValueError, match="no part 'contractions'"):
        t.rendered("# Counting\n")
