"""Sums of products: each aten contraction as one of three shapes that `reading.py` can count.

    linear(x, w)     [rows, k] @ [k, n], w a weight        -> rows, each input element drives n taps
    conv(x, w)       [n, cin, *sizes] * w                  -> each input element drives the taps its position reaches
    product(a, b)    [B, m, k] @ [B, k, n], two activations -> a tap needs both operands

Those inside fused kernels are read in `fused.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from torch import Tensor

from snnenergy.trace.fanout import Axis, ConvShape
from snnenergy.trace.formulas import Arithmetic
from snnenergy.trace.lineage import Lineage
from snnenergy.trace.tags import ACTIVATION, BUFFER


class Reader(Protocol):
    """What a contraction is told to (reading.Reading)."""

    lineage: Lineage

    def weight_level(self, t: Tensor) -> int: ...
    def zero_pad(self, t: Tensor) -> tuple[tuple[int, int], ...]: ...
    def linear(self, x: Tensor, w: Tensor, *, bias: Tensor | None = None, op: str = "linear") -> None: ...
    def conv(self, x: Tensor, w: Tensor, shape: ConvShape, bias: Tensor | None) -> None: ...
    def product(self, a: Tensor, b: Tensor, op: str) -> None: ...
    def weight_gradient(self, x: Tensor, g: Tensor, shape: ConvShape) -> None: ...
    def replay(self, fn: Callable[[], Any]) -> None: ...
    def owner(self, w: Tensor) -> Any: ...
    def elementwise(self, found: Arithmetic) -> None: ...
    def added_to(self, elements: int) -> None: ...


@dataclass(slots=True)
class Call:
    """One executed op: its arguments as they were passed, and its result."""

    func: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    out: Any

    def __getitem__(self, index: int) -> Any:
        return self.args[index]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument by its schema name, wherever it was passed."""
        if name in self.kwargs:
            return self.kwargs[name]
        names = [a.name for a in self.func._schema.arguments]
        if name not in names or names.index(name) >= len(self.args):
            return default
        return self.args[names.index(name)]


def reshaped(r: Reader, t: Tensor, *shape: int) -> Tensor:
    """A view of t, or a copy that is known to come from where t does."""
    return r.lineage.follow(t.reshape(*shape), t)


def matmul2(r: Reader, a: Tensor, b: Tensor, bias: Tensor | None = None) -> None:
    """a [m, k] @ b [k, n]: the operand nearer to a parameter is the weight; two activations are a product."""
    left, right = _levels(r, a, b)
    own = _own(r, bias) if left != right else None
    met = own is not bias  # what is added is no word of this layer's: adds, and no bias
    if right > left:  # as a view the call is none that is remembered, with the adds of a bias or with none
        r.linear(reshaped(r, a, *a.shape) if met else a, b, bias=own)
    elif left > right:
        r.linear(b.t(), a.t(), bias=own)
    else:
        r.product(a.unsqueeze(0), b.unsqueeze(0), "matmul")
    if met:
        r.added_to(a.shape[0] * b.shape[1])


def batched(r: Reader, a: Tensor, b: Tensor, op: str = "matmul", bias: Tensor | None = None) -> None:
    """a [B, m, k] @ b [B, k, n]; a weight expanded over the batch is one weight."""
    left, right = _levels(r, a, b)
    own = _own(r, bias) if left != right else None
    if right > left and (b.shape[0] == 1 or b.stride(0) == 0):
        r.linear(reshaped(r, a, -1, a.shape[2]), b[0], bias=own)
    elif left > right and (a.shape[0] == 1 or a.stride(0) == 0):
        r.linear(reshaped(r, b.transpose(1, 2), -1, b.shape[1]), a[0].t(), bias=own)
    elif right > left or left > right:
        weighted = (a, b) if right > left else (b.transpose(1, 2), a.transpose(1, 2))
        for x, w in zip(weighted[0].unbind(0), weighted[1].unbind(0), strict=True):
            r.linear(x, w, bias=own)
    else:
        r.product(a, b, op)
    if own is not bias:
        r.added_to(a.shape[0] * a.shape[1] * b.shape[2])


def _levels(r: Reader, a: Tensor, b: Tensor) -> tuple[int, int]:
    """How near each is to a parameter; of two that were there before, the larger one is the weight and not the state."""
    left, right = r.weight_level(a), r.weight_level(b)
    if left == right == BUFFER:
        return (BUFFER, ACTIVATION) if a.numel() > b.numel() else (ACTIVATION, BUFFER)
    return left, right


def _own(r: Reader, bias: Tensor | None) -> Tensor | None:
    """A bias made of parameters; an activation in its place, as of a residual, is none."""
    return bias if bias is not None and r.weight_level(bias) else None


def _added(call: Call) -> Tensor | None:
    """What the product is added to."""
    added: Tensor = call[0]
    return added if call.get("beta", 1) else None


def _mm(r: Reader, call: Call) -> None:
    matmul2(r, call[0], call[1])


def _addmm(r: Reader, call: Call) -> None:
    matmul2(r, call[1], call[2], bias=_added(call))


def _bmm(r: Reader, call: Call) -> None:
    batched(r, call[0], call[1])


def _baddbmm(r: Reader, call: Call) -> None:
    batched(r, call[1], call[2], bias=_added(call))


