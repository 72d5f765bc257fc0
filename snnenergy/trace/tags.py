"""What is known of a storage: how near it is to a parameter, who produced it, its padding, and which of its elements are whose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from snnenergy.trace.tensors import valueless

OWN, PARAMETER, BUFFER, ACTIVATION = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Segments:
    """Which source each element of a storage came from: one label per element, names[label].

    Labels lie as the elements do, so every view of the storage finds its own.
    """

    labels: Tensor
    names: tuple[str, ...]

    @classmethod
    def laid(cls, labels: Tensor, t: Tensor, names: tuple[str, ...]) -> Segments:
        """Labels of t's shape, laid as t lies in its storage."""
        flat = torch.zeros(_elements(t), dtype=labels.dtype, device=device_of(t))
        flat.as_strided(t.shape, t.stride(), t.storage_offset()).copy_(labels)
        return cls(flat, names)

    def of(self, t: Tensor) -> Tensor | None:
        """Labels of t's shape; None where its elements are others, as those of a view of another type."""
        if _elements(t) != self.labels.numel():
            return None
        return self.labels.as_strided(t.shape, t.stride(), t.storage_offset())


class Padding(NamedTuple):
    """Explicit zeros in the tensor that begins at `offset` of a storage: (lo, hi) of the axes that have them."""

    offset: int
    axes: frozenset[tuple[int, int]]  # (size, stride) of every axis longer than 1
    pairs: dict[tuple[int, int], tuple[int, int]]


class Tag(NamedTuple):
    """What is known of a storage.

    level: PARAMETER, BUFFER or ACTIVATION; pad: zeros it was padded with
    made: from nothing, like the zeros a state starts from: what computes on it is not driven by its producer
    """

    level: int = ACTIVATION
    producer: str | None = None
    neuron: bool = False
    linear: bool = False
    compared: bool = False
    made: bool = False
    pad: Padding | None = None
    segments: Segments | None = None
    roots: frozenset[int] = frozenset()  # storages of the parameters a weight was computed from


UNKNOWN = Tag()


def _elements(t: Tensor) -> int:
    """How many elements of t's type its storage has room for."""
    return t.untyped_storage().nbytes() // t.element_size()


def device_of(t: Tensor) -> torch.device:
    """Where t's labels are: they have values whether t has or not."""
    return torch.device("cpu") if valueless(t) else t.device
