"""How long one inference takes, by the chip's own model of time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from itertools import repeat

from snnenergy.cost.fit import Placement
from snnenergy.cost.memory import interpolate
from snnenergy.cost.records import Duration, Range
from snnenergy.cost.roofline import roofline
from snnenergy.cost.routing import spikes
from snnenergy.cost.run import Run, is_convolution, named, span
from snnenergy.cost.structure import Population
from snnenergy.counts import LayerCounts
from snnenergy.hardware.figures import Time
from snnenergy.hardware.profile import Barrier, FixedPhase, FixedTick, Roofline

CORNERS = ("low", "value", "high")


def duration(
    run: Run, mapped: tuple[Population, ...], placement: Placement | None, apart: Collection[str] = ()
) -> Duration | None:
    """The time of one inference (of one batch on a processor); None where the chip has no model of it.

    apart: paths of layers that the chip does not run, whose work takes none of its time
    """
    model = run.chip.latency
    if isinstance(model, Roofline):
        return roofline(run, model, apart)
    if not mapped:
        return None
    if isinstance(model, FixedTick):
        return _fixed(run, mapped, model.tick, "tick")
    if isinstance(model, FixedPhase):
        return _fixed(run, mapped, model.phase, "phase")
    if isinstance(model, Barrier) and placement is not None:
        return _barrier(run, mapped, placement, model, apart)
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
    own = "1 time step" if run.steps == 1 else f"{run.steps} time steps"
    return run.steps + fill, f"{own} and {fill} more until the last layer has seen the last spikes"


def _fixed(run: Run, mapped: tuple[Population, ...], figure: Time, name: str) -> Duration:
    steps, words = _steps(run, mapped)
    time = span(figure) * steps
    return Duration(time, time, f"fixed {name}", (f"latency: {words}",) if words else ())


def _barrier(
    run: Run, mapped: tuple[Population, ...], placement: Placement, model: Barrier, apart: Collection[str]
) -> Duration:
    steps, words = _steps(run, mapped)
    sync = [_sync(run, placement, model, corner) for corner in CORNERS]
    here = [dataclasses.replace(p, synaptic=tuple(w for w in p.synaptic if w.path not in apart)) for p in mapped]
    driven = [w for p in here for w in p.synaptic]
    means = [w.path for w in driven if _row(run, w) is None]
    work = [_worked(run, here, placement, model, c, each_step=len(means) < len(driven)) for c in CORNERS]
    times = [w + steps * s for w, s in zip(work, sync, strict=True)]
    share = "synchronisation-bound" if steps * sync[1] > work[1] else "bound by the slowest core"
    notes = [f"latency: {words}"] if words else []
    if means:
        of = "" if len(means) == len(driven) else f" of {named(means)}"
        notes.append(
            f"latency: events per step{of} were not recorded; every step is taken as the mean, so a lower bound"
        )
    time = Range(times[0], times[1], times[2])
    return Duration(time, time, share, tuple(notes))


def _worked(
    run: Run, mapped: Sequence[Population], placed: Placement, model: Barrier, corner: str, *, each_step: bool
) -> float:
    """Seconds of the slowest cores over all steps; where no step was recorded every one is the mean, worked out once."""
    if each_step:
        return sum(_slowest(run, mapped, placed, model, step, corner) for step in range(run.steps))
    return sum(repeat(_slowest(run, mapped, placed, model, 0, corner), run.steps))


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
    own = {w.path for w in population.synaptic}
    learnt = sum(run.per(r.synapse_updates) for r in run.counts.learning if own & {*r.sources}) / run.steps
    return (
        synapses
        + learnt * cost(model.synapse_update)
        + population.neurons * (cost(model.neuron_access) + cost(model.neuron_update))
        + fired * (cost(model.spike) + placed.destinations(population.path) * cost(model.message))
    )


def _events(run: Run, layer: LayerCounts, step: int) -> float:
    """Synaptic events of one step per inference; the mean where steps were not recorded."""
    row = _row(run, layer)
    if row is not None:
        return run.per(row[step])
    return run.per(layer.effective if run.chip.charges.synapses == "nonzero" else layer.driven) / run.steps


def _row(run: Run, layer: LayerCounts) -> tuple[int, ...] | None:
    """Synaptic events of each step, all samples; None where they were not recorded for every step."""
    if layer.per_step is None:
        return None
    row = layer.per_step.effective if run.chip.charges.synapses == "nonzero" else layer.per_step.driven
    return row if len(row) == run.steps else None


def _sync(run: Run, placement: Placement, model: Barrier, corner: str) -> float:
    """The barrier's time over the tiles in use, on straight lines between the published ones."""
    capacity = run.chip.capacity
    per_tile = capacity.cores_per_tile.value if capacity and capacity.cores_per_tile else 1
    tiles = max(1, math.ceil(placement.total / per_tile))
    return interpolate([(row.tiles, float(getattr(row.time, corner))) for row in model.sync], tiles)
