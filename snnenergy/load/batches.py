"""A data set as batches: files mapped into memory, or whatever iterable the user's code makes; cut at a limit, dealt to shards.

Batch i of the whole data set belongs to shard `i % shards`: shards are disjoint and together they are the whole, whoever
runs them.  What belongs to others is not read, where the source can be asked for parts of itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError
from snnenergy.load.arrays import INPUT_KEYS, LABEL_KEYS

if TYPE_CHECKING:
    import torch

    from snnenergy.load.inputs import Slot

BATCH = 64
"""Samples of one forward, where neither the data nor the user says how many."""

Layout = Callable[[Sequence[int], int | None], tuple[int | None, int | None]]
"""(shape of the first input, labels beside it) -> (time axis, sample axis), as far as they are proven."""


@dataclass(frozen=True)
class Batch:
    """Inputs of one forward.

    index: which batch of the data set; start: position of its first sample there; axis: of its samples
    samples: how many it holds; proven: they were told by labels or by the model, not taken to lie on the usual axis
    """

    inputs: tuple[Any, ...]
    kwargs: dict[str, Any]
    labels: Any
    index: int
    start: int
    samples: int
    axis: int = 0
    proven: bool = False
    time_axis: int | None = None

    def part(self, first: int, count: int) -> Batch:
        """`count` of its samples from the `first` on: of every tensor that has as many along the axis."""
        return Batch(
            tuple(self._cut(x, first, count) for x in self.inputs),
            {name: self._cut(x, first, count) for name, x in self.kwargs.items()},
            None if self.labels is None else self.labels[first : first + count],
            self.index, self.start + first, count, self.axis, self.proven, self.time_axis,
        )  # fmt: skip  # the fields as they stand in the class

    def _cut(self, x: Any, first: int, count: int) -> Any:
        shape = getattr(x, "shape", ())
        if len(shape) <= self.axis or shape[self.axis] != self.samples:
            return x
        return x.narrow(self.axis, first, count)


@dataclass(frozen=True)
class Cut:
    """Which samples of a data set this process takes: the first `limit`, of those its shard's, of those all but `skip`."""

    limit: int | None = None
    shard: int = 0
    shards: int = 1
    skip: int = 0

    @property
    def whole(self) -> bool:
        return self.limit is None and self.shards == 1 and not self.skip


WHOLE = Cut()


@dataclass
class Dealer:
    """Walks over the sizes of all batches in order."""

    cut: Cut
    index: int = 0
    start: int = 0
    taken: int = 0

    @property
    def done(self) -> bool:
        return self.cut.limit is not None and self.start >= self.cut.limit

    def deal(self, size: int) -> Place:
        """What this process takes of the next batch, of so many samples; `count` 0: nothing."""
        if self.cut.limit is not None:
            size = min(size, self.cut.limit - self.start)
        mine = self.index % self.cut.shards == self.cut.shard
        first = min(size, max(0, self.cut.skip - self.taken)) if mine else size
        place = Place(self.index, self.start + first, first, size - first)
        self.index, self.start, self.taken = self.index + 1, self.start + size, self.taken + size * mine
        return place


@dataclass(frozen=True)
class Place:
    """One batch: its index, the position of its first sample that is taken, that sample's own index in it, and how many."""

    index: int
    start: int
    first: int
    count: int


@dataclass
class Batches:
    """An iterable of Batch, once.  total: samples this process will see, where that can be known; notes: what was done."""

    source: str
    make: Callable[[Batches], Iterator[Batch]]
    total: int | None = None
    notes: list[str] = field(default_factory=list)
    seed: int = 0

    def __iter__(self) -> Iterator[Batch]:
        seed_everything(self.seed)
        return self.make(self)

    def note(self, words: str) -> None:
        if words not in self.notes:
            self.notes.append(words)


def from_iterable(made: Any, spec: str, cut: Cut, reading: Reading, batch_size: int | None) -> Batches:
    """Batches of an iterable, a DataLoader or a data set of torch; `made` may be a function that returns one."""
    from torch.utils.data import DataLoader, Dataset, IterableDataset

    if callable(made) and not hasattr(made, "__iter__") and not isinstance(made, Dataset):
        made = _called(made, spec)
    if isinstance(made, Dataset) and not isinstance(made, IterableDataset):
        made = DataLoader(made, batch_size=batch_size or BATCH)
    elif batch_size is not None:
        raise InputError(f"--batch-size {batch_size}: {spec} makes its own batches; set their size there")
    if not hasattr(made, "__iter__"):
        raise InputError(
            f"--data {spec}: expected an iterable of batches, a DataLoader or a function that returns one; found a {type(made).__name__}"
        )
    _no_other_shards(made, spec)
    by_index = isinstance(made, DataLoader) and getattr(made, "batch_sampler", None) is not None
    total = _total(made, cut) if by_index else cut.limit if cut.shards == 1 and not cut.skip else None
    if by_index and not cut.whole:
        return Batches(spec, lambda own: _by_index(made, own, cut, reading), total)
    return Batches(spec, lambda own: _one_by_one(made, own, cut, reading), total)


