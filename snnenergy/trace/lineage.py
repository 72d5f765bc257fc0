"""Where tensors come from, followed through one surveyed forward by the storages they live in.

A storage is tagged when an op writes it: is it made from parameters only (a weight), which layer produced it, does it
carry explicit zero padding, which of its elements came from which operand of a `cat`.  An operator that writes where a
freed tensor lay tags the address again.  torch.from_numpy and its like pass no operator, and find the old tag there: so a
tag that says more than who made a tensor is forgotten with its storage.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snnenergy.frameworks import kept_weights
from snnenergy.trace.tags import ACTIVATION, BUFFER, PARAMETER, UNKNOWN, Padding, Segments, Tag, device_of
from snnenergy.trace.tensors import storage
from snnenergy.trace.tree import Modules, buffers_of, modules_of, parameters_of, plain_name, plain_tensors_of

_WRITE = torch.ops.aten.copy_.default
"""What an assignment to a part of a tensor is, too."""


def _axes(t: Tensor) -> list[tuple[int, int]]:
    return list(zip(map(int, t.shape), map(int, t.stride()), strict=True))


class Named(NamedTuple):
    """A parameter, buffer or plain tensor of a module inside its storage: elements [start, stop)."""

    name: str
    start: int
    stop: int
    parameter: bool


class Lineage:
    """Tags of one forward.  `owners` maps a storage to the parameters that live in it."""

    def __init__(self, model: nn.Module, modules: Modules) -> None:
        self._model = model
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
        self.owners: dict[int, list[Named]] = {}
        self.tags: dict[int, Tag] = {}
        self._tensors: dict[int, list[Tensor]] = {}
        self.named = {}
        self._base: dict[int, Tag] = {}
        self._know([*parameters_of(modules), *kept_weights(modules)], PARAMETER)
        self._know(buffers_of(modules), BUFFER)
        plain = plain_tensors_of(modules)  # but views of those
        rows = [(raw, t) for raw, t in plain if t.layout is torch.strided and storage(t) not in self._base]
        self._know(rows, BUFFER)
        self._plain = [(plain_name(raw), storage(t)) for raw, t in rows]

    def _know(self, rows: Iterable[tuple[str, Tensor]], level: int) -> None:
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

    def begin(self, inputs: Iterable[Tensor], *, whole: bool = True) -> None:
        """whole: every operator of the forward is told of, so that what has no tag was there before it."""
        self.whole = whole
        self._forget_marks()
        self.tags = dict(self._base)
        self.heavy = set(self._base)
        for t in inputs:
            if t.layout == torch.strided:
                self.heavy.discard(storage(t))
                self.tags[storage(t)] = Tag(producer="(input)")

    def let_go(self) -> None:
        """The forward is over: nor is what a module keeps of it, as a plain attribute, ours to keep."""
        self._forget_marks()
        for name, key in self._plain:
            self._base.pop(key, None)
            self.owners.pop(key, None)
            self._tensors.pop(key, None)
            self.named.pop(name, None)
        self._plain = []

    def _forget_marks(self) -> None:
        self.labelled, self.heavy, self.tags = set(), set(), {}
        self._held: dict[int, weakref.ref[Any]] = {}  # by whose end the tag at an address ends

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

    def level_of(self, t: Tensor) -> int:
        """How near to a parameter; what neither the input nor an operator made is as good as a buffer."""
        found = self.tags.get(storage(t))
        return found.level if found is not None else BUFFER if self.whole else ACTIVATION

    def wrote(self, sources: Sequence[int], outs: Sequence[Tensor], tag: Tag) -> None:
        """Tag the outputs of an op that computes from these storages; a tag of an input written in place is replaced."""
        if sources and self.heavy.issuperset(sources):
            known = [self.tags[key] for key in sources]
            tag = tag._replace(level=min(t.level for t in known), roots=_roots(known))
        for out in outs:
            self.mark(out, tag)

    def mark(self, t: Tensor, tag: Tag) -> None:
        """Tag where t lies, for as long as that storage is there."""
        key = storage(t)
        self.put(key, tag)
        if tag.level or tag.pad is not None or tag.segments is not None:
            forget = partial(_forget, key, self.tags, self.heavy, self.labelled)
            self._held[key] = weakref.ref(t.untyped_storage(), forget)

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
            self.mark(made, self.of(source)._replace(pad=None, segments=None))
        return made

    def moved(self, tensors: Sequence[Tensor], outs: Sequence[Tensor], func: Any, args: Any, kwargs: Any) -> None:
        """Outputs of an op that only moves values: they keep their origin; labels of a `cat` are moved the same way."""
        if len(tensors) == 1 and (source := storage(tensors[0])) not in self.labelled:
            found = self.tags.get(source)
            if found is not None and found.pad:
                found = found._replace(pad=None)
            for out in outs:
                if storage(out) == source:
                    continue  # a view keeps the tag of its storage
                if found is not None:
                    self.mark(out, found)
                else:
                    _forget(storage(out), self.tags, self.heavy, self.labelled, None)
            return
        tags = [self.of(t) for t in tensors]
        if func is _WRITE:
            self._written(tensors[0], tags[0], tags[1])
            return
        for out in outs:
            key = storage(out)
            if any(storage(t) == key for t in tensors) and (len(tensors) == 1 or not any(t.segments for t in tags)):
                found = self.tags.get(key, UNKNOWN)
                if found.pad and len(tensors) > 1:
                    self.put(key, found._replace(pad=None))
                continue  # a view, or values written into it: the storage keeps its tag, but no zeros where it was written
            producers = {t.producer for t in tags if t.producer}
            moved = Tag(
                level=min((t.level for t in tags), default=ACTIVATION),
                producer=tags[0].producer if len(producers) == 1 else None,
                neuron=bool(tags) and all(t.neuron for t in tags),
                compared=bool(tags) and all(t.compared for t in tags),
                segments=self._move_labels(tensors[0], out, func, args, kwargs) if len(tensors) == 1 else None,
                roots=_roots(tags),
            )
            self.mark(out, moved)

    def _written(self, t: Tensor, before: Tag, tag: Tag) -> None:
        """Values with a tag were copied into t, or into a part of it: where it was made from nothing, they are all it holds."""
        known = (tag,) if before.made else (before, tag)
        self.mark(
            t,
            Tag(
                level=min(k.level for k in known),
                producer=known[0].producer,
                neuron=all(k.neuron for k in known),
                linear=all(k.linear for k in known),
                compared=all(k.compared for k in known),
                roots=_roots(known),
            ),
        )

    def joined(self, tensors: Sequence[Tensor], out: Tensor, func: Any, axis: int) -> None:
        """A `cat` or `stack`: every operand's elements are labelled with where they came from."""
        tags = [self.of(t) for t in tensors]
        # along axis 0 lie samples and steps, never the inputs of a sum: but of a vector, of a matrix that stands behind
        # its weight, and of an image without samples, whose channels are counted from the last axis
        columns = out.dim() == tensors[0].dim() == 2
        reducible = len(tensors) > 1 and bool(axis % out.dim() or out.dim() == 1 or columns or axis == -3)
        merged = self._label(tensors, tags, out, func, axis) if reducible else None
        joined = Tag(
            level=min((t.level for t in tags), default=ACTIVATION),
            neuron=all(t.neuron for t in tags),
            compared=all(t.compared for t in tags),
            producer=tags[0].producer if len({t.producer for t in tags}) == 1 else None,
            segments=merged,
            roots=_roots(tags),
        )
        self.mark(out, joined)

    def _label(self, tensors: Sequence[Tensor], tags: Sequence[Tag], out: Tensor, func: Any, axis: int) -> Segments:
        labels: list[Tensor] = []
        names: list[str] = []
        for t, tag in zip(tensors, tags, strict=True):
            found = self.segments_of(t)
            if found is not None:
                labels.append(found[0] + len(names))
                names.extend(found[1])
            else:
                labels.append(torch.full((1,), len(names), dtype=torch.int16, device=device_of(t)).expand(t.shape))
                names.append(tag.producer or f"operand {len(names)}")
        return Segments.laid(func(labels, axis), out, _distinct(names))

    def sources_of(self, t: Tensor) -> tuple[Tensor, ...]:
        """The parameters and buffers a weight was computed from; empty where it was not from those alone."""
        tag = self.of(t)
        if not tag.level:
            return ()
        return tuple([p for key in tag.roots for p in self._tensors.get(key, ())])

    def segments_of(self, t: Tensor) -> tuple[Tensor, tuple[str, ...]] | None:
        """Labels of t's shape, and the names that they stand for."""
        found = self.of(t).segments
        labels = found.of(t) if found is not None else None
        return None if found is None or labels is None else (labels, found.names)

    def _move_labels(self, source: Tensor, out: Tensor, func: Any, args: Any, kwargs: Any) -> Segments | None:
        found = self.segments_of(source)
        if found is None:
            return None
        try:
            moved = func(found[0], *args[1:], **{k: v for k, v in kwargs.items() if k not in ("dtype", "device")})
        except (RuntimeError, TypeError):
            return None  # the labels do not follow this op: the stream is then the whole input
        if not isinstance(moved, Tensor) or moved.shape != out.shape:
            return None
        return Segments.laid(moved, out, found[1])

    def kept_shape(self, source: Tensor, out: Tensor, tag: Tag) -> Tag:
        """An elementwise op of one tensor keeps the labels of its operand."""
        found = self.segments_of(source)
        if found is None or out.shape != source.shape:
            return tag
        same = storage(out) == storage(source)
        return tag._replace(segments=self.of(source).segments if same else Segments.laid(found[0], out, found[1]))

    def pad_of(self, t: Tensor) -> tuple[tuple[int, int], ...]:
        """Explicit zeros in t, (lo, hi) per spatial axis: where it is what was padded, or that with its axes in another order."""
        pad = self.of(t).pad
        if pad is None or t.storage_offset() != pad.offset:
            return ()
        axes = _axes(t)
        if pad.axes != {axis for axis in axes if axis[0] > 1}:
            return ()
        pairs = [pad.pairs.get(axis, (0, 0)) for axis in axes]
        return tuple(pairs[2:]) if not any(map(any, pairs[:2])) else ()

    def pad(self, source: Tensor, out: Tensor, pad: Sequence[int]) -> None:
        """Explicit zero padding, as pairs for the last axis first (torch's order)."""
        pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
        tag = self.of(source)._replace(pad=None, segments=self._pad_labels(source, out, pairs))
        if len(pairs) < max(1, source.dim()) and all(p >= 0 for pair in pairs for p in pair):
            axes = _axes(out)
            found = dict(zip(reversed(axes), pairs, strict=False))  # the first axes have none
            tag = tag._replace(pad=Padding(int(out.storage_offset()), frozenset(a for a in axes if a[0] > 1), found))
        self.mark(out, tag)

    def _pad_labels(self, source: Tensor, out: Tensor, pairs: Sequence[tuple[int, int]]) -> Segments | None:
        """Zeros drive nothing: they go with the elements that they were put beside."""
        found = self.segments_of(source)
        if found is None or not source.numel():
            return None
        labels = found[0]
        for axis, (low, high) in enumerate(pairs, 1):
            size = source.shape[-axis]
            labels = labels.index_select(
                -axis, torch.arange(-low, size + high, device=labels.device).clamp(0, size - 1)
            )
        return Segments.laid(labels, out, found[1])


def _forget(key: int, tags: dict[int, Tag], heavy: set[int], labelled: set[int], _: object) -> None:
    tags.pop(key, None)
    heavy.discard(key)
    labelled.discard(key)


def _roots(tags: Iterable[Tag]) -> frozenset[int]:
    return frozenset().union(*(t.roots for t in tags if t.level))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names made unique by a suffix, in order: two operands of one producer are two streams."""
    out: dict[str, None] = {}
    for name in names:
        candidate, count = name, 0
        while candidate in out:
            count += 1
            candidate = f"{name}#{count}"
        out[candidate] = None
    return tuple(out)
