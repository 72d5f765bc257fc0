"""What a page says in words and tables; `drawings` holds what it draws."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snnenergy.cost.records import PARTS
from snnenergy.report import breakeven, published, summary, why
from snnenergy.report import layers as L
from snnenergy.report import quantities as q
from snnenergy.report.stories import MAX_PRICED, broken_even, moved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnenergy.cost.records import Comparison, Estimate
    from snnenergy.counts import Counts
    from snnenergy.hardware.profile import Source
    from snnenergy.report.stories import Story

MU = "µ"


TOP = 30
"""Rows of a layer table on a page that is cut; the last holds all the others."""


def verdict(comparison: Comparison) -> dict[str, Any]:
    """What a reader sees first: the verdict, chip by chip, and the table of models and chips."""
    return {
        "headline": _micro(summary.headline(comparison)),
        "reasons": [replace(row, why=_micro(row.why)) for row in why.rows(comparison, times="×", micro=MU)],
        "grid": [grid_row(comparison, e) for e in comparison.estimates],
    }


def told(comparison: Comparison, told_of: Sequence[Story], cut: int) -> dict[str, Any]:
    """Everything the template names but scripts, styles and drawings."""
    shown = told_of[:MAX_PRICED] if cut > 1 else told_of
    return {
        **verdict(comparison),
        "title": f"snnenergy: {summary.some(list(comparison.models))}",
        "notes": summary.notes(comparison),
        "parts": parts(comparison),
        "part_names": [p for p in PARTS if spent(comparison, p)],
        "models": models(comparison, cut),
        "pairs": pairs(shown),
        "pairs_left": len(summary.pairs(comparison)) - len(shown),
        "remarks": [(who, _micro(what)) for who, what in summary.remarks(comparison)],
        "bands": {e.hardware: e.band for e in comparison.estimates},
        "ledger": summary.ledger(comparison),
        "options": options(comparison),
        "sources": sources(comparison),
        "titles": {e.hardware: e.title for e in comparison.estimates},
        "legend": summary.LEGEND,
        "assumption": breakeven.ASSUMPTION,
        "thresholds": [(who, doi) for who, doi, *_ in (*published.SPIKES, *published.RATES)],
        "limits": published.limits(),
    }


def _micro(text: str) -> str:
    """Sentences of other rooms are ASCII: `15 uJ` becomes `15 µJ`, and stays on one line."""
    return q.bound(re.sub(r"(?<=\d )u(?=[JsW]\b)", MU, text))


def grid_row(comparison: Comparison, e: Estimate) -> dict[str, Any]:
    latency, edp = (None if r is None else r.nominal for r in (e.latency, e.edp))
    counted = comparison.counts[e.model].coverage
    return {
        "model": e.model, "chip": e.hardware, "energy": summary.energy(e, micro=MU), "fit": summary.fit(e), "band": e.band,
        "range": q.interval(e.energy, "J", micro=MU), "short": summary.short(e),
        "latency": q.quantity(latency, "s", micro=MU), "edp": q.quantity(edp, "J s", micro=MU),
        "counted": q.percent(min(counted.parameters, counted.calls)),
        "priced": e.energy is not None,
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


def models(comparison: Comparison, cut: int) -> list[dict[str, Any]]:
    return [_model(comparison, name, counts, cut) for name, counts in comparison.counts.items()]


def _model(comparison: Comparison, name: str, counts: Counts, cut: int) -> dict[str, Any]:
    priced = [] if cut else [e for e in summary.of_model(comparison, name) if e.energy is not None]
    top = (None, TOP, 1)[cut]
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
        "name": name, "conditions": _micro(summary.conditions(counts)), "coverage": _micro(summary.coverage(counts)),
        "acs": q.count(counts.per_inference("acs")), "macs": q.count(counts.per_inference("macs")),
        "dense": q.count(counts.per_inference("dense_macs")), "sparsity": q.percent(counts.sparsity),
        "rate": q.percent(counts.firing_rate), "chips": [e.hardware for e in priced], "odd": rates,
        "spiking": any(counts.spikes_per_synapse(layer) is not None for layer in counts.layers),
        "facts": {k: v for k, v in facts.items() if v}, "layers": [_layer(r, j) for r, j in L.across(counts, priced, sort="acs" if top else None, top=top)],
    }  # fmt: skip  # one record, read across


def _layer(row: L.Row, joules: tuple[float | None, ...]) -> list[str]:
    numbers = [q.count(v) if v else q.NONE for v in (row.acs, row.macs, row.dense)]
    rates = [q.percent(share) for share in (row.sparsity, row.rate, row.silent, row.saturated)]
    rates += [q.number(v) if v is not None else q.NONE for v in (row.per_neuron, row.per_synapse)]
    return [row.path, row.op, *numbers, *rates, *(q.quantity(j, "J", micro=MU) for j in joules)]


def pairs(told: Sequence[Story]) -> list[dict[str, Any]]:
    """Each SNN beside each ANN, in words: what the charts show, for readers who do not see them."""
    return [
        {
            "name": story.name,
            "ratio": q.factor(story.pair.ratio, "×"),
            "steps": [
                (s.label, f"{'' if s.total or s.joules < 0 else '+'}{q.quantity(s.joules, 'J', micro=MU)}")
                for s in story.steps
            ],
            "swings": [(s.part, q.factor(s.ratio, "×"), "turns the verdict" if s.flips else "") for s in story.swings],
            "even": _micro(broken_even(story)),
            "moved": moved(story),
        }
        for story in told
    ]


def options(comparison: Comparison) -> list[tuple[str, str, str]]:
    rows = {(e.hardware, k, v) for e in comparison.estimates for k, v in e.options.items()}
    return sorted(rows)


def sources(comparison: Comparison) -> dict[str, list[str]]:
    """Chip to its sources: as its profile cites them, or what the estimate says of them."""
    cited = {chip.name: [_cited(source) for source in chip.sources.values()] for chip in comparison.profiles}
    found: dict[str, list[str]] = {}
    for e in comparison.estimates:
        found.setdefault(e.hardware, []).extend(cited.get(e.hardware, e.sources))
    return {chip: list(dict.fromkeys(sources)) for chip, sources in found.items() if sources}


def _cited(source: Source) -> str:
    place = f"doi:{source.doi}" if source.doi else source.url or source.note
    who = f"{source.authors} {source.year or ''}".strip()
    return ". ".join(part.rstrip(".") for part in (who, source.title, source.venue, place) if part)
