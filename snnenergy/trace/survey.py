"""The survey: one forward under the dispatch mode, which sees every operator and says what it cost and where.

It learns the structure of the layers, the value-free work of the forward, and for each contraction the cheapest way to
watch it later.  It is also the exact and slow way to count: every forward may be surveyed.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from snnenergy.frameworks import TimeLayout
from snnenergy.trace import contractions, formulas
from snnenergy.trace.contractions import Call
from snnenergy.trace.fanout import ConvShape, conv_effective_map, linear_effective_map, positions
from snnenergy.trace.formulas import Arithmetic, Contraction, Free
from snnenergy.trace.lineage import Lineage, Tag
from snnenergy.trace.sites import OUTPUT_FANS, Fans, Segment, Site, read_product
from snnenergy.trace.streams import Fan
from snnenergy.trace.structure import Structure, Work

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder

_HERE = os.path.dirname(__file__)
_TORCH = os.path.dirname(torch.__file__)


@dataclass
class Frame:
    """A module (or region) being executed.  leaf: it has no children, so its products carry its own name."""

    path: str
    type_name: str
    leaf: bool
    module: nn.Module | None = None
    neuron: str | None = None
    argument: Tensor | None = None
    reads: list[Read] = field(default_factory=list)
    spikes: Tensor | None = None
    work: Work | None = None  # of its elementwise arithmetic; found when first needed
    tag: Tag | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """One contraction of a frame: what was read and how it could be read from the module's own input."""

    site: Site
    x: Tensor
    fans: Fans
    weight: Tensor
    made_of: tuple[Tensor, ...]  # the parameters that the weight was computed from


@dataclass
class Lost:
    """Arithmetic without a rule."""

    calls: int = 0
    parameters: dict[str, int] = field(default_factory=dict)
    reason: str = ""


