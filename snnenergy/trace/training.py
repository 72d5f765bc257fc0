"""One optimisation step, counted: forward, backward, optimizer; what each layer keeps in between; then all is undone.

The rows of the forward are those of inference.  Beside them stand the rows of the other phases, by path such as
`fc1@grad_input`, `fc1@grad_weight`, `fc1@optimizer`; the loss is the layer `(loss)`.  A model of T steps is trained by
backpropagation through all of them (BPTT), with whatever slope it gives its spikes (surrogate gradients).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnenergy.counts import Counts, LayerCounts
from snnenergy.errors import ForwardError, InputError, SnnEnergyError, UsageError, few, said
from snnenergy.trace.aside import as_it_was
from snnenergy.trace.backward import GRAD_INPUT, StepSurvey, row_path
from snnenergy.trace.forward import Frame
from snnenergy.trace.losses import SUM, Loss, chosen
from snnenergy.trace.optimizers import OPTIMIZERS
from snnenergy.trace.recorder import Recorder
from snnenergy.trace.rest import rested
from snnenergy.trace.signature import all_tensors
from snnenergy.trace.tensors import version
from snnenergy.trace.tree import plain_name
from snnenergy.trace.workload import check_roles

if TYPE_CHECKING:
    from snnenergy.load.workload import Workload

LOSS = "(loss)"


def count_training(
    model: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    targets: Any = None,
    loss: str | Loss | None = None,
    optimizer: str = "sgd",
    time_axis: int | None = None,
    samples: int | None = None,
    roles: Mapping[str, str] | None = None,
    rules: Mapping[str, Callable[..., Any]] | None = None,
    name: str | None = None,
    synthetic: bool = False,
    seed: int | None = None,
) -> Counts:
    """The Counts of one optimisation step on a batch, in training mode; nothing of the model is changed by it.

    targets: class labels, or what the model should put out; one per sample
    loss: cross_entropy, mse or sum, or a function of the answer (and of the targets, if given) that returns one number;
    without it cross_entropy of integer targets, mse of others, and the sum of the answer where there are none
    optimizer: sgd, momentum, adam or adamw: a step in the middle of training, its states made
    Other options as in `count`.

    Raises UsageError for an unknown loss or optimizer, InputError where no gradient reaches any weight, and what the forward,
    the loss or the backward pass raise.
    """
    if optimizer not in OPTIMIZERS:
        raise UsageError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}; found {optimizer!r}")
    words, of_answer = chosen(loss, targets)
    recorder = Recorder(
        model,
        time_axis=time_axis,
        samples=samples,
        roles=roles,
        rules=rules,
        name=name,
        synthetic=synthetic,
        seed=seed,
        once=True,
    )
    with as_it_was(model), torch.inference_mode(False), torch.enable_grad():
        notes = rested(model) + _in_training(model)
        with recorder:
            step = _Step(recorder, of_answer)
            recorder.call(step.run, *inputs, **(kwargs or {}))
            counts = recorder.counts()
    notes += step.notes()
    made = _with_phases(counts, step, optimizer)
    return dataclasses.replace(
        made,
        conditions=dataclasses.replace(made.conditions, training=f"{optimizer}, loss {words}"),
        identity=dataclasses.replace(made.identity, notes=(*made.identity.notes, *notes)),
    )


def _in_training(model: nn.Module) -> list[str]:
    try:
        model.train()
    except NotImplementedError:  # an exported program is a graph of one of the two modes
        return ["an exported program keeps the mode it was exported in: dropout and batch norms run as in inference"]
    return []


class _Step:
    """Forward, loss and backward under one survey."""

    def __init__(self, recorder: Recorder, loss: Loss) -> None:
        self.recorder, self.loss = recorder, loss
        self.survey = recorder.survey = StepSurvey(recorder)
        self.weights = {n: p for n, p in recorder.model.named_parameters() if p.requires_grad}
        self.unreached: list[str] = []
        self._given: dict[int, int] = {}  # storage of an input -> its bytes, which may be few of a data set's
        self._kept: dict[int, tuple[int, int]] = {}  # storage -> bytes, number of the node that keeps it

    def run(self, *inputs: Any, **kwargs: Any) -> None:
        if not self.weights:
            raise InputError(f"{self.recorder.name}: nothing to train: no parameter takes a gradient")
        self._given = {
            t.untyped_storage()._cdata: t.nbytes for t in all_tensors((*inputs, *kwargs.values())) if t.numel()
        }
        with torch.autograd.graph.saved_tensors_hooks(self._keep, _unchanged):
            answer = self.recorder.model(*inputs, **kwargs)
            number = self._scalar(answer)
        with self.recorder.aside():
            self._backward(number)

    def _scalar(self, answer: Any) -> Tensor:
        first = _first_tensor(answer)
        if first is None:
            raise InputError(
                f"{self.recorder.name}: its forward returns {type(answer).__name__}, and no tensor to take a loss of"
            )
        self.survey.frames.append(Frame(LOSS, "loss", True))
        try:
            number: Any = self.loss(first)  # a user's own may return anything
        finally:
            self.survey.frames.pop()
        if not isinstance(number, Tensor) or number.numel() != 1:
            raise UsageError(f"{self.recorder.name}: the loss must be one number, as a tensor")
        return number

    def _backward(self, number: Tensor) -> None:
        if not number.requires_grad:
            raise InputError(
                f"{self.recorder.name}: no gradient reaches any weight: what the model puts out does not depend on them by "
                "operators with a gradient (spikes need a surrogate gradient; an exported net was made for inference)"
            )
        first = Frame(row_path(LOSS, GRAD_INPUT), "loss", True)  # where the gradient of the loss, a one, is made
        self.survey.frames.append(first)
        try:
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                number, list(self.weights.values()), allow_unused=True
            )
        finally:
            self.survey.frames.pop()
        self.unreached = [name for name, g in zip(self.weights, found, strict=True) if g is None]
        if self.unreached and _holds(number.grad_fn, "CheckpointFunctionBackward"):
            raise InputError(
                f"{self.recorder.name}: torch.utils.checkpoint hides part of the graph; pass it use_reentrant=False"
            )
        if len(self.unreached) == len(found):
            raise InputError(f"{self.recorder.name}: no gradient reaches any weight: {few(self.unreached)}")

    def _keep(self, t: Tensor) -> tuple[Tensor, int]:
        """Something is kept for the backward pass: noted once per storage, parameters not at all."""
        held = t.untyped_storage() if t.layout == torch.strided else None
        key = id(t) if held is None else held._cdata
        if key not in self._kept and key not in self.recorder.lineage.owners:
            size = self._given.get(key) or (t.numel() * t.element_size() if held is None else held.nbytes())
            self._kept[key] = (size, torch._C._autograd._get_sequence_nr() - 1)
        return t, version(t)

    def kept(self) -> dict[str, int]:
        """Bytes that each layer's forward keeps for its backward."""
        found: dict[str, int] = {}
        for size, number in self._kept.values():
            layer = self.survey.made_by(number)
            found[layer] = found.get(layer, 0) + size
        return found

    def trained(self) -> dict[str, list[Tensor]]:
        """The weights that get a gradient, by the module that holds them."""
        found: dict[str, list[Tensor]] = {}
        for name, p in self.weights.items():
            if name not in self.unreached:
                path = plain_name(name).rpartition(".")[0] or "(root)"
                found.setdefault(path, []).append(p)
        return found

    def notes(self) -> list[str]:
        frozen = [n for n, p in self.recorder.model.named_parameters() if not p.requires_grad]
        notes = [f"no gradient reaches {few(self.unreached)}"] if self.unreached else []
        return notes + ([f"not trained, as they take no gradient: {few(frozen)}"] if frozen else [])


