"""State that a previous call left in the neurons: named by every count, put to rest where a command runs the model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from snnenergy.errors import few
from snnenergy.frameworks import put_to_rest, state_left

STATE_LEFT = "state left from a previous call"
"""How the note on it begins."""


def left_note(paths: Iterable[str]) -> tuple[str, ...]:
    """What is said of neurons that started from it; nothing where there are none."""
    names = list(paths)
    words = (
        f"{STATE_LEFT} was there at the first step: {few(names)}; "
        "reset it before it is counted, in the factory or at the start of forward"
    )
    return (words,) if names else ()


def rested(model: nn.Module) -> list[str]:
    """Puts to rest what a previous call left in the neurons, by their framework's own reset; says what it did."""
    with torch.no_grad():
        left = {name or "(root)": module for name, module in model.named_modules() if state_left(module)}
        reset = [name for name, module in left.items() if put_to_rest(module)]
    return [f"{STATE_LEFT} was reset: {few(reset)}"] if reset else []
