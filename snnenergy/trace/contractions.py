"""Sums of products: each aten contraction as one of three shapes that `reading.py` can count.

    linear(x, w)     [rows, k] @ [k, n], w a weight        -> rows, each input element drives n taps
    conv(x, w)       [n, cin, *sizes] * w                  -> each input element drives the taps its position reaches
    product(a, b)    [B, m, k] @ [B, k, n], two activations -> a tap needs both operands

A fused kernel is read from its inputs; where its inner values matter they are recomputed beside it and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from snnenergy.trace.fanout import Axis, ConvShape
from snnenergy.trace.formulas import Arithmetic, scored
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


def _sdpa(r: Reader, call: Call) -> None:
    """softmax(q k^T scale + mask) v: the weights of v are recomputed, as the kernel never shows them."""
    q, k, v = call[0], call[1], call[2]
    mask, causal = call.get("attn_mask", call.get("attn_bias")), bool(call.get("is_causal", False))
    if k.shape[-3] != q.shape[-3]:  # grouped queries share keys and values
        k, v = (r.lineage.follow(t.repeat_interleave(q.shape[-3] // t.shape[-3], -3), t) for t in (k, v))
    weights = r.lineage.follow(attention_weights(q, k, mask, causal, call.get("scale")), None)
    q, k, v, weights = (reshaped(r, t, -1, *t.shape[-2:]) for t in (q, k, v, weights))
    r.product(q, k.transpose(1, 2), "sdpa")
    r.product(weights, v, "sdpa")
    r.elementwise(scored(weights.numel(), mask))


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float | None) -> Tensor:
    """softmax(q k^T scale + mask) over the last axis, as scaled dot product attention defines it."""
    scores = (q @ k.transpose(-2, -1)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~allowed, float("-inf"))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1)


def _mkldnn_rnn(r: Reader, call: Call) -> None:
    """One layer and direction of an LSTM: x [T, N, in], states [1, N, H]; its outputs are the hidden states it fed back."""
    x, w_ih, w_hh, b_ih, b_hh, hx = call.args[:6]
    if not call.get("has_biases"):  # torch hands the kernel zeros in their place
        b_ih = b_hh = None
    backward = bool(call[7])
    y = call.out[0]
    steps, rows = x.shape[0], x.shape[1]
    first = hx.reshape(1, rows, -1).to(y.dtype)
    before = torch.cat((y[1:], first)) if backward else torch.cat((first, y[:-1]))
    r.linear(reshaped(r, x, steps * rows, -1), w_ih.t(), bias=b_ih, op="rnn")
    r.linear(r.lineage.follow(before.reshape(steps * rows, -1), None), w_hh.t(), bias=b_hh, op="rnn")
    n = y.numel()  # per hidden unit: four gate sums, c = f c + i g, h = o tanh(c); five transcendental functions
    r.elementwise(Arithmetic(adds=5 * n, muls=3 * n, specials=5 * n))


def _native_attention(r: Reader, call: Call) -> None:
    query, key, value, embed, heads, qkv_w, qkv_b, out_w, out_b = call.args[:9]
    mask = call.get("mask")
    r.replay(
        lambda: _attention(query, key, value, embed, heads, (qkv_w, qkv_b, out_w, out_b), mask, call.get("mask_type"))
    )


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed: int,
    heads: int,
    weights: Sequence[Tensor],
    mask: Any,
    mask_type: Any,
) -> Tensor:
    """Multi-head attention in separate steps, batch first, as the fused kernel defines it."""
    qkv_w, qkv_b, out_w, out_b = weights
    split = []
    for i, x in enumerate((query, key, value)):
        y = torch.nn.functional.linear(x, qkv_w[i * embed : (i + 1) * embed], qkv_b[i * embed : (i + 1) * embed])
        split.append(y.reshape(*y.shape[:-1], heads, embed // heads).transpose(1, 2))
    q, k, v = split
    scores = (q * (embed // heads) ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        shaped = (
            mask
            if mask_type == 0 or (mask.dim() == 2 and mask_type != 1)
            else mask[:, None, None, :]
            if mask.dim() == 2
            else mask
        )
        scores = scores.masked_fill(shaped.bool(), float("-inf"))
    joined = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
    return torch.nn.functional.linear(joined, out_w, out_b)


def _encoder_layer(r: Reader, call: Call) -> None:
    """nn.TransformerEncoderLayer's fused inference kernel, replayed step by step under the names of its own layers."""
    src, embed, heads, qkv_w, qkv_b, out_w, out_b, gelu, norm_first, eps = call.args[:10]
    n1w, n1b, n2w, n2b, w1, b1, w2, b2 = call.args[10:18]
    mask, mask_type = call.get("mask"), call.get("mask_type")
    F = torch.nn.functional

    def attend(x: Tensor) -> Tensor:
        with r.owner(qkv_w):
            return _attention(x, x, x, embed, heads, (qkv_w, qkv_b, out_w, out_b), mask, mask_type)

    def feed(x: Tensor) -> Tensor:
        with r.owner(w1):
            inner = F.linear(x, w1, b1)
        inner = F.gelu(inner) if gelu else F.relu(inner)
        with r.owner(w2):
            return F.linear(inner, w2, b2)

    def norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        with r.owner(w):
            return F.layer_norm(x, (embed,), w, b, eps)

    def layer(x: Tensor) -> None:
        if norm_first:
            y = x + attend(norm(x, n1w, n1b))
            _ = y + feed(norm(y, n2w, n2b))
        else:
            y = norm(x + attend(x), n1w, n1b)
            _ = norm(y + feed(y), n2w, n2b)

    # padded tokens were left out of a nested tensor: its samples have lengths of their own
    samples = [r.lineage.follow(x.unsqueeze(0), src) for x in src.unbind()] if src.is_nested else [src]

    def layers() -> None:
        for x in samples:
            layer(x)

    r.replay(layers)


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
    "mkldnn_rnn_layer": _mkldnn_rnn,
    "_native_multi_head_attention": _native_attention,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_scaled_dot_product_flash_attention_for_cpu": _sdpa,
    "_scaled_dot_product_flash_attention": _sdpa,
    "_scaled_dot_product_efficient_attention": _sdpa,
    "_scaled_dot_product_cudnn_attention": _sdpa,
    "_scaled_dot_product_fused_attention_overrideable": _sdpa,
}
