"""From what a recorder saw to Counts: plans times forwards, tallies to streams, rows to time steps."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snnenergy.counts import (
    COPIES,
    LEARNING,
    Conditions,
    Counts,
    Coverage,
    Evidence,
    Identity,
    LayerCounts,
    PerStep,
    Stream,
    Uncounted,
    weighted_by,
)
from snnenergy.frameworks import neurons, state_words
from snnenergy.trace import clock, digest
from snnenergy.trace.learning import Learnt, name_of
from snnenergy.trace.rest import left_note
from snnenergy.trace.structure import Structure, Work

if TYPE_CHECKING:
    from snnenergy.trace.arrays import Rows
    from snnenergy.trace.recorder import Recorder
    from snnenergy.trace.sites import Segment, Site
    from snnenergy.trace.streams import Tally
    from snnenergy.trace.watch import Plan

RULES_VERSION = 1


def assemble(rec: Recorder) -> Counts:
    plans = [p for p in (*rec.retired, *rec.plans.values()) if p.forwards]
    work = _work(plans)
    steps = rec.steps
    time_steps = steps.pop() if len(steps) == 1 else None
    order = plans[-1].clock.order if plans else "TN"
    runs = sum(p.forwards * p.clock.samples * (p.clock.steps or 1) for p in plans)
    sites: dict[str, list[Site]] = {}
    for site in rec.layers.sites.values():
        sites.setdefault(site.path, []).append(site)
    layers = tuple(
        _layer(rec, s, work[path], sites.get(path, []), time_steps, order, runs)
        for path, s in rec.layers.structures.items()
        if path in work
    )
    moved = sum(layer.kernels for layer in layers if _empty(layer))
    layers = tuple(_learnt(rec, tuple(layer for layer in layers if not _empty(layer))))
    if moved:
        layers += (LayerCounts(COPIES, op="copy", kernels=moved),)
    layers = tuple(map(_with_model, layers))
    used = set().union(*(p.used for p in plans)) if plans else set()
    return Counts(
        model=rec.name,
        samples=rec.samples,
        forwards=rec.forwards,
        time_steps=time_steps,
        layers=layers,
        uncounted=_ledger(rec, used),
        coverage=_coverage(rec, plans, used),
        conditions=Conditions(
            inputs=_inputs_digest(rec, layers), seed=rec.seed, rules=RULES_VERSION, synthetic=rec.synthetic
        ),
        identity=_identity(rec, layers, time_steps, plans[-1].clock.source if plans else ""),
    )


def _work(plans: list[Plan]) -> dict[str, Work]:
    """Value-free work of all forwards, by path."""
    if len(plans) == 1 and plans[0].forwards == 1:
        return plans[0].work
    total: dict[str, Work] = {}
    for plan in plans:
        for path, row in plan.work.items():
            total.setdefault(path, Work()).add(row, plan.forwards)
    return total


def _inputs_digest(rec: Recorder, layers: tuple[LayerCounts, ...]) -> str:
    """Empty where the inputs were shapes: those are nobody's data."""
    return f"{rec.fingerprint.total:032x}" if all(layer.seen for layer in layers) else ""


def _empty(layer: LayerCounts) -> bool:
    """A path that only moved values: its kernels are launched, but it is no layer of arithmetic."""
    figures = (layer.dense_macs, layer.adds, layer.muls, layer.compares, layer.specials, layer.updates)
    return layer.role == "other" and not any(figures)


def inputs_of(rec: Recorder, path: str, sites: list[Site]) -> list[Site]:
    """Those of a path's sites that are operands; the other one is a neuron's output."""
    spikes = rec.layers.sites.get((path, "spikes"))
    return [site for site in sites if site is not spikes]


