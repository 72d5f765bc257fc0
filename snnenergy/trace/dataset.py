"""A model counted over a data set, batch by batch, in one open recorder: memory stays flat however many there are."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnenergy.counts import Answers
from snnenergy.errors import ForwardError, InputError, SnnEnergyError, said
from snnenergy.trace.answers import UNCOMPARED, right
from snnenergy.trace.recorder import Recorder
from snnenergy.trace.rest import rested
from snnenergy.trace.samples import Reader
from snnenergy.trace.workload import check_roles, nonfinite

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.load.batches import Batch
    from snnenergy.load.workload import Workload
    from snnenergy.samples import Rows


class Pass:
    """One pass of a model over a data set: `take` counts a batch, `counts()` may be read between any two.

    State that neurons keep is put to rest before every batch: a sample's counts do not depend on the batch before it.
    """

    def __init__(
        self,
        work: Workload,
        *,
        time_axis: int | None = None,
        samples: int | None = None,
        roles: Mapping[str, str] | None = None,
        device: str | None = None,
        each: str | None = None,
    ) -> None:
        """each: `sample` runs every sample in a forward of its own, and keeps a row of it; `forward` keeps one per batch."""
        check_roles(work, roles or {})
        self.work, self.device = work, device
        self._samples = samples  # of one forward, as the user gave it
        self._module = work.module if device is None else work.module.to(device)
        self._recorder = Recorder(
            self._module, time_axis=time_axis, roles=roles, name=work.name, synthetic=work.synthetic, seed=work.seed
        )
        self._each = each
        self._reader = Reader(self._recorder) if each else None
        self._stack = ExitStack()
        self._notes: dict[str, None] = {}
        self._nonfinite = self._labelled = self._correct = 0
        self._steps: int | None = None
        self.batches = 0
        self.misplaced = False  # which samples ran is not known: what was counted may overlap with an earlier run

    def __enter__(self) -> Pass:
        self._stack.enter_context(torch.no_grad())
        self._stack.enter_context(self._recorder)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def samples(self) -> int:
        """Samples counted so far."""
        return self._recorder.samples

    @property
    def rows(self) -> Rows | None:
        """What each forward did, where that was asked for."""
        return None if self._reader is None else self._reader.rows

    def take(self, batch: Batch) -> None:
        """Counts one batch.

        InputError, ForwardError: the batch does not fit the batches before it, or the model; it is then not counted.
        """
        if self._each != "sample":
            self._take(batch)
        else:
            for i in range(batch.samples):
                if (taken := self._take(batch.part(i, 1))) != 1:
                    raise InputError(
                        f"batch {batch.index}: a forward of one sample was taken for {taken}: the axis of the samples is not "
                        "known; pass --time-axis, deliver labels, or pass --samples (--until-ci then looks at batches)"
                    )
        self.batches += 1

    def _take(self, batch: Batch) -> int:
        """Counts one forward; the samples it ran."""
        rec = self._recorder
        rec.layout(samples=self._samples or (batch.samples if batch.proven else None), time_axis=batch.time_axis)
        before = rec.samples
        out = self._forward(batch)
        taken = rec.samples - before
        if taken and taken != batch.samples:
            self._check_samples(batch, taken)
        self._check_steps(batch)
        self._nonfinite += _nonfinite(batch)
        correct = self._score(out, batch, taken)
        if self._reader is not None and taken:
            self._reader.take(start=batch.start, samples=taken, correct=correct)
        return taken

    def _forward(self, batch: Batch) -> Any:
        rec = self._recorder
        inputs, kwargs = self._placed(batch)
        forwards, lost = rec.forwards, dict(rec.lost_forwards)
        try:
            out = self._run(inputs, kwargs)
            if rec.forwards == forwards:  # it did something else than what was surveyed: again, surveyed
                rec.lost_forwards = dict(lost)
                out = self._run(inputs, kwargs)
        except SnnEnergyError:
            raise
        except Exception as error:
            rec.lost_forwards = dict(lost)
            self._alone(batch, inputs, kwargs, error)
            raise
        except BaseException:
            rec.lost_forwards = dict(lost)
            raise
        return out

    def _run(self, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._notes |= dict.fromkeys(rested(self._module))
        return self._module(*inputs, **kwargs)

    def _alone(self, batch: Batch, inputs: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception) -> None:
        """Runs the model without being counted: if it fails by itself, the failure is the model's or its input's."""
        self._stack.close()
        shapes = ", ".join(str(tuple(x.shape)) for x in (*inputs, *kwargs.values()) if isinstance(x, Tensor))
        try:
            with torch.no_grad():
                self._module(*inputs, **kwargs)
        except Exception as again:  # noqa: BLE001  # whatever the model raises is told as its own
            raise ForwardError(
                f"{self.work.name}: its forward raised {type(again).__name__} on batch {batch.index}, input of shape "
                f"{shapes or 'none'}: {said(again)}"
            ) from error

    def _placed(self, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.device is None:
            return batch.inputs, batch.kwargs
        moved = {k: v.to(self.device) if isinstance(v, Tensor) else v for k, v in batch.kwargs.items()}
        return tuple(x.to(self.device) if isinstance(x, Tensor) else x for x in batch.inputs), moved

    def _check_samples(self, batch: Batch, taken: int) -> None:
        """The forward ran another number of samples than the data set says: an error where anything stands on it."""
        if batch.proven and self._samples is None:
            raise InputError(f"batch {batch.index}: {batch.samples} samples, and the forward ran {taken}")
        if batch.placed:
            self.misplaced = True
            raise InputError(
                f"batch {batch.index}: taken to hold {batch.samples} samples (axis {batch.axis}), and the forward ran {taken}: a "
                "limit or a resumed run would begin and end elsewhere; pass --time-axis, or deliver labels"
            )

    def _check_steps(self, batch: Batch) -> None:
        steps = self._recorder.steps
        if len(steps) > 1:
            raise InputError(
                f"batch {batch.index}: inferences of {' and of '.join(map(str, sorted(steps, key=str)))} time steps in one data "
                "set: their mean is no inference; give each length a run of its own, or pad them; events: --steps T"
            )
        self._steps = next(iter(steps), None)

    def _score(self, out: Any, batch: Batch, taken: int) -> int:
        """Right answers of this forward; -1 where nobody can say."""
        if batch.labels is None or not taken:
            return -1
        found = right(out, batch.labels, self._steps)
        if found is None:
            self._notes[UNCOMPARED] = None
            return -1
        correct = int(found.sum())
        self._labelled += len(found)
        self._correct += correct
        return correct

    def counts(self) -> Counts:
        """The Counts of all batches so far."""
        made = self._recorder.counts()
        notes = (*made.identity.notes, *filter(None, (self.work.encoding,)), *self._notes)
        return replace(
            made,
            conditions=replace(made.conditions, nonfinite=self._nonfinite),
            identity=replace(made.identity, notes=notes),
            answers=Answers(self._labelled, self._correct),
        )


def _nonfinite(batch: Batch) -> int:
    """Samples that hold NaN or infinity."""
    return nonfinite((*batch.inputs, *batch.kwargs.values()), batch.axis, batch.samples)