@dataclass
class Forward:
    """What one surveyed forward did."""

    work: dict[str, Work] = field(default_factory=dict)
    lost: dict[tuple[str, str], Lost] = field(default_factory=dict)
    arithmetic_calls: int = 0
    used: set[str] = field(default_factory=set)
    calls_of: dict[str, int] = field(default_factory=dict)
    input_selects: dict[int, int] = field(default_factory=dict)
    unbatched: bool = False
    stated: TimeLayout | None = None
    conv_rows: int | None = None  # rows of the first convolution of the forward
    outside: bool = False  # a contraction that no leaf hook can see
    spiking: dict[tuple[int, int], tuple[str, int]] = field(default_factory=dict)  # (address, size) -> neuron, call
    fired: dict[str, int] = field(default_factory=dict)  # calls of each neuron
    links: dict[str, list[tuple[int, Site]]] = field(default_factory=dict)
    derived: bool = False  # a weight that no name belongs to was used outside hooked leaves


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is known of an operator."""

    name: str
    row: formulas.Row | None
    decompose: bool
    custom: Callable[..., Any] | None = None
    plain: bool = False  # elementwise or a view: `_note_plain` may do
    compares: bool = False


@dataclass(frozen=True, slots=True)
class _Memo:
    """A contraction of a leaf on operands of known shapes: what it did the last time, all but the values."""

    argument: int  # which argument is the activation
    read: Read
    work: Work
    path: str
    weight: int  # its storage


class Survey(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own initialiser has no types
    """The dispatch mode.  `frames` is the stack of executing modules, kept by scopes.py."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled while we count; the guard would cost as much as the rest

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.rec = recorder
        self.lineage: Lineage = recorder.lineage
        self.forward = Forward()
        self.frames: list[Frame] = []
        self.paused = False
        self.watching = False  # only single functions run under this mode: tags say nothing
        self.last: Read | tuple[Site, Site, Tensor, Tensor] | None = None  # what was read last, for the learner
        self._path = ""  # of the last contraction
        self._replaying = False
        self._entries: dict[Any, _Entry] = {}
        self._inputs: dict[int, tuple[int, ...]] = {}
        self._tags: dict[object, Tag] = {}
        self._memos: dict[object, _Memo] = {}

    def begin(self, inputs: Sequence[Tensor]) -> None:
        self.forward = Forward()
        self.frames = [Frame("(root)", self.rec.model_type, self.rec.root_is_leaf, None, self.rec.root_neuron)]
        self.lineage.begin(inputs)
        self._inputs = {t.data_ptr(): tuple(t.shape) for t in inputs if t.numel()}
        self._input_keys = {t.untyped_storage()._cdata for t in inputs}
        self._memos.clear()

    # ---- every operator passes here
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        entry = self._entries.get(func) or self._look_up(func)
        if entry.decompose:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        out = func(*args, **kwargs)
        if entry.plain and not self.lineage.labelled and self._note_plain(entry, args, out):
            return out
        if torch.is_grad_enabled():
            with torch.no_grad():
                self._note(entry, func, args, kwargs, out)
        else:
            self._note(entry, func, args, kwargs, out)
        return out

    def _look_up(self, func: Any) -> _Entry:
        qualified = func._schema.name
        space, _, name = qualified.partition("::")
        custom = self.rec.rules.get(qualified)
        row = formulas.row(name) if space in ("aten", "prim", "profiler") else None
        decompose = custom is None and row is None and space == "aten" and func._can_decompose()
        if qualified == "aten::linear" or (space == "aten" and name.startswith("conv") and row is None):
            decompose = True
        elementwise = isinstance(row, formulas.Each) or row is formulas.VIEW or name in ("_to_copy", "clone")
        plain = elementwise and custom is None and not decompose
        entry = _Entry(name if space == "aten" else qualified, row, decompose, custom, plain, name in _COMPARISONS)
        self._entries[func] = entry
        return entry

    def _note_plain(self, entry: _Entry, args: Sequence[Any], out: Any) -> bool:
        """The short way for most calls: elementwise arithmetic on activations, and views.  False: take the long one."""
        row, heavy = entry.row, self.lineage.heavy
        if row is formulas.VIEW:
            return args[0].untyped_storage()._cdata not in self._input_keys
        if not isinstance(out, Tensor):
            return False
        if row is formulas.COPY:
            return self._note_copy(args[0], out)
        for a in args:
            if isinstance(a, Tensor) and a.untyped_storage()._cdata in heavy:
                return False
        frame = self.frames[-1]
        work = frame.work
        if work is None:
            path = frame.neuron if frame.neuron is not None else frame.path
            work = frame.work = self._work(path)
            frame.tag = self._tag(path, frame)
            self._note_sources(path, args)
        assert isinstance(row, formulas.Each)
        n = out.numel()
        if row.adds:
            work.adds += row.adds * n
        if row.muls:
            work.muls += row.muls * n
        if row.compares:
            work.compares += row.compares * n
        if row.specials:
            work.specials += row.specials * n
        work.calls += 1
        if not self._replaying:
            work.kernels += 1
        self.forward.arithmetic_calls += 1
        key = out.untyped_storage()._cdata
        heavy.discard(key)
        tag = frame.tag
        if entry.compares:
            assert tag is not None and tag.producer is not None
            tag = self._tag(tag.producer, frame, compared=True)
            if frame.neuron is not None and frame.module is None:
                frame.spikes = out  # in a named region the last comparison makes the spikes
        self.lineage.tags[key] = tag  # type: ignore[assignment]  # set together with frame.work
        return True

    def _note_sources(self, path: str, values: Sequence[Any]) -> None:
        """Who produced what this path computes on."""
        if self.watching:
            return
        for value in values:
            producer = self.lineage.of(value).producer if isinstance(value, Tensor) else None
            if producer is not None and producer != path:
                self.rec.structure(path).sources.setdefault(producer)

    def _note_copy(self, x: Tensor, out: Tensor) -> bool:
        """A clone or a cast: the values keep their origin."""
        source = x.untyped_storage()._cdata
        key = out.untyped_storage()._cdata
        found = self.lineage.tags.get(source)
        if found is None or found.level or found.pad:
            return False
        self.lineage.tags[key] = found
        self.lineage.heavy.discard(key)
        if not self._replaying:
            self._work(self._arithmetic_path()).kernels += 1
        return True

    def _note(self, entry: _Entry, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        tensors = _tensors(args)
        if kwargs:
            tensors += _tensors(kwargs.values())
        row = entry.row
        outs = [out] if isinstance(out, Tensor) else _tensors((out,))
        if isinstance(row, Free):
            self._note_free(entry.name, row, func, args, kwargs, tensors, outs)
            return
        forward, frame = self.forward, self.frames[-1]
        forward.arithmetic_calls += 1
        keys = [t.untyped_storage()._cdata for t in tensors]
        if isinstance(row, Contraction):
            self._note_contraction(entry, func, args, kwargs, out, tensors, keys)
            tag = self._tag(self._path, frame, linear=True)
        else:
            path = frame.neuron if frame.neuron is not None else frame.path
            self._use(tensors, keys)
            tag = self._tag(path, frame, compared=entry.name in _COMPARISONS)
            if row is not None:
                self._arithmetic(path, row(args, out))
                self._note_sources(path, tensors[:1])
                if len(tensors) == 1 and outs and self.lineage.labelled:
                    tag = self.lineage.kept_shape(tensors[0], outs[0], tag)
                self._note_special(entry.name, path, frame, args, tensors, outs)
            elif entry.custom is not None:
                self._apply_custom(entry, args, kwargs, out, tensors, path)
            else:
                self._lose(entry.name, tensors, "no rule for this operator")
        self.lineage.wrote(keys, outs, tag)

    def _tag(self, path: str, frame: Frame, *, linear: bool = False, compared: bool = False) -> Tag:
        """Tags are values: the same ones are made again and again in a loop."""
        key = (path, frame.neuron is not None, linear, compared)
        found = self._tags.get(key)
        if found is None:
            found = self._tags[key] = Tag(producer=path, neuron=key[1] and not linear, linear=linear, compared=compared)
        return found

    def _note_special(
        self, name: str, path: str, frame: Frame, args: Sequence[Any], tensors: list[Tensor], outs: list[Tensor]
    ) -> None:
        if name in _COMPARISONS:
            if frame.neuron is not None and frame.module is None and outs:
                frame.spikes = outs[0]
        elif "batch_norm" in name and self.lineage.of(tensors[0]).linear:
            self.rec.structure(path).foldable = len(args) < 6 or args[5] is not True

    def _note_contraction(
        self,
        entry: _Entry,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
        tensors: list[Tensor],
        keys: list[int],
    ) -> None:
        """Read a contraction; one that a leaf has done before on such shapes differs in its values only."""
        frame = self.frames[-1]
        leaf = frame.leaf and frame.module is not None and not self.lineage.labelled
        # within one leaf and one surveyed forward the other arguments (strides, groups ...) are the module's own
        key = (func, id(frame.module), keys[0] == keys[-1], *(t.shape for t in tensors)) if leaf else None
        memo = self._memos.get(key) if key is not None else None
        if memo is not None and memo.weight not in keys:
            memo = None
        if memo is not None:
            self._repeat(memo, args[memo.argument])
            return
        rule = contractions.RULES.get(entry.name)
        self._path = self._arithmetic_path()
        self._use(tensors, keys)
        if rule is None or any(t.layout != torch.strided for t in tensors):
            self._lose(entry.name, tensors, "no rule for this kernel")
            return
        reads, before = self.rec.reads, dataclasses.replace(self.forward.work.get(frame.path, _NO_WORK))
        rule(self, Call(func, args, kwargs, out))
        if key is not None and self.rec.reads == reads + 1 and isinstance(self.last, Read):
            index = next((i for i, a in enumerate(args) if a is self.last.x), None)
            named = self.lineage.name_of(self.last.weight) is not None
            if index is not None and named and self._path == frame.path:
                done = self.forward.work[frame.path].minus(before)
                weight = self.last.weight.untyped_storage()._cdata
                self._memos[key] = _Memo(index, self.last, done, frame.path, weight)

    def _repeat(self, memo: _Memo, x: Tensor) -> None:
        self._path = memo.path
        self.forward.work[memo.path].add(memo.work)
        site = memo.read.site
        site.neuron &= self.lineage.of(x).neuron
        self._read(site, x, memo.read.fans, memo.read.weight, memo.read.made_of)

    def _note_free(
        self,
        name: str,
        row: Free,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tensors: list[Tensor],
        outs: list[Tensor],
    ) -> None:
        if row.kernel and not self._replaying:
            self._work(self._arithmetic_path()).kernels += 1
        if name in ("select", "unbind", "slice") and tensors:
            self._note_time(name, args)
        if name in ("cat", "stack"):
            axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
            self.lineage.joined(tensors, outs[0], func, axis)
        elif name == "constant_pad_nd" and (args[2] if len(args) > 2 else kwargs.get("value", 0)) == 0:
            self.lineage.pad(args[0], outs[0], args[1])
        elif row.moves and name not in ("where", "masked_fill", "masked_fill_"):
            self.lineage.moved(tensors, outs, func, args, kwargs)
        elif outs:
            keys = [t.untyped_storage()._cdata for t in tensors]
            self.lineage.wrote(keys, outs, self._tag(self._arithmetic_path(), self.frames[-1]))

    def _note_time(self, name: str, args: Sequence[Any]) -> None:
        """Steps that the model itself takes off its input: the axis they are on is time."""
        x = args[0]
        if self._inputs.get(x.data_ptr() - x.storage_offset() * x.element_size()) != tuple(x.shape):
            return
        axis = args[1] if len(args) > 1 and isinstance(args[1], int) else 0
        axis %= max(1, x.dim())
        taken = x.shape[axis] if name == "unbind" else 1
        if name == "slice" and not (len(args) > 3 and isinstance(args[3], int) and args[3] - (args[2] or 0) == 1):
            return
        self.forward.input_selects[axis] = self.forward.input_selects.get(axis, 0) + taken

    # ---- where we are
    def _arithmetic_path(self) -> str:
        frame = self.frames[-1]
        return frame.neuron if frame.neuron is not None else frame.path

    def _product_path(self, weight: Tensor | None, op: str) -> tuple[str, object]:
        """(path, key of the stream): the leaf that runs, else the parameter's name, else module::op#site."""
        frame = self.frames[-1]
        name = self.lineage.name_of(weight) if weight is not None else None
        if name is not None and weight is not None:
            key: object = (name, weight.storage_offset())
            if frame.leaf and frame.neuron is None:
                return frame.path, key
            if self.rec.opaque and not name.startswith("_"):
                return name.rpartition(".")[0] or "(root)", key
            return f"param:{name}", key
        if frame.leaf and frame.neuron is None:
            return frame.path, (op, tuple(weight.shape) if weight is not None else self._call_site())
        index = self.rec.call_sites.setdefault(frame.path, {})
        site = index.setdefault(self._call_site(), len(index))
        label = "matmul" if op == "linear" else op
        return f"{frame.path}::{label}#{site}", site

    def _call_site(self) -> object:
        """The user's line that is running: code object and instruction, or an exported program's node."""
        if self.rec.node is not None:
            return self.rec.node
        frame = sys._getframe(2)
        while frame.f_back is not None:
            file = frame.f_code.co_filename
            if not file.startswith(_HERE) and not file.startswith(_TORCH) and not file.startswith("<"):
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
        self.frames.append(self.rec.frame_of(module))
        try:
            yield
        finally:
            self.frames.pop()

    def replay(self, fn: Callable[[], Any]) -> None:
        """Run `fn` under this mode for its counts; its result is thrown away and it launches no kernel of the model's."""
        outer, self._replaying = self._replaying, True
        self.forward.arithmetic_calls -= 1
        try:
            with self:
                fn()
        finally:
            self._replaying = outer
        self._work(self._arithmetic_path()).kernels += 1

    # ---- what it costs
    def _work(self, path: str) -> Work:
        found = self.forward.work.get(path)
        if found is None:
            found = self.forward.work[path] = Work()
            self.rec.structure(path, self.frames[-1])
        return found

    def _arithmetic(self, path: str, found: Arithmetic) -> None:
        work = self._work(path)
        work.adds += found.adds
        work.muls += found.muls
        work.compares += found.compares
        work.specials += found.specials
        work.calls += 1
        work.kernels += not self._replaying

    def _use(self, tensors: list[Tensor], keys: list[int]) -> None:
        owners = self.lineage.owners
        for t, key in zip(tensors, keys, strict=True):
            if key in owners:
                name = self.lineage.name_of(t)
                if name is not None:
                    self.forward.used.add(name)

    def _lose(self, name: str, tensors: list[Tensor], reason: str) -> None:
        lost = self.forward.lost.setdefault((self.frames[-1].path, name), Lost(reason=reason))
        lost.calls += 1
        for t in tensors:
            held = self.lineage.name_of(t)
            if held is not None:
                lost.parameters[held] = t.numel()
                self.forward.used.discard(held)

    def _apply_custom(
        self, entry: _Entry, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, tensors: list[Tensor], path: str
    ) -> None:
        """A user's rule: fn(*args, **kwargs) -> dense MACs, or a mapping of LayerCounts' additive fields."""
        assert entry.custom is not None
        found = entry.custom(*args, **kwargs)
        fields = {"dense_macs": found} if isinstance(found, int) else dict(found)
        work = self._work(path)
        work.add(Work(**({"valid_macs": fields.get("dense_macs", 0), "calls": 1, "kernels": 1} | fields)))
        dense = fields.get("dense_macs", 0)
        if dense and tensors:
            structure = self.rec.structure(path)
            structure.role, structure.op = "synaptic", entry.name
            site = self.rec.site((path, entry.name), path, "output", entry.name)
            site.take_whole(tensors[0], dense)

    # ---- Reader: what contractions.py tells us
    def weight_level(self, t: Tensor) -> int:
        level = self.lineage.of(t).level
        if level or not self.frames[-1].leaf or self.frames[-1].module is None:
            return level
        weight = getattr(self.frames[-1].module, "_parameters", {}).get("weight")
        # under autocast the cast weight may come from a cache filled before we looked
        return (
            2
            if weight is not None
            and t.dtype != weight.dtype
            and t.numel() == weight.numel()
            and t.dim() == 2
            and (t.shape == weight.shape or t.t().shape == weight.shape)
            else 0
        )

    def zero_pad(self, t: Tensor) -> tuple[tuple[int, int], ...]:
        tag = self.lineage.of(t)
        return tag.pad if tag.shape == tuple(t.shape) else ()

    def linear(self, x: Tensor, w: Tensor, *, bias: Tensor | None = None, op: str = "linear") -> None:
        # [rows, k] @ [k, n] -> [rows, n]
        rows, k = x.shape
        n = w.shape[1]
        path, key = self._product_path(w, op)
        structure, work = self._synaptic(path, op, w, bias, rows * n)
        structure.fan_in, structure.fan_out = max(structure.fan_in, k), max(structure.fan_out, n)
        structure.geometry = structure.geometry or {"inputs": k, "outputs": n}
        work.dense_macs += rows * k * n
        work.valid_macs += rows * k * n
        nonzero = self.rec.nonzero_weights(w)
        structure.weights[key] = (w.numel(), nonzero)
        site = self._site((path, key), path, "linear", key, x, 1)
        self._read(site, x, self._fans(site, w, None), w, self.lineage.sources_of(w))

    def conv(self, x: Tensor, w: Tensor, shape: ConvShape, bias: Tensor | None) -> None:
        n = x.shape[0]
        if self.forward.conv_rows is None:
            self.forward.conv_rows = n
        path, key = self._product_path(w, "conv")
        outputs = n * shape.cout * _product(a.out for a in shape.axes)
        structure, work = self._synaptic(path, "conv_transpose" if shape.transposed else "conv", w, bias, outputs)
        structure.fan_in, structure.fan_out = shape.fan_in, shape.fan_out
        structure.geometry = structure.geometry or _geometry(shape)
        work.dense_macs += n * shape.dense_macs
        work.valid_macs += n * shape.valid_macs
        nonzero = self.rec.nonzero_weights(w)
        structure.weights[key] = (w.numel(), nonzero)
        site = self._site((path, key), path, "conv", key, x, 1)
        self._read(site, x, self._fans(site, w, shape), w, self.lineage.sources_of(w))

    def _fans(self, site: Site, w: Tensor, shape: ConvShape | None) -> Fans:
        """How x reaches the taps of w [k, n], or of a convolution's w; cached while w is a parameter that stays as it is."""
        named = self.lineage.name_of(w) is not None
        effective = None
        if self.rec.nonzero_weights(w) != w.numel():
            build = (lambda: linear_effective_map(w)) if shape is None else lambda: conv_effective_map(w, shape)
            effective = self.rec.effective_map(w, shape, build)

        def fan() -> Fan:
            return Fan(w.shape[1], 1, effective) if shape is None else Fan(shape.reached, positions(shape), effective)

        key = (shape or w.shape[1], None if effective is None else id(effective))
        return self.rec.fans(site, key, fan, keep=named or effective is None)

    def product(self, a: Tensor, b: Tensor, op: str) -> None:
        # [B, m, k] @ [B, k, n] -> [B, m, n]
        batch, m, k = a.shape
        n = b.shape[2]
        path, key = self._product_path(None, op)
        order = self.forward.calls_of.get(f"{path}/{op}", 0) if op in ("sdpa", "bilinear") else 0
        if op == "sdpa":
            self.forward.calls_of[f"{path}/{op}"] = order + 1
            key = (key, order % 2)
        structure, work = self._synaptic(path, op, None, None, batch * m * n)
        structure.fan_in = max(structure.fan_in, k)
        structure.geometry = structure.geometry or {"batch": batch, "m": m, "k": k, "n": n}
        macs = batch * m * k * n
        work.dense_macs += macs
        work.valid_macs += macs
        left = self.rec.site((path, key, "a"), path, "product", self._source(a), operand="a")
        right = self.rec.site((path, key, "b"), path, "product", self._source(b), operand="b")
        left.partner, right.partner = right, left
        if not self.watching:
            for site, t in ((left, a), (right, b)):
                site.neuron &= self.lineage.of(t).neuron
                structure.input_bits = structure.output_bits = _bits(t)
                structure.sources.update(dict.fromkeys(filter(None, (self._source(t),))))
        self.rec.open(left, right)
        read_product(left, right, a, b)
        self.last = (left, right, a, b)
        self.rec.reads += 1
        self.forward.outside = True

    def _source(self, t: Tensor) -> str | None:
        return self.lineage.of(t).producer

    def _synaptic(
        self, path: str, op: str, w: Tensor | None, bias: Tensor | None, outputs: int
    ) -> tuple[Structure, Work]:
        work = self._work(path)
        structure = self.rec.structure(path, self.frames[-1])
        if structure.role != "synaptic":
            structure.role, structure.op = "synaptic", op
        if w is not None:
            structure.weight_bits = 8 * w.element_size()
        if bias is not None:
            structure.biases[self.lineage.name_of(bias) or "bias"] = bias.numel()
            work.adds += outputs
        work.output_elements += outputs
        work.calls += 1
        work.kernels += not self._replaying
        self._path = path
        return structure, work

    def _site(self, key: object, path: str, kind: str, label: object, x: Tensor, axis: int) -> Site:
        """The site of a weighted operand; created with its segments the first time."""
        site = self.rec.sites.get(key)
        tag = self.lineage.of(x)
        structure = self.rec.structure(path)
        if not self.watching:
            structure.input_bits = structure.output_bits = _bits(x)
            if tag.producer:
                structure.sources.setdefault(tag.producer)
        if site is None:
            segments = self.rec.named_segments(path, x, axis) or self._segments(x, axis, tag)
            site = self.rec.site(key, path, kind, None, segments=segments)
            site.rank = x.dim()
            for segment in segments:
                if segment.source:
                    structure.sources.setdefault(segment.source)
        if not self.watching:
            site.neuron &= tag.neuron
        self.rec.open(site)
        return site

    def _segments(self, x: Tensor, axis: int, tag: Tag) -> tuple[Segment, ...]:
        found = self.lineage.segments_of(x)
        if found is None:
            return (Segment(tag.producer),)
        moved = found.labels.movedim(axis, -1).reshape(-1, x.shape[axis])
        line = moved[0]
        if not bool((moved == line).all()) or bool((line == line[0]).all()):
            return (Segment(tag.producer),)
        present = torch.unique(line).tolist()
        return tuple(Segment(found.names[i], (line == i).nonzero().squeeze(1).cpu().numpy()) for i in present)

    def _read(self, site: Site, x: Tensor, fans: Fans, w: Tensor, made_of: tuple[Tensor, ...]) -> None:
        frame = self.frames[-1]
        self.last = Read(site, x, fans, w, made_of)
        frame.reads.append(self.last)
        self.rec.reads += 1
        shape = self._inputs.get(x.data_ptr())
        if shape is not None and tuple(x.shape) == (1, *shape):
            self.forward.unbatched = True
        if not frame.leaf:
            self.forward.outside = True
            self.forward.derived |= self.lineage.name_of(w) is None
        self._link(site, x)
        site.take(x, fans)

    def _link(self, site: Site, x: Tensor) -> None:
        """Is this input just what a neuron put out?  Then its events are that neuron's spikes, and are read once."""
        fired = self.forward.spiking.get((x.data_ptr(), x.numel()))
        if fired is not None and self.lineage.of(x).producer == fired[0]:
            self.forward.links.setdefault(fired[0], []).append((fired[1], site))

    def note_updates(self, path: str, spikes: Tensor) -> None:
        """A named region made these spikes: its updates are known, its spikes only where every forward is surveyed."""
        work = self._work(path)
        work.updates += spikes.numel()
        work.output_elements += spikes.numel()
        self.forward.fired[path] = self.forward.fired.get(path, 0) + 1

    def note_output(self, path: str, out: Any) -> None:
        """A neuron module returned: count its updates and read its spikes."""
        work = self._work(path)
        outs = _tensors(tuple(out) if isinstance(out, tuple | list) else (out,))
        if not outs:
            return
        index = self.rec.spike_output(path, outs)
        call = self.forward.fired.get(path, 0)
        self.forward.fired[path] = call + 1
        if index is None or index >= len(outs):
            work.updates += outs[0].numel()
            work.output_elements += outs[0].numel()
            return
        spikes = outs[index]
        work.updates += spikes.numel()
        work.output_elements += spikes.numel()
        self.forward.spiking[(spikes.data_ptr(), spikes.numel())] = (path, call)
        site = self.rec.site((path, "spikes"), path, "output", None)
        self.rec.open(site)
        site.take(spikes.detach(), OUTPUT_FANS)


_NO_WORK = Work()
_COMPARISONS = frozenset(("gt", "ge", "lt", "le", "heaviside"))


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(v for v in value if isinstance(v, Tensor))
    return found


def _bits(t: Tensor) -> int:
    return 1 if t.dtype == torch.bool else 8 * t.element_size()


def _product(values: Iterator[int]) -> int:
    total = 1
    for value in values:
        total *= value
    return total


def _geometry(shape: ConvShape) -> dict[str, Any]:
    return {
        "in_channels": shape.cin,
        "out_channels": shape.cout,
        "groups": shape.groups,
        "input": [a.size for a in shape.axes],
        "output": [a.out for a in shape.axes],
        "kernel": [a.kernel for a in shape.axes],
        "stride": [a.stride for a in shape.axes],
        "padding": [a.padding for a in shape.axes],
        "dilation": [a.dilation for a in shape.axes],
    }
