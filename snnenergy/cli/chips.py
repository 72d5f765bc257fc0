"""`snnenergy hardware`: the chips that are known, and what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output
from snnenergy.cli.runner import command
from snnenergy.errors import ProfileError

if TYPE_CHECKING:
    from snnenergy.hardware import Profile

app = typer.Typer(no_args_is_help=True, help="Hardware profiles: list, show, lint, schema.")


def show_all(json: o.Json = None) -> None:
    """The chips that can be named, one a line."""
    from snnenergy.hardware import list_hardware

    targets = output.check({"json": json})
    chips = list_hardware()
    rows = [(c.name, c.title, c.family, c.node, ", ".join(c.aliases)) for c in chips]
    head = ("name", "title", "family", "node", "aliases")
    documents = {"json": output.as_json([c.model_dump(mode="json") for c in chips])} if json else {}
    output.deliver(documents, targets, output.table(head, rows, numbers=False))


def show(
    name: Annotated[str, typer.Argument(metavar="CHIP", help="A name, an alias or a YAML path.")], json: o.Json = None
) -> None:
    """Every figure of a chip with its range, how it is known and its source; and what is unknown."""
    from snnenergy.hardware import load_hardware

    targets = output.check({"json": json})
    chip = load_hardware(name)
    documents = {"json": output.as_json(chip.model_dump(mode="json"))} if json else {}
    output.deliver(documents, targets, _described(chip))


def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Profile YAML files.")], json: o.Json = None
) -> None:
    """Checks profile files: each thing that is wrong as file:line:col; exit 2 when there is one."""
    from snnenergy.hardware import lint as check

    targets = output.check({"json": json})
    found = [finding for file in files for finding in check(file)]
    documents = (
        {"json": output.as_json([{"where": f.where, "key": f.key, "message": f.message} for f in found])}
        if json
        else {}
    )
    output.deliver(documents, targets, "".join(f"{finding}\n" for finding in found) or f"{len(files)} sound\n")
    if found:
        raise typer.Exit(ProfileError.exit_code)


def schema(
    json: Annotated[str, typer.Option("--json", metavar="FILE|-", help="Where the schema goes.")] = output.STDOUT,
) -> None:
    """The JSON Schema of a profile file, for editors."""
    from snnenergy.hardware import json_schema

    targets = output.check({"json": json})
    output.deliver({"json": output.as_json(json_schema())}, targets, table="")


def _described(chip: Profile) -> str:
    from snnenergy.hardware.figures import Figure
    from snnenergy.report import quantities as q

    rows = []
    for place, figure in chip.figures().items():
        unit = figure.dimension if isinstance(figure, Figure) else ""
        spread = (
            f"[{q.quantity(figure.low, unit)}, {q.quantity(figure.high, unit)}]"
            if isinstance(figure, Figure) and figure.spread
            else ""
        )
        value = q.quantity(figure.value, unit) if isinstance(figure, Figure) else str(figure.value)
        rows.append((place, value, spread, figure.how, figure.source))
    charges = ", ".join(
        f"{domain}: {getattr(chip.charges, domain)}" for domain in ("spike", "ternary", "graded", "analog")
    )
    lines = [f"{chip.name}: {chip.title} ({chip.family}, {chip.node})", chip.summary, "", f"charges   {charges}", ""]
    lines += [output.table(("figure", "value", "range", "how", "source"), rows, numbers=False)]
    lines += [f"unknown   {name}: {effect}" for name, effect in chip.unknown.items()]
    lines += [f"assumed   {assumption}" for assumption in chip.assumptions]
    lines += [
        f"source    {key}: {' '.join(filter(None, (s.authors, s.title, s.doi or s.url)))}"
        for key, s in chip.sources.items()
    ]
    return "\n".join(lines) + "\n"


command(app, show_all, "list")
for run in (show, lint, schema):
    command(app, run)
