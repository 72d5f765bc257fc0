"""A training step as tables: what each layer does in each phase, what it keeps, what the step costs on each chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from snnenergy.cost.training import batch_of, step
from snnenergy.counts import PHASES
from snnenergy.report import quantities as q
from snnenergy.report import summary
from snnenergy.report.conversion import Table
from snnenergy.report.csv_rows import ends, names, written

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.counts import Counts, LayerCounts

BYTE = 8
PRODUCTS = PHASES[:3]


def headline(counts: Counts) -> str:
    """`net: one step of adam, loss cross_entropy, on 64 samples, T = 8 [all arithmetic counted]`."""
    what = f"{counts.model}: one step of {counts.conditions.training}, on {batch_of(counts)} samples"
    steps = f", T = {counts.time_steps}" if counts.time_steps else ""
    made_up = ", synthetic input: activity means nothing" if counts.conditions.synthetic else ""
    gap = f"INCOMPLETE COUNT ({summary.coverage(counts)}): " if counts.uncounted else ""
    return f"{gap}{what}{steps}{made_up}" + ("" if gap else " [all arithmetic counted]")


def notes(counts: Counts) -> list[str]:
    """What a reader must know of how it was counted, and everything left out."""
    lines = [note for note in counts.identity.notes if not note.startswith(("surveyed ", "T = "))]
    return lines + [f"uncounted: {r.path}: {r.op}, {r.calls} calls, {r.reason}" for r in counts.uncounted]


def chips(comparison: Comparison) -> list[Table]:
    """What a step of each model costs on each chip; nothing where there is no chip."""
    several = len(comparison.counts) > 1
    rows = []
    for estimate in comparison.estimates:
        s = step(comparison.counts[estimate.model], estimate)
        bound = ">= " if s.partial and s.energy is not None else ""
        rows.append(
            (
                *((estimate.model,) if several else ()),
                s.hardware,
                q.NONE if s.energy is None else bound + q.quantity(s.energy.nominal, "J"),
                q.interval(s.energy, "J"),
                q.quantity(None if s.time is None else s.time.nominal, "s"),
                s.verdict,
            )
        )
    head = (*(("model",) if several else ()), "chip", "energy", "low, high", "time", "in short")
    return [Table("Energy and time of a step", head, tuple(rows))] if rows else []


def tables(counts: Counts) -> list[Table]:
    """What a step of one model does: by phase, by layer."""
    return [_phases(counts), _layers(counts)]


def _phases(counts: Counts) -> Table:
    rows = []
    for phase in PHASES:
        own = [layer for layer in counts.layers if layer.phase == phase]
        figures = [_sum(own, name) for name in ("dense_macs", "macs", "acs")]
        rows.append((phase, *map(_count, (*figures, _elementwise(own), _sum(own, "kernels")))))
    return Table(
        "Work of a step by phase; MACs and ACs: taps whose operands are both not zero",
        ("phase", "dense MACs", "MACs", "ACs", "elementwise", "kernels"),
        tuple(rows),
    )


def _sum(layers: Iterable[LayerCounts], name: str) -> int:
    return sum(getattr(layer, name) for layer in layers)


def _elementwise(layers: Iterable[LayerCounts]) -> int:
    return sum(layer.adds + layer.muls + layer.compares + layer.specials for layer in layers)


def _count(n: int) -> str:
    return q.count(n) if n else q.NONE


def _layers(counts: Counts) -> Table:
    by_layer: dict[str, dict[str, LayerCounts]] = {}
    for layer in counts.layers:
        by_layer.setdefault(layer.path.partition("@")[0], {})[layer.phase] = layer
    rows = [
        (
            path,
            *(_products(row.get(phase)) for phase in PRODUCTS),
            _count(_elementwise(row[p] for p in PRODUCTS if p in row)),
            _count(_elementwise([row["optimizer"]] if "optimizer" in row else [])),
            q.quantity(kept, "B") if (kept := sum(r.saved_bytes for r in row.values())) else q.NONE,
        )
        for path, row in by_layer.items()
    ]
    return Table(
        "Layers: MACs of a step, or ACs where a spike gates them; elementwise operations; what is kept for the backward pass",
        ("layer", *PRODUCTS, "elementwise", "optimizer", "kept"),
        tuple(rows),
    )


def _products(layer: LayerCounts | None) -> str:
    """`12.3 k`, `12.3 k AC`, or both where a layer takes spikes and values."""
    if layer is None:
        return q.NONE
    parts = [q.count(layer.macs)] if layer.macs else []
    parts += [f"{q.count(layer.acs)} AC"] if layer.acs else []
    return " + ".join(parts) or ("0" if layer.dense_macs else q.NONE)


def memory(counts: Counts) -> str:
    """A sentence: weights, gradients, optimizer states and what is kept, in bytes."""
    trained = [layer for layer in counts.layers if layer.phase == "optimizer"]
    gradients = sum(layer.weights * layer.weight_bits for layer in trained) // BYTE
    states = sum(layer.weights * layer.weight_bits * layer.state_words for layer in trained) // BYTE
    kept = round(sum(layer.saved_bytes for layer in counts.layers) / max(1, counts.forwards))
    parts = (("weights", gradients), ("gradients", gradients), ("optimizer states", states), ("kept activations", kept))
    words = ", ".join(f"{name} {q.quantity(size, 'B')}" for name, size in parts)
    return f"Memory when the backward pass begins: {words}; a lower bound of the peak."


def markdown(comparison: Comparison) -> str:
    from snnenergy.report.escape import markdown as text

    blocks: list[str] = []
    for counts in comparison.counts.values():
        blocks += [f"**{text(headline(counts))}**", *(f"> {text(note)}" for note in notes(counts))]
    blocks += map(_pipes, chips(comparison))
    for counts in comparison.counts.values():
        blocks += [f"### {text(counts.model)}"] if len(comparison.counts) > 1 else []
        blocks += [*map(_pipes, tables(counts)), text(memory(counts))]
    blocks.append("\n".join(f"- {text(who)}: {text(what)}" for who, what in summary.remarks(comparison)))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _pipes(table: Table) -> str:
    from snnenergy.report import markdown as md
    from snnenergy.report.escape import markdown as text
    from snnenergy.report.escape import markdown_code as code

    rows = ((code(row[0]), *map(text, row[1:])) for row in table.rows)
    return f"{text(table.title)}:\n\n{md.table(table.head, rows)}"


def html(comparison: Comparison) -> str:
    from snnenergy.report import tables_page

    models = list(comparison.counts.values())
    made = chips(comparison)
    for counts in models:
        name = f"{counts.model}: " if len(models) > 1 else ""
        made += [dataclasses.replace(table, title=name + table.title) for table in tables(counts)]
    return tables_page.render(
        f"snnenergy: {summary.some(list(comparison.models))}, training",
        list(map(headline, models)),
        made,
        notes=[note for counts in models for note in notes(counts)],
        closing=[f"{counts.model}: {memory(counts)}" for counts in models],
        remarks=[f"{who}: {what}" for who, what in summary.remarks(comparison)],
    )


def csv(comparison: Comparison) -> str:
    """One row per model and chip: the step, SI units in the column names."""
    head = ["model", "hardware", "samples", "time_steps", "training", *names("energy", "J"), *names("time", "s")]
    head += [f"{phase}_J" for phase in PHASES]
    head += [f"{phase}_{n}" for phase in PRODUCTS for n in ("dense_macs", "macs", "acs")] + ["kept_bytes"]
    rows = []
    for estimate in comparison.estimates:
        counts = comparison.counts[estimate.model]
        s = step(counts, estimate)
        energies = [s.phases[phase].nominal if phase in s.phases else None for phase in PHASES]
        rows.append(
            [
                estimate.model,
                s.hardware,
                s.samples,
                counts.time_steps,
                counts.conditions.training,
                *ends(s.energy),
                *ends(s.time),
                *energies,
                *(_sum(_of(counts, phase), n) for phase in PRODUCTS for n in ("dense_macs", "macs", "acs")),
                _sum(counts.layers, "saved_bytes"),
            ]
        )
    return written(head, rows)


def _of(counts: Counts, phase: str) -> list[LayerCounts]:
    return [layer for layer in counts.layers if layer.phase == phase]


FORMATS: dict[str, Callable[[Comparison], str]] = {"html": html, "markdown": markdown, "csv": csv}
"""Beside the JSON, which is that of any Counts, and the CSV of layers."""
