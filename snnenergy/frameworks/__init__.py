"""What each SNN framework means by neuron, time and state; recognised by class, imported by nobody here.

One file per framework holds a table; this room looks a module's classes up in all of them.  A framework is never
imported: only classes of modules the user brought are looked at, by their defining module and name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from snnenergy.frameworks import bindsnet, lava, neurons, norse, plain, sinabs, snntorch, spikingjelly
from snnenergy.frameworks.classes import put
from snnenergy.frameworks.rules import LearningRule as LearningRule

_ADAPTERS = (spikingjelly, snntorch, norse, sinabs, bindsnet, lava, plain)
_BY_PACKAGE = {a.__name__.rpartition(".")[2]: a.NEURONS for a in _ADAPTERS if a is not plain}
"""{package: {class: neuron model}}, where a class's name says it."""


@dataclass(frozen=True, slots=True)
class TimeLayout:
    """What a module states about time.

    steps: T; order: how steps and samples lie in a layer: `TN` and `NT` in its first axes, `XT`: T last
    folded: one call runs all steps; axis: time axis of the model's own input, where that is known too (-1: the last)
    samples: how many the layer saw; squeezed: steps and samples lie in one axis of it
    """

    steps: int
    order: str = "TN"
    folded: bool = True
    axis: int | None = None
    source: str = ""
    samples: int | None = None
    squeezed: bool = False


def neuron_model(module: Any) -> str | None:
    """The neuron model (LIF, IF, ALIF, ...) of a module, or None where it is no neuron."""
    for adapter in _ADAPTERS:
        found: str | None = adapter.neuron_model(module)
        if found is not None:
            return found
    return None


def known_by_name(module: Any) -> bool:
    """Whether it is only the name of its class that says of this module that it is a neuron."""
    return all(a.neuron_model(module) is None for a in _ADAPTERS if a is not plain)


def emits_spikes(module: Any) -> bool:
    """Whether a framework says that this module's first output is spikes, also where one event carries several."""
    framework = any(a.neuron_model(module) not in (None, "LI") for a in _ADAPTERS if a is not plain)
    return framework and not type(module).__name__.startswith("NonSpiking")


def state_words(module: Any, model: str | None) -> int:
    """State variables that a neuron of that model keeps; 0 where that is not known."""
    words = neurons.state_words(model)
    return words + norse.further_words(module) + sinabs.further_words(module) if words else 0


def fires(module: Any) -> bool:
    """Whether this module is a neuron that compares with a threshold."""
    return neuron_model(module) not in (None, "LI", "sigma-delta") and not type(module).__name__.startswith(
        "NonSpiking"
    )


def set_threshold(module: Any, value: float) -> bool:
    """Gives a neuron another threshold, where its framework keeps it; False where that is not known."""
    for adapter in _ADAPTERS:
        if adapter.neuron_model(module) is not None:
            held_otherwise = type(module).__name__ in getattr(adapter, "OTHERWISE", ())
            return not held_otherwise and any(put(module, name, value) for name in adapter.THRESHOLDS)
    return False


def called_past_hooks(module: Any) -> bool:
    """Whether the framework calls this neuron's `forward` itself, so that no hook sees it."""
    return bindsnet.called_past_hooks(module)


def left_spikes(module: Any) -> Any:
    """Where `called_past_hooks`: the spikes of the last call, which the module keeps and does not return."""
    return bindsnet.spikes(module)


def state_left(module: Any) -> bool:
    """Whether this neuron keeps state that is not at rest: a call would start from it."""
    return any(a.state_left(module) for a in (spikingjelly, snntorch, sinabs, lava, plain))


def put_to_rest(module: Any) -> bool:
    """Resets a neuron the framework's own way; False where it has none (a plain module's state is its author's)."""
    return any(a.put_to_rest(module) for a in (spikingjelly, snntorch, sinabs))


def neuron_model_of_class(qualified: str) -> str | None:
    """The same from a class's qualified name, as an exported program keeps it."""
    name = qualified.rpartition(".")[2]
    return _BY_PACKAGE.get(qualified.partition(".")[0], {}).get(name) or plain.by_name(name)


def neuron_layout(module: Any, shape: tuple[int, ...]) -> TimeLayout | None:
    """What a neuron that was called on an input of `shape` says about time; None: one call is one step."""
    for adapter in (spikingjelly, snntorch, norse, sinabs, lava):
        stated: Mapping[str, Any] | None = adapter.time_layout(module, shape)
        if stated is not None:
            return TimeLayout(**stated)
    return None


def input_layout(modules: Iterable[Any], shape: tuple[int, ...] | None) -> TimeLayout | None:
    """What torch's own recurrent layers say about the model's input; None: nothing."""
    stated = plain.input_layout(modules, shape)
    return TimeLayout(**stated) if stated is not None else None


def kept_weights(modules: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """(name, tensor) of weights that modules of a model, (path, module), keep where torch does not look."""
    named = ((path, module) for path, module in modules if bindsnet.keeps_weights(module))
    return [(f"{path}.{name}", t) for path, module in named for name, t in bindsnet.kept_weights(module)]


def learning_rules(module: Any) -> tuple[LearningRule, ...]:
    """The local learning rules that a module keeps."""
    return bindsnet.learning_rules(module)


def learns(modules: Iterable[Any]) -> bool:
    """Whether some network among these modules runs its learning rules."""
    return any(map(bindsnet.learns, modules))


def learner(value: Any) -> LearningRule | None:
    """The rule of an object that stands beside the net and learns when it is told to; None: no learner is known by its class."""
    return spikingjelly.learning_rule(value)
