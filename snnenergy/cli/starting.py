"""`snnenergy init`: a first gate, written from one profiled model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, overwriting
from snnenergy.cli.gate import Config
from snnenergy.cli.gated import counted, is_factory
from snnenergy.cli.runner import command
from snnenergy.errors import CoverageError, UsageError

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.gate.settings import ModelTable, Project


def register(app: typer.Typer) -> None:
    command(app, init)


def init(
    reading: o.Reading,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="As in `profile`; or stored Counts.")] = None,
    hardware: Annotated[list[str] | None, o.hardware("loihi")] = None,
    config: Config = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the gate calls the model.")] = None,
    force: o.Force = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file, and stop.")] = False,
    json: o.Json = None,
) -> None:
    """Writes a first snnenergy.toml and baseline from one profiled model: limits a little above what it costs today."""
    from snnenergy.gate import baselines, chips, settings, starter

    target = Path(settings.FILE) if config is None else config
    wanted = output.check({"json": json, "config": None if schema else str(target)})
    if schema:
        output.deliver({"json": output.as_json(settings.json_schema())}, {"json": json or output.STDOUT}, "")
        return
    if not model:
        raise UsageError("init needs a MODEL to profile: a .pt2, .pt or .safetensors file, or pkg.mod:factory")
    output.keep(target, force=force)
    baseline = baselines.file_of(target.parent / starter.BASELINE, name or _stem(model))
    if baseline.exists() and not force:
        raise UsageError(f"{baseline}: is the baseline of another gate; pass another --name, or --force to replace it")
    overwriting.refuse([("config", str(target))], [model, *(reading.input or ()), *(reading.factory or ())])
    table = _table(model, reading, target.parent)
    counts = counted(_draft(target), name or _stem(model), table)
    words = o.chips(hardware, default=("loihi",))
    text = starter.render(counts, table.model_dump(exclude_defaults=True), chips.load(words, target.parent))
    _whole_count(counts)
    output.write(str(target), text)
    files = baselines.write(target.parent / starter.BASELINE, {counts.model: counts})
    documents = {"json": output.as_json({"config": str(target), "baseline": [str(f) for f in files]})} if json else {}
    written = "".join(f"written: {file}\n" for file in (target, *files))
    output.deliver(documents, wanted, f"{written}next: commit both, then: snnenergy check\n")


def _whole_count(counts: Counts) -> None:
    """A first gate on half a model would guard half a model."""
    from snnenergy.gate.compare import uncovered

    for problem in uncovered(counts, 100.0):
        raise CoverageError(f"{counts.model}: {problem.words}\nNothing was written: the gate demands all of it.")


def _draft(target: Path) -> Project:
    """Settings with nothing in them yet."""
    from snnenergy.gate.settings import Project, Settings
    from snnenergy.hardware.document import Document

    return Project(Settings(), Document(str(target), {}), target.parent)


def _table(model: str, reading: o.Reading, folder: Path) -> ModelTable:
    """The options as a table of the file, paths relative to its folder; what a file may not say is refused."""
    from snnenergy.gate.settings import ModelTable

    if reading.trust:
        raise UsageError("--trust is for one call and never stands in a file; save the model another way")
    reading.needs_values("init")
    told = reading.of(0, 1)
    factory, given = told["factory"], told["input"]
    shape = told["input_shape"]
    own = model if is_factory(model, Path()) else os.path.relpath(model, folder)
    return ModelTable.model_validate(
        {
            "source": None if factory else own,
            "factory": factory,
            "weights": own if factory else None,
            "input": None if given is None else os.path.relpath(str(given), folder),
            "input_shape": list(shape) if isinstance(shape, tuple) else None,
            "encode": reading.encode,
            "steps": reading.steps,
            "event_bin": reading.event_bin,
            "neurons": reading.roles(),
            "time_axis": reading.time_axis,
            "samples": reading.samples,
            "seed": reading.seed,
            "allow_class": list(reading.allow_class or ()),
        }
    )


def _stem(model: str) -> str:
    """What a model is called when nobody says: its file, or the function that makes it."""
    return model.rpartition(":")[2] if is_factory(model, Path()) else Path(model).stem
