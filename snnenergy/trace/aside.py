"""A model set aside: whatever runs inside, afterwards its modules hold what they held, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnenergy.trace.lineage import version


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Modes, attributes, parameters, buffers, states and gradients of `model`, and all random generators, are put back."""
    modules = list(model.modules())
    held = [{name: (value, _items(value)) for name, value in vars(module).items()} for module in modules]
    tensors = {
        id(t): t for t in (*_tensors(held), *model.parameters(), *model.buffers())
    }  # a ScriptModule's are not its own
    values = [(t, t.detach().clone(), version(t)) for t in tensors.values()]
    modes = [module.training for module in modules]
    grads = [(p, p.grad) for p in model.parameters()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # encoders draw from the global generator
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # as above
        for module, own in zip(modules, held, strict=True):
            _put_back(vars(module), own)
        with torch.no_grad():
            for t, was, at in values:
                if version(t) != at or not torch.equal(t, was):
                    t.copy_(was)
        for module, mode in zip(modules, modes, strict=True):
            if module.training is not mode:  # a ScriptModule keeps it elsewhere
                module.training = mode
        for p, grad in grads:
            p.grad = grad


def _items(value: Any) -> Any:
    """What a container holds now; None for anything else."""
    return type(value)(value) if type(value) in (dict, list) else None


def _put_back(now: dict[str, Any], before: dict[str, tuple[Any, Any]]) -> None:
    for name in [name for name in now if name not in before]:
        del now[name]
    for name, (value, items) in before.items():
        now[name] = value
        if isinstance(value, dict) and items is not None:
            value.clear()
            value.update(items)
        elif items is not None:
            value[:] = items


def _tensors(held: list[dict[str, tuple[Any, Any]]]) -> list[Tensor]:
    """Every tensor that a module holds: a forward may write it in place."""
    found: dict[int, Tensor] = {}
    for own in held:
        for value, items in own.values():
            inner = items.values() if isinstance(items, dict) else items if items is not None else (value,)
            found |= {id(t): t for t in inner if isinstance(t, Tensor)}
    return list(found.values())
