"""Where we are: names of modules, the stack of running ones, exported programs node by node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from snnenergy.counts import ROLES
from snnenergy.errors import UsageError
from snnenergy.frameworks import neuron_layout, neuron_model, neuron_model_of_class, neurons, state_left
from snnenergy.trace.forward import Forward, Frame
from snnenergy.trace.repeats import OF_PARAMETER
from snnenergy.trace.survey import Survey
from snnenergy.trace.tree import modules_of

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder


def plain_name(path: str) -> str:
    """A module or parameter path without torch.compile's wrapper."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod") if "_orig_mod" in path else path


class Named(NamedTuple):
    """What is known of a module before it runs."""

    path: str
    type_name: str
    leaf: bool
    neuron: str | None
    model: str | None


class Names:
    """Module -> name; a module under two names keeps the first."""

    def __init__(self, model: nn.Module, roles: Mapping[str, str]) -> None:
        self.named: dict[int, Named] = {}
        self.modules: list[nn.Module] = []
        self._at: dict[str, nn.Module] = {}
        models: dict[type, str | None] = {}  # by class: that is all a framework is recognised by
        self.tree = modules_of(model)
        for raw, module in self.tree:
            path = plain_name(raw) or "(root)"
            cls = type(module)
            if cls not in models:
                models[cls] = neuron_model(module)
            kind = _neuron(roles.get(path), models[cls])
            children = module._modules
            leaf = not children or all(child is None for child in children.values())
            self.named[id(module)] = Named(path, cls.__name__, leaf, path if kind else None, kind)
            self.modules.append(module)
            self._at.setdefault(path, module)

    def get(self, module: nn.Module) -> Named | None:
        return self.named.get(id(module))

    def at(self, path: str) -> nn.Module | None:
        return self._at.get(path or "(root)")

    def neurons(self) -> dict[str, str]:
        return {n.path: n.model for n in self.named.values() if n.model is not None}


def _neuron(role: str | None, model: str | None) -> str | None:
    """The neuron model of a module, from the role the user gave it and the model it is known for."""
    if role is None:
        return model
    return None if role in ("synaptic", "other") else (model or "spiking") if role == "neuron" else role


def frame_of(named: Named, module: nn.Module | None, argument: Any = None) -> Frame:
    """The frame of a call; inside a neuron everything elementwise is that neuron's."""
    return _frame(named, module, named.neuron, argument if isinstance(argument, torch.Tensor) else None)


def _frame(named: Named, module: nn.Module | None, neuron: str | None, argument: torch.Tensor | None) -> Frame:
    return Frame(named.path, named.type_name, named.leaf, module, neuron, argument)


