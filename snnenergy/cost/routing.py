"""Spikes between cores: one message per destination core, and the tiles it crosses, on the placement of `fit`."""

from __future__ import annotations

from snnenergy.cost.fit import Placement
from snnenergy.cost.records import Breakdown
from snnenergy.cost.run import Run, span
from snnenergy.cost.structure import Population


def spikes(run: Run, population: Population) -> float:
    """Spikes of a population per inference; a layer without recognised neurons sends none."""
    neuron = population.neuron
    return run.per(neuron.spikes_out or 0) if neuron is not None else 0.0


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
