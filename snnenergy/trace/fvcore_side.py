"""fvcore's side of the second witness: the MACs that it sees in each module of a model, and what it has no rule for."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from snnenergy.trace.tree import plain_name

FIGURES = ("conv", "linear", "matmul", "addmm", "mm", "bmm", "einsum")
"""fvcore's own names of what it counts in MACs."""
LEFT_OUT = "left out"
"""The name under which our wrapper of fvcore's matmul rule files what that rule leaves out."""

_RECURRENT = ("LSTM", "GRU", "RNN")
_ATTENTION = ("linear", "sdpa", "matmul")
MISSES: dict[str, tuple[str, ...]] = {
    "aten::lstm": ("rnn", *_RECURRENT),
    "aten::gru": ("rnn", *_RECURRENT),
    "aten::rnn_tanh": ("rnn", *_RECURRENT),
    "aten::rnn_relu": ("rnn", *_RECURRENT),
    "aten::scaled_dot_product_attention": ("sdpa",),
    "aten::_native_multi_head_attention": _ATTENTION,
    "aten::_transformer_encoder_layer_fwd": _ATTENTION,
    "aten::bilinear": ("bilinear",),
    "aten::_convolution_mode": ("conv",),
    "aten::baddbmm": ("matmul", "linear"),
    "aten::addbmm": ("matmul", "linear"),
    "aten::mv": ("matmul", "linear"),
    "aten::addmv": ("matmul", "linear"),
    "aten::dot": ("matmul", "linear"),
    "aten::vdot": ("matmul", "linear"),
    "aten::inner": ("matmul", "linear"),
    "aten::tensordot": ("matmul", "linear"),
    "aten::chain_matmul": ("matmul", "linear"),
    "aten::linalg_multi_dot": ("matmul", "linear"),
}
"""Contractions that fvcore has no rule for: the ops, or the module types, under which our layers stand."""
OPAQUE = ("prim::PythonOp", "prim::CallFunction")
"""A user's autograd function or script: whatever it computes is unseen."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """What fvcore says of each module itself, without its children; "(root)" is the model.

    macs; left_out: MACs that its matmul rule leaves out; missing: contractions without a rule; einsums: MACs of those
    unseen: modules without an operator in its trace
    """

    macs: dict[str, int]
    left_out: dict[str, int]
    missing: dict[str, Counter[str]]
    einsums: dict[str, int]
    unseen: frozenset[str]


class _Flat(nn.Module):
    """The model with tensors only in and out, as a tracer wants it: dicts, keywords and plain values are bound."""

    def __init__(self, model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        leaves, self._spec = tree_flatten((tuple(inputs), dict(kwargs)))
        self.tensors = tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))
        self._fixed = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]
        self.training = model.training

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        arriving = iter(tensors)
        leaves = [next(arriving) if fixed is None else fixed[0] for fixed in self._fixed]
        args, kwargs = tree_unflatten(leaves, self._spec)
        return tuple(leaf for leaf in tree_flatten(self.model(*args, **kwargs))[0] if isinstance(leaf, Tensor))


def ask(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Theirs:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what fvcore and the tracer say about themselves
        from fvcore.nn import FlopCountAnalysis

        flat = _Flat(model, inputs, kwargs)
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _hooks_kept(model):
            analysis = FlopCountAnalysis(flat, flat.tensors)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            analysis.set_op_handle("aten::matmul", _matmul)
            counted = analysis.by_module_and_operator()
            missing = {name: analysis.unsupported_ops(name) for name in counted}
    own = {_named(name): ops for name, ops in _own(counted).items()}
    return Theirs(
        macs={name: sum(round(ops[op]) for op in FIGURES) for name, ops in own.items()},
        left_out={name: int(ops[LEFT_OUT]) for name, ops in own.items()},
        missing={_named(n): Counter({op: k for op, k in c.items() if is_missed(op)}) for n, c in _own(missing).items()},
        einsums={name: round(ops["einsum"]) for name, ops in own.items()},
        unseen=frozenset(_named(name) for name in analysis.uncalled_modules()),
    )


def is_missed(op: str) -> bool:
    return op in MISSES or op.startswith(OPAQUE)


def _named(name: str) -> str:
    """A module of the flat model by its name in the model itself."""
    return plain_name(name.removeprefix("model").removeprefix(".")) or "(root)"


def _own(counted: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Counters that hold their children's, without them; the wrapper's own name "" goes (its one child is the model)."""
    own = {name: Counter(ops) for name, ops in counted.items() if name}
    for name, ops in counted.items():
        parent = name.rpartition(".")[0]
        if parent:
            own[parent].subtract(ops)
    return {name: Counter({op: n for op, n in ops.items() if n}) for name, ops in own.items()}


def _matmul(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """fvcore's own count of a matmul, and beside it what its rule leaves out: broadcast batches, vectors on the right."""
    from fvcore.nn.jit_handles import get_shape, matmul_flop_jit

    try:
        theirs = int(matmul_flop_jit(inputs, outputs))
    except (AssertionError, IndexError):
        theirs = 0
    true = math.prod(get_shape(outputs[0])) * get_shape(inputs[0])[-1]
    return Counter({"matmul": theirs, LEFT_OUT: true - theirs})


@contextmanager
def _hooks_kept(model: nn.Module) -> Iterator[None]:
    """fvcore leaves its hooks behind when a forward raises; they go with this context."""
    tables = [t for m in model.modules() for t in (m._forward_pre_hooks, m._forward_hooks)]
    before = [set(table) for table in tables]
    try:
        yield
    finally:
        for table, kept in zip(tables, before, strict=True):
            for key in set(table) - kept:
                del table[key]
