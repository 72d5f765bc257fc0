"""`--data`: a model, and a data set to count it on: `pkg.mod:loader`, an .npz or .npy file, or a folder of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError, UsageError
from snnenergy.load.arrays import Arrays
from snnenergy.load.batches import BATCH, WHOLE, Batch, Batches, Cut, Dealer, seed_everything, total_of
from snnenergy.load.encoders import Encoding, are_events, encode
from snnenergy.load.factory import here_first, imported, is_factory, to_install
from snnenergy.load.files import quoted
from snnenergy.load.inputs import choose, load_inputs, split_key
from snnenergy.load.items import Reading
from snnenergy.load.loaders import from_iterable
from snnenergy.load.mapped import map_arrays
from snnenergy.load.models import Model, load_model
from snnenergy.load.recordings import Binned
from snnenergy.load.workload import Workload, layout, steps_of

if TYPE_CHECKING:
    import torch

SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class DataOptions:
    """What `--data` is told: the source, samples per forward of files, and which samples this process takes."""

    source: str
    batch_size: int | None = None
    cut: Cut = WHOLE


def load_dataset(
    source: str | Path,
    data: DataOptions,
    *,
    factory: str | None = None,
    allow_classes: Sequence[str] = (),
    trust: bool = False,
    seed: int = 0,
    encode: str | None = None,
    steps: int | None = None,
    time_axis: int | None = None,
    event_bin: float | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[Workload, Batches]:
    """A model without inputs, and the batches it is to be counted on; options as in `load`."""
    of_events, coding = steps_of(encode, steps, seed, time_axis, event_bin)
    model = load_model(source, factory=factory, allow_classes=allow_classes, trust=trust, arguments=arguments)
    reading = Reading(
        model.slots,
        tuple(inspect.signature(model.module.forward).parameters),
        lambda shape, labels: layout(model, shape, labels),
        None if coding is not None else time_axis,
        None if coding is None else lambda x, start: _encoded(x, coding, start),
        data.cut.places,
    )
    binned = None if event_bin is None else Binned(event_bin, of_events)
    batches = _batches(data, reading, model, seed, binned)
    batches.seed = seed
    work = Workload(
        name=model.name,
        module=model.module,
        inputs=(),
        kwargs={},
        kind=model.kind,
        synthetic=False,
        seed=seed if coding is not None and coding.coding == "rate" else None,
        notes=model.notes,
        encoding="; ".join(str(made) for made in (binned, coding) if made is not None),
    )
    return work, batches


def _encoded(x: Any, coding: Encoding, start: int) -> tuple[Any, int, int]:
    """Steps of one batch, its time axis and its sample axis.  Each batch draws from a seed of its own place, in any shard."""
    from dataclasses import replace

    sample_axis = 1 if coding.axis == 0 else 0
    return encode(x, replace(coding, seed=coding.seed + start)), coding.axis, sample_axis


def _batches(data: DataOptions, reading: Reading, model: Model, seed: int, binned: Binned | None) -> Batches:
    folder = Path(data.source)
    if folder.is_dir():
        files = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        if not files:
            raise InputError(f"--data {data.source}: no .npy or .npz file in this folder or the folders in it")
        return _Files(files, None, data, reading, model, binned).batches()
    path, key = split_key(data.source)
    if path.is_file():
        return _Files([path], key, data, reading, model, binned).batches()
    if not is_factory(data.source):
        raise InputError(f"--data {data.source}: no such file or folder, and not pkg.mod:loader")
    seed_everything(seed)
    try:
        with here_first():
            made = imported(data.source)
    except Exception as error:
        raise UsageError(f"--data {data.source}: {type(error).__name__}: {quoted(error)}{to_install(error)}") from error
    return from_iterable(made, data.source, data.cut, reading, data.batch_size, binned)


@dataclass
class _Files:
    """Files of arrays, each cut into batches along its sample axis; no batch spans two files."""

    files: list[Path]
    key: str | None
    data: DataOptions
    reading: Reading
    model: Model
    binned: Binned | None

    def batches(self) -> Batches:
        events = self.binned is not None or are_events(map_arrays(self.files[0]).arrays)
        if events:
            return Batches(self.data.source, self._events, total_of([1] * len(self.files), self.data.cut))
        size = self._batch_size()
        lengths = [self._length(file) for file in self.files]
        total = total_of((n for length in lengths for n in _sizes(length, size)), self.data.cut)
        return Batches(self.data.source, lambda own: self._iterate(own, lengths, size), total)

    def _batch_size(self) -> int:
        """As asked; else what the model was exported for."""
        if self.data.batch_size is not None:
            return self.data.batch_size
        shape = self.model.slots[0].shape if self.model.slots and self.model.kind == "pt2" else None
        fixed = shape is not None and None not in shape
        axis = 1 if self.reading.time_axis == 0 else 0
        return int(shape[axis] or BATCH) if fixed and shape else BATCH

    def _open(self, file: Path) -> tuple[Arrays, list[str], int]:
        """Arrays, the names of the inputs among them, and the axis of the samples."""
        held = map_arrays(file)
        if self.key is not None and self.key not in held.arrays:
            raise InputError(f"{file}: no array {self.key!r}; it holds {', '.join(map(repr, held.arrays))}")
        names = [self.key] if self.key is not None else choose(held, self.model.slots, "--data")
        first = held.arrays[names[0]]
        axis = self.reading.axes(tuple(first.shape), None if held.labels is None else len(held.labels))[1]
        if first.dim() <= axis:
            raise InputError(
                f"{file}: array {names[0]!r} has shape {tuple(first.shape)}: no axis {axis} to hold samples"
            )
        return held, names, axis

    def _length(self, file: Path) -> int:
        held, names, axis = self._open(file)
        length = int(held.arrays[names[0]].shape[axis])
        for name in names:
            if held.arrays[name].shape[axis : axis + 1] != (length,):
                raise InputError(
                    f"{file}: {names[0]!r} holds {length} samples, {name!r} {tuple(held.arrays[name].shape)}"
                )
        if held.labels is not None and len(held.labels) != length:
            raise InputError(f"{file}: {len(held.labels)} labels for {length} samples of {names[0]!r} (axis {axis})")
        if not length:
            raise InputError(f"{file}: array {names[0]!r} holds no sample: shape {tuple(held.arrays[names[0]].shape)}")
        return length

    def _iterate(self, own: Batches, lengths: list[int], size: int) -> Iterator[Batch]:
        dealer = Dealer(self.data.cut)
        for file, length in zip(self.files, lengths, strict=True):
            opened: tuple[Arrays, list[str], int] | None = None
            for i, count in enumerate(() if dealer.done else _sizes(length, size)):
                place = dealer.deal(count)
                if place.count:
                    opened = opened or self._open(file)
                    yield self._batch(own, opened, i * size + place.first, place.count, place.index, place.start)
                if dealer.done:
                    break
        dealer.end(own.source)

    def _batch(
        self, own: Batches, opened: tuple[Arrays, list[str], int], first: int, count: int, index: int, start: int
    ) -> Batch:
        held, names, axis = opened
        parts = [_loaded(held.arrays[name].narrow(axis, first, count)) for name in names]
        labels = None if held.labels is None else held.labels[first : first + count]
        return self.reading.arrays(parts, labels, index, start, own)

    def _events(self, own: Batches) -> Iterator[Batch]:
        """One recording of a camera is one sample."""
        dealer = Dealer(self.data.cut)
        for file in self.files:
            if dealer.done:
                return
            place = dealer.deal(1)
            if place.count:
                made = load_inputs(file, self.model.slots, *(self.binned or Binned(None)))
                yield Batch(made.values, {}, None, place.index, place.start, 1, 1, True, 0)


def _loaded(part: torch.Tensor) -> torch.Tensor:
    """A copy in memory: the map behind it is of the file."""
    return part.clone()


def _sizes(length: int, size: int) -> list[int]:
    return [min(size, length - i) for i in range(0, length, size)]
