"""lava-dl slayer: every neuron is a class `Neuron` in a module of its own; layers see N x X x T, time last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import active

HOME = "lava.lib.dl.slayer.neuron."
NEURONS = {
    "cuba": "CUBA",
    "alif": "ALIF",
    "rf": "RF",
    "rf_iz": "RF",
    "adrf": "adaptive RF",
    "adrf_iz": "adaptive RF",
    "sigma_delta": "sigma-delta",
}
THRESHOLDS = ("_threshold",)


def neuron_model(module: Any) -> str | None:
    for cls in type(module).__mro__:
        if cls.__name__ == "Neuron" and cls.__module__.startswith(HOME):
            return NEURONS.get(cls.__module__.removeprefix(HOME))
    return None


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    if neuron_model(module) is None or len(shape) < 3:
        return None
    return {"steps": shape[-1], "order": "XT", "axis": -1, "source": "lava-dl slayer (N, ..., T)"}


def state_left(module: Any) -> bool:
    """Only a neuron with `persistent_state` starts from what it held."""
    if neuron_model(module) is None or not getattr(module, "persistent_state", False):
        return False
    return any(active(value) for name, value in module.named_buffers() if name.endswith("_state"))
