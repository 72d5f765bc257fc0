"""Models and inputs that have shapes and no values (torch's FakeTensor): 7 B parameters take no memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError
from snnenergy.load.inputs import Inputs, Slot

if TYPE_CHECKING:
    import torch

MAX_ELEMENTS = 2**48
"""Largest input, elements: what counts are made of stays far below 2^63."""


def mode() -> Any:
    """A FakeTensorMode: what is made inside it has no values; parameters that a file brought are taken by their shapes."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def inputs(shape: Sequence[int], slots: Sequence[Slot], _seed: int) -> Inputs:
    """One input of that shape, of the dtype the model takes, without values."""
    import torch

    if not shape or any(n <= 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        text = ",".join(map(str, shape))
        raise InputError(f"--input-shape {text}: expected positive sizes of at most 2^48 elements in all")
    if len(slots) > 1:
        raise InputError(
            f"--input-shape makes up one input; the model takes {len(slots)}: return them from the factory"
        )
    dtype = slots[0].dtype if slots and slots[0].dtype is not None else torch.float32
    return Inputs((torch.empty(tuple(shape), dtype=dtype, device="meta"),))


def only(fake: Any, value: Any) -> Any:
    """The same nest of tuples, lists and mappings, its tensors without values and on the CPU; one tensor stays one."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensor
    from torch.utils import _pytree

    made: dict[int, torch.Tensor] = {}

    def shaped(x: Any) -> Any:
        ours = isinstance(x, FakeTensor) and x.fake_mode is fake and x.device.type == "cpu"
        if ours or not isinstance(x, torch.Tensor):
            return x
        if id(x) not in made:
            with fake:
                made[id(x)] = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cpu")
        return made[id(x)]

    return _pytree.tree_map(shaped, value)


def place(fake: Any, module: torch.nn.Module) -> None:
    """Every parameter and buffer becomes one without values, on the CPU; what was one tensor stays one."""
    import torch

    made: dict[int, Any] = {}
    for own in (held for m in module.modules() for held in (m._parameters, m._buffers)):
        for name, t in own.items():
            if t is None:
                continue
            if id(t) not in made:
                shaped = only(fake, t.detach())
                made[id(t)] = (
                    torch.nn.Parameter(shaped, t.requires_grad) if isinstance(t, torch.nn.Parameter) else shaped
                )
            own[name] = made[id(t)]
