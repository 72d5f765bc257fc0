"""From a Workload (a loaded model and its inputs) to Counts: what the command line runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnenergy.errors import ForwardError, SnnEnergyError

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.load.workload import Workload

MAX_WORDS = 300
"""Characters of the model's own message that are shown."""


def count_workload(work: Workload, *, time_axis: int | None = None, samples: int | None = None) -> Counts:
    """The Counts of one forward without gradients; `time_axis` and `samples` stand over what the file says.

    Raises ForwardError where the model's forward raises without being counted too; anything else is ours.
    """
    from snnenergy.trace import count

    with torch.no_grad():
        try:
            return count(
                work.module,
                *work.inputs,
                kwargs=work.kwargs,
                time_axis=work.time_axis if time_axis is None else time_axis,
                samples=work.samples if samples is None else samples,
                name=work.name,
                synthetic=work.synthetic,
                seed=work.seed,
            )
        except SnnEnergyError:
            raise
        except Exception:
            _forward(work)
            raise


def _forward(work: Workload) -> None:
    """Runs the model alone: if it fails by itself, the failure is the model's or its input's."""
    try:
        work.module(*work.inputs, **work.kwargs)
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in work.inputs if isinstance(x, torch.Tensor))
        said = " ".join(str(error).split())[:MAX_WORDS]
        raise ForwardError(
            f"{work.name}: its forward raised {type(error).__name__} on input of shape {shapes or 'none'}: {said}\n"
            "Check --input or --input-shape against what the model expects (`snnenergy inspect` shows it)."
        ) from error
