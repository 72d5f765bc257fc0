"""Run a model once (or many times) and write down what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn

from snnenergy.counts import Counts
from snnenergy.trace import ranks
from snnenergy.trace.forward import Frame
from snnenergy.trace.recorder import Recorder, active
from snnenergy.trace.survey import Survey
from snnenergy.trace.training import count_training
from snnenergy.trace.watch import LastComparison, leave_region

__all__ = ["Recorder", "count", "count_training", "counting", "region"]

Counts.sync = ranks.sync  # type: ignore[method-assign]  # counts.py must not import torch


def counting(
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
    learners: Sequence[Any] = (),
) -> Recorder:
    """A context in which every forward of `model` is counted; `rec.counts()` may be read inside and after.

    time_axis: axis of the first input that is time, where neither the framework nor a loop shows it
    samples: samples of one forward, where the batch axis cannot be known
    roles: {module path: "neuron" | "synaptic" | "other" | a neuron model such as "LIF"}
    rules: {"namespace::op": fn(*args, **kwargs) -> dense MACs, or {"dense_macs": ..., "adds": ...}} for custom operators
    spike_channels: {path: slice} names the input channels of a layer that carry spikes
    survey: "auto" (survey, then watch) or "always" (every forward through the dispatcher: exact and slow)
    learners: objects that stand beside the model and change its weights by a local rule (SpikingJelly's `STDPLearner`)
    name: the model's name in reports; synthetic, seed: recorded as conditions of the run
    """
    return Recorder(
        model,
        time_axis=time_axis,
        samples=samples,
        roles=roles,
        rules=rules,
        spike_channels=spike_channels,
        survey=survey,
        name=name,
        synthetic=synthetic,
        seed=seed,
        learners=learners,
    )


def count(
    model: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    time_axis: int | None = None,
    samples: int | None = None,
    roles: Mapping[str, str] | None = None,
    rules: Mapping[str, Callable[..., Any]] | None = None,
    spike_channels: Mapping[str, slice | Sequence[int]] | None = None,
    survey: str = "auto",
    name: str | None = None,
    synthetic: bool = False,
    seed: int | None = None,
) -> Counts:
    """The Counts of one forward, model(*inputs, **kwargs); options as in `counting`.

    Raises what the forward raises, and TimeAxisError where the number of samples cannot be known.
    """
    recorder = Recorder(
        model,
        time_axis=time_axis,
        samples=samples,
        roles=roles,
        rules=rules,
        spike_channels=spike_channels,
        survey=survey,
        name=name,
        synthetic=synthetic,
        seed=seed,
        once=True,
    )
    with recorder:
        model(*inputs, **(kwargs or {}))
    return recorder.finish()


@contextmanager
def region(name: str, role: str = "neuron") -> Iterator[None]:
    """Name a functional neuron (or block) inside forward: `with snnenergy.region("alif", role="neuron"): ...`.

    Outside a counted forward it does nothing.
    """
    recorders = [rec for rec in active() if rec.here()]
    surveys = [rec.surveying for rec in recorders if rec.surveying is not None]
    watching = [rec for rec in recorders if rec.watched is not None]
    frames = [(survey, *_entered(survey, name, role)) for survey in surveys]
    seen = LastComparison()
    try:
        with seen if watching else nullcontext():
            yield
    finally:
        for survey, frame, outer in frames:
            survey.region = outer
            if outer is not None and frame.spikes is not None:
                outer.spikes = frame.spikes
            survey.note_region(frame.path if frame.neuron == frame.path else None, frame.spikes)
            if survey.frames and survey.frames[-1] is frame:
                survey.frames.pop()
        for rec in watching:
            leave_region(rec, seen.spikes)


def _entered(survey: Survey, name: str, role: str) -> tuple[Frame, Frame | None]:
    """The frame of a region inside the module that runs, and of the region around it."""
    outer = survey.frames[-1]
    path = name if outer.path == "(root)" else f"{outer.path}.{name}"
    neuron = None if role in ("synaptic", "other") else path
    if neuron is not None:
        survey.rec.layers.neurons.setdefault(path, "spiking" if role == "neuron" else role)
    frame = Frame(path, "region", False, None, outer.neuron or neuron)
    survey.frames.append(frame)
    around, survey.region = survey.region, frame
    return frame, around
