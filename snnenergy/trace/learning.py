"""Local learning rules at work: whose spikes updated how many synapses, and the arithmetic that tensor code did for it.

An update is one synapse changed by one event, as hardware that learns does it: a pre spike updates every synapse out of its
neuron by the trace of the other side, a post spike every synapse into it (event-based, in place of the time-driven way that
visits every synapse in every step, doi:10.3389/fninf.2021.609147).  Tensor code is time-driven: its dense arithmetic stands
in the same row.  A call of a rule is seen because its method is wrapped while a recorder is open; nothing is read after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnenergy.counts import LEARNING, LEARNING_OFF
from snnenergy.errors import UsageError
from snnenergy.frameworks import LearningRule, learner, learning_rules, learns
from snnenergy.trace.contractions import conv_shape
from snnenergy.trace.fanout import ConvShape, positions
from snnenergy.trace.formulas import Arithmetic
from snnenergy.trace.forward import Frame, Lost
from snnenergy.trace.gradients import turned
from snnenergy.trace.reading import Reading
from snnenergy.trace.wake import DIFFERENT

if TYPE_CHECKING:
    from snnenergy.trace.recorder import Recorder


@dataclass
class Learnt:
    """What one rule did; additive.  synapses: of one sample, a convolution's shared weights counted at every place."""

    updates: Any = 0  # of the open forward a tensor: on an accelerator it stays there until the end
    traces: int = 0
    synapses: int = 0


class Learning:
    """The learning rules of an open recorder: their row's path to the rule, and what each did in the forwards so far."""

    def __init__(self, rec: Recorder, learners: Sequence[Any]) -> None:
        self.rec = rec
        self.rules: dict[str, LearningRule] = {}
        for path, rule in _found(rec, learners):
            twice = sum(known.startswith((f"{path}@", f"{path}#")) for known in self.rules)
            self.rules[f"{path}{f'#{twice}' * bool(twice)}@{LEARNING}"] = rule
        self.told = bool(learners)
        self.done: dict[str, Learnt] = {}
        self._open: dict[str, Learnt] = {}
        self._calls: dict[str, int] = {}
        self._traced: dict[int, int] = {}

    @property
    def on(self) -> bool:
        """Whether the forwards that follow may learn: each is then surveyed, for its weights move within it."""
        return bool(self.rules) and (self.told or bool(self.done) or learns(self.rec.names.modules))

    def names(self) -> frozenset[str]:
        """Parameters that a rule writes."""
        named = (name_of(self.rec, rule.weight) for rule in self.rules.values())
        return frozenset(name for name in named if name is not None)

    def begin(self) -> None:
        self._open, self._calls, self._traced = {}, {}, {}

    def end(self) -> None:
        """The open forward counts."""
        for path, found in self._open.items():
            total = self.done.setdefault(path, Learnt())
            total.updates, total.traces = total.updates + int(found.updates), total.traces + found.traces
            total.synapses = found.synapses

    def hook(self, stack: ExitStack) -> None:
        """Wraps the rules' methods until the recorder closes."""
        for path, rule in self.rules.items():
            own, name = vars(rule.owner), rule.method
            inner = getattr(rule.owner, name)
            if name in own:
                stack.callback(own.__setitem__, name, own[name])
            else:
                stack.callback(own.pop, name)
            own[name] = self._wrapped(path, rule, inner)

    def _wrapped(self, path: str, rule: LearningRule, inner: Callable[..., Any]) -> Callable[..., Any]:
        def update(*args: Any, **kwargs: Any) -> Any:
            rec = self.rec
            survey = rec.surveying
            if not rec.depth or not rec.here() or (survey is not None and survey.paused):
                return inner(*args, **kwargs)
            if survey is None:  # a forward that was not expected to learn
                rec.trail.append(DIFFERENT)
                return inner(*args, **kwargs)
            survey.paused = True
            try:
                self._tally(path, rule)
            finally:
                survey.paused = False
            frame = Frame(path, rule.name, False)
            survey.frames.append(frame)
            survey.learning += 1
            try:
                survey.work_of(path)
                return inner(*args, **kwargs)
            finally:
                survey.learning -= 1
                while survey.frames.pop() is not frame:
                    pass

        return update

    @torch.no_grad()
    def _tally(self, path: str, rule: LearningRule) -> None:
        structure = self.rec.layers.structure(path)
        structure.op, structure.module_type = rule.name, rule.name
        structure.weights["w"] = (rule.weight.numel(), rule.weight.numel())
        structure.weight_bits = 8 * rule.weight.element_size()
        if rule.problem:
            lost = self.rec.survey.forward.lost.setdefault((path, rule.name), Lost(reason=rule.problem))
            lost.calls += 1
            return
        found = self._open.setdefault(path, Learnt())
        by_pre, by_post = rule.sides()
        for pre, post in rule.steps():
            out, into, found.synapses = fans(rule, pre, post)
            found.traces += self._traces(path, rule, pre, post)
            if rule.every:
                found.updates += found.synapses * _samples(pre, rule)
                continue
            found.updates += _reached(pre, out) if by_pre else 0
            found.updates += _reached(post, into) if by_post else 0

    def _traces(self, path: str, rule: LearningRule, pre: Tensor, post: Tensor) -> int:
        """Neurons whose trace this step moved on; a population that several rules, or both sides, read has one trace."""
        call = self._calls[path] = self._calls.get(path, 0) + 1
        total = 0
        for owner, spikes in zip(rule.traces, (pre, post), strict=True):
            if self._traced.get(id(owner), 0) < call:
                self._traced[id(owner)] = call
                total += spikes.numel()
        return total

    def notes(self) -> tuple[str, ...]:
        """What is said of rules that never ran, and how they would."""
        ran = self.rec.layers.structures
        idle = [f"{rule.name} of {path.partition('@')[0]}" for path, rule in self.rules.items() if path not in ran]
        if not idle:
            return ()
        how = (
            "a learner is counted where its `step` is called in a counted call"
            if self.told
            else "a BindsNET network learns in training mode, or when its `learning` is set"
        )
        return (f"{LEARNING_OFF}: no synapse was updated by {', '.join(sorted(idle))} ({how})",)


