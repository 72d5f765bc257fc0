"""The watch: after a survey, read only the inputs of the contractions it found.

By hooks on leaf modules where every contraction lies in one and its input is the module's own; where some do not, the
operators that contract outside are heard as well (wake.py); else (ScriptModules, fused transformer layers, exported
programs, weights computed on the way) every forward is surveyed.  A forward that calls something else, in another order
or shape, is found out at its end and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import get_ident
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from snnenergy.trace.activity import Listener
from snnenergy.trace.clock import Clock
from snnenergy.trace.forward import Forward, Frame, Lost, Read
from snnenergy.trace.operators import COMPARISONS
from snnenergy.trace.padding import unpadded
from snnenergy.trace.signature import outputs_of
from snnenergy.trace.sites import OUTPUT_FANS, Fans, Site
from snnenergy.trace.structure import Work
from snnenergy.trace.tensors import standing, unwrapped
from snnenergy.trace.tree import Place
from snnenergy.trace.wake import DIFFERENT, Wake

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder


NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})
"""Where a hook is called without: torch marks it as one with keywords after it has put it where another thread sees it."""


@dataclass(frozen=True, slots=True)
class Glance:
    """How to read one leaf call: its place in the trail, its site and fans."""

    index: int
    site: Site
    fans: Fans
    dtype: torch.dtype | None  # of inputs on the host


@dataclass
class Plan:
    """What every forward of one signature does: its value-free work, and how to read its values."""

    work: dict[str, Work]
    lost: dict[tuple[str, str], Lost]
    arithmetic_calls: int
    used: set[str]
    clock: Clock
    mode: str = "dispatch"
    glances: dict[int, dict[torch.Size, Glance]] = field(default_factory=dict)
    outputs: dict[int, tuple[Site, int]] = field(default_factory=dict)
    trail: list[int] = field(default_factory=list)
    wakes: list[Wake] = field(default_factory=list)
    heard: frozenset[Any] = frozenset()  # operators that contract outside the hooked leaves
    unwatched: frozenset[int] = frozenset()  # leaves whose operators are heard, though another plan reads their input
    sites: list[Site] = field(default_factory=list)
    listeners: list[tuple[Site, Listener]] = field(default_factory=list)  # where each neuron's spikes are read
    regions: list[str | None] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    versions: list[tuple[int, int]] = field(default_factory=list)  # and places of the weights
    owned: list[tuple[Place, Tensor]] = field(default_factory=list)  # where their modules keep them
    forwards: int = 0

    def prepare(self) -> None:
        """What the next forward would do first is done at the end of a survey: between two kernels all of it costs more."""
        for site, listener in self.listeners:
            site.listen(listener)
        for shapes in self.glances.values():
            for shape, glance in shapes.items():
                if glance.dtype is not None:
                    glance.site.expect(shape, glance.dtype, glance.fans)
        for site in self.sites:
            site.flush()
            site.touch()

    def stale(self) -> bool:
        """A weight changed since the survey: its zeros may have moved."""
        replaced = any(not place.holds(t) for place, t in self.owned)
        return replaced or [standing(w) for w in self.weights] != self.versions

    def retire(self) -> None:
        """No forward will be watched by it: what it did still counts, and nothing of how it was watched is kept."""
        self.glances, self.outputs, self.trail, self.wakes, self.heard = {}, {}, [], [], frozenset()
        self.sites, self.listeners, self.weights, self.versions, self.owned = [], [], [], [], []


class Builder:
    """Collects, during a survey, how each leaf call could be watched."""

    def __init__(self) -> None:
        self.glances: dict[int, dict[torch.Size, Glance]] = {}
        self.trail: list[int] = []
        self.wakes: list[Wake] = []
        self.weights: dict[int, tuple[Tensor, tuple[int, int]]] = {}
        self.modules: dict[int, nn.Module] = {}
        self.outside = False
        self.derived = False  # a leaf made the weight of what it reads otherwise than from its input
        self.transformed = False  # a contraction under torch.func: what a listener is given is not what is computed
        self.unwatchable: set[int] = set()  # leaves of which some call read something else than its input
        self._next = 0

    def leaf_done(self, frame: Frame, module: nn.Module) -> None:
        """A module returned: can its contractions be read from its own input?"""
        if not frame.reads:
            return
        if not frame.leaf:
            self.outside = True
            return
        if self._again(frame, module):
            return
        glance = self._glance(frame, module)
        if glance is None:
            self.outside = True
            self.derived |= frame.derived
            self.unwatchable.add(id(module))
            return
        self._not_woken_in(frame)
        assert frame.argument is not None
        shapes = self.glances.setdefault(id(module), {})
        self.modules[id(module)] = module
        known = shapes.get(frame.argument.shape)
        if known is None or known.site is not glance.site:
            shapes[frame.argument.shape] = known = glance
            self._next += 1
        self.trail.append(known.index)

    def weigh(self, read: Read) -> None:
        """Remember which parameters a watched contraction rests on, as they were when it was read first."""
        for t, seen in zip(read.made_of, read.versions, strict=True):
            self.weights.setdefault(id(t), (t, seen))

    def _not_woken_in(self, frame: Frame) -> None:
        """A leaf whose input its hook reads: its operators are heard, and pass."""
        for wake in reversed(self.wakes):
            if wake.origin is not frame:
                return
            wake.reads, wake.weighted, wake.product = 0, None, None

    def _again(self, frame: Frame, module: nn.Module) -> bool:
        """The same leaf on the same shape, read the same way: a step of a loop."""
        shapes, x = self.glances.get(id(module)), frame.argument
        known = shapes.get(x.shape) if shapes is not None and x is not None else None
        if known is None or x is None or len(frame.reads) != 1:
            return False
        (read,) = frame.reads
        if read.site is not known.site or read.fans is not known.fans or not read.is_input(x):
            return False
        self._not_woken_in(frame)
        self.trail.append(known.index)
        return True

    def _glance(self, frame: Frame, module: nn.Module) -> Glance | None:
        x = frame.argument
        if len(frame.reads) != 1 or x is None:
            return None
        (read,) = frame.reads
        if not read.made_of or x.numel() == 0 or read.x.dtype != x.dtype:
            return None
        if sum(p is not None and p.shape == read.made_of[0].shape for p in module._parameters.values()) > 1:
            return None  # by its input alone nobody tells which of them it meets
        fans = read.fans if read.is_input(x) else unpadded(read, x, module)
        if fans is None:
            return None
        # also a weight made anew in every call (pruning) stays what it was while its parameters stay
        self.weigh(read)
        return Glance(self._next, read.site, fans, x.dtype if x.is_cpu else None)

    def plan(self, forward: Forward, clock: Clock, *, wakeable: bool) -> Plan:
        plan = Plan(forward.work, forward.lost, forward.arithmetic_calls, forward.used, clock)
        for wake in self.wakes:
            wake.origin = wake.frame  # that of the survey holds what its module was given
        plan.glances, plan.trail, plan.weights = self.glances, self.trail, [w for w, _ in self.weights.values()]
        plan.regions, plan.unwatched = forward.regions, frozenset(self.unwatchable)
        plan.versions = [version for _, version in self.weights.values()]
        if not self.outside and not forward.outside:
            plan.mode = "hooks"
        elif torch._C._is_any_autocast_enabled():
            pass  # an operator that is heard has not cast its arguments yet
        elif (
            wakeable
            and not (forward.derived or self.derived or self.transformed)
            and not self.unwatchable & set(self.glances)
        ):
            plan.heard = frozenset(op for op, leaf in forward.contracting if leaf not in self.glances)
            read = len(self.trail) + sum(wake.reads for wake in self.wakes)
            if self.wakes and read == forward.reads:
                plan.mode, plan.wakes = "function", self.wakes
            elif not self.wakes:
                plan.mode = "learn"
        return plan


class LastComparison(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own initialiser has no types
    """On in a named region of a watched forward: its last comparison makes the spikes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.spikes: Tensor | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and func._schema.name.removeprefix("aten::").partition(".")[0] in COMPARISONS:
            self.spikes = out
        return out


