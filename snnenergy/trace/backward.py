"""The backward pass under the survey: the same operators, the same table, each in the layer whose forward it undoes.

autograd numbers its nodes as they are made, and a forward operator is dispatched right after its own node is: so the
survey writes down which layer every number belongs to, and asks in the backward pass which node is running.

    y = x W      grad_input  = g W^T   g meets the stored weights: MACs, as far as g is not zero; not computed for a first layer
                 grad_weight = x^T g   two activations: a tap needs both, and is an accumulate where x is a spike
    others       grad_input            what undoes an activation, a norm, a pool, a neuron's step (a surrogate's slope)

The rows of a layer's backward pass are its path and the phase, such as `fc1@grad_weight`.  Sums of weight gradients over the
steps of BPTT, and the bias gradients, are grad_weight's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from snnenergy.trace.fanout import ConvShape
from snnenergy.trace.formulas import Contraction, Free
from snnenergy.trace.forward import Frame, Read
from snnenergy.trace.reading import Reading
from snnenergy.trace.structure import Structure, Work
from snnenergy.trace.survey import Survey

if TYPE_CHECKING:
    from snnenergy.trace.arrays import Array, Rows
    from snnenergy.trace.recorder import Recorder
    from snnenergy.trace.sites import Site
    from snnenergy.trace.tags import Tag

GRAD_INPUT, GRAD_WEIGHT = "grad_input", "grad_weight"


def row_path(layer: str, phase: str) -> str:
    """The path of a layer's row in a phase of training."""
    return f"{layer}@{phase}"


class StepSurvey(Survey):  # type: ignore[no-untyped-call]  # torch's own initialiser of subclasses has no types
    """A survey that also follows the gradients of the forward it saw."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.forward_reading, self.backward_reading = self.reading, Backward(self)
        self.layer = ""  # whose backward is running
        self.weighted = False  # whether its forward met weights; else it is elementwise, or a product of activations
        self._made: dict[int, tuple[str, bool]] = {}  # number of an autograd node -> the layer that made it, and that
        self._numbers: list[int] = []
        self._frames: dict[tuple[str, str], Frame] = {}
        self._of_weights: set[int] = set()  # storages that hold gradients of weights

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self.paused:
            return func(*args, **(kwargs or {}))
        node: Any = torch._C._current_autograd_node()  # None in the forward
        if node is not None and not torch.is_grad_enabled():
            return self._undo(node, func, types, args, kwargs)
        number = torch._C._autograd._get_sequence_nr() - 1  # of the node that was made for this operator, if one was
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if number not in self._made:
            contracts = self._contracts(func)
            path = self.path if contracts else self.frames[-1].owner
            self._made[number] = path, contracts and isinstance(self.last, Read)
        return out

    def _contracts(self, func: Any) -> bool:
        return isinstance(self.row_of(func), Contraction)

    def _undo(self, node: Any, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
        """One operator of the backward pass."""
        self.layer, self.weighted = self._origin(node._sequence_nr())
        phase = self._phase(node, func, args)
        frame = self._frames.get((self.layer, phase))
        if frame is None:
            path = row_path(self.layer, phase)
            frame = self._frames[(self.layer, phase)] = Frame(path, self._type_name(), True)
        self.frames.append(frame)
        self.reading = self.backward_reading
        try:
            out = self._counted(func, types, args, kwargs)
        finally:
            self.reading = self.forward_reading
            self.frames.pop()
            frame.reads.clear()
        self._follow(node, phase, func, args, out)
        return out

    def _counted(self, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
        if func._schema.name == "aten::_trilinear":  # the forward's kernel, its axes in another order each time
            self.forward.arithmetic_calls += 1
            self._lose("_trilinear", [a for a in args if isinstance(a, Tensor)], "no rule for this kernel's gradient")
            lost = func(*args, **(kwargs or {}))
            frame = self.frames[-1]
            self.lineage.put(lost.untyped_storage()._cdata, self.tag(frame.path, frame))  # not that of a freed tensor
            return lost
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if not isinstance(self.row_of(func), Contraction | Free):
            self._moved(self.frames[-1], out)
        return out

    def _moved(self, frame: Frame, out: Any) -> None:
        """What an elementwise kernel writes; it reads as much at the least."""
        written = [t for t in (out if isinstance(out, tuple | list) else (out,)) if isinstance(t, Tensor)]
        self.work_of(frame.path).output_elements += sum(t.numel() for t in written)
        structure = self.rec.layers.structure(frame.path)
        structure.output_bits = structure.output_bits or max((8 * t.element_size() for t in written), default=0)

    def _type_name(self) -> str:
        found = self.rec.layers.structures.get(self.layer)
        return found.module_type if found is not None else ""

    def made_by(self, number: int) -> str:
        """The layer of an autograd node."""
        return self._origin(number)[0]

    def _origin(self, number: int) -> tuple[str, bool]:
        """Where a node comes from; one that no operator was seen for belongs to the operator before it."""
        if len(self._numbers) != len(self._made):
            self._numbers = sorted(self._made)
        at = bisect_right(self._numbers, number) - 1
        return self._made[self._numbers[max(0, at)]] if self._numbers else ("(root)", False)

    # ---- which of the two gradients
    def _phase(self, node: Any, func: Any, args: Sequence[Any]) -> str:
        """Of elementwise work: sums over rows that give a parameter its gradient, and sums of such gradients."""
        if func._schema.name == "aten::sum" and any(_parameters(node)):
            return GRAD_WEIGHT
        held = [a for a in args if isinstance(a, Tensor) and a.dim()]
        return GRAD_WEIGHT if held and all(_key(a) in self._of_weights for a in held) else GRAD_INPUT

    def _follow(self, node: Any, phase: str, func: Any, args: Sequence[Any], out: Any) -> None:
        """Remember where gradients of weights lie: what products and kernels gave for them, and what is made of those alone."""
        if self._contracts(func):
            phase = GRAD_WEIGHT if self.path.endswith(f"@{GRAD_WEIGHT}") else GRAD_INPUT
        outs: tuple[Any, ...]
        if isinstance(out, Tensor):
            outs, ends = (out,), [phase == GRAD_WEIGHT]
        else:  # a kernel gives the gradients of all its inputs at once, in their order
            outs, ends = out if isinstance(out, tuple) else (), _parameters(node)
        views = {_key(a) for a in args if isinstance(a, Tensor)}
        for t, of_weight in zip(outs, ends, strict=False):
            if isinstance(t, Tensor) and of_weight:
                self._of_weights.add(_key(t))
            elif isinstance(t, Tensor) and _key(t) not in views:  # a view keeps what it is a view of
                self._of_weights.discard(_key(t))


def _key(t: Tensor) -> int:
    return int(t.untyped_storage()._cdata) if t.layout == torch.strided else 0


def _parameters(node: Any) -> list[bool]:
    """Of each gradient that a node gives: is it a parameter's?"""
    return [at is not None and at.name() == "torch::autograd::AccumulateGrad" for at, _ in node.next_functions]


