"""snnTorch: neurons by class; one call is one time step, the user's loop is the time axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import lookup

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
    "LeakyReLU": "LIF",
    "SpikingNeuron": "spiking",
}


def neuron_model(module: Any) -> str | None:
    return lookup(module, "snntorch", NEURONS)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    if lookup(module, "snntorch", {"LeakyParallel": "LIF"}) is None or not shape:
        return None
    return {"steps": shape[0], "order": "TN", "source": "snnTorch LeakyParallel (T, N, ...)"}
