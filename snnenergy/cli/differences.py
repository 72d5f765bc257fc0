"""`snnenergy diff`: what changed from one set of Counts to another, per inference."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, stored
from snnenergy.cli.runner import command, say
from snnenergy.errors import BudgetError, CountsError, NotComparableError

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
    """Counts of a file by model, and what they cost when the file was written: estimates by (model, chip), on which profiles."""

    counts: dict[str, Counts]
    priced: dict[tuple[str, str], Estimate]
    profiles: dict[str, Profile] = field(default_factory=dict)

    def options(self) -> dict[str, dict[str, str]]:
        """How inferences ran, by chip: one comparison runs all its models alike."""
        return {chip: row.options for (_, chip), row in self.priced.items()}


def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Counts or a report before: a file, or REF:FILE of git.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="Counts or a report after.")],
    hardware: Annotated[list[str] | None, o.hardware("those that HEAD holds, else BASE")] = None,
    budgets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Hold HEAD to the budgets of a snnenergy.toml; exit 1 if broken."),
    ] = None,
    json: o.Json = None,
) -> None:
    """What changed from one Counts file or report to another, per inference.

    Both are priced with the profiles that HEAD holds (`profile --json`, reports, pages); --hardware takes today's.
    """
    targets = output.check({"json": json})
    before, after = _paired(_read(base), _read(head))
    profiles = _profiles(hardware, before, after)
    verdict = None if budgets is None else _held(budgets, before, after)
    compared = [_compared(name, before, after, profiles) for name in after.counts if name in before.counts]
    if verdict is None or verdict.exit_code != BudgetError.exit_code:  # which says both
        _comparable(compared)
    reports = [report for report in compared if report.difference is not None]
    moved = {name: row for name, chip in profiles.items() if (row := _moved(before.profiles.get(name), chip))}
    lonely = {
        "removed": [m for m in before.counts if m not in after.counts],
        "added": [m for m in after.counts if m not in before.counts],
    }
    documents = {"json": output.as_json(_record(reports, moved, lonely, verdict))} if json else {}
    shown = json != output.STDOUT
    output.deliver(documents, targets, _text(reports, moved, lonely, verdict) if shown else "")
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
    side = stored.whole(path)
    estimates, profiles = (side.estimates, side.profiles) if stored.is_report(path) else _beside(path)
    priced = {(row.model, row.hardware): row for row in estimates if row.energy is not None}
    kept = {chip.name: chip for chip in profiles}
    if alone := sorted({chip for _, chip in priced} - set(kept)):
        say(f"note: {shown}: holds prices on {', '.join(alone)} without the profiles (an older snnenergy wrote it)")
    return _Stored(side.counts, priced, kept)


def _beside(path: Path) -> tuple[tuple[Estimate, ...], tuple[Profile, ...]]:
    """What `profile --json` wrote beside its counts."""
    from snnenergy import counts_json
    from snnenergy.report import document

    try:
        return document.priced(counts_json.read(path))
    except CountsError as error:
        raise CountsError(f"{path}: {error}") from error


def _paired(before: _Stored, after: _Stored) -> tuple[_Stored, _Stored]:
    """One model on each side is one pair, whatever their names; else they pair by name."""
    if len(before.counts) == len(after.counts) == 1:
        ((old, counts),) = before.counts.items()
        (name,) = after.counts
        if old != name:
            priced = {(name, chip): row for (_, chip), row in before.priced.items()}
            before = replace(before, counts={name: counts}, priced=priced)
    return before, after


def _profiles(hardware: list[str] | None, before: _Stored, after: _Stored) -> dict[str, Profile]:
    """Those of the head; the base's own where only it was priced; none for two files of bare Counts."""
    kept = after.profiles or before.profiles
    if hardware is None and not kept:
        return {}
    return {chip.name: chip for chip in o.Pricing(hardware).profiles(kept.values())}