def _layer(
    rec: Recorder, s: Structure, w: Work, sites: list[Site], steps: int | None, order: str, runs: int
) -> LayerCounts:
    """runs: time steps of all samples, of which each updates a neuron once"""
    inputs, spikes = inputs_of(rec, s.path, sites), rec.layers.known_spikes(s.path)
    streams = tuple(stream for site in inputs for stream in _streams(site))
    heard = rec.activities.get(s.path) if spikes is not None else None
    silent, saturated = heard.pair if heard is not None else (None, None)
    return LayerCounts(
        path=s.path,
        role=s.role,
        op=s.op,
        module_type=s.module_type,
        sources=tuple(sorted(s.sources)),
        dense_macs=w.dense_macs,
        valid_macs=w.valid_macs,
        streams=streams,
        neuron_model=s.neuron_model,
        neurons=w.updates // max(1, runs) if s.role == "neuron" else 0,
        updates=w.updates,
        spikes_out=sum(t.totals[0] for t in spikes.tallies) if spikes is not None else None,
        silent=silent,
        saturated=saturated,
        state_words=state_words(rec.names.at(s.path), s.neuron_model),
        adds=w.adds,
        muls=w.muls,
        compares=w.compares,
        specials=w.specials,
        weights=sum(n for n, _ in s.weights.values()),
        weights_nonzero=sum(n for _, n in s.weights.values()),
        weight_bits=s.weight_bits,
        bias=sum(s.biases.values()),
        output_elements=w.output_elements,
        input_bits=s.input_bits,
        output_bits=s.output_bits,
        fan_in=s.fan_in,
        fan_out=s.fan_out,
        geometry=dict(s.geometry),
        foldable=s.foldable,
        per_step=_per_step(inputs, spikes, steps, order),
        calls=w.calls,
        kernels=w.kernels,
    )


def _learnt(rec: Recorder, layers: tuple[LayerCounts, ...]) -> Iterator[LayerCounts]:
    """The layers, with what the learning rules did; a synapse that learns is stored, and may be zero only now."""
    done = rec.learning.done
    homes = {path: _home(rec, rec.learning.rules[path].weight) for path in done}
    stored = set(homes.values())
    for layer in layers:
        if layer.path in rec.learning.rules:
            did, home = done.get(layer.path, Learnt()), homes.get(layer.path)
            yield replace(
                layer,
                phase=LEARNING,
                sources=(home,) if home else (),
                synapse_updates=did.updates,
                trace_updates=did.traces,
                geometry={"synapses": did.synapses} if did.synapses else {},
            )
        else:
            yield replace(layer, weights_nonzero=layer.weights) if layer.path in stored else layer


def _home(rec: Recorder, weight: Tensor) -> str | None:
    """The layer whose weight this is."""
    name = name_of(rec, weight)
    return next((s.path for s in rec.layers.structures.values() if any(_named(key) == name for key in s.weights)), None)


def _named(key: object) -> object:
    return key[0] if isinstance(key, tuple) else None


def _with_model(layer: LayerCounts) -> LayerCounts:
    """A neuron whose arithmetic ran out of sight (in a kernel without a rule) costs what its model's update does."""
    update = neurons.update(layer.neuron_model) if layer.role == "neuron" else None
    if update is None or layer.adds or layer.muls or layer.compares or layer.specials:
        return layer
    n = layer.updates
    return replace(
        layer, adds=n * update.adds, muls=n * update.muls, compares=n * update.compares, specials=n * update.specials
    )


def _streams(site: Site) -> list[Stream]:
    return [_stream(segment, tally, site) for segment, tally in zip(site.segments, site.tallies, strict=True)]


def _stream(segment: Segment, tally: Tally, site: Site) -> Stream:
    nonzero, driven, effective = tally.totals
    evidence, other = tally.evidence(neuron=site.neuron, nonzero=nonzero), site.partner
    stream = Stream(
        source=segment.source,
        operand=site.operand,
        elements=tally.elements,
        nonzero=nonzero,
        driven=driven,
        effective=effective,
        unit_taps=_units(evidence, tally, driven) if tally.seen else None,
        evidence=evidence,
        pair=None if other is None else other.tallies[0].evidence(neuron=other.neuron),
        override=segment.override,
        seen=tally.seen,
    )
    return (
        stream if other is None or not tally.seen else replace(stream, unit_taps=_units_of_pair(stream, tally, other))
    )


def _units(scale: Evidence, tally: Tally, driven: int) -> int | None:
    """Sum of |value| x taps / s, an integer by construction; None where no s exists, or the sum is not known.

    scale: the evidence of the tally
    """
    if not driven:
        return 0
    unit, total = scale.unit, tally.magnitudes.alone * driven or tally.value_taps
    return None if unit is None or math.isnan(total) else round(total / unit)


