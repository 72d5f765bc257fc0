"""Where we are: names of modules, and the stack of running ones."""

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
from snnenergy.frameworks import known_by_name, neuron_layout, neuron_model, neurons, state_left
from snnenergy.trace.exported import module_paths
from snnenergy.trace.forward import Forward, Frame
from snnenergy.trace.repeats import OF_PARAMETER
from snnenergy.trace.survey import Survey
from snnenergy.trace.tree import modules_of, plain_name

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder


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
        self._open_blocks(roles)

    def _open_blocks(self, roles: Mapping[str, str]) -> None:
        """A block that is named like a neuron (`ConvLIF`) and holds one is none: its neuron is the one inside."""
        neurons = [n for n in self.named.values() if n.model is not None]
        for block in neurons:
            module = self._at[block.path]
            if block.leaf or block.path in roles or not known_by_name(module):
                continue
            inside = "" if block.path == "(root)" else f"{block.path}."
            if any(n is not block and n.path.startswith(inside) for n in neurons):
                self.named[id(module)] = block._replace(neuron=None, model=None)

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
