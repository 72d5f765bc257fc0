"""`snnenergy diff`: what changed from one set of Counts to another, per inference."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, stored
from snnenergy.cli.runner import command
from snnenergy.errors import NotComparableError

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts
    from snnenergy.gate.difference import Change
    from snnenergy.gate.verdict import ModelReport, Verdict
    from snnenergy.hardware import Profile


def register(app: typer.Typer) -> None:
    command(app, diff)


@dataclass(frozen=True)
class _Stored:
    """Counts of a file by model, and what they cost when the file was written: joules by (model, chip)."""

    counts: dict[str, Counts]
    priced: dict[tuple[str, str], float]


def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Counts or a report before: a file, or REF:FILE of git.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="Counts or a report after.")],
    hardware: o.Hardware = None,
    budgets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Hold HEAD to the budgets of a snnenergy.toml; exit 1 if broken."),
    ] = None,
    json: o.Json = None,
) -> None:
    """What changed from one Counts file to another, per inference; priced on both sides with --hardware."""
    targets = output.check({"json": json})
    before, after = _paired(_read(base), _read(head))
    profiles = _profiles(hardware)
    reports = [_compared(name, before, after, profiles) for name in after.counts if name in before.counts]
    verdict = None if budgets is None else _held(budgets, before, after)
    lonely = {
        "removed": [m for m in before.counts if m not in after.counts],
        "added": [m for m in after.counts if m not in before.counts],
    }
    documents = {"json": output.as_json(_record(reports, lonely, verdict))} if json else {}
    shown = json != output.STDOUT
    output.deliver(documents, targets, _text(reports, lonely, verdict) if shown else "")
    if verdict is not None and not verdict.passed:
        raise typer.Exit(verdict.exit_code)


def _read(text: str) -> _Stored:
    """A file, or `REF:FILE`; NotComparableError where there is none, because then nothing can be compared."""
    path = Path(text)
    ref, _, inner = text.partition(":")
    if path.exists() or not inner:
        return _from(path, text)
    from snnenergy.gate.git import Commit

    found = Commit(ref, Path()).read([Path(inner)])
    if not found:
        raise NotComparableError(f"{text}: {ref} holds no such file; there is nothing to compare with")
    with tempfile.TemporaryDirectory() as folder:
        laid = Path(folder) / Path(inner).name
        laid.write_bytes(found[Path(inner)])
        return _from(laid, text)


def _from(path: Path, shown: str) -> _Stored:
    if not path.exists():
        raise NotComparableError(f"{shown}: no such file; there is nothing to compare with")
    if stored.is_stored(path) and stored.is_report(path):
        from snnenergy.report import document

        comparison = document.read(path)
        counts = {name: replace(found, model=name) for name, found in comparison.counts.items()}
        return _Stored(counts, _energies(comparison.estimates))
    counts = {found.model: found for found in stored.read(path)}
    return _Stored(counts, _energies(_beside(path)))


def _energies(estimates: Iterable[Estimate]) -> dict[tuple[str, str], float]:
    return {(row.model, row.hardware): row.energy.nominal for row in estimates if row.energy is not None}


def _beside(path: Path) -> Iterator[Estimate]:
    """The estimates that `profile --json` wrote beside its counts."""
    from snnenergy import counts_json
    from snnenergy.cost.records import Estimate

    beside: Any = counts_json.read(path)
    for i, row in enumerate(beside.get("estimates", ()) if isinstance(beside, dict) else ()):
        yield counts_json.plain_record(Estimate, row, f"{path}: estimates[{i}]")


def _paired(before: _Stored, after: _Stored) -> tuple[_Stored, _Stored]:
    """One model on each side is one pair, whatever their names; else they pair by name."""
    if len(before.counts) == len(after.counts) == 1:
        ((old, counts),) = before.counts.items()
        (name,) = after.counts
        before = _Stored({name: counts}, {(name, chip): joules for (_, chip), joules in before.priced.items()})
        if old != name:
            before = replace(before, counts={name: counts})
    return before, after


def _profiles(hardware: list[str] | None) -> dict[str, Profile]:
    names = o.chips(hardware, default=())
    if not names:
        return {}
    from snnenergy.hardware import load_hardware

    return {chip.name: chip for chip in map(load_hardware, names)}


def _compared(name: str, before: _Stored, after: _Stored, profiles: Mapping[str, Profile]) -> ModelReport:
    from snnenergy.gate.chips import Prices
    from snnenergy.gate.compare import compare

    then = {chip: joules for (model, chip), joules in before.priced.items() if model == name}
    made = compare(name, after.counts[name], before.counts[name], profiles, Prices(), then=then)
    for problem in made.problems:
        raise problem.error(f"{name}: {problem.words}")
    return made


def _held(budgets: Path, before: _Stored, after: _Stored) -> Verdict:
    from snnenergy.gate import check

    return check(after.counts, budgets, before.counts)


def _record(reports: list[ModelReport], lonely: Mapping[str, list[str]], verdict: Verdict | None) -> dict[str, Any]:
    from snnenergy.gate.formats import record

    models = {
        r.name: {
            **(asdict(r.difference) if r.difference else {}),
            "priced": [asdict(row) for row in r.priced],
            "causes": [asdict(row) for row in r.causes],
        }
        for r in reports
    }
    return {"models": models, **lonely, "verdict": None if verdict is None else record(verdict)}


def _text(reports: list[ModelReport], lonely: Mapping[str, list[str]], verdict: Verdict | None) -> str:
    from snnenergy.gate.formats import text

    blocks = [] if verdict is None else [text(verdict)]
    blocks += [_model(report) for report in reports]
    blocks += [f"{side}: {', '.join(names)}\n" for side, names in lonely.items() if names]
    return "\n".join(blocks)


def _model(report: ModelReport) -> str:
    """Why, the totals, then the layers that changed."""
    from snnenergy.gate.formats import aligned

    changes = report.difference
    assert changes is not None  # what cannot be compared was raised
    identity = "; ".join(changes.identity) or "same weights, structure, time steps and dtype"
    head = ("per inference", "base", "head", "change")
    layers = [(f"{path}: {row.name}", row) for path, rows in changes.layers.items() for row in rows]
    totals = [head, *(_row(row.name, row) for row in (*report.priced, *report.causes, *changes.totals))]
    changed = aligned([head, *(_row(*pair) for pair in layers)]) if layers else ["No layer changed."]
    start = [f"{changes.base} -> {changes.head}: {identity}", f"cause: {changes.origin}", ""]
    return "\n".join([*start, *aligned(totals), "", *changed]) + "\n"


def _row(name: str, row: Change) -> tuple[str, ...]:
    from snnenergy.report import quantities as q

    ends = (q.quantity(end, row.unit) if row.unit else q.count(end) for end in (row.base, row.head))
    change = "0" if row.delta == 0 else "-" if row.share is None else f"{100 * row.share:+.3g} %"
    return (name, *ends, change)
