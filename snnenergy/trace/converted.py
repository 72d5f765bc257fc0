"""Counts of a converted net as its designer would have them: batch norms folded, pooled spikes as events, marked as predicted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from snnenergy.counts import Counts, Domain, LayerCounts, Stream

INPUT = "(input)"


def as_converted(counts: Counts, steps: int, names: Mapping[str, str]) -> Counts:
    """The counted steps as Counts of the net that a conversion would give.

    names: path of each population in `counts` -> the path it is to have, where no other layer has that
    """
    taken = {layer.path for layer in counts.layers}
    named = folded(_renamed(counts, {old: new for old, new in names.items() if new not in taken}))
    pooled = {layer.path: layer.sources for layer in named.layers if _takes_pooled_spikes(named, layer)}
    pools = {source for sources in pooled.values() for source in sources}
    layers = tuple(_layer(layer, counts.samples * steps, pooled, pools) for layer in named.layers)
    return replace(
        named,
        time_steps=steps,
        layers=layers,
        conditions=replace(named.conditions, predicted="rate-coded conversion of an ANN"),
        identity=replace(named.identity, time_steps=steps),
    )


def _layer(layer: LayerCounts, sample_steps: int, pooled: Collection[str], pools: Collection[str]) -> LayerCounts:
    if layer.role == "neuron":
        return replace(layer, neurons=layer.updates // sample_steps)
    if layer.path in pooled:
        return replace(layer, streams=tuple(map(_events, layer.streams)), per_step=None)
    return replace(layer, foldable=True) if layer.path in pools and layer.role == "other" else layer


def _takes_pooled_spikes(counts: Counts, layer: LayerCounts) -> bool:
    """What a step's pool makes of its spikes has many sizes; but pooling is linear, so each can be passed on by itself."""
    graded = any(s.domain is Domain.GRADED for s in layer.streams)
    whole = all(s.unit_taps is not None and s.pair is None for s in layer.streams)
    return graded and whole and layer.role == "synaptic" and _only_spikes(counts, layer.sources)


def _events(stream: Stream) -> Stream:
    """Every spike of a pooled stream as an event of its own: taps are its unit taps, and the pool's weight is the synapse's."""
    assert stream.unit_taps is not None  # the caller's check
    share = stream.effective / stream.driven if stream.driven else 0.0
    return replace(
        stream,
        driven=stream.unit_taps,
        effective=round(stream.unit_taps * share),
        override=Domain.SPIKE,
    )


def _renamed(counts: Counts, names: Mapping[str, str]) -> Counts:
    """The same layers under other paths, wherever a path stands."""
    if not names:
        return counts

    def new(path: str) -> str:
        return names.get(path, path)

    layers = tuple(
        replace(
            layer,
            path=new(layer.path),
            sources=tuple(map(new, layer.sources)),
            streams=tuple(replace(s, source=None if s.source is None else new(s.source)) for s in layer.streams),
        )
        for layer in counts.layers
    )
    return replace(counts, layers=layers)


def folded(counts: Counts) -> Counts:
    """Without the batch norms that stand directly behind a linear map: its weights take the scale, a bias the shift."""
    rows = {layer.path: layer for layer in counts.layers}
    into = {
        layer.path: layer.sources[0]
        for layer in counts.layers
        if layer.foldable and len(layer.sources) == 1 and rows.get(layer.sources[0], layer).role == "synaptic"
    }
    shifts = {source: rows[path] for path, source in into.items()}
    kept = tuple(
        _shifted(layer, shifts[layer.path]) if layer.path in shifts else layer
        for layer in counts.layers
        if layer.path not in into
    )
    return _renamed(replace(counts, layers=kept), into)


def _shifted(layer: LayerCounts, norm: LayerCounts) -> LayerCounts:
    """A linear map that took a norm's shift: one addition per output, and a bias if it had none."""
    channels = layer.geometry.get("out_channels", layer.geometry.get("out_features", 0))
    if layer.bias:
        return layer
    return replace(layer, bias=channels if isinstance(channels, int) else 0, adds=layer.adds + norm.muls)


def _only_spikes(counts: Counts, sources: Collection[str]) -> bool:
    """Whether all of these lead back to neurons, through whatever arithmetic lies between."""
    rows = {layer.path: layer for layer in counts.layers}
    seen: set[str] = set()
    todo = list(sources) or [INPUT]
    while todo:
        path = todo.pop()
        row = rows.get(path)
        if row is None or row.role == "synaptic":
            return False
        if row.role == "other" and path not in seen:
            seen.add(path)
            todo.extend(row.sources or (INPUT,))
    return True
