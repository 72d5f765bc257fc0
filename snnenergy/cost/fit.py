"""Does a network fit the chip: cores and chips by a stated simple placement, or which layer does not and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from snnenergy.cost.records import Fit
from snnenergy.cost.run import Run, plain_model
from snnenergy.cost.structure import Population
from snnenergy.counts import LayerCounts
from snnenergy.hardware.figures import Count
from snnenergy.hardware.profile import Capacity


@dataclass(frozen=True, slots=True)
class Placement:
    """Layers packed into cores in order: cores of each population and the first of them; destination cores per spike."""

    cores: Mapping[str, int]
    first: Mapping[str, int]
    targets: Mapping[str, Mapping[str, float]]

    @property
    def total(self) -> int:
        return sum(self.cores.values())

    def destinations(self, path: str) -> float:
        """Messages that one spike of a population makes: one per destination core."""
        return sum(self.targets[path].values())


def place(run: Run, mapped: tuple[Population, ...]) -> Placement | None:
    """Pack populations into cores in order; None where the profile has no cores."""
    capacity = run.chip.capacity
    if capacity is None or capacity.cores is None or not mapped:
        return None
    cores = {p.path: _cores(run, p, capacity) for p in mapped}
    fed: dict[str, list[Population]] = {p.path: [] for p in mapped}
    for q in mapped:
        for path in q.inputs:
            if path in fed:
                fed[path].append(q)
    for _ in range(PASSES):  # more cores here are more axons to here
        before = dict(cores)
        for p in reversed(mapped):
            cores[p.path] = _spread(p, fed[p.path], cores, capacity.axons_out_per_core)
        if cores == before:
            break
    targets = {p.path: _targets(p, fed[p.path], cores) for p in mapped}
    first, at = {}, 0
    for path, count in cores.items():
        first[path], at = at, at + count
    return Placement(cores, first, targets)


PASSES = 100
"""How often cores are spread over axons: one pass does where no layer leads back; what does not settle does not fit."""


def _targets(source: Population, fed: Iterable[Population], cores: Mapping[str, int]) -> dict[str, float]:
    """Destination cores of one spike, by the population that they belong to."""
    return {q.path: _reached(source, q, cores[q.path]) for q in fed}


def _spread(source: Population, fed: Iterable[Population], cores: Mapping[str, int], axons: Count | None) -> int:
    """Cores over which the axons out of a population fit; a neuron's own axons cannot be split."""
    if axons is None:
        return cores[source.path]
    needed = math.ceil(source.neurons * sum(_targets(source, fed, cores).values()) / axons.value)
    return max(cores[source.path], min(needed, source.neurons))


def _cores(run: Run, population: Population, capacity: Capacity) -> int:
    needs = [1]
    if capacity.neurons_per_core is not None:
        needs.append(math.ceil(population.neurons / capacity.neurons_per_core.value))
    if capacity.synapse_memory_per_core is not None:  # a convolution's weights are stored once and shared
        bits = sum(
            (w.weights_nonzero or w.weights) * held_bits(run, w.weight_bits, capacity) for w in population.synaptic
        )
        needs.append(math.ceil(bits / capacity.synapse_memory_per_core.value))
    if capacity.fan_in is not None:
        needs += [patch_cores(w, capacity.fan_in.value, capacity.neurons_per_core) for w in population.synaptic]
    return max(needs)


_SIZES = ("in_channels", "out_channels", "groups")
_AXES = ("output", "kernel", "stride", "dilation")


