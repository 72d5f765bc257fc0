"""The charts of a comparison as Altair charts, which a notebook can restyle; pages and figures draw the same ones.

A chart's `values` are plain rows, so pandas is never needed.  Colours come from a Theme: hexadecimal ones in a figure, CSS
variables in a page, which then follows light, dark and print without a second drawing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from snnenergy.cost.records import PARTS
from snnenergy.report import layers as L
from snnenergy.report import quantities as q
from snnenergy.report import summary
from snnenergy.report.escape import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from snnenergy.cost.records import Comparison, Estimate
    from snnenergy.counts import Counts
    from snnenergy.report.roofline import Roof

Row = dict[str, Any]
WIDTH = 560
LAYER_STEP = 15
PARETO, NARROW = 260, 240
"""Pixels: height of energy against accuracy, and the width of its plot on a phone."""
LETTERS, ROOMY = 26, 700
"""Of a name beside a row; twice as many in a figure, and on a page whose column is wider than so many pixels."""
KINDS = ("inputs not zero", "firing rate", "silent", "saturated")
"""What the activity of a layer is told by; the marks of each."""
MARKS = ("circle", "square", "triangle-up", "cross")


@dataclass(frozen=True, slots=True)
class Theme:
    """width None fills the page's column; parts are the colours of PARTS, told apart by colour-blind readers too."""

    ink: str
    faint: str
    paper: str
    accent: str
    gain: str
    loss: str
    parts: tuple[str, ...]
    font: str
    width: int | None


PAGE = Theme(
    ink="var(--ink)", faint="var(--faint)", paper="var(--paper)", accent="var(--accent)", gain="var(--gain)", loss="var(--loss)",
    parts=tuple(f"var(--{part})" for part in PARTS), font="system-ui, sans-serif", width=None,
)  # fmt: skip  # one record, read across
PRINT = Theme(
    ink="#1b1f24", faint="#d0d5db", paper="#ffffff", accent="#0b62a8", gain="#00795a", loss="#c24a00",
    parts=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#7d8590", "#56b4e9"), font="sans-serif", width=WIDTH,
)  # fmt: skip  # one record, read across


def vega_lite_version(schema: str) -> str:
    """`v6.4` of `v6.4.1`: the version name the converter knows."""
    return "v" + ".".join(schema.lstrip("v").split(".")[:2])


def energy(comparison: Comparison, theme: Theme = PRINT) -> alt.LayerChart:
    """Nominal energy with its range, chip by chip, on a logarithmic axis: an open mark is a lower bound."""
    import altair as alt

    rows = energy_rows(comparison)
    y = names("who", theme)
    x = alt.X(
        "nominal:Q", title="energy per inference", **_decades([r[end] for r in rows for end in ("low", "high")], "J")
    )
    base = chart(rows, theme, len(rows), 18)
    rule = base.mark_rule(strokeWidth=2, color=theme.accent).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y)
    fill = alt.condition("datum.partial", alt.value(theme.paper), alt.value(theme.accent))
    mark = base.mark_point(size=70, color=theme.accent, opacity=1).encode(
        x=x, y=y, fill=fill, tooltip=alt.Tooltip("says:N")
    )
    return styled(alt.layer(mark, rule, mark), theme)


def energy_rows(comparison: Comparison) -> list[Row]:
    rows = []
    for chip in comparison.hardware:
        for e in summary.on_chip(comparison, chip):
            if e.energy is not None and e.energy.low > 0:
                numbers = {end: getattr(e.energy, end) for end in ("low", "nominal", "high")}
                says = f"{e.model} on {chip}: {summary.energy(e, micro='µ')} {q.interval(e.energy, 'J', micro='µ')}"
                rows.append({"who": plain(f"{chip}: {e.model}"), "partial": e.partial, "says": plain(says), **numbers})
    return rows


def parts(comparison: Comparison, theme: Theme = PRINT) -> alt.LayerChart:
    """What each energy is made of, as shares of its total."""
    rows = []
    for chip in comparison.hardware:
        for e in summary.on_chip(comparison, chip):
            whole = e.breakdown.total.nominal
            if e.energy is not None and whole > 0:
                rows += [_part(f"{chip}: {e.model}", p, r.nominal, r.nominal / whole) for p, r in _shown(e).items()]
    return _stacked(rows, theme, "share:Q", "share of the energy", "%", len({r["who"] for r in rows}))


