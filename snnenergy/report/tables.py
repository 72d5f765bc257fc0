"""The report as tables for other programs: CSV for spreadsheets and scripts, LaTeX (booktabs, siunitx) for papers."""

from __future__ import annotations

import csv as _csv
import io
from typing import TYPE_CHECKING

from snnenergy.cost.records import PARTS
from snnenergy.report import layers as L
from snnenergy.report import quantities as q
from snnenergy.report import summary
from snnenergy.report.escape import csv_cell
from snnenergy.report.escape import latex as tex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from snnenergy.cost.records import Comparison, Estimate, Range
    from snnenergy.counts import Counts

_ENDS = ("low", "nominal", "high")
_COUNTS = ("acs", "macs", "graded_macs", "dense_macs", "valid_macs", "updates", "spikes_out")


def csv(comparison: Comparison) -> str:
    """One row per model and chip, per inference, SI units in the column names; a model without a chip is a row too."""
    return _written(_HEAD, _totals(comparison))


def frame(comparison: Comparison) -> pd.DataFrame:
    """The rows of `csv` as a pandas frame, for notebooks; what is unknown is missing, never 0."""
    import pandas as pd

    return pd.DataFrame(_totals(comparison), columns=_HEAD)


_HEAD = [
    "model",
    "hardware",
    *(f"{name}_{end}_{unit}" for name, unit in (("energy", "J"), ("latency", "s"), ("edp", "Js")) for end in _ENDS),
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
        "charged",
    ]
    head += [f"energy_{end}_J" for end in _ENDS] + [f"{part}_J" for part in PARTS]
    rows = []
    for e in comparison.estimates:
        known = (e.layers, e.breakdown) if e.energy is not None else ()
        for r in L.rows(comparison.counts[e.model], *known):
            activity = (r.rate, r.per_neuron, r.per_synapse, r.silent, r.saturated)
            counts = (r.acs, r.macs, r.dense, r.sparsity, *activity, r.charged)
            parts = [None if r.breakdown is None else getattr(r.breakdown, p).nominal for p in PARTS]
            rows.append(
                (
                    e.model,
                    e.hardware,
                    r.path,
                    r.role,
                    r.op,
                    *counts,
                    *_ends(None if r.breakdown is None else r.breakdown.total),
                    *parts,
                )
            )
    return _written(head, rows)


def _total(name: str, counts: Counts, e: Estimate | None) -> list[object]:
    total = counts.total()
    events = [total.per_inference(n) for n in _COUNTS]
    rates = [total.sparsity if total.elements else None, total.firing_rate]
    held = [counts.coverage.parameters, counts.coverage.calls, len(counts.uncounted)]
    run = [counts.samples, counts.time_steps, *events, *rates, *held]
    if e is None:
        return [name, "", *[None] * (3 * len(_ENDS) + len(PARTS) + 6), *run, ""]
    parts = [getattr(e.breakdown, p).nominal if e.energy is not None else None for p in PARTS]
    fit = [e.partial, e.fit.fits, e.fit.at_bits, e.fit.cores, e.fit.chips, e.band]
    caveats = "; ".join(dict.fromkeys((*e.fit.problems, *e.caveats)))
    return [name, e.hardware, *_ends(e.energy), *_ends(e.latency), *_ends(e.edp), *parts, *fit, *run, caveats]


def _ends(value: Range | None) -> tuple[float | None, ...]:
    return (None, None, None) if value is None else (value.low, value.nominal, value.high)


def _written(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = _csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow(csv_cell(v) if isinstance(v, str) else _number(v) for v in row)
    return out.getvalue()


def _number(value: object) -> str:
    """Numbers as they round-trip; an unknown is an empty cell, never 0."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


_TEX_PREFIXES = {
    -24: r"\yocto", -21: r"\zepto", -18: r"\atto", -15: r"\femto", -12: r"\pico", -9: r"\nano", -6: r"\micro", -3: r"\milli",
    0: "", 3: r"\kilo", 6: r"\mega", 9: r"\giga", 12: r"\tera", 15: r"\peta", 18: r"\exa",
}  # fmt: skip  # a table, read across
_RAGGED = r"\textsuperscript{*}"


def latex(comparison: Comparison) -> str:
    r"""A `table` for a document that loads booktabs and siunitx (version 3): \qty and \qtyrange keep the author's settings."""
    head = ["Model", "Chip", "Energy", "Range", "Latency", "EDP", "ACs", "MACs"]
    body: list[str] = []
    for model in comparison.models:
        body += [_tex_row(comparison.counts[model], e) for e in summary.of_model(comparison, model)] + [r"\midrule"]
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage{siunitx} (version 3)",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{tex(summary.headline(comparison))} Energy, latency and EDP per inference{_footnotes(comparison)}}}",
        r"  \begin{tabular}{llrrrrrr}",
        r"    \toprule",
        "    " + " & ".join(head) + r" \\",
        r"    \midrule",
        *("    " + row for row in body[:-1]),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tex_row(counts: Counts, e: Estimate) -> str:
    total = counts.total()
    latency, edp = (None if r is None else r.nominal for r in (e.latency, e.edp))
    cells = [
        tex(e.model),
        tex(e.hardware),
        _tex_energy(e),
        _tex_range(e.energy),
        _qty(latency, r"\second"),
        _qty(edp, r"\joule\second"),
    ]
    cells += [_qty(total.per_inference(n), "") for n in ("acs", "macs")]
    return " & ".join(cells) + r" \\"


def _tex_energy(e: Estimate) -> str:
    if e.energy is None:
        return "not priced"
    return (r"$\geq$ " if e.partial else "") + _qty(e.energy.nominal, r"\joule") + (_RAGGED if e.partial else "")


def _footnotes(comparison: Comparison) -> str:
    partial = [f"{e.model} on {e.hardware}" for e in comparison.estimates if e.partial]
    return f"; {_RAGGED} a lower bound, layers are missing ({tex(', '.join(partial))})." if partial else "."


def _qty(value: float | None, unit: str) -> str:
    if value is None:
        return "--"
    mantissa, exponent = q.scale(value)
    if not unit:
        return rf"\num{{{mantissa:g}e{exponent}}}" if exponent else rf"\num{{{mantissa:g}}}"
    return rf"\qty{{{mantissa:g}}}{{{_TEX_PREFIXES[exponent]}{unit}}}"


def _tex_range(value: Range | None) -> str:
    if value is None:
        return "--"
    _, exponent = q.scale(value.nominal)
    low, high = (f"{end / 10.0**exponent:.{q.DIGITS}g}" for end in (value.low, value.high))
    return rf"\qtyrange{{{low}}}{{{high}}}{{{_TEX_PREFIXES[exponent]}\joule}}"
