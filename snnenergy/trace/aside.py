"""A model set aside: whatever runs inside, afterwards its modules hold what they held, bit for bit."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnenergy.trace.tensors import version


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Modes, attributes, parameters, buffers, states and gradients of `model`, and all random generators, are put back."""
    modules = list(model.modules())
    containers: dict[int, tuple[Any, Any]] = {}
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}  # a ScriptModule's are not its own
    for module in modules:
        _reach(vars(module), containers, tensors)
    values = [(t, t.detach().clone(), version(t)) for t in tensors.values()]
    modes = [getattr(module, "training", None) for module in modules]  # a frozen ScriptModule has none
    grads = [(p, p.grad) for p in model.parameters()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # encoders draw from the global generator
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # as above
        for value, was in containers.values():
            _put_back(value, was)
        with torch.no_grad():
            for t, was, at in values:
                if version(t) != at or not torch.equal(t, was):
                    t.copy_(was)
        for module, mode in zip(modules, modes, strict=True):
            if mode is not None and module.training is not mode:  # a ScriptModule keeps it elsewhere
                module.training = mode
        for p, grad in grads:
            p.grad = grad


_CONTAINERS = (dict, list, set, deque)


def _reach(value: Any, containers: dict[int, tuple[Any, Any]], tensors: dict[int, Tensor]) -> None:
    """Finds what a module holds, also inside containers: those as they are now, and every tensor that may be written."""
    if isinstance(value, Tensor):
        tensors[id(value)] = value
    elif isinstance(value, (*_CONTAINERS, tuple)) and id(value) not in containers:
        containers[id(value)] = value, dict(value) if isinstance(value, dict) else list(value)
        for part in value.values() if isinstance(value, dict) else value:
            _reach(part, containers, tensors)


def _put_back(value: Any, was: Any) -> None:
    """A container holds again what it held."""
    if isinstance(value, _CONTAINERS):
        value.clear()
        (value.update if isinstance(value, dict | set) else value.extend)(was)