def _shown(e: Estimate) -> dict[str, Any]:
    return {p: r for p, r in e.breakdown.nonzero().items() if p != "host"}


def layers(counts: Counts, estimate: Estimate, theme: Theme = PRINT) -> alt.LayerChart:
    """Energy of each layer by part, in the model's order."""
    rows = layer_rows(counts, estimate)
    return _stacked(rows, theme, "joules:Q", "energy per inference", "J", len({r["who"] for r in rows}), LAYER_STEP)


def layer_rows(counts: Counts, estimate: Estimate) -> list[Row]:
    """What is no layer's is left to the caption: a static share would flatten every bar beside it."""
    rows = []
    for row in L.rows(counts, estimate.layers):
        present = row.breakdown.nonzero() if row.breakdown is not None else {}
        rows += [_part(row.path, p, r.nominal) for p, r in present.items() if p != "host"]
    return rows


def _part(who: str, part: str, joules: float, share: float | None = None) -> Row:
    says = f"{who}: {part} {q.quantity(joules, 'J', micro='µ')}" + ("" if share is None else f", {q.percent(share)}")
    row = {"who": plain(who), "part": part, "order": PARTS.index(part), "joules": joules, "says": plain(says)}
    return row if share is None else row | {"share": share}


def _stacked(
    rows: list[Row], theme: Theme, field: str, title: str, unit: str, count: int, step: int = 22
) -> alt.LayerChart:
    import altair as alt

    seen = (
        [p for p in PARTS if any(r["part"] == p for r in rows)]
        if step != LAYER_STEP
        else [p for p in PARTS if p != "host"]
    )
    scale = alt.Scale(domain=seen, range=[theme.parts[PARTS.index(p)] for p in seen])
    legend = alt.Legend(orient="top", title=None, columns=columns(3, theme), symbolType="square")
    axis = shares() if unit == "%" else si(unit)
    bars = chart(rows, theme, count, step).mark_bar(stroke=theme.paper, strokeWidth=0.5)
    encoded = bars.encode(
        x=alt.X(field, title=title, axis=axis),
        y=names("who", theme),
        color=alt.Color("part:N", scale=scale, legend=legend),
        order=alt.Order("order:Q"),
        tooltip=alt.Tooltip("says:N"),
    )
    return styled(alt.layer(encoded), theme)


def activity(counts: Counts, theme: Theme = PRINT) -> alt.LayerChart:
    """Share of non-zero inputs of each synaptic layer; of each neuron layer its rate, and the neurons that never or always fire."""
    import altair as alt

    rows = activity_rows(counts)
    base = chart(rows, theme, len(rows), LAYER_STEP)
    legend = alt.Legend(orient="top", title=None, columns=columns(2, theme))
    colors = list(theme.parts[: len(KINDS)])
    color = alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range=colors), legend=legend)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=list(KINDS), range=list(MARKS)), legend=legend)
    x = alt.X("share:Q", scale=alt.Scale(domain=[0, 1]), axis=shares(), title="share")
    y = names("who", theme)
    stem = base.mark_rule(color=theme.faint).encode(x=x, y=y, x2=alt.datum(0))
    return styled(
        alt.layer(
            stem,
            base.mark_point(filled=True, opacity=1, size=50).encode(
                x=x, y=y, color=color, shape=shape, tooltip=alt.Tooltip("says:N")
            ),
        ),
        theme,
    )


def activity_rows(counts: Counts) -> list[Row]:
    rows = []
    for row in L.rows(counts):
        shares = (None if row.sparsity is None else 1 - row.sparsity, row.rate, row.silent, row.saturated)
        for kind, share in zip(KINDS, shares, strict=True):
            if share is not None:
                says = f"{row.path}: {kind} {q.percent(share)}"
                rows.append({"who": plain(row.path), "kind": kind, "share": share, "says": plain(says)})
    return rows


