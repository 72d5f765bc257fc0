"""The short ways to note a call in a survey, by what its operator does: most calls are plain.

Each answers whether it would do.  Where it would not (a weight made of weights, operands whose elements come from several
sources, a tensor that the survey knows more of) nothing was noted, and the call is noted the general way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from snnenergy.trace import formulas
from snnenergy.trace.forward import Frame
from snnenergy.trace.operators import Operator
from snnenergy.trace.signature import tensors_among
from snnenergy.trace.structure import Work

if TYPE_CHECKING:
    from snnenergy.trace.survey import Survey

Args = Sequence[Any]
Kwargs = Mapping[str, Any]


def _view(survey: Survey, op: Operator, args: Args, kwargs: Kwargs, out: Any) -> bool:
    """A view keeps the tag of its storage; one of the input may tell about time."""
    if args[0].untyped_storage()._cdata in survey.input_keys:
        survey.note_time(op.name, args)
    return True


def _copy(survey: Survey, op: Operator, args: Args, kwargs: Kwargs, out: Tensor) -> bool:
    """A clone or a cast: the values keep their origin."""
    found = survey.lineage.tags.get(args[0].untyped_storage()._cdata)
    if found is None or found.level or found.pad or found.segments is not None:
        return False
    survey.lineage.put(out.untyped_storage()._cdata, found)
    if not survey.replaying:
        survey.work_of(survey.frames[-1].owner).kernels += 1
    return True


def _made(survey: Survey, op: Operator, args: Args, kwargs: Kwargs, out: Any) -> bool:
    """Values from nothing, or put in the place of others, as by a mask."""
    frame = survey.frames[-1]
    if not isinstance(out, Tensor) or not _operands(survey, args, frame, sources=False):
        return False
    if not survey.replaying:
        survey.work_of(frame.owner).kernels += 1
    tag = survey.tag(frame.owner, frame, made=op.row is formulas.MAKE)
    survey.lineage.put(out.untyped_storage()._cdata, tag)
    return True


def _elementwise(survey: Survey, op: Operator, args: Args, kwargs: Kwargs, out: Any) -> bool:
    """Arithmetic on activations, or on activations and parameters."""
    frame, row = survey.frames[-1], op.row
    if not isinstance(out, Tensor):
        return False
    if not _operands(survey, args, frame, sources=frame.neuron is not None or frame.work is None):
        return False
    work = frame.work or _first_work(survey, frame)
    if type(row) is formulas.Each:
        n = out.numel()
        adds, muls, compares, specials = row.adds * n, row.muls * n, row.compares * n, row.specials * n
    else:
        adds, muls, compares, specials = row(args, out)  # type: ignore[operator,misc]  # of PER_OUTPUT
    work.adds += adds
    work.muls += muls
    work.compares += compares
    work.specials += specials
    work.calls += 1
    work.kernels += not survey.replaying
    survey.forward.arithmetic_calls += 1
    tag = frame.tag
    if op.compares:
        assert tag is not None and tag.producer is not None
        tag = survey.tag(tag.producer, frame, compared=True)
        survey.compared(out)
    assert tag is not None  # set together with frame.work
    survey.lineage.put(out.untyped_storage()._cdata, tag)
    return True


def _formula(survey: Survey, op: Operator, args: Args, kwargs: Kwargs, out: Any) -> bool:
    """Arithmetic that is more than elementwise: a reduction, a pool, a norm."""
    frame = survey.frames[-1]
    if not _operands(survey, args, frame, sources=frame.neuron is not None):
        return False
    path = frame.owner
    if frame.neuron is None and isinstance(args[0], Tensor):
        survey.note_source(args[0], survey.lineage.of(args[0]), frame)
    survey.arithmetic(path, op.row(args, out))  # type: ignore[operator,misc]  # a formula
    if op.norm:
        survey.note_norm(path, args)
    survey.forward.arithmetic_calls += 1
    tag = survey.tag(path, frame)
    for t in (out,) if isinstance(out, Tensor) else tensors_among((out,)):
        survey.lineage.put(t.untyped_storage()._cdata, tag)
    return True


def _contraction(survey: Survey, op: Operator, args: Args, kwargs: Kwargs, out: Any) -> bool:
    """A contraction that this module has done before in this forward."""
    if kwargs or survey.replaying or survey.learning or not survey.repeats.take(op, args, out):
        return False
    survey.forward.arithmetic_calls += 1
    return True


SHORT: dict[str, Callable[..., bool]] = {
    "contraction": _contraction,
    "elementwise": _elementwise,
    "formula": _formula,
    "view": _view,
    "copy": _copy,
    "made": _made,
}
"""By `Operator.kind`."""


def _operands(survey: Survey, args: Args, frame: Frame, *, sources: bool) -> bool:
    """Who meets in an operator on activations; sources: the producers of its arguments drive the frame."""
    lineage = survey.lineage
    heavy, labelled, tags = lineage.heavy, lineage.labelled, lineage.tags
    own = frame.tag.producer if frame.tag is not None else None
    weights: list[tuple[Tensor, int]] = []
    activations = False
    for a in args:
        if isinstance(a, Tensor):
            key = a.untyped_storage()._cdata
            if key in heavy:
                weights.append((a, key))
            elif labelled and key in labelled:
                return False
            else:
                activations = True
            if sources and (tag := tags.get(key)) is not None and tag.producer is not own:
                survey.note_source(a, tag, frame)
    if weights:
        if not activations:
            return False
        _weights(survey, weights, frame)
    return True


def _weights(survey: Survey, weights: list[tuple[Tensor, int]], frame: Frame) -> None:
    """Parameters and buffers that meet activations in elementwise arithmetic: a threshold, a decay, a bias."""
    module = frame.module
    biased = frame.leaf and module is not None and module._parameters.get("bias") is not None
    if not biased:
        before = len(survey.weighed)
        survey.weighed.update([(id(module), key, t.storage_offset()) for t, key in weights])
        if len(survey.weighed) == before:
            return
    _, keys = survey.met([t for t, _ in weights], {})
    survey.note_bias(frame.owner, frame, keys)


def _first_work(survey: Survey, frame: Frame) -> Work:
    """The first elementwise call of a frame: where its arithmetic goes."""
    path = frame.owner
    frame.work = survey.work_of(path)
    frame.tag = survey.tag(path, frame)
    return frame.work
