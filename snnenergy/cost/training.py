"""What training costs: one step on a chip, and which chips have no price for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snnenergy.cost.records import Breakdown, Estimate, Range
from snnenergy.counts import PHASES, Counts
from snnenergy.errors import UsageError
from snnenergy.hardware.profile import Profile


def refusal(chip: Profile) -> str:
    """Why a chip's profile cannot price a training step; empty where it can."""
    if chip.family == "neuromorphic":
        return "does not train: its figures are of inference, and a backward pass needs dense products"
    if chip.memory is not None and chip.memory.dataflow == "per_event":
        return "does not train: its memory model is of inference"
    return ""


def of_training(models: Mapping[str, Counts]) -> bool:
    """Whether counts are of training; UsageError where some are and some are of inference."""
    kinds = {bool(counts.conditions.training) for counts in models.values()}
    if len(kinds) > 1:
        raise UsageError("counts of training and of inference in one report: `snnenergy payback` puts them together")
    return kinds == {True}


def batch_of(counts: Counts) -> int:
    """Samples of one step."""
    return max(1, round(counts.samples / max(1, counts.forwards)))


@dataclass(frozen=True, slots=True)
class Step:
    """One optimisation step on a chip.

    energy: J; None where the chip cannot train
    time: s; None where the chip has no model of it
    phases: J of each phase's layers; what is no layer's, such as static power, is in `energy` only
    """

    hardware: str
    samples: int
    energy: Range | None
    time: Range | None
    phases: dict[str, Range]
    partial: bool = False
    verdict: str = ""


def step(counts: Counts, estimate: Estimate) -> Step:
    """An estimate of training counts, which is per sample as all are, as the cost of a whole step."""
    samples = batch_of(counts)
    priced = {layer.path: layer for layer in estimate.layers}
    phases = {
        phase: sum(
            (priced[r.path].breakdown for r in counts.layers if r.phase == phase and r.path in priced), Breakdown()
        )
        for phase in PHASES
    }
    whole = estimate.energy is not None
    return Step(
        estimate.hardware,
        samples,
        estimate.energy * samples if estimate.energy is not None else None,
        estimate.latency if whole else None,
        {phase: part.total * samples for phase, part in phases.items()} if whole else {},
        estimate.partial,
        estimate.verdict,
    )


def demand_step(counts: Counts, batch: int | None, *, pipeline: bool) -> None:
    """UsageError for another batch than that of the step: the optimizer's share of a sample hangs on it; or for pipelining."""
    if pipeline:
        raise UsageError(f"{counts.model}: counted training steps; they do not overlap as inferences do in a pipeline")
    own = batch_of(counts)
    if batch not in (None, own):
        raise UsageError(
            f"{counts.model}: counted training steps of {own} samples; they cannot be priced at batch {batch}"
        )
