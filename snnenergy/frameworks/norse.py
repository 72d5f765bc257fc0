"""Norse: cells are one time step, modules without `Cell` run all steps over axis 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import lookup

NEURONS = {
    "LIFCell": "LIF",
    "LIF": "LIF",
    "LIFRecurrentCell": "LIF",
    "LIFRecurrent": "LIF",
    "LIFBoxCell": "LIF",
    "LIFBox": "LIF",
    "LIFFeedForwardCell": "LIF",
    "LIFAdExCell": "AdEx",
    "LIFAdEx": "AdEx",
    "LSNNCell": "ALIF",
    "LSNN": "ALIF",
    "LSNNRecurrentCell": "ALIF",
    "LSNNRecurrent": "ALIF",
    "IAFCell": "IF",
    "IAF": "IF",
    "IzhikevichCell": "Izhikevich",
    "Izhikevich": "Izhikevich",
    "LICell": "LI",
    "LI": "LI",
}


THRESHOLDS = ("p.v_th",)


def neuron_model(module: Any) -> str | None:
    return lookup(module, "norse", NEURONS)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    sequence = {name: model for name, model in NEURONS.items() if not name.endswith("Cell")}
    if lookup(module, "norse", sequence) is None or not shape:
        return None
    return {"steps": shape[0], "order": "TN", "source": f"Norse {type(module).__name__} (T, N, ...)"}
