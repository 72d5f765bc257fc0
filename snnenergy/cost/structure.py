"""Which layers end on which neurons: the populations that a chip maps, in order, with who feeds whom."""

from __future__ import annotations

from dataclasses import dataclass

from snnenergy.counts import LEARNING, Counts, LayerCounts


@dataclass(frozen=True, slots=True)
class Population:
    """Neurons that are mapped together, and the synaptic layers that end on them.

    neuron: the neuron layer, or None where none was recognised: then each output element per step is one neuron
    inputs: paths of the populations that feed it; depth: longest way from the input, one being the first
    """

    path: str
    neuron: LayerCounts | None
    synaptic: tuple[LayerCounts, ...]
    neurons: int
    inputs: tuple[str, ...] = ()
    depth: int = 1


def populations(counts: Counts) -> tuple[Population, ...]:
    """Every population of a model, in the order of its layers."""
    rows = {layer.path: layer for layer in counts.layers}
    before = upstream(rows)
    ends = _ends(rows, before)
    homes = {layer.path: path for path, layers in ends.items() for layer in layers} | {path: path for path in ends}
    depths: dict[str, int] = {}
    made: list[Population] = []
    for path, synaptic in ends.items():
        inputs = tuple(dict.fromkeys(homes[s] for w in synaptic for s in before[w.path]))
        depths[path] = 1 + max((depths.get(i, 0) for i in inputs), default=0)
        neuron = rows[path] if rows[path].role == "neuron" else None
        made.append(Population(path, neuron, synaptic, neurons_of(counts, rows[path]), inputs, depths[path]))
    return tuple(made)


def neurons_of(counts: Counts, layer: LayerCounts) -> int:
    """Neurons of a neuron layer; of a synaptic one, its output elements per sample and step."""
    if layer.role == "neuron":
        return layer.neurons
    return -(-layer.output_elements // (counts.samples * (counts.time_steps or 1)))


def _ends(rows: dict[str, LayerCounts], before: dict[str, list[str]]) -> dict[str, tuple[LayerCounts, ...]]:
    """Path of a neuron layer, or of a synaptic layer without one, to the synaptic layers that end there."""
    taken = _by_source(rows, before)
    taken = _by_order(rows, taken) | taken
    ends: dict[str, list[LayerCounts]] = {}
    for layer in rows.values():
        if layer.role == "synaptic":
            ends.setdefault(taken.get(layer.path, layer.path), []).append(layer)
        elif layer.role == "neuron":
            ends.setdefault(layer.path, [])
    return {path: tuple(ends[path]) for path in rows if path in ends}


def _by_source(rows: dict[str, LayerCounts], before: dict[str, list[str]]) -> dict[str, str]:
    """Synaptic layer -> the one neuron layer that names it, through whatever lies between, as its source.

    A model's own forward is one row, whatever it adds up where: a layer that several neurons lead to through it says nothing.
    """
    found: dict[str, list[str]] = {}
    for layer in rows.values():
        if layer.role == "neuron":
            for path in before[layer.path]:
                found.setdefault(path, []).append(layer.path)
    return {path: ends[0] for path, ends in found.items() if len(ends) == 1 and rows[path].role == "synaptic"}


def _by_order(rows: dict[str, LayerCounts], taken: dict[str, str]) -> dict[str, str]:
    """A neuron layer that no source leads to takes the free synaptic layers since the neurons before it.

    A layer with fewer outputs than there are neurons is another branch's end and is not taken.
    """
    found: dict[str, str] = {}
    waiting: list[LayerCounts] = []
    reached = set(taken.values())
    for layer in rows.values():
        if layer.role == "synaptic" and layer.path not in taken:
            waiting.append(layer)
        elif layer.role == "neuron":
            if layer.path not in reached:
                found |= {w.path: layer.path for w in waiting if not 0 < w.output_elements < layer.updates}
            waiting = []
    return found


def upstream(rows: dict[str, LayerCounts]) -> dict[str, list[str]]:
    """For each synaptic and neuron layer the nearest such layers before it, through whatever lies between.

    Where no layer names a source, as in counts written by hand, the layer before it in order.
    """
    mapped = [layer for layer in rows.values() if layer.role != "other"]
    if not any(layer.sources for layer in rows.values() if layer.phase != LEARNING):
        return {layer.path: [mapped[i - 1].path] if i else [] for i, layer in enumerate(mapped)}
    sources = _sources(rows)
    return {layer.path: _nearest(rows, sources, layer) for layer in mapped}


def _sources(rows: dict[str, LayerCounts]) -> dict[str, tuple[str, ...]]:
    """Sources of every layer; what lies between and names none follows the synaptic or neuron layer before it."""
    found: dict[str, tuple[str, ...]] = {}
    last: tuple[str, ...] = ()
    for layer in rows.values():
        found[layer.path] = layer.sources or (last if layer.role == "other" else ())
        if layer.role != "other":
            last = (layer.path,)
    return found


def _nearest(rows: dict[str, LayerCounts], sources: dict[str, tuple[str, ...]], layer: LayerCounts) -> list[str]:
    found: dict[str, None] = {}
    seen, todo = {layer.path}, list(layer.sources)
    while todo:
        path = todo.pop()
        if path not in rows:
            continue
        if rows[path].role != "other":
            found[path] = None
        elif path not in seen:
            seen.add(path)
            todo.extend(sources[path])
    return list(found)
