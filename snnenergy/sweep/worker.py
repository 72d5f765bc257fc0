"""One point, counted: loaded, varied, run.  It runs in a process of its own, which a model may bring down."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError, SnnEnergyError
from snnenergy.sweep.points import Task
from snnenergy.sweep.store import Failure, put
from snnenergy.sweep.words import of_the_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from snnenergy.counts import Counts
    from snnenergy.trace.variants import Variant

OUR_BUG = 70
RESULTS, ERRORS = 1, 2
"""The file descriptors of a process."""


def serve(connection: Connection, folder: Path) -> None:
    """Counts what comes in, (digest, label, task), into a store; answers with a Failure or None; ends with its caller."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the caller ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what it holds of the system is given back
    threading.Thread(target=_leave_with_the_caller, daemon=True).start()
    os.dup2(ERRORS, RESULTS)  # what models print is no result
    while True:
        try:
            digest, label, task = connection.recv()
            connection.send(attempt(folder, digest, label, task))
        except (EOFError, BrokenPipeError):
            return


def _leave_with_the_caller() -> None:
    """A caller that was killed could not end this process, which may have hours to go in its point."""
    caller = multiprocessing.parent_process()
    assert caller is not None  # it is a process of the pool
    caller.join()
    os._exit(1)


def attempt(folder: Path, digest: str, label: str, task: Task) -> Failure | None:
    """Counts a point into the store, or writes there why it failed."""
    outcome: Counts | Failure
    try:
        outcome = count(task, label)
    except SnnEnergyError as error:
        outcome = Failure(of_the_file(str(error)), error.exit_code)
    except MemoryError:
        outcome = Failure("out of memory")
    except Exception as error:  # noqa: BLE001  # whatever one point raises, the others are counted
        outcome = Failure(f"this is a bug in snnenergy, not in your model: {type(error).__name__}: {error}", OUR_BUG)
    return put(folder, digest, outcome)


def count(task: Task, name: str) -> Counts:
    """The Counts of a point, of one forward or a whole data set, on one thread with every generator seeded."""
    from snnenergy.load.batches import seed_everything
    from snnenergy.trace.variants import Variant

    seed_everything(task.seed)  # also the weights that a factory draws
    options: dict[str, Any] = {
        "factory": task.factory, "arguments": task.arguments, "allow_classes": task.allow_class, "seed": task.seed,
        "encode": task.encode, "steps": task.steps if task.encode else None, "time_axis": task.time_axis,
    }  # fmt: skip  # a table, read across
    own_steps = None if task.encode else task.steps
    variant = Variant(task.threshold, task.precision, own_steps, task.time_axis or 0)
    counts = _forward(task, options, variant) if task.data is None else _data(task, options, variant)
    return dataclasses.replace(variant.stated(counts), model=name)


def _forward(task: Task, options: dict[str, Any], variant: Variant) -> Counts:
    from snnenergy.load import load
    from snnenergy.trace.repeatable import count_repeatably

    work = load(task.source, input_shape=task.input_shape, meta=task.meta, **options)
    variant.change(work.module)
    inputs, kwargs = variant.inputs(work.inputs, work.kwargs)
    work = dataclasses.replace(work, inputs=inputs, kwargs=kwargs)
    axis = None if task.encode else task.time_axis
    return _noted(count_repeatably(work, time_axis=axis, samples=task.samples, seed=task.seed), work.notes)


def _data(task: Task, options: dict[str, Any], variant: Variant) -> Counts:
    from snnenergy.load import Cut, DataOptions, load_dataset
    from snnenergy.trace.dataset import Pass

    assert task.data is not None  # the caller's check
    work, batches = load_dataset(task.source, DataOptions(task.data, task.batch_size, Cut(task.limit)), **options)
    variant.change(work.module)
    with Pass(work, time_axis=task.time_axis, samples=task.samples) as run:
        for batch in batches:
            inputs, kwargs = variant.inputs(batch.inputs, batch.kwargs)
            run.take(dataclasses.replace(batch, inputs=inputs, kwargs=kwargs))
    if not run.batches:
        raise InputError(f"{task.data}: yielded no batch")
    return _noted(run.counts(), (*work.notes, *batches.notes))


def _noted(counts: Counts, notes: Sequence[str]) -> Counts:
    """With what loading had to say: nobody watches a worker's stderr."""
    return dataclasses.replace(
        counts, identity=dataclasses.replace(counts.identity, notes=(*counts.identity.notes, *notes))
    )
