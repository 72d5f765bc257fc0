"""What decides whether two forwards do the same: shapes, plain arguments, modes; and small questions about tensors."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnenergy.trace.arrays import host
from snnenergy.trace.tensors import valueless

_LISTS = (list, tuple)


def binary(t: Tensor) -> bool:
    if valueless(t):
        return False
    values = host(t)
    found = values[values != 0]
    return found.size > 0 and bool((found == found.reshape(-1)[0]).all())


def all_tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Mapping):
            found.extend(all_tensors(tuple(value.values())))
        elif isinstance(value, list | tuple):
            found.extend(all_tensors(tuple(value)))
    return [t for t in found if t.layout == torch.strided]


def tensors_among(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among an operator's arguments or results, and in the lists of them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, _LISTS):
            found += [v for v in value if isinstance(v, Tensor)]
    return found


def outputs_of(out: Any) -> list[Tensor]:
    """The tensors that a module returned, in their order: of which one is a neuron's spikes."""
    return [out] if isinstance(out, Tensor) else tensors_among(out if isinstance(out, _LISTS) else (out,))


def given(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Tensor], tuple[tuple[str, Any], ...]]:
    """The tensors among the arguments, and what is plain; most models are given one tensor."""
    if len(args) == 1 and not kwargs and type(args[0]) is Tensor and args[0].layout is torch.strided:
        return [args[0]], ()
    return all_tensors((*args, *kwargs.values())), plain(args, kwargs)


def plain(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The numbers and strings among the arguments, and in what holds them: they may decide what runs."""
    rows = [*((str(i), a) for i, a in enumerate(args)), *kwargs.items()]
    return tuple(row for name, value in rows for row in _plain(name, value))


def _plain(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if value is None or isinstance(value, bool | int | float | str):
        yield name, value
    elif isinstance(value, Mapping | list | tuple):
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in inner:
            yield from _plain(f"{name}.{key}", part)


def calls_running(module: nn.Module) -> int:
    """How many calls of a module are on this thread's stack."""
    found, frame = 0, sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        found += frame.f_code is nn.Module._call_impl.__code__ and frame.f_locals.get("self") is module
    return found


def modes(modules: Sequence[nn.Module]) -> tuple[Any, ...]:
    casts = torch._C._is_any_autocast_enabled()
    return (
        tuple([getattr(module, "training", None) for module in modules]),  # a frozen ScriptModule has none
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        casts and tuple((torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")),
    )
