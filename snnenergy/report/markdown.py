"""The report as Markdown: for a pull request, a README, a wiki.  Names are code spans, so none can mention, link or format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnenergy.report import layers as L
from snnenergy.report import published, summary, why
from snnenergy.report import quantities as q
from snnenergy.report.escape import markdown as text
from snnenergy.report.escape import markdown_code as code
from snnenergy.report.escape import markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snnenergy.cost.records import Comparison, Estimate


def render(comparison: Comparison, *, depth: int | None = None, sort: str | None = None, top: int | None = None) -> str:
    """The whole report; layer tables are folded away (`<details>`)."""
    blocks = [f"**{text(summary.headline(comparison))}**"]
    blocks += [f"> {text(note)}" for note in summary.notes(comparison)]
    blocks += _reasons(comparison)
    if comparison.estimates:
        blocks.append(_grid(comparison))
    blocks.append(_activity(comparison))
    blocks += _ledger(comparison)
    if remarks := summary.remarks(comparison):
        blocks += [
            "### Read this beside the numbers",
            "\n".join(f"- {text(who)}: {text(what)}" for who, what in remarks),
        ]
    blocks += [_layers(comparison, model, depth, sort, top) for model in comparison.models]
    blocks += ["### Units", "\n".join(f"- **{text(term)}**: {meaning}" for term, meaning in summary.LEGEND)]
    return "\n\n".join(blocks) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, words: int = 0) -> str:
    """A pipe table whose first `left` and last `words` columns are left-aligned; cells are already harmless."""
    rules = [":---" if i < left or i >= len(head) - words else "---:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rules, *rows))


def _reasons(comparison: Comparison) -> list[str]:
    """Chip by chip, which model is cheaper, by how much, why, and how far the chip is known."""
    rows = why.rows(comparison, times="×", micro="µ")
    head = ("chip", "cheaper", "by", "mostly because of", "validated")
    cells = ((code(r.chip), text(r.cheaper), text(r.by), text(r.why), text(r.band)) for r in rows)
    return [table(head, cells, left=5)] if rows else []


def _grid(comparison: Comparison) -> str:
    head = ("model", "chip", "energy", "range", "latency", "EDP", "fit", "in short", "validated")
    return table(head, (_grid_row(e) for e in comparison.estimates), left=2, words=3)


def _grid_row(e: Estimate) -> tuple[str, ...]:
    latency, edp = (None if r is None else r.nominal for r in (e.latency, e.edp))
    limits = q.interval(e.energy, "J", micro="µ")
    energy = text(summary.energy(e, micro="µ"))
    times = (q.quantity(latency, "s", micro="µ"), q.quantity(edp, "J s", micro="µ"))
    return (
        code(e.model),
        code(e.hardware),
        energy,
        limits,
        *times,
        summary.fit(e),
        text(summary.short(e)) or q.NONE,
        text(e.band),
    )


def _activity(comparison: Comparison) -> str:
    rows = []
    for name, counts in comparison.counts.items():
        numbers = [q.count(counts.per_inference(n)) for n in ("acs", "macs", "dense_macs")]
        shares = (q.percent(counts.sparsity), q.percent(counts.firing_rate))
        rows.append((code(name), *numbers, *shares, text(summary.conditions(counts)), summary.coverage(counts)))
    head = ("model, per inference", "ACs", "MACs", "dense MACs", "sparsity", "firing rate", "conditions", "coverage")
    return table(head, rows, words=2)


def _ledger(comparison: Comparison) -> list[str]:
    rows = summary.ledger(comparison)
    if not rows:
        return []
    cells = ((code(m), code(r.path), code(r.op), str(r.calls), str(r.parameters), text(r.reason)) for m, r in rows)
    head = ("model", "path", "op", "calls", "parameters", "why")
    return ["### Uncounted: arithmetic that has no rule, in none of the numbers", table(head, cells, left=3)]


def _layers(comparison: Comparison, model: str, depth: int | None, sort: str | None, top: int | None) -> str:
    """Counts of each layer, and its nominal energy on every chip that prices the model."""
    priced = [e for e in summary.of_model(comparison, model) if e.energy is not None]
    rows = L.across(comparison.counts[model], priced, depth=depth, sort=sort, top=top)
    head = (
        "layer",
        "ACs",
        "MACs",
        "dense MACs",
        "sparsity",
        "firing rate",
        "silent",
        "saturated",
        "spikes / neuron",
        "spikes / synapse",
        *(code(e.hardware) for e in priced),
    )
    body = table(head, (_layer(row, joules) for row, joules in rows))
    if any(row.per_synapse is not None for row, _ in rows):
        body += f"\n\nSpikes per synapse: {published.limits()}."
    return f"<details><summary>Layers of {markup(model)}, per inference</summary>\n\n{body}\n\n</details>"


def _layer(row: L.Row, joules: Sequence[float | None]) -> tuple[str, ...]:
    numbers = [q.count(v) if v else q.NONE for v in (row.acs, row.macs, row.dense)]
    return (
        code(row.path),
        *numbers,
        *(q.percent(share) for share in (row.sparsity, row.rate, row.silent, row.saturated)),
        *(q.number(v) if v is not None else q.NONE for v in (row.per_neuron, row.per_synapse)),
        *(q.quantity(j, "J", micro="µ") for j in joules),
    )
