"""Models side by side on chips: every estimate, and ratios with both sides at the same corner."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from snnenergy.cost.price import estimate
from snnenergy.cost.records import Comparison, Estimate
from snnenergy.cost.training import of_training
from snnenergy.cost.verdict import sentence
from snnenergy.counts import Counts
from snnenergy.errors import UsageError
from snnenergy.hardware import Profile, load_hardware


def compare(
    models: Mapping[str, Counts],
    hardware: Sequence[str | os.PathLike[str] | Profile],
    *,
    batch: int | None = None,
    bits: int | None = None,
    pipeline: bool = False,
    strict_fit: bool = False,
    accuracy: Mapping[str, float] | None = None,
) -> Comparison:
    """Every model on every chip; the verdict sets the cheapest of each chip beside the next one.

    bits: both sides at that width, a comparison at matched precision
    accuracy: share of right answers (0 to 1) of models where it is known, in place of what the Counts say; reports set it
    against the energy
    """
    if not models or not hardware:
        raise UsageError("a comparison needs at least one model and one chip")
    if not isinstance(models, Mapping):
        raise UsageError(f"models: expected Counts by their names, such as {{'ann': a}}; found {type(models).__name__}")
    for name, counts in models.items():
        if not isinstance(counts, Counts):
            raise UsageError(
                f"{name}: expected Counts, found {type(counts).__name__}; snnenergy.count(model, inputs) counts a model, "
                "snnenergy.Counts.load(file) reads what was stored"
            )
    of_training(models)
    chips = [h if isinstance(h, Profile) else load_hardware(h) for h in hardware]
    chips = list({chip.name: chip for chip in chips}.values())
    rows = tuple(
        _named(name, estimate(counts, chip, batch=batch, bits=bits, pipeline=pipeline, strict_fit=strict_fit))
        for name, counts in models.items()
        for chip in chips
    )
    made = Comparison(dict(models), rows, profiles=tuple(chips), accuracy=_shares(accuracy or {}, models))
    return dataclasses.replace(made, verdict=sentence(made), notes=_notes(made))


def _shares(accuracy: Mapping[str, float], models: Mapping[str, Counts]) -> dict[str, float]:
    for name, share in accuracy.items():
        if name not in models:
            raise UsageError(f"accuracy: no model {name!r}; there are {', '.join(models)}")
        if not 0 <= share <= 1:
            raise UsageError(f"accuracy of {name}: expected a share from 0 to 1, found {share!r}")
    counted = {name: counts.answers.accuracy for name, counts in models.items()}
    return {name: share for name, share in counted.items() if share is not None} | dict(accuracy)


def _named(name: str, row: Estimate) -> Estimate:
    return dataclasses.replace(row, model=name)


def _notes(made: Comparison) -> tuple[str, ...]:
    notes = ["ratios take both sides at the same corner of every constant"] if len(made.models) > 1 else []
    for row in made.estimates:
        notes += [f"{row.hardware}: {line}" for line in row.caveats if line.startswith("MAC/AC = ")]
    widths = {n: sorted({x.weight_bits for x in c.layers if x.weight_bits}) for n, c in made.counts.items()}
    if len({tuple(w) for w in widths.values()}) > 1 and not any("bits" in e.options for e in made.estimates):
        words = ", ".join(f"{n} {'/'.join(map(str, w)) or 'unknown'}" for n, w in widths.items())
        notes.append(f"weights differ in width ({words} bits); pass one width for a comparison at matched precision")
    return tuple(dict.fromkeys(notes))