def _called(make: Callable[[], Any], spec: str) -> Any:
    from snnenergy.load.factory import here_first
    from snnenergy.load.files import said

    try:
        with here_first():
            return make()
    except Exception as error:
        raise InputError(f"--data {spec}: raised {type(error).__name__}: {said(error)}") from error


def _no_other_shards(made: Any, spec: str) -> None:
    """A DistributedSampler repeats samples until shards are even: the counts would not be those of the data set."""
    from torch.utils.data.distributed import DistributedSampler

    sampler = getattr(made, "sampler", None)
    if isinstance(sampler, DistributedSampler) and sampler.num_replicas > 1:
        raise InputError(
            f"--data {spec}: its DistributedSampler repeats samples to make shards even; hand over the loader without it: "
            "snnenergy deals the batches to the processes itself"
        )


def _total(loader: Any, cut: Cut) -> int | None:
    """Samples this process will see of a DataLoader that knows its length."""
    try:
        length, size = len(loader.sampler), loader.batch_size
    except TypeError:
        return None
    if size is None:
        return None
    length -= length % size if loader.drop_last else 0
    return total_of([min(size, length - i) for i in range(0, length, size)], cut)


def total_of(sizes: Iterable[int], cut: Cut) -> int:
    dealer = Dealer(cut)
    return sum(dealer.deal(size).count for size in sizes if not dealer.done)


def _one_by_one(made: Iterable[Any], own: Batches, cut: Cut, reading: Reading) -> Iterator[Batch]:
    """Every batch comes by; those of others are let go."""
    dealer = Dealer(cut)
    for item in _pulled(made, own):
        batch = reading.batch(item, dealer.index, dealer.start, own)
        place = dealer.deal(batch.samples)
        if place.count == batch.samples:
            yield batch
        elif place.count:
            yield batch.part(place.first, place.count)
        if dealer.done:
            return


def _by_index(loader: Any, own: Batches, cut: Cut, reading: Reading) -> Iterator[Batch]:
    """A DataLoader that fetches this shard's samples only: its own sampler decides which samples make a batch."""
    from torch.utils.data import DataLoader

    dealer, places = Dealer(cut), list[Place]()

    class Dealt:
        def __iter__(self) -> Iterator[list[Any]]:
            for indices in loader.batch_sampler:
                if dealer.done:
                    return
                place = dealer.deal(len(indices))
                if place.count:
                    places.append(place)
                    yield list(indices)[place.first : place.first + place.count]

    same = "num_workers collate_fn pin_memory timeout worker_init_fn multiprocessing_context generator prefetch_factor".split()
    dealt: Any = DataLoader(loader.dataset, batch_sampler=Dealt(), **{name: getattr(loader, name) for name in same})
    for item in _pulled(dealt, own):
        place = places.pop(0)
        batch = reading.batch(item, place.index, place.start, own)
        if batch.samples != place.count:
            raise InputError(
                f"{own.source}: batch {place.index}: {place.count} samples were asked for, {_sizes(batch)} came; "
                "their axis is not known: pass --time-axis, or deliver labels"
            )
        yield batch


def _sizes(batch: Batch) -> str:
    shapes = [tuple(x.shape) for x in (*batch.inputs, *batch.kwargs.values()) if hasattr(x, "shape")]
    return " and ".join(map(str, shapes))


def _pulled(made: Iterable[Any], own: Batches) -> Iterator[Any]:
    """The items of the user's iterable; what it raises is said to be its own."""
    from snnenergy.load.factory import here_first
    from snnenergy.load.files import said

    def failed(at: int, error: Exception) -> InputError:
        return InputError(f"--data {own.source}: raised {type(error).__name__} after {at} batches: {said(error)}")

    i = 0
    try:
        with here_first():
            items = iter(made)
    except Exception as error:
        raise failed(i, error) from error
    while True:
        try:
            with here_first():
                item = next(items)
        except StopIteration:
            return
        except Exception as error:
            raise failed(i, error) from error
        yield item
        i += 1


@dataclass
class Reading:
    """How the items of a data set become batches for one model.

    slots: what the model takes; parameters: names of its forward's parameters; layout: what shapes prove about axes
    time_axis: as the user gave it; prepare: the last change to the one input (an encoding), told the first sample's position
    """

    slots: Sequence[Slot]
    parameters: Sequence[str]
    layout: Layout
    time_axis: int | None = None
    prepare: Callable[[Any, int], tuple[Any, int, int]] | None = None
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
        return Batch(inputs, kwargs, labels, index, start, samples, axis, proven, time_axis)

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
    if labels.dim() == 2 and labels.shape[1] > 1:  # one-hot, or shares of classes
        return labels.argmax(1)
    return labels.reshape(-1)


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


def seed_everything(seed: int) -> None:
    """Every generator at one seed: every shard, and a resumed run, must see the same order of samples."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the generator that users' loaders draw from is the global one
    torch.manual_seed(seed)
