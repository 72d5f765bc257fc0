"""Counts and a hardware profile in, joules and seconds out: pure arithmetic, no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnenergy.cost.comparison import compare
    from snnenergy.cost.price import estimate
    from snnenergy.cost.records import Breakdown, Comparison, Estimate, Fit, LayerEstimate, Range

__all__ = ["Breakdown", "Comparison", "Estimate", "Fit", "LayerEstimate", "Range", "compare", "estimate"]

_HOME = {"compare": "comparison", "estimate": "price"}


def __getattr__(name: str) -> object:
    """Import a public name on first use: the records alone cost no pydantic."""
    import importlib

    if name not in __all__:
        raise AttributeError(f"module 'snnenergy.cost' has no attribute {name!r}")
    return getattr(importlib.import_module(f"snnenergy.cost.{_HOME.get(name, 'records')}"), name)