def leave_region(rec: Recorder, spikes: Tensor | None) -> None:
    """A region of a watched forward ended: read its spikes if it is the one that the survey saw here."""
    plan, place = rec.watched, rec.regions_left
    rec.regions_left = place + 1
    path = plan.regions[place] if plan is not None and place < len(plan.regions) else None
    if path is None:
        return
    if spikes is None:
        rec.trail.append(DIFFERENT)
    else:
        rec.layers.output(path).take(spikes.detach(), OUTPUT_FANS)


def glance_hook(rec: Recorder, module: nn.Module) -> Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any]], None]:
    """Forward pre-hook of one leaf: read its input if a watched forward is open."""
    key = id(module)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] = NO_KEYWORDS) -> None:
        plan = rec.watched
        if get_ident() != rec.thread:
            return
        if plan is None:
            if rec.depth:
                return
            rec.doors.enter(module, args, kwargs)
            plan = rec.watched
            if plan is None:
                return
        shapes = plan.glances.get(key)
        x = args[0] if args else None
        glance = shapes.get(x.shape) if shapes is not None and isinstance(x, Tensor) else None
        if glance is None or not isinstance(x, Tensor):
            if key not in plan.unwatched:
                rec.trail.append(DIFFERENT)
            return
        rec.trail.append(glance.index)
        glance.site.take(x, glance.fans)

    return hook


def output_hook(rec: Recorder, module: nn.Module) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    """Forward hook of a neuron whose spikes no layer reads as they are."""
    key = id(module)

    def hook(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        plan = rec.watched
        if plan is None or key not in plan.outputs or get_ident() != rec.thread:
            return
        site, index = plan.outputs[key]
        site.take(unwrapped(outputs_of(out)[index]), OUTPUT_FANS)

    return hook
