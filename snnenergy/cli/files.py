"""`snnenergy inspect`: what a model file holds, without running anything from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output
from snnenergy.cli.runner import command
from snnenergy.errors import UnsafeModelError

if TYPE_CHECKING:
    from snnenergy.load import Inspection


def register(app: typer.Typer) -> None:
    command(app, inspect)


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A model file of any kind.")], json: o.Json = None
) -> None:
    """What a model file holds, without running anything from it; exit 3 when `profile` would refuse it."""
    from snnenergy.load import inspect as look

    wanted = output.check({"json": json})
    found = look(file)
    documents = {"json": output.as_json(found.to_dict())} if json else {}
    output.deliver(documents, wanted, _text(found))
    if not found.loadable:
        raise typer.Exit(UnsafeModelError.exit_code)


def _text(found: Inspection) -> str:
    """Kind and size, what it would import, its layers, and what to do with it; names are escaped."""
    from snnenergy.report.escape import plain

    lines = [f"{found.path}: {found.kind}, {found.size_bytes:,} bytes, {found.parameters:,} parameters"]
    lines += [f"refused   {problem}" for problem in found.problems]
    lines += [f"note      {note}" for note in found.notes]
    if found.graph is not None:
        shapes = ((name, ["free" if n is None else n for n in shape]) for name, shape in found.graph.inputs.items())
        lines += [f"input     {name} {tuple(shape)}".replace("'", "") for name, shape in shapes]
        dense = "unknown: a size could not be read" if found.graph.dense_macs is None else f"{found.graph.dense_macs:,}"
        lines += [f"dense     {dense} MACs, every free size taken as 1"]
        lines += [f"not in it {op}" for op in found.graph.uncounted]
    tables = []
    if found.globals:
        rows = [(row.name, row.verdict, ", ".join(row.uses)) for row in found.globals]
        tables.append(output.table(("imports", "verdict", "used as"), rows, numbers=False))
    if found.modules:
        layers = [(row.path or "(root)", row.type, _shapes(row.shapes), f"{row.parameters:,}") for row in found.modules]
        tables.append(output.table(("layer", "type", "tensors", "parameters"), layers, numbers=False))
    end = [f"to profile it: {found.command}"] if found.command else []
    return "\n".join([*output.told(lines), "", *tables, *map(plain, end)]) + "\n"


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items())
