"""What every format shows, worked out once: the first line, the ledger, the state of an estimate, and the notes under a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.cost.verdict import sentence
from snnenergy.counts import LEARNING_OFF
from snnenergy.report import quantities as q

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison, Estimate, Range
    from snnenergy.counts import Counts, Uncounted

LEGEND = (
    ("AC", "accumulate: a tap driven by a spike (or ternary event) through a non-zero weight"),
    ("MAC", "multiply-accumulate: the same for graded and analog values"),
    ("dense", "multiply-accumulates of the dense layer, whatever the values"),
    ("sparsity", "share of input elements that were zero"),
    ("rate", "spikes per neuron and time step"),
    ("silent, saturated", "share of neurons that fired in no, or in every, step of an inference; a dash: not known"),
    ("EDP", "energy-delay product, energy x latency of one inference"),
    ("[low, high]", "the range the cited constants allow; all move together, so ends add"),
)


MAX_VERDICT = 400
"""Characters: the first line of ten models on ten chips must stay a line; the table holds the rest."""


def headline(comparison: Comparison) -> str:
    """The first line of a report: what was left out, if anything; then the verdict."""
    missing = [gap for name in comparison.counts if (gap := _gap(comparison.counts[name], name))]
    verdict = _cut(comparison.verdict or sentence(comparison))
    verdict = "".join(_loose(comparison)) + verdict
    return f"INCOMPLETE COUNT ({'; '.join(missing)}): {verdict}" if missing else f"{verdict} [all arithmetic counted]"


def _loose(comparison: Comparison) -> list[str]:
    """Before the verdict: whose activity was assumed, or is not known at all."""
    unknown = [name for name, counts in comparison.counts.items() if not counts.seen]
    assumed = [f"{name}: {c.conditions.assumed}" for name, c in comparison.counts.items() if c.conditions.assumed]
    lines = [f"ACTIVITY NOT KNOWN ({some(unknown)}: counted from shapes). "] if unknown else []
    return [*lines, f"ASSUMED ACTIVITY ({some(assumed)}). "] if assumed else lines


def _cut(verdict: str) -> str:
    """At the end of a clause, and saying so."""
    if len(verdict) <= MAX_VERDICT:
        return verdict
    kept = verdict[:MAX_VERDICT]
    end = max(kept.rfind("; "), kept.rfind("), ") + 1) or kept.rfind(", ")
    return f"{kept[:end] if end > 0 else kept} ... (all of it in the table)"


def _gap(counts: Counts, name: str) -> str:
    if not counts.layers and not counts.uncounted:
        return f"{name}: no layer was counted"
    if not counts.uncounted and counts.coverage.complete:
        return ""
    ops = len(counts.uncounted)
    share = min(counts.coverage.parameters, counts.coverage.calls)
    return f"{name}: {q.percent(share)} counted, {ops} {'entry' if ops == 1 else 'entries'} uncounted"


def coverage(counts: Counts) -> str:
    c = counts.coverage
    if c.complete and not counts.uncounted:
        return "all parameters and calls counted"
    ops = f"uncounted: {len(counts.uncounted)}" if counts.uncounted else "nothing uncounted"
    return f"{q.percent(c.parameters)} of parameters and {q.percent(c.calls)} of calls counted, {ops}"


def on_chip(comparison: Comparison, chip: str) -> list[Estimate]:
    return [e for e in comparison.estimates if e.hardware == chip]


def of_model(comparison: Comparison, model: str) -> list[Estimate]:
    return [e for e in comparison.estimates if e.model == model]


def energy(estimate: Estimate, *, micro: str = "u") -> str:
    """Nominal energy; `>=` where layers are missing from it; `not priced` where there is none."""
    if estimate.energy is None:
        return "not priced"
    bound = ">= " if estimate.partial else ""
    return bound + q.quantity(estimate.energy.nominal, "J", micro=micro)


def fit(estimate: Estimate) -> str:
    """`3 cores`, `3 cores at 9 bits` once quantised, `2 chips`, `no fit`, or a dash where the chip has no capacity to speak of."""
    f = estimate.fit
    if f.fits is None:
        return q.NONE
    if f.at_bits is not None:
        return f"{_room(estimate)} at {f.at_bits} bits"
    return _room(estimate) if f.fits else "no fit"


def _room(estimate: Estimate) -> str:
    f = estimate.fit
    if f.chips is not None and f.chips > 1:
        return f"{f.chips} chips"
    if f.cores is not None:
        return "1 core" if f.cores == 1 else f"{f.cores} cores"
    return "fits"


def short(estimate: Estimate) -> str:
    """An estimate in a few words, where they say more than its fit does."""
    cell = fit(estimate)
    return "" if estimate.verdict in (cell, f"fits {cell}", f"needs {cell}") else estimate.verdict


def remarks(comparison: Comparison) -> list[tuple[str, str]]:
    """(who, what) for everything a reader must know beyond the table; one line where several estimates share it."""
    who: dict[str, list[Estimate]] = {}
    for e in comparison.estimates:
        for remark in e.caveats or e.fit.problems:  # caveats tell the problems as well, once and not layer by layer
            who.setdefault(remark, []).append(e)
    return [(_names(comparison, estimates), remark) for remark, estimates in who.items()]


def _names(comparison: Comparison, estimates: list[Estimate]) -> str:
    models = list(dict.fromkeys(e.model for e in estimates))
    chips = list(dict.fromkeys(e.hardware for e in estimates))
    if len(estimates) == len(comparison.estimates) > 1:
        return "all"
    if len(estimates) == len(models) * len(chips):
        return f"{some(models)} on {some(chips)}"
    return some([f"{e.model} on {e.hardware}" for e in estimates])


def some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def ledger(comparison: Comparison) -> list[tuple[str, Uncounted]]:
    return [(name, row) for name, counts in comparison.counts.items() for row in counts.uncounted]


def conditions(counts: Counts) -> str:
    """`200 samples, T = 8, accuracy 97.5 %, synthetic input: activity means nothing`."""
    parts = []
    if not counts.conditions.assumed:  # those are as many as the assumed rates need to be whole numbers
        parts.append(f"{counts.samples:,} sample{'s' if counts.samples != 1 else ''}")
    if counts.time_steps is not None:
        parts.append(f"T = {counts.time_steps}")
    if not counts.seen or counts.conditions.assumed:
        parts.append(f"activity {counts.activity}")
    elif counts.conditions.synthetic:
        parts.append("synthetic input: activity means nothing")
    if counts.answers.accuracy is not None:
        some_labels = counts.answers.labelled != counts.samples
        of = f" of {counts.answers.labelled} with a label" if some_labels else ""
        parts.append(f"accuracy {q.percent(counts.answers.accuracy)}{of}")
    if counts.conditions.nonfinite:
        parts.append(f"{counts.conditions.nonfinite} with NaN or infinity")
    if counts.conditions.shards:
        parts.append(f"shard {', '.join(counts.conditions.shards)} only")
    if counts.conditions.predicted:
        parts.append(f"predicted: {counts.conditions.predicted}")
    if counts.conditions.partial:
        parts.append("a partial run")
    return ", ".join(parts)


def notes(comparison: Comparison) -> list[str]:
    """What stands above the tables: the comparison's own notes, why its models may not be comparable, and what was learnt."""
    return [*comparison.notes, *mismatches(comparison), *learning(comparison)]


