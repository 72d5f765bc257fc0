"""sinabs: layers see N x T x X; the squeezed ones N T x X, batch and time in one axis, sample-major."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snnenergy.frameworks.classes import first_shape, lookup

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


def neuron_model(module: Any) -> str | None:
    return lookup(module, "sinabs", NEURONS)


def time_layout(modules: Sequence[Any], inputs: tuple[Any, ...]) -> Mapping[str, Any] | None:
    neurons = [m for m in modules if neuron_model(m) is not None]
    squeezed = [m for m in neurons if type(m).__name__.endswith("Squeeze")]
    shape = first_shape(inputs)
    if squeezed:
        steps, batch = getattr(squeezed[0], "num_timesteps", -1), getattr(squeezed[0], "batch_size", -1)
        if (steps is None or steps <= 0) and batch and batch > 0 and shape:
            steps = shape[0] // batch
        known = steps if steps and steps > 0 else None
        return {"steps": known, "axis": None, "order": "NT", "source": "sinabs squeezed layers"}
    if neurons and shape and len(shape) > 2:
        return {"steps": shape[1], "axis": 1, "order": "NT", "source": "sinabs layers (N, T, ...)"}
    return None
