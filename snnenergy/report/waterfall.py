"""Where an SNN wins or loses against its ANN on one chip, step by step from one total to the other.

The arithmetic (compute and synaptic energy) is e N, charged events times the joules of one event on that chip.  With N and e of
the ANN (A) and the SNN (S), D the dense taps of the SNN in as many time steps as the ANN takes (one, for a net without time),
and T how many times as many steps the SNN takes,

    e_S N_S - e_A N_A  =  (e_S - e_A) N_A          another operation per tap (MAC to AC)
                       +  e_S (D - N_A)            another network, where the two are not of one shape
                       +  e_S (T - 1) D            extra time steps
                       +  e_S (N_S - T D)          sparsity: taps no event drives
The order of the steps is a choice; their sum is not.  All other parts are plain differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.cost.records import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts
    from snnenergy.report.summary import Pair

ARITHMETIC = ("compute", "synaptic")


@dataclass(frozen=True, slots=True)
class Step:
    """From `start` to `end`, joules per inference; the first step starts, and the last ends, at zero and at a total."""

    label: str
    start: float
    end: float
    total: bool = False

    @property
    def joules(self) -> float:
        return self.end - self.start


def steps(pair: Pair, ann: Counts, snn: Counts) -> tuple[Step, ...]:
    """The ANN's total, each change, the SNN's total; nominal values; changes of exactly nothing are left out."""
    before, after = pair.ann.breakdown, pair.snn.breakdown
    changes = _arithmetic(pair, ann, snn)
    changes += [
        (f"{part} energy", getattr(after, part).nominal - getattr(before, part).nominal)
        for part in PARTS
        if part not in (*ARITHMETIC, "host")
    ]
    level = before.total.nominal
    made = [Step(pair.ann.model, 0.0, level, total=True)]
    for label, change in changes:
        if change:
            made.append(Step(label, level, level + change))
            level += change
    return (*made, Step(pair.snn.model, 0.0, after.total.nominal, total=True))


def _arithmetic(pair: Pair, ann: Counts, snn: Counts) -> list[tuple[str, float]]:
    joules_a, joules_s = (_nominal(e, ARITHMETIC) for e in (pair.ann, pair.snn))
    events_a, events_s = events(pair.ann, ann), events(pair.snn, snn)
    dense = sum(layer.dense_macs for layer in snn.layers) / max(snn.samples, 1)
    if not events_a or not events_s or not snn.time_steps:
        return [("arithmetic", joules_s - joules_a)]
    per_event_a, per_event_s = joules_a / events_a, joules_s / events_s
    same_steps = dense * (ann.time_steps or 1) / snn.time_steps
    return [
        ("MAC to AC", (per_event_s - per_event_a) * events_a),
        ("network shape", per_event_s * (same_steps - events_a)),
        ("extra time steps", per_event_s * (dense - same_steps)),
        ("sparsity", per_event_s * (events_s - dense)),
    ]


def events(estimate: Estimate, counts: Counts) -> float:
    """Charged events of the synaptic layers, per inference."""
    synaptic = {layer.path for layer in counts.layers if layer.role == "synaptic"}
    return sum(layer.events for layer in estimate.layers if layer.path in synaptic and layer.priced)


def _nominal(estimate: Estimate, parts: Iterable[str]) -> float:
    return float(sum(getattr(estimate.breakdown, p).nominal for p in parts))
