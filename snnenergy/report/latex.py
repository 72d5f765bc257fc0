r"""The report as LaTeX tables for papers: booktabs and siunitx (version 3), so that \qty keeps the author's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnenergy.report import quantities as q
from snnenergy.report import summary
from snnenergy.report.escape import latex as text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snnenergy.cost.records import Comparison, Estimate, Range
    from snnenergy.counts import Counts

PREFIXES = {
    -24: r"\yocto", -21: r"\zepto", -18: r"\atto", -15: r"\femto", -12: r"\pico", -9: r"\nano", -6: r"\micro", -3: r"\milli",
    0: "", 3: r"\kilo", 6: r"\mega", 9: r"\giga", 12: r"\tera", 15: r"\peta", 18: r"\exa",
}  # fmt: skip  # a table, read across
BOUND = r"\textsuperscript{*}"
LONG = 36
"""Rows beyond which a table no longer fits a page, and is broken over pages."""
NONE = "--"


def render(comparison: Comparison) -> str:
    """What each model costs on each chip, where anything was priced; then what was counted."""
    made = [_costs(comparison)] if comparison.estimates else []
    tables = [*made, _counted(comparison)]
    needs = ["booktabs", *["longtable"] * any(r"\begin{longtable}" in table for table in tables)]
    packages = "".join(rf"\usepackage{{{name}}} " for name in needs)
    return "\n".join([rf"% needs {packages}\usepackage{{siunitx}} (version 3)", *tables]) + "\n"


def _costs(comparison: Comparison) -> str:
    rows: list[str] = []
    for model in comparison.models:
        estimates = summary.of_model(comparison, model)
        rows += [r"\midrule"] * bool(rows and estimates)
        rows += [_cost(text(model) if i == 0 else "", e) for i, e in enumerate(estimates)]
    bounds = (
        f" {BOUND}: a lower bound, layers are missing."
        if any(e.energy and e.partial for e in comparison.estimates)
        else ""
    )
    caption = f"{text(summary.headline(comparison))}. Per inference; the range is that of the cited constants.{bounds}"
    return _table(caption, "llrrrr", ("Model", "Chip", "Energy", "Range", "Latency", "EDP"), rows)


def _cost(model: str, e: Estimate) -> str:
    latency, edp = (None if r is None else r.nominal for r in (e.latency, e.edp))
    return _row(
        (model, text(e.hardware), _energy(e), _range(e.energy), _qty(latency, r"\second"), _qty(edp, r"\joule\second"))
    )


def _energy(e: Estimate) -> str:
    if e.energy is None:
        return "not priced"
    return (r"$\geq$ " if e.partial else "") + _qty(e.energy.nominal, r"\joule") + (BOUND if e.partial else "")


def _counted(comparison: Comparison) -> str:
    head = ("Model", "Samples", "$T$", "ACs", "MACs", "Dense MACs", "Sparsity", "Rate")
    rows = [_counts(name, counts) for name, counts in comparison.counts.items()]
    caption = (
        "Counts per inference: accumulates driven by spikes, multiply-accumulates driven by other values, and those of the dense "
        "layers; share of inputs that are zero; spikes per neuron and time step."
    )
    return _table(caption, "lrrrrrrr", head, rows)


def _counts(name: str, counts: Counts) -> str:
    numbers = [_num(counts.per_inference(n) if counts.samples else None) for n in ("acs", "macs", "dense_macs")]
    shares = [_percent(counts.sparsity), _percent(counts.firing_rate)]
    return _row((text(name), _whole(counts.samples), _whole(counts.time_steps), *numbers, *shares))


def _table(caption: str, columns: str, head: Sequence[str], rows: Sequence[str]) -> str:
    top = [rf"\caption{{{caption}}}", r"\toprule", _row(head), r"\midrule"]
    local = r"\small \setlength{\tabcolsep}{4pt} \sisetup{range-units=single, range-phrase=--}"
    if len(rows) <= LONG:
        body = [
            r"\medskip",
            rf"\begin{{tabular}}{{{columns}}}",
            *_inside((*top[1:], *rows, r"\bottomrule")),
            r"\end{tabular}",
        ]
        return "\n".join([r"\begin{table}", *_inside((r"\centering", local, top[0], *body)), r"\end{table}"])
    first = [rf"{top[0]} \\", *top[1:], r"\endfirsthead", *top[1:], r"\endhead", r"\bottomrule", r"\endlastfoot"]
    long = [rf"\begin{{longtable}}{{{columns}}}", *_inside((*first, *rows)), r"\end{longtable}"]
    return "\n".join([r"\begingroup", *_inside((local, *long)), r"\endgroup"])


def _inside(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _whole(value: int | None) -> str:
    return NONE if value is None else rf"\num{{{value}}}"


def _num(value: float | None) -> str:
    r"""`\num{19600}`, with an exponent from a million on: how digits are grouped is the author's choice."""
    return NONE if value is None else rf"\num{{{_plain(value)}}}"


def _percent(share: float | None) -> str:
    return NONE if share is None else rf"\qty{{{_plain(100 * share)}}}{{\percent}}"


def _qty(value: float | None, unit: str) -> str:
    if value is None:
        return NONE
    mantissa, exponent = q.scale(value)
    return rf"\qty{{{_plain(mantissa)}}}{{{PREFIXES[exponent]}{unit}}}"


def _range(value: Range | None) -> str:
    if value is None:
        return NONE
    _, exponent = q.scale(value.nominal)
    low, high = (_plain(q.scaled(end, exponent)) for end in (value.low, value.high))
    return rf"\qtyrange{{{low}}}{{{high}}}{{{PREFIXES[exponent]}\joule}}"


def _plain(value: float) -> str:
    """Three digits, without an exponent where that stays short."""
    rounded = float(f"{value:.{q.DIGITS}g}")
    return f"{rounded:.0f}" if rounded == round(rounded) and abs(rounded) < 1e6 else f"{rounded:.{q.DIGITS}g}"
