"""After how many inferences a spiking net has paid back what its training cost more than the ANN's.

    n = (training of the SNN - training of the ANN) / (inference of the ANN - inference of the SNN)

Every chip's constants may lie anywhere in their ranges, so the ends are those of all corners; what stands on one chip, such as both
trainings, moves together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from snnenergy.cost.records import Comparison, Estimate, Range
from snnenergy.cost.training import batch_of, step
from snnenergy.counts import Counts
from snnenergy.errors import UsageError

CORNERS = ("nominal", "low", "high")
AT_ONCE, NEVER, AFTER, UNTIL, UNDECIDED = "at once", "never", "after", "until", "not decided"


@dataclass(frozen=True, slots=True)
class Training:
    """A whole training on one chip: its steps, and J and s of all of them; time is None where the chip has no model of it."""

    model: str
    hardware: str
    optimizer: str
    samples: int
    steps: int
    energy: Range
    time: Range | None


@dataclass(frozen=True, slots=True)
class Payback:
    """The SNN on one chip against the ANN on its own.

    ann, snn: J per inference; None where a chip does not price it in full
    verdict: `at once` (cheaper from the first inference), `never`, `after` so many inferences, `until` so many (it trains
    cheaper, and costs more per inference), or `not decided` where a side has no price
    inferences: where the two bills are equal; its ends may be infinite; None where they never meet
    why: what is in the way of a decision; of `at once` and `never`, what else holds somewhere in the ranges of the constants
    """

    hardware: str
    ann_hardware: str
    ann: Range | None
    snn: Range | None
    verdict: str
    inferences: Range | None = None
    why: str = ""


def same_net(inference: Counts, trained: Counts) -> None:
    """UsageError where the two are of nets that differ in size: an inference and a training of one net are asked for."""
    words = [sum(layer.weights for layer in counts.forward) for counts in (inference, trained)]
    if words[0] != words[1]:
        raise UsageError(
            f"{inference.model} and {trained.model}: the inference is of {words[0]:,} weights, the training of {words[1]:,}; "
            "they must be of one net"
        )


def training(counts: Counts, estimate: Estimate, steps: int) -> Training:
    """Training counts, priced, times so many steps; UsageError where the chip cannot train."""
    one = step(counts, estimate)
    if one.energy is None:
        raise UsageError(
            f"{estimate.hardware}: {estimate.verdict or 'has no price for a training step'}; pass --train-on another chip"
        )
    time = None if one.time is None else one.time * steps
    return Training(
        counts.model, one.hardware, counts.conditions.training, one.samples, steps, one.energy * steps, time
    )


def steps_of(counts: Counts, epochs: int, train_samples: int) -> int:
    """Steps of so many passes over a training set, at the batch that was counted; the last batch may be smaller."""
    return epochs * math.ceil(train_samples / batch_of(counts))


def against(ann: Training, snn: Training, inference: Comparison, ann_on: str | None = None) -> tuple[Payback, ...]:
    """One row per chip.  `inference` holds the ANN and then the SNN, priced on the chips, and on those that are named here.

    ann_on: the ANN's chip; without it the same one where that runs it, else the one that trains it
    """
    first, second = inference.models
    return tuple(
        _row(ann, snn, inference.of(first, ann_on or _home(inference, chip, ann)), inference.of(second, chip))
        for chip in inference.hardware
    )


def _home(inference: Comparison, chip: str, ann: Training) -> str:
    """Where the ANN runs against an SNN on `chip`."""
    beside = inference.of(inference.models[0], chip)
    return ann.hardware if beside.energy is None or beside.partial else chip


def _row(ann_training: Training, snn_training: Training, ann: Estimate, snn: Estimate) -> Payback:
    home = ann.hardware
    one, other = (None if e.partial else e.energy for e in (ann, snn))
    if one is None or other is None:
        missing = snn if other is None else ann
        return Payback(
            snn.hardware, home, one, other, UNDECIDED, why=f"{missing.model} on {missing.hardware}: {missing.verdict}"
        )
    met = [
        (
            _at(snn_training.energy, at[snn_training.hardware]) - _at(ann_training.energy, at[ann_training.hardware]),
            _at(one, at[home]) - _at(other, at[snn.hardware]),
        )
        for at in _corners(ann_training.hardware, snn_training.hardware, home, snn.hardware)
    ]
    return Payback(snn.hardware, home, one, other, *_met(met))


def _corners(*chips: str) -> list[dict[str, str]]:
    """Every choice of a corner for each chip, all nominal first: what stands on one chip moves together."""
    named = dict.fromkeys(chips)
    return [dict(zip(named, choice, strict=True)) for choice in itertools.product(CORNERS, repeat=len(named))]


def _at(value: Range, corner: str) -> float:
    return float(getattr(value, corner))


def _verdict(extra: float, saving: float) -> str:
    if saving >= 0 >= extra:
        return AT_ONCE
    if extra >= 0 >= saving:
        return NEVER
    return AFTER if saving > 0 else UNTIL


_ELSEWHERE = {AFTER: "after some inferences", UNTIL: "only for the first inferences"}


def _met(found: Sequence[tuple[float, float]]) -> tuple[str, Range | None, str]:
    """Where extra = n saving, by the first pair, how far the others move it, and what else they say; both in J."""
    extra, saving = found[0]
    verdict = _verdict(extra, saving)
    if verdict in (AT_ONCE, NEVER):
        others = dict.fromkeys(_verdict(*pair) for pair in found[1:])
        return verdict, None, " or ".join(_ELSEWHERE.get(other, other) for other in others if other != verdict)
    sign = 1 if saving > 0 else -1
    ends = [max(0.0, e / s) if s * sign > 0 else math.inf for e, s in found]
    return verdict, Range(min(ends), extra / saving, max(ends)), ""
