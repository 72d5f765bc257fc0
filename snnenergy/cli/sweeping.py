"""`snnenergy sweep`: many configurations, each counted once and kept, priced on any chip."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, overwriting
from snnenergy.cli.conventions import assumed
from snnenergy.cli.dataset import part
from snnenergy.cli.runner import command, say
from snnenergy.cli.watching import bar
from snnenergy.errors import CountsError, SnnEnergyError, UsageError

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.sweep.points import Point
    from snnenergy.sweep.results import Sweep
    from snnenergy.sweep.settings import Plan
    from snnenergy.sweep.store import Failure, Store

_COUNTING = "How points are counted"
TOP = 10
"""Rows of a chip's table, where nobody says how many."""


def register(app: typer.Typer) -> None:
    command(app, sweep)


@dataclass(frozen=True, slots=True)
class Counting:
    """Where counts are kept, and how the missing ones are made."""

    store: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Where counts are kept; several are read together, the first is written. Default: FILE's name with .counts.",
            rich_help_panel=_COUNTING,
        ),
    ] = None
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes; default: one per core.", rich_help_panel=_COUNTING),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only the I-th of N shards, in a job array.", rich_help_panel=_COUNTING),
    ] = None
    no_count: Annotated[
        bool,
        typer.Option("--no-count", help="Count nothing: show what the stores hold.", rich_help_panel=_COUNTING),
    ] = False


@dataclass(frozen=True, slots=True)
class Targets:
    """Where results are written, by format: a file, or `-` for stdout instead of the tables."""

    json: o.Json = None
    csv: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write one row per point and chip.", rich_help_panel=o.RESULTS)
    ] = None
    html: o.Html = None


def sweep(
    counting: Counting,
    targets: Targets,
    file: Annotated[Path | None, typer.Argument(metavar="SWEEP.YAML", help="Models, axes and chips.")] = None,
    hardware: Annotated[
        list[str] | None,
        typer.Option(metavar="CHIP[,CHIP...]", help=f"Instead of the file's chips; `{o.NO_CHIP}` shows the counts."),
    ] = None,
    profile_path: o.ProfilePath = None,
    batch: o.Batch = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Rows shown of each chip.")] = TOP,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file, and stop.")] = False,
) -> None:
    """Counts every combination of models, time steps, thresholds, encoders and precisions once, and prices them on chips.

    Counts are kept as they come: the same command goes on where a killed one stopped, and another chip counts nothing again.
    """
    from snnenergy.sweep import settings

    wanted = output.check({"json": targets.json, "csv": targets.csv, "html": targets.html})
    if schema:
        output.deliver({"json": output.as_json(settings.json_schema())}, {"json": targets.json or output.STDOUT}, "")
        return
    if file is None:
        raise UsageError(
            "sweep needs a file of models and axes, such as sweep.yaml; `snnenergy sweep --schema` describes it"
        )
    plan = settings.load(file)
    pricing = o.Pricing(hardware=hardware or _chips(plan), profile_path=profile_path, batch=batch)
    made = _swept(plan, counting, file, pricing, wanted)
    _deliver(made, wanted, top, file.name)
    if made.failures:
        raise typer.Exit(max(failure.exit_code for _, failure in made.failures))


def _chips(plan: Plan) -> list[str] | None:
    """Those of the file; paths in it are relative to it."""
    from snnenergy.gate.chips import is_file

    return [plan.path(word) if is_file(word) else word for word in plan.settings.hardware] or None


def _read(points: Sequence[Point]) -> set[str | None]:
    """Models, data and rates behind the points."""
    return {text for p in points for text in (p.task.source, p.task.factory, p.task.data, p.rates)}


