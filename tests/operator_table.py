"""The tables of docs/counting.md that say what each operator is charged, made from `snnenergy/trace/formulas.py`.

python -m tests.operator_table         writes them into docs/counting.md
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from snnenergy.trace.formulas import TABLE_OF_ROWS, Arithmetic, Contraction, Each, Free, Row
from snnenergy.trace.operators import RULES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "counting.md"
KINDS = Arithmetic._fields


@dataclass(frozen=True)
class Closed:
    """A closed formula in words: expressions of n (input elements), m (output elements) and the example's own letters."""

    when: str
    figures: Mapping[str, str]
    example: Callable[[], tuple[Sequence[Any], Any, Mapping[str, int]]]


def _x(*shape: int) -> torch.Tensor:
    return torch.zeros(shape or (2, 3, 8, 8))


def _bag(weights: torch.Tensor | None) -> tuple[Sequence[Any], Any, Mapping[str, int]]:
    table, rows = _x(10, 4), torch.tensor([1, 2, 3, 4, 5, 6])
    return (table, rows, torch.tensor([0, 3]), False, 0, False, weights), (_x(2, 4),), {"r": 6, "w": 4, "m": 8}


def _norm(shape: tuple[int, ...]) -> tuple[Sequence[Any], Any, Mapping[str, int]]:
    out = torch.ops.aten.native_group_norm(_x(*shape), None, None, 2, 4, 64, 2, 1e-5)
    return (_x(*shape),), out, {"g": 4}


def _root() -> tuple[Sequence[Any], Any, Mapping[str, int]]:
    return (_x(2, 3, 4), [3, 4]), _x(2, 3, 4), {"w": 12}


CLOSED: dict[str, tuple[Closed, ...]] = {
    "_divide": (
        Closed("by a constant", {"muls": "m"}, lambda: ((_x(4), 2.0), _x(4), {})),
        Closed("by a tensor of one element, as by a constant", {"muls": "m"}, lambda: ((_x(4), _x(1)), _x(4), {})),
        Closed("by any other tensor", {"specials": "m"}, lambda: ((_x(4), _x(4)), _x(4), {})),
    ),
    "_batch_norm": (
        Closed("with running statistics", {"adds": "n", "muls": "n"}, lambda: ((_x(), *[_x(3)] * 4, False), _x(), {})),
        Closed("in training", {"adds": "4 n", "muls": "2 n"}, lambda: ((_x(), *[_x(3)] * 4, True), _x(), {})),
    ),
    "_normalise": (
        Closed("over g groups", {"adds": "4 n", "muls": "3 n", "specials": "g"}, lambda: _norm((2, 4, 8, 8))),
    ),
    "_root_mean_square": (
        Closed("over groups of w", {"adds": "n", "muls": "3 n", "specials": "n // w"}, _root),
    ),
    "_power": (
        Closed("to the whole power e = 1 ... 4", {"muls": "(e - 1) m"}, lambda: ((_x(4), 3), _x(4), {"e": 3})),
        Closed("to any other", {"specials": "m"}, lambda: ((_x(4), 0.5), _x(4), {})),
    ),
    "_avg_pool": (
        Closed("windows of k", {"adds": "(k - 1) m", "muls": "m"}, lambda: ((_x(), [2]), F.avg_pool2d(_x(), 2), {"k": 4})),
    ),
    "_max_pool": (
        Closed("windows of k", {"compares": "(k - 1) m"}, lambda: ((_x(), [2, 4]), F.max_pool2d(_x(), (2, 4)), {"k": 8})),
    ),
    "_adaptive_avg": (
        Closed("", {"adds": "n - m", "muls": "m"}, lambda: ((_x(), [2]), F.adaptive_avg_pool2d(_x(), 2), {})),
    ),
    "_adaptive_max": (Closed("", {"compares": "n - m"}, lambda: ((_x(), [2]), F.adaptive_max_pool2d(_x(), 2), {})),),
    "_sort": (
        Closed("l elements at a time", {"compares": "n ceil(log2(l))"}, lambda: ((_x(3, 10),), _x(3, 10), {"l": 10})),
    ),
    "_embedding_bag": (
        Closed("r rows of width w", {"adds": "r w - m"}, lambda: _bag(None)),
        Closed("r rows of width w, weighted", {"adds": "r w - m", "muls": "r w"}, lambda: _bag(_x(6))),
    ),
    "_fold": (Closed("", {"adds": "n - m"}, lambda: ((_x(1, 12, 9), (4, 4)), _x(1, 3, 4, 4), {})),),
    "_distance": (
        Closed(
            "between points of k features",
            {"adds": "(2 k - 1) m", "muls": "k m", "specials": "m"},
            lambda: ((_x(5, 8), _x(6, 8)), _x(5, 6), {"k": 8}),
        ),
    ),
    "_batch_norm_backward": (
        Closed("by running statistics", {"adds": "3 n", "muls": "3 n"}, lambda: ((_x(), *[None] * 6, False), _x(), {})),
        Closed("by batch statistics", {"adds": "5 n", "muls": "4 n"}, lambda: ((_x(), *[None] * 6, True), _x(), {})),
    ),
    "_avg_pool_backward": (
        Closed("windows of k", {"adds": "k n", "muls": "n"}, lambda: ((_x(2, 3, 4, 4), _x(), [2]), _x(), {"k": 4})),
    ),
    "_adaptive_avg_backward": (
        Closed("to at least as many", {"adds": "m", "muls": "n"}, lambda: ((_x(2, 3, 2, 2), _x()), _x(), {})),
    ),
    "_target_backward": (
        Closed("t targets", {"muls": "t"}, lambda: ((_x(1), _x(6, 5), torch.zeros(6)), _x(6, 5), {"t": 6})),
    ),
    "_glu_backward": (
        Closed("", {"adds": "n", "muls": "4 n", "specials": "n"}, lambda: ((_x(3, 4), _x(3, 8)), _x(3, 8), {})),
    ),
    "_fft": (
        Closed(
            "4 n log2(n) operations, a third of them products",
            {"adds": "2 floor(4 n log2(n)) // 3", "muls": "floor(4 n log2(n)) - 2 floor(4 n log2(n)) // 3"},
            lambda: ((_x(64),), _x(64), {}),
        ),
    ),
}  # fmt: skip  # a table, read across


