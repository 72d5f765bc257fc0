"""What torch says of a tensor by itself: where it lies, how often it was written, whether it has values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def version(t: Tensor) -> int:
    """How often a tensor was written in place; -1 for inference tensors, which do not say."""
    return -1 if t.is_inference() else int(t._version)


def valueless(t: Tensor) -> bool:
    """Whether a tensor has a shape and no values: made under FakeTensorMode, or on the meta device."""
    return isinstance(t, FakeTensor) or t.is_meta


def address(t: Tensor) -> int:
    """Where a tensor begins; one without values lies nowhere, and its storage and offset stand for the place."""
    if valueless(t):
        return (storage(t) << 48) + int(t.storage_offset())
    return int(t.data_ptr())


def transformed(t: Tensor) -> bool:
    """Whether a tensor is one that torch.func (vmap, jacrev, ...) wraps: its values lie in another, larger one."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(t))


def unwrapped(t: Tensor) -> Tensor:
    """The tensor of all samples below any transform of torch.func."""
    while transformed(t):
        t = torch._C._functorch.get_unwrapped(t)
    return t


def standing(t: Tensor) -> tuple[int, int]:
    """A parameter's version and place: it holds what it held while both stay, but for edits through `.data`."""
    return version(t), address(t)


def storage(t: Tensor) -> int:
    found: int = t.untyped_storage()._cdata  # the storage object's identity; data_ptr is 0 on meta tensors
    return found
