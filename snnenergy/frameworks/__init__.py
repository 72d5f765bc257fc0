"""What each SNN framework means by neuron, time and state; recognised by class, imported by nobody here.

One file per framework holds a table; this room looks a module's classes up in all of them.  A framework is never
imported: only classes of modules the user brought are looked at, by their defining module and name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from snnenergy.frameworks import bindsnet, norse, plain, sinabs, snntorch, spikingjelly

_ADAPTERS = (spikingjelly, snntorch, norse, sinabs, bindsnet, plain)


@dataclass(frozen=True, slots=True)
class TimeLayout:
    """How a framework lays time out inside one call.

    axis: time axis of the model's input; folded: batch and time share axis 0 of every layer's input
    order: `TN` (time-major rows) or `NT` (sample-major rows)
    """

    steps: int | None
    axis: int | None
    order: str = "TN"
    source: str = ""


def neuron_model(module: Any) -> str | None:
    """The neuron model (LIF, IF, ALIF, ...) of a module, or None where it is no neuron."""
    for adapter in _ADAPTERS:
        found = adapter.neuron_model(module)
        if found is not None:
            return found
    return None


def neuron_model_of_class(qualified: str) -> str | None:
    """The same from a class's qualified name, as an exported program keeps it."""
    return plain.by_name(qualified.rpartition(".")[2])


def time_layout(modules: Iterator[Any], inputs: tuple[Any, ...]) -> TimeLayout | None:
    """The layout a framework's own modules state (SpikingJelly's step_mode, sinabs' squeezed layers), or None."""
    rows = list(modules)
    for adapter in (spikingjelly, sinabs, plain):
        stated: Mapping[str, Any] | None = adapter.time_layout(rows, inputs)
        if stated is not None:
            return TimeLayout(**stated)
    return None
