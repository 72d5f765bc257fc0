"""BindsNET: node groups by class; connections are never called as modules, `network.run` loops over time."""

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


def neuron_model(module: Any) -> str | None:
    return lookup(module, "bindsnet", NEURONS)
