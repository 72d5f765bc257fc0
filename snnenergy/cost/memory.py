"""Where weights, states and activations lie, and what moving them costs; two ways operands move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from snnenergy.cost.records import ZERO, Range
from snnenergy.cost.run import Run, is_convolution, span
from snnenergy.counts import LayerCounts
from snnenergy.hardware.memory import Law, Level

STATE_BITS = 32


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bits that one layer moves per inference, with the batch sharing its weights, and joules of it."""

    bits: float = 0.0
    energy: Range = ZERO
    spilled: tuple[str, ...] = ()


def traffic(run: Run, layer: LayerCounts) -> Traffic:
    """What a layer moves on this chip; nothing where the profile has no memory."""
    memory = run.chip.memory
    if memory is None:
        return Traffic()
    return _streamed(run, layer) if memory.dataflow == "streamed" else _per_event(run, layer)


def _streamed(run: Run, layer: LayerCounts) -> Traffic:
    """Each call reads weights and inputs once and writes its outputs; states are read and written in every update."""
    weights = layer.parameters * run.weight_bits(layer) * run.calls(layer) / run.batch
    values = run.per(_inputs(layer) + layer.output_elements) * run.value_bits(layer)
    states = run.per(2 * layer.updates * layer.state_words) * STATE_BITS
    bits = weights + values + states
    assert run.chip.memory is not None  # the caller's check
    level = run.chip.memory.levels[-1]
    return Traffic(bits, span(level.per_bit) * bits)


def _inputs(layer: LayerCounts) -> int:
    return layer.elements or (layer.output_elements if layer.role != "synaptic" else 0)


def _per_event(run: Run, layer: LayerCounts) -> Traffic:
    """Every operation reads its operands from the memory its tensor lies in, and nothing is reused."""
    total, spilled = Traffic(), []
    for name, words, bits, accesses in _accesses(run, layer):
        energy, far = _access(run, words * bits, bits)
        if far:
            spilled.append(f"{layer.path}: {name} ({words * bits / 8192:,.0f} KiB) in {far}")
        total = Traffic(total.bits + accesses * bits, total.energy + energy * accesses, tuple(spilled))
    return total


def _accesses(run: Run, layer: LayerCounts) -> Iterator[tuple[str, float, int, float]]:
    """Name of a tensor, its words, bits per word, and its accesses per inference."""
    width, steps = run.value_bits(layer), run.steps
    outputs = run.per(layer.output_elements)
    if layer.role == "neuron":
        states = layer.neurons * max(1, layer.state_words)
        yield "states", states, STATE_BITS, 2 * run.per(layer.updates) * max(1, layer.state_words)
        yield "outputs", layer.neurons, width, run.per(layer.spikes_out or 0)
        return
    if layer.role != "synaptic":
        return
    spiking = all(s.is_ac for s in layer.streams) and bool(layer.streams)
    taps = run.per(layer.driven if spiking else layer.dense_macs)
    inputs = run.per(layer.elements)
    once = spiking or not is_convolution(layer)
    yield "weights", layer.weights, run.weight_bits(layer), taps
    yield "inputs", inputs / steps, width, (run.per(layer.nonzero) if spiking else inputs) if once else taps
    if layer.bias:
        yield "bias", layer.bias, run.weight_bits(layer), outputs
    if spiking:  # each event reads and writes the potential of its target
        yield "potentials", outputs / steps, STATE_BITS, 2 * taps
    else:
        yield "outputs", outputs / steps, width, outputs


def address_operations(run: Run, layer: LayerCounts) -> tuple[float, float]:
    """Adds and MACs that compute addresses, per inference, where every operation reads its operands."""
    if layer.role != "synaptic" or not layer.streams:
        return 0.0, 0.0
    if all(s.is_ac for s in layer.streams):
        return run.per(layer.driven), 2 * run.per(layer.nonzero)
    return run.per(layer.elements + layer.output_elements) + layer.weights, 0.0


def _access(run: Run, size: float, bits: int) -> tuple[Range, str]:
    """Joules per access of one value in a tensor of that many bits, and the level's name where it spilled."""
    memory = run.chip.memory
    assert memory is not None  # the caller's check
    for depth, level in enumerate(memory.levels):
        last = depth == len(memory.levels) - 1
        if last or level.capacity is None or size <= level.capacity.value:
            return _level_access(level, memory.law, size, bits), level.name if depth else ""
    raise AssertionError("a memory has at least one level")


def _level_access(level: Level, law: str | None, size: float, bits: int) -> Range:
    if level.laws and law is not None:
        energies = {name: _by_law(rule, size) for name, rule in level.laws.items()}
        low, high = min(e.low for e in energies.values()), max(e.high for e in energies.values())
        return Range(low, energies[law].nominal, high)
    if level.access is not None and level.width is not None:
        return span(level.access) * (bits / level.width)
    return span(level.per_bit) * bits


def _by_law(law: Law, size: float) -> Range:
    """Joules per access of a memory of that many bits."""
    if law.base is not None and law.per_bit is not None:
        return span(law.base) + span(law.per_bit) * size
    energy = interpolate([(p.size, p.energy) for p in law.points], size)
    return Range(energy, energy, energy)


def interpolate(points: list[tuple[float, float]], at: float) -> float:
    """Straight lines between points in ascending order; the nearest point's value outside of them."""
    if at <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return points[-1][1]
