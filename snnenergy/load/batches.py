"""A data set as batches, cut at a limit and dealt to shards.

Batch i of the whole data set belongs to shard `i % shards`: shards are disjoint and together they are the whole, whoever
runs them.  What belongs to others is not read, where the source can be asked for parts of itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from snnenergy.errors import InputError

BATCH = 64
"""Samples of one forward, where neither the data nor the user says how many."""


@dataclass(frozen=True)
class Batch:
    """Inputs of one forward.

    index: which batch of the data set; start: position of its first sample there; axis: of its samples
    samples: how many it holds; proven: they were told by labels or by the model, not taken to lie on the usual axis
    placed: a limit or a resumed run stands on that number
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
    placed: bool = False

    def part(self, first: int, count: int) -> Batch:
        """`count` of its samples from the `first` on: of every tensor that has as many along the axis."""
        return Batch(
            tuple(self._cut(x, first, count) for x in self.inputs),
            {name: self._cut(x, first, count) for name, x in self.kwargs.items()},
            None if self.labels is None else self.labels[first : first + count],
            self.index, self.start + first, count, self.axis, self.proven, self.time_axis, self.placed,
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

    @property
    def places(self) -> bool:
        """Whether samples are told by their place in the data set, and not only by their batch's."""
        return self.limit is not None or self.skip > 0


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

    def end(self, source: str) -> None:
        """InputError where fewer samples came by than are to be passed over."""
        if self.taken < self.cut.skip:
            raise InputError(
                f"--data {source}: ends after {self.taken} samples, and {self.cut.skip} are counted already: with --resume it "
                "must be the same data set, with the same --limit, --shard and --time-axis"
            )


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


def total_of(sizes: Iterable[int], cut: Cut) -> int:
    dealer = Dealer(cut)
    return sum(dealer.deal(size).count for size in sizes if not dealer.done)


def seed_everything(seed: int) -> None:
    """Every generator at one seed: every shard, and a resumed run, must see the same order of samples."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the generator that users' loaders draw from is the global one
    torch.manual_seed(seed)
