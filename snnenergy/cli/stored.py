"""Commands that read stored Counts and nothing else: merge, diff; and the reading that other commands share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output
from snnenergy.cli.runner import command
from snnenergy.errors import CountsError, NotComparableError, UsageError

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.gate.difference import Change, Difference

SNIFFED = 256
"""Bytes that tell text from a model file."""


def register(app: typer.Typer) -> None:
    for run in (merge, diff):
        command(app, run)


def is_stored(path: Path) -> bool:
    """Whether a file is JSON or a page (Counts, a report) and not a model: told from its first bytes, not its name."""
    try:
        head = _head(path)
    except OSError:
        return False
    return b"\0" not in head and head[:1] in (b"{", b"[", b"<")


def read(path: Path) -> list[Counts]:
    """The Counts in a file: of a Counts file one, of a report all its models', named as the report names them."""
    from snnenergy.counts import Counts
    from snnenergy.report import document

    if not path.exists():
        raise CountsError(f"{path}: no such file")
    if not is_stored(path):
        raise CountsError(f"{path}: neither Counts nor a report; expected what `snnenergy profile --json` writes")
    if is_report(path):
        return [dataclasses.replace(counts, model=name) for name, counts in document.read(path).counts.items()]
    return [Counts.load(path)]


def is_report(path: Path) -> bool:
    """Whether a stored file is a report (JSON or page) and not Counts."""
    head = _head(path)
    return head.startswith(b"<") or b'"schema":' in head.replace(b" ", b"")


def _head(path: Path) -> bytes:
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
    first, *others = (read_one(path) for path in shards)
    output.deliver({"json": first.merge(*others).to_json()}, targets, table="")


def diff(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Counts before.")],
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Counts after.")],
    hardware: o.Hardware = None,
    json: o.Json = None,
) -> None:
    """What changed from one Counts file to another, per inference; priced on both sides with --hardware."""
    from snnenergy.gate import difference

    targets = output.check({"json": json})
    if not base.exists():
        raise NotComparableError(f"{base}: no such file; there is nothing to compare with")
    before, after = read_one(base), read_one(head)
    priced = tuple(_priced(before, after, hardware))
    changes = difference.between(before, after, priced=priced)
    documents = {"json": output.as_json(dataclasses.asdict(changes))} if json else {}
    output.deliver(documents, targets, _text(changes))


def _priced(before: Counts, after: Counts, hardware: list[str] | None) -> Iterator[Change]:
    """Energy and latency of both sides on each chip, with today's profile on both."""
    from snnenergy.cost import estimate
    from snnenergy.gate.difference import Change

    for name in o.chips(hardware, default=()):
        sides = [estimate(counts, name) for counts in (before, after)]
        for what, unit in (("energy", "J"), ("latency", "s")):
            base, head = (None if r is None else r.nominal for r in (getattr(side, what) for side in sides))
            yield Change(f"{what} on {sides[0].hardware}", base, head, unit)


def _text(changes: Difference) -> str:
    """Totals, then the layers that changed."""
    identity = "; ".join(changes.identity) or "same weights, structure, time steps and dtype"
    head = ("per inference", "base", "head", "change")
    layers = [(f"{path}: {row.name}", row) for path, rows in changes.layers.items() for row in rows]
    return "\n".join(
        [
            f"{changes.base} -> {changes.head}: {identity}",
            "",
            output.table(head, [_row(row.name, row) for row in (*changes.priced, *changes.totals)]),
            output.table(head, [_row(*pair) for pair in layers]) if layers else "No layer changed.",
        ]
    )


def _row(name: str, row: Change) -> tuple[str, ...]:
    from snnenergy.report import quantities as q

    ends = (q.quantity(end, row.unit) if row.unit else q.count(end) for end in (row.base, row.head))
    change = "0" if row.delta == 0 else "-" if row.share is None else f"{100 * row.share:+.3g} %"
    return (name, *ends, change)
