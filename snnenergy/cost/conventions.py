"""Counting conventions: the same Counts, as others would have counted and priced them.

A convention is data (`conventions/*.yaml`); it is applied to stored Counts at pricing time and never counts again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from snnenergy.cost.convention_charge import Charger, Ops, total
from snnenergy.cost.convention_rules import Convention
from snnenergy.counts import Counts
from snnenergy.errors import ProfileError, UsageError, near
from snnenergy.hardware.document import read, validate
from snnenergy.shipped import shipped

DEFAULT = "ours"


@dataclass(frozen=True, slots=True)
class ConventionLayer:
    """One layer under a convention, per inference; joules, or None where the convention has no prices."""

    path: str
    acs: float
    macs: float
    updates: float
    energy_joules: float | None


@dataclass(frozen=True, slots=True)
class ConventionResult:
    """One model under a convention, per inference.

    dense: dense taps of all layers under the convention's padding rule; ops: accumulates plus MACs, one or two each
    """

    model: str
    convention: str
    acs: float
    macs: float
    dense: float
    ops: float
    energy_joules: float | None
    layers: tuple[ConventionLayer, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConventionRow:
    """One model under one convention, beside the first model: energy of that one over this one's (ANN / SNN)."""

    convention: str
    model: str
    acs: float
    macs: float
    energy_joules: float | None
    ratio: float | None
    notes: tuple[str, ...] = ()


def load(name_or_path: str | os.PathLike[str]) -> Convention:
    """A convention by name (`spikformer`), name and variant (`keras_spiking:loihi`) or path.

    Raises UsageError with the nearest names, ProfileError with `file:line:col` for a file that is wrong.
    """
    text = os.fspath(name_or_path)
    if text.endswith((".yaml", ".yml")) or os.sep in text:
        return _read(Path(text))
    name, _, variant = text.partition(":")
    file = shipped("conventions") / f"{name}.yaml"
    known = sorted(p.stem for p in shipped("conventions").glob("*.yaml"))
    if name not in known:
        raise UsageError(f"no convention {name!r}{near(name, known)} (`snnenergy conventions list` shows them all)")
    convention = _read(file)
    if variant and variant not in convention.variants:
        raise UsageError(f"convention {name} has no variant {variant!r}{near(variant, convention.variants)}")
    return convention.variant(variant) if variant else convention


def list_conventions() -> tuple[Convention, ...]:
    """Every shipped convention: ours first, the others by name."""
    found = [_read(file) for file in sorted(shipped("conventions").glob("*.yaml"))]
    return tuple(sorted(found, key=lambda c: (c.name != DEFAULT, c.name)))


def _read(path: Path) -> Convention:
    document = read(path)
    convention = validate(document, Convention)
    if convention.name != path.stem:
        raise ProfileError(
            str(document.finding(("name",), f"expected {path.stem!r}, the name of the file, found {convention.name!r}"))
        )
    return convention


def apply(counts: Counts, convention: Convention | str | os.PathLike[str] = DEFAULT) -> ConventionResult:
    """The model as that convention counts and prices it, per inference."""
    rule = convention if isinstance(convention, Convention) else load(convention)
    if counts.samples < 1:
        raise UsageError(f"{counts.model}: no sample was recorded, so nothing can be said per inference")
    if counts.conditions.training:
        raise UsageError(f"{counts.model}: counted training steps; conventions count an inference")
    charger, each = Charger(counts, rule), 1 / counts.samples
    charged = {layer.path: charger.layer(layer) * each for layer in counts.layers}
    ops = total(charged.values())
    rows = tuple(
        ConventionLayer(path, part.acs, part.macs, part.updates, _joules(part, rule)) for path, part in charged.items()
    )
    synaptic = [layer for layer in counts.layers if layer.role == "synaptic"]
    return ConventionResult(
        model=counts.model,
        convention=rule.name,
        acs=ops.acs,
        macs=ops.macs,
        dense=sum(map(charger.dense, synaptic)) * each,
        ops=ops.acs + rule.rules.ops_per_mac * ops.macs,
        energy_joules=_joules(ops, rule),
        layers=rows,
        notes=(*ops.notes, *_warnings(counts), *rule.notes),
    )


def _joules(ops: Ops, rule: Convention) -> float | None:
    if rule.energy is None:
        return None
    return ops.acs * rule.energy.ac + ops.macs * rule.energy.mac + ops.updates * rule.energy.neuron


def _warnings(counts: Counts) -> tuple[str, ...]:
    """What a reader must know of the counts themselves."""
    notes = [note for note in counts.identity.notes if note.startswith("assumed")]
    if counts.uncounted:
        notes.append(f"{len(counts.uncounted)} operations are not counted and cost nothing here")
    if counts.conditions.synthetic and not notes:
        notes.append("synthetic input: activity means nothing")
    return tuple(notes)


def compare_all(models: Mapping[str, Counts]) -> tuple[ConventionRow, ...]:
    """Every model under every shipped convention; the first model is the one that others are compared with."""
    if not models:
        raise UsageError("a comparison of conventions needs at least one model")
    rows: list[ConventionRow] = []
    for convention in list_conventions():
        results = {name: apply(counts, convention) for name, counts in models.items()}
        base = next(iter(results.values())).energy_joules
        for name, made in results.items():
            ratio = base / made.energy_joules if base is not None and made.energy_joules else None
            rows.append(
                ConventionRow(convention.name, name, made.acs, made.macs, made.energy_joules, ratio, made.notes)
            )
    return tuple(rows)
