"""The charts as files for papers and slides: PNG, SVG or PDF, drawn without a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from snnenergy.errors import UsageError
from snnenergy.report import charts, drawings, pair_charts
from snnenergy.report.stories import stories

if TYPE_CHECKING:
    from collections.abc import Callable

    import altair as alt

    from snnenergy.cost.records import Comparison

FORMATS = ("png", "svg", "pdf")
PNG_SCALE = 2.0


def render(
    comparison: Comparison,
    format: str,  # noqa: A002  # the caller's word
) -> dict[str, bytes]:
    """File name to content, one file per chart; UsageError for a format that is none of FORMATS."""
    if format not in FORMATS:
        raise UsageError(f"no figures as {format!r}; expected one of {', '.join(FORMATS)}")
    made = drawn(comparison)
    return {f"{name}.{format}": _converted(chart, format) for name, chart in made.items()}


def drawn(comparison: Comparison) -> dict[str, alt.LayerChart]:
    """The charts themselves, by name: Altair objects, to restyle before saving."""
    name = _names()
    made: dict[str, alt.LayerChart] = {}
    priced = [e for e in comparison.estimates if e.energy is not None and e.energy.nominal > 0]
    if priced:
        made[name("energy")] = charts.energy(comparison)
        made[name("parts")] = charts.parts(comparison)
        if any(e.model in comparison.accuracy for e in priced):
            made[name("pareto")] = charts.pareto(comparison)
    for chip, roofs in drawings.roofs(comparison).items():
        made[name("roofline", chip)] = charts.roofline(roofs)
    for model, counts in comparison.counts.items():
        if charts.activity_rows(counts):
            made[name("activity", model)] = charts.activity(counts)
    for e in priced:
        if charts.layer_rows(comparison.counts[e.model], e):
            made[name("layers", e.model, e.hardware)] = charts.layers(comparison.counts[e.model], e)
    for story in stories(comparison):
        who = (story.pair.snn.model, story.pair.ann.model, story.pair.chip)
        made[name("waterfall", *who)] = pair_charts.fall(story)
        if story.swings:
            made[name("sensitivity", *who)] = pair_charts.swing(story)
        if story.even is not None and story.curved:
            made[name("break-even", *who)] = pair_charts.break_even(story.even)
    return made


def _names() -> Callable[..., str]:
    """Names that are harmless as file names, each given once."""
    given: set[str] = set()

    def name(*parts: str) -> str:
        words = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part).strip("._")[:60] or "_" for part in parts)
        unique, n = words, 2
        while unique.lower() in given:
            unique, n = f"{words}-{n}", n + 1
        given.add(unique.lower())
        return unique

    return name


def _converted(chart: alt.LayerChart, format: str) -> bytes:  # noqa: A002  # as in render
    import altair
    import vl_convert

    spec = chart.to_dict(validate=False)  # a test asks of every chart whether it is valid
    version = charts.vega_lite_version(altair.SCHEMA_VERSION)
    if format == "svg":
        return str(vl_convert.vegalite_to_svg(spec, vl_version=version)).encode()
    if format == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec, vl_version=version))
    return bytes(vl_convert.vegalite_to_png(spec, vl_version=version, scale=PNG_SCALE))
