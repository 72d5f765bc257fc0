"""From a Workload (a loaded model and its inputs) to Counts: what the command line runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import torch

from snnenergy.counts import Answers
from snnenergy.errors import ForwardError, SnnEnergyError, UsageError, said
from snnenergy.frameworks.neurons import NEURONS
from snnenergy.trace.answers import UNCOMPARED, right
from snnenergy.trace.recorder import Recorder
from snnenergy.trace.rest import rested

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.load.workload import Workload

_SHAPES_ONLY = (
    "With --meta tensors have shapes and no values: a size or a branch that depends on values cannot be followed.\n"
)


def count_workload(
    work: Workload,
    *,
    time_axis: int | None = None,
    samples: int | None = None,
    roles: Mapping[str, str] | None = None,
) -> Counts:
    """The Counts of one forward without gradients; `time_axis` and `samples` stand over what the file says.

    roles: {module path: neuron model}, as `count` takes them; UsageError where the model has no such module.
    Where the inputs came with labels, the answers are compared with them (`Counts.answers`).
    State that a previous call left in a neuron is put to rest first, or named, in `identity.notes`.
    Raises ForwardError where the model's forward raises without being counted too; anything else is ours.
    """
    check_roles(work, roles or {})
    notes = rested(work.module)
    recorder = Recorder(
        work.module,
        time_axis=work.time_axis if time_axis is None else time_axis,
        samples=work.samples if samples is None else samples,
        roles=roles,
        name=work.name,
        synthetic=work.synthetic,
        seed=work.seed,
        once=True,
    )
    with torch.no_grad(), work.mode if work.mode is not None else nullcontext():
        try:
            with recorder:
                out = work.module(*work.inputs, **work.kwargs)
        except SnnEnergyError:
            raise
        except Exception:
            _forward(work)
            raise
    counts = recorder.finish()
    answers, uncompared = _answers(work, out, counts)
    told = (*counts.identity.notes, *_encoding(work), *uncompared, *notes)
    conditions = replace(counts.conditions, nonfinite=_nonfinite(work, counts, time_axis))
    return replace(counts, conditions=conditions, identity=replace(counts.identity, notes=told), answers=answers)


def _nonfinite(work: Workload, counts: Counts, time_axis: int | None) -> int:
    """Samples that held NaN or infinity, where they held anything; samples lie behind a leading time axis, else in front."""
    if work.mode is not None:
        return 0
    time = work.time_axis if time_axis is None else time_axis
    return nonfinite((*work.inputs, *work.kwargs.values()), 1 if time == 0 else 0, counts.samples)


def nonfinite(inputs: Iterable[Any], axis: int, samples: int) -> int:
    """Samples, along that axis, that hold NaN or infinity; all of them where it is not as long as they are many."""
    bad: torch.Tensor | None = None
    for x in inputs:
        if not _holds_floats(x) or bool(torch.isfinite(x).all()):
            continue
        if x.dim() <= axis or x.shape[axis] != samples:
            return samples
        rows = ~torch.isfinite(x.movedim(axis, 0).reshape(samples, -1)).all(1)
        bad = rows if bad is None else bad | rows
    return 0 if bad is None else int(bad.sum())


def _holds_floats(x: object) -> TypeGuard[torch.Tensor]:
    """Whether it is a plain tensor that NaN could stand in."""
    return isinstance(x, torch.Tensor) and x.layout == torch.strided and (x.is_floating_point() or x.is_complex())


def _answers(work: Workload, out: Any, counts: Counts) -> tuple[Answers, tuple[str, ...]]:
    """How many answers are their labels, where the inputs came with any that have values; and why they were not compared."""
    if work.labels is None or work.mode is not None:
        return Answers(), ()
    found = right(out, work.labels, counts.time_steps)
    if found is None or len(found) != counts.samples:
        return Answers(), (UNCOMPARED,)
    return Answers(len(found), int(found.sum())), ()


def check_roles(work: Workload, roles: Mapping[str, str]) -> None:
    """Every named path is a module of the model, and every neuron model one that is known."""
    from snnenergy.trace.scopes import check_paths

    check_paths(work.module, work.name, roles)
    for path, model in roles.items():
        if model not in NEURONS:
            raise UsageError(f"{path}={model}: no such neuron model; use one of {', '.join(NEURONS)}")


def _encoding(work: Workload) -> tuple[str, ...]:
    return (work.encoding,) if work.encoding else ()


def _forward(work: Workload) -> None:
    """Runs the model alone: if it fails by itself, the failure is the model's or its input's."""
    try:
        work.module(*work.inputs, **work.kwargs)
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in work.inputs if isinstance(x, torch.Tensor))
        raise ForwardError(
            f"{work.name}: its forward raised {type(error).__name__} on input of shape {shapes or 'none'}: {said(error)}\n"
            + (_SHAPES_ONLY if work.mode is not None else "")
            + "Check --input or --input-shape against what the model expects (`snnenergy inspect` shows it)."
        ) from error
