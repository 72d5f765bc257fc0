"""A sweep as one self-contained page: a chart of energy against a goal and the table behind it, both as the reader filters them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from snnenergy.report import charts, drawings, sealed
from snnenergy.report import sweep as tables
from snnenergy.report.escape import plain
from snnenergy.sweep.results import GOALS, against

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from snnenergy.sweep.results import Row, Sweep

MU = "µ"
MAX_ROWS = 8000
"""Rows of all chips on a page: those on a front, then the cheapest of each chip; fewer where they are long."""
DIGITS = 5
"""Of an axis: points of a sweep may lie close together."""
MAX_REMARKS = 12
MAX_FAILURES = 100
TITLES = {"accuracy": "accuracy", "latency": "latency of one inference", "cores": "cores"}


def render(sweep: Sweep, name: str) -> str:
    """The page of the sweep in the file `name`; rows that would make it larger than 1.5 MB are left to CSV and JSON."""
    rows = MAX_ROWS
    while len((made := _page(sweep, name, rows)).encode()) > sealed.MAX_BYTES and rows:
        rows //= 2
    return made


def _page(sweep: Sweep, name: str, rows: int) -> str:
    axes, fixed = tables.varying(sweep)
    drawn = {
        "specs": {goal: _spec(goal) for goal in GOALS},
        "goals": TITLES,
        "legend": {goal: text.removeprefix("* ") for goal, text in tables.LEGEND.items()},
        "head": [*map(plain, axes), "energy", *GOALS],
        "chips": [_chip(sweep, chip, rows // max(len(sweep.hardware), 1)) for chip in sweep.hardware],
    }
    return sealed.render(
        "sweep.html.j2",
        "sweep.js",
        drawn,
        title=f"snnenergy sweep: {name}",
        headline=tables.headline(sweep),
        spans=[_span(sweep.of(chip), chip) for chip in sweep.hardware],
        fixed=[(axis, value) for axis, value in fixed.items() if value],
        chips=[(chip, sweep.bands.get(chip, ""), _remarks(sweep, chip)) for chip in sweep.hardware],
        failures=[(point.label, why.message[: tables.MAX_MESSAGE]) for point, why in sweep.failures[:MAX_FAILURES]],
        more_failures=max(len(sweep.failures) - MAX_FAILURES, 0),
        missing=len(sweep.missing),
        assumed=sorted({row.activity for row in sweep.rows if row.activity}),
    )


@cache
def _spec(goal: str) -> Any:
    return drawings.spec(chart(goal))


def _span(rows: Sequence[Row], chip: str) -> str:
    """The front in a sentence: from its least energy to its best end."""
    goal = tables.goal(rows)
    ends = [row for row in rows if goal in row.fronts]
    if goal is None or not ends:
        return f"{chip}: no point is priced in full and fits"
    first, last = (
        f"{tables.joules(row, micro=MU)} at {tables.fact(row, goal, micro=MU)}" for row in (ends[0], ends[-1])
    )
    words = f"{TITLES[goal]}: {first}" if len(ends) == 1 else f"{TITLES[goal]}, from {first} to {last}"
    return f"{chip}: {len(ends)} of {len(rows)} on the front of energy and {words}"


def _remarks(sweep: Sweep, chip: str) -> list[tuple[str, str]]:
    rows = len(sweep.of(chip))
    found = tables.remarks(sweep, chip)
    told = [(remark, "all" if count == rows else f"{count} of {rows}") for remark, count in found[:MAX_REMARKS]]
    left = len(found) - MAX_REMARKS
    return [*told, (f"{left} more, in the JSON and CSV", "")] if left > 0 else told


def _chip(sweep: Sweep, chip: str, most: int) -> dict[str, Any]:
    rows = tables.best(sweep.of(chip), tables.goal(sweep.of(chip)))
    axes, _ = tables.varying(sweep)
    goals = [goal for goal in GOALS if any(row.energy and against(row, goal) for row in rows)]
    return {
        "name": plain(chip),
        "goals": goals,
        "rows": [_row(row, axes) for row in rows[:most]],
        "left": max(len(rows) - most, 0),
    }


def _row(row: Row, axes: Sequence[str]) -> dict[str, Any]:
    """Cells of the table, joules and the goals as numbers, and the goals in which it is on the front."""
    values = {goal: pair[1] for goal in GOALS if (pair := against(row, goal)) is not None}
    if "accuracy" in values:
        values["accuracy"] = -values["accuracy"]
    known = {goal: float(f"{value:.5g}") for goal, value in values.items()}
    facts = [tables.joules(row, micro=MU), *(tables.fact(row, goal, micro=MU) for goal in GOALS)]
    return {
        "cells": [plain(text) for text in [*(tables.cell(row, axis) for axis in axes), *facts]],
        "joules": None if row.energy is None or row.energy.nominal <= 0 else float(f"{row.energy.nominal:.5g}"),
        "whole": row.whole,
        "fronts": list(row.fronts),
    } | known


def chart(goal: str, theme: charts.Theme = charts.PAGE) -> alt.LayerChart:
    """Energy against a goal: filled marks and the line are the front, open marks have a price but are beaten or bounds."""
    import altair as alt

    axis = {
        "accuracy": alt.Axis(format=".3~%", tickCount=6),
        "latency": charts.si("s", DIGITS),
        "cores": alt.Axis(format="d", tickCount=6, tickMinStep=1),
    }[goal]
    scale = alt.Scale(type="log", nice=False, padding=16) if goal == "latency" else alt.Scale(zero=False, padding=16)
    x = alt.X(
        "joules:Q",
        title="energy per inference",
        scale=alt.Scale(type="log", nice=False, padding=16),
        axis=charts.si("J", DIGITS),
    )
    y = alt.Y("value:Q", title=TITLES[goal], scale=scale, axis=axis)
    base = charts.chart([], theme, 0, 0).properties(height=340)
    line = alt.Chart(alt.InlineData(values=[], name="front")).mark_line(
        color=theme.gain, strokeWidth=1.5, interpolate="step-after"
    )
    fill = alt.condition("datum.on", alt.value(theme.gain), alt.value(theme.paper))
    stroke = alt.condition("datum.on", alt.value(theme.gain), alt.value(theme.accent))
    marks = base.mark_point(size=60, opacity=1, strokeWidth=1.2)
    return charts.styled(
        alt.layer(
            line.encode(x=x, y=y, order=alt.Order("joules:Q")),
            marks.encode(x=x, y=y, fill=fill, stroke=stroke, tooltip=alt.Tooltip("says:N")),
        ),
        theme,
    )