class Backward(Reading):
    """Reads contractions of the backward pass into the rows of their layer's two gradients."""

    survey: StepSurvey

    def _product_path(self, weight: Tensor | None, name: str | None, op: str) -> tuple[str, object]:
        layer = self.survey.layer
        to_weight = weight is None and self.survey.weighted
        phase = GRAD_WEIGHT if to_weight else GRAD_INPUT
        return row_path(layer, phase), (phase, name, op)

    def _site(self, structure: Structure, key: tuple[str, object], kind: str, x: Tensor, tag: Tag) -> Site:
        site = super()._site(structure, key, kind, x, tag)
        _take_as_analog(site)
        return site

    def _operand(self, key: object, path: str, t: Tensor, operand: str) -> Site:
        site = super()._operand(key, path, t, operand)
        if "@" in (self._source(t) or ""):
            _take_as_analog(site)
        return site

    def weight_gradient(self, x: Tensor, g: Tensor, shape: ConvShape) -> None:
        """x [n, cin, *sizes] against g [n, cout, *out]: one product for each tap of the forward."""
        path, key = self._product_path(None, None, "conv")
        n, words = x.shape[0], shape.cout * shape.cin // shape.groups * shape.kernel
        work = Work(n * shape.dense_macs, n * shape.valid_macs, output_elements=words)
        structure = self._synaptic(path, "conv", None, None, work)
        structure.geometry = structure.geometry or {"kernel": [a.kernel for a in shape.axes], "groups": shape.groups}
        structure.fan_in = max(structure.fan_in, shape.dense_macs // max(1, words))
        self._pair(path, key, x, g, lambda a, b: taps_of_pairs(a, b, shape))


def _take_as_analog(site: Site) -> None:
    """A gradient is a value, also where all of them happen to be of one size, as under a loss that is a plain sum."""
    for tally in site.tallies:
        tally.magnitudes.many = True


def taps_of_pairs(x: Array, g: Array, shape: ConvShape) -> Rows:
    """x [n, cin, *sizes], g [n, cout, *out]: the sum over all taps (i, o) of x_i g_o, per sample; exact for masks.

    The side that the kernel slides over is summed under each window, then meets the channels of its group on the other side.
    """
    slid, met = (g, x) if shape.transposed else (x, g)
    n, channels = slid.shape[:2]
    axes = shape.axes
    ones = torch.ones(shape.groups, channels // shape.groups, *(a.kernel for a in axes), dtype=torch.float64)
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[len(axes) - 1]
    under = convolve(
        torch.from_numpy(np.ascontiguousarray(slid, np.float64)),
        ones,
        stride=[a.stride for a in axes],
        padding=[a.padding for a in axes],
        dilation=[a.dilation for a in axes],
        groups=shape.groups,
    ).numpy()  # [n, groups, *met's sizes]
    grouped = met.reshape(n, shape.groups, met.shape[1] // shape.groups, *met.shape[2:]).sum(2, dtype=np.float64)
    total: Rows = (under * grouped).reshape(n, -1).sum(1)
    return total