def pareto(comparison: Comparison, theme: Theme = PRINT) -> alt.LayerChart:
    """Energy against accuracy of every model whose accuracy is known; best is up and to the left."""
    import altair as alt

    accuracy = comparison.accuracy
    rows: list[Row] = [
        {"who": plain(e.model), "chip": plain(e.hardware), "accuracy": accuracy[e.model], "joules": e.energy.nominal,
         "says": plain(f"{e.model} on {e.hardware}: {q.percent(accuracy[e.model])}, {summary.energy(e, micro='µ')}")}
        for e in comparison.estimates if e.model in accuracy and e.energy is not None and e.energy.nominal > 0
    ]  # fmt: skip  # one record, read across
    x = alt.X("joules:Q", title="energy per inference", **_decades([r["joules"] for r in rows], "J"))
    shares = [r["accuracy"] for r in rows]
    room = 0.1 * (max(shares) - min(shares)) or 0.01
    span = (max(min(shares) - room, 0), min(max(shares) + room, 1))
    y = alt.Y(
        "accuracy:Q",
        scale=alt.Scale(domain=list(span), nice=False),
        axis=alt.Axis(format=".3~%", tickCount=5),
        title="accuracy",
    )
    legend = alt.Legend(orient="top", title=None, columns=2, offset=26)  # room for a name above the highest mark
    shape = alt.Shape("chip:N", legend=legend)
    color = alt.Color("chip:N", scale=alt.Scale(range=list(theme.parts)), legend=legend)
    base = chart(rows, theme, 0, 0).properties(height=PARETO)
    points = base.mark_point(size=90, filled=True, opacity=1).encode(
        x=x, y=y, shape=shape, color=color, tooltip=alt.Tooltip("says:N")
    )
    least = {r["who"]: r for r in sorted(rows, key=lambda r: -r["joules"])}
    named = _apart(list(least.values()), _span([r["joules"] for r in rows]), span, theme.width or NARROW)
    labels = alt.Chart(alt.InlineData(values=tuple(named))).mark_text(
        dy=-13, align="left", dx=-4, color=theme.ink, limit=160
    )
    return styled(alt.layer(points, labels.encode(x=x, y=y, text=alt.Text("who:N"))), theme)


def _apart(rows: Sequence[Row], decades: tuple[int, int], span: tuple[float, float], width: int) -> list[Row]:
    """Those whose names do not run into another's, in a plot of those powers of ten, accuracies and pixels."""
    placed: list[tuple[float, float, float]] = []
    kept = []
    for row in rows:
        x = math.log10(row["joules"]) / (decades[1] - decades[0]) * width
        y = (row["accuracy"] - span[0]) / (span[1] - span[0]) * PARETO
        end = x + min(7 * len(row["who"]) + 8, 168)
        if all(end < start or x > stop or abs(y - other) > 14 for start, stop, other in placed):
            placed.append((x, end, y))
            kept.append(row)
    return kept


def roofline(found: Sequence[Roof], theme: Theme = PRINT, beside: Sequence[Sequence[Roof]] = ()) -> alt.LayerChart:
    """Layers under one chip's roof: operations per byte, and the rate the latency model gives them.

    beside: other chips that must fit the same axes.
    """
    import altair as alt

    line, points = roof_rows(found)
    everything = [r for roofs in (found, *beside) for rows in roof_rows(roofs) for r in rows]
    spread = [r["x"] for r in everything]
    x = alt.X("x:Q", title="operations per byte moved", **_decades(spread, ""))
    y = alt.Y("y:Q", title="operations per second", **_decades([r["y"] for r in everything], ""))
    base = chart(points, theme, 0, 0).properties(height=260)
    ceiling = (
        alt.Chart(alt.InlineData(values=tuple(line), name="roof"))
        .mark_line(color=theme.ink)
        .encode(x=x, y=y, tooltip=alt.Tooltip("says:N"))
    )
    legend = alt.Legend(orient="top", title=None, columns=2)
    color = alt.Color("who:N", scale=alt.Scale(range=list(theme.parts)), legend=legend)
    marks = base.mark_point(size=60, filled=False, opacity=1)
    shown = marks.encode(x=x, y=y, color=color, shape=alt.Shape("who:N", legend=legend), tooltip=alt.Tooltip("says:N"))
    return styled(alt.layer(ceiling, shown), theme)


