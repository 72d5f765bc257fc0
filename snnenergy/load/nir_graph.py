"""A NIR graph as a torch module: x [T, N, ...] -> [T, N, ...], every node one module, neurons stepped by forward Euler.

NIR states neurons as differential equations in seconds and no time step; they are stepped with DT, from rest, in every
forward.  An edge that closes a loop carries what its source put out one step before.  nirtorch is not used: its default
maps lose the bias of an Affine node, and it turns the names of nodes into Python source.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

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
        self.inputs = {name: tuple(a for a, b in graph.edges if b == name) for name in self.order}
        self.paths = {name: name.replace(".", "_") for name in self.order}
        for name in self.order:
            if name not in (self.source, self.sink):
                self.add_module(self.paths[name], _module(graph.nodes[name], where))

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
    """The module of a graph; UnsafeModelError where a node is unknown or its parameters do not fit each other."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about layers without elements
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


def _module(node: NirNode, where: str) -> nn.Module:
    make = _MAKERS.get(node.kind)
    if make is None:
        known = ", ".join(_MAKERS)
        raise UnsafeModelError(f"{where}: NIR: node {node.name!r:.60} is a {node.kind!r:.40}; known are {known}")
    try:
        return make(node.values)
    except KeyError as error:
        raise UnsafeModelError(f"{where}: NIR: node {node.name!r:.60} ({node.kind}) has no {quoted(error)}") from error


Values = Mapping[str, Any]


def _tensor(values: Values, name: str) -> Tensor:
    return torch.from_numpy(values[name].copy()).to(torch.float32)


def _numbers(values: Values, name: str) -> Any:
    """A size per axis; a padding may be a word."""
    held = values[name]
    return held if isinstance(held, str) else int(held) if held.ndim == 0 else tuple(int(n) for n in held)


def _linear(values: Values) -> nn.Module:
    weight = _tensor(values, "weight")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in values)
    return _with_weights(layer, values)


def _with_weights(layer: nn.Module, values: Values) -> nn.Module:
    state = {name: _tensor(values, name) for name in ("weight", "bias") if name in values}
    layer.load_state_dict(state, strict=True)
    return layer


def _conv(kind: Callable[..., nn.Module]) -> Callable[[Values], nn.Module]:
    def make(values: Values) -> nn.Module:
        weight, groups = _tensor(values, "weight"), int(values["groups"])
        options = {name: _numbers(values, name) for name in ("stride", "padding", "dilation")}
        layer = kind(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            groups=groups,
            bias="bias" in values,
            **options,
        )
        return _with_weights(layer, values)

    return make


def _sum_pool(values: Values) -> nn.Module:
    if "padding" in values and values["padding"].any():
        raise ValueError("a SumPool2d with padding")
    return nn.LPPool2d(1, _numbers(values, "kernel_size"), _numbers(values, "stride"))


def _average_pool(values: Values) -> nn.Module:
    return nn.AvgPool2d(*(_numbers(values, name) for name in ("kernel_size", "stride", "padding")))


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
        return kind(**constants, **{buffer: DT / _tensor(values, tau) for buffer, tau in rates.items()})

    return make


def _if(values: Values) -> nn.Module:
    made = _neuron(IFNeuron, "v_threshold", "v_reset", rates={})(values)
    made.register_buffer("gain", DT * _tensor(values, "r"))
    return made


_MAKERS: dict[str, Callable[[Values], nn.Module]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _conv(nn.Conv1d),
    "Conv2d": _conv(nn.Conv2d),
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
