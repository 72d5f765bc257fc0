"""Single operators heard from Python: those that contract outside the leaves, and no others.

A `TorchFunctionMode` passes every call of the forward through Python to find the few that matter.  Here a kernel of ours is
registered for just those operators, at a dispatch key that no backend and no feature of torch uses; the key is switched
on in this thread while a forward is watched.  Every other operator falls through the key at no cost, inside ScriptModules
and C++ code too, and the kernels that compute are the model's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.library import Library, fallthrough_kernel

from snnenergy.trace.forward import Frame, Read
from snnenergy.trace.sites import Fans, Site, read_product
from snnenergy.trace.tensors import transformed

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder
    from snnenergy.trace.watch import Builder, Plan

DIFFERENT = -1
"""In a trail: something else than in the forward that was surveyed."""
KEY = "TESTING_ONLY_GenericMode"
Listener = Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]
"""Called in place of an operator: (op, args, kwargs) -> its result."""

_thread = threading.local()


@cache
def _key() -> Any:
    """The dispatch key, through which everything falls that has no kernel there."""
    fallback = _library("_")
    fallback.fallback(fallthrough_kernel, KEY)
    return torch._C._dispatch_key_parse(KEY), fallback


def _library(namespace: str) -> Any:
    return Library(namespace, "IMPL", KEY)  # type: ignore[no-untyped-call]  # torch's own initialiser has no types


@cache
def _hear(op: Any) -> Any:
    """Registers our kernel for one operator, for as long as the process lives."""
    schema, ours = op._schema, torch._C.DispatchKeySet(_key()[0])

    def kernel(*args: Any, **kwargs: Any) -> Any:
        listeners: list[Listener] = getattr(_thread, "listeners", [])  # another thread may have inherited the key
        if not listeners:  # heard already: torch.func's transforms come by again with the key switched on anew
            with torch._C._ExcludeDispatchKeyGuard(ours):
                return op(*args, **kwargs)
        listener = listeners.pop()
        try:
            if listeners:
                return listener(op, args, kwargs)
            with torch._C._ExcludeDispatchKeyGuard(ours):
                return listener(op, args, kwargs)
        finally:
            listeners.append(listener)

    library = _library(op.namespace)
    library.impl(".".join(filter(None, (schema.name.partition("::")[2], schema.overload_name))), kernel)
    return library


@contextmanager
def listening(ops: Iterable[Any], listener: Listener) -> Iterator[None]:
    """While it is open, `listener` is called in place of each of `ops` in this thread; what runs inside one is not heard."""
    key, _ = _key()
    for op in ops:
        _hear(op)
    if not hasattr(_thread, "listeners"):
        _thread.listeners = []
    _thread.listeners.append(listener)
    try:
        with torch._C._IncludeDispatchKeyGuard(key):
            yield
    finally:
        _thread.listeners.remove(listener)


@dataclass(slots=True)
class Wake:
    """One call of an operator that is listened for: which, in which frame, on which shapes, and how it is read.

    weighted: (argument, site, fans) where it is one product of that argument with a weight; weight: (argument, address)
    of that, where it is one parameter as it lies
    product: the two sites where it is one product of its first two arguments; neither: the survey is woken
    reads: what the survey read in it; 0 where nothing is to be read (a hooked leaf has read its input already)
    """

    op: Any
    frame: Frame
    shapes: tuple[Any, ...]
    origin: Frame
    reads: int
    weighted: tuple[int, Site, Fans] | None = None
    weight: tuple[int, int] | None = None
    product: tuple[Site, Site] | None = None


def _shapes(args: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([a.shape if isinstance(a, Tensor) else None for a in args])


class Learner:
    """Listens during a survey: how can each call of the operators that contract outside the leaves be read?"""

    def __init__(self, rec: Recorder, builder: Builder) -> None:
        self.rec, self.builder = rec, builder

    def __call__(self, op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        survey = self.rec.surveying
        if survey is None or survey.replaying:
            return op(*args, **kwargs)
        if any(isinstance(a, Tensor) and transformed(a) for a in args):
            self.builder.transformed = True
            return op(*args, **kwargs)
        before = self.rec.reads
        shapes = _shapes(args)
        out = op(*args, **kwargs)
        reads = self.rec.reads - before
        here = survey.frames[-1]
        frame = Frame(here.path, here.type_name, here.leaf, None, here.neuron)
        weighted, product = self._direct(args) if reads == 1 else (None, None)
        weight = self._weight(args) if weighted is not None else None
        self.builder.wakes.append(Wake(op, frame, shapes, here, reads, weighted, weight, product))
        return out

    def _direct(self, args: Sequence[Any]) -> tuple[tuple[int, Site, Fans] | None, tuple[Site, Site] | None]:
        """Can the one contraction of this call be read from its arguments as they are?"""
        last = self.rec.survey.last
        if isinstance(last, Read):
            if last.made_of:
                for i, x in enumerate(args):
                    if isinstance(x, Tensor) and x.dtype == last.x.dtype and last.is_input(x):
                        self.builder.weigh(last)
                        return (i, last.site, last.fans), None
        elif last is not None and len(args) > 1 and isinstance(args[0], Tensor) and isinstance(args[1], Tensor):
            left, right, a, b = last
            if all(_is(x, y) for x, y in zip(args, (a, b), strict=False)):
                return None, (left, right)
        return None, None

    def _weight(self, args: Sequence[Any]) -> tuple[int, int] | None:
        last = self.rec.survey.last
        if not isinstance(last, Read) or not last.steady:
            return None
        at = last.weight.data_ptr()
        return next(((i, at) for i, a in enumerate(args) if isinstance(a, Tensor) and a.data_ptr() == at), None)


def _is(x: Tensor, read: Tensor) -> bool:
    """Is an argument [..., m, k] what was read [B, m, k], as it lies?"""
    same = x.dim() > 1 and x.shape[-2:] == read.shape[1:] and x.numel() == read.numel() and x.dtype == read.dtype
    return same and x.data_ptr() == read.data_ptr() and x.stride()[-2:] == read.stride()[1:]


class Waker:
    """Listens during a watched forward: reads what the survey learnt to read, and wakes it for the rest."""

    def __init__(self, rec: Recorder, plan: Plan) -> None:
        self.rec, self.wakes, self.next = rec, plan.wakes, 0

    def __call__(self, op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        place = self.next
        self.next = place + 1
        wake = self.wakes[place] if place < len(self.wakes) else None
        if wake is None or wake.op is not op or wake.shapes != _shapes(args):
            self.rec.trail.append(DIFFERENT)
        elif wake.weighted is not None:
            if wake.weight is not None and args[wake.weight[0]].data_ptr() != wake.weight[1]:
                self.rec.trail.append(DIFFERENT)
            index, site, fans = wake.weighted
            site.take(args[index], fans)
        elif wake.product is not None:
            a, b = (x.detach().reshape(-1, *x.shape[-2:]) for x in args[:2])
            read_product(*wake.product, a, b)
        elif wake.reads:
            survey = self.rec.survey
            survey.frames = [wake.frame]
            with survey:
                return op(*args, **kwargs)
        return op(*args, **kwargs)