def _units_of_pair(stream: Stream, tally: Tally, other: Site) -> int | None:
    """Of a product of activations, whose taps stand on one operand and are weighed by the graded one."""
    if stream.operand == "b":
        return 0
    scale = weighted_by(stream)
    if scale is None:
        return stream.driven
    return _units(scale, tally if scale is stream.evidence else other.tallies[0], stream.driven)


def _per_step(inputs: list[Site], spikes: Site | None, steps: int | None, order: str) -> PerStep | None:
    """Totals per step, or None where the steps of some stream cannot be told apart."""
    if not steps:
        return None

    def fold(sites: list[Site]) -> Rows | None:
        kept = [rows for site in sites if site.operand == "a" for t in site.tallies for rows in t.rows.values()]
        return clock.add_steps([clock.per_step(rows, steps, order) for rows in kept])

    def line(found: Rows | None, row: int) -> tuple[int, ...]:
        return tuple(map(int, found[row].tolist())) if found is not None else ()

    taps, fired = fold(inputs), fold([spikes]) if spikes is not None else None
    if taps is None and fired is None:
        return None
    return PerStep(effective=line(taps, 2), driven=line(taps, 1), spikes_out=line(fired, 0))


def _sizes(rec: Recorder) -> dict[str, int]:
    return {r.name: r.stop - r.start for rows in rec.lineage.owners.values() for r in rows if r.parameter}


def _ledger(rec: Recorder, used: set[str]) -> tuple[Uncounted, ...]:
    lost = rec.lost
    rows = [
        Uncounted(path, op, row.calls, sum(row.parameters.values()), row.reason) for (path, op), row in lost.items()
    ]
    rows += [Uncounted("(forward)", "forward", n, 0, why) for why, n in rec.lost_forwards.items()]
    held = {name for row in lost.values() for name in row.parameters}
    busy = {name.rpartition(".")[0] for name in (*used, *held)}
    idle: dict[str, int] = {}
    for name, size in _sizes(rec).items():
        if name not in used and name not in held:
            owner = name.rpartition(".")[0]
            path = name if owner in busy else owner or "(root)"
            idle[path] = idle.get(path, 0) + size
    rows += [Uncounted(path, "uncalled", 0, size, "never used in the recorded forwards") for path, size in idle.items()]
    return tuple(sorted(rows, key=lambda r: (r.path, r.op, r.reason)))


def _coverage(rec: Recorder, plans: list[Plan], used: set[str]) -> Coverage:
    sizes = _sizes(rec)
    lost = rec.lost
    held = {name for row in lost.values() for name in row.parameters}
    lost_calls = sum(row.calls for row in lost.values()) + sum(rec.lost_forwards.values())
    total_calls = sum(p.arithmetic_calls * p.forwards for p in plans) + sum(rec.lost_forwards.values())
    ran = {name for name in sizes if name in used or name in held}
    return Coverage(
        parameters_counted=sum(sizes[n] for n in ran - held),
        parameters_total=sum(sizes[n] for n in ran),
        calls_counted=total_calls - lost_calls,
        calls_total=total_calls,
    )


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        found["snnenergy"] = version("snnenergy")
    except PackageNotFoundError:
        found["snnenergy"] = "not installed"
    return found


def _identity(rec: Recorder, layers: tuple[LayerCounts, ...], steps: int | None, time_source: str) -> Identity:
    notes = [f"surveyed {rec.surveyed} of {rec.forwards} forwards"]
    if len(rec.steps) > 1:
        lengths = " and ".join(map(str, sorted(n or 1 for n in rec.steps)))
        notes.append(f"T differs between forwards ({lengths} steps): nothing is told step by step")
    if steps:
        notes.append(f"T = {steps} steps, {rec.samples} samples ({time_source})")
    notes += left_note(rec.state_left)
    notes += rec.learning.notes()
    if not all(layer.seen for layer in layers):
        notes.append("counted from shapes, without values: no weight is taken as zero")
    structure = [
        (la.path, la.role, la.op, la.weights, la.fan_in, la.fan_out, dict(la.geometry))
        for la in layers
        if la.path != COPIES
    ]
    dtype = next((str(p.dtype).removeprefix("torch.") for p in rec.model.parameters()), "")
    return Identity(
        weights=rec.weights_then or digest.weights(rec.tree, rec.weights.nonzero()),
        architecture=digest.architecture(structure),
        time_steps=steps,
        dtype=dtype,
        versions=_versions(),
        notes=tuple(notes),
    )
