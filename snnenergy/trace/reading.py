"""Contractions as layers: where each product belongs, what it costs whatever the values, and which site reads them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnenergy.trace.fanout import ConvShape, conv_effective_map, conv_fan, linear_effective_map, linear_fan
from snnenergy.trace.formulas import Arithmetic
from snnenergy.trace.forward import Read
from snnenergy.trace.sites import Fans, Pairs, Segment, Site, read_product
from snnenergy.trace.structure import Structure, Work
from snnenergy.trace.tags import OWN, Tag
from snnenergy.trace.tensors import address, standing, storage
from snnenergy.trace.weights import Seen

if TYPE_CHECKING:
    from snnenergy.trace.survey import Survey

_HERE = os.path.dirname(__file__)
_TORCH = os.path.dirname(torch.__file__)


class Reading:
    """What contractions.py tells, written into the survey's forward and the recorder's sites (contractions.Reader)."""

    def __init__(self, survey: Survey) -> None:
        self.survey, self.rec = survey, survey.rec
        self.lineage, self.layers = survey.lineage, survey.rec.layers
        self.work = Work()  # what the last product cost
        self._now: set[Site] = set()  # sites that the running operator has read

    def begin(self) -> None:
        """Another operator: what it reads at one site, however often, is one call of that."""
        self._now.clear()

    def weight_level(self, t: Tensor) -> int:
        """How near to a parameter; nearest is one of the leaf that runs, whatever its storage was when the forward began."""
        frame = self.survey.frames[-1]
        if frame.leaf and frame.module is not None:
            key = storage(t)
            if any(p is not None and storage(p) == key for p in frame.module._parameters.values()):
                return OWN
        return self.lineage.level_of(t)

    def zero_pad(self, t: Tensor) -> tuple[tuple[int, int], ...]:
        return self.lineage.pad_of(t)

    def linear(self, x: Tensor, w: Tensor, *, bias: Tensor | None = None, op: str = "linear") -> None:
        # [rows, k] @ [k, n] -> [rows, n]
        (rows, k), n = x.shape, w.shape[1]
        forward = self.survey.forward
        if forward.linear_rows is None:
            forward.linear_rows = rows
        name = self.lineage.name_of(w)
        path, key = self._product_path(w, name, op)
        macs = rows * k * n
        structure = self._synaptic(path, op, w, bias, Work(macs, macs, output_elements=rows * n))
        structure.fan_in, structure.fan_out = max(structure.fan_in, k), max(structure.fan_out, n)
        structure.geometry = structure.geometry or {"inputs": k, "outputs": n}
        self._weighted(structure, (path, key), "linear", x, w, name, None)

    def conv(self, x: Tensor, w: Tensor, shape: ConvShape, bias: Tensor | None) -> None:
        n = x.shape[0]
        forward = self.survey.forward
        if forward.conv_rows is None:
            forward.conv_rows = n
        name = self.lineage.name_of(w)
        path, key = self._product_path(w, name, "conv")
        work = Work(n * shape.dense_macs, n * shape.valid_macs, output_elements=n * shape.outputs)
        structure = self._synaptic(path, "conv_transpose" if shape.transposed else "conv", w, bias, work)
        structure.fan_in, structure.fan_out = shape.fan_in, shape.fan_out
        structure.geometry = structure.geometry or shape.geometry
        self._weighted(structure, (path, key), "conv", x, w, name, shape)

    def _weighted(
        self,
        structure: Structure,
        key: tuple[str, object],
        kind: str,
        x: Tensor,
        w: Tensor,
        name: str | None,
        shape: ConvShape | None,
    ) -> None:
        """Read x where it meets a weight, the parameter `name` or one that was computed."""
        seen = self.rec.weights.of(w, name, self.lineage.renewed.get(name, 0) if name else 0)
        copies = _copies(w) if 0 in w.stride() else 1
        structure.weights[key[1]] = (w.numel() // copies, seen.nonzero // copies)
        tag = self.lineage.of(x)
        site = self._site(structure, key, kind, x, tag)
        self._read(site, x, self._fans(site, w, shape, seen), w, name, tag, steady=seen.state is not None)

    def _fans(self, site: Site, w: Tensor, shape: ConvShape | None, seen: Seen) -> Fans:
        """How x reaches the taps of w [k, n], or of a convolution's w; cached while w is a parameter that stays as it is."""
        weights = self.rec.weights
        fan = linear_fan(w.shape[1]) if shape is None else conv_fan(shape)
        if seen.nonzero != w.numel():
            build = (lambda: linear_effective_map(w)) if shape is None else lambda: conv_effective_map(w, shape)
            fan = weights.effective(seen, fan, build)
        return weights.fans(site, fan, keep=seen.state is not None or fan.effective is None)

    def elementwise(self, found: Arithmetic) -> None:
        """What a fused kernel does besides its products."""
        work = self.survey.work_of(self.survey.path)
        work.adds += found.adds
        work.muls += found.muls
        work.compares += found.compares
        work.specials += found.specials

    def added_to(self, elements: int) -> None:
        """So many results of the product are added to something that is no bias."""
        self.elementwise(Arithmetic(adds=elements))

    def product(self, a: Tensor, b: Tensor, op: str) -> None:
        # [B, m, k] @ [B, k, n] -> [B, m, n]
        batch, m, k = a.shape
        n = b.shape[2]
        path, key = self._product_path(None, None, op)
        if op == "sdpa":
            order = self.survey.forward.products.get(path, 0)  # its two products share a call site
            self.survey.forward.products[path] = order + 1
            key = (key, order % 2)
        macs = batch * m * k * n
        structure = self._synaptic(path, op, None, None, Work(macs, macs, output_elements=batch * m * n))
        structure.fan_in = max(structure.fan_in, k)
        structure.geometry = structure.geometry or {"batch": batch, "m": m, "k": k, "n": n}
        self._pair(path, key, a, b)

    def weight_gradient(self, x: Tensor, g: Tensor, shape: ConvShape) -> None:
        raise AssertionError("a gradient outside of a backward pass")  # backward.py reads those

    def _pair(self, path: str, key: object, a: Tensor, b: Tensor, pairs: Pairs | None = None) -> None:
        """Both operands of a product of activations, as two sites that know each other."""
        structure = self.layers.structure(path)
        left, right = self._operand(key, path, a, "a"), self._operand(key, path, b, "b")
        left.partner, right.partner = right, left
        self.layers.open(left, right)
        if not self.survey.watching:
            for site, t in ((left, a), (right, b)):
                site.neuron &= self.lineage.of(t).neuron
                structure.input_bits = structure.output_bits = _bits(t)
                structure.sources.update(dict.fromkeys(filter(None, (self._source(t),))))
        read_product(left, right, a, b, pairs)
        self.survey.last = (left, right, a, b)
        self._count_read()
        self.survey.forward.outside = True

    def _operand(self, key: object, path: str, t: Tensor, operand: str) -> Site:
        return self.layers.site((path, key, operand), path, "product", self._source(t), operand=operand)

    def _count_read(self) -> None:
        self.rec.reads += 1
        self.survey.forward.reads += 1

    def _source(self, t: Tensor) -> str | None:
        return self.lineage.of(t).producer

    def _synaptic(self, path: str, op: str, w: Tensor | None, bias: Tensor | None, work: Work) -> Structure:
        """One product: `work` is what it costs, but for its bias and its call."""
        survey = self.survey
        structure = self.layers.structure(path, survey.frames[-1])
        if structure.role != "synaptic":
            structure.role, structure.op = "synaptic", op
        if w is not None:
            structure.weight_bits = 8 * w.element_size()
        if bias is not None:
            structure.biases[self.lineage.name_of(bias) or "bias"] = bias.numel()
            work.adds = work.output_elements
        work.calls, work.kernels = 1, int(not survey.replaying)
        total = survey.forward.work.get(path)
        if total is None:
            survey.forward.work[path] = work.copy()
        else:
            total.add(work)
        survey.path, self.work = path, work
        return structure

    def _site(self, structure: Structure, key: tuple[str, object], kind: str, x: Tensor, tag: Tag) -> Site:
        """The site of a weighted operand; created with its segments the first time."""
        site = self.layers.sites.get(key)
        watching = self.survey.watching
        if not watching:
            structure.input_bits = structure.output_bits = _bits(x)
            if tag.producer:
                structure.sources.setdefault(tag.producer)
        if site is None:
            path = key[0]
            segments = self.layers.named_segments(path, x, 1) or self._segments(x, 1, tag)
            site = self.layers.site(key, path, kind, None, segments=segments)
            site.rank = x.dim()
            for source in [s.source for s in segments if s.source]:
                if source in self.layers.structures or source == "(input)":  # else only its stream is called so
                    structure.sources.setdefault(source)
        self.layers.open(site)
        if not watching:
            site.neuron &= tag.neuron
        return site

    def _segments(self, x: Tensor, axis: int, tag: Tag) -> tuple[Segment, ...]:
        found = self.lineage.segments_of(x)
        if found is None and self.lineage.labelled:
            found = self._before_padding(x)
        if found is None:
            return (Segment(tag.producer),)
        labels, names = found
        moved = labels.movedim(axis, -1).reshape(-1, x.shape[axis])
        line = moved[0]
        if not bool((moved == line).all()) or bool((line == line[0]).all()):
            return (Segment(tag.producer),)
        present = torch.unique(line).tolist()
        return tuple(Segment(names[i], (line == i).nonzero().squeeze(1).cpu().numpy()) for i in present)

    def _before_padding(self, x: Tensor) -> tuple[Tensor, tuple[str, ...]] | None:
        """Of what a convolution pads by itself, as around a circle: its channels are those that it was given."""
        frame = self.survey.frames[-1]
        given = frame.argument if frame.leaf and hasattr(frame.module, "padding_mode") else None
        alike = given is not None and given.dim() == x.dim() and given.shape[:2] == x.shape[:2]
        return self.lineage.segments_of(given) if given is not None and alike else None

    def _read(self, site: Site, x: Tensor, fans: Fans, w: Tensor, name: str | None, tag: Tag, *, steady: bool) -> None:
        survey = self.survey
        frame, forward, at = survey.frames[-1], survey.forward, address(x)
        made_of = self.lineage.sources_of(w)
        survey.last = Read(site, x, fans, w, made_of, tuple(map(standing, made_of)), steady)
        if self._learns:
            frame.reads.append(survey.last)
        frame.derived |= not made_of
        given = frame.argument
        if given is not None and site.kind == "conv" and given.dim() == x.dim() - 1 == self.rec.input_rank:
            forward.unbatched = True
        if not frame.leaf:
            forward.outside = True
            forward.derived |= name is None
        if site in self._now:
            site.slot -= 1
        self._now.add(site)
        self._arrived(site, x, at, fans, tag)

    @property
    def _learns(self) -> bool:
        """Whether what is read now shows how a later forward can be watched."""
        return not self.rec.once and not self.survey.watching

    def again(self, read: Read, x: Tensor, tag: Tag) -> None:
        """The same read as one before, of other values; `tag` is theirs."""
        survey = self.survey
        if not self._learns:
            survey.last = read
        else:
            survey.last = Read(read.site, x, read.fans, read.weight, read.made_of, read.versions, read.steady)
            survey.frames[-1].reads.append(survey.last)
        self._arrived(read.site, x, x.data_ptr(), read.fans, tag)

    def _arrived(self, site: Site, x: Tensor, at: int, fans: Fans, tag: Tag) -> None:
        """x, which lies at an address, is what this site reads now."""
        self._count_read()
        shape = self.survey.inputs.get(at)
        if shape is not None and tuple(x.shape) == (1, *shape):
            self.survey.forward.unbatched = True
        self._link(site, x, at, tag)
        site.take(x, fans)

    def _link(self, site: Site, x: Tensor, at: int, tag: Tag) -> None:
        """Is this input just what a neuron put out?  Then its events are that neuron's spikes, and are read once."""
        forward = self.survey.forward
        if tag.producer not in forward.fired:
            return
        fired = forward.spiking.get((at, x.numel()))
        if fired is not None and tag.producer == fired[0] and x.is_contiguous() == fired[2]:
            forward.links.setdefault(fired[0], []).append((fired[1], site))

    # ---- where we are
    def _product_path(self, weight: Tensor | None, name: str | None, op: str) -> tuple[str, object]:
        """(path, key of the stream): the leaf that runs, else the parameter's name, else module::op#site.

        A neuron's own products are no part of its row; a layer inside a neuron is a leaf like any other.
        """
        frame = self.survey.frames[-1]
        if name is not None and weight is not None:
            key: object = (name, weight.storage_offset())
            if frame.leaf and frame.neuron != frame.path:
                return frame.path, key
            if self.rec.doors.opaque and not name.startswith("_"):
                return name.rpartition(".")[0] or "(root)", key
            return f"param:{name}", key
        if frame.leaf and frame.neuron != frame.path:
            return frame.path, (op, tuple(weight.shape) if weight is not None else self._call_site())
        site = self.layers.call_site(frame.path, self._call_site())
        label = "matmul" if op == "linear" else op
        return f"{frame.path}::{label}#{site}", site

    def _call_site(self) -> object:
        """The user's line that is running: code object and instruction, or an exported program's node."""
        if self.rec.node is not None:
            return self.rec.node
        frame = sys._getframe(2)
        while frame.f_back is not None:
            file = frame.f_code.co_filename
            if not file.startswith(_HERE) and not file.startswith(_TORCH) and not file.startswith("<frozen"):
                break
            frame = frame.f_back
        return (frame.f_code, frame.f_lasti)

    @contextmanager
    def owner(self, w: Tensor) -> Iterator[None]:
        """Act as if the module that owns parameter `w` were running (a fused kernel hides its call)."""
        name = self.lineage.name_of(w)
        module = self.rec.module_at(name.rpartition(".")[0]) if name else None
        if module is None:
            yield
            return
        self.survey.frames.append(self.rec.frame_of(module))
        try:
            yield
        finally:
            self.survey.frames.pop()

    def replay(self, fn: Callable[[], Any]) -> None:
        """Run `fn` under this mode for its counts; its result is thrown away and it launches no kernel of the model's."""
        outer, self.survey.replaying = self.survey.replaying, True
        self.survey.forward.arithmetic_calls -= 1
        try:
            with self.survey:
                fn()
        finally:
            self.survey.replaying = outer
        self.survey.work_of(self.survey.frames[-1].owner).kernels += 1


def _copies(w: Tensor) -> int:
    """How often an expanded weight shows each of its words."""
    return math.prod(n for n, step in zip(w.shape, w.stride(), strict=True) if not step and n)


def _bits(t: Tensor) -> int:
    return 1 if t.dtype == torch.bool else 8 * t.element_size()
