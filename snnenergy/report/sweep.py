"""A sweep as tables, CSV and JSON: one row for each configuration and chip, the best first."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.report import quantities as q
from snnenergy.report.csv_rows import ends, names, written
from snnenergy.report.summary import some
from snnenergy.sweep.points import shown
from snnenergy.sweep.results import GOALS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snnenergy.sweep.results import Row, Sweep

SCHEMA_VERSION = 1
SHORT = {"steps": "T", "encode": "code", "threshold": "thr", "precision": "num", "assume_rate": "rate"}
"""Heads of columns; others are arguments of factories and go by their own name."""
LEGEND = {
    "accuracy": "* no other has less energy without less accuracy, or more accuracy without more energy",
    "latency": "* no other has less energy without more latency, or less latency without more energy",
    "cores": "* no other has less energy without more cores, or fewer cores without more energy",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, the names of the columns, and cells of text.  axes: columns that say which row it is, the mark of the front first"""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    axes: int


def goal(rows: Sequence[Row]) -> str | None:
    """What is set against the energy first: the accuracy where labels gave one, else the latency, else the cores."""
    return next((name for name in GOALS if any(name in row.fronts for row in rows)), None)


def headline(sweep: Sweep) -> str:
    """How much of the sweep there is, before any of its numbers."""
    counted = sweep.points - len(sweep.failures) - len(sweep.missing)
    of = f" of shard {sweep.shard}" if sweep.shard else ""
    parts = [f"{counted} of {sweep.points} points{of} counted, on {some(list(sweep.hardware)) or 'no chip'}"]
    parts += [f"{len(sweep.failures)} FAILED"] if sweep.failures else []
    parts += [f"{len(sweep.missing)} not counted yet"] if sweep.missing else []
    loose = dict.fromkeys(row.activity for row in sweep.rows if row.activity)
    if len(loose) == 1:
        parts += [f"ACTIVITY {activity}" for activity in loose]
    elif loose:
        kinds = dict.fromkeys(activity.partition(",")[0] for activity in loose)
        parts.append(f"ACTIVITY {' or '.join(kinds)}, in {len(loose)} ways (row by row in --csv)")
    lost = {row.digest for row in sweep.rows if row.covered < 1}
    parts += [f"INCOMPLETE COUNT of {len(lost)} points"] if lost else []
    return "; ".join(parts)


def tables(sweep: Sweep, top: int) -> list[Table]:
    """One table a chip: what varies, and what it costs; the first `top` rows.  Without a chip one of what was counted."""
    return [_of_chip(sweep, chip, top) for chip in sweep.hardware] or [_counts(sweep, top)]


MAX_GAPS, MAX_MESSAGE = 12, 600
MAX_VERDICT = 28
"""Characters of why a chip has no price for a point; JSON and CSV hold all of them."""


def gaps(sweep: Sweep) -> list[str]:
    """What failed and why: a screen of it; JSON holds all, with the points that were not counted yet."""
    lines = [f"failed: {point.label}: {_line(why.message):.{MAX_MESSAGE}}" for point, why in sweep.failures]
    return lines if len(lines) <= MAX_GAPS else [*lines[:MAX_GAPS], f"... and {len(lines) - MAX_GAPS} more"]


def _line(message: str) -> str:
    """A message of several lines in one."""
    return "; ".join(line.strip() for line in message.splitlines())


def remarks(sweep: Sweep, chip: str) -> list[tuple[str, int]]:
    """What a reader must know of a chip's rows, and of how many of them; the most frequent first."""
    found = Counter(remark for row in sweep.of(chip) for remark in row.caveats)
    return found.most_common()


def standing(sweep: Sweep) -> list[str]:
    """What stands beside the tables: how each chip is validated, and where the remarks on its rows are."""
    told = [f"{chip}: {sweep.bands[chip]}" for chip in sweep.hardware if chip in sweep.bands]
    kinds = sum(len(remarks(sweep, chip)) for chip in sweep.hardware)
    return [*told, f"{kinds} remarks stand beside these rows: --html, --csv or --json"] if kinds else told


def varying(sweep: Sweep) -> tuple[list[str], dict[str, str]]:
    """Axes with several values among the rows; and those with one, with it."""
    seen = {axis: {cell(row, axis) for row in sweep.rows} for axis in ("model", *sweep.axes)}
    return [a for a, v in seen.items() if len(v) > 1], {a: min(v) for a, v in seen.items() if len(v) == 1}


def cell(row: Row, axis: str) -> str:
    """The value of an axis in a cell; empty where the model has no such axis."""
    return row.model if axis == "model" else shown(row.values[axis]) if axis in row.values else ""


def best(rows: Sequence[Row], against: str | None) -> list[Row]:
    """Those that nothing beats first, each part in the order of the energy."""
    return sorted(rows, key=lambda row: against not in row.fronts)


def _of_chip(sweep: Sweep, chip: str, top: int) -> Table:
    rows = sweep.of(chip)
    axes, fixed = varying(sweep)
    against = goal(rows)
    facts = [name for name in GOALS if any(getattr(row, name) is not None for row in rows)]
    cells = (
        (
            "*" if against in row.fronts else "",
            *(cell(row, axis) for axis in axes),
            joules(row),
            *(fact(row, f) for f in facts),
        )
        for row in best(rows, against)[:top]
    )
    title = _title(chip, fixed, rows, top) + (f"; {LEGEND[against]}" if against else "")
    return Table(title, _head(axes, "energy [low, high]", *facts), tuple(cells), 1 + len(axes))


