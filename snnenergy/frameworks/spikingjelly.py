"""SpikingJelly 2.x: neurons by class; `step_mode == "m"` puts time on axis 0 of every layer, T x N x X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import lookup

NEURONS = {
    "IFNode": "IF",
    "NonSpikingIFNode": "IF",
    "LIFNode": "LIF",
    "NonSpikingLIFNode": "LIF",
    "ParametricLIFNode": "PLIF",
    "QIFNode": "QIF",
    "EIFNode": "EIF",
    "IzhikevichNode": "Izhikevich",
    "LIAFNode": "LIAF",
    "KLIFNode": "KLIF",
    "PSN": "PSN",
    "MaskedPSN": "PSN",
    "SlidingPSN": "PSN",
    "GatedLIFNode": "GLIF",
    "DSRIFNode": "IF",
    "DSRLIFNode": "LIF",
    "CUBALIFNode": "CUBA",
    "BaseNode": "spiking",
}


def neuron_model(module: Any) -> str | None:
    return lookup(module, "spikingjelly", NEURONS)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    if lookup(module, "spikingjelly", NEURONS) is None or getattr(module, "step_mode", "s") != "m" or not shape:
        return None
    return {"steps": shape[0], "order": "TN", "source": 'SpikingJelly step_mode "m"'}
