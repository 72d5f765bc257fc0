"""A spiking net exported one step at a time loses its state without a word: this says so.

Exported outside its loop over time, a neuron's membrane is a constant of the graph: every call starts from the same state
(measured with snnTorch: 4, 6, 7, 6, 6, 7 spikes per step in eager mode, 4 in every step exported).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnenergy.frameworks import neuron_model_of_class

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

_COMPARES = frozenset("gt ge lt le heaviside".split())
_TO_NUMBERS = frozenset("to _to_copy type_as mul convert_element_type".split())
_VALUE_FREE = frozenset("zeros_like ones_like full_like empty_like new_zeros new_ones new_full sym_size".split())
_WARNING = (
    "this .pt2 looks like one step of a spiking net: {layers} {fire} once per call, and no membrane comes in, goes out or "
    "is kept, so every call starts from the same state. Export a module whose forward loops over the time steps, or that "
    "takes the state as input and returns it"
)


def single_step_warning(program: ExportedProgram) -> str | None:
    """A sentence, where neurons fire without a loop over time and without a state; else None."""
    from torch.export.graph_signature import OutputKind

    signature = program.graph_signature
    kept = any(s.kind is OutputKind.BUFFER_MUTATION for s in signature.output_specs)
    inputs = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in signature.user_inputs]
    if kept or not inputs:
        return None
    driven = _downstream(inputs)
    firing: dict[str, list[Node]] = {}
    for node in program.graph.nodes:
        if node in driven and _compares(node):
            firing.setdefault(_path(node), []).append(node)
    neurons = {path: nodes for path, nodes in firing.items() if _is_neuron(nodes)}
    if not neurons or any(len(_membranes(nodes, driven)) > 1 for nodes in neurons.values()):
        return None
    if len(inputs) > 1 and _state_comes_in(inputs, neurons):
        return None
    layers = sorted(neurons)[:3]
    return _WARNING.format(layers=", ".join(layers), fire="fires" if len(layers) == 1 else "fire")


def _downstream(nodes: list[Node]) -> set[Node]:
    found, todo = set(nodes), list(nodes)
    while todo:
        for user in todo.pop().users:
            if user not in found and _op(user) not in _VALUE_FREE:
                found.add(user)
                todo.append(user)
    return found


def _compares(node: Node) -> bool:
    return node.op == "call_function" and _op(node) in _COMPARES


def _op(node: Node) -> str:
    return str(getattr(node.target, "__name__", "")).split(".")[0]


def _path(node: Node) -> str:
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]).split("@")[0] if stack else ""


def _type(node: Node) -> str:
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][1]) if stack else ""


def _is_neuron(nodes: list[Node]) -> bool:
    """Known by its class, or by arithmetic: a comparison that becomes 0 and 1, beside a decay or a reset."""
    if neuron_model_of_class(_type(nodes[0])) not in (None, "LI"):
        return True
    own = _path(nodes[0])
    kin = {_op(n) for n in nodes[0].graph.nodes if own and _path(n) == own}
    spikes = [n for n in nodes if _op(n) == "heaviside" or _TO_NUMBERS & {_op(u) for u in n.users}]
    return bool(spikes and kin & {"mul", "sub"})


def _membranes(nodes: list[Node], driven: set[Node]) -> set[Node]:
    """What a neuron's comparisons compare: one membrane per step, whether the reset compares it again or not."""
    return {_membrane(node, driven) for node in nodes}


def _membrane(node: Node, driven: set[Node]) -> Node:
    """The value compared, looked up through the subtraction of a constant threshold."""
    while True:
        moving = [n for n in node.all_input_nodes if n in driven]
        if len(moving) != 1:
            return node
        node = moving[0]
        if _op(node) != "sub":
            return node


def _state_comes_in(inputs: list[Node], neurons: dict[str, list[Node]]) -> bool:
    """Whether a second input reaches a neuron's own arithmetic directly: a membrane handed in."""
    return any(_path(user) in neurons for node in inputs for user in node.users)
