"""An architecture priced with firing rates somebody gives, instead of data: labelled `assumed` wherever it goes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from snnenergy.cost.structure import upstream
from snnenergy.counts import Counts, Evidence, LayerCounts, Stream
from snnenergy.errors import UsageError, near

RATE_SAMPLES = 1_000_000
"""Counts are whole numbers and rates are not: they are counted over so many imagined inferences."""
SPIKES = Evidence(magnitudes=(1.0,), positive=True, zeros=True)

Rate = float | tuple[float | None, ...]
"""The share of a layer's inputs that spike; of several inputs one each, None where that one does not spike."""
Rates = Mapping[str, Rate]


def assume_rate(structure: Counts, rate: float) -> Counts:
    """`price_rates` with one rate for every neuron layer; UsageError where the model has none."""
    neurons = [layer.path for layer in structure.layers if layer.role == "neuron"]
    if not neurons:
        raise UsageError(
            f"{structure.model}: no spiking neuron was recognised, so nothing fires at {rate:g}; name neurons with "
            "--neuron PATH=LIF, or give rates by layer with --rates"
        )
    return price_rates(structure, dict.fromkeys(neurons, rate), f"every neuron fires at a rate of {rate:g}")


def price_rates(structure: Counts, rates: Rates, words: str = "") -> Counts:
    """The Counts of an architecture whose layers get inputs that spike at the given rates.

    rates: by path, 0 to 1.  A synaptic layer's is the share of its inputs that spike (one for each operand of a product
        of activations), a neuron layer's the share of updates that send a spike; a neuron layer's rate is also that of
        the layers it feeds, where those have none of their own.  Other synaptic layers keep the input they have; where
        that is not known, it is taken as analog and never zero.
    words: how the rates are named in reports
    Raises UsageError for what is no rate or no layer, and for neuron layers left without one.
    """
    paths = {layer.path: layer for layer in structure.layers}
    for path, given in rates.items():
        if path not in paths:
            raise UsageError(f"rates: no layer {path!r}{near(path, paths)}")
        for rate in given if isinstance(given, tuple) else (given,):
            _check(path, rate, optional=isinstance(given, tuple))
    before = {p: [s for s in ps if paths[s].role == "neuron"] for p, ps in upstream(paths).items()}
    layers = tuple(_assumed(r, structure, _rate(r, rates, before.get(r.path, []))) for r in structure.layers)
    words = words or f"firing rates of {len(rates)} layers"
    if not structure.seen:
        words += "; inputs that no neuron feeds are analog and never zero; no weight is zero"
    note = f"assumed firing rates ({len(rates)} layers), not measured"
    return dataclasses.replace(
        structure,
        layers=layers,
        samples=RATE_SAMPLES,
        forwards=_forwards(structure),
        conditions=dataclasses.replace(structure.conditions, inputs="", synthetic=True, assumed=words),
        identity=dataclasses.replace(structure.identity, notes=(*structure.identity.notes, note)),
    )


def _forwards(structure: Counts) -> int:
    """So many forwards hold the imagined inferences, in batches as large as those of the structure."""
    return round(Fraction(structure.forwards * RATE_SAMPLES, structure.samples))


def _check(path: str, rate: object, *, optional: bool) -> None:
    """Raises UsageError for what is no rate; a file of rates may hold anything."""
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not (rate is None and optional) and not (number and 0 <= rate <= 1):  # type: ignore[operator]  # a number there
        raise UsageError(f"rates: {path}: expected a share from 0 to 1, found {rate!r:.40}")


def _rate(layer: LayerCounts, rates: Rates, before: Sequence[str]) -> Rate | None:
    """A layer's own rate, or that of the neurons right before it, through whatever lies between."""
    if layer.path in rates:
        return rates[layer.path]
    if layer.role == "neuron":
        if rates:
            raise UsageError(f"rates: {layer.path!r} is a neuron layer without a rate; every neuron layer needs one")
        return None
    feeding = [rates[s] for s in before if s in rates]
    if len(feeding) > 1 and len(set(feeding)) > 1:
        raise UsageError(f"rates: {layer.path!r} is fed at several rates; give it one of its own")
    return feeding[0] if feeding else None


def _assumed(layer: LayerCounts, structure: Counts, rate: Rate | None) -> LayerCounts:
    """The layer over the imagined inferences, with events at that rate."""

    def many(count: int) -> int:
        return round(Fraction(count * RATE_SAMPLES, structure.samples))

    sums = "dense_macs valid_macs updates adds muls compares specials output_elements".split()
    changes: dict[str, Any] = {name: many(getattr(layer, name)) for name in sums}
    for name in ("calls", "kernels") if structure.forwards else ():  # as many in each forward as before
        changes[name] = round(Fraction(getattr(layer, name) * _forwards(structure), structure.forwards))
    grown = dataclasses.replace(layer, per_step=None, **changes)
    if layer.role == "neuron":
        spikes = round(grown.updates * rate) if isinstance(rate, int | float) else None
        return dataclasses.replace(grown, spikes_out=spikes)
    streams = [
        dataclasses.replace(s, elements=many(s.elements))
        if not s.seen
        else dataclasses.replace(
            s,
            elements=many(s.elements),
            nonzero=many(s.nonzero),
            driven=many(s.driven),
            effective=many(s.effective),
            unit_taps=None if s.unit_taps is None else many(s.unit_taps),
        )
        for s in layer.streams
    ]
    if rate is None and not grown.seen:
        streams = _spiking(grown, streams, (None,) * len(streams))
    elif rate is not None:
        streams = _spiking(grown, streams, rate)
    return dataclasses.replace(grown, streams=tuple(streams))


def _spiking(layer: LayerCounts, streams: list[Stream], rate: Rate) -> list[Stream]:
    """Streams of spikes at that rate; the taps they drive are the expected ones, rounded."""
    if not streams:
        raise UsageError(f"rates: {layer.path!r} has no input stream that could spike")
    each = rate if isinstance(rate, tuple) else (rate,) * len(streams)
    if len(each) != len(streams):
        raise UsageError(f"rates: {layer.path!r} has {len(streams)} inputs; {len(each)} rates were given")
    inputs = sum(s.elements for s in streams if s.operand == "a") or 1
    nonzero = layer.weights_nonzero / layer.weights if layer.weights else 1.0
    made = []
    for stream, own in zip(streams, each, strict=True):
        share = stream.elements / inputs if stream.operand == "a" else 0.0
        if own is None and not stream.seen:
            stream = dataclasses.replace(stream, nonzero=stream.elements, evidence=Evidence(many=True))
        dense = 0.0 if stream.seen else 1.0  # what is not known is taken as never zero
        joint = (
            math.prod(r for r in each if r is not None) if stream.pair is not None else dense if own is None else own
        )
        driven = round(layer.valid_macs * share * joint)  # both sides of a product must be there
        changed = dataclasses.replace(
            stream, driven=driven, effective=round(driven * nonzero), unit_taps=driven, seen=True
        )
        if stream.evidence.many:
            changed = dataclasses.replace(changed, unit_taps=None)
        if own is not None:
            changed = dataclasses.replace(changed, nonzero=round(stream.elements * own), evidence=SPIKES, override=None)
        made.append(changed)
    if all(s.pair is not None for s in made) and len(made) == 2:
        a, b = made
        return [dataclasses.replace(a, pair=b.evidence), dataclasses.replace(b, pair=a.evidence)]
    return made
