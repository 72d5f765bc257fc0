"""`pkg.mod:loader`: batches of an iterable, of a DataLoader or of a data set of torch, which the user's code makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from snnenergy.errors import InputError
from snnenergy.load.batches import BATCH, Batch, Batches, Cut, Dealer, Place, total_of
from snnenergy.load.items import Reading
from snnenergy.load.recordings import Binned, by_place, first_of, holds_events, recordings


def from_iterable(
    made: Any, spec: str, cut: Cut, reading: Reading, batch_size: int | None, binned: Binned | None = None
) -> Batches:
    """Batches of an iterable, a DataLoader, a data set of torch or of events; `made` may be a function that returns one."""
    from torch.utils.data import DataLoader, Dataset, IterableDataset

    if callable(made) and not hasattr(made, "__iter__") and not isinstance(made, Dataset):
        made = _called(made, spec)
    placed = isinstance(made, Dataset) and not isinstance(made, IterableDataset)
    if not placed and not hasattr(made, "__iter__") and by_place(made):
        placed = True  # as tonic's data sets, which are none of torch's
        if binned is None and holds_events(first_of(made, spec)):
            raise InputError(
                f"--data {spec}: holds events (x, y, t, p); pass --event-bin, the duration of a frame in their unit of t"
            )
    if binned is not None:
        if not placed:
            raise InputError(
                f"--data {spec}: --event-bin is for a data set of recordings; found a {type(made).__name__}"
            )
        return recordings(made, spec, cut, reading, binned)
    if placed:
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
    from snnenergy.load.files import quoted

    try:
        with here_first():
            return make()
    except Exception as error:
        raise InputError(f"--data {spec}: raised {type(error).__name__}: {quoted(error)}") from error


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
            break
    dealer.end(own.source)


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
    dealer.end(own.source)


def _sizes(batch: Batch) -> str:
    shapes = [tuple(x.shape) for x in (*batch.inputs, *batch.kwargs.values()) if hasattr(x, "shape")]
    return " and ".join(map(str, shapes))


def _pulled(made: Iterable[Any], own: Batches) -> Iterator[Any]:
    """The items of the user's iterable; what it raises is said to be its own."""
    from snnenergy.load.factory import here_first
    from snnenergy.load.files import quoted

    def failed(at: int, error: Exception) -> InputError:
        return InputError(f"--data {own.source}: raised {type(error).__name__} after {at} batches: {quoted(error)}")

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
