"""A NIR graph as a torch module: x [T, N, ...] -> [T, N, ...], every node one module, neurons stepped by forward Euler.

NIR states neurons as differential equations in seconds and no time step; they are stepped with DT, from rest, in every
forward.  An edge that closes a loop carries what its source put out one step before.  nirtorch is not used: its default
maps lose the bias of an Affine node, and it turns the names of nodes into Python source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnenergy.errors import UnsafeModelError
from snnenergy.load.files import quoted
from snnenergy.load.nir_file import NirGraph, NirNode

DT = 1e-4
"""Time step, s: the one that NIR's own framework converters assume."""
MAX_REST = 64
"""Axes a parameter may have."""


class Threshold(nn.Module):
    """z = x >= threshold"""

    threshold: Tensor

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("threshold", threshold)

    def forward(self, x: Tensor) -> Tensor:
        return (x >= self.threshold).to(x.dtype)


class Scale(nn.Module):
    """x scale, elementwise"""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Stepped(nn.Module):
    """A node with state: forward(x, state) -> (output, state); state None is rest.  Constants are buffers."""

    r: Tensor
    v_leak: Tensor
    v_reset: Tensor
    v_threshold: Tensor
    w_in: Tensor
    gain: Tensor  # DT r
    rate: Tensor  # DT / tau
    rate_syn: Tensor

    def __init__(self, **constants: Tensor) -> None:
        super().__init__()
        for name, value in constants.items():
            self.register_buffer(name, value)

    def at_rest(self, x: Tensor, name: str) -> Tensor:
        return torch.zeros_like(x) + self.get_buffer(name)


class IFNeuron(Stepped):
    """dv/dt = r x; at v >= v_threshold a spike, v = v_reset"""

    def forward(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        v = (torch.zeros_like(x) if v is None else v) + x * self.gain
        spikes = (v >= self.v_threshold).to(x.dtype)
        return spikes, torch.where(spikes > 0, self.v_reset, v)


class LINode(Stepped):
    """tau dv/dt = (v_leak - v) + r x; puts out v"""

    def forward(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        v = self.at_rest(x, "v_leak") if v is None else v
        v = v + self.rate * (self.v_leak - v + self.r * x)
        return v, v


class LIFNeuron(Stepped):
    """tau dv/dt = (v_leak - v) + r x; at v >= v_threshold a spike, v = v_reset"""

    def forward(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        v = self.at_rest(x, "v_leak") if v is None else v
        v = v + self.rate * (self.v_leak - v + self.r * x)
        spikes = (v >= self.v_threshold).to(x.dtype)
        return spikes, torch.where(spikes > 0, self.v_reset, v)


class CUBANeuron(Stepped):
    """tau_syn di/dt = -i + w_in x; tau_mem dv/dt = (v_leak - v) + r i; at v >= v_threshold a spike, v = v_reset"""

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        i, v = (torch.zeros_like(x), self.at_rest(x, "v_leak")) if state is None else state
        i = i + self.rate_syn * (self.w_in * x - i)
        v = v + self.rate * (self.v_leak - v + self.r * i)
        spikes = (v >= self.v_threshold).to(x.dtype)
        return spikes, (i, torch.where(spikes > 0, self.v_reset, v))


class NirModule(nn.Module):
    """Runs the nodes of a graph, in order, for every step of x [T, N, ...]."""

    def __init__(self, graph: NirGraph, where: str) -> None:
        super().__init__()
        self.source, self.sink = (_only(graph, kind, where) for kind in ("Input", "Output"))
        self.order = _ordered(graph, self.source)
        if self.sink not in self.order:
            raise UnsafeModelError(f"{where}: NIR: no way leads from {self.source!r:.60} to {self.sink!r:.60}")
        self.inputs = {name: tuple(a for a, b in graph.edges if b == name) for name in self.order}
        self.paths: dict[str, str] = {}
        inner = [name for name in self.order if name not in (self.source, self.sink)]
        self.paths |= _paths(inner, frozenset(dir(self)), where)
        rank = len(input_shape(graph, where))
        for name, path in self.paths.items():
            self.add_module(path, _module(graph.nodes[name], rank, where))

    def forward(self, x: Tensor) -> Tensor:
        state: dict[str, Any] = {}
        before: dict[str, Tensor] = {}
        out = []
        for t in range(x.shape[0]):
            now = {self.source: x[t]}
            for name in self.order[1:]:
                given = [now[a] if a in now else before[a] for a in self.inputs[name] if a in now or a in before]
                if given:
                    now[name] = self._run(name, sum(given[1:], given[0]), state)
            before = now
            out.append(now[self.sink])
        return torch.stack(out)

    def _run(self, name: str, x: Tensor, state: dict[str, Any]) -> Tensor:
        if name == self.sink:
            return x
        module = self.get_submodule(self.paths[name])
        if not isinstance(module, Stepped):
            made: Tensor = module(x)
            return made
        made, state[name] = module(x, state.get(name))
        return made


def build(graph: NirGraph, where: str) -> NirModule:
    """The module of a graph; UnsafeModelError where a node is unknown, its parameters do not fit, or no output is reached."""
    try:
        return NirModule(graph, where)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError, OverflowError) as error:
        raise UnsafeModelError(f"{where}: NIR: cannot be built: {quoted(error)}") from error


def input_shape(graph: NirGraph, where: str) -> tuple[int, ...]:
    """Sizes of one sample at one step, as the Input node states them."""
    shape = graph.nodes[_only(graph, "Input", where)].values.get("shape")
    try:
        return () if shape is None else tuple(int(n) for n in shape.reshape(-1)[:MAX_REST])
    except (AttributeError, ValueError, OverflowError) as error:  # text, NaN, infinity
        raise UnsafeModelError(f"{where}: NIR: the Input node's shape is no list of sizes: {quoted(error)}") from error


def _only(graph: NirGraph, kind: str, where: str) -> str:
    found = [name for name, node in graph.nodes.items() if node.kind == kind]
    if len(found) != 1:
        raise UnsafeModelError(f"{where}: NIR: expected one {kind} node, found {len(found)}")
    return found[0]


def _ordered(graph: NirGraph, source: str) -> list[str]:
    """Nodes that the input reaches, each after those it reads, but for the edges that close a loop."""
    after: dict[str, list[str]] = {}
    for start, end in graph.edges:
        after.setdefault(start, []).append(end)
    done: list[str] = []
    seen = {source}
    stack = [(source, iter(after.get(source, ())))]
    while stack:
        name, left = stack[-1]
        following = next((n for n in left if n not in seen), None)
        if following is None:
            done.append(name)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(after.get(following, ()))))
    return done[::-1]


