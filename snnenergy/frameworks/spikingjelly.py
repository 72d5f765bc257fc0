"""SpikingJelly 2.x: neurons by class; `step_mode == "m"` puts time on axis 0 of every layer, T x N x X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import active, lookup

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


THRESHOLDS = ("v_threshold",)


def neuron_model(module: Any) -> str | None:
    return lookup(module, "spikingjelly", NEURONS)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    if lookup(module, "spikingjelly", NEURONS) is None or getattr(module, "step_mode", "s") != "m" or not shape:
        return None
    return {"steps": shape[0], "order": "TN", "source": 'SpikingJelly step_mode "m"'}


def state_left(module: Any) -> bool:
    if lookup(module, "spikingjelly", {"MemoryModule": ""}) is None:
        return False
    rest = module._memories_rv
    return any(active(v) and not _same(v, rest.get(name)) for name, v in module._memories.items())


def _same(value: Any, rest: Any) -> bool:
    """A state variable that rests at another value than zero (a reset potential) is at rest there."""
    return rest is not None and bool((value == rest).all())


def put_to_rest(module: Any) -> bool:
    if lookup(module, "spikingjelly", {"MemoryModule": ""}) is None:
        return False
    module.reset()
    return True
