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

from snnenergy.trace.fanout import ConvShape, macs_and_reach
from snnenergy.trace.formulas import Contraction
from snnenergy.trace.forward import Frame
from snnenergy.trace.reading import Reading
from snnenergy.trace.survey import Survey

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder
    from snnenergy.trace.sites import Site
    from snnenergy.trace.streams import Array, Rows

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
        self._made: dict[int, str] = {}  # number of an autograd node -> layer that made it
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
            self._made[number] = self._layer_of(func)
        return out

    def _layer_of(self, func: Any) -> str:
        """Whose operator has just run in the forward."""
        entry = self._entries.get(func)
        return self.path if entry is not None and isinstance(entry.row, Contraction) else self.arithmetic_path()

    def _undo(self, node: Any, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
        """One operator of the backward pass."""
        self.layer = self.made_by(node._sequence_nr())
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
        self._follow(phase, func, args, out)
        return out

    def _counted(self, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
        if func._schema.name != "aten::_trilinear":
            return super().__torch_dispatch__(func, types, args, kwargs)
        self.forward.arithmetic_calls += 1  # the same kernel as in the forward, its axes in another order each time
        self._lose("_trilinear", [a for a in args if isinstance(a, Tensor)], "no rule for this kernel's gradient")
        return func(*args, **(kwargs or {}))

    def _type_name(self) -> str:
        found = self.rec.structures.get(self.layer)
        return found.module_type if found is not None else ""

    def made_by(self, number: int) -> str:
        """The layer of an autograd node; one that no operator was seen for belongs to the operator before it."""
        if len(self._numbers) != len(self._made):
            self._numbers = sorted(self._made)
        at = bisect_right(self._numbers, number) - 1
        return self._made[self._numbers[max(0, at)]] if self._numbers else "(root)"

    def weighted(self, layer: str) -> bool:
        """Whether the layer's forward met weights; else it is a product of activations, and so is its backward."""
        found = self.rec.structures.get(layer)
        return found is not None and bool(found.weights)

    # ---- which of the two gradients
    def _phase(self, node: Any, func: Any, args: Sequence[Any]) -> str:
        """Of elementwise work: sums over rows that give a bias its gradient, and sums of such gradients."""
        if func._schema.name == "aten::sum" and self.weighted(self.layer) and _ends_in_a_parameter(node):
            return GRAD_WEIGHT
        held = [a for a in args if isinstance(a, Tensor) and a.dim()]
        return GRAD_WEIGHT if held and all(self._key(a) in self._of_weights for a in held) else GRAD_INPUT

    def _follow(self, phase: str, func: Any, args: Sequence[Any], out: Any) -> None:
        """Remember where gradients of weights lie: what a product of activations gave, and what is made of those alone."""
        entry = self._entries.get(func)
        if entry is not None and isinstance(entry.row, Contraction):
            phase = GRAD_WEIGHT if self.path.endswith(f"@{GRAD_WEIGHT}") else GRAD_INPUT
        if not isinstance(out, Tensor):
            return
        key = self._key(out)
        if phase == GRAD_WEIGHT:
            self._of_weights.add(key)
        elif not any(isinstance(a, Tensor) and self._key(a) == key for a in args):  # a view keeps what it is a view of
            self._of_weights.discard(key)

    @staticmethod
    def _key(t: Tensor) -> int:
        return int(t.untyped_storage()._cdata) if t.layout == torch.strided else 0


def _ends_in_a_parameter(node: Any) -> bool:
    return any(at is not None and at.name() == "torch::autograd::AccumulateGrad" for at, _ in node.next_functions)


class Backward(Reading):
    """Reads contractions of the backward pass into the rows of their layer's two gradients."""

    survey: StepSurvey

    def _product_path(self, weight: Tensor | None, op: str) -> tuple[str, object]:
        layer = self.survey.layer
        to_weight = weight is None and self.survey.weighted(layer)
        phase = GRAD_WEIGHT if to_weight else GRAD_INPUT
        return row_path(layer, phase), (phase, None if weight is None else self.lineage.name_of(weight), op)

    def _site(self, key: object, path: str, kind: str, x: Tensor, axis: int) -> Site:
        site = super()._site(key, path, kind, x, axis)
        _take_as_analog(site)
        return site

    def _operand(self, key: object, path: str, t: Tensor, operand: str) -> Site:
        site = super()._operand(key, path, t, operand)
        if "@" in (self._source(t) or ""):
            _take_as_analog(site)
        return site

    def weight_gradient(self, x: Tensor, g: Tensor, shape: ConvShape) -> None:
        """x [n, cin, *sizes] against g [n, cout, *out]: one product for each tap of the forward."""
        path, key = self._product_path(None, "conv")
        structure, work = self._synaptic(
            path, "conv", None, None, shape.cout * shape.cin // shape.groups * shape.kernel
        )
        structure.geometry = structure.geometry or {"kernel": [a.kernel for a in shape.axes], "groups": shape.groups}
        dense, valid, _ = macs_and_reach(shape)
        structure.fan_in = max(structure.fan_in, dense // max(1, shape.cout * shape.cin // shape.groups * shape.kernel))
        work.dense_macs += x.shape[0] * dense
        work.valid_macs += x.shape[0] * valid
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
