"""The survey: one forward under the dispatch mode, which sees every operator and says what it cost and where.

It learns the structure of the layers, the value-free work of the forward, and for each contraction the cheapest way to
watch it later.  It is also the exact and slow way to count: every forward may be surveyed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from snnenergy.trace import formulas
from snnenergy.trace.activity import Hearing
from snnenergy.trace.contractions import Call
from snnenergy.trace.formulas import Arithmetic, Contraction, Free
from snnenergy.trace.forward import Firing, Forward, Frame, Lost, Read
from snnenergy.trace.learning import Products
from snnenergy.trace.lineage import Lineage
from snnenergy.trace.operators import MASKED, STEPS, Operator, operator_of
from snnenergy.trace.reading import Reading
from snnenergy.trace.repeats import Repeats
from snnenergy.trace.short import SHORT
from snnenergy.trace.signature import outputs_of, tensors_among
from snnenergy.trace.sites import OUTPUT_FANS, Site
from snnenergy.trace.structure import Work, stated
from snnenergy.trace.tags import Tag
from snnenergy.trace.tensors import address, storage, unwrapped, valueless

if TYPE_CHECKING:
    from snnenergy.trace.layers import Layers
    from snnenergy.trace.recorder import Recorder


class Survey(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own initialiser has no types
    """The dispatch mode.  `frames` is the stack of executing modules, kept by scopes.py."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled while we count; the guard would cost as much as the rest

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.rec = recorder
        self.lineage: Lineage = recorder.lineage
        self.layers: Layers = recorder.layers
        self.reading = Reading(self)
        self.products = Products(self)
        self.forward = Forward()
        self.frames: list[Frame] = []
        self.region: Frame | None = None  # the innermost named one that runs
        self.paused = False
        self.watching = False  # only single functions run under this mode: tags say nothing
        self.last: Read | tuple[Site, Site, Tensor, Tensor] | None = None  # what was read last, for the learner
        self.path = ""  # of the last contraction
        self.replaying = False
        self.outer: Any = None  # the composite operator that is being decomposed
        self._operators: dict[int, Operator] = {}
        self.inputs: dict[int, tuple[int, ...]] = {}
        self.weighed: set[tuple[int, int, object]] = set()  # weights that met activations: module, storage, offset
        self._tags: dict[object, Tag] = {}
        self.repeats = Repeats(self)
        self.shapes_only = False  # the model runs on tensors without values
        self.learning = 0  # inside a local learning rule

    def begin(self, inputs: Sequence[Tensor]) -> None:
        if torch._C._is_any_autocast_enabled():
            torch.clear_autocast_cache()  # a weight that was cast before we looked has no name; it is cast again
        self.forward = Forward()
        root = self.rec.root
        self.frames = [Frame("(root)", root.type_name, root.leaf, None, root.neuron)]
        if not self.rec.once and not self.watching:
            self.lineage.look()
        self.lineage.begin(inputs, whole=not self.watching)
        self.inputs = {address(t): tuple(t.shape) for t in inputs if t.numel()}
        self._first = address(inputs[0]) if inputs else 0
        self.shapes_only = any(map(valueless, inputs))
        self.input_keys = {t.untyped_storage()._cdata for t in inputs}
        self.repeats.begin()
        self.weighed.clear()

    def let_go(self) -> None:
        """The forward is over: what it computed on is not ours to keep."""
        self.frames, self.last, self.region = [], None, None
        self.lineage.let_go()
        self.repeats.begin()

    # ---- every operator passes here
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self.paused:
            return func(*args, **(kwargs or {}))
        op = self._operators.get(id(func)) or self._look_up(func)
        if kwargs is None:
            kwargs = _NONE
        if op.constant is not None and not isinstance(args[0], Tensor):
            return op.constant(*args)  # TorchScript's optimiser looks at constants, and is handed numbers here
        if op.decompose:
            outer = self.outer
            self.outer = outer or func
            try:
                with self:
                    result = func.decompose(*args, **kwargs)
            finally:
                self.outer = outer
            if result is not NotImplemented:
                return result
        out = op.call(*args, **kwargs)
        try:
            if op.short and op.short(self, op, args, kwargs, out):
                return out
            if self.shapes_only:  # what we keep beside the model's tensors has values
                with torch.no_grad(), unset_fake_temporarily():
                    self._note(op, func, args, kwargs, out)
            elif torch.is_grad_enabled():
                with torch.no_grad():
                    self._note(op, func, args, kwargs, out)
            else:
                self._note(op, func, args, kwargs, out)
        except NotImplementedError:  # what torch raises where a tensor has no storage: it is sparse
            if not isinstance(op.row, Free):
                self._lose(op.name, tensors_among(args), "sparse operands are not followed")
        return out

    def _look_up(self, func: Any) -> Operator:
        custom = self.rec.rules.get(func._schema.name)
        op = _operator(func, ruled=custom is not None)
        if custom is not None:
            op = dataclasses.replace(op, custom=custom)
        self._operators[id(func)] = op
        return op

    def row_of(self, func: Any) -> formulas.Row | None:
        """The row of an operator that was met."""
        found = self._operators.get(id(func))
        return None if found is None else found.row

    def note_source(self, value: Tensor, tag: Tag, frame: Frame) -> None:
        """Who produced what a frame computes on.

        Of a neuron every operand counts.  Other paths may compute at several places, as a model's own forward does between
        its layers: they follow what their first operator was given.
        """
        # a scalar made outside every operator may lie where a freed tensor lay: it tells nothing
        if tag.producer is None or tag.made or self.watching or not value.dim():
            return
        path = frame.owner
        if tag.producer != path:
            self.layers.structure(path, frame).sources.setdefault(tag.producer)

    def note_bias(self, path: str, frame: Frame, keys: list[int]) -> None:
        """A leaf's bias that is added on its own, as for inputs that are not contiguous."""
        own = frame.module._parameters.get("bias") if frame.leaf and frame.module is not None else None
        layer = self.layers.structures.get(path)
        if own is not None and layer is not None and layer.role == "synaptic" and own.untyped_storage()._cdata in keys:
            layer.biases[self.lineage.name_of(own) or "bias"] = own.numel()

    def _note(self, op: Operator, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        tensors, keys = self.met(args, kwargs)
        row = op.row
        outs = [out] if isinstance(out, Tensor) else tensors_among((out,))
        if isinstance(row, Free):
            self._note_free(op.name, row, func, args, kwargs, tensors, keys, outs)
            return
        frame = self.frames[-1]
        self.forward.arithmetic_calls += 1
        if isinstance(row, Contraction):
            self._note_contraction(op, func, args, kwargs, out, tensors)
            tag = self.tag(self.path, frame, linear=True)
        else:
            path = frame.owner
            tag = self.tag(path, frame, compared=op.compares)
            if row is not None:
                self.arithmetic(path, row(args, out))
                for t in tensors if frame.neuron is not None else tensors[:1]:
                    self.note_source(t, self.lineage.of(t), frame)
                self.note_bias(path, frame, keys)
                if len(tensors) == 1 and outs and keys[0] in self.lineage.labelled:
                    tag = self.lineage.kept_shape(tensors[0], outs[0], tag)
                if op.norm:
                    self.note_norm(path, args)
                elif op.compares and outs:
                    self.compared(outs[0])
            elif op.custom is not None:
                self._apply_custom(op, args, kwargs, out, tensors, path)
            else:
                self._lose(op.name, tensors, "no rule for this operator")
        self.lineage.wrote(keys, outs, tag)

    def met(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Tensor], list[int]]:
        """The tensors that an operator was given, and where they are stored; parameters among them are used."""
        tensors = tensors_among(args)
        if kwargs:
            tensors += tensors_among(kwargs.values())
        keys, owners = [t.untyped_storage()._cdata for t in tensors], self.lineage.owners
        for t, key in zip(tensors, keys, strict=True):
            if key in owners:
                self.forward.used.update(self.lineage.names_of(t))
        return tensors, keys

    def tag(self, path: str, frame: Frame, *, linear: bool = False, compared: bool = False, made: bool = False) -> Tag:
        """Tags are values: the same ones are made again and again in a loop."""
        key = (path, frame.neuron is not None, linear, compared, made)
        found = self._tags.get(key)
        if found is None:
            found = self._tags[key] = Tag(
                producer=path, neuron=key[1] and not linear, linear=linear, compared=compared, made=made
            )
        return found

    def note_norm(self, path: str, args: Sequence[Any]) -> None:
        """A batch norm directly after a linear map, by running statistics, can be folded into it."""
        if self.lineage.of(args[0]).linear:
            self.layers.structure(path).foldable = len(args) < 6 or args[5] is not True

    def _note_contraction(
        self,
        op: Operator,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
        tensors: list[Tensor],
    ) -> None:
        """Read a contraction, and how the next one like it could be read at once."""
        frame = self.frames[-1]
        if not self.replaying and not self.rec.once:  # else nothing will be heard
            self.forward.contracting.add((self.outer or func, id(frame.module) if frame.leaf else 0))
            made = self.lineage.heavy - self.lineage.owners.keys()
            frame.derived |= any(storage(t) in made for t in tensors)
        rule = op.rule
        self.path = self.frames[-1].owner
        self.reading.begin()
        if rule is None or not all(t.layout is torch.strided for t in tensors):
            self._lose(op.name, tensors, "no rule for this kernel")
            return
        if self.learning:
            rule(self.products, Call(func, args, kwargs, out))
            return
        reads = self.rec.reads
        rule(self.reading, Call(func, args, kwargs, out))
        if self.rec.reads == reads + 1 and isinstance(self.last, Read) and not kwargs:
            tag = self.tag(self.path, frame, linear=True)
            self.repeats.learn(op, frame, args, self.last, self.reading.work, tag)

    def _note_free(
        self,
        name: str,
        row: Free,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tensors: list[Tensor],
        keys: list[int],
        outs: list[Tensor],
    ) -> None:
        if row.kernel and not self.replaying:
            self.work_of(self.frames[-1].owner).kernels += 1
        if tensors:
            self.note_time(name, args)
        if name in ("cat", "stack"):
            axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
            self.lineage.joined(tensors, outs[0], func, axis)
        elif name == "constant_pad_nd" and (args[2] if len(args) > 2 else kwargs.get("value", 0)) == 0:
            self.lineage.pad(args[0], outs[0], args[1])
        elif row.moves and name not in MASKED:
            self.lineage.moved(tensors, outs, func, args, kwargs)
        elif outs:
            made = row is formulas.MAKE or (row is formulas.RANDOM and not tensors)
            self.lineage.wrote(keys, outs, self.tag(self.frames[-1].owner, self.frames[-1], made=made))

    def note_time(self, name: str, args: Sequence[Any]) -> None:
        """Steps that the model itself takes off its first input: the axis they are on is time."""
        if name not in STEPS:
            return
        x = args[0]
        at = address(x)
        if at != self._first or self.inputs.get(at) != tuple(x.shape):
            return
        axis = args[1] if len(args) > 1 and isinstance(args[1], int) else 0
        axis %= max(1, x.dim())
        taken = x.shape[axis] if name == "unbind" else 1
        if name == "slice" and not (len(args) > 3 and isinstance(args[3], int) and args[3] - (args[2] or 0) == 1):
            return
        self.forward.input_selects[axis] = self.forward.input_selects.get(axis, 0) + taken

    # ---- what it costs
    def work_of(self, path: str) -> Work:
        found = self.forward.work.get(path)
        if found is None:
            found = self.forward.work[path] = Work()
            self.layers.structure(path, self.frames[-1])
        return found

    def arithmetic(self, path: str, found: Arithmetic) -> None:
        work = self.work_of(path)
        work.adds += found.adds
        work.muls += found.muls
        work.compares += found.compares
        work.specials += found.specials
        work.calls += 1
        work.kernels += not self.replaying

    def _lose(self, name: str, tensors: list[Tensor], reason: str) -> None:
        lost = self.forward.lost.setdefault((self.frames[-1].path, name), Lost(reason=reason))
        lost.calls += 1
        for t in tensors:
            held = self.lineage.name_of(t) if t.layout == torch.strided else None
            if held is not None:
                lost.parameters[held] = t.numel()
                self.forward.used.discard(held)

    def _apply_custom(
        self,
        op: Operator,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
        tensors: list[Tensor],
        path: str,
    ) -> None:
        """A user's rule: fn(*args, **kwargs) -> dense MACs, or a mapping of LayerCounts' additive fields."""
        assert op.custom is not None
        fields = stated(op.name, op.custom(*args, **kwargs))
        dense = fields.get("dense_macs", 0)
        self.work_of(path).add(Work(**({"valid_macs": dense, "calls": 1, "kernels": 1} | fields)))
        if dense and tensors:
            structure = self.layers.structure(path)
            structure.role, structure.op = "synaptic", op.name
            origin = self.lineage.of(tensors[0])
            site = self.layers.site((path, op.name), path, "output", origin.producer)
            site.neuron &= origin.neuron
            site.take_whole(tensors[0], dense)

    # ---- neurons
    def compared(self, out: Tensor) -> None:
        """In a named region the last comparison makes the spikes, also one of a module called in it."""
        if self.region is not None:
            self.region.spikes = out

    def note_region(self, path: str | None, spikes: Tensor | None) -> None:
        """A named region ended; path: of the neuron it is, or None.  Its last comparison made the spikes."""
        made = path is not None and spikes is not None
        self.forward.regions.append(path if made else None)
        if path is not None and made:
            self.paused = True
            try:
                with torch.no_grad():
                    self.note_output(path, spikes)
            finally:
                self.paused = False

    def note_output(self, path: str, out: Any, *, spikes: bool = False) -> None:
        """A neuron module returned: count its updates and read its spikes; spikes: its only output is known to be them."""
        forward = self.forward
        outs = outputs_of(out)
        firing = forward.fired.get(path)
        if firing is None:
            work = self.work_of(path)
            if not outs:
                return
            index = self.layers.spike_output(path, list(map(unwrapped, outs)), known=spikes)
            firing = Firing(work, index)
            forward.fired[path] = firing
        elif not outs:
            return
        call, index, work = firing.calls, firing.index, firing.work
        firing.calls = call + 1
        fired = unwrapped(outs[index]) if index is not None and index < len(outs) else None
        n = (unwrapped(outs[0]) if fired is None else fired).numel()
        work.updates += n
        work.output_elements += n
        if fired is None:
            return
        forward.spiking[(address(fired), n)] = (path, call, fired.is_contiguous())
        if firing.site is None:
            firing.site = self.layers.output(path)
            if not call:
                firing.heard = Hearing()
                firing.site.listen(firing.heard)
            self.layers.open(firing.site)
        firing.site.take(fired, OUTPUT_FANS)


@lru_cache(maxsize=4096)
def _operator(func: Any, *, ruled: bool) -> Operator:
    """ruled: the user gave a rule for it."""
    found = operator_of(func, ruled=ruled)
    return dataclasses.replace(found, short=SHORT.get(found.kind))


_NONE: Mapping[str, Any] = {}
