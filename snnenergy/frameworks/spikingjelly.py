"""SpikingJelly 2.x: neurons by class; `step_mode == "m"` puts time on axis 0 of every layer, T x N x X.

Some neurons (PSN, ...) know no other mode, and do not say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from snnenergy.frameworks.classes import active, lookup, time_first
from snnenergy.frameworks.rules import EVERY, PAIR, LearningRule, Touched

NEURONS = {
    "IFNode": "IF",
    "NonSpikingIFNode": "IF",
    "LIFNode": "LIF",
    "NonSpikingLIFNode": "LIF",
    "ParametricLIFNode": "PLIF",
    "SimpleIFNode": "IF",
    "SimpleLIFNode": "LIF",
    "HalfThresholdIFNode": "IF",
    "TernaryIFNode": "ternary IF",
    "TernaryLIFNode": "ternary LIF",
    "QIFNode": "QIF",
    "EIFNode": "EIF",
    "IzhikevichNode": "Izhikevich",
    "RAFNode": "RF",
    "LIAFNode": "LIAF",
    "KLIFNode": "KLIF",
    "PSN": "PSN",
    "MaskedPSN": "PSN",
    "SlidingPSN": "PSN",
    "GatedLIFNode": "GLIF",
    "DSRIFNode": "IF",
    "DSRLIFNode": "LIF",
    "CUBALIFNode": "CUBA",
    "ComplementaryLIFNode": "CLIF",
    "ActivationAwareIFNode": "IF",
    "STBIFNode": "ternary IF",
    "FewSpikeNode": "few spikes",
    "FlexSN": "spiking",
    "SimpleBaseNode": "spiking",
    "ILCIFNode": "IF",
    "ILCLIFNode": "LIF",
    "ILCCUBALIFNode": "CUBA",
    "ILCBaseNode": "spiking",
    "NoisyNonSpikingIFNode": "IF",
    "NoisyCUBALIFNode": "CUBA",
    "NoisyILCCUBALIFNode": "CUBA",
    "NoisyBaseNode": "spiking",
    "BaseNode": "spiking",
}


THRESHOLDS = ("v_threshold",)
OTHERWISE = {"GatedLIFNode"}
"""Neurons whose attribute of that name is no threshold: this one learns its logit."""


def neuron_model(module: Any) -> str | None:
    return lookup(module, "spikingjelly", NEURONS)


def time_layout(module: Any, shape: tuple[int, ...]) -> Mapping[str, Any] | None:
    if lookup(module, "spikingjelly", NEURONS) is None or not shape:
        return None
    always = "m" if any(c.__name__ == "MultiStepModule" for c in type(module).__mro__) else "s"
    if getattr(module, "step_mode", always) != "m":
        return None
    return time_first(shape, 'SpikingJelly step_mode "m"')


def state_left(module: Any) -> bool:
    if lookup(module, "spikingjelly", {"MemoryModule": ""}) is None:
        return False
    rest = module._memories_rv
    return any(active(v) and not _same(v, rest.get(name)) for name, v in module._memories.items())


def _same(value: Any, rest: Any) -> bool:
    """A state variable that rests at another value than zero (a reset potential) is at rest there."""
    return rest is not None and bool((value == rest).all())


def put_to_rest(module: Any) -> bool:
    if lookup(module, "spikingjelly", {"MemoryModule": ""}) is None:
        return False
    module.reset()
    return True


RULES: dict[str, Touched] = {"STDPLearner": PAIR, "MSTDPLearner": PAIR, "MSTDPETLearner": EVERY}


def learning_rule(learner: Any) -> LearningRule | None:
    """A learner, which stands beside the net and hooks its synapse: `step` learns from all that was recorded since."""
    name = next((c.__name__ for c in type(learner).__mro__ if c.__name__ in RULES), None)
    if name is None or lookup(learner, "spikingjelly", {name: ""}) is None:
        return None
    touched, synapse = RULES[name], learner.synapse
    conv = hasattr(synapse, "kernel_size")
    shape: dict[str, Any] = {n: tuple(getattr(synapse, n)) for n in ("stride", "padding", "dilation")} if conv else {}
    return LearningRule(
        type(learner).__name__,
        learner,
        "step",
        synapse.weight,
        layout="conv" if conv else "linear.T",
        sides=lambda: (touched.pre, touched.post),
        every=touched.every,
        steps=lambda: list(_recorded(learner)),
        traces=(learner.in_spike_monitor, learner.out_spike_monitor),
        **shape,
    )


def _recorded(learner: Any) -> Iterator[tuple[Any, Any]]:
    for pre, post in zip(learner.in_spike_monitor.records, learner.out_spike_monitor.records, strict=False):
        yield from zip(pre, post, strict=False) if learner.step_mode == "m" else ((pre, post),)
