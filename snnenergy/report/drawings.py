"""What a page draws: one Vega-Lite specification per chart, and the rows that a reader's choice puts into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnenergy.cost.price import dynamic_only
from snnenergy.cost.records import PARTS
from snnenergy.report import breakeven, charts, pair_charts, published, roofline, summary
from snnenergy.report import layers as L
from snnenergy.report import quantities as q
from snnenergy.report.escape import plain
from snnenergy.report.stories import MAX_PRICED, broken_even, moved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import altair as alt

    from snnenergy.cost.records import Comparison, Estimate
    from snnenergy.report.stories import Story

BITS = (4, 8, 16, 32)
BATCHES = (1, 4, 16, 64, 256)
"""Widths and batches a reader can choose; bits 0 are the model's own."""
FILLED = ("rows", "roof", "point", "published")
"""Data of a chart that the page puts in."""
MU = "µ"


def fewer(made: Mapping[str, Any], cut: int) -> dict[str, Any]:
    """What is left of them on a page that is cut: first those go that grow with the layers of every model on every chip."""
    gone = [*("layers", "roof") * (cut > 0), *("activity", "energy", "parts") * (cut > 1)]
    specs = {name: spec for name, spec in made["specs"].items() if name not in gone}
    choices = {"layers": "layers", "roof": "roofs", "activity": "activity"}
    left: dict[str, list[Any]] = {choices[name]: [] for name in gone if name in choices}
    if cut > 1:
        left |= {"paths": [], "pairs": made["pairs"][:MAX_PRICED]}
    return {**made, "specs": specs, **left}


def drawings(comparison: Comparison, told: Sequence[Story]) -> dict[str, Any]:
    priced = [e for e in comparison.estimates if e.energy is not None and e.energy.low > 0]
    specs: dict[str, Any] = {}
    if priced:
        specs["energy"] = spec(charts.energy(comparison, charts.PAGE))
        specs["parts"] = spec(charts.parts(comparison, charts.PAGE))
    layered = [e for e in priced if e.layers]
    if layered:
        specs["layers"] = _blank(charts.layers(comparison.counts[layered[0].model], layered[0], charts.PAGE))
    active = [name for name, counts in comparison.counts.items() if charts.activity_rows(counts)]
    active.sort(key=lambda name: not summary.is_snn(comparison.counts[name]))
    if active:
        specs["activity"] = _blank(charts.activity(comparison.counts[active[0]], charts.PAGE))
    if any(e.model in comparison.accuracy for e in priced):
        specs["pareto"] = spec(charts.pareto(comparison, charts.PAGE))
    rooms = roofs(comparison)
    if rooms:
        first, *others = rooms.values()
        specs["roof"] = _blank(charts.roofline(first, charts.PAGE, others))
    paths = {name: _paths(comparison, name) for name in comparison.models}
    return {
        "specs": specs | _pair_specs(told),
        "parts": [p for p in PARTS if p != "host"],
        "kinds": charts.KINDS,
        "paths": [list(places) for places in paths.values()],
        "layers": [_layer_choice(comparison, e, paths) for e in layered],
        "activity": [_activity_choice(comparison, name, paths) for name in active],
        "pairs": [_pair_choice(story) for story in told],
        "roofs": [_roof_choice(chip, found) for chip, found in rooms.items()],
        "thresholds": [*published.SPIKES],
        "rates": [*published.RATES],
    }


def _paths(comparison: Comparison, model: str) -> dict[str, int]:
    """Every layer of a model, as it is shown, and its place: rows name a layer by its place."""
    estimates = summary.of_model(comparison, model)
    names = [layer.path for layer in comparison.counts[model].layers]
    names += [layer.path for e in estimates for layer in e.layers]
    return {name: i for i, name in enumerate(dict.fromkeys(map(plain, names)))}


def _pair_specs(told: Sequence[Story]) -> dict[str, Any]:
    if not told:
        return {}
    specs = {
        "fall": _blank(pair_charts.fall(told[0], charts.PAGE)),
        "swing": _blank(pair_charts.swing(told[0], charts.PAGE)),
    }
    curves = [story.even for story in told if story.even is not None and story.curved]
    return specs | ({"even": _blank(pair_charts.break_even(curves[0], charts.PAGE))} if curves else {})


def spec(chart: alt.LayerChart) -> dict[str, Any]:
    """Vega-Lite with the rows of every data set once; the page's own library compiles it."""
    made: dict[str, Any] = chart.to_dict(validate=False)
    made.pop("$schema", None)
    held = made.setdefault("datasets", {})
    for view in (made, *made.get("layer", ())):
        data = view.get("data", {})
        if "values" in data:
            name = data.get("name") or f"data{len(held)}"
            held[name] = data["values"]
            view["data"] = {"name": name}
    return made


