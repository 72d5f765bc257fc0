"""The same net at another activity or for more time steps: Counts made of Counts, to be priced again."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from snnenergy.counts import Counts, LayerCounts, PerStep


def is_spiking(layer: LayerCounts) -> bool:
    """Whether nothing but spikes and ternary events drives it."""
    return bool(layer.streams) and all(s.is_ac for s in layer.streams)


def rate(snn: Counts) -> float:
    """Spikes per synapse and time step of the spiking layers: driven, non-zero-weight taps over dense taps."""
    spiking = [layer for layer in snn.layers if is_spiking(layer)]
    dense = sum(layer.dense_macs for layer in spiking)
    return sum(layer.effective for layer in spiking) / dense if dense else 0.0


def scaled(snn: Counts, factor: float) -> Counts:
    """Every neuron and every spiking layer at so many times its activity, rounded down; other inputs arrive as they did.

    factor: 0 (silence) to `most(snn)`
    """
    return replace(snn, layers=tuple(_scaled(layer, factor) for layer in snn.layers))


def most(snn: Counts) -> float:
    """The factor at which the first layer is driven, or fires, at all places in all steps; infinite where nothing is active."""
    ends = [1.0 * layer.updates / layer.spikes_out for layer in snn.layers if layer.updates and layer.spikes_out]
    for layer in filter(is_spiking, snn.layers):
        ends += [s.elements / s.nonzero for s in layer.streams if s.nonzero]
        ends += [layer.dense_macs / layer.driven] if layer.driven else []
    return min(ends, default=math.inf)


def _scaled(layer: LayerCounts, factor: float) -> LayerCounts:
    spiking = is_spiking(layer)
    streams = layer.streams
    if spiking:
        streams = tuple(
            replace(s, nonzero=int(s.nonzero * factor), driven=int(s.driven * factor), effective=int(s.effective * factor),
                    unit_taps=None if s.unit_taps is None else int(s.unit_taps * factor))
            for s in streams
        )  # fmt: skip  # one record, read across
    spikes = None if layer.spikes_out is None else int(layer.spikes_out * factor)
    steps = None if layer.per_step is None else _at(layer.per_step, factor, spiking)
    return replace(layer, streams=streams, spikes_out=spikes, per_step=steps)


def _at(steps: PerStep, factor: float, spiking: bool) -> PerStep:
    effective, driven, out = (
        tuple(int(n * factor) for n in row) for row in (steps.effective, steps.driven, steps.spikes_out)
    )
    return PerStep(effective, driven, out) if spiking else replace(steps, spikes_out=out)


def doubled(snn: Counts) -> Counts:
    """The same net at twice its time steps, with the same activity in each."""
    assert snn.time_steps is not None  # the caller asks for no other
    return replace(snn, time_steps=2 * snn.time_steps, layers=tuple(map(_twice, snn.layers)))


def apart(snn: Counts) -> tuple[Counts, Counts]:
    """The same net without a spike, and at twice its time steps; one net is asked for them on many chips."""
    return _apart(_Same(snn))


class _Same:
    """Counts, which hold dicts, as the key of a cache: equal only to themselves."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.counts is other.counts

    def __hash__(self) -> int:
        return id(self.counts)


@lru_cache(maxsize=16)
def _apart(snn: _Same) -> tuple[Counts, Counts]:
    return scaled(snn.counts, 0), doubled(snn.counts)


def _twice(layer: LayerCounts) -> LayerCounts:
    steps = layer.per_step
    rows = None if steps is None else PerStep(steps.effective * 2, steps.driven * 2, steps.spikes_out * 2)
    return replace(layer + layer, per_step=rows)