def _paths(names: Iterable[str], own: frozenset[str], where: str) -> dict[str, str]:
    """{node: layer}: dots are underscores, and a name that is the module's own has one more behind."""
    found: dict[str, str] = {}
    for name in names:
        path = name.replace(".", "_")
        path += "_" * (path in own)
        if path in found:
            raise UnsafeModelError(
                f"{where}: NIR: nodes {found[path]!r:.60} and {name!r:.60} are both layer {path!r:.60}; rename one"
            )
        found[path] = name
    return {name: path for path, name in found.items()}


def _module(node: NirNode, rank: int, where: str) -> nn.Module:
    """rank: axes of the graph's input, without time and batch; 0: not known."""
    make = _MAKERS.get(node.kind)
    if make is None:
        known = ", ".join(_MAKERS)
        raise UnsafeModelError(f"{where}: NIR: node {node.name!r:.60} is a {node.kind!r:.40}; known are {known}")
    here = f"{where}: NIR: node {node.name!r:.60} ({node.kind})"
    try:
        made = make(node.values)
        if rank and isinstance(made, nn.Flatten):
            made(torch.empty((1,) * (rank + 1)))
    except KeyError as error:
        raise UnsafeModelError(f"{here} has no {quoted(error)}") from error
    except (ValueError, TypeError, AttributeError, RuntimeError, IndexError, OverflowError) as error:
        raise UnsafeModelError(f"{here} cannot be built: {quoted(error)}") from error
    return made


Values = Mapping[str, Any]
STRUCTURE = frozenset("shape input_shape start_dim end_dim kernel_size stride padding dilation groups".split())
"""Fields that say how a node is laid out: no weights, no constants of a neuron."""


def _tensor(values: Values, name: str) -> Tensor:
    return torch.from_numpy(values[name].copy()).to(torch.float32)