def roof_rows(found: Sequence[Roof]) -> tuple[list[Row], list[Row]]:
    """The roof as a line through its ridge, and one point per layer."""
    top = found[0]
    ridge = top.peak / top.bandwidth
    intensities = [p.intensity for roof in found for p in roof.points]
    ends = sorted({min([ridge / 10, *intensities]), ridge, max([ridge * 10, *intensities])})
    says = f"{top.chip}: {q.quantity(top.peak, 'op/s', micro='µ')} ({top.format}), {q.quantity(top.bandwidth, 'B/s', micro='µ')}"
    line = [{"x": x, "y": top.attainable(x), "says": plain(says)} for x in ends]
    points = [
        {"who": plain(roof.model), "x": p.intensity, "y": p.reached,
         "says": plain(f"{roof.model}: {p.path}: {q.count(p.intensity)} op/B, {q.quantity(p.reached, 'op/s', micro='µ')}")}
        for roof in found for p in roof.points
    ]  # fmt: skip  # one record, read across
    return line, points


def names(field: str, theme: Theme) -> alt.Y:
    """An axis of names in the rows' order; a long one loses its middle, so that neither model nor layer is lost."""
    import altair as alt

    roomy = "true" if theme.width else f"containerSize()[0] > {ROOMY}"
    short = f"truncate(datum.label, {roomy} ? {2 * LETTERS} : {LETTERS}, 'center')"
    axis = alt.Axis(labelExpr=short, labelLimit=2 * LETTERS * 8)
    return alt.Y(f"{field}:N", sort=None, title=None, axis=axis)


def columns(most: int, theme: Theme) -> Any:
    """Of a legend: on a narrow page one less, because long names leave the plot little of it."""
    return most if theme.width else {"expr": f"containerSize()[0] < {ROOMY} ? {most - 1} : {most}"}


def shares() -> alt.Axis:
    """Ticks of a share from nothing to all; labels that would touch are left out."""
    import altair as alt

    return alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], labelOverlap="parity", labelSeparation=8)


def si(unit: str, digits: int = 3, **more: Any) -> alt.Axis:
    """Ticks with SI prefixes; few enough for a phone."""
    import altair as alt

    label = f"replace(format(datum.value, '.{digits}~s'), /([0-9])([^0-9]*)$/, '$1 $2') + '{unit}'"  # 10n becomes 10 nJ
    return alt.Axis(labelExpr=label, tickCount=5, labelOverlap="parity", labelSeparation=8, **more)


def _decades(values: Sequence[float], unit: str) -> dict[str, Any]:
    """A logarithmic axis that ends at, and ticks on, powers of ten; on 1, 2, 5 where it spans no more than two of them."""
    import altair as alt

    low, high = _span(values)
    fine = (1, 2, 5) if high - low <= 2 else (1,)
    ticks = [k * 10.0**e for e in range(low, high + 1) for k in fine if k * 10.0**e <= 10.0**high]
    domain = [10.0**low, 10.0**high]
    return {"scale": alt.Scale(type="log", domain=domain, nice=False), "axis": si(unit, values=ticks)}


def _span(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values."""
    low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))) if values else (0, 1)
    return low, max(high, low + 1)


def chart(rows: Sequence[Row], theme: Theme, count: int, step: int) -> alt.Chart:
    import altair as alt

    data = alt.InlineData(values=tuple(rows), name="rows")  # a tuple: every step of a chart would copy a list
    width: Any = theme.width or "container"
    return alt.Chart(data).properties(width=width, height=alt.Step(step) if step else max(count, 1))


def styled(chart: alt.LayerChart | alt.FacetChart, theme: Theme) -> alt.LayerChart:
    text = {
        "labelColor": theme.ink, "titleColor": theme.ink, "labelFont": theme.font, "titleFont": theme.font,
        "titleFontWeight": "normal",
    }  # fmt: skip  # a table, read across
    lines = {"domainColor": theme.ink, "tickColor": theme.ink, "gridColor": theme.faint}
    made = (
        chart.configure(font=theme.font, background=theme.paper)
        .configure_axis(**text, **lines, labelFontSize=12, titleFontSize=12)
        .configure_legend(
            labelColor=theme.ink, labelFont=theme.font, labelFontSize=12, symbolStrokeColor=theme.ink, labelLimit=260
        )
        .configure_text(font=theme.font, fontSize=12)
        .configure_view(stroke=None)
    )
    return cast("alt.LayerChart", made)
