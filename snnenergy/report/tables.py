"""The report as tables for other programs: CSV for spreadsheets and scripts, and a frame for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnenergy.cost.records import PARTS
from snnenergy.report import layers as L
from snnenergy.report import summary
from snnenergy.report.csv_rows import ENDS, ends, names, written

if TYPE_CHECKING:
    import pandas as pd

    from snnenergy.cost.records import Comparison, Estimate
    from snnenergy.counts import Counts

_COUNTS = ("acs", "macs", "graded_macs", "dense_macs", "valid_macs", "updates", "spikes_out", "synapse_updates")


def csv(comparison: Comparison) -> str:
    """One row per model and chip, per inference, SI units in the column names; a model without a chip is a row too."""
    return written(_HEAD, _totals(comparison))


def frame(comparison: Comparison) -> pd.DataFrame:
    """The rows of `csv` as a pandas frame, for notebooks; what is unknown is missing, never 0."""
    import pandas as pd

    return pd.DataFrame(_totals(comparison), columns=_HEAD)


_HEAD = [
    "model",
    "hardware",
    *names("energy", "J"),
    *names("latency", "s"),
    *names("edp", "Js"),
    *(f"{part}_J" for part in PARTS),
    *(
        "partial",
        "fits",
        "fits_at_bits",
        "cores",
        "chips",
        "band",
        "samples",
        "time_steps",
        *_COUNTS,
        "sparsity",
        "firing_rate",
        "activity",
    ),
    *("parameters_counted", "calls_counted", "uncounted", "caveats"),
]


def _totals(comparison: Comparison) -> list[list[object]]:
    rows: list[tuple[str, Estimate | None]] = [(e.model, e) for e in comparison.estimates]
    rows += [(name, None) for name in comparison.models if not summary.of_model(comparison, name)]
    return [_total(name, comparison.counts[name], e) for name, e in rows]


def layers_csv(comparison: Comparison) -> str:
    """One row per model, chip and layer; the row `(whole chip)` holds what is no layer's, so a column adds up to the total."""
    head = [
        "model",
        "hardware",
        "layer",
        "role",
        "op",
        "acs",
        "macs",
        "dense_macs",
        "sparsity",
        "firing_rate",
        "spikes_per_neuron",
        "spikes_per_synapse",
        "silent_share",
        "saturated_share",
        "activity",
        "synapse_updates",
        "charged",
    ]
    head += names("energy", "J") + [f"{part}_J" for part in PARTS]
    rows = []
    for e in comparison.estimates:
        known = (e.layers, e.breakdown) if e.energy is not None else ()
        of = comparison.counts[e.model]
        for r in L.rows(of, *known):
            activity = (r.rate, r.per_neuron, r.per_synapse, r.silent, r.saturated, _activity(of))
            counts = (r.acs, r.macs, r.dense, r.sparsity, *activity, r.synapse_updates, r.charged)
            parts = [None if r.breakdown is None else getattr(r.breakdown, p).nominal for p in PARTS]
            rows.append(
                (
                    e.model,
                    e.hardware,
                    r.path,
                    r.role,
                    r.op,
                    *counts,
                    *ends(None if r.breakdown is None else r.breakdown.total),
                    *parts,
                )
            )
    return written(head, rows)


def _activity(counts: Counts) -> str:
    return counts.activity or "counted on data"


def _total(name: str, counts: Counts, e: Estimate | None) -> list[object]:
    events = [counts.per_inference(n) for n in _COUNTS]
    rates = [counts.sparsity, counts.firing_rate]
    held = [counts.coverage.parameters, counts.coverage.calls, len(counts.uncounted)]
    run = [counts.samples, counts.time_steps, *events, *rates, _activity(counts), *held]
    if e is None:
        return [name, "", *[None] * (3 * len(ENDS) + len(PARTS) + 6), *run, ""]
    parts = [getattr(e.breakdown, p).nominal if e.energy is not None else None for p in PARTS]
    fit = [e.partial, e.fit.fits, e.fit.at_bits, e.fit.cores, e.fit.chips, e.band]
    caveats = "; ".join(dict.fromkeys((*e.fit.problems, *e.caveats)))
    return [name, e.hardware, *ends(e.energy), *ends(e.latency), *ends(e.edp), *parts, *fit, *run, caveats]