def _blank(chart: alt.LayerChart) -> dict[str, Any]:
    """A chart whose rows come from the reader's choice, which the page makes before it draws."""
    made = spec(chart)
    made["datasets"].update((name, []) for name in FILLED if name in made["datasets"])
    return made


def _slim(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _round(v) for k, v in row.items()}


def _round(value: Any) -> Any:
    """Five digits are more than a screen shows."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _layer_choice(comparison: Comparison, e: Estimate, paths: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Rows as [layer, part, joules]: the page spells them out."""
    counts, places = comparison.counts[e.model], paths[e.model]
    rows = [[places[r["who"]], r["order"], _round(r["joules"])] for r in charts.layer_rows(counts, e)]
    rest = [r for r in L.rows(counts, e.layers, e.breakdown) if r.path == L.CHIP and r.breakdown is not None]
    parts = [
        f"{p} {q.quantity(v.nominal, 'J', micro=MU)}"
        for r in rest
        if r.breakdown
        for p, v in r.breakdown.nonzero().items()
        if p != "host"
    ]
    says = (
        f"Beside the layers, of the whole chip: {', '.join(parts)}." if parts else "All of the energy is in the layers."
    )
    return {
        "name": plain(f"{e.model} on {e.hardware}"),
        "model": list(paths).index(e.model),
        "rows": rows,
        "says": says,
    }


def _activity_choice(comparison: Comparison, model: str, paths: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Rows as [layer, kind, share]."""
    rows = charts.activity_rows(comparison.counts[model])
    places = paths[model]
    slim = [[places[r["who"]], charts.KINDS.index(r["kind"]), _round(r["share"])] for r in rows]
    return {"name": plain(model), "model": list(paths).index(model), "rows": slim}


def _pair_choice(story: Story) -> dict[str, Any]:
    found, even = story.even, None
    if found is not None:
        own = _corners(found)
        variants = _variants(story, own) if _as_is(story.pair.snn) else []
        even = {
            "T": found.time_steps,
            "rate": found.rate,
            "corners": own,
            "says": q.bound(broken_even(story)),
            "variants": variants,
        }
    return {
        "name": plain(story.name),
        "even": even,
        "fall": [_slim(r) for r in pair_charts.fall_rows(story)],
        "swing": [_slim(r) for r in pair_charts.swing_rows(story)],
        "moved": plain(moved(story)),
    }


def _as_is(e: Estimate) -> bool:
    """Whether it was priced at the models' own widths, one inference at a time: where the page's choices start."""
    return e.options in ({}, {"batch": "1"})


def _corners(found: breakeven.BreakEven) -> list[list[float]]:
    return [[c.ann, c.step, c.event, c.fixed] for c in (found.low, found.nominal, found.high)]


def _variants(story: Story, own: list[list[float]]) -> list[dict[str, Any]]:
    """The same pair priced at other widths and batches, where that changes anything: what the page's sliders choose from."""
    chip, made = story.chip, []
    if chip is None:
        return []
    for bits in (None, *BITS):
        for batch in BATCHES if chip.family == "processor" else BATCHES[:1]:
            ends = [dynamic_only(counts, chip, bits=bits, batch=batch) for counts in (story.ann, story.snn)]
            if any(e.energy is None or e.partial for e in ends):
                continue
            found = breakeven.solve(summary.Pair(chip.name, *ends), story.snn, chip)
            if found is not None:
                made.append({"bits": bits or 0, "batch": batch, "corners": _corners(found)})
    return made if any(m["corners"] != own for m in made) else []


def roofs(comparison: Comparison) -> dict[str, list[roofline.Roof]]:
    """Chip to the roofs of its models, of the chips compared here."""
    found: dict[str, list[roofline.Roof]] = {}
    for chip in comparison.profiles:
        if chip.name in comparison.hardware:
            made = [
                roofline.roof(comparison.counts[e.model], chip, e.model, _bits(e))
                for e in summary.on_chip(comparison, chip.name)
            ]
            known = [r for r in made if r is not None and r.points]
            if known:
                found[chip.name] = known
    return found


def _bits(e: Estimate) -> int | None:
    """The width that was chosen for it; None for the model's own."""
    return int(e.options["bits"]) if e.options.get("bits", "").isdecimal() else None


def _roof_choice(chip: str, found: list[roofline.Roof]) -> dict[str, Any]:
    line, points = charts.roof_rows(found)
    return {"name": plain(chip), "roof": [_slim(r) for r in line], "rows": [_slim(r) for r in points]}
