"""What a page says in words and tables, and what it draws: one Vega specification per chart, and the rows a choice puts into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnenergy.cost import estimate
from snnenergy.cost.records import PARTS
from snnenergy.report import breakeven, charts, pair_charts, roofline, sensitivity, summary, waterfall
from snnenergy.report import layers as L
from snnenergy.report import quantities as q
from snnenergy.report.escape import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    import altair as alt

    from snnenergy.cost.records import Comparison, Estimate
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

MAX_PAIRS = 60
MAX_CHOICES = 8
"""Pairs on a page, and those of them whose widths and batches a reader can choose: every choice is priced here."""
BITS = (4, 8, 16, 32)
BATCHES = (1, 4, 16, 64, 256)
"""Widths and batches a reader can choose; bits 0 are the model's own."""
MU = "µ"


def told(comparison: Comparison, whole: bool) -> dict[str, Any]:
    """Everything the template names but scripts, styles and drawings."""
    published = (*breakeven.THRESHOLDS, *breakeven.RATE_THRESHOLDS)
    return {
        "title": f"snnenergy: {summary.some(list(comparison.models))}",
        "headline": summary.headline(comparison, micro=MU),
        "notes": [*comparison.notes, *summary.mismatches(comparison)],
        "grid": [grid_row(e) for e in comparison.estimates],
        "parts": parts(comparison),
        "part_names": [p for p in PARTS if spent(comparison, p)],
        "models": models(comparison, whole),
        "pairs": pairs(comparison),
        "pairs_left": max(len(summary.pairs(comparison)) - MAX_PAIRS, 0),
        "remarks": summary.remarks(comparison),
        "bands": {e.hardware: e.band for e in comparison.estimates},
        "ledger": summary.ledger(comparison),
        "options": options(comparison),
        "sources": sources(comparison),
        "legend": summary.LEGEND,
        "assumption": breakeven.ASSUMPTION,
        "thresholds": [(who, doi) for who, doi, *_ in published],
    }


def grid_row(e: Estimate) -> dict[str, Any]:
    latency, edp = (None if r is None else r.nominal for r in (e.latency, e.edp))
    return {
        "model": e.model, "chip": e.hardware, "title": e.title, "energy": summary.energy(e, micro=MU), "fit": summary.fit(e), "band": e.band,
        "range": q.interval(e.energy, "J", micro=MU), "short": e.verdict,
        "latency": q.quantity(latency, "s", micro=MU), "edp": q.quantity(edp, "J s", micro=MU),
        "state": "none" if e.energy is None else "partial" if e.partial else "whole",
    }  # fmt: skip  # one record, read across


def spent(comparison: Comparison, part: str) -> bool:
    return any(getattr(e.breakdown, part) for e in comparison.estimates if e.energy is not None)


def parts(comparison: Comparison) -> list[tuple[str, str, list[str]]]:
    names = [p for p in PARTS if spent(comparison, p)]
    return [
        (e.model, e.hardware, [q.quantity(getattr(e.breakdown, p).nominal, "J", micro=MU) for p in names])
        for e in comparison.estimates
        if e.energy is not None
    ]


def models(comparison: Comparison, whole: bool) -> list[dict[str, Any]]:
    return [_model(comparison, name, counts, whole) for name, counts in comparison.counts.items()]


def _model(comparison: Comparison, name: str, counts: Counts, whole: bool) -> dict[str, Any]:
    priced = [e for e in summary.of_model(comparison, name) if e.energy is not None] if whole else []
    total = counts.total()
    identity = counts.identity
    versions = ", ".join(f"{k} {v}" for k, v in identity.versions.items())
    facts = {
        "weights": identity.weights, "architecture": identity.architecture, "numbers": identity.dtype, "versions": versions,
        "inputs": counts.conditions.inputs, "counting rules": str(counts.conditions.rules), "notes": "; ".join(identity.notes),
    }  # fmt: skip  # one record, read across
    rates = {
        r.activity: [x.path for x in L.rows(counts) if x.activity == r.activity] for r in L.rows(counts) if r.activity
    }
    return {
        "name": name, "conditions": summary.conditions(counts), "coverage": summary.coverage(counts),
        "acs": q.count(total.per_inference("acs")), "macs": q.count(total.per_inference("macs")),
        "dense": q.count(total.per_inference("dense_macs")), "sparsity": q.percent(total.sparsity if total.elements else None),
        "rate": q.percent(total.firing_rate), "chips": [e.hardware for e in priced], "odd": rates,
        "facts": {k: v for k, v in facts.items() if v}, "layers": [_layer(r, j) for r, j in L.across(counts, priced)],
    }  # fmt: skip  # one record, read across