def _counts(sweep: Sweep, top: int) -> Table:
    axes, fixed = varying(sweep)
    rows = sorted(sweep.rows, key=lambda row: ((row.acs or 0) + (row.macs or 0), str(dict(row.values))))
    cells = (
        (
            "",
            *(cell(row, axis) for axis in axes),
            *map(q.count, (row.acs, row.macs, row.dense_macs)),
            *map(q.percent, (row.firing_rate, row.accuracy)),
        )
        for row in rows[:top]
    )
    title = _title("counts per inference", fixed, rows, top)
    return Table(title, _head(axes, "ACs", "MACs", "dense", "rate", "accuracy"), tuple(cells), 1 + len(axes))


def _head(axes: Sequence[str], *facts: str) -> tuple[str, ...]:
    return ("", *(SHORT.get(axis, axis) for axis in axes), *facts)


def _title(of: str, fixed: Mapping[str, str], rows: Sequence[Row], top: int) -> str:
    same = "".join(f", {_pair(axis, value)}" for axis, value in fixed.items() if value)
    return f"{of}{same}" + (f"; {top} of {len(rows)} rows" if len(rows) > top else "")


def _pair(axis: str, value: str) -> str:
    """A value with its axis, where it does not speak for itself."""
    return value if axis in ("model", "encode", "precision") else f"{SHORT.get(axis, axis)} = {value}"


def drawn(table: Table, width: int) -> str:
    """Columns, a line a row; where they are wider than the screen, what varies goes into one column that is folded."""
    from snnenergy.report.escape import plain

    rows = [tuple(map(plain, row)) for row in (table.head, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * len(widths) - 2 <= width:
        return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)
    facts = widths[table.axes :]
    room = max(width - sum(facts) - 2 * len(facts) - widths[0] - 2, 12)
    return "".join(_folded(row, table, [widths[0], room, *facts]) for row in rows)


def _folded(row: Sequence[str], table: Table, widths: Sequence[int]) -> str:
    head, start = table.head, table.axes
    values = [
        value if name in ("model", "code", "num") or row[start] == head[start] else f"{name} {value}"
        for name, value in zip(head[1:start], row[1:start], strict=True)
        if value
    ]
    first, *more = textwrap.wrap(", ".join(values), widths[1]) or [""]
    lines = ["  ".join(map(str.ljust, (row[0], first, *row[start:]), widths)).rstrip()]
    return "".join(f"{line}\n" for line in [*lines, *(f"{'':{widths[0] + 2}}{text}" for text in more)])


def joules(row: Row, *, micro: str = "u") -> str:
    """The energy and its range; a lower bound says so, and what has no price why."""
    if row.energy is None:
        return textwrap.shorten(row.verdict or "not priced", MAX_VERDICT, placeholder=" ...")
    nominal, ends = q.quantity(row.energy.nominal, "J", micro=micro), q.interval(row.energy, "J", micro=micro)
    value, unit = nominal.split(" ")
    return f"{'>= ' if row.partial else ''}{value if ends.endswith(f'] {unit}') else nominal} {ends}"


def fact(row: Row, name: str, *, micro: str = "u") -> str:
    """Accuracy, latency or cores in a cell."""
    if name == "accuracy":
        return q.percent(row.accuracy)
    if name == "latency":
        return q.quantity(None if row.latency is None else row.latency.nominal, "s", micro=micro)
    if row.fits is False and row.at_bits is None:
        return "no fit"
    at = f" ({row.at_bits} bit)" if row.at_bits is not None else ""
    return q.NONE if row.cores is None else f"{row.cores}{at}"


_COLUMNS = (
    "partial", "fits", "at_bits", "cores", "chips", "accuracy", "samples", "time_steps", "acs", "macs", "dense_macs",
    "spikes", "sparsity", "firing_rate", "covered", "activity", "verdict", "digest", "caveats",
)  # fmt: skip  # a row, read across


def csv(sweep: Sweep) -> str:
    """One row for each point and chip, per inference, SI units in the column names; what is unknown is empty, never 0."""
    head = ["hardware", "model", *sweep.axes, *(f"front_{goal}" for goal in GOALS)]
    head += [*names("energy", "J"), *names("latency", "s"), *_COLUMNS]
    rows = []
    for row in sweep.rows:
        facts = [getattr(row, name) for name in _COLUMNS if name != "activity"]
        facts.insert(_COLUMNS.index("activity"), row.activity or "counted on data")
        values = [cell(row, axis) for axis in sweep.axes]
        fronts = [goal in row.fronts for goal in GOALS]
        rows.append([row.hardware, row.model, *values, *fronts, *ends(row.energy), *ends(row.latency), *facts])
    return written(head, rows)


def record(sweep: Sweep) -> dict[str, Any]:
    """The same as plain JSON values, with what failed and what was not counted."""
    return {
        "sweep_version": SCHEMA_VERSION,
        "points": sweep.points,
        "shard": sweep.shard,
        "axes": list(sweep.axes),
        "hardware": list(sweep.hardware),
        "bands": dict(sweep.bands),
        "rows": [asdict(row) | {"fronts": list(row.fronts)} for row in sweep.rows],
        "failures": [{"point": point.label, "digest": point.digest, **asdict(why)} for point, why in sweep.failures],
        "missing": [{"point": point.label, "digest": point.digest} for point in sweep.missing],
    }
