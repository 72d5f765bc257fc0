"""Which functions a rate-coded conversion turns into neurons, and which it leaves: one table, by the name they are called by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

LIKE_RELU = frozenset("gelu silu elu selu celu leaky_relu prelu rrelu mish hardswish softplus".split())
"""Not a ReLU, but near one: nothing much below zero, the input itself far above."""

_REASONS = {
    "no IF neuron computes it; it stays arithmetic, in every step": "softmax log_softmax softmin lstm gru rnn_tanh",
    "bounded, so no IF neuron's rate has its shape; it stays arithmetic, in every step": "sigmoid hardsigmoid tanh softsign",
    "a product of activations has no weight to scale; it stays as it is, in every step": (
        "scaled_dot_product_attention multi_head_attention_forward _native_multi_head_attention "
        "_transformer_encoder_layer_fwd"
    ),
    "its statistics change with every input, so no weight can take it in; it stays arithmetic, in every step": (
        "layer_norm group_norm instance_norm rms_norm local_response_norm"
    ),
    "linear: each spike of a window is passed on by itself, the pool's weight goes into the next layer's synapses": (
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
    ),
    "a window passes a spike on where any of its inputs spikes; to pass the largest rate alone needs a gate": (
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
    ),
}

KEPT: Mapping[str, str] = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""What has no neurons, and what is assumed of it."""


def name_of(func: Any) -> str:
    """`relu` of F.relu, torch.relu, Tensor.relu and torch.ops.aten.relu.default."""
    if isinstance(func, torch._ops.OpOverload):
        return str(func._schema.name).rpartition("::")[2]
    return str(getattr(func, "__name__", ""))


def rectifies(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call gives zero for what is below zero and passes the rest on, up to a bound perhaps."""
    if name in ("relu", "relu6"):
        return True
    if name.endswith("threshold"):
        return _number(args, kwargs, 1, "threshold") == 0 == _number(args, kwargs, 2, "value")
    if name not in ("clamp", "clamp_min", "clip", "hardtanh"):
        return False
    low, high = ("min_val", "max_val") if name == "hardtanh" else ("min", "max")
    top = _number(args, kwargs, 2, high)
    return _number(args, kwargs, 1, low) == 0 and (top is None or top > 0)


def _number(args: Sequence[Any], kwargs: Mapping[str, Any], index: int, name: str) -> float | None:
    value = args[index] if len(args) > index else kwargs.get(name)
    return float(value) if isinstance(value, int | float) else None