def _layer(row: L.Row, joules: tuple[float | None, ...]) -> list[str]:
    numbers = [q.count(v) if v else q.NONE for v in (row.acs, row.macs, row.dense)]
    rates = [q.percent(row.sparsity), q.percent(row.rate)]
    return [row.path, row.op, *numbers, *rates, *(q.quantity(j, "J", micro=MU) for j in joules)]


def pairs(comparison: Comparison) -> list[dict[str, Any]]:
    """Each SNN beside each ANN, in words: what the charts show, for readers who do not see them."""
    return [_pair(comparison, pair) for pair in _shown_pairs(comparison)]


def _shown_pairs(comparison: Comparison) -> list[summary.Pair]:
    """Those with a break-even curve first: they have more to say."""

    def flat(pair: summary.Pair) -> bool:
        found = breakeven.solve(pair, comparison.counts[pair.snn.model])
        return found is None or not found.nominal.event

    return sorted(summary.pairs(comparison), key=flat)[:MAX_PAIRS]


def _pair(comparison: Comparison, pair: summary.Pair) -> dict[str, Any]:
    ann, snn = comparison.counts[pair.ann.model], comparison.counts[pair.snn.model]
    steps = [
        (s.label, f"{'' if s.total or s.joules < 0 else '+'}{q.quantity(s.joules, 'J', micro=MU)}")
        for s in waterfall.steps(pair, ann, snn)
    ]
    swings = [
        (s.part, q.factor(s.ratio, "×"), "turns the verdict" if s.flips else "") for s in sensitivity.swings(pair)
    ]
    return {
        "name": _called(pair),
        "ratio": q.factor(pair.ratio, "×"),
        "steps": steps,
        "swings": swings,
        "even": _even(breakeven.solve(pair, snn)),
    }


def _called(pair: summary.Pair) -> str:
    return f"{pair.snn.model} against {pair.ann.model} on {pair.chip}"


def _even(found: breakeven.BreakEven | None) -> str:
    if found is None:
        return "No break-even: the number of time steps or the activity of the spiking layers is not known."
    steps, now = (
        found.time_steps_at(found.rate),
        f"now T = {found.time_steps} and {q.percent(found.rate)} spikes per synapse and step",
    )
    limits = f"T = {q.number(steps.nominal)} [{q.number(steps.low)}, {q.number(steps.high)}]"
    if steps.high < 1:
        limits += ", less than one step: it cannot win so"
    if not found.nominal.event:
        return f"This chip charges dense work, so activity changes nothing: break-even at {limits}; {now}."
    rate = found.rate_at(found.time_steps)
    if rate.nominal <= 0:
        return f"At T = {found.time_steps} the SNN loses even in silence; at its own activity, break-even at {limits}; {now}."
    if rate.low > 1:
        return f"At T = {found.time_steps} the SNN wins even if every synapse were driven in every step; at its own activity, break-even at {limits}; {now}."
    ends = ", ".join(q.percent(max(v, 0.0)) for v in (rate.low, rate.high))
    return f"Break-even at {q.percent(rate.nominal)} [{ends}] spikes per synapse and step for T = {found.time_steps}, or at {limits} for its own activity; {now}."


def options(comparison: Comparison) -> list[tuple[str, str, str]]:
    rows = {(e.hardware, k, v) for e in comparison.estimates for k, v in e.options.items()}
    return sorted(rows)


def sources(comparison: Comparison) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for e in comparison.estimates:
        known = found.setdefault(e.hardware, [])
        known += [s for s in e.sources if s not in known]
    return {chip: sources for chip, sources in found.items() if sources}


def fewer(drawings: Mapping[str, Any]) -> dict[str, Any]:
    """The drawings of a page that would be too large: those that grow with the layers of every model and chip are left out."""
    specs = {name: spec for name, spec in drawings["specs"].items() if name not in ("layers", "roof")}
    return {**drawings, "specs": specs, "layers": [], "roofs": []}