@contextmanager
def surveyed_modules(rec: Recorder, done: Callable[[Frame, nn.Module], None] | None) -> Iterator[None]:
    """Global module hooks that keep the frames of one surveyed forward."""
    known, thread = rec.names.named, rec.thread
    idle: dict[int, Frame] = {}  # by module: of a call that returned, for the next one in the same forward

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        named = known.get(id(module))
        survey = rec.surveying
        if named is None or survey is None or get_ident() != thread:
            return
        if named.model is not None and named.path not in survey.forward.fired and not survey.shapes_only:
            _note_state(survey, named.path, module)
        given = args[0] if args and isinstance(args[0], torch.Tensor) else None
        frames, frame = survey.frames, idle.pop(id(module), None)
        neuron = frames[-1].neuron or named.neuron
        frames.append(_frame(named, module, neuron, given) if frame is None else frame.again(neuron, given))

    def after(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        named = known.get(id(module))
        survey = rec.surveying
        if named is None or survey is None or get_ident() != thread:
            return
        frames = survey.frames
        while len(frames) > 1 and frames[-1].module is not module:
            frames.pop()
        frame = frames[-1]
        if frame.module is module:
            neuron = named.neuron is not None and frame.neuron == named.path
            if neuron or (done is not None and frame.reads):
                _left(survey, frame, named, module, out, done, neuron=neuron)
            if len(frames) > 1:
                frames.pop()
            if rec.once:
                frame.argument = None
                idle[id(module)] = frame

    register = torch.nn.modules.module
    handles = (
        register.register_module_forward_pre_hook(before),
        register.register_module_forward_hook(after, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note_state(survey: Survey, path: str, module: nn.Module) -> None:
    """A neuron is about to take its first step: does it start from state that an earlier call left?"""
    survey.paused = True
    try:
        if state_left(module):
            survey.rec.state_left.setdefault(path)
    finally:
        survey.paused = False


def _left(
    survey: Survey,
    frame: Frame,
    named: Named,
    module: nn.Module,
    out: Any,
    done: Callable[[Frame, nn.Module], None] | None,
    *,
    neuron: bool,
) -> None:
    """A surveyed module returned: read its spikes if it is a neuron, and learn how its contractions could be watched."""
    survey.paused = True
    try:
        with torch.no_grad() if torch.is_grad_enabled() else _NOTHING:
            if neuron:
                survey.note_output(named.path, out)
                if survey.forward.stated is None and frame.argument is not None:
                    _ask_for_time(survey.forward, named.path, module, frame.argument.shape)
            if done is not None:
                done(frame, module)
    finally:
        survey.paused = False


_NOTHING = nullcontext()


def _ask_for_time(forward: Forward, path: str, module: nn.Module, shape: torch.Size) -> None:
    if forward.neuron_rows is None and shape:
        forward.neuron_rows = shape[0]
    firing = forward.fired.get(path)
    if firing is None or shape not in firing.asked:
        forward.stated = neuron_layout(module, tuple(shape))
        if firing is not None:
            firing.asked.append(shape)


# ---- exported programs: a layer is the value's path in nn_module_stack
_SPIKES = frozenset(("gt", "ge", "lt", "le", "heaviside"))
_CASTS = frozenset(("to", "_to_copy", "type_as", "clone", "alias", "convert_element_type"))


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
    rows = (value for n in module.graph.nodes for value in (n.meta.get("nn_module_stack") or {}).values())
    return {plain_name(str(path)).partition("@")[0] or "(root)" for path, _ in rows}


def check_paths(model: nn.Module, name: str, paths: Iterable[str]) -> None:
    """Raises UsageError where one of the paths a user named is no module of the model."""
    asked = [
        path for path in paths if "::" not in path and not path.startswith(OF_PARAMETER)
    ]  # rows outside of modules
    known = module_paths(model) if asked else set()
    for path in asked:
        if path not in known:
            near = ", ".join(get_close_matches(path, sorted(known), 3, 0.3)) or "none is near"
            raise UsageError(f"{name}: no module is called {path!r}; the nearest: {near}")


def check_roles(roles: Mapping[str, str]) -> None:
    """Raises UsageError where a role is none: a neuron model that nobody knows would be priced as none at all."""
    for path, role in roles.items():
        if role not in (*ROLES, *neurons.NEURONS):
            raise UsageError(f"roles: {path!r} is {role!r}; use one of {', '.join((*ROLES, *neurons.NEURONS))}")


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
                survey.note_output(self._spikes[n.name], out)
            return out
        finally:
            survey.paused = False
            self.rec.node = None
            survey.frames.pop()


def _node_frames(module: torch.fx.GraphModule, roles: Mapping[str, str]) -> dict[str, Frame]:
    stacks: dict[str, list[tuple[str, str]]] = {}
    for node in module.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if stack and node.op == "call_function":
            rows = [
                (plain_name(str(v[0])), v[1] if isinstance(v[1], str) else v[1].__qualname__) for v in stack.values()
            ]
            stacks[node.name] = [(path.partition("@")[0] or "(root)", kind) for path, kind in rows]
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
        for value in (node.meta.get("nn_module_stack") or {}).values():
            path = plain_name(str(value[0])).partition("@")[0] or "(root)"
            kind = value[1] if isinstance(value[1], str) else value[1].__qualname__
            model = _role(path, kind, roles)
            if model is not None:
                found[path] = model
    return found


def _spike_nodes(module: torch.fx.GraphModule, frames: Mapping[str, Frame]) -> dict[str, str]:
    """Nodes whose value leaves a neuron's scope and comes from a comparison: node name -> neuron path."""
    found = {}
    for node in module.graph.nodes:
        frame = frames.get(node.name)
        if frame is None or frame.neuron is None or not _from_comparison(node):
            continue
        users = [frames.get(u.name) for u in node.users]
        if any(u is None or u.neuron != frame.neuron for u in users):
            found[node.name] = frame.neuron
    return found


def _packet(node: torch.fx.Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _from_comparison(node: torch.fx.Node) -> bool:
    while _packet(node) in _CASTS and node.args and isinstance(node.args[0], torch.fx.Node):
        node = node.args[0]
    return _packet(node) in _SPIKES
