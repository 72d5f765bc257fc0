"""Contractions inside fused kernels: recurrent layers and attention, read from what the kernel was given.

Where its inner values matter they are recomputed beside it and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from snnenergy.trace.contractions import Call, Reader, reshaped
from snnenergy.trace.formulas import Arithmetic, scored


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
    "mkldnn_rnn_layer": _mkldnn_rnn,
    "_native_multi_head_attention": _native_attention,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_scaled_dot_product_flash_attention_for_cpu": _sdpa,
    "_scaled_dot_product_flash_attention": _sdpa,
    "_scaled_dot_product_efficient_attention": _sdpa,
    "_scaled_dot_product_cudnn_attention": _sdpa,
    "_scaled_dot_product_fused_attention_overrideable": _sdpa,
}
