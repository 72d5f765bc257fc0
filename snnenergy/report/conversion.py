"""What going spiking would save, in words and rows: the converted net at every T, on every chip, against its ANN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.report import breakeven
from snnenergy.report import quantities as q
from snnenergy.report.summary import Pair

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison, Estimate, Range
    from snnenergy.counts import Counts
    from snnenergy.trace.ann2snn import Verified
    from snnenergy.trace.conversion import Conversion


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, the names of the columns, and cells of text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(conversion: Conversion, comparison: Comparison, verified: Sequence[Verified] = ()) -> list[Table]:
    """Everything there is to say, the most asked for first; `comparison` holds the ANN, then each run, on the chips."""
    made = [_chips(conversion, comparison)] if comparison.estimates else []
    made += [_work(conversion), _layers(conversion)]
    return [*made, _against(conversion, verified)] if verified else made


def _chips(conversion: Conversion, comparison: Comparison) -> Table:
    names = list(comparison.counts)
    rows = []
    for chip in comparison.hardware:
        ann = comparison.of(names[0], chip)
        rows.append((chip, "ANN", _energy(ann), _time(ann), "", "", ann.verdict))
        for name, run in zip(names[1:], conversion.runs, strict=True):
            snn = comparison.of(name, chip)
            rows.append(
                (
                    chip,
                    str(run.steps),
                    _energy(snn),
                    _time(snn),
                    *_break_even(comparison, name, ann, snn),
                    snn.verdict,
                )
            )
    return Table(
        "Energy and latency per inference; SNN/ANN on the same chip; the T at which the SNN at its activity costs as much as the ANN",
        ("chip", "T", "energy", "latency", "SNN/ANN", "even at T", "in short"),
        tuple(rows),
    )


def _energy(estimate: Estimate) -> str:
    return ("at least " if estimate.partial and estimate.energy else "") + (
        q.quantity(estimate.energy.nominal, "J") if estimate.energy else q.NONE
    )


def _time(estimate: Estimate) -> str:
    return q.quantity(None if estimate.latency is None else estimate.latency.nominal, "s")


def _break_even(comparison: Comparison, name: str, ann: Estimate, snn: Estimate) -> tuple[str, str]:
    if ann.energy is None or snn.energy is None or ann.partial or snn.partial or not ann.energy.nominal:
        return q.NONE, q.NONE
    pair = Pair(snn.hardware, ann, snn)
    chip = next((chip for chip in comparison.profiles if chip.name == snn.hardware), None)
    solved = breakeven.solve(pair, comparison.counts[name], chip)
    even = _span(solved.time_steps_at(solved.rate)) if solved is not None else q.NONE
    return _span(pair.ratio), even


def _span(found: Range) -> str:
    low, nominal, high = (f"{value:.3g}" for value in (found.low, found.nominal, found.high))
    return nominal if low == high else f"{nominal} ({low} to {high})"


def _work(conversion: Conversion) -> Table:
    rows = [("ANN", "", *_totals(conversion.ann), _share(conversion.accuracy))]
    for run in conversion.runs:
        spikes = sum(layer.spikes for layer in run.layers)
        rows.append((str(run.steps), _number(spikes), *_totals(run.counts), _share(run.accuracy)))
    return Table(
        "Predicted work per inference, and the share of labels that are right",
        ("T", "spikes", "ACs", "MACs", "updates", "accuracy"),
        tuple(rows),
    )


def _totals(counts: Counts) -> tuple[str, ...]:
    total = counts.total()
    return tuple(_number(total.per_inference(name)) for name in ("acs", "macs", "updates"))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _share(value: float | None) -> str:
    return q.NONE if value is None else f"{value:.4g}"


def _layers(conversion: Conversion) -> Table:
    runs = conversion.runs
    rows = [
        (layer.path, layer.function, f"{layer.threshold:.4g}", *(_number(run.layers[i].spikes) for run in runs))
        for i, layer in enumerate(runs[0].layers)
    ]
    return Table(
        "Predicted spikes per inference of every population, by T",
        ("population", "was", "threshold", *(f"T={run.steps}" for run in runs)),
        tuple(rows),
    )


def _against(conversion: Conversion, verified: Sequence[Verified]) -> Table:
    rows = []
    for run, real in zip(conversion.runs, verified, strict=True):
        pairs = [(layer.path, layer.spikes, seen) for layer, seen in zip(run.layers, real.spikes, strict=True)]
        pairs.append(("(net)", sum(layer.spikes for layer in run.layers), sum(real.spikes)))
        rows += [(str(run.steps), path, _number(ours), _number(seen), _off(ours, seen)) for path, ours, seen in pairs]
        rows.append((str(run.steps), "accuracy", _share(run.accuracy), _share(real.accuracy), ""))
    return Table(
        "Spikes per inference: predicted, and of SpikingJelly's own conversion, run on the same input",
        ("T", "population", "predicted", "real", "off by"),
        tuple(rows),
    )


def _off(ours: float, seen: float) -> str:
    return f"{100 * (ours - seen) / seen:+.2f} %" if seen else ("0 %" if not ours else "only predicted")
