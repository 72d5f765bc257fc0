"""The layer table of one model, with its energy on one chip: rows that add up, folded, sorted or cut without losing a joule."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.cost.records import PARTS, Breakdown, LayerEstimate
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts, LayerCounts

CHIP = "(whole chip)"
"""The row of what an estimate holds beyond its layers: static power, a fixed tick, launch overhead."""


@dataclass(frozen=True, slots=True)
class Row:
    """One layer, or several folded together: events per inference; joules per inference where a chip prices it.

    updates, spikes: of neurons; spikes is None where they were not seen; watched: updates of those whose spikes were seen
    per_neuron, per_synapse: spikes in one inference; silent, saturated: shares of the neurons that fire in no, or every,
    step of one; of single layers only, None where they are not known
    """

    path: str
    role: str = ""
    op: str = ""
    layers: int = 1
    acs: float | None = 0.0
    macs: float | None = 0.0
    dense: float = 0.0
    elements: float = 0.0
    nonzero: float | None = 0.0
    updates: float = 0.0
    watched: float = 0.0
    spikes: float | None = None
    breakdown: Breakdown | None = None
    charged: str = ""
    per_neuron: float | None = None
    per_synapse: float | None = None
    silent: float | None = None
    saturated: float | None = None
    synapse_updates: float = 0.0

    @property
    def sparsity(self) -> float | None:
        return None if self.nonzero is None or not self.elements else 1 - self.nonzero / self.elements

    @property
    def rate(self) -> float | None:
        return self.spikes / self.watched if self.spikes is not None and self.watched else None

    @property
    def activity(self) -> str:
        """`silent` or `saturated` where no, or every, neuron fired at every step."""
        return {0.0: "silent", 1.0: "saturated"}.get(-1.0 if self.rate is None else self.rate, "")

    @property
    def joules(self) -> float | None:
        return None if self.breakdown is None else self.breakdown.total.nominal

    def __add__(self, other: Row) -> Row:
        numbers: dict[str, Any] = {n: _plus(getattr(self, n), getattr(other, n)) for n in ("layers", *_ADDITIVE)}
        spikes = [r.spikes for r in (self, other) if r.spikes is not None]
        parts = [r.breakdown for r in (self, other) if r.breakdown is not None]
        return dataclasses.replace(
            self,
            **numbers,
            role=self.role if self.role == other.role else "",
            op=self.op if self.op == other.op else "",
            spikes=sum(spikes) if spikes else None,
            breakdown=sum(parts[1:], parts[0]) if parts else None,
            charged=self.charged if self.charged == other.charged else "",
            per_neuron=None,
            per_synapse=None,
            silent=None,
            saturated=None,
        )


def _plus(one: float | None, other: float | None) -> float | None:
    """A sum with something unknown in it is unknown."""
    return None if one is None or other is None else one + other


_ADDITIVE = ("acs", "macs", "dense", "elements", "nonzero", "updates", "watched", "synapse_updates")


def rows(
    counts: Counts, layers: Sequence[LayerEstimate] = (), total: Breakdown | None = None, *, depth: int | None = None
) -> tuple[Row, ...]:
    """One row per layer in the model's order; `depth` folds paths to their first parts; what is no layer's comes last."""
    priced = {layer.path: layer for layer in layers}
    made = [_row(layer, counts, priced.pop(layer.path, None)) for layer in counts.layers]
    made += [Row(e.path, breakdown=_whole(e), charged=e.charged) for e in priced.values()]
    if depth is not None:
        made = _folded(made, depth)
    rest = _rest(layers, total) if total is not None else None
    return (*made, Row(CHIP, breakdown=rest)) if rest is not None else tuple(made)


def _row(layer: LayerCounts, counts: Counts, estimate: LayerEstimate | None) -> Row:
    n = max(counts.samples, 1)
    return Row(
        path=layer.path,
        role=layer.role,
        op=layer.neuron_model or layer.op,
        acs=layer.acs / n if layer.seen else None,
        macs=layer.macs / n if layer.seen else None,
        dense=layer.dense_macs / n,
        elements=layer.elements / n,
        nonzero=layer.nonzero / n if layer.seen else None,
        updates=layer.updates / n,
        watched=layer.watched_updates / n,
        spikes=None if layer.spikes_out is None else layer.spikes_out / n,
        breakdown=_whole(estimate) if estimate is not None else None,
        charged=estimate.charged if estimate is not None else "",
        per_neuron=counts.spikes_per_neuron(layer),
        per_synapse=counts.spikes_per_synapse(layer),
        silent=counts.share_of_neurons(layer, layer.silent),
        saturated=counts.share_of_neurons(layer, layer.saturated),
        synapse_updates=layer.synapse_updates / n,
    )


def _whole(estimate: LayerEstimate) -> Breakdown | None:
    """An unpriced layer may still hold joules (its neurons', its memory's); None where it holds none."""
    return estimate.breakdown if estimate.priced or estimate.breakdown.nonzero() else None


def _rest(layers: Sequence[LayerEstimate], total: Breakdown) -> Breakdown | None:
    """The estimate's own breakdown less its layers'; None where only rounding is left."""
    left = {}
    for part in PARTS:
        whole, own = getattr(total, part), [getattr(layer.breakdown, part) for layer in layers]
        ends = [getattr(whole, end) - sum(getattr(r, end) for r in own) for end in ("low", "nominal", "high")]
        if any(abs(v) > 1e-9 * whole.high for v in ends):
            left[part] = type(whole)(*ends)
    return Breakdown(**left) if left else None


def _folded(made: Iterable[Row], depth: int) -> list[Row]:
    if depth < 1:
        raise UsageError(f"depth must be at least 1, found {depth}")
    groups: dict[str, Row] = {}
    for row in made:
        path = ".".join(row.path.split(".")[:depth])
        row = dataclasses.replace(row, path=path)
        groups[path] = groups[path] + row if path in groups else row
    return list(groups.values())


SORTS: dict[str, Callable[[Row], tuple[float, str]]] = {
    "energy": lambda r: (-(r.joules or 0.0), r.path),
    "acs": lambda r: (-(r.acs or 0.0), r.path),
    "macs": lambda r: (-(r.macs or 0.0), r.path),
    "operations": lambda r: (-(r.dense if r.acs is None or r.macs is None else r.acs + r.macs), r.path),
    "dense": lambda r: (-r.dense, r.path),
    "sparsity": lambda r: (-(r.sparsity or 0.0), r.path),
    "rate": lambda r: (-(r.rate or 0.0), r.path),
    "name": lambda r: (0.0, r.path),
}


def arranged(made: Sequence[Row], sort: str | None = None, top: int | None = None) -> tuple[Row, ...]:
    """Sorted, and cut to the first `top` rows with one row for all the others, so that the sum stays the sum."""
    if sort is not None and sort not in SORTS:
        raise UsageError(f"cannot sort by {sort!r}; sort by one of {', '.join(SORTS)}")
    if top is not None and top < 1:
        raise UsageError(f"top must be at least 1, found {top}")
    ordered = sorted(made, key=SORTS[sort]) if sort else list(made)
    if top is None or len(ordered) <= top + 1:
        return tuple(ordered)
    others = summed(ordered[top:], f"({len(ordered) - top} more)")
    return (*ordered[:top], others)


def across(
    counts: Counts,
    estimates: Sequence[Estimate],
    *,
    depth: int | None = None,
    sort: str | None = None,
    top: int | None = None,
) -> list[tuple[Row, tuple[float | None, ...]]]:
    """Rows with their joules on each of several chips, the total last; sorting by energy looks at the first chip."""
    tables = [rows(counts, e.layers, e.breakdown, depth=depth) for e in estimates] or [rows(counts, depth=depth)]
    lead = {r.path: r for r in tables[0]}
    for other in tables[1:]:
        for row in other:
            lead.setdefault(row.path, Row(row.path))
    joules = [{r.path: r.joules for r in table} for table in tables[: len(estimates)]]
    made = list(lead.values())
    kept = arranged(made, sort, top)
    left = set(lead) - {r.path for r in kept}

    def on_chips(paths: Iterable[str]) -> tuple[float | None, ...]:
        known = [[v for path in paths if (v := chip.get(path)) is not None] for chip in joules]
        return tuple(sum(values) if values else None for values in known)

    shown = [(r, on_chips([r.path] if r.path in lead else sorted(left))) for r in kept]
    return [*shown, (summed(made), on_chips(lead))]


def summed(made: Sequence[Row], path: str = "total") -> Row:
    if not made:
        return Row(path, layers=0)
    return dataclasses.replace(sum(made[1:], made[0]), path=path, role="", op="", charged="")
