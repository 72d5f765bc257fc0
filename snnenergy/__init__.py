"""What one inference of a model costs in energy and time on a named chip, for ANNs and SNNs alike.

    counts = snnenergy.count(model, x)                            # what happened: no joules, exact
    estimate = snnenergy.estimate(counts, "loihi")                # what it costs there: ranges, in J and s
    verdict = snnenergy.check(counts, [{"metric": "acs", "max": "50 k"}])   # does it hold its budgets?
    both = snnenergy.compare({"ann": a, "snn": s}, hardware=["h100_sxm", "loihi"])

The verbs are imported on first use: `import snnenergy` loads neither torch nor a plotting library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from snnenergy.counts import Counts, Domain, LayerCounts, Stream, Totals
from snnenergy.errors import (
    BudgetError,
    CountsError,
    CoverageError,
    ForwardError,
    InputError,
    NotComparableError,
    ProfileError,
    SnnEnergyError,
    TimeAxisError,
    UnknownHardwareError,
    UnsafeModelError,
    UsageError,
)

if TYPE_CHECKING:
    from snnenergy.cost import compare, estimate
    from snnenergy.gate import check
    from snnenergy.hardware import load_hardware
    from snnenergy.trace import count, count_training, counting, region

__version__ = "0.1.0"

__all__ = [
    "BudgetError",
    "Counts",
    "CountsError",
    "CoverageError",
    "Domain",
    "ForwardError",
    "InputError",
    "LayerCounts",
    "NotComparableError",
    "ProfileError",
    "SnnEnergyError",
    "Stream",
    "TimeAxisError",
    "Totals",
    "UnknownHardwareError",
    "UnsafeModelError",
    "UsageError",
    "check",
    "compare",
    "count",
    "count_training",
    "counting",
    "estimate",
    "load_hardware",
    "region",
]

_ROOM = {
    "count": "trace",
    "count_training": "trace",
    "counting": "trace",
    "region": "trace",
    "load_hardware": "hardware",
    "check": "gate",
    "compare": "cost",
    "estimate": "cost",
}
"""Which room each verb lives in."""


def __getattr__(name: str) -> object:
    if name not in _ROOM:
        raise AttributeError(f"module 'snnenergy' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"snnenergy.{_ROOM[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOM})