def patch_cores(layer: LayerCounts, axons: int, neurons_per_core: Count | None) -> int:
    """Cores of a convolution when neurons of a core share its axons: the square patch of outputs that needs fewest.

    One where the geometry is not known, varied over the run, or belongs to another operation.
    """
    sizes = _whole([layer.geometry.get(name) for name in _SIZES])
    axes = [_whole(layer.geometry.get(name)) for name in _AXES]
    rows = list(zip(*axes, strict=False))
    if "transpose" in layer.op or not sizes or not rows or any(channels % sizes[2] for channels in sizes[:2]):
        return 1
    channels_in, channels_out, groups = sizes
    held = neurons_per_core.value if neurons_per_core is not None else math.inf
    needed: list[int] = []
    for side in range(1, max(row[0] for row in rows) + 1):
        window = [min(side, out) for out, *_ in rows]
        reach = [
            (s - 1) * stride + dilation * (kernel - 1) + 1
            for s, (_, kernel, stride, dilation) in zip(window, rows, strict=True)
        ]
        inputs = channels_in // groups * math.prod(reach)
        if inputs > axons:
            break
        neurons = math.prod(window) * (channels_out // groups)
        together = max(1, min(axons // max(1, inputs), math.floor(min(held, 2**31) / max(1, neurons))))
        patches = math.prod(math.ceil(out / s) for s, (out, *_) in zip(window, rows, strict=True))
        needed.append(patches * math.ceil(groups / together) * max(1, math.ceil(neurons / held)))
    return min(needed, default=1)


def _whole(values: object) -> list[int]:
    """A list of positive ints, or an empty one for anything else that a file may hold."""
    if not isinstance(values, list | tuple) or not all(type(v) is int and v > 0 for v in values):
        return []
    return list(values)


def held_bits(run: Run, own: int, capacity: Capacity) -> int:
    """Bits a weight takes on the chip: as stated, or its own, and never more than the chip's."""
    wanted = run.bits or own or 32
    return min(wanted, capacity.weight_bits.value) if capacity.weight_bits is not None else wanted


def _reached(source: Population, target: Population, cores: int) -> float:
    """Destination cores of one spike: its fan-out lies side by side among the target's neurons, spread over its cores.

    A dense layer's fan-out is all of them; a convolution's is a patch, which crosses into the next core now and then.
    """
    reach = 1.0
    for layer in target.synaptic:
        if len(target.inputs) > 1 and layer.sources and source.path not in layer.sources:
            continue
        across = (_fan_out(source, target, layer) - 1) * cores / target.neurons if target.neurons else 0.0
        reach = max(reach, min(cores, 1 + across))
    return reach


def _fan_out(source: Population, target: Population, layer: LayerCounts) -> float:
    """Neurons that one spike reaches: recorded, or dense, or the mean of what was counted; else one."""
    if layer.fan_out or "linear" in layer.op:
        return layer.fan_out or target.neurons
    if not layer.seen:
        return 1.0
    fired = layer.nonzero or (source.neuron.spikes_out if source.neuron is not None else 0)
    return max(1.0, layer.driven / fired) if fired else 1.0


def fit(run: Run, mapped: tuple[Population, ...], placement: Placement | None, unsupported: Mapping[str, str]) -> Fit:
    """Whether everything fits.  unsupported: layers whose input the chip cannot take -> its domain."""
    problems = [f"layer {path}: {domain} input is not supported" for path, domain in unsupported.items()]
    if run.chip.family == "processor":
        return _memory_fit(run)
    capacity = run.chip.capacity
    if capacity is None:
        return Fit(fits=False if problems else None, problems=tuple(problems))
    for population in mapped:
        problems += _problems(run, population, capacity)
    if placement is None or capacity.cores is None:
        return Fit(fits=False if problems else None, problems=tuple(problems))
    problems += _axon_problems(mapped, placement, capacity.axons_out_per_core)
    chips = max(1, math.ceil(placement.total / capacity.cores.value))
    share = placement.total / (chips * capacity.cores.value)
    narrow = problems and all(map(is_width, problems))
    at_bits = capacity.weight_bits.value if narrow and capacity.weight_bits is not None else None
    return Fit(not problems, placement.total, chips, share, tuple(problems), at_bits)


def _problems(run: Run, population: Population, capacity: Capacity) -> Iterator[str]:
    fan_in = sum(w.fan_in for w in population.synaptic)
    name = population.synaptic[0].path if population.synaptic else population.path
    if capacity.fan_in is not None and fan_in > capacity.fan_in.value:
        yield f"layer {name}: fan-in {fan_in:,} > {capacity.fan_in.value:,}"
    models = run.chip.supports.neuron_models
    model = population.neuron.neuron_model if population.neuron is not None else None
    if models is not None and model and plain_model(model) not in map(plain_model, models):
        yield f"layer {population.path}: neuron model {model} is not among {', '.join(models)}"
    for layer in population.synaptic:
        bits = run.weight_bits(layer)
        if capacity.weight_bits is not None and bits > capacity.weight_bits.value:
            yield f"layer {layer.path}: {WEIGHTS} of {bits} bits > {capacity.weight_bits.value}"


def _axon_problems(mapped: tuple[Population, ...], placement: Placement, limit: Count | None) -> Iterator[str]:
    """Populations that send to more cores than theirs have axons: no number of cores helps."""
    if limit is None:
        return
    for p in mapped:
        if (axons := p.neurons * placement.destinations(p.path) / placement.cores[p.path]) > limit.value:
            yield f"layer {p.path}: {axons:,.0f} axons out of a core > {limit.value:,}"


WEIGHTS = "weights"
"""The word by which a problem of weight width is known: it goes away when the net is quantised."""


def is_width(problem: str) -> bool:
    return f": {WEIGHTS} of " in problem


def _memory_fit(run: Run) -> Fit:
    memory = run.chip.memory
    last = memory.levels[-1].capacity if memory else None
    if memory is None or last is None:
        return Fit()
    bits = sum(layer.parameters * run.weight_bits(layer) for layer in run.counts.forward)
    share = bits / last.value
    problem = f"weights of {bits / 8e9:.3g} GB > {last.value / 8e9:.3g} GB of {memory.levels[-1].name}"
    return Fit(share <= 1, None, 1, share, () if share <= 1 else (problem,))