def _sizes(values: Values, name: str, axes: int, least: int = 1) -> Any:
    """A size per axis, of at least so much; a padding may be a word."""
    held = values[name]
    if isinstance(held, str) and name == "padding":
        return held
    sizes = held.reshape(-1)[:MAX_REST].tolist() * (axes if held.size == 1 else 1)
    if len(sizes) != axes or not all(n >= least and n % 1 == 0 for n in sizes):
        raise ValueError(f"{name} {sizes}; expected a whole number of at least {least} per axis ({axes})")
    return tuple(map(int, sizes))


def _weight(values: Values, axes: int) -> Tensor:
    """[O, I, *kernel]"""
    weight = _tensor(values, "weight")
    if weight.dim() != axes or not weight.numel():
        raise ValueError(f"a weight of shape {tuple(weight.shape)!s:.80}; expected {axes} axes and no empty one")
    return weight


def _linear(values: Values) -> nn.Module:
    weight = _weight(values, 2)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in values)
    return _with_weights(layer, values)


def _with_weights(layer: nn.Module, values: Values) -> nn.Module:
    state = {name: _tensor(values, name) for name in ("weight", "bias") if name in values}
    layer.load_state_dict(state, strict=True)
    return layer


def _conv(kind: Callable[..., nn.Module], axes: int) -> Callable[[Values], nn.Module]:
    def make(values: Values) -> nn.Module:
        weight, groups = _weight(values, axes + 2), int(values["groups"])
        layer = kind(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            groups=groups,
            bias="bias" in values,
            stride=_sizes(values, "stride", axes),
            dilation=_sizes(values, "dilation", axes),
            padding=_sizes(values, "padding", axes, least=0),
        )
        return _with_weights(layer, values)

    return make


def _sum_pool(values: Values) -> nn.Module:
    if "padding" in values and values["padding"].any():
        raise ValueError("a SumPool2d with padding")
    return nn.LPPool2d(1, _sizes(values, "kernel_size", 2), _sizes(values, "stride", 2))


def _average_pool(values: Values) -> nn.Module:
    kernel, padding = _sizes(values, "kernel_size", 2), _sizes(values, "padding", 2, least=0)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(f"padding {padding} of more than half the kernel_size {kernel}")
    return nn.AvgPool2d(kernel, _sizes(values, "stride", 2), padding)


def _flatten(values: Values) -> nn.Module:
    """NIR counts axes without the batch."""
    start, end = int(values["start_dim"]), int(values["end_dim"])
    return nn.Flatten(start + 1 if start >= 0 else start, end + 1 if end >= 0 else end)


def _neuron(kind: type[Stepped], *names: str, rates: Mapping[str, str]) -> Callable[[Values], nn.Module]:
    """rates: {buffer: time constant}, as DT over it."""

    def make(values: Values) -> nn.Module:
        constants = {name: _tensor(values, name) for name in names if name != "v_reset"}
        if "v_reset" in names:  # older files have none: 0
            constants["v_reset"] = _tensor(values, "v_reset" if "v_reset" in values else "v_threshold")
            constants["v_reset"] *= "v_reset" in values
        for buffer, name in rates.items():
            tau = _tensor(values, name)
            if not bool((tau > 0).all()):
                raise ValueError(f"{name} is not above 0 everywhere")
            constants[buffer] = DT / tau
        np.broadcast_shapes(*(held.shape for held in constants.values()))
        return kind(**constants)

    return make


def _if(values: Values) -> nn.Module:
    made = _neuron(IFNeuron, "v_threshold", "v_reset", rates={})(values)
    gain = DT * _tensor(values, "r")
    np.broadcast_shapes(gain.shape, values["v_threshold"].shape)
    made.register_buffer("gain", gain)
    return made


_MAKERS: dict[str, Callable[[Values], nn.Module]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _conv(nn.Conv1d, 1),
    "Conv2d": _conv(nn.Conv2d, 2),
    "SumPool2d": _sum_pool,
    "AvgPool2d": _average_pool,
    "Flatten": _flatten,
    "Scale": lambda values: Scale(_tensor(values, "scale")),
    "Threshold": lambda values: Threshold(_tensor(values, "threshold")),
    "IF": _if,
    "LI": _neuron(LINode, "r", "v_leak", rates={"rate": "tau"}),
    "LIF": _neuron(LIFNeuron, "r", "v_leak", "v_threshold", "v_reset", rates={"rate": "tau"}),
    "CubaLIF": _neuron(
        CUBANeuron,
        "r",
        "v_leak",
        "v_threshold",
        "v_reset",
        "w_in",
        rates={"rate": "tau_mem", "rate_syn": "tau_syn"},
    ),
}
