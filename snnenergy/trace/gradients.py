"""Gradients that one kernel gives at once: the sums of products in it, read as `contractions.py` reads those of the forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snnenergy.trace.contractions import Call, Reader, conv_shape, reshaped
from snnenergy.trace.fanout import ConvShape
from snnenergy.trace.formulas import Arithmetic, scored
from snnenergy.trace.fused import attention_weights


def _convolution_backward(r: Reader, call: Call) -> None:
    """Of x * w -> out, given g on out: g through the turned convolution for x, x against g for w, a sum of g for the bias."""
    g, x, w = call.args[:3]
    stride, padding, dilation, transposed, _, groups, wanted = call.args[4:11]
    shape = conv_shape(x, w, g, stride, padding, dilation, transposed, groups, r.zero_pad(x))
    if wanted[0]:
        r.conv(g, w, turned(shape), None)
    if wanted[1]:
        r.weight_gradient(x, g, shape)
    if wanted[2]:
        r.elementwise(Arithmetic(adds=g.numel()))


def turned(shape: ConvShape) -> ConvShape:
    """The convolution that carries a gradient from the output back to the input: the same taps, walked the other way."""
    axes = tuple(a._replace(size=a.out, out=a.size, transposed=not a.transposed, real=(0, a.out)) for a in shape.axes)
    return ConvShape(shape.cout, shape.cin, shape.groups, axes)


def _sdpa_backward(r: Reader, call: Call) -> None:
    """Of P v with P = softmax(q k^T scale + mask), given g: P is computed again, and the kernel shows none of these products.

    dv = P^T g;  dP = g v^T;  dS = P (dP - sum(P dP));  dq = dS k;  dk = dS^T q
    """
    g, q, k, v = call.args[:4]
    mask, causal = call.get("attn_mask", call.get("attn_bias")), bool(call.get("is_causal", False))
    p = attention_weights(q, k, mask, causal, call.get("scale"))
    dp = g @ v.transpose(-2, -1)
    ds = p * (dp - (dp * p).sum(-1, keepdim=True))
    g, q, k, v, p, ds = (r.lineage.follow(t.reshape(-1, *t.shape[-2:]), None) for t in (g, q, k, v, p, ds))
    for a, b in ((q, k.mT), (p.mT, g), (g, v.mT), (ds, k), (ds.mT, q)):
        r.product(a, b, "sdpa")
    n = p.numel()  # the weights again, and the gradient of their softmax
    r.elementwise(scored(n, mask))
    r.elementwise(Arithmetic(adds=2 * n, muls=2 * n))


def _mkldnn_rnn_backward(r: Reader, call: Call) -> None:
    """Of one layer and direction of an LSTM: the gradients of its gate sums, worked out again, against weights and inputs."""
    x, w_ih, w_hh, b_ih, b_hh, hx, cx, y = call.args[:8]
    order, biased = list(range(x.shape[0])), bool(call[17])
    weights = (w_ih, w_hh, b_ih + b_hh if biased else None)
    found = lstm_gate_gradients(x, weights, (hx, cx), call.args[10:13], order[:: -1 if call[13] else 1])
    dg, before = (r.lineage.follow(torch.cat([steps[t] for t in order]), None) for steps in found)  # [T N, *]
    r.linear(dg, w_ih, op="rnn")
    r.linear(dg, w_hh, op="rnn")
    for inputs in (reshaped(r, x, len(dg), -1), before):
        r.product(dg.t().unsqueeze(0), inputs.unsqueeze(0), "rnn")
    n = y.numel()  # per hidden unit the slopes of four gates, of c and of its tanh; each gate's sum for the bias
    r.elementwise(Arithmetic(adds=(11 if biased else 7) * n, muls=16 * n))


def lstm_gate_gradients(
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None],
    states: Sequence[Tensor],
    given: Sequence[Tensor | None],
    order: Sequence[int],
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """x [T, N, in]; given: gradients of all h, of the last h and c.  Per step [N, 4 H], of i, f, g, o; and the h it began with."""
    w_ih, w_hh, bias = weights
    h, c = (s.reshape(x.shape[1], -1) for s in states)
    steps, before, gradients = {}, {}, {}
    for t in order:
        before[t], old = h, c
        i, f, g, o = (x[t] @ w_ih.t() + h @ w_hh.t() + (0 if bias is None else bias)).chunk(4, -1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        steps[t] = i, f, g, o, c.tanh(), old
    of_all, of_h, of_c = given
    dh, dc = (torch.zeros_like(h) if d is None else d.reshape(h.shape) for d in (of_h, of_c))
    for t in reversed(order):
        i, f, g, o, tanh_c, old = steps[t]
        dh = dh if of_all is None else dh + of_all[t]
        dc = dc + dh * o * (1 - tanh_c**2)
        di, df, do = dc * g * i * (1 - i), dc * old * f * (1 - f), dh * tanh_c * o * (1 - o)
        gradients[t] = torch.cat((di, df, dc * i * (1 - g**2), do), -1)
        dh, dc = gradients[t] @ w_hh, dc * f
    return gradients, before


RULES: dict[str, Callable[[Reader, Call], None]] = {
    "convolution_backward": _convolution_backward,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _sdpa_backward,
    "mkldnn_rnn_layer_backward": _mkldnn_rnn_backward,
}