def _found(rec: Recorder, learners: Iterable[Any]) -> Iterable[tuple[str, LearningRule]]:
    for module in rec.names.modules:
        named = rec.names.get(module)
        assert named is not None
        for rule in learning_rules(module):
            yield ".".join(filter(None, (named.path, rule.part))), rule
    for value in learners:
        told = learner(value)
        if told is None:
            raise UsageError(f"learners: {type(value).__name__} is no learner that is known; see docs/learning.md")
        name = name_of(rec, told.weight)
        if name is None:
            raise UsageError(f"learners: the synapse of a {told.name} is no layer of {rec.name}")
        yield name.rpartition(".")[0] or "(root)", told


def name_of(rec: Recorder, weight: Tensor) -> str | None:
    """The parameter that a rule writes; None where it is none, or sparse."""
    return rec.lineage.name_of(weight) if weight.layout == torch.strided else None


def _samples(spikes: Tensor, rule: LearningRule) -> int:
    """Rows of one step's spikes; without a batch axis, one."""
    features = 1 if rule.layout != "conv" else rule.weight.dim() - 1
    return int(spikes.shape[0]) if spikes.dim() > features else 1


def fans(rule: LearningRule, pre: Tensor, post: Tensor) -> tuple[Any, Any, int]:
    """(synapses out of each pre neuron, synapses into each post neuron, all of them): an int, or one per position."""
    w = rule.weight
    if rule.layout != "conv":
        into, out = w.shape if rule.layout == "linear" else w.shape[::-1]
        return int(out), int(into), w.numel()
    axes = w.dim() - 2
    x, y = pre.reshape(-1, *pre.shape[-axes - 1 :]), post.reshape(-1, *post.shape[-axes - 1 :])
    shape = conv_shape(x, w, y, rule.stride, rule.padding, rule.dilation, False, x.shape[1] // w.shape[1])
    back = turned(shape)
    return _per_neuron(shape), _per_neuron(back), shape.valid_macs


def _per_neuron(shape: ConvShape) -> Any:
    """Taps of each element of one channel: an int, or a float64 tensor [positions]."""
    reached = positions(shape)
    if isinstance(reached, int):
        return reached * shape.reached
    return torch.from_numpy(reached.values.astype("float64")) * shape.reached


def _reached(spikes: Tensor, fan: Any) -> Tensor:
    """Sum over the neurons that fired of their fan, exact below 2^53."""
    fired = spikes != 0
    if isinstance(fan, int):
        return torch.mul(fired.count_nonzero(), fan)
    rows = fired.reshape(-1, fan.numel()).sum(0).to(torch.float64)
    return torch.sum(rows * fan.to(rows.device))


class Products(Reading):
    """Inside a rule: a product is the arithmetic of its dense operation, and no layer of the net."""

    def linear(self, x: Tensor, w: Tensor, *, bias: Tensor | None = None, op: str = "linear") -> None:
        # [rows, k] @ [k, n] -> [rows, n]
        self._dense(x.shape[0] * w.numel())

    def product(self, a: Tensor, b: Tensor, op: str) -> None:
        # [B, m, k] @ [B, k, n] -> [B, m, n]
        self._dense(a.numel() * b.shape[2])

    def added_to(self, elements: int) -> None:
        """What a dense product begins to add to: its adds are as many as its products already."""

    def conv(self, x: Tensor, w: Tensor, shape: ConvShape, bias: Tensor | None) -> None:
        self._dense(x.shape[0] * shape.dense_macs)

    def weight_gradient(self, x: Tensor, g: Tensor, shape: ConvShape) -> None:
        self._dense(x.shape[0] * shape.dense_macs)

    def _dense(self, macs: int) -> None:
        self.elementwise(Arithmetic(adds=macs, muls=macs))
        self.survey.work_of(self.survey.path).calls += 1
        self.survey.work_of(self.survey.path).kernels += not self.survey.replaying
