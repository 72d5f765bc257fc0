"""Local learning rules: whose spikes change which synapses; what the adapters say of a rule that they recognise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LearningRule:
    """One rule on one weight.

    name: the rule's class; owner, method: the object, and its method of which a call learns
    weight: what it writes; layout: `linear` [pre, post], `linear.T` [post, pre], or `conv` [post, pre, *kernel]
    sides: (pre, post): whether a spike of that side updates every synapse of its neuron, as the rule stands now
    every: each synapse is updated in each step
    stride, padding, dilation: of a convolution, per axis
    steps: called before an update, gives the spikes it learns from: (pre, post) of each step, [N, ...] each
    traces: who keeps the spike traces of each side: rules on one population share them
    part: which weight of the module it is, where that has several
    problem: why its updates cannot be counted; empty where they can
    """

    name: str
    owner: Any
    method: str
    weight: Any
    layout: str = "linear"
    sides: Callable[[], tuple[bool, bool]] = lambda: (True, True)
    every: bool = False
    stride: Sequence[int] = ()
    padding: Sequence[int] = ()
    dilation: Sequence[int] = ()
    steps: Callable[[], Iterable[tuple[Any, Any]]] = tuple
    traces: tuple[Any, Any] = (None, None)
    part: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Touched:
    """Which synapses a rule updates in one step: those of the neurons that fired on either side, or every one."""

    pre: bool = True
    post: bool = True
    every: bool = False


PAIR, POST, EVERY = Touched(), Touched(pre=False), Touched(every=True)
"""By both spikes of a pair; by post spikes alone; an eligibility trace of each synapse, decayed and applied in each step."""
