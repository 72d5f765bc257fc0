"""From a finished comparison to what the user asked for: one table of formats, one file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.cli import output, training
from snnenergy.cli.options import RESULTS, Html, Json, Markdown
from snnenergy.cli.spreads import lines as spread_lines
from snnenergy.errors import UsageError
from snnenergy.report.escape import plain

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.cost.spread import Spread
    from snnenergy.trace.witness import WitnessReport

_LOOK = "What the report shows"


@dataclass(frozen=True, slots=True)
class Targets:
    """Where a report is written, by format: a file, or `-` for stdout instead of the table."""

    json: Json = None
    html: Html = None
    markdown: Markdown = None
    csv: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write one row per model and chip.", rich_help_panel=RESULTS)
    ] = None
    layers_csv: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write one row per layer, too.", rich_help_panel=RESULTS)
    ] = None
    latex: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write a booktabs table.", rich_help_panel=RESULTS)
    ] = None

    def checked(self) -> dict[str, str]:
        """Those that were given, by format; UsageError before any work where one cannot be written."""
        wanted = output.check({form.name: getattr(self, form.name) for form in fields(self)})
        if "html" in wanted:
            from snnenergy.report import sealed

            sealed.prepared()
        return wanted


@dataclass(frozen=True, slots=True)
class Look:
    """Which rows and charts a report shows."""

    depth: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Fold layers to this depth of their path.", rich_help_panel=_LOOK),
    ] = None
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Order of layers: energy, macs, acs, name ...", rich_help_panel=_LOOK),
    ] = None
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Only the first N layers, the others as one row; 0: all. Default: all, on a terminal the 12 that cost most.",
            rich_help_panel=_LOOK,
        ),
    ] = None
    accuracy: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=SHARE", help="Adds energy against accuracy, 0 to 1.", rich_help_panel=_LOOK),
    ] = None
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the charts there.", rich_help_panel=_LOOK)
    ] = None
    figure_format: Annotated[
        str | None,
        typer.Option(metavar="svg|png|pdf", help="File format of the charts; default svg.", rich_help_panel=_LOOK),
    ] = None

    def checked(self) -> None:
        """UsageError before any work where there is no folder for the charts, or a format of none."""
        if self.figure_format is not None and self.figures is None:
            raise UsageError("--figure-format: goes with --figures FOLDER")
        if self.figures is not None and not self.figures.is_dir():
            raise UsageError(f"--figures {self.figures}: no such folder")
        if self.figures is not None:
            output.check_folder(self.figures)

    @property
    def rows(self) -> dict[str, Any]:
        """What the layer tables are told."""
        return {"depth": self.depth, "sort": self.sort, "top": self.top or None}

    def accuracies(self) -> dict[str, float]:
        return dict(_share(text) for text in self.accuracy or ())


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.rpartition("=")
    try:
        if name and 0 <= float(share) <= 1:
            return name, float(share)
    except ValueError:
        pass
    raise UsageError(f"--accuracy: expected MODEL=SHARE with a share from 0 to 1, such as snn=0.98; found {text!r}")


def formats(
    look: Look, *, alone: bool = False, witness: WitnessReport | None = None, spreads: Sequence[Spread] = ()
) -> dict[str, Callable[[Comparison], str]]:
    """Every format a report can be written in: a record in, text out.  A new format is one row here and in Targets."""
    from snnenergy.report import document, html, latex, markdown, tables

    return {
        "json": partial(_one, witness=witness, spreads=spreads) if alone else document.to_json,
        "html": html.render,
        "markdown": lambda comparison: markdown.render(comparison, **look.rows),
        "csv": tables.csv,
        "layers_csv": tables.layers_csv,
        "latex": latex.render,
    }


def _one(comparison: Comparison, *, witness: WitnessReport | None = None, spreads: Sequence[Spread] = ()) -> str:
    """The JSON of one model: its Counts as they are; beside them its price, the second witness and spreads over samples."""
    from snnenergy.report import document

    record = document.record(comparison)
    (counts,) = record["counts"].values()
    beside: dict[str, Any] = {} if witness is None else {"witness": witness.to_dict()}
    if spreads:
        beside["spread"] = [asdict(s) for s in spreads]
    price = {name: record[name] for name in document.PRICE}
    return output.as_json({**counts, **price, **beside})


def deliver(
    comparison: Comparison,
    wanted: Mapping[str, str],
    look: Look,
    *,
    alone: bool = False,
    table: str | None = None,
    witness: WitnessReport | None = None,
    spreads: Sequence[Spread] = (),
) -> None:
    """Renders everything that was asked for, then writes it, then shows the table: the whole report, or the one given."""
    from snnenergy.cost.training import of_training

    shares = look.accuracies()
    if unknown := set(shares) - set(comparison.models):
        raise UsageError(f"--accuracy: no model {min(unknown)!r}; there are {', '.join(comparison.models)}")
    comparison = replace(comparison, accuracy={**comparison.accuracy, **shares})
    known = formats(look, alone=alone, witness=witness, spreads=spreads) if wanted else {}
    if of_training(comparison.counts):
        training.check(wanted, look)
        training.deliver(comparison, wanted, known)
        return
    documents = {form: known[form](comparison) for form in wanted}
    table = _table(comparison, look, alone=alone) if table is None else table
    if witness is not None:
        table = "\n".join([table.rstrip("\n"), "", *map(plain, witness.lines())]) + "\n"
    if spreads:
        table = "\n".join([table.rstrip("\n"), "", *spread_lines(spreads)]) + "\n"
    for target, content in _figures(comparison, look).items():
        output.write(target, content)
    output.deliver(documents, wanted, table)


def brief(comparison: Comparison) -> str:
    """One table, model by chip: what the demo shows; the whole report is in its files."""
    from snnenergy.report import quantities as q
    from snnenergy.report import summary

    rows = [
        (e.model, e.hardware, summary.energy(e), q.interval(e.energy, "J"), q.quantity(time, "s"), e.verdict)
        for e in comparison.estimates
        for time in [None if e.latency is None else e.latency.nominal]
    ]
    head = ("model", "chip", "energy", "low, high", "latency", "in short")
    return "\n".join([*output.wrapped(summary.headline(comparison)), "", output.table(head, rows, numbers=False)])


def _table(comparison: Comparison, look: Look, *, alone: bool) -> str:
    from snnenergy.report import terminal

    brief = look.top is None and output.watched()  # what is piped is whole
    room: dict[str, Any] = {"width": output.width(), "color": output.color(), "brief": brief}
    if comparison.estimates or not alone:
        return terminal.render(comparison, **room, **look.rows)
    (counts,) = comparison.counts.values()
    return terminal.render_counts(counts, **room, **look.rows)


def _figures(comparison: Comparison, look: Look) -> dict[str, bytes]:
    """Path to content of every chart, where charts were asked for."""
    if look.figures is None:
        return {}
    from snnenergy.report import figures

    made = figures.render(comparison, look.figure_format or "svg")
    return {str(look.figures / name): content for name, content in made.items()}