def _first_tensor(answer: Any) -> Tensor | None:
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    return next((t for t in parts if isinstance(t, Tensor)), None)


def _holds(node: Any, name: str) -> bool:
    """Whether a graph has a node of that name."""
    seen, todo = set(), [node]
    while todo:
        here = todo.pop()
        if here is not None and here not in seen:
            if here.name() == name:
                return True
            seen.add(here)
            todo += [at for at, _ in here.next_functions]
    return False


def _unchanged(held: tuple[Tensor, int]) -> Tensor:
    """What was kept, checked as torch checks it where no hook stands between."""
    t, at = held
    if version(t) != at:
        raise RuntimeError("a value needed for the gradient has been modified by an inplace operation")
    return t


def _with_phases(counts: Counts, step: _Step, optimizer: str) -> Counts:
    """The rows in order: the forward with what it keeps, then the backward and the optimizer, each under its phase."""
    kept = step.kept()
    rows = [_row(layer, kept) for layer in counts.layers]
    known = {row.path for row in rows}
    rows += [LayerCounts(path, op="kept", saved_bytes=size) for path, size in kept.items() if path not in known]
    rows += [_optimized(path, tensors, optimizer) for path, tensors in step.trained().items()]
    return dataclasses.replace(counts, layers=tuple(rows))


