"""What a model answered: right or wrong per sample, read from the output of the forward that was counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

UNCOMPARED = "labels were not compared: no class per sample, or the output has no axis of samples beside one of classes"


def right(out: Any, labels: Tensor, steps: int | None) -> Tensor | None:
    """[samples] of bool: the answer is the label; None where the output's shape does not say what the answer is.

    labels: [N] classes, or [N, classes] with one row of shares each (one-hot); None is answered where they are neither

    The answer is the largest of the classes.  Outputs of all T steps, [T, N, classes] or [N, T, classes], are summed over
    the steps (the spike count or the mean potential decides); of a tuple or dict the first tensor is looked at; integers
    [N] are answers themselves.
    """
    x, wanted = _first(out), _classes(labels)
    if x is None or wanted is None:
        return None
    n = len(wanted)
    if x.dim() == 1 and len(x) == n and not x.is_floating_point():
        return x.cpu() == wanted
    if x.dim() == 3 and steps is not None and steps > 1:
        x = x.sum(0) if x.shape[:2] == (steps, n) else x.sum(1) if x.shape[:2] == (n, steps) else x
    if x.dim() == 1 and n == 1:
        x = x[None]
    if x.dim() != 2 or x.shape[0] != n or x.shape[1] < 2:
        return None
    return x.argmax(1).cpu() == wanted


def _classes(labels: Tensor) -> Tensor | None:
    """[N], on the CPU; None for targets that name no class."""
    found = labels.detach().cpu()
    if found.dim() == 2 and found.shape[1] > 1:
        rows = found.double()
        shares = bool((rows >= 0).all()) and torch.allclose(rows.sum(1), torch.ones(len(rows), dtype=torch.float64))
        return found.argmax(1) if shares and len(rows) else None
    found = found.reshape(-1) if found.dim() == 2 else found
    whole = not found.is_floating_point() or torch.equal(found, found.round())
    return found if found.dim() == 1 and len(found) and whole else None


def _first(out: Any) -> Tensor | None:
    if isinstance(out, Tensor):
        return out.detach()
    parts = out.values() if isinstance(out, dict) else out if isinstance(out, list | tuple) else ()
    return next((x.detach() for x in parts if isinstance(x, torch.Tensor) and x.dim()), None)
