"""The charts of an SNN beside an ANN on one chip: change by change, break-even, what moves the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnenergy.report import breakeven, charts, published
from snnenergy.report import quantities as q
from snnenergy.report.escape import plain

if TYPE_CHECKING:
    import altair as alt

    from snnenergy.report.charts import Row
    from snnenergy.report.stories import Story

MAX_STEPS = 64
"""Points of a break-even curve."""


def fall(story: Story, theme: charts.Theme = charts.PRINT) -> alt.LayerChart:
    """From the ANN's energy to the SNN's, change by change."""
    import altair as alt

    rows = fall_rows(story)
    kinds = ["total", "less", "more"]
    color = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=kinds, range=[theme.accent, theme.gain, theme.loss]),
        legend=alt.Legend(orient="top", title=None),
    )
    y = charts.names("label", theme)
    base = charts.chart(rows, theme, len(rows), 24)
    bars = base.mark_bar().encode(
        x=alt.X("start:Q", title="energy per inference", axis=charts.si("J")),
        x2=alt.X2("end:Q"),
        y=y,
        color=color,
        tooltip=alt.Tooltip("says:N"),
    )
    return charts.styled(alt.layer(bars), theme)


def fall_rows(story: Story) -> list[Row]:
    return [
        {
            "label": plain(s.label), "start": s.start, "end": s.end, "kind": "total" if s.total else "more" if s.joules > 0 else "less",
            "says": plain(f"{s.label}: {'' if s.total or s.joules < 0 else '+'}{q.quantity(s.joules, 'J', micro='µ')}"),
        }
        for s in story.steps
    ]  # fmt: skip  # one record, read across


def break_even(found: breakeven.BreakEven, theme: charts.Theme = charts.PRINT) -> alt.LayerChart:
    """The activity below which the SNN wins, over time steps; its current point; the published thresholds."""
    import altair as alt

    curve, point, published = break_even_rows(found)
    x = alt.X("T:Q", title="time steps T", scale=alt.Scale(nice=False), axis=alt.Axis(tickMinStep=1, grid=False))
    y = alt.Y("nominal:Q", title="spikes per synapse and step", axis=alt.Axis(format=".2~%", tickCount=6))
    base = charts.chart(curve, theme, 0, 0).properties(height=260)
    area = base.mark_area(opacity=0.18, color=theme.gain).encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
    line = base.mark_line(color=theme.gain, strokeWidth=2.5).encode(x=x, y=y, tooltip=alt.Tooltip("says:N"))
    legend = alt.Legend(orient="top", title=None, columns=1, labelLimit=320)
    drawn = alt.Chart(alt.InlineData(values=tuple(published), name="published")).mark_line(
        color=theme.ink, strokeWidth=1.2
    )
    others = drawn.encode(x=x, y=y, strokeDash=alt.StrokeDash("who:N", legend=legend), detail=alt.Detail("line:N"))
    spot = alt.Chart(alt.InlineData(values=tuple(point), name="point"))
    here = spot.mark_point(shape="diamond", size=160, filled=True, opacity=1, color=theme.loss).encode(
        x=x, y=y, tooltip=alt.Tooltip("says:N")
    )
    return charts.styled(alt.layer(area, others, line, here), theme)


def break_even_rows(found: breakeven.BreakEven) -> tuple[list[Row], list[Row], list[Row]]:
    """Points of the curve, the current point, the published thresholds; activity from zero to what is worth showing."""
    steps = time_steps(found.time_steps)
    top = min(1.0, max(2.5 * found.rate, 2 * found.rate_at(found.time_steps).nominal, 0.02))
    curve = []
    for t in steps:
        r = found.rate_at(t)
        if r.nominal > top:
            continue
        ends = {n: min(max(v, 0.0), top) for n, v in (("low", r.low), ("nominal", r.nominal), ("high", r.high))}
        curve.append(
            {"T": t, **ends, "says": f"T = {t}: the SNN wins below {q.percent(min(max(r.nominal, 0.0), 1.0))}"}
        )
    says = f"{found.pair.snn.model}: T = {found.time_steps}, {q.percent(found.rate)}"
    point = [{"T": found.time_steps, "nominal": found.rate, "says": plain(says)}]
    others = []
    for who, _, low, high in published.SPIKES:
        label = f"{who}: {published.interval(low, high)}"
        for end in sorted({low, high}):
            others += [
                {"who": label, "line": f"{who} {end}", "T": t, "nominal": end / t} for t in steps if end / t <= top
            ]
    for who, _, low, high, first, last in published.RATES:
        label = f"{who}: {published.interval(100 * low, 100 * high)} %"
        for end in sorted({low, high}):
            ends_t = [t for t in (first, last) if t <= steps[-1] and end <= top]
            others += [{"who": label, "line": f"{who} {end}", "T": t, "nominal": end} for t in ends_t]
    return curve, point, others


def time_steps(own: int) -> list[int]:
    """Time steps to draw: to four times the net's own, all of them up to 64, else 64 of them and its own."""
    if own <= MAX_STEPS:
        return list(range(1, min(4 * own, MAX_STEPS) + 1))
    return sorted({own, *(1 + i * (4 * own - 1) // (MAX_STEPS - 1) for i in range(MAX_STEPS))})


def swing(story: Story, theme: charts.Theme = charts.PRINT) -> alt.LayerChart:
    """SNN to ANN ratio when one constant moves from low to high; at the dashed line the verdict turns."""
    import altair as alt

    rows = swing_rows(story)
    base = charts.chart(rows, theme, len(rows), 24)
    axis = alt.X(
        "low:Q",
        scale=alt.Scale(type="log", nice=False, padding=24),
        title="SNN energy over ANN energy",
        axis=alt.Axis(format=".3~g", tickCount=6),
    )
    y = charts.names("part", theme)
    even = (
        alt.Chart(alt.InlineData(values=[{"even": 1}]))
        .mark_rule(color=theme.ink, strokeDash=[4, 3])
        .encode(x=alt.X("even:Q"))
    )
    bars = base.mark_bar(color=theme.accent, height=10).encode(
        x=axis, x2=alt.X2("high:Q"), y=y, tooltip=alt.Tooltip("says:N")
    )
    ticks = base.mark_tick(color=theme.ink, thickness=2).encode(x=alt.X("nominal:Q"), y=y)
    return charts.styled(alt.layer(bars, ticks, even), theme)


def swing_rows(story: Story) -> list[Row]:
    return [
        {
            "part": s.part,
            "low": s.ratio.low,
            "high": s.ratio.high,
            "nominal": s.ratio.nominal,
            "says": f"{s.part}: {q.factor(s.ratio)}",
        }
        for s in story.swings
    ]
