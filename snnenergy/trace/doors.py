"""Doors: how the calls of a model reach its recorder, whichever module is called and however its framework calls it.

Nothing is written on the user's modules but hooks, and a `forward` beside the class's own where no hook would see the call;
all of it leaves with the stack it is put on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnenergy.frameworks import called_past_hooks, left_spikes
from snnenergy.trace.exported import Exported, exported_neurons, is_exported
from snnenergy.trace.scopes import surveyed_modules
from snnenergy.trace.watch import NO_KEYWORDS, glance_hook

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder

FUSED = (nn.TransformerEncoderLayer, nn.TransformerEncoder, nn.MultiheadAttention)
"""Modules that leave their fused kernel when hooks or function modes are about: they are surveyed, from outside."""


class Doors:
    """Of one open recorder.

    opaque: the model is a ScriptModule; from_outside: only global hooks see its calls, or leave a fused layer its kernel
    hookable: hooks on its leaves are called; wakeable: single operators in it can be listened for
    """

    def __init__(self, rec: Recorder, stack: ExitStack) -> None:
        self._rec, self._stack = rec, stack
        self._entries: dict[int, Any] = {}  # by module: the handle of the hook that sees it called first
        self._leaving: set[int] = set()
        modules = rec.names.modules
        classes = {type(m): m for m in modules}
        scripted = any(isinstance(m, torch.jit.ScriptModule) for m in classes.values())
        fused = any(isinstance(m, FUSED) for m in classes.values())
        self.opaque = isinstance(rec.model, torch.jit.ScriptModule)
        self.from_outside = fused or self.opaque
        self.wakeable = self.hookable = not scripted and not fused
        past_hooks = {cls for cls, m in classes.items() if called_past_hooks(m)}
        for module in modules:
            if is_exported(module):
                assert isinstance(module, torch.fx.GraphModule)
                self._run_by_node(module)
            elif type(module) in past_hooks:
                self._call_with_hooks(module)
        if any(type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) for m in modules):
            stack.enter_context(torch.compiler.set_stance("force_eager"))

    def _run_by_node(self, module: torch.fx.GraphModule) -> None:
        self._rec.layers.neurons |= exported_neurons(module, self._rec.roles)
        self.hookable = self.wakeable = False
        self._stand_in(module, Exported(module, self._rec).run)

    def _call_with_hooks(self, module: nn.Module) -> None:
        """A neuron whose `forward` its framework calls past all hooks: in a counted forward the call goes through them."""
        rec, inner, inside = self._rec, module.forward, False

        def forward(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if not rec.depth or not rec.here():
                return inner(*args, **kwargs)
            if inside:
                out = inner(*args, **kwargs)
                return left_spikes(module) if out is None else out
            inside = True
            try:
                return module(*args, **kwargs)
            finally:
                inside = False

        self._stand_in(module, forward)

    def _stand_in(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        """`forward` is called for the module's own while the recorder is open."""
        own = module.__dict__
        if "forward" in own:  # the user's, or another recorder's
            self._stack.callback(own.__setitem__, "forward", own["forward"])
        else:
            self._stack.callback(own.pop, "forward", None)
        own["forward"] = forward

    def open(self) -> None:
        """From here on the recorder is told of every module of the model that is called from outside."""
        rec, stack = self._rec, self._stack
        if self.from_outside:
            hooks = torch.nn.modules.module
            if not self.opaque:
                self._tell_of_root()
            stack.callback(hooks.register_module_forward_pre_hook(self._called_within).remove)
            stack.enter_context(surveyed_modules(rec, None))
            stack.callback(hooks.register_module_forward_hook(rec.leave, always_call=True).remove)
            return
        for module in (rec.model,) if rec.once else rec.names.modules:
            if isinstance(module, torch.jit.ScriptModule) and module is not rec.model:
                continue
            handle = module.register_forward_pre_hook(self._called, prepend=True, with_kwargs=True)
            self._entries[id(module)] = handle
            stack.callback(handle.remove)

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] = NO_KEYWORDS) -> None:
        rec = self._rec
        if rec.depth:
            if module is rec.entry and rec.here():
                rec.enter_again(module, args, kwargs)
        elif rec.here() and rec.names.get(module) is not None:
            self.enter(module, args, kwargs)

    def _called_within(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """As told by a global hook, which is not given keywords: the root has a door of its own."""
        if module is not self._rec.model or self.opaque:
            self._called(module, args)

    def _tell_of_root(self) -> None:
        model = self._rec.model
        inner = model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            self._called(model, args, kwargs)
            return inner(*args, **kwargs)

        self._stand_in(model, forward)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A module was called from outside; the recorder is told when it returns, too."""
        if not self.from_outside and id(module) not in self._leaving:
            self._leaving.add(id(module))  # the hook stays: a hook list must not change while it runs
            self._stack.callback(module.register_forward_hook(self._rec.leave, always_call=True).remove)
        self._rec.enter(module, args, kwargs)

    def watch(self, leaves: Mapping[int, nn.Module]) -> None:
        """The inputs of these leaves are read when they are called, first or from within."""
        for key, module in leaves.items():
            handle = self._entries.pop(key, None)
            if handle is not None:
                handle.remove()
                hook = glance_hook(self._rec, module)
                self._stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
