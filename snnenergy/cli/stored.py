"""What is read from stored Counts, reports and pages, for every command that takes them; and merge, which needs nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy import untrusted
from snnenergy.cli import output
from snnenergy.cli.runner import command
from snnenergy.errors import CountsError, UsageError

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.counts import Counts

SNIFFED = 256
"""Bytes that tell text from a model file."""


def register(app: typer.Typer) -> None:
    command(app, merge)


def is_stored(path: Path) -> bool:
    """Whether a file is JSON or a page (Counts, a report) and not a model: told from its first bytes, not its name."""
    try:
        head = _head(path)
    except OSError:
        return False
    return b"\0" not in head and head[:1] in (b"{", b"[", b"<")


def read(path: Path) -> list[Counts]:
    """The Counts in a file: of a Counts file one, of a report all its models', named as the report names them."""
    return list(whole(path).counts.values())


def whole(path: Path) -> Comparison:
    """A report as it was priced, with its profiles; or Counts, as a comparison of one model that nothing has priced."""
    from snnenergy.cost.records import Comparison
    from snnenergy.counts import Counts
    from snnenergy.report import document

    if not path.exists():
        raise CountsError(f"{path}: no such file")
    if not is_stored(path):
        raise CountsError(f"{path}: neither Counts nor a report; expected what `snnenergy profile --json` writes")
    if is_report(path):
        report = document.read(path)
        named = {name: dataclasses.replace(counts, model=name) for name, counts in report.counts.items()}
        return dataclasses.replace(report, counts=named)
    counts = Counts.load(path)
    return Comparison({counts.model: counts}, ())


def is_report(path: Path) -> bool:
    """Whether a stored file is a report (JSON or page) and not Counts."""
    head = _head(path)
    return head.startswith(b"<") or b'"schema":' in head.replace(b" ", b"")


def _head(path: Path) -> bytes:
    untrusted.regular(path)
    with path.open("rb") as file:
        return file.read(SNIFFED).removeprefix(b"\xef\xbb\xbf").lstrip()


def read_one(path: Path) -> Counts:
    """The Counts of a file that holds one model."""
    found = read(path)
    if len(found) != 1:
        raise UsageError(f"{path}: holds {len(found)} models; expected one")
    return found[0]


def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="COUNTS...", help="Counts of shards of one data set.")],
    json: Annotated[str, typer.Option("--json", metavar="FILE|-", help="Where the merged Counts go.")] = output.STDOUT,
) -> None:
    """Adds the Counts of shards: exactly the Counts of the whole."""
    targets = output.check({"json": json})
    first, *others = _once(shards)
    output.deliver({"json": first.merge(*others).to_json()}, targets, table="")


def _once(paths: list[Path]) -> list[Counts]:
    """The Counts of each file; CountsError where two that are no shards hold the same samples of one model."""
    found: dict[tuple[str, str, int], Path] = {}
    made = []
    for path in paths:
        counts = read_one(path)
        key = (counts.model, counts.conditions.inputs, counts.samples)
        if not counts.conditions.shards and all(key) and found.setdefault(key, path) is not path:
            raise CountsError(f"{path}: the same {counts.samples} samples as {found[key]}; each may be there once")
        made.append(counts)
    return made
