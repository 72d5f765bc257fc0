"""snnTorch: neurons by class; one call is one time step, the user's loop is the time axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import active, lookup

NEURONS = {
    "Leaky": "LIF",
    "RLeaky": "LIF",
    "Synaptic": "CUBA",
    "RSynaptic": "CUBA",
    "Alpha": "alpha",
    "Lapicque": "LIF",
    "LeakyParallel": "LIF",
    "SLSTM": "SLSTM",
    "SConv2dLSTM": "SLSTM",
    "SpikingNeuron": "spiking",
}


THRESHOLDS = ("threshold",)


def neuron_model(module: Any) -> str | None:
    return lookup(module, "snntorch", NEURONS)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    if lookup(module, "snntorch", {"LeakyParallel": "LIF"}) is None or not shape:
        return None
    return {"steps": shape[0], "order": "TN", "source": "snnTorch LeakyParallel (T, N, ...)"}


STATE = ("mem", "syn", "spk", "syn_exc", "syn_inh")


def state_left(module: Any) -> bool:
    return neuron_model(module) is not None and any(active(getattr(module, name, None)) for name in STATE)


def put_to_rest(module: Any) -> bool:
    if neuron_model(module) is None or not hasattr(module, "reset_mem"):
        return False
    module.reset_mem()
    return True