def value(expression: str, letters: Mapping[str, int]) -> int:
    """`(k - 1) m` with numbers for its letters."""
    product = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", expression)
    known = {"ceil": math.ceil, "floor": math.floor, "log2": math.log2}
    return int(eval(product, {"__builtins__": {}}, {**known, **letters}))


def operators(row: Row) -> str:
    return ", ".join(f"`{name}`" for name, other in TABLE_OF_ROWS.items() if other is row)


def groups() -> list[Row]:
    """Every row once, in the order of the table."""
    return list({id(row): row for row in TABLE_OF_ROWS.values()}.values())


def linear(row: Callable[[Sequence[Any], Any], Arithmetic]) -> dict[str, str]:
    """A formula that charges so many operations per input and per output element, as expressions of n and m."""

    def at(n: int, m: int) -> Arithmetic:
        return row([_x(n)] if n else [_x(0)], _x(m))

    per_input, per_output = at(60, 0), at(0, 60)
    found = {}
    for kind, a, b, both in zip(KINDS, per_input, per_output, at(60, 120), strict=True):
        assert both == a + 2 * b, "not so many per element"
        terms = [_times(count // 60, letter) for count, letter in ((a, "n"), (b, "m")) if count]
        if terms:
            found[kind] = " + ".join(terms)
    return found


def _times(count: int, letter: str) -> str:
    return letter if count == 1 else f"{count} {letter}"


def charged() -> list[tuple[str, str, Mapping[str, str]]]:
    """(operators, when, figures) of every row that does arithmetic, but contractions."""
    found: list[tuple[str, str, Mapping[str, str]]] = []
    for row in groups():
        if isinstance(row, Free | Contraction):
            continue
        closed = CLOSED.get(getattr(row, "__name__", ""))
        if closed is not None:
            found += [(operators(row), one.when, one.figures) for one in closed]
        elif isinstance(row, Each):
            found.append((operators(row), "", {k: _times(getattr(row, k), "m") for k in KINDS if getattr(row, k)}))
        else:
            assert inspect.isfunction(row), row
            found.append((operators(row), "", linear(row)))
    return found


def arithmetic_table() -> str:
    lines = [f"| operators | {' | '.join(KINDS)} |", "|---|---|---|---|---|"]
    for names, when, figures in charged():
        cells = " | ".join(figures.get(kind, "") for kind in KINDS)
        lines.append(f"| {names}{f': {when}' if when else ''} | {cells} |")
    return "\n".join(lines) + "\n"


def free_table() -> str:
    lines = ["| free because it | operators |", "|---|---|"]
    lines += [f"| {row.why} | {operators(row)} |" for row in groups() if isinstance(row, Free)]
    return "\n".join(lines) + "\n"


def contraction_table() -> str:
    """Those that have a rule, and those that are known for what they are and have none."""
    names = [name for name, row in TABLE_OF_ROWS.items() if isinstance(row, Contraction)]
    ruled, lost = (", ".join(f"`{n}`" for n in names if (n in RULES) is there) for there in (True, False))
    return f"{ruled}\n\nNo rule is written for these kernels; a call of one is named in `uncounted`:\n\n{lost}\n"


TABLES: dict[str, Callable[[], str]] = {
    "contractions": contraction_table,
    "arithmetic": arithmetic_table,
    "free": free_table,
}


def rendered(page: str) -> str:
    """The page with every generated part as the code makes it now."""
    for name, make in TABLES.items():
        start, end = f"<!-- {name}: python -m tests.operator_table -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the page has no part {name!r} between {start!r} and {end!r}")
        page = f"{before}{start}\n{make()}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
