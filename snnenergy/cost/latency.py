"""How long one inference takes, by the chip's own model of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from snnenergy.cost.fit import Placement
from snnenergy.cost.memory import interpolate, traffic
from snnenergy.cost.records import ZERO, Range
from snnenergy.cost.routing import spikes
from snnenergy.cost.run import Run, is_convolution, span
from snnenergy.cost.structure import Population
from snnenergy.counts import LayerCounts
from snnenergy.hardware.figures import Time
from snnenergy.hardware.profile import Barrier, FixedPhase, FixedTick, Roofline

CORNERS = ("low", "value", "high")


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds until the result (`latency`), seconds the chip is held (`occupied`), and what bounds it, in words."""

    latency: Range
    occupied: Range
    bound: str = ""
    notes: tuple[str, ...] = ()


def duration(run: Run, mapped: tuple[Population, ...], placement: Placement | None) -> Duration | None:
    """The time of one inference (of one batch on a processor); None where the chip has no model of it."""
    model = run.chip.latency
    if isinstance(model, Roofline):
        return _roofline(run, model)
    if not mapped:
        return None
    if isinstance(model, FixedTick):
        return _fixed(run, mapped, model.tick, "tick")
    if isinstance(model, FixedPhase):
        return _fixed(run, mapped, model.phase, "phase")
    if isinstance(model, Barrier) and placement is not None:
        return _barrier(run, mapped, placement, model)
    return None


def _depth(mapped: tuple[Population, ...]) -> int:
    """Steps that a spike needs from the first synaptic layer to the last."""
    depths = [p.depth for p in mapped if p.synaptic]
    return max(depths) - min(depths) + 1 if depths else 1


def _steps(run: Run, mapped: tuple[Population, ...]) -> tuple[int, str]:
    """Time steps held, and a sentence: a layer passes its spikes on one step later, unless inferences overlap."""
    fill = _depth(mapped) - 1
    if run.pipeline or not fill:
        words = (
            "inferences follow each other without a gap; the first result takes longer" if run.pipeline and fill else ""
        )
        return run.steps, words
    return run.steps + fill, f"{run.steps} time steps and {fill} more until the last layer has seen the last spikes"


def _fixed(run: Run, mapped: tuple[Population, ...], figure: Time, name: str) -> Duration:
    steps, words = _steps(run, mapped)
    time = span(figure) * steps
    return Duration(time, time, f"fixed {name}", (f"latency: {words}",) if words else ())


def _barrier(run: Run, mapped: tuple[Population, ...], placement: Placement, model: Barrier) -> Duration:
    steps, words = _steps(run, mapped)
    sync = [_sync(run, placement, model, corner) for corner in CORNERS]
    work = [[_slowest(run, mapped, placement, model, step, c) for step in range(run.steps)] for c in CORNERS]
    times = [sum(w) + steps * s for w, s in zip(work, sync, strict=True)]
    share = "synchronisation-bound" if steps * sync[1] > sum(work[1]) else "bound by the slowest core"
    notes = [f"latency: {words}"] if words else []
    if not any(w.per_step for p in mapped for w in p.synaptic):
        notes.append("latency: events per step were not recorded; every step is taken as the mean, so a lower bound")
    time = Range(times[0], times[1], times[2])
    return Duration(time, time, share, tuple(notes))


def _slowest(
    run: Run, mapped: Sequence[Population], placed: Placement, model: Barrier, step: int, corner: str
) -> float:
    """Seconds of the slowest core in one step; a layer's work is spread evenly over its cores."""
    return max(_work(run, p, placed, model, step, corner) / placed.cores[p.path] for p in mapped)


def _work(run: Run, population: Population, placed: Placement, model: Barrier, step: int, corner: str) -> float:
    def cost(figure: Time | None) -> float:
        return float(getattr(figure, corner)) if figure is not None else 0.0

    synapses = sum(
        _events(run, w, step) * cost(model.synop_conv if is_convolution(w) and model.synop_conv else model.synop)
        for w in population.synaptic
    )
    fired = spikes(run, population) / run.steps
    return (
        synapses
        + population.neurons * (cost(model.neuron_access) + cost(model.neuron_update))
        + fired * (cost(model.spike) + placed.destinations(population.path) * cost(model.message))
    )


def _events(run: Run, layer: LayerCounts, step: int) -> float:
    """Synaptic events of one step per inference; the mean where steps were not recorded."""
    nonzero = run.chip.charges.synapses == "nonzero"
    if layer.per_step is not None:
        row = layer.per_step.effective if nonzero else layer.per_step.driven
        if len(row) == run.steps:
            return run.per(row[step])
    return run.per(layer.effective if nonzero else layer.driven) / run.steps


def _sync(run: Run, placement: Placement, model: Barrier, corner: str) -> float:
    """The barrier's time over the tiles in use, on straight lines between the published ones."""
    capacity = run.chip.capacity
    per_tile = capacity.cores_per_tile.value if capacity and capacity.cores_per_tile else 1
    tiles = max(1, math.ceil(placement.total / per_tile))
    return interpolate([(row.tiles, float(getattr(row.time, corner))) for row in model.sync], tiles)


def _roofline(run: Run, model: Roofline) -> Duration | None:
    """Launches, then per layer the longer of arithmetic and memory; one batch."""
    if model.launch is None:
        return None
    launches, assumed = _kernels(run)
    launch = span(model.launch) * launches
    compute, memory, busy = ZERO, ZERO, ZERO
    for layer in run.counts.layers:
        work, move = _layer_times(run, layer)
        longer = move if move.nominal > work.nominal else work
        busy = busy + Range(max(work.low, move.low), longer.nominal, max(work.high, move.high))
        compute, memory = compute + work, memory + move
    bounds = {"launch-bound": launch.nominal, "compute-bound": compute.nominal, "bandwidth-bound": memory.nominal}
    notes = ("latency: kernel launches were not recorded; one per layer and call is taken",) if assumed else ()
    return Duration(launch + busy, launch + busy, max(bounds, key=bounds.__getitem__), notes)


def _kernels(run: Run) -> tuple[float, bool]:
    """Kernel launches of one forward, and whether they had to be assumed."""
    recorded = sum(layer.kernels for layer in run.counts.layers)
    if recorded and run.counts.forwards:
        return recorded / run.counts.forwards, False
    return sum(run.calls(layer) for layer in run.counts.layers), True


def _layer_times(run: Run, layer: LayerCounts) -> tuple[Range, Range]:
    """Seconds of a layer's arithmetic and of its memory traffic, for one batch."""
    peak = run.arithmetic(layer).peak
    operations = run.batch * run.per(2 * layer.dense_macs + layer.adds + layer.muls + layer.compares + layer.specials)
    work = Range(operations / peak.high, operations / peak.value, operations / peak.low) if peak else ZERO
    width = run.chip.memory.levels[-1].bandwidth if run.chip.memory else None
    bits = run.batch * traffic(run, layer).bits
    move = Range(bits / width.high, bits / width.value, bits / width.low) if width else ZERO
    return work, move