def _moved(base: Profile | None, head: Profile) -> list[Change]:
    """The figures of a chip that are not what they were."""
    from snnenergy.gate.difference import figures

    return [] if base is None else list(figures(base, head))


def _compared(name: str, before: _Stored, after: _Stored, profiles: Mapping[str, Profile]) -> ModelReport:
    from snnenergy.gate.chips import Prices
    from snnenergy.gate.compare import compare

    options = before.options() | after.options()
    past = {chip: list(_past(name, chip, before, options.get(chip, {}))) for chip in profiles}
    return compare(name, after.counts[name], before.counts[name], profiles, Prices(options), past=past)


def _comparable(reports: list[ModelReport]) -> None:
    for report in reports:
        for problem in report.problems:
            raise problem.error(f"{report.name}: {problem.words}")


def _past(model: str, chip: str, before: _Stored, options: Mapping[str, str]) -> Iterator[tuple[str, float | None]]:
    """What the base's counts cost, each with what made the next differ: in its file; priced today; run as the head is."""
    from snnenergy.cost.price import again
    from snnenergy.gate.difference import PROFILE, TOOL

    row = before.priced.get((model, chip))
    if row is None or row.energy is None:
        return
    held = before.profiles.get(chip)
    if held is None:
        yield f"{PROFILE} {chip} or {TOOL}", row.energy.nominal
        return
    today, alike = (again(before.counts[model], held, ways).energy for ways in (row.options, options))
    yield f"{TOOL} (pricing) on {chip}", row.energy.nominal
    yield f"pricing options {chip}", None if today is None else today.nominal
    yield f"{PROFILE} {chip}", None if alike is None else alike.nominal


def _held(budgets: Path, before: _Stored, after: _Stored) -> Verdict:
    from snnenergy.gate import check

    return check(after.counts, budgets, before.counts)


def _record(
    reports: list[ModelReport],
    moved: Mapping[str, list[Change]],
    lonely: Mapping[str, list[str]],
    verdict: Verdict | None,
) -> dict[str, Any]:
    from snnenergy.gate.formats import record

    models = {
        r.name: {
            **(asdict(r.difference) if r.difference else {}),
            "priced": [asdict(row) for row in r.priced],
            "causes": [asdict(row) for row in r.causes],
        }
        for r in reports
    }
    profiles = {chip: [asdict(row) for row in rows] for chip, rows in moved.items()}
    return {"models": models, "profiles": profiles, **lonely, "verdict": None if verdict is None else record(verdict)}


def _text(
    reports: list[ModelReport],
    moved: Mapping[str, list[Change]],
    lonely: Mapping[str, list[str]],
    verdict: Verdict | None,
) -> str:
    from snnenergy.gate.formats import aligned, text

    blocks = [] if verdict is None else [text(verdict)]
    blocks += [_model(report) for report in reports]
    for chip, rows in moved.items():
        head = (f"figures of {chip}", "base", "head", "change")
        blocks.append("\n".join(aligned([head, *(_row(row.name, row) for row in rows)])) + "\n")
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
    priced = [row for row in report.priced if not row.base is row.head is None]
    totals = [head, *(_row(row.name, row) for row in (*priced, *report.causes, *changes.totals))]
    none = "No layer changed in these figures." if changes.cause else "No layer changed."
    changed = aligned([head, *(_row(*pair) for pair in layers)]) if layers else [none]
    start = [f"{changes.base} -> {changes.head}: {identity}", f"cause: {changes.origin}", ""]
    return "\n".join([*start, *aligned(totals), "", *changed]) + "\n"


def _row(name: str, row: Change) -> tuple[str, ...]:
    from snnenergy.report import quantities as q

    ends = (q.quantity(end, row.unit) if row.unit else q.count(end) for end in (row.base, row.head))
    change = "0" if row.delta == 0 else "-" if row.share is None else f"{100 * row.share:+.3g} %"
    return (name, *ends, change)
