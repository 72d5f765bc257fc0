"""What one item of a data set is to a model: which tensors are its inputs, where its samples lie, what its labels are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError
from snnenergy.load.arrays import INPUT_KEYS, LABEL_KEYS
from snnenergy.load.batches import Batch, Batches

if TYPE_CHECKING:
    import torch

    from snnenergy.load.inputs import Slot

Layout = Callable[[Sequence[int], int | None], tuple[int | None, int | None]]
"""(shape of the first input, labels beside it) -> (time axis, sample axis), as far as they are proven."""


@dataclass
class Reading:
    """How the items of a data set become batches for one model.

    slots: what the model takes; parameters: names of its forward's parameters; layout: what shapes prove about axes
    placed: of every Batch; time_axis: as the user gave it; prepare: the last change to the one input (an encoding), told the first sample's position
    """

    slots: Sequence[Slot]
    parameters: Sequence[str]
    layout: Layout
    time_axis: int | None = None
    prepare: Callable[[Any, int], tuple[Any, int, int]] | None = None
    placed: bool = False
    _axes: tuple[int | None, int | None] | None = None

    def batch(self, item: Any, index: int, start: int, own: Batches) -> Batch:
        """One item: a tensor, a tuple (x, labels), or a dict by name."""
        where = f"{own.source}: batch {index}"
        inputs, kwargs, labels = self._parts(item, where, own)
        return self._made(inputs, kwargs, labels, where, index, start)

    def arrays(self, parts: Sequence[Any], labels: Any, index: int, start: int, own: Batches) -> Batch:
        """One part of a file's arrays."""
        where = f"{own.source}: batch {index}"
        inputs = tuple(self._input(x, i, where, own) for i, x in enumerate(parts))
        return self._made(inputs, {}, None if labels is None else _labels(labels, where), where, index, start)

    def axes(self, shape: Sequence[int], labels: int | None) -> tuple[int | None, int, bool]:
        """Time axis, sample axis and whether that is proven; the first shape that is seen decides for all."""
        if self._axes is None:
            self._axes = self.layout(shape, labels)
        time_axis, axis = self._axes
        if self.time_axis is not None:
            time_axis = self.time_axis % len(shape)
        usual = 1 if time_axis == 0 and len(shape) > 1 else 0
        return time_axis, usual if axis is None else axis, axis is not None

    def _made(self, inputs: Any, kwargs: dict[str, Any], labels: Any, where: str, index: int, start: int) -> Batch:
        first = next((x for x in (*inputs, *kwargs.values()) if hasattr(x, "shape") and x.dim()), None)
        if first is None:
            raise InputError(f"{where}: holds no tensor with a sample axis")
        time_axis, axis, proven = self.axes(tuple(first.shape), None if labels is None else len(labels))
        samples = int(first.shape[axis])
        if labels is not None and len(labels) != samples:
            raise InputError(
                f"{where}: {len(labels)} labels for {samples} samples (input {tuple(first.shape)}, axis {axis})"
            )
        if not samples:
            raise InputError(f"{where}: holds no sample: its input has shape {tuple(first.shape)}")
        if self.prepare is not None:
            if len(inputs) != 1 or kwargs:
                raise InputError(f"{where}: --encode encodes one tensor; the batch holds {len(inputs) + len(kwargs)}")
            x, time_axis, axis = self.prepare(inputs[0], start)
            inputs, proven = (x,), True
        return Batch(inputs, kwargs, labels, index, start, samples, axis, proven, time_axis, self.placed)

    def _parts(self, item: Any, where: str, own: Batches) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        if isinstance(item, dict):
            return self._named(item, where, own)
        if isinstance(item, list | tuple):
            if len(item) == 2:
                return (self._input(item[0], 0, where, own),), {}, _labels(item[1], where)
            if len(item) != 1:
                raise InputError(
                    f"{where}: a tuple of {len(item)}: expected (x, labels), or a dict with the names of forward's arguments"
                )
            item = item[0]
        return (self._input(item, 0, where, own),), {}, None

    def _named(self, item: dict[Any, Any], where: str, own: Batches) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        label = next((k for k in LABEL_KEYS if k in item and len(item) > 1), None)
        rest = {str(k): v for k, v in item.items() if k != label}
        labels = None if label is None else _labels(item[label], where)
        names = [slot.name for slot in self.slots]
        if names and set(names) == set(rest):  # an exported program takes its inputs in its own order
            return tuple(self._input(rest[n], i, where, own) for i, n in enumerate(names)), {}, labels
        if set(rest) <= set(self.parameters):
            return (), {n: self._input(v, None, where, own) for n, v in rest.items()}, labels
        if len(rest) == 1 and next(iter(rest)) in (*INPUT_KEYS, "image", "images", "data"):
            (value,) = rest.values()
            return (self._input(value, 0, where, own),), {}, labels
        raise InputError(
            f"{where}: holds {', '.join(map(repr, rest))}; forward takes {', '.join(self.parameters) or 'none of these names'}"
        )

    def _input(self, value: Any, slot: int | None, where: str, own: Batches) -> Any:
        """A tensor in the dtype the model takes; what is no array stays what it is, where it has a name."""
        from snnenergy.load.inputs import Slot, as_slot

        if slot is None and not hasattr(value, "dtype"):
            return value
        x = _tensor(value, where)
        known = self.slots[slot] if slot is not None and slot < len(self.slots) else None
        if slot is None:
            return x
        notes: list[str] = []
        x = as_slot(x, known or Slot("x"), known.name if known else "x", notes)
        for words in notes:
            own.note(words)
        return x


def _labels(value: Any, where: str) -> Any:
    labels = _tensor(value, where)
    several = labels.dim() == 2 and labels.shape[1] > 1  # one-hot, or shares of classes
    return labels if several else labels.reshape(-1)


def _tensor(value: Any, where: str) -> torch.Tensor:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(v, torch.Tensor | np.ndarray) for v in value):
        shapes = list(dict.fromkeys(tuple(v.shape) for v in value))
        if len(shapes) > 1:
            raise InputError(
                f"{where}: ragged: samples of shape {shapes[0]} and {shapes[1]}; pad them, or batch equal ones"
            )
        return torch.stack([torch.as_tensor(v) for v in value])
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{where}: ragged: its samples differ in length; pad them, or batch equal ones") from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise InputError(f"{where}: expected a tensor or an array of numbers, found {_kind(value)}")
    return torch.as_tensor(array)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