def _addbmm(r: Reader, call: Call) -> None:
    # [B, m, k] @ [B, k, n], summed over B: [m, B k] @ [B k, n]
    a, b = call[1], call[2]
    m, n = a.shape[1], b.shape[2]
    matmul2(r, reshaped(r, a.transpose(0, 1), m, -1), reshaped(r, b, -1, n), bias=_added(call))


def _mv(r: Reader, call: Call) -> None:
    # [m, k] @ [k]
    matmul2(r, call[1].unsqueeze(0), call[0].t())


def _addmv(r: Reader, call: Call) -> None:
    matmul2(r, call[2].unsqueeze(0), call[1].t(), bias=_added(call))


def _dot(r: Reader, call: Call) -> None:
    matmul2(r, call[0].unsqueeze(0), call[1].unsqueeze(1))


def _mkldnn_linear(r: Reader, call: Call) -> None:
    x, w, bias = call[0], call[1], call.get("bias")
    matmul2(r, reshaped(r, x, -1, x.shape[-1]), w.t(), bias=bias)


def _spread(value: Any, n: int) -> list[int]:
    items = [int(v) for v in value] if isinstance(value, Sequence) else [int(value)]
    return items * n if len(items) == 1 else items


def conv_shape(
    x: Tensor,
    w: Tensor,
    out: Tensor,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    groups: int,
    zero_pad: Sequence[tuple[int, int]] = (),
) -> ConvShape:
    """The geometry of x [n, cin, *sizes] * w -> out; `zero_pad` are explicit zeros already in x, per axis."""
    given = [tuple(v) if isinstance(v, list | tuple) else v for v in (stride, padding, dilation)]
    return _shape(x.shape, w.shape, out.shape, *given, transposed, groups, tuple(zero_pad))


@lru_cache(maxsize=4096)
def _shape(
    x: Sequence[int],
    w: Sequence[int],
    out: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    groups: int,
    zero_pad: Sequence[tuple[int, int]],
) -> ConvShape:
    n = len(x) - 2
    strides, pads, dilations = _spread(stride, n), _spread(padding, n), _spread(dilation, n)
    hidden = list(zero_pad) or [(0, 0)] * n
    axes = tuple(
        Axis(
            x[2 + d],
            out[2 + d],
            w[2 + d],
            strides[d],
            pads[d],
            dilations[d],
            transposed,
            (hidden[d][0], x[2 + d] - hidden[d][1]),
        )
        for d in range(n)
    )
    return ConvShape(x[1], out[1], groups, axes)


def _convolution(r: Reader, call: Call) -> None:
    x, w, bias = call.args[:3]
    stride, padding, dilation, transposed, _, groups = call.args[3:9]
    out = call.out
    r.conv(x, w, conv_shape(x, w, out, stride, padding, dilation, transposed, groups, r.zero_pad(x)), bias)


def _mkldnn_convolution(r: Reader, call: Call) -> None:
    x, w, bias, padding, stride, dilation, groups = call.args[:7]
    r.conv(x, w, conv_shape(x, w, call.out, stride, padding, dilation, False, groups, r.zero_pad(x)), bias)


def _slow_conv(r: Reader, call: Call) -> None:
    # x, weight, kernel_size, bias, stride, padding[, dilation]
    x, w, bias = call[0], call[1], call.get("bias")
    out = call.out if isinstance(call.out, Tensor) else call.out[0]
    groups = x.shape[1] // w.shape[1]
    shape = conv_shape(
        x,
        w,
        out,
        call.get("stride", 1),
        call.get("padding", 0),
        call.get("dilation", 1),
        False,
        groups,
        r.zero_pad(x),
    )
    r.conv(x, w, shape, bias)


def _trilinear(r: Reader, call: Call) -> None:
    """sum_ij x1[b, i] w[o, i, j] x2[b, j], as `bilinear` calls it: x1 meets the weight, the result meets x2."""
    x1, w, x2 = call.args[:3]
    out_features, n1, n2 = w.shape
    inner = reshaped(r, w.permute(1, 0, 2), n1, out_features * n2)
    r.linear(x1, inner, op="bilinear")
    met = r.lineage.follow((x1 @ inner).view(-1, out_features, n2), None)
    r.product(met, x2.unsqueeze(2), "bilinear")


RULES: dict[str, Callable[[Reader, Call], None]] = {
    "mm": _mm,
    "addmm": _addmm,
    "_addmm_activation": _addmm,
    "bmm": _bmm,
    "baddbmm": _baddbmm,
    "addbmm": _addbmm,
    "mv": _mv,
    "addmv": _addmv,
    "dot": _dot,
    "vdot": _dot,
    "mkldnn_linear": _mkldnn_linear,
    "convolution": _convolution,
    "_convolution": _convolution,
    "convolution_overrideable": _convolution,
    "mkldnn_convolution": _mkldnn_convolution,
    "thnn_conv2d": _slow_conv,
    "_slow_conv2d_forward": _slow_conv,
    "slow_conv3d": _slow_conv,
    "slow_conv_dilated2d": _slow_conv,
    "slow_conv_dilated3d": _slow_conv,
    "_conv_depthwise2d": _slow_conv,
    "conv_depthwise3d": _slow_conv,
    "_trilinear": _trilinear,
}
