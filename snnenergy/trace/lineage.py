"""Where tensors come from, followed through one surveyed forward by the storages they live in.

A storage is tagged when an op writes it: is it made from parameters only (a weight), which layer produced it, does it
carry explicit zero padding, which of its elements came from which operand of a `cat`.  Every new storage passes through
the dispatcher, so a tag can never outlive its tensor: an address that is used again is tagged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from snnenergy.frameworks import kept_weights
from snnenergy.trace.tree import Modules, buffers_of, modules_of, parameters_of

OWN, PARAMETER, BUFFER, ACTIVATION = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Segments:
    """Which source each element came from: labels of the tensor's own shape (expanded views), names[label]."""

    labels: Tensor
    names: tuple[str, ...]


class Tag(NamedTuple):
    """What is known of a storage.

    level: PARAMETER, BUFFER or ACTIVATION; pad: (lo, hi) per spatial axis of `shape`
    made: from nothing, like the zeros a state starts from: what computes on it is not driven by its producer
    """

    level: int = ACTIVATION
    producer: str | None = None
    neuron: bool = False
    linear: bool = False
    inputs: bool = False
    compared: bool = False
    made: bool = False
    pad: tuple[tuple[int, int], ...] = ()
    shape: tuple[int, ...] = ()
    segments: Segments | None = None
    roots: frozenset[int] = frozenset()  # storages of the parameters a weight was computed from


UNKNOWN = Tag()


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


class Named(NamedTuple):
    """A parameter or buffer inside its storage: elements [start, stop)."""

    name: str
    start: int
    stop: int
    parameter: bool


