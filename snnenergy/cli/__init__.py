"""The command line, and the only room that prints: stdout is the result, stderr is progress and diagnostics.

    runner      turns a function into a command: errors become one screen and an exit code
    options     the options that commands share      output      the terminal, files whole or absent, stdout
    overwriting an output is no file that is read
    delivery    the formats of a report              models      profile, compare, report, demo
    stored      merge: Counts files only             files       inspect
    dataset     profile --data                       watching    its progress bar, and Ctrl-C
    spreads     --per-sample, --until-ci
    gate        check                                gated       one model of its settings, counted
    starting    init
    differences diff
    chips       hardware list, show, lint, init, schema
    validation  validate
    measuring   calibrate, measure
    conversion  convert-estimate                     training    profile --mode train
    payback     payback                              sweeping    sweep
    conventions conventions list, show, reproduce; --convention, --all-conventions, --rates, --check-claims

Rooms are imported inside the commands: `--help`, and every command that reads only Counts, starts without torch.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from snnenergy.cli import (
    chips,
    conventions,
    conversion,
    differences,
    files,
    gate,
    measuring,
    models,
    payback,
    starting,
    stored,
    sweeping,
    validation,
)
from snnenergy.cli.runner import INTERRUPTED, flowing

app = typer.Typer(
    name="snnenergy",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (models, conversion, payback, sweeping, gate, differences, starting, stored, files, validation, measuring):
    room.register(app)
app.add_typer(chips.app, name="hardware")
app.add_typer(conventions.app, name="conventions")


def _version(wanted: bool) -> None:
    if wanted:
        from snnenergy import __version__

        print(f"snnenergy {__version__}")
        raise typer.Exit


def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What one inference of a model costs in energy and time on a named chip: ANNs and SNNs, every constant cited.

    Exit codes: 0 done; 1 a budget broken or outside the validated band; 2 usage, input or profile error; 3 model file
    refused; 4 coverage too low; 5 baseline missing or not comparable; 70 a bug of snnenergy; 130 interrupted.
    """


app.callback(help=flowing(_front))(_front)


def _standing_in() -> None:
    """Descriptors that the caller closed are taken, so that no file of ours becomes stdout; what is told on stderr is lost."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process


def main() -> None:
    """The entry point of the `snnenergy` command."""
    _standing_in()
    try:
        app()
    except KeyboardInterrupt:  # before or after a command; within one, the runner answers
        sys.exit(INTERRUPTED)
