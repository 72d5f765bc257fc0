"""sinabs: layers see N x T x X; the squeezed ones N T x X, batch and time in one axis, sample-major."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnenergy.frameworks.classes import active, lookup

NEURONS = {
    "IAF": "IF",
    "IAFSqueeze": "IF",
    "IAFRecurrent": "IF",
    "LIF": "LIF",
    "LIFSqueeze": "LIF",
    "LIFRecurrent": "LIF",
    "ALIF": "ALIF",
    "ALIFRecurrent": "ALIF",
    "ExpLeak": "LI",
    "ExpLeakSqueeze": "LI",
}


THRESHOLDS = ("b0", "spike_threshold")
"""ALIF adapts from `b0`; the others hold theirs."""


def neuron_model(module: Any) -> str | None:
    return lookup(module, "sinabs", NEURONS)


def further_words(module: Any) -> int:
    """A synaptic current, where it has a time constant."""
    return int(neuron_model(module) is not None and getattr(module, "tau_syn", None) is not None)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    if neuron_model(module) is None or not shape:
        return None
    if not type(module).__name__.endswith("Squeeze"):
        layout = {"steps": shape[1], "order": "NT", "samples": shape[0], "source": "sinabs (N, T, ...)"}
        return layout if len(shape) > 2 else None
    steps, batch = getattr(module, "num_timesteps", None), getattr(module, "batch_size", None)
    if not steps or steps < 0:
        steps = shape[0] // batch if batch and batch > 0 else None
    if not steps:
        return None
    samples, source = shape[0] // steps, "sinabs squeezed layers (N T, ...)"
    return {"steps": steps, "order": "NT", "samples": samples, "squeezed": True, "source": source}


def state_left(module: Any) -> bool:
    return neuron_model(module) is not None and any(map(active, module.buffers()))


def put_to_rest(module: Any) -> bool:
    if neuron_model(module) is None:
        return False
    module.reset_states()
    return True
