"""A convolution that pads its input first, seen from the module's own input: where each padded element came from.

Reflected, circular and replicated padding makes copies; `padding="same"` with an even kernel adds zeros.  Both are an
index map from padded to original positions, and taps are summed along it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from snnenergy.trace.arrays import Array
from snnenergy.trace.events import Fan, Map
from snnenergy.trace.forward import Read
from snnenergy.trace.sites import Fans
from snnenergy.trace.tensors import transformed


def unpadded(read: Read, x: Tensor, module: nn.Module) -> Fans | None:
    """Fans of the module's input x for a contraction that read a padded copy of it; None where it read anything else."""
    if transformed(x) or read.site.kind != "conv" or x.dim() != read.x.dim() or x.shape[:2] != read.x.shape[:2]:
        return None
    mode = getattr(module, "padding_mode", "zeros")
    pad = _padding(module, x, read.x)
    if pad is None:
        return None
    how = "constant" if mode == "zeros" else mode
    if not torch.equal(F.pad(x, pad, mode=how), read.x):
        return None
    index = _origins(x.shape[2:], pad, how)
    return tuple(_folded(fan, index, x[0, 0].numel()) for fan in read.fans)


def _padding(module: nn.Module, x: Tensor, padded: Tensor) -> list[int] | None:
    """Pairs (lo, hi), last axis first, as the module gives them to `pad`."""
    extra = [p - q for p, q in zip(reversed(padded.shape[2:]), reversed(x.shape[2:]), strict=True)]
    if any(e < 0 for e in extra) or not any(extra):
        return None
    if getattr(module, "padding_mode", "zeros") != "zeros":
        stated = getattr(module, "_reversed_padding_repeated_twice", None)
        return [int(v) for v in stated] if stated is not None else None
    # torch pads only what is left over on one side: the high one
    return [v for e in extra for v in (0, e)]


def _origins(sizes: tuple[int, ...], pad: list[int], mode: str) -> NDArray[np.int64]:
    """Original position of each padded one, -1 for zeros."""
    places = torch.arange(1, int(np.prod(sizes)) + 1, dtype=torch.float64, device="cpu").reshape(1, 1, *sizes)
    origins: NDArray[np.int64] = F.pad(places, pad, mode=mode).reshape(-1).numpy().astype(np.int64) - 1
    return origins


def _folded(fan: Fan, index: NDArray[np.int64], size: int) -> Fan:
    real = index >= 0

    def fold(values: Array | int) -> Array:
        weights = np.broadcast_to(values, index.shape)[real]
        return np.bincount(index[real], weights=weights, minlength=size).astype(np.int32)

    taps = fold(fan.taps if isinstance(fan.taps, int) else fan.taps.values)
    effective = None if fan.effective is None else Map(np.stack([fold(row) for row in fan.effective.values]))
    return Fan(fan.reached, Map(taps), effective, Map(fold(1)), index.size)
