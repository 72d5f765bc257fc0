"""SpikingJelly 2.x: neurons by class; `step_mode == "m"` puts time on axis 0 of every layer, T x N x X."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snnenergy.frameworks.classes import first_shape, lookup

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


def time_layout(modules: Sequence[Any], inputs: tuple[Any, ...]) -> Mapping[str, Any] | None:
    multi = any(neuron_model(m) is not None and getattr(m, "step_mode", "s") == "m" for m in modules)
    shape = first_shape(inputs)
    if not multi or not shape:
        return None
    return {"steps": None, "axis": 0, "order": "TN", "source": 'SpikingJelly step_mode "m"'}
