"""Plain PyTorch: a neuron is a module whose class is named like one (`LIF`, `ALIFCell`, `MyLIFNode`), or that the user names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from snnenergy.frameworks.classes import PACKAGES, active

NAMES = {
    "CUBALIF": "CUBA",
    "ALIF": "ALIF",
    "PLIF": "PLIF",
    "GLIF": "GLIF",
    "CUBA": "CUBA",
    "LIF": "LIF",
    "IAF": "IF",
    "Izhikevich": "Izhikevich",
    "HodgkinHuxley": "Hodgkin-Huxley",
    "IF": "IF",
}
_NAMED = re.compile(rf"({'|'.join(NAMES)})(?:Neuron|Cell|Node|Layer|Module|Box)?s?\d*$")


THRESHOLDS = ("threshold", "v_threshold", "v_th", "vth", "thresh", "theta")


def by_name(name: str) -> str | None:
    """The neuron model in a class name that ends like one, or None."""
    found = _NAMED.search(name)
    return NAMES[found.group(1)] if found else None


def neuron_model(module: Any) -> str | None:
    return by_name(type(module).__name__)


STATE = ("v", "mem", "u", "syn", "i", "spk")


def state_left(module: Any) -> bool:
    if type(module).__module__.partition(".")[0] in PACKAGES or neuron_model(module) is None:
        return False
    state = vars(module) | getattr(module, "_buffers", {})
    return any(active(state.get(name)) for name in STATE)


def input_layout(modules: Iterable[Any], shape: tuple[int, ...] | None) -> Mapping[str, Any] | None:
    """torch's own recurrent layers read T x N x F (N x T x F with batch_first) where they take the model's input as it is."""
    recurrent = [m for m in modules if any(c.__name__ == "RNNBase" for c in type(m).__mro__)]
    if not recurrent or not shape or len(shape) not in (2, 3) or shape[-1] != recurrent[0].input_size:
        return None
    axis = 1 if recurrent[0].batch_first and len(shape) == 3 else 0
    return {"steps": shape[axis], "axis": axis, "folded": False, "source": f"{type(recurrent[0]).__name__} layout"}
