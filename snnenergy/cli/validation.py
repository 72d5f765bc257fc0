"""`snnenergy validate`: published measurements of real chips, predicted again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output
from snnenergy.cli.runner import command, say
from snnenergy.errors import BudgetError, UsageError


def register(app: typer.Typer) -> None:
    command(app, validate)


def validate(
    hardware: Annotated[
        list[str] | None,
        typer.Option("--hardware", metavar="CHIP[,CHIP...]", help="Only these; default: all with a row."),
    ] = None,
    json: o.Json = None,
    markdown: o.Markdown = None,
) -> None:
    """Predicts every published measurement that can be rebuilt; exit 1 when one misses by more than its tolerance."""
    from snnenergy.cost import validate as validation
    from snnenergy.hardware import load_hardware
    from snnenergy.hardware.quantity import show

    wanted = output.check({"json": json, "markdown": markdown})
    names = {load_hardware(name).name for name in o.chips(hardware, default=())}
    rows = tuple(row for row in validation.run() if not names or row.hardware in names)
    if not rows:
        raise UsageError(f"no published measurement that {', '.join(sorted(names))} should predict")
    made = {
        "json": lambda: output.as_json([asdict(row) | {"ratio": row.ratio, "passed": row.passed} for row in rows]),
        "markdown": lambda: validation.markdown(rows),
    }
    head = ("workload", "chip", "quantity", "predicted", "measured", "ratio", "standing")
    cells = [
        (
            r.workload,
            r.hardware,
            r.quantity,
            show(r.predicted.nominal, r.unit),
            show(r.measured, r.unit),
            f"{r.ratio:.3f}",
            r.standing,
        )
        for r in rows
    ]
    output.deliver({form: made[form]() for form in wanted}, wanted, output.table(head, cells, numbers=False))
    if missed := [row for row in rows if not row.passed]:
        for row in missed:
            say(
                f"outside: {row.title} on {row.hardware}: {row.quantity} is {row.ratio:.3f} of the measured value, tolerance {row.tolerance}"
            )
        raise typer.Exit(BudgetError.exit_code)
