"""What a step's loss is: of labels, of targets, or the plain sum of what the model puts out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from snnenergy.errors import InputError, UsageError

Loss = Callable[..., Tensor]


def _cross_entropy(answer: Tensor, targets: Tensor) -> Tensor:
    # [N, classes], or [T, N, classes]: spikes of a class add up over time
    stepped = answer.dim() == 3 and answer.shape[1] == len(targets)
    scores = answer.sum(0) if stepped else answer
    if scores.dim() != 2 or len(scores) != len(targets):
        raise InputError(
            f"loss cross_entropy: the model puts out {list(answer.shape)} for {len(targets)} labels; expected [N, classes] "
            f"or [T, N, classes]; use the loss {SUM!r}, or from Python a function of your own"
        )
    low, high, classes = int(targets.min()), int(targets.max()), scores.shape[1]
    if low < 0 or high >= classes:
        raise InputError(f"loss cross_entropy: labels run from {low} to {high}, the model has {classes} classes")
    return F.cross_entropy(scores, targets.long())


def _mse(answer: Tensor, targets: Tensor) -> Tensor:
    if answer.shape != targets.shape:
        raise InputError(f"loss mse: the model puts out {list(answer.shape)}, the targets are {list(targets.shape)}")
    return F.mse_loss(answer, targets.to(answer.dtype))


OF_TARGETS: dict[str, Loss] = {"cross_entropy": _cross_entropy, "mse": _mse}
SUM = "sum"
LOSSES = (*OF_TARGETS, SUM)


def chosen(loss: str | Loss | None, targets: Any) -> tuple[str, Loss]:
    """The loss's name, and the loss as a function of the model's answer; UsageError where it is none, or needs targets.

    None: cross_entropy where the targets are integers, mse where they are not, the sum of the answer where there are none.
    """
    wanted = None if targets is None else torch.as_tensor(targets)
    if loss is None:
        loss = SUM if wanted is None else "mse" if wanted.is_floating_point() else "cross_entropy"
    if not isinstance(loss, str):
        own, name = loss, getattr(loss, "__name__", type(loss).__name__)
        return name, own if wanted is None else lambda answer: own(answer, wanted.to(answer.device))
    if loss == SUM:
        return SUM, torch.sum
    if loss not in OF_TARGETS:
        raise UsageError(f"loss: expected one of {', '.join(LOSSES)}; found {loss!r}")
    if wanted is None:
        raise UsageError(f"loss {loss}: needs targets, and the input has no labels; use the loss {SUM!r}")
    return loss, lambda answer: OF_TARGETS[loss](answer, wanted.to(answer.device))
