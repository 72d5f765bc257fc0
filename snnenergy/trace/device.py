"""Where a model runs: a processor or a card of this machine."""

from __future__ import annotations

import torch

from snnenergy.errors import UsageError


def known(device: str) -> torch.device:
    """`cpu`, `cuda` or `cuda:1`; UsageError where there is no such device."""
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: expected cpu, cuda or cuda:N")
    if found.type == "cuda" and not (torch.cuda.is_available() and (found.index or 0) < torch.cuda.device_count()):
        raise UsageError(f"--device {device}: torch {torch.__version__} sees no such device here; use --device cpu")
    return found
