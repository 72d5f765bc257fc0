"""Budgets on what a model costs, held against a baseline of counts; no torch.

settings     snnenergy.toml as it is written (places: its lines)     metrics      what a budget can hold
gating       the gate: counts, budgets, baseline in, Verdict out     judge        budgets, one by one
compare      a model against its baseline (difference: of counts)    chips        profiles and prices, each once
baselines    the committed Counts                                    against      all of it on the base branch (git)
formats      a Verdict as text, Markdown, JSON, annotations, JUnit   starter      a first snnenergy.toml
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnenergy.gate.gating import check
    from snnenergy.gate.settings import Budget
    from snnenergy.gate.verdict import Verdict

__all__ = ["Budget", "Verdict", "check"]

_HOME = {"Budget": "settings", "Verdict": "verdict"}


def __getattr__(name: str) -> object:
    """Import a public name on first use: budgets cost pydantic."""
    import importlib

    if name not in __all__:
        raise AttributeError(f"module 'snnenergy.gate' has no attribute {name!r}")
    return getattr(importlib.import_module(f"snnenergy.gate.{_HOME.get(name, 'gating')}"), name)
