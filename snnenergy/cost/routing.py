"""Spikes between cores: one message per destination core, and the tiles it crosses, on the placement of `fit`."""

from __future__ import annotations

from collections.abc import Iterable

from snnenergy.cost.fit import Placement
from snnenergy.cost.records import Breakdown
from snnenergy.cost.run import Run, span
from snnenergy.cost.structure import Population


def spikes(run: Run, population: Population) -> float:
    """Spikes of a population per inference; a layer without recognised neurons sends none."""
    neuron = population.neuron
    return run.per(neuron.spikes_out or 0) if neuron is not None else 0.0


NEVER_SPIKES = "LI"
"""The neuron model that puts out its potential."""


def unseen(run: Run, mapped: Iterable[Population], placement: Placement | None) -> tuple[str, ...]:
    """Neurons whose spikes nobody saw, where the chip charges a spike itself or the messages that it makes."""
    events, memory = run.chip.energy, run.chip.memory
    each = events.spike is not None or (memory is not None and memory.dataflow == "per_event")
    sent = placement.targets if placement is not None and any((events.message, events.hop_ew, events.hop_ns)) else {}
    return tuple(
        p.path
        for p in mapped
        if p.neuron is not None and p.neuron.spikes_out is None and p.neuron.neuron_model != NEVER_SPIKES
        if each or sent.get(p.path)
    )


def routing_energy(run: Run, population: Population, placement: Placement) -> Breakdown:
    """Joules per inference of the messages that a population sends."""
    events = run.chip.energy
    fired = spikes(run, population)
    energy = span(events.message) * (fired * placement.destinations(population.path))
    for target, cores in placement.targets[population.path].items():
        east, north = _crossed(run, placement, population.path, target)
        energy = energy + span(events.hop_ew) * (fired * cores * east) + span(events.hop_ns) * (fired * cores * north)
    return Breakdown(routing=energy)


def _crossed(run: Run, placement: Placement, source: str, target: str) -> tuple[int, int]:
    """Tiles crossed along the rows and along the columns, between the middles of two populations."""
    capacity = run.chip.capacity
    if capacity is None or capacity.cores_per_tile is None or capacity.tile_columns is None:
        return 0, 0
    tiles = [
        (placement.first[path] + placement.cores[path] // 2) // capacity.cores_per_tile.value
        for path in (source, target)
    ]
    (row_a, column_a), (row_b, column_b) = (divmod(tile, capacity.tile_columns.value) for tile in tiles)
    return abs(column_a - column_b), abs(row_a - row_b)