def _row(layer: LayerCounts, kept: Mapping[str, int]) -> LayerCounts:
    forward, _, phase = layer.path.partition("@")
    if not phase:
        return dataclasses.replace(layer, saved_bytes=kept.get(forward, 0))
    return dataclasses.replace(layer, phase=phase, per_step=None)


def _optimized(path: str, tensors: list[Tensor], name: str) -> LayerCounts:
    """Reads the gradient, and reads and writes the weight and its states: so the words written are weights and states."""
    rule, n = OPTIMIZERS[name], sum(t.numel() for t in tensors)
    return LayerCounts(
        row_path(path, "optimizer"),
        phase="optimizer",
        op=name,
        adds=n * rule.each.adds,
        muls=n * rule.each.muls,
        specials=n * rule.each.specials,
        weights=n,
        weights_nonzero=n,
        weight_bits=8 * tensors[0].element_size(),
        state_words=rule.state_words,
        output_elements=n * (1 + rule.state_words),
        output_bits=8 * tensors[0].element_size(),
        calls=1,
        kernels=len(tensors) * rule.kernels,
    )


def count_training_of(
    work: Workload,
    batch: int | None = None,
    *,
    loss: str | None = None,
    optimizer: str = "sgd",
    time_axis: int | None = None,
    samples: int | None = None,
    roles: Mapping[str, str] | None = None,
) -> Counts:
    """The same for a loaded model on its input, or on the first `batch` samples of it; its labels are the targets.

    Raises ForwardError where forward, loss or backward raise by themselves.
    """
    check_roles(work, roles or {})
    axis = work.time_axis if time_axis is None else time_axis
    inputs, targets = work.inputs, work.labels
    size = samples if samples is not None else batch if batch is not None else work.samples
    try:
        if batch is not None:
            inputs, targets = _first(work, batch, _sample_axis(work, axis, roles))
        counts = count_training(
            work.module,
            *inputs,
            kwargs=work.kwargs,
            targets=None if loss == SUM else targets,
            loss=loss,
            optimizer=optimizer,
            time_axis=axis,
            samples=size,
            roles=roles,
            name=work.name,
            synthetic=work.synthetic,
            seed=work.seed,
        )
    except SnnEnergyError:
        raise
    except Exception:
        _alone(work, inputs, chosen(loss, None if loss == SUM else targets)[1])
        raise
    return counts


def _alone(work: Workload, inputs: tuple[Any, ...], loss: Loss) -> None:
    """The step without being counted: if it fails by itself, the failure is the model's or its input's."""
    try:
        with as_it_was(work.module), torch.enable_grad():
            _in_training(work.module)
            first = _first_tensor(work.module(*inputs, **work.kwargs))
            if first is not None:
                weights = [p for p in work.module.parameters() if p.requires_grad]
                torch.autograd.grad(loss(first), weights, allow_unused=True)
    except Exception as error:
        raise ForwardError(
            f"{work.name}: a training step raised {type(error).__name__}: {said(error)}\nThe forward runs in training mode, with "
            "gradients; check that the model trains on this input."
        ) from error


def _first(work: Workload, batch: int, axis: int) -> tuple[tuple[Any, ...], Any]:
    """The first samples of the inputs and labels."""
    sizes = [x.shape[axis] if isinstance(x, Tensor) and x.dim() > axis else 0 for x in work.inputs]
    if not sizes or len(set(sizes)) > 1 or batch > sizes[0]:
        raise InputError(f"--batch {batch}: the input holds {sizes[0] if sizes else 0} samples on axis {axis}")
    inputs = tuple(x.narrow(axis, 0, batch) for x in work.inputs)
    return inputs, None if work.labels is None else work.labels[:batch]


def _sample_axis(work: Workload, time_axis: int | None, roles: Mapping[str, str] | None) -> int:
    """Where the samples lie: behind a leading time axis, else in front; without a time axis, as one forward shows."""
    shape = next((x.shape for x in work.inputs if isinstance(x, Tensor)), ())
    if time_axis is not None:
        return 1 if time_axis in (0, -len(shape)) else 0
    seen = Recorder(work.module, samples=work.samples, roles=roles, name=work.name, once=True)
    with as_it_was(work.module), torch.no_grad(), seen:
        rested(work.module)
        work.module(*work.inputs, **work.kwargs)
    (plan,) = seen.plans.values()
    axis = 1 if plan.clock.axis == 0 else 0
    if shape[axis : axis + 1] != (plan.clock.samples,):
        raise InputError(
            f"--batch: the input {tuple(shape)} is taken for {plan.clock.samples} samples, and they do not lie on axis {axis}; "
            "pass --time-axis, or leave --batch out"
        )
    return axis
