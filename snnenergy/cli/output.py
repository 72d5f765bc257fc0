"""Where results go: a table on stdout, files whole or absent, `-` for one document on stdout instead of the table."""

from __future__ import annotations

import io
import json as json_text
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from snnenergy import whole
from snnenergy.errors import UsageError

STDOUT = "-"


def color() -> bool:
    """Colour only on a terminal that can show it, and never when NO_COLOR is set."""
    encoding = (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "")
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and encoding == "utf8"


def watched() -> bool:
    """Whether somebody looks at stdout: what goes into a pipe or a file is read by a program, or later."""
    return sys.stdout is not None and sys.stdout.isatty()


def width() -> int:
    """Columns of the terminal, or of COLUMNS; 80 where neither says."""
    return shutil.get_terminal_size((80, 24)).columns


def progress(message: str) -> None:
    """What is going on, on stderr, and only where somebody watches."""
    if sys.stderr.isatty():
        print(f"snnenergy: {message} ...", file=sys.stderr)


def check(targets: Mapping[str, str | None]) -> dict[str, str]:
    """The targets that were given, by format; UsageError before any work where one cannot be written."""
    _open()
    given = {form: target for form, target in targets.items() if target is not None}
    to_stdout = [form for form, target in given.items() if target == STDOUT]
    if len(to_stdout) > 1:
        raise UsageError(
            f"--{' and --'.join(form.replace('_', '-') for form in to_stdout)} all ask for stdout; give all but one a file"
        )
    files: dict[Path, str] = {}
    for form, target in given.items():
        if target == STDOUT:
            continue
        file = _resolved(target)
        if os.path.isdir(file):
            raise UsageError(f"{file}: is a folder; name a file in it")
        if not file.parent.is_dir():
            raise UsageError(f"{file}: the folder does not exist")
        if file in files:
            raise UsageError(f"{file}: two outputs would write it, --{files[file]} and --{form}")
        files[file] = form
        with _writing(target):
            whole.probe(target)
    return given


def check_folder(folder: Path) -> None:
    """UsageError before any work where no file could be written into a folder, or into the nearest above it that is there."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    with _writing(folder):
        whole.probe(there / "file")


def _resolved(target: str) -> Path:
    try:
        return Path(target).resolve()
    except (OSError, RuntimeError) as error:  # Python's own word for links that lead in a circle
        raise UsageError(f"{target}: cannot be written: its links lead in a circle") from error


def keep(file: Path, *, force: bool) -> None:
    """UsageError where a file that people go on to edit is there already, and nobody asked to replace it."""
    if file.exists() and not force:
        raise UsageError(f"{file}: is there already; edit it, or pass --force to replace it")


def deliver(documents: Mapping[str, str], targets: Mapping[str, str], table: str) -> None:
    """Writes each document to its target, then shows the table, unless a document took stdout."""
    for form, document in documents.items():
        if targets[form] != STDOUT:
            write(targets[form], document)
    taken = [document for form, document in documents.items() if targets[form] == STDOUT]
    if taken:
        emit(taken[0])
    else:
        show(table)


def show(text: str) -> None:
    """A result on stdout for people to read: as it is, or spelled in ASCII where stdout has not all its characters."""
    from snnenergy.report.escape import ascii_only

    encoding = getattr(_open(), "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = "\n".join(map(ascii_only, text.split("\n")))
    with taking() as stdout:
        print(text, end="" if text.endswith("\n") else "\n", file=stdout, flush=True)


def emit(document: str) -> None:
    """A document on stdout as it is in a file: UTF-8, whatever the terminal's own encoding."""
    text = document if document.endswith("\n") else f"{document}\n"
    with taking() as stdout:
        if not hasattr(stdout, "buffer"):  # a notebook's, or a test's
            print(text, end="", file=stdout)
            return
        stdout.flush()
        stdout.buffer.write(text.encode("utf-8"))
        stdout.buffer.flush()


@contextmanager
def taking() -> Iterator[TextIO]:
    """stdout; UsageError where it takes nothing more, as on a full disk.  A reader that left is the runner's to answer."""
    stdout = _open()
    try:
        yield stdout
    except BrokenPipeError:
        raise
    except OSError as error:
        discard()
        raise UsageError(f"stdout: cannot be written: {error.strerror}") from error


def discard() -> None:
    """What stdout still holds goes nowhere: Python would try to write it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open() -> TextIO:
    """UsageError where stdout was closed: a result that nobody gets is no pass."""
    if sys.stdout is None:
        raise UsageError("stdout is closed, and results go there; open it, or send it to /dev/null")
    return sys.stdout


def write(target: str, document: str | bytes) -> None:
    """A file, whole or absent; UsageError where it cannot be written."""
    with _writing(target):
        whole.write(target, document)


def append(target: str, text: str) -> None:
    """Text at the end of a file; UsageError where it cannot be written."""
    with _writing(target), open(target, "a", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def _writing(target: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error


def wrapped(text: str) -> list[str]:
    """Prose in lines no wider than the terminal."""
    return textwrap.wrap(text, width(), subsequent_indent="  ")


def told(texts: Iterable[str]) -> list[str]:
    """Sentences that may hold names of others, made harmless, in such lines."""
    from snnenergy.report.escape import plain

    return [line for text in texts for line in wrapped(plain(text))]


def titled(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> list[str]:
    """A table under its heading, an empty line before them."""
    return ["", *told([title]), table(head, rows, numbers=numbers).rstrip("\n")]


def as_json(value: object) -> str:
    """Plain values as JSON text, one value a line."""
    return json_text.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns of short words, one line a row, never folded; drawn by hand, because rich takes 1 ms a row."""
    from snnenergy.report.escape import plain

    lines = [tuple(head), *(tuple(map(plain, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """Aligned columns of plain text no wider than the terminal; `numbers`: all but the first are aligned to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from snnenergy.report.escape import plain

    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for i, title in enumerate(head):
        drawn.add_column(title, justify="right" if i and numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(plain(cell)) for cell in row))
    file = io.StringIO()
    Console(file=file, width=width(), color_system=None, _environ={}).print(drawn)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