def _swept(plan: Plan, counting: Counting, file: Path, pricing: o.Pricing, written: dict[str, str]) -> Sweep:
    from snnenergy.cost import validate
    from snnenergy.sweep import points, results
    from snnenergy.sweep.store import Store

    shard, shards = part(counting.shard)
    chips = pricing.profiles()
    every = points.expand(plan)
    overwriting.refuse(written.items(), _read(every))
    wanted = points.shard(every, shard, shards)
    store = Store.opened(counting.store or [file.with_suffix(".counts")])
    run = _Run(store, counting.jobs)
    try:
        with closing(run.counted(wanted, count=not counting.no_count)) as counted:  # closed: no process stays behind
            rows = results.priced(counted, chips, pricing.batch)
    except KeyboardInterrupt:
        say(f"{run.done} points were counted and are kept; the same command goes on from there")
        raise
    return results.Sweep(
        points=len(wanted),
        rows=tuple(rows),
        failures=tuple(run.failures),
        missing=tuple(run.missing),
        hardware=tuple(chip.name for chip in chips),
        axes=tuple(dict.fromkeys(axis for point in wanted for axis in point.values)),
        shard=counting.shard or "",
        bands={chip.name: validate.band(chip) for chip in chips},
    )


class _Run:
    """Counts of points as they become known, and what was in the way of others."""

    def __init__(self, store: Store, jobs: int | None) -> None:
        self.store, self.jobs = store, jobs
        self.failures: list[tuple[Point, Failure]] = []
        self.missing: list[Point] = []
        self.done = 0  # points counted in this run, whether they failed or not

    def counted(self, points: Sequence[Point], *, count: bool) -> Generator[tuple[Point, Counts], None, None]:
        """Stored counts first, then those that are missing, as they come."""
        absent: dict[str, list[Point]] = {}
        for point in points:
            if (counts := self._stored(point)) is None:
                absent.setdefault(point.digest, []).append(point)
            else:
                yield from self._rated(point, counts)
        if count:
            yield from self._fresh(absent)
        else:
            self._absent(absent)

    def _stored(self, point: Point) -> Counts | None:
        try:
            return self.store.counts(point.digest)
        except CountsError as error:
            say(f"note: {error}\nit is counted again")
            return None

    def _fresh(self, absent: dict[str, list[Point]]) -> Iterator[tuple[Point, Counts]]:
        from snnenergy.sweep import pool

        firsts = [points[0] for points in absent.values()]
        jobs = min(self.jobs or pool.cores(), len(firsts))
        with bar("counting", len(firsts), shown=True, of="points") as advance:
            for first, failure in pool.count(firsts, self.store.folders[0], jobs):
                self.done += 1
                advance(self.done)
                for point in absent[first.digest]:
                    if failure is not None:
                        self.failures.append((point, failure))
                    elif (counts := self.store.counts(point.digest)) is not None:
                        yield from self._rated(point, counts)

    def _absent(self, absent: dict[str, list[Point]]) -> None:
        for points in absent.values():
            failure = self.store.failure(points[0].digest)
            if failure is None:
                self.missing += points
            else:
                self.failures += [(point, failure) for point in points]

    def _rated(self, point: Point, counts: Counts) -> Iterator[tuple[Point, Counts]]:
        """With the rates that are assumed, where shapes were counted."""
        from snnenergy.sweep.store import Failure
        from snnenergy.sweep.words import of_the_file

        try:
            yield point, assumed(counts, None if point.rates is None else Path(point.rates), point.assume_rate)
        except SnnEnergyError as error:
            self.failures.append((point, Failure(of_the_file(str(error)), error.exit_code)))


def _deliver(made: Sweep, wanted: dict[str, str], top: int, name: str) -> None:
    from snnenergy.report import sweep as report
    from snnenergy.report import sweep_page

    documents = {
        "json": lambda: output.as_json(report.record(made)),
        "csv": lambda: report.csv(made),
        "html": lambda: sweep_page.render(made, name),
    }
    lines = output.told([report.headline(made)])
    for table in report.tables(made, top):
        lines += ["", *output.told([table.title]), report.drawn(table, output.width()).rstrip()]
    for texts in (report.standing(made), report.gaps(made)):
        lines += ["", *output.told(texts)] if texts else []
    output.deliver({form: documents[form]() for form in wanted}, wanted, "\n".join(lines).rstrip() + "\n")
