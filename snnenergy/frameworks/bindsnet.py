"""BindsNET: node groups by class; `network.run` loops over time and calls `forward` past every hook; spikes stay in `s`.

After every step it calls `update` of each connection's rule, unless `network.learning` is off.
"""

from __future__ import annotations

from typing import Any

from snnenergy.frameworks.classes import defined_by, lookup
from snnenergy.frameworks.rules import EVERY, PAIR, POST, LearningRule, Touched

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


RULES: dict[str, Touched] = {
    "PostPre": PAIR,
    "WeightDependentPostPre": PAIR,
    "Hebbian": PAIR,
    "DiehlAndCook": POST,
    "MSTDP": PAIR,
    "MSTDPET": EVERY,
    "Rmax": EVERY,
}
CONVOLUTIONS = ("Conv1dConnection", "Conv2dConnection", "Conv3dConnection")
RATES = ("PostPre", "WeightDependentPostPre", "DiehlAndCook")
"""Rules that leave out a side whose learning rate is 0."""


def learns(module: Any) -> bool:
    """Whether this is a network whose connections learn while it runs."""
    return lookup(module, "bindsnet", {"Network": ""}) is not None and bool(module.learning)


def keeps_weights(module: Any) -> bool:
    """Whether this is a connection of features, which are no modules, and keep what it multiplies by to themselves."""
    return lookup(module, "bindsnet", {"MulticompartmentConnection": ""}) is not None


def kept_weights(module: Any) -> tuple[tuple[str, Any], ...]:
    """(name, weight) of the features of a connection that `keeps_weights`."""
    return tuple(
        (f.name, f.value) for f in module.pipeline if getattr(getattr(f, "value", None), "is_sparse", True) is False
    )


def learning_rules(module: Any) -> tuple[LearningRule, ...]:
    """The rules of a connection, or of its features, but for the one that does nothing."""
    if not defined_by(module, "bindsnet"):
        return ()
    rules = [(f.name, getattr(f, "learning_rule", None), f.value) for f in getattr(module, "pipeline", ())]
    rules += [("", getattr(module, "update_rule", None), getattr(module, "w", None))]
    return tuple(_rule(module, part, r, w) for part, r, w in rules if r is not None and type(r).__name__ != "NoOp")


def _rule(module: Any, part: str, rule: Any, w: Any) -> LearningRule:
    known = next((c.__name__ for c in type(rule).__mro__ if c.__name__ in RULES), None)
    conv = lookup(module, "bindsnet", dict.fromkeys(CONVOLUTIONS, "conv"))
    problem = ""
    if known is None:
        problem = "no row for this learning rule"
    elif (conv is None and tuple(w.shape) != (module.source.n, module.target.n)) or type(module).__name__.startswith(
        ("Local", "Sparse")
    ):
        problem = f"synapses of a {type(module).__name__} are not followed"
    touched = RULES[known] if known is not None else PAIR

    def sides() -> tuple[bool, bool]:
        pre, post = (bool(rate.any()) for rate in rule.nu) if known in RATES else (True, True)
        return touched.pre and pre, touched.post and post

    axes = w.dim() - 2
    shape: dict[str, Any] = (
        {n: _each(getattr(module, n), axes) for n in ("stride", "padding", "dilation")} if conv else {}
    )
    return LearningRule(
        type(rule).__name__,
        rule,
        "update",
        w,
        part=part,
        layout=conv or "linear",
        sides=sides,
        every=touched.every,
        steps=lambda: [(module.source.s, module.target.s)],
        traces=(module.source, module.target),
        problem=problem,
        **shape,
    )


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * axes
