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


def learning_rules(module: Any) -> tuple[LearningRule, ...]:
    """The rule of a connection, unless it is the one that does nothing."""
    if not defined_by(module, "bindsnet"):
        return ()
    features = [(f.learning_rule, f.value) for f in getattr(module, "pipeline", ()) if _does_something(f.learning_rule)]
    if features:
        why = f"learning in a feature of a {type(module).__name__} is not followed"
        return tuple(LearningRule(type(r).__name__, r, "update", value, problem=why) for r, value in features)
    rule = getattr(module, "update_rule", None)
    if rule is None or not _does_something(rule):
        return ()
    name, w = type(rule).__name__, module.w
    touched = next((RULES[c.__name__] for c in type(rule).__mro__ if c.__name__ in RULES), None)
    if touched is None:
        return (LearningRule(name, rule, "update", w, problem="no row for this learning rule"),)
    conv = lookup(module, "bindsnet", dict.fromkeys(CONVOLUTIONS, "conv"))
    if conv is None and type(module).__name__ != "Connection":
        return (
            LearningRule(name, rule, "update", w, problem=f"learning on a {type(module).__name__} is not followed"),
        )
    pre, post = (bool(rate.any()) for rate in rule.nu) if name in RATES else (True, True)
    shape: dict[str, Any] = (
        {n: _each(getattr(module, n), w.dim() - 2) for n in ("stride", "padding", "dilation")} if conv else {}
    )
    return (
        LearningRule(
            name,
            rule,
            "update",
            w,
            layout=conv or "linear",
            pre=touched.pre and pre,
            post=touched.post and post,
            every=touched.every,
            steps=lambda: [(module.source.s, module.target.s)],
            traces=(module.source, module.target),
            **shape,
        ),
    )


def _does_something(rule: Any) -> bool:
    return rule is not None and type(rule).__name__ != "NoOp"


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * axes
