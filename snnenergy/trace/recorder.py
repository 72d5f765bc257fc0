"""The recorder: opens and closes forwards, surveys or watches them, and assembles Counts.

A polite guest: hooks, modes, flags and a `forward` or a learning rule's method that stands in for a module's own enter
through one ExitStack and leave on every path; no kernel is replaced, no flag that selects a kernel is touched.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from snnenergy.counts import Counts
from snnenergy.errors import UsageError
from snnenergy.frameworks import input_layout
from snnenergy.trace import clock, digest
from snnenergy.trace.activity import Activity, Listener
from snnenergy.trace.assemble import assemble
from snnenergy.trace.doors import Doors
from snnenergy.trace.forward import Forward, Frame, Lost
from snnenergy.trace.layers import Layers
from snnenergy.trace.learning import Learning
from snnenergy.trace.lineage import Lineage
from snnenergy.trace.scopes import Names, check_paths, check_roles, frame_of, surveyed_modules
from snnenergy.trace.signature import calls_running, given, modes
from snnenergy.trace.survey import Survey
from snnenergy.trace.tree import Modules, Place, modules_of, place_of
from snnenergy.trace.wake import Learner, Waker, listening
from snnenergy.trace.watch import Builder, Plan, output_hook
from snnenergy.trace.weights import Weights

SURVEYS = ("auto", "always")

_open = threading.local()


def active() -> list[Recorder]:
    """Recorders whose context this thread is in, innermost last."""
    if not hasattr(_open, "stack"):
        _open.stack = []
    stack: list[Recorder] = _open.stack
    return stack


class Recorder:
    """Use as a context manager; `counts()` may be read while it is open."""

    # what a hook that another thread still holds asks of a recorder that is finished
    depth = thread = 0
    surveying: Survey | None = None
    watched: Plan | None = None

    def __init__(
        self,
        model: nn.Module,
        *,
        time_axis: int | None = None,
        samples: int | None = None,
        roles: Mapping[str, str] | None = None,
        rules: Mapping[str, Callable[..., Any]] | None = None,
        spike_channels: Mapping[str, slice | Sequence[int]] | None = None,
        survey: str = "auto",
        name: str | None = None,
        synthetic: bool = False,
        seed: int | None = None,
        once: bool = False,
        learners: Sequence[Any] = (),
    ) -> None:
        if survey not in SURVEYS:
            raise UsageError(f"survey must be one of {', '.join(SURVEYS)}, found {survey!r}")
        self.model, self.name = model, name or type(model).__name__
        self.roles, self.rules = dict(roles or {}), dict(rules or {})
        self._spike_channels = dict(spike_channels or {})
        self.synthetic, self.seed = synthetic, seed
        self._time_axis, self._samples, self._always = time_axis, samples, survey == "always"
        self._learners = tuple(learners)
        self.once = once  # one forward of the model itself: nothing needs to be prepared for a second
        self._stack = ExitStack()

    # ---- context
    def __enter__(self) -> Recorder:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        active().append(self)
        return self

    def _open(self) -> None:
        model = self.model
        check_roles(self.roles)
        check_paths(model, self.name, (*self.roles, *self._spike_channels))
        self.names = Names(model, self.roles)
        self.lineage = Lineage(model, self.names.tree)
        root = self.names.get(model)
        assert root is not None
        self.root = root
        self.layers = Layers(self.names, self.lineage, self._spike_channels)
        self.plans: dict[object, Plan] = {}
        self.retired: list[Plan] = []
        self.state_left: dict[str, None] = {}  # neurons that began a forward with state of an earlier one
        self.activities: dict[str, Activity] = {}
        self.lost_forwards: dict[str, int] = {}
        self.samples = self.forwards = self.surveyed = self.reads = 0
        self.fingerprint = digest.Inputs()
        self.survey = Survey(self)
        self.surveying = self.watched = None
        self.regions_left = 0  # regions that the open, watched forward has left so far
        self.trail: list[int] = []
        self.node: object = None
        self._reading_outputs: set[str] = set()
        self.weights = Weights(trusts=not self._always)
        self._inputs: list[Tensor] = []
        self._plain: tuple[tuple[str, Any], ...] = ()
        self.entry: nn.Module | None = None
        self._handled: BaseException | None = None
        self._forward = 0
        self._number = 0
        self._signature: object = None
        self._unsure: set[object] = set()  # signatures of which a watched forward once did something else
        self.thread = threading.get_ident()
        self._opened = ExitStack()
        self.learning = Learning(self, self._learners)
        self.weights.learnt = self.learning.names()
        self.weights_then = digest.weights(self.names.tree) if self.learning.rules else None
        self.doors = Doors(self, self._stack)
        self.learning.hook(self._stack)
        self.doors.open()

    def __exit__(self, *exc: object) -> None:
        if self in active():
            active().remove(self)
        try:
            if self.depth:
                self._abandon("interrupted")
        finally:
            self._opened.close()
            self._stack.close()

    def here(self) -> bool:
        return threading.get_ident() == self.thread

    def layout(self, *, samples: int | None, time_axis: int | None) -> None:
        """Samples and time axis of the forwards from here on, where a data set tells them batch by batch."""
        self._samples = samples
        self._time_axis = time_axis

    @property
    def steps(self) -> set[int | None]:
        """Time steps of the forwards so far: one number, unless inferences differ in length."""
        return {plan.clock.steps for plan in (*self.plans.values(), *self.retired) if plan.forwards}

    @property
    def latest(self) -> Plan:
        """Of the last forward that was counted."""
        return self.plans[self._signature]

    # ---- one forward
    def enter(self, module: nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The outermost module was called: survey or watch until it returns."""
        self.depth = 1
        self._handled = sys.exception()  # that the caller is handling, if any: the forward did not raise it
        try:
            self._enter(module, args, kwargs)
        except BaseException:
            self._abandon("could not be counted")
            raise

    def _enter(self, module: nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._number += 1
        self._forward += 1
        self.layers.begin(self._forward)
        self.entry = module
        tensors, self._plain = given(args, kwargs)
        self._inputs = tensors
        self._shape = tuple(tensors[0].shape) if tensors else None
        learns = self.learning.on
        self._signature = (
            id(module),
            tuple((t.shape, t.dtype, t.device) for t in tensors),
            self._plain,
            tuple(kwargs),
            modes(self.names.modules),
            learns,
        )
        plan = self.plans.get(self._signature)
        self._axis = plan.clock.axis if plan is not None else self._time_axis
        self.fingerprint.begin(tensors, self._batch_axis(), self._plain)
        again = self._number & (self._number - 1) == 0
        self.learning.begin()
        if plan is None or self._always or learns or again or plan.mode in ("dispatch", "learn") or plan.stale():
            self._begin_survey(module, args, plan)
        else:
            self._begin_watch(plan)

    def leave(self, module: nn.Module, args: Any, out: Any) -> None:
        """A module returned, or raised."""
        if not self.depth or module is not self.entry or not self.here():
            return
        if self.depth > 1:
            self.depth -= 1
            return
        raised = sys.exception()
        if raised is not None and raised is not self._handled and out is None:
            self._abandon(f"forward raised {type(raised).__name__}")
        else:
            self._end()

    def enter_again(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The entry is called in its own forward, or its last call was interrupted, of which torch tells no hook."""
        if calls_running(module) > 1:
            self.depth += 1
        else:
            self._abandon("interrupted")
            self.enter(module, args, kwargs)

    def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Count what happens in fn(*args, **kwargs): a custom loop, a BindsNET `network.run`."""
        if self.depth:
            return fn(*args, **kwargs)
        self.enter(None, args, kwargs)
        try:
            out = fn(*args, **kwargs)
        except BaseException:
            self._abandon("the call raised")
            raise
        self._end()
        return out

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is read inside belongs to the open forward, but says nothing about its time steps: a backward pass."""
        touched = list(self.layers.touched)
        try:
            yield
        finally:
            self.layers.touched = touched

    def _batch_axis(self) -> int:
        """Along which the samples of the first input lie."""
        return 0 if self._axis is None or self._axis % max(1, len(self._shape or ())) != 0 else 1

    def _begin_survey(self, module: nn.Module | None, args: tuple[Any, ...], plan: Plan | None) -> None:
        survey = self.survey
        survey.watching = False
        for site in self.layers.sites.values():
            site.listen(None)
        survey.begin(self._inputs)
        named = self.names.get(module) if module is not None else None
        if named is not None:
            survey.frames = [frame_of(named, module, args[0] if args else None)]
        else:
            survey.frames = [Frame("(root)", self.root.type_name, False)]
        self.builder = Builder()
        self.surveying = survey
        if not self.doors.from_outside:
            done = None if self.once else self.builder.leaf_done
            self._opened.enter_context(surveyed_modules(self, done))
        if self.doors.wakeable and plan is not None and plan.mode in ("learn", "function"):
            self._opened.enter_context(listening(plan.heard, Learner(self, self.builder)))
        self._opened.enter_context(survey)

    def _begin_watch(self, plan: Plan) -> None:
        self.trail = []
        for site, listener in plan.listeners:
            site.listen(listener)
        self.layers.begin(self._forward, plan.sites)
        self.watched = plan
        self.regions_left = 0
        if plan.mode == "function":
            self.survey.watching = True
            self.survey.begin(())
            self._waker = Waker(self, plan)
            self._opened.enter_context(listening(plan.heard, self._waker))

    def _close(self) -> None:
        self._opened.close()
        self._opened = ExitStack()
        self.surveying = self.watched = None
        self._inputs, self._handled = [], None  # an exception holds the frames it passed through
        self.survey.let_go()
        self.depth = 0

    def _end(self) -> None:
        plan = self.watched
        if plan is not None:
            same = self.trail == plan.trail and self.regions_left == len(plan.regions)
            same = same and (plan.mode != "function" or self._waker.next == len(plan.wakes))
            if not same:
                self._retire(self.plans.pop(self._signature))
                self._unsure.add(self._signature)
                self._abandon("did something else than the forward that was surveyed; it is surveyed again")
                return
        else:
            self._opened.close()  # what follows is ours, not the model's
            self._opened = ExitStack()
            plan = self._finish_survey()
        self._close()
        plan.forwards += 1
        self.forwards += 1
        self.samples += plan.clock.samples
        self.fingerprint.end()
        self.learning.end()

    def _finish_survey(self) -> Plan:
        self.survey.repeats.settle()
        forward = self.survey.forward
        try:
            when = clock.read(
                self._shape,
                stated=forward.stated or input_layout(self.names.modules, self._shape),
                conv_rows=forward.conv_rows,
                linear_rows=forward.linear_rows,
                step_rows=forward.neuron_rows or forward.conv_rows or forward.linear_rows,
                time_axis=self._time_axis,
                samples=self._samples,
                neuron_calls=[firing.calls for firing in forward.fired.values()],
                layer_calls=[site.slot for site in self.layers.touched if site.kind in ("linear", "conv")],
                selects=forward.input_selects,
                unbatched=forward.unbatched,
            )
        except BaseException:
            self._abandon("time axis unknown")
            raise
        if when.axis != self._axis:
            self._axis = when.axis
            self.fingerprint.along(self._inputs, self._batch_axis(), self._plain)
        self.layers.link(forward)
        plan = self.builder.plan(forward, when, wakeable=self.doors.wakeable)
        if not self.doors.hookable or (plan.mode == "function" and self._signature in self._unsure):
            plan.mode = "dispatch"
        plan.owned = [place for w in plan.weights for place in self._places(w)]
        plan.sites = list(dict.fromkeys(self.layers.touched))
        self._hear(plan, forward)
        old = self.plans.get(self._signature)
        if old is not None:
            self._retire(old)
        self.plans[self._signature] = plan
        self.surveyed += 1
        if not self.once:
            self._watch_outputs(plan)
        if plan.mode in ("hooks", "function") and not self.once:
            self.doors.watch(self.builder.modules)
            plan.prepare()
        return plan

    def _retire(self, plan: Plan) -> None:
        plan.retire()
        self.retired.append(plan)

    def _hear(self, plan: Plan, forward: Forward) -> None:
        """Which neurons were silent or saturated in this forward, and where the next ones will show it."""
        for path, firing in forward.fired.items():
            activity, heard = self.activities.setdefault(path, Activity()), firing.heard
            if heard is not None:
                self.layers.output(path).listen(None)
            activity.add(heard.fired.sums(plan.clock) if heard is not None else None)
            site = self.layers.spikes(path)
            if site is not None:
                plan.listeners.append((site, Listener(activity, plan.clock)))

    def _places(self, w: Tensor) -> list[tuple[Place, Tensor]]:
        """Where modules keep, or kept when the forward began, what is a weight: it may be replaced there."""
        names = [name for name in self.lineage.names_of(w) if self.lineage.named.get(name) is w]
        return [(place, w) for name in names if (place := place_of(name, self.names.at)) is not None]

    def _abandon(self, why: str) -> None:
        """The open forward does not count; it stands in the ledger."""
        self._close()
        self.layers.drop()
        self.lost_forwards[why] = self.lost_forwards.get(why, 0) + 1

    # ---- hooks of the watch
    def _watch_outputs(self, plan: Plan) -> None:
        for path, index in self.layers.unlinked():
            module = self.names.at(path)
            if module is None:
                continue
            plan.outputs[id(module)] = self.layers.output(path), index
            if path not in self._reading_outputs:
                self._reading_outputs.add(path)
                self._stack.callback(module.register_forward_hook(output_hook(self, module)).remove)

    # ---- what the survey asks for
    @property
    def input_rank(self) -> int | None:
        """Axes of the first input."""
        return None if self._shape is None else len(self._shape)

    @property
    def tree(self) -> Modules:
        """The model's modules as they are now; of one forward, as they were when it began."""
        return self.names.tree if self.once else modules_of(self.model)

    def module_at(self, path: str) -> nn.Module | None:
        return self.names.at(path)

    def frame_of(self, module: nn.Module) -> Frame:
        named = self.names.get(module)
        assert named is not None
        return frame_of(named, module)

    # ---- result
    def counts(self) -> Counts:
        """The Counts so far; may be read while the recorder is open."""
        for site in self.layers.sites.values():
            site.flush()
            if not self.depth:
                site.settle()
        with torch.no_grad(), unset_fake_temporarily():
            return assemble(self)

    def finish(self) -> Counts:
        """The Counts, after which nothing more can be asked: parts that know each other do not wait for a garbage collector."""
        counts = self.counts()
        vars(self.survey).clear()
        vars(self).clear()
        return counts

    @property
    def lost(self) -> dict[tuple[str, str], Lost]:
        total: dict[tuple[str, str], Lost] = {}
        for plan in (*self.plans.values(), *self.retired):
            for key, row in plan.lost.items():
                kept = total.setdefault(key, Lost(reason=row.reason))
                kept.calls += row.calls * plan.forwards
                kept.parameters |= row.parameters
        return total
