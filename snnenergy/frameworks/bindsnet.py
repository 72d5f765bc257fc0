"""BindsNET: node groups by class; `network.run` loops over time and calls `forward` past every hook; spikes stay in `s`."""

from __future__ import annotations

from typing import Any

from snnenergy.frameworks.classes import lookup

NEURONS = {
    "McCullochPitts": "McCulloch-Pitts",
    "IFNodes": "IF",
    "LIFNodes": "LIF",
    "BoostedLIFNodes": "LIF",
    "CurrentLIFNodes": "CUBA",
    "AdaptiveLIFNodes": "ALIF",
    "DiehlAndCookNodes": "ALIF",
    "IzhikevichNodes": "Izhikevich",
    "CSRMNodes": "SRM",
    "SRM0Nodes": "SRM",
}


THRESHOLDS = ("thresh",)


def neuron_model(module: Any) -> str | None:
    return lookup(module, "bindsnet", NEURONS)


def called_past_hooks(module: Any) -> bool:
    return neuron_model(module) is not None


def spikes(module: Any) -> Any:
    """What a node group fired in the last step: its forward returns nothing."""
    return getattr(module, "s", None)
