"""Exported programs node by node: a layer is the path in a value's `nn_module_stack`, a neuron's scope is known by its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from snnenergy.frameworks import TimeLayout, neuron_model_of_class
from snnenergy.trace.forward import Frame
from snnenergy.trace.operators import COMPARISONS
from snnenergy.trace.tree import plain_name

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder

_KEEPING = frozenset(
    """to _to_copy type_as clone alias convert_element_type view reshape flatten unflatten squeeze unsqueeze permute transpose
    stack cat add sub""".split()
)
"""Operators that put out spikes where all that they are given is spikes: of several steps, or of both signs."""


def is_exported(module: nn.Module) -> bool:
    """A graph of plain operators; one that calls modules has hooks of its own."""
    if not isinstance(module, torch.fx.GraphModule):
        return False
    nodes = list(module.graph.nodes)
    layers = (n for n in nodes if n.op == "call_module" and n.target != "_guards_fn")
    return any("nn_module_stack" in n.meta for n in nodes) and next(layers, None) is None


def module_paths(module: nn.Module) -> set[str]:
    """Paths that a role may be given to: of its modules, or of those that an exported program was traced through."""
    if not isinstance(module, torch.fx.GraphModule) or not is_exported(module):
        return {plain_name(name) or "(root)" for name, _ in module.named_modules()}
    return {path for node in module.graph.nodes for path, _ in _scopes(node)}


def _scopes(node: torch.fx.Node) -> list[tuple[str, str]]:
    """(path, qualified class) of the modules that a value was made in, the innermost last."""
    rows = (node.meta.get("nn_module_stack") or {}).values()
    return [
        (plain_name(str(path)).partition("@")[0] or "(root)", cls if isinstance(cls, str) else cls.__qualname__)
        for path, cls in rows
    ]


class Exported(torch.fx.Interpreter):
    """Runs a graph node by node, so that each op has the scope of the module it was traced in."""

    def __init__(self, module: torch.fx.GraphModule, rec: Recorder) -> None:
        super().__init__(module)
        self.rec = rec
        self._frames = _node_frames(module, rec.roles)
        self._spikes = _spike_nodes(module, self._frames)

    def run_node(self, n: torch.fx.Node) -> Any:
        frame = self._frames.get(n.name)
        survey = self.rec.surveying
        if frame is None or survey is None:
            return super().run_node(n)
        survey.frames.append(Frame(frame.path, frame.type_name, frame.leaf, None, frame.neuron))
        self.rec.node = (n.meta.get("stack_trace") or n.name, str(n.target))
        try:
            out = super().run_node(n)
            if n.name in self._spikes:
                survey.paused = True
                path, spikes = self._spikes[n.name]
                survey.note_output(path, out, spikes=spikes)
                survey.forward.stated = survey.forward.stated or _stacked(n, path, out)
            return out
        finally:
            survey.paused = False
            self.rec.node = None
            survey.frames.pop()


def _node_frames(module: torch.fx.GraphModule, roles: Mapping[str, str]) -> dict[str, Frame]:
    called = {node.name: _scopes(node) for node in module.graph.nodes if node.op == "call_function"}
    stacks = {name: rows for name, rows in called.items() if rows}
    paths = {path for rows in stacks.values() for path, _ in rows}
    frames = {}
    for name, rows in stacks.items():
        path, kind = rows[-1]
        neuron = next((p for p, k in rows if _role(p, k, roles)), None)
        leaf = path != "(root)" and not any(p.startswith(path + ".") for p in paths)
        frames[name] = Frame(path, kind.rpartition(".")[2], leaf, None, neuron)
    return frames


def _role(path: str, kind: str, roles: Mapping[str, str]) -> str | None:
    role = roles.get(path)
    if role is None:
        return neuron_model_of_class(kind)
    return None if role in ("synaptic", "other") else role


def exported_neurons(module: torch.fx.GraphModule, roles: Mapping[str, str]) -> dict[str, str]:
    """Paths of neuron modules in a graph and their models."""
    found: dict[str, str] = {}
    for node in module.graph.nodes:
        for path, kind in _scopes(node):
            model = _role(path, kind, roles)
            if model is not None:
                found[path] = model
    return found


def _spike_nodes(module: torch.fx.GraphModule, frames: Mapping[str, Frame]) -> dict[str, tuple[str, bool]]:
    """Nodes whose value leaves a neuron's scope and is its spikes: node name -> (neuron path, whether they are known for it).

    Where none comes from a comparison, those that go to another layer, else to the program's output.
    """
    leaving: dict[str, list[torch.fx.Node]] = {}
    for node in module.graph.nodes:
        frame = frames.get(node.name)
        if frame is not None and frame.neuron is not None:
            users = [frames.get(u.name) for u in node.users]
            if any(u is None or u.neuron != frame.neuron for u in users):
                leaving.setdefault(frame.neuron, []).append(node)
    known: dict[str, bool] = {}
    found = {}
    for path, nodes in leaving.items():
        spikes = [n for n in nodes if _spikes(n, known)]
        onward = [n for n in nodes if any(u.op != "output" for u in n.users)]
        found.update({n.name: (path, bool(spikes)) for n in spikes or onward or nodes})
    return found


def _stacked(node: torch.fx.Node, path: str, out: Any) -> TimeLayout | None:
    """What a neuron says about time that ran all steps in one call, and put its outputs together again."""
    stack = node
    while _packet(stack) in _KEEPING and len(stack.all_input_nodes) == 1 and _packet(stack) != "stack":
        stack = stack.all_input_nodes[0]
    if _packet(stack) != "stack" or not isinstance(out, torch.Tensor) or out.dim() < 2:
        return None
    steps = len(cast("Sequence[Any]", stack.args[0]))
    first = len(stack.args) < 2 or stack.args[1] == 0
    order, source = "TN" if first else "NT", f"{steps} steps in one call of {path}"
    if stack is not node:
        return TimeLayout(steps, order, samples=out.shape[0] // steps, squeezed=True, source=source)
    return TimeLayout(steps, order, samples=out.shape[first] if out.dim() > 2 else None, source=source)


def _packet(node: torch.fx.Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _spikes(node: torch.fx.Node, known: dict[str, bool]) -> bool:
    """Whether a value comes from comparisons alone, or from one that gates something: a graded spike."""
    if node.name not in known:
        packet, given = _packet(node), node.all_input_nodes
        if packet in COMPARISONS:
            known[node.name] = True
        elif packet == "mul":
            known[node.name] = any(_spikes(n, known) for n in given)
        else:
            known[node.name] = packet in _KEEPING and bool(given) and all(_spikes(n, known) for n in given)
    return known[node.name]
