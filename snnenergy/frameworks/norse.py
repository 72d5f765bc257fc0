"""Norse: cells are one time step, modules without `Cell` run all steps over axis 0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import lookup, time_first

_RECURRENT = ("", "Cell", "Recurrent", "RecurrentCell")
NEURONS = {
    f"{name}{kind}": model
    for names, model, kinds in (
        (("LIF", "LIFRefrac"), "LIF", (*_RECURRENT, "FeedForwardCell")),
        (("LIFMC", "LIFMCRefrac"), "LIF", ("RecurrentCell",)),
        (("LIFBox",), "LIF", ("", "Cell")),
        (("LIFEx",), "EIF", _RECURRENT),
        (("LIFAdEx", "LIFAdExRefrac"), "AdEx", _RECURRENT),
        (("LSNN",), "ALIF", _RECURRENT),
        (("IAF",), "IF", ("", "Cell")),
        (("Izhikevich",), "Izhikevich", _RECURRENT),
        (("LI", "LIBox"), "LI", ("", "Cell")),
    )
    for name in names
    for kind in kinds
}
_CURRENT = re.compile("LI(?!.*Box)|LSNN")
"""Neurons that integrate their input into a synaptic current before it drives them."""


THRESHOLDS = ("p.v_th",)


def neuron_model(module: Any) -> str | None:
    return lookup(module, "norse", NEURONS)


def further_words(module: Any) -> int:
    """State beside what the model has by itself: a synaptic current, and what is left of a refractory time."""
    known = (c.__name__ for c in type(module).__mro__ if c.__name__ in NEURONS)
    name = next(known, "") if neuron_model(module) is not None else ""
    return (_CURRENT.match(name) is not None) + ("Refrac" in name)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    sequence = {name: model for name, model in NEURONS.items() if not name.endswith("Cell")}
    if lookup(module, "norse", sequence) is None or not shape:
        return None
    return time_first(shape, f"Norse {type(module).__name__} (T, N, ...)")