def drawings(comparison: Comparison) -> dict[str, Any]:
    priced = [e for e in comparison.estimates if e.energy is not None and e.energy.low > 0]
    pairs = _shown_pairs(comparison)
    specs: dict[str, Any] = {}
    if priced:
        specs["energy"] = _vega(charts.energy(comparison, charts.PAGE))
        specs["parts"] = _vega(charts.parts(comparison, charts.PAGE))
    layered = [e for e in priced if e.layers]
    if layered:
        specs["layers"] = _vega(charts.layers(comparison.counts[layered[0].model], layered[0], charts.PAGE))
    active = [name for name, counts in comparison.counts.items() if charts.activity_rows(counts)]
    if active:
        specs["activity"] = _vega(charts.activity(comparison.counts[active[0]], charts.PAGE))
    if any(e.model in comparison.accuracy for e in priced):
        specs["pareto"] = _vega(charts.pareto(comparison, charts.PAGE))
    rooms = roofs(comparison)
    if rooms:
        first, *others = rooms.values()
        specs["roof"] = _vega(charts.roofline(first, charts.PAGE, others))
    specs |= _pair_specs(comparison, pairs)
    return {
        "specs": specs,
        "parts": [p for p in PARTS if p != "host"],
        "layers": [_layer_choice(comparison.counts[e.model], e) for e in layered],
        "activity": [
            {"name": plain(n), "rows": [_slim(r) for r in charts.activity_rows(comparison.counts[n])]} for n in active
        ],
        "pairs": [_pair_choice(comparison, p, i < MAX_CHOICES) for i, p in enumerate(pairs)],
        "roofs": [_roof_choice(chip, found) for chip, found in rooms.items()],
        "thresholds": [*breakeven.THRESHOLDS],
        "rates": [*breakeven.RATE_THRESHOLDS],
    }


def _pair_specs(comparison: Comparison, pairs: list[summary.Pair]) -> dict[str, Any]:
    if not pairs:
        return {}
    pair = pairs[0]
    ann, snn = comparison.counts[pair.ann.model], comparison.counts[pair.snn.model]
    specs = {
        "fall": _vega(pair_charts.fall(pair, ann, snn, charts.PAGE)),
        "swing": _vega(pair_charts.swing(pair, charts.PAGE)),
    }
    curves = [f for p in pairs if (f := breakeven.solve(p, comparison.counts[p.snn.model])) and f.nominal.event]
    return specs | ({"even": _vega(pair_charts.break_even(curves[0], charts.PAGE))} if curves else {})


def _vega(chart: alt.LayerChart) -> Any:
    """Vega-Lite compiled here, so that the page need not."""
    import altair
    import vl_convert

    compiled = vl_convert.vegalite_to_vega(chart.to_dict(), vl_version=charts.vega_lite_version(altair.SCHEMA_VERSION))
    compiled.pop("description", None)
    return compiled


def _slim(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _round(v) for k, v in row.items()}


def _round(value: Any) -> Any:
    """Five digits are more than a screen shows."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _layer_choice(counts: Counts, e: Estimate) -> dict[str, Any]:
    """Rows as [layer, part, joules]: the page spells them out."""
    rows = charts.layer_rows(counts, e)
    paths = list(dict.fromkeys(r["who"] for r in rows))
    places = {path: i for i, path in enumerate(paths)}
    slim = [[places[r["who"]], r["order"], _round(r["joules"])] for r in rows]
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
    return {"name": plain(f"{e.model} on {e.hardware}"), "paths": paths, "rows": slim, "says": says}


def _pair_choice(comparison: Comparison, pair: summary.Pair, choices: bool) -> dict[str, Any]:
    ann, snn = comparison.counts[pair.ann.model], comparison.counts[pair.snn.model]
    found = breakeven.solve(pair, snn)
    even: dict[str, Any] | None = None
    if found is not None:
        even = {"T": found.time_steps, "rate": found.rate, "corners": _corners(found), "says": _even(found)}
        chips = [c for c in comparison.profiles if c.name == pair.chip and choices and _as_is(pair.snn)]
        even["variants"] = _variants(ann, snn, chips[0], even["corners"]) if chips else []
    return {
        "name": plain(_called(pair)),
        "even": even,
        "fall": [_slim(r) for r in pair_charts.fall_rows(pair, ann, snn)],
        "swing": [_slim(r) for r in pair_charts.swing_rows(pair)],
    }


def _as_is(e: Estimate) -> bool:
    """Whether it was priced at the models' own widths, one inference at a time: where the page's choices start."""
    return e.options in ({}, {"batch": "1"})


def _corners(found: breakeven.BreakEven) -> list[list[float]]:
    return [[c.ann, c.step, c.event] for c in (found.low, found.nominal, found.high)]


def _variants(ann: Counts, snn: Counts, chip: Profile, own: list[list[float]]) -> list[dict[str, Any]]:
    """The same pair priced at other widths and batches, where that changes anything: what the page's sliders choose from."""
    made = []
    for bits in (None, *BITS):
        for batch in BATCHES if chip.family == "processor" else BATCHES[:1]:
            ends = [estimate(counts, chip, bits=bits, batch=batch) for counts in (ann, snn)]
            if any(e.energy is None or e.partial for e in ends):
                continue
            found = breakeven.solve(summary.Pair(chip.name, *ends), snn)
            if found is not None:
                made.append({"bits": bits or 0, "batch": batch, "corners": _corners(found)})
    if (
        not made or made[0]["corners"] != own
    ):  # another version priced this report: no choice would start where it stands
        return []
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
