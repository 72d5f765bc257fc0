"""Turns a function into a command: whatever it raises becomes one screen on stderr and the exit code of the table."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import platform
import shlex
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from snnenergy.cli import output, overwriting
from snnenergy.errors import SnnEnergyError

OUR_BUG = 70
INTERRUPTED = 130
MAX_LINES, MAX_LINE = 20, 1000
"""Lines, and characters of a line: longer messages are cut, an error is one screen."""

Command = Callable[..., None]
DEBUG = inspect.Parameter(
    "debug",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
)


def command(app: typer.Typer, run: Command, name: str | None = None) -> None:
    """Adds `run` to the app: its errors translated, its dataclass parameters opened into their fields, and --debug."""
    hints = get_type_hints(run, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}

    @functools.wraps(run)
    def guarded(*, debug: bool = False, **arguments: Any) -> None:
        given = dict(arguments)
        for group, cls in groups.items():
            arguments[group] = cls(**{f.name: arguments.pop(f.name) for f in dataclasses.fields(cls)})
        code = _call(run, arguments, given, debug=debug)
        if code:
            raise typer.Exit(code)

    parameters = [p for own in inspect.signature(run).parameters.values() for p in _opened(own, hints[own.name])]
    guarded.__signature__ = inspect.Signature([*parameters, DEBUG])  # type: ignore[attr-defined]  # what Typer reads
    guarded.__annotations__ = {p.name: p.annotation for p in (*parameters, DEBUG)}
    app.command(name or run.__name__, help=flowing(run))(guarded)


def flowing(run: Command) -> str:
    """A docstring as the help shows it: paragraphs without the line breaks of the source."""
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(run) or "").split("\n\n"))


def _opened(parameter: inspect.Parameter, hint: Any) -> list[inspect.Parameter]:
    """The parameter itself, keyword-only; or one for each field of its dataclass."""
    if not dataclasses.is_dataclass(hint):
        return [parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)]
    hints = get_type_hints(hint, include_extras=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in dataclasses.fields(hint)
    ]


def _call(run: Command, arguments: dict[str, Any], given: dict[str, Any], *, debug: bool) -> int:
    """given: the arguments before their groups were made of them."""
    try:
        overwriting.check(given)
        run(**arguments)
        if sys.stdout is not None:
            with output.taking() as stdout:  # what the user's own code printed, too
                stdout.flush()
    except typer.Exit as leaving:
        return leaving.exit_code
    except SnnEnergyError as error:
        say(f"error: {error}")
        _trace(debug)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout left, as `| head` does: whoever reads the exit code gets no pass
        output.discard()
        return SnnEnergyError.exit_code
    except Exception as error:  # noqa: BLE001  # everything else is a bug of ours, and is named as one
        _bug(error, debug=debug)
        return OUR_BUG
    return 0


def say(message: str) -> None:
    """One diagnostic on stderr; control characters that came from a file are made visible."""
    from snnenergy.report.escape import plain

    cut = (line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} ..." for line in message.splitlines() or [""])
    lines = [plain(line) for line in cut]
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"... and {len(lines) - MAX_LINES} lines more"]
    print("snnenergy: " + "\n  ".join(lines), file=sys.stderr)


def _trace(debug: bool) -> None:
    """The traceback, its control characters visible: it quotes what files hold."""
    if debug:
        from snnenergy.report.escape import plain

        print("\n".join(map(plain, traceback.format_exc().splitlines())), file=sys.stderr)


def _bug(error: Exception, *, debug: bool) -> None:
    from snnenergy import __version__

    frame = traceback.extract_tb(error.__traceback__)[-1]
    again = "" if debug else "\nRun the command again with --debug for the traceback, and send it with the report."
    say(
        f"this is a bug in snnenergy, not in your model or your command: {type(error).__name__}: {error}\n"
        f"at: {os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}\n"
        f"version: snnenergy {__version__}, Python {platform.python_version()}, {platform.system()}\n"
        f"command: {shlex.join(['snnenergy', *sys.argv[1:]])}\n"
        "Please report these lines to the project's issue tracker; nothing that failed was written." + again
    )
    _trace(debug)
