"""`pkg.mod:loader` as a data set of recordings, as tonic's: events (x, y, t, p) as a structured array, and a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from snnenergy.errors import InputError
from snnenergy.load.batches import Batch, Batches, Cut, Dealer, total_of
from snnenergy.load.encoders import EVENT_KEYS, frames

if TYPE_CHECKING:
    from snnenergy.load.items import Reading


class Binned(NamedTuple):
    """Events as frames: the duration of one in their unit of t (None: not said), and T where it is given."""

    width: float | None
    steps: int | None = None

    def __str__(self) -> str:
        rest = (
            "" if self.steps is None else f"; T = {self.steps}: later events left out, frames after the last are empty"
        )
        return f"events as frames of {self.width:g} each, in their unit of t (event counts, T x 1 x 2 x H x W){rest}"


def by_place(made: Any) -> bool:
    """Whether this is a data set whose items are fetched by their place."""
    return hasattr(made, "__getitem__") and hasattr(made, "__len__") and not isinstance(made, list | tuple | dict | str)


def holds_events(item: Any) -> bool:
    """Whether an item of a data set, alone or beside its label, is a structured array of events."""
    names = getattr(getattr(_events(item), "dtype", None), "names", None)
    return names is not None and set(EVENT_KEYS) <= set(names)


def recordings(made: Any, spec: str, cut: Cut, reading: Reading, binned: Binned) -> Batches:
    """One recording is one sample and one forward: recordings differ in length.  Items of other shards are not fetched."""

    def batches(own: Batches) -> Iterator[Batch]:
        dealer = Dealer(cut)
        for i in range(len(made)):
            if dealer.done:
                return
            place = dealer.deal(1)
            if place.count:
                yield _batch(_item(made, i, spec), place.index, place.start, own)

    def _batch(item: Any, index: int, start: int, own: Batches) -> Batch:
        where = f"{own.source}: recording {index}"
        if not holds_events(item):
            raise InputError(f"{where}: --event-bin is for events: a structured array with the fields x, y, t and p")
        x, _ = frames(
            _columns(_events(item), getattr(made, "sensor_size", None)), binned.width or 0.0, where, binned.steps
        )
        label = item[1] if isinstance(item, list | tuple) and len(item) == 2 else None
        batch = reading.arrays([x], None if label is None else [label], index, start, own)
        return Batch(batch.inputs, {}, batch.labels, index, start, 1, 1, True, 0)

    return Batches(spec, batches, total_of([1] * len(made), cut))


def first_of(made: Any, spec: str) -> Any:
    """The first item; None of an empty data set."""
    return _item(made, 0, spec) if len(made) else None


def _item(made: Any, i: int, spec: str) -> Any:
    from snnenergy.load.factory import here_first
    from snnenergy.load.files import quoted

    try:
        with here_first():
            return made[i]
    except Exception as error:
        raise InputError(f"--data {spec}: item {i} raised {type(error).__name__}: {quoted(error)}") from error


def _events(item: Any) -> Any:
    return item[0] if isinstance(item, list | tuple) and len(item) == 2 else item


def _columns(events: Any, sensor_size: Any) -> dict[str, Any]:
    """The four columns as tensors; width and height as tonic's data sets state them: (W, H, polarities)."""
    import numpy as np
    import torch

    columns = {
        key: torch.from_numpy(np.ascontiguousarray(events[key].astype(_wide(events[key].dtype)))) for key in EVENT_KEYS
    }
    if isinstance(sensor_size, list | tuple) and len(sensor_size) >= 2:
        columns |= {name: torch.tensor(int(size)) for name, size in zip(("width", "height"), sensor_size, strict=False)}
    return columns


def _wide(dtype: Any) -> str:
    """A dtype that torch has: unsigned and boolean fields become signed."""
    return "int64" if dtype.kind in "iub" else "float64"
