"""One model of the settings, counted: from its stored Counts, or run on one thread on its input or data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.cli import output, stored
from snnenergy.cli.runner import say
from snnenergy.errors import InputError, UsageError

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.gate.settings import ModelTable, Project
    from snnenergy.load import DataOptions


def counted(project: Project, name: str, table: ModelTable) -> Counts:
    """Raises UsageError, at its line, where the model ran another number of time steps than the settings promise."""
    source = _source(project.folder, table)
    path = Path(source)
    counts = stored.read_one(path) if stored.is_stored(path) else _run(project.folder, name, source, table)
    if table.steps is not None and counts.time_steps != table.steps:
        raise UsageError(
            f"{project.place('models', name, 'steps')}: {name} ran {counts.time_steps} time steps, not {table.steps}"
        )
    return replace(counts, model=name)


def is_factory(source: str, folder: Path) -> bool:
    return ":" in source and not (folder / source).exists()


def _source(folder: Path, table: ModelTable) -> str:
    """The file, relative to the settings; or `pkg.mod:factory`."""
    if table.source is None:
        return str(folder / table.weights) if table.weights else table.factory or ""
    return table.source if is_factory(table.source, folder) else str(folder / table.source)


def _run(folder: Path, name: str, source: str, table: ModelTable) -> Counts:
    output.progress(f"counting {name}")
    from snnenergy.load import load, load_dataset
    from snnenergy.trace.repeatable import count_repeatably

    options: dict[str, Any] = {
        "factory": table.factory if table.weights else None,
        "allow_classes": table.allow_class,
        "seed": table.seed,
        "encode": table.encode,
        "steps": table.steps if table.encode or table.event_bin else None,
        "time_axis": table.time_axis,
        "event_bin": table.event_bin,
    }
    batches = None
    if table.data is not None:
        work, batches = load_dataset(source, _data(folder, table), **options)
    else:
        given = None if table.input is None else folder / table.input
        work = load(source, input=given, input_shape=table.input_shape, **options)
    counts = count_repeatably(
        work, batches, time_axis=table.time_axis, samples=table.samples, roles=table.neurons, seed=table.seed
    )
    if not counts.samples:
        raise InputError(f"{name}: data {table.data!r}: yielded no batch")
    for note in (*work.notes, *(batches.notes if batches else ())):
        say(f"note: {name}: {note}")
    return counts


def _data(folder: Path, table: ModelTable) -> DataOptions:
    """Files are relative to the settings; what is none is `pkg.mod:loader`."""
    from snnenergy.load import Cut, DataOptions
    from snnenergy.load.inputs import split_key

    here = str(folder / str(table.data))
    source = here if split_key(here)[0].exists() else str(table.data)
    return DataOptions(source, table.batch_size, Cut(table.limit))