def learning(comparison: Comparison) -> list[str]:
    """A line for each model that changed its own synapses while it ran, and for one whose learning was off."""
    lines = []
    for name, counts in comparison.counts.items():
        n = max(counts.samples, 1)
        lost = {(entry.path, entry.op) for entry in counts.uncounted}
        for row in counts.learning:
            if (row.path, row.op) in lost:
                lines.append(
                    f"{name} learns while it runs: {row.op} on {row.path.partition('@')[0]}: updates not counted"
                )
                continue
            parts = [
                f"{q.count(v / n)} {w}" for v, w in ((row.synapse_updates, "synapse"), (row.trace_updates, "trace"))
            ]
            synapses = row.geometry.get("synapses", row.weights)
            words = f"{' and '.join(parts)} updates per inference, {q.count(synapses)} synapses"
            lines.append(f"{name} learns while it runs: {row.op} on {row.path.partition('@')[0]}: {words}")
        lines += [f"{name}: {note}" for note in counts.identity.notes if note.startswith(LEARNING_OFF)]
    return lines


def mismatches(comparison: Comparison) -> list[str]:
    """Why the models of a comparison may not be comparable: other inputs, other sample counts, other counting rules."""
    rows = list(comparison.counts.items())
    found = []
    for label, values in (
        ("samples", {n: c.samples for n, c in rows}),
        ("counting rules", {n: c.conditions.rules for n, c in rows}),
        ("input digests", {n: c.conditions.inputs[:8] for n, c in rows if c.conditions.inputs}),
    ):
        if len(set(values.values())) > 1:
            named = ", ".join(f"{n}: {v}" for n, v in list(values.items())[:4])
            found.append(f"the models ran with different {label} ({named}); compare with care")
    synthetic = [n for n, c in rows if c.conditions.synthetic and c.seen and not c.conditions.assumed]
    if synthetic:
        found.append(f"synthetic input for {some(synthetic)}: dense fields are right, activity means nothing")
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """An SNN and an ANN on one chip, both priced in full."""

    chip: str
    ann: Estimate
    snn: Estimate

    @property
    def ratio(self) -> Range:
        """SNN energy over ANN energy, corner by corner."""
        assert self.snn.energy is not None and self.ann.energy is not None  # `pairs` makes no other
        return self.snn.energy / self.ann.energy


def is_snn(counts: Counts) -> bool:
    return any(layer.updates for layer in counts.layers)


def pairs(comparison: Comparison) -> list[Pair]:
    """Every SNN with every ANN on every chip that prices both in full, and at more than nothing."""
    snns = [n for n, c in comparison.counts.items() if is_snn(c)]
    anns = [n for n in comparison.counts if n not in snns]
    rows = [e for e in comparison.estimates if e.energy is not None and e.energy.low > 0]
    rows = [e for e in rows if comparison.counts[e.model].seen]
    whole = {(e.model, e.hardware): e for e in rows if not e.partial}
    return [
        Pair(chip, whole[ann, chip], whole[snn, chip])
        for chip in comparison.hardware
        for ann in anns
        for snn in snns
        if (ann, chip) in whole and (snn, chip) in whole
    ]
