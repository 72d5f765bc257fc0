"""What one step of an optimizer does to each weight, in closed form; torch.optim's own formulas, weight decay off unless named.

    sgd       w -= lr g
    momentum  m = mu m + g;  w -= lr m
    adam      m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g g;  w -= lr' m / (sqrt(v) / c + eps)
    adamw     w *= 1 - lr decay, then adam

A step in the middle of training: the first one, which makes the states, does less.
"""

from __future__ import annotations

from dataclasses import dataclass

from snnenergy.trace.formulas import Arithmetic


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Per weight: arithmetic, words of state; kernels: launches per tensor, one by one."""

    each: Arithmetic
    state_words: int
    kernels: int


_ADAM = Arithmetic(adds=5, muls=6, specials=2)  # the root, and the division by what it gives

OPTIMIZERS = {
    "sgd": Optimizer(Arithmetic(adds=1, muls=1), state_words=0, kernels=1),
    "momentum": Optimizer(Arithmetic(adds=2, muls=2), state_words=1, kernels=3),
    "adam": Optimizer(_ADAM, state_words=2, kernels=7),
    "adamw": Optimizer(_ADAM._replace(muls=_ADAM.muls + 1), state_words=2, kernels=8),
}
