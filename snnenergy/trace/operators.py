"""What is known of an operator before it runs: its row of the table, its rule, and how a call of it is noted.

An operator that no row says anything of, but that is made of others, is taken apart.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from snnenergy.trace import contractions, formulas, fused, gradients
from snnenergy.trace.contractions import Call
from snnenergy.trace.formulas import Contraction

COMPARISONS = frozenset(("gt", "ge", "lt", "le", "heaviside"))
"""They make spikes."""
STEPS = frozenset(("select", "unbind", "slice"))
"""Views that may be steps of time."""
MASKED = frozenset(("where", "masked_fill", "masked_fill_"))
"""Copies of which a mask decides whose values they are."""
RULES = contractions.RULES | fused.RULES | gradients.RULES
_FUNCTIONS = (
    "add.Tensor sub.Tensor mul.Tensor div.Tensor rsub.Scalar neg.default exp.default relu.default sigmoid.default "
    "tanh.default clamp.default sum.default ge.Scalar ge.Tensor gt.Scalar gt.Tensor le.Scalar le.Tensor lt.Scalar "
    "lt.Tensor mm.default addmm.default bmm.default t.default select.int unsqueeze.default transpose.int "
    "convolution.default native_batch_norm.default"
).split()
_METHODS = (
    "add_.Tensor sub_.Tensor mul_.Tensor div_.Tensor masked_fill_.Scalar masked_fill_.Tensor view.default expand.default"
).split()
_BOUND: dict[str, Callable[..., Any]] = {
    f"aten.{name}": getattr(home, name.partition(".")[0])
    for home, names in ((torch, _FUNCTIONS), (torch.Tensor, _METHODS))
    for name in names
}
"""The way of torch's own Python to an operator, which costs a third less than the one by its schema.

A method's first argument is a tensor; a function takes a number there as the user's call did.
"""
_CONSTANTS: dict[str, Callable[..., Any]] = {"equal": operator.eq, "_local_scalar_dense": float}


@dataclass(slots=True)
class Operator:
    """call: it without Python around it; decompose: it is taken apart; kind: of the ways a call of it can be noted

    constant: what it is where it is handed a number instead of a tensor; rule: of a contraction; norm: a batch norm
    custom: the user's rule; short: how most calls are noted, where there is a way shorter than the general one
    """

    call: Any
    name: str
    row: formulas.Row | None
    decompose: bool
    kind: str = ""
    compares: bool = False
    norm: bool = False
    rule: Callable[[Any, Call], None] | None = None
    constant: Callable[..., Any] | None = None
    custom: Callable[..., Any] | None = None
    short: Callable[..., bool] | None = None


def operator_of(func: Any, *, ruled: bool) -> Operator:
    """ruled: the user gave a rule for it."""
    qualified = func._schema.name
    space, _, name = qualified.partition("::")
    row = formulas.row(name) if space == "aten" else formulas.ASK if space in ("prim", "profiler") else None
    decompose = not ruled and row is None and space == "aten" and func._can_decompose()
    if qualified == "aten::linear" or (space == "aten" and name.startswith("conv") and row is None):
        decompose = True
    return Operator(
        _BOUND.get(str(func), func._op) if type(func) is torch._ops.OpOverload else func,
        name if space == "aten" else qualified,
        row,
        decompose,
        kind="" if ruled or decompose else _kind(func, name, row),
        compares=name in COMPARISONS,
        norm="batch_norm" in name and "backward" not in name,
        rule=RULES.get(name) or RULES.get(name.removesuffix("_")),
        constant=_CONSTANTS.get(name) if space == "aten" else None,
    )


def _kind(func: Any, name: str, row: formulas.Row | None) -> str:
    if isinstance(row, Contraction):
        return "contraction"
    if isinstance(row, formulas.Each) or row in formulas.PER_OUTPUT:
        return "elementwise"
    if row is formulas.VIEW:
        return "view"
    if row is formulas.COPY and name in ("_to_copy", "clone"):
        return "copy"
    if row is formulas.MAKE or name in MASKED:
        return "made"
    if callable(row) and not any(_holds_tensors(a) for a in func._schema.arguments):
        return "formula"
    return ""


def _holds_tensors(argument: Any) -> bool:
    """Whether an argument is a list of tensors, or a tensor that only its name passes."""
    kind = str(argument.type)
    return "Tensor" in kind and (argument.kwarg_only or "List" in kind)