class Lineage:
    """Tags of one forward.  `owners` maps a storage to the parameters that live in it."""

    def __init__(self, model: nn.Module, plain_name: Any, modules: Modules) -> None:
        self._model, self._plain_name = model, plain_name
        self.named: dict[str, Tensor] = {}
        self.renewed: dict[str, int] = {}  # how often another tensor took a name
        self._look(modules)

    def look(self) -> None:
        """Find the model's parameters and buffers as they are now; they may have been replaced since."""
        before = self.named
        self._look(modules_of(self._model))
        for name, t in self.named.items():
            if before.get(name) is not t:
                self.renewed[name] = self.renewed.get(name, 0) + 1

    def _look(self, modules: Modules) -> None:
        plain_name = self._plain_name
        self.owners: dict[int, list[Named]] = {}
        self.tags: dict[int, Tag] = {}
        self._tensors: dict[int, list[Tensor]] = {}
        self.named = {}
        self._base: dict[int, Tag] = {}
        weights = [*parameters_of(modules), *kept_weights(modules)]
        for level, rows in ((PARAMETER, weights), (BUFFER, buffers_of(modules))):
            for raw, t in rows:
                if t.layout is not torch.strided:
                    continue
                name, start, key = plain_name(raw), int(t.storage_offset()), storage(t)
                row = Named(name, start, start + max(1, t.numel()), level == PARAMETER)
                if key in self._base:
                    self.owners[key].append(row)
                    self._tensors[key].append(t)
                else:
                    self._base[key] = Tag(level=level, roots=frozenset((key,)))
                    self.owners[key], self._tensors[key] = [row], [t]
                self.named[name] = t

    heavy: set[int]  # storages of parameters, and of what was computed from them alone
    labelled: set[int]  # storages that have segments

    def begin(self, inputs: Iterable[Tensor]) -> None:
        self.labelled = set()
        self.tags = dict(self._base)
        self.heavy = set(self._base)
        for t in inputs:
            if t.layout == torch.strided:
                self.heavy.discard(storage(t))
                self.tags[storage(t)] = Tag(inputs=True, shape=tuple(t.shape), producer="(input)")

    def name_of(self, t: Tensor) -> str | None:
        """The parameter (or buffer) a tensor is a view of, or None."""
        rows = self.owners.get(storage(t))
        if rows:
            start = t.storage_offset()
            for name, first, stop, _ in rows:
                if first <= start < stop:
                    return name
        return None

    def names_of(self, t: Tensor) -> list[str]:
        """Every parameter or buffer that lies where this view begins: parameters may share their storage."""
        start = t.storage_offset()
        return [r.name for r in self.owners.get(storage(t), ()) if r.start <= start < r.stop]

    def of(self, t: Tensor) -> Tag:
        return self.tags.get(storage(t), UNKNOWN)

    def wrote(self, sources: Sequence[int], outs: Sequence[Tensor], tag: Tag) -> None:
        """Tag the outputs of an op that computes from these storages; a tag of an input written in place is replaced."""
        if sources and self.heavy.issuperset(sources):
            known = [self.tags[key] for key in sources]
            tag = tag._replace(level=min(t.level for t in known), roots=_roots(known))
        for out in outs:
            self.put(storage(out), tag)

    def put(self, key: int, tag: Tag) -> None:
        base = self._base.get(key)
        if base is not None and base.level == PARAMETER:
            return  # whatever is written into it, as a learning rule does, a parameter stays a weight
        self.tags[key] = tag
        if tag.level:
            self.heavy.add(key)
        else:
            self.heavy.discard(key)
        if tag.segments is not None:
            self.labelled.add(key)
        elif self.labelled:
            self.labelled.discard(key)

    def follow(self, made: Tensor, source: Tensor | None) -> Tensor:
        """`made` beside the dispatcher, from `source` alone or from several (None): its storage may carry an old tag."""
        if source is None:
            self.put(storage(made), UNKNOWN)
        elif storage(made) != storage(source):
            self.put(storage(made), self.of(source)._replace(pad=(), shape=(), segments=None))
        return made

    def moved(self, tensors: Sequence[Tensor], outs: Sequence[Tensor], func: Any, args: Any, kwargs: Any) -> None:
        """Outputs of an op that only moves values: they keep their origin; labels of a `cat` are moved the same way."""
        if len(tensors) == 1 and (source := storage(tensors[0])) not in self.labelled:
            found = self.tags.get(source, UNKNOWN)
            if found.pad:
                found = found._replace(pad=(), shape=())
            for out in outs:
                key = storage(out)
                if key != source:  # a view keeps the tag of its storage
                    self.put(key, found)
            return
        tags = [self.of(t) for t in tensors]
        for out in outs:
            key = storage(out)
            if any(storage(t) == key for t in tensors) and not any(t.segments for t in tags):
                continue  # a view: the storage keeps its tag
            producers = {t.producer for t in tags if t.producer}
            moved = Tag(
                level=min((t.level for t in tags), default=ACTIVATION),
                producer=tags[0].producer if len(producers) == 1 else None,
                neuron=bool(tags) and all(t.neuron for t in tags),
                inputs=bool(tags) and all(t.inputs for t in tags),
                compared=bool(tags) and all(t.compared for t in tags),
                segments=self._move_labels(tensors, tags, out, func, args, kwargs),
                roots=_roots(tags),
            )
            self.put(key, moved)

    def joined(self, tensors: Sequence[Tensor], out: Tensor, func: Any, axis: int) -> None:
        """A `cat` or `stack`: every operand's elements are labelled with where they came from."""
        tags = [self.of(t) for t in tensors]
        # along axis 0 lie samples and steps, never the inputs of a sum (but for a single vector)
        reducible = len(tensors) > 1 and bool(axis % out.dim() or out.dim() == 1)
        merged = self._label(tensors, tags, func, axis) if reducible else None
        joined = Tag(
            level=min((t.level for t in tags), default=ACTIVATION),
            neuron=all(t.neuron for t in tags),
            inputs=all(t.inputs for t in tags),
            compared=all(t.compared for t in tags),
            producer=tags[0].producer if len({t.producer for t in tags}) == 1 else None,
            segments=merged,
            roots=_roots(tags),
        )
        self.put(storage(out), joined)

    def _label(self, tensors: Sequence[Tensor], tags: Sequence[Tag], func: Any, axis: int) -> Segments:
        labels: list[Tensor] = []
        names: list[str] = []
        for t, tag in zip(tensors, tags, strict=True):
            if tag.segments is not None and tag.segments.labels.shape == t.shape:
                labels.append(tag.segments.labels + len(names))
                names.extend(tag.segments.names)
            else:
                labels.append(torch.full((1,), len(names), dtype=torch.int16, device=t.device).expand(t.shape))
                names.append(tag.producer or f"operand {len(names)}")
        return Segments(func(labels, axis), _distinct(names))

    def sources_of(self, t: Tensor) -> tuple[Tensor, ...]:
        """The parameters and buffers a weight was computed from; empty where it was not from those alone."""
        tag = self.of(t)
        if not tag.level:
            return ()
        return tuple([p for key in tag.roots for p in self._tensors.get(key, ())])

    def segments_of(self, t: Tensor) -> Segments | None:
        """Labels that belong to exactly this shape; a view that was not followed has none."""
        found = self.of(t).segments
        return found if found is not None and found.labels.shape == t.shape else None

    def _move_labels(
        self, tensors: Sequence[Tensor], tags: Sequence[Tag], out: Tensor, func: Any, args: Any, kwargs: Any
    ) -> Segments | None:
        labelled = [i for i, t in enumerate(tags) if t.segments is not None]
        if labelled != [0] or len(tensors) != 1:
            return None
        found = tags[0].segments
        if found is None or found.labels.shape != tensors[0].shape:
            return None
        try:
            moved = func(found.labels.contiguous(), *args[1:], **{k: v for k, v in kwargs.items() if k != "dtype"})
        except (RuntimeError, TypeError):
            return None  # the labels do not follow this op: the stream is then the whole input
        if not isinstance(moved, Tensor) or moved.shape != out.shape:
            return None
        return Segments(moved, found.names)

    def kept_shape(self, source: Tensor, out: Tensor, tag: Tag) -> Tag:
        """An elementwise op of one tensor keeps the labels of its operand."""
        found = self.segments_of(source)
        return tag._replace(segments=found) if found is not None and out.shape == source.shape else tag

    def pad(self, source: Tensor, out: Tensor, pad: Sequence[int]) -> None:
        """Explicit zero padding, as pairs for the last axis first (torch's order)."""
        pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
        tag = self.of(source)._replace(segments=None)
        key = storage(out)
        if len(pairs) <= max(0, source.dim() - 2) and all(p >= 0 for pair in pairs for p in pair):
            pairs += [(0, 0)] * (source.dim() - 2 - len(pairs))
            tag = tag._replace(pad=tuple(reversed(pairs)), shape=tuple(out.shape))
        self.put(key, tag)


def _roots(tags: Iterable[Tag]) -> frozenset[int]:
    return frozenset().union(*(t.roots for t in tags if t.level))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names made unique by a suffix, in order: two operands of one producer are two streams."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        out.append(name if not count else f"{name}#{count}")
    return tuple(out)
