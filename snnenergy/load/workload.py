"""A model and what it runs on: the one thing this room hands to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError
from snnenergy.load import shapes
from snnenergy.load.encoders import CODINGS, Encoding
from snnenergy.load.encoders import encode as encode_steps
from snnenergy.load.factory import is_factory
from snnenergy.load.inputs import Inputs, load_inputs, shape_to_try, synthetic
from snnenergy.load.models import Model, load_model

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Workload:
    """One forward, ready to run: `module(*inputs, **kwargs)`.

    module: in eval mode; for a .pt2 the GraphModule of the exported program, `nn_module_stack` on its nodes
    kind: pt2 | module | state_dict | safetensors | factory | nir | torchscript
    synthetic: the inputs were made up from a shape, from `seed`: activity means nothing
    time_axis, samples: where the file says so (a free size, labels beside the inputs); else None
    notes: what the reader must know; labels: class labels, if the input file has them
    mode: the FakeTensorMode that module and inputs belong to, where they have shapes and no values; else None
    encoding: how a static input became steps, in words; empty where it is as the file has it
    """

    name: str
    module: torch.nn.Module
    inputs: tuple[Any, ...]
    kwargs: dict[str, Any]
    kind: str
    synthetic: bool
    seed: int | None
    time_axis: int | None = None
    samples: int | None = None
    notes: tuple[str, ...] = ()
    labels: Any = None
    encoding: str = ""
    mode: Any = None


def load(
    source: str | Path,
    *,
    factory: str | None = None,
    input: str | Path | None = None,  # noqa: A002  # the name of the command-line option
    input_shape: Sequence[int] | None = None,
    allow_classes: Sequence[str] = (),
    trust: bool = False,
    seed: int = 0,
    encode: str | None = None,
    steps: int | None = None,
    time_axis: int | None = None,
    event_bin: float | None = None,
    meta: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> Workload:
    """A model file or `pkg.mod:factory`, and inputs from a file, from a shape, or its own; errors say what to pass.

    encode, steps: the coding that makes T steps of a static input, time on `time_axis` (0 where it is not given)
    event_bin: duration of a frame, where the input file holds events; `steps` is then the number of frames
    arguments: keyword arguments of the factory
    meta: shapes only; what a factory makes takes no memory, and no input has a value
    """
    mode = shapes.mode() if meta else None
    of_events, coding = steps_of(encode, steps, seed, time_axis, event_bin)
    if input is not None and input_shape is not None:
        raise InputError("--input and --input-shape: give one of them")
    if event_bin is not None and input is None:
        raise InputError("--event-bin: goes with --input FILE, a file of events")
    with mode if mode is not None and is_factory(str(source)) else nullcontext():
        model = load_model(source, factory=factory, allow_classes=allow_classes, trust=trust, arguments=arguments)
    notes, kwargs = list(model.notes), {}
    if input is not None:
        inputs = load_inputs(input, model.slots, event_bin, of_events)
    elif input_shape is not None:
        made_up = shapes.inputs if mode is not None else synthetic
        inputs = made_up(input_shape, model.slots, seed)
    elif model.example_inputs is not None:
        inputs, kwargs = Inputs(model.example_inputs[0]), model.example_inputs[1]
        notes.append("no input given: the model's own example inputs")
    else:
        raise InputError(f"{source}: no inputs; pass --input FILE, or try --input-shape {_to_try(model)}")
    found_axis, samples = axes(model, inputs)
    if coding is not None:
        inputs, found_axis, samples = _encoded(inputs, coding)
    elif event_bin is not None:
        found_axis, samples = 0, 1
    if mode is not None:
        inputs, kwargs = replace(inputs, values=shapes.only(mode, inputs.values)), shapes.only(mode, kwargs)
        shapes.place(mode, model.module)
    random = input_shape is not None or (coding is not None and coding.coding == "rate")
    return Workload(
        name=model.name,
        module=model.module,
        inputs=inputs.values,
        kwargs=kwargs,
        kind=model.kind,
        synthetic=input_shape is not None and mode is None,
        seed=seed if random and mode is None else None,
        time_axis=found_axis,
        samples=samples,
        notes=(*notes, *inputs.notes),
        labels=inputs.labels,
        encoding="" if coding is None else str(coding),
        mode=mode,
    )


def steps_of(
    encode: str | None, steps: int | None, seed: int, time_axis: int | None, event_bin: float | None
) -> tuple[int | None, Encoding | None]:
    """What T steps are made of: frames of events, or a static input by a coding."""
    if encode is None:
        if steps is not None and event_bin is None:
            raise InputError(f"--steps {steps}: goes with --encode {'|'.join(CODINGS)}, or with --event-bin")
        if steps is not None and steps < 1:
            raise InputError(f"--steps: expected at least 1, found {steps}")
        return steps, None
    if steps is None:
        raise InputError(f"--encode {encode}: how many steps? pass --steps T")
    return None, Encoding(encode, steps, seed, time_axis or 0)


def _encoded(inputs: Inputs, coding: Encoding) -> tuple[Inputs, int, int]:
    """The one static input as steps, its time axis, and its samples."""
    import torch

    if len(inputs.values) != 1 or not isinstance(inputs.values[0], torch.Tensor) or not inputs.values[0].dim():
        raise InputError(
            f"--encode {coding.coding}: encodes one tensor; the model is given {len(inputs.values)} inputs"
        )
    x = inputs.values[0]
    made = Inputs((encode_steps(x, coding),), inputs.labels, (*inputs.notes, str(coding)))
    return made, coding.axis, int(x.shape[0])


def _to_try(model: Model) -> str:
    return shape_to_try(model.module, model.slots)


def axes(model: Model, inputs: Inputs) -> tuple[int | None, int | None]:
    """(time axis, samples) as far as the files prove them."""
    shape = getattr(inputs.values[0], "shape", None) if inputs.values else None
    time, sample = layout(model, shape, None if inputs.labels is None else len(inputs.labels))
    return time, None if sample is None or shape is None else int(shape[sample])


def layout(model: Model, shape: Sequence[int] | None, labels: int | None) -> tuple[int | None, int | None]:
    """(time axis, sample axis) of a first input of that shape beside so many labels, as far as they prove them.

    The sample axis is the only free size of an exported input, or the only axis as long as the labels.  Axis 0 before it
    is time where an exported program calls its layers exactly that often, or where the labels put the samples second.
    A NIR graph takes (T, N, ...), whatever its sizes.
    """
    if shape is None:
        return None, None
    if model.kind == "nir":
        return 0, 1 if len(shape) > 1 else None
    free = model.slots[0].free_axes if model.slots and model.kind == "pt2" else ()
    labelled = tuple(i for i, n in enumerate(shape) if n == labels)
    sample_axis = free[0] if len(free) == 1 else labelled[0] if len(labelled) == 1 else None
    if sample_axis is None or sample_axis >= len(shape):
        return None, None
    repeated = model.calls == shape[0] and model.calls > 1
    timed = sample_axis == 1 and (repeated or (model.kind != "pt2" and labelled == (1,)))
    return (0 if timed else None), sample_axis
