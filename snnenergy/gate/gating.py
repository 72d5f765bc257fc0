"""The gate itself: counts, budgets and a baseline in, a Verdict out.  Pure: it reads files only where it is given paths."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import NotComparableError, UsageError
from snnenergy.gate import baselines, chips, settings
from snnenergy.gate.compare import compare, uncovered
from snnenergy.gate.difference import PROFILE
from snnenergy.gate.judge import Case, judge
from snnenergy.gate.settings import Budget, Placed, Project
from snnenergy.gate.verdict import Notice, Outcome, Problem, State, Verdict

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

StrPath = str | os.PathLike[str]
FULL = 100.0


def check(
    counts: Counts | Mapping[str, Counts] | Iterable[Counts],
    budgets: StrPath | Iterable[Budget | Mapping[str, Any]],
    baseline: Counts | Mapping[str, Counts] | StrPath | None = None,
    *,
    hardware: Sequence[str] = (),
    accuracy: Mapping[str, float] | None = None,
    min_coverage: float = FULL,
) -> Verdict:
    """Whether counts hold their budgets; `verdict.passed`, `.sentence`, `.outcomes`, `.require()`.

    counts: one model, several, or several by name
    budgets: a settings file (whose `hardware` and `baseline` hold too), or budgets as fields:
        [{"metric": "energy", "match": {"chip": "loihi"}, "max": "12 uJ"}]
    baseline: Counts of one model, of several by name, a Counts file, or a folder of `<model>.json`
    accuracy: shares by model, for budgets on accuracy; min_coverage: percent of the model that must be counted

    Raises UsageError for budgets that are wrong or match nothing; a broken budget is a verdict and raises nothing.
    """
    heads = _named(counts)
    if isinstance(budgets, str | os.PathLike):
        project = settings.read(Path(budgets))
        placed, folder = project.budgets, project.folder
        hardware = (*hardware, *project.settings.hardware)
        baseline = project.baseline if baseline is None else baseline
    else:
        placed, folder = [Placed(settings.budget(b)) for b in budgets], Path()
    bases = None if baseline is None else _bases(baseline, heads)
    profiles = chips.load(chips.needed(hardware, placed), folder)
    return verdict(heads, placed, bases, profiles, accuracy=accuracy or {}, min_coverage=min_coverage)


def verdict(
    heads: Mapping[str, Counts],
    budgets: Sequence[Placed],
    bases: Mapping[str, Counts] | None,
    profiles: Mapping[str, Profile],
    *,
    accuracy: Mapping[str, float],
    min_coverage: float = FULL,
    past: Mapping[str, Profile] | None = None,
    known: Collection[str] = (),
    gone: Collection[str] = (),
    notices: Sequence[Notice] = (),
    provenance: Sequence[str] = (),
    writer: str = "snnenergy check --update-baseline",
) -> Verdict:
    """`check` with everything read.

    past: profiles as they were with the baseline, by name of the chip; known: every model there is, judged or not
    gone: models that are no more; writer: the command that writes a missing baseline
    """
    for name in accuracy:
        if name not in heads and name not in known:
            raise UsageError(f"accuracy of {name!r}: no such model; there are {', '.join(heads)}")
    for name, head in heads.items():
        if not head.samples:
            raise UsageError(
                f"{name}: these counts hold no sample (an empty shard?): merge the shards and check the whole"
            )
    case = Case(heads, bases, profiles, accuracy, known=known, gone=gone)
    own = {chip.name: chip for chip in profiles.values()}
    models, comparable = [], dict(bases or {})
    for name, head in heads.items():
        base = comparable.get(name)
        problems = uncovered(head, min_coverage) + _missing(name, base, bases, budgets, writer)
        before = {} if base is None else _priced_then(base, past or {}, case)
        made = compare(name, head, base, own, case.prices, past=before, problems=problems)
        if made.difference is None:
            comparable.pop(name, None)
        models.append(made)
    if bases is not None:
        case = Case(heads, comparable, profiles, accuracy, known=known, gone=gone, prices=case.prices)
    outcomes, remarks = judge(case, budgets)
    outcomes += _as_before(case, budgets, past or {}, outcomes)
    return Verdict(tuple(outcomes), tuple(models), (*notices, *remarks), (*provenance, *_provenance(heads, own)))


def _priced_then(base: Counts, past: Mapping[str, Profile], case: Case) -> dict[str, list[tuple[str, float]]]:
    """What the baseline cost on profiles that have other figures today."""
    priced = {name: case.prices.of(base, chip).energy for name, chip in past.items()}
    return {name: [(f"{PROFILE} {name}", e.nominal)] for name, e in priced.items() if e is not None}


def _as_before(
    case: Case, budgets: Sequence[Placed], past: Mapping[str, Profile], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """What a profile that was changed along with the model would hide: budgets that break with its figures of the base."""
    words = {word: past[chip.name] for word, chip in case.chips.items() if chip.name in past}
    held = [(o.placed, o.model, o.chip) for o in outcomes if o.state is not State.BROKEN]
    limits = [p for p in budgets if p.budget.row.chip and any(chips.matches(p, *pair) for pair in words.items())]
    found, _ = judge(replace(case, chips=words), limits) if limits else ([], [])
    return [
        replace(o, words=f"{o.words} (with the profile of the base, which this branch changes)")
        for o in found
        if o.state is State.BROKEN and (o.placed, o.model, o.chip) in held
    ]


def _missing(
    name: str, base: Counts | None, bases: Mapping[str, Counts] | None, budgets: Sequence[Placed], writer: str
) -> tuple[Problem, ...]:
    """A baseline that is kept, or that a budget asks for, and that is not there."""
    from fnmatch import fnmatchcase

    asked = any(p.budget.max_increase is not None and fnmatchcase(name, p.budget.match.model) for p in budgets)
    if base is not None or (bases is None and not asked):
        return ()
    words = f"no baseline to compare with; write one with `{writer}` and commit it"
    return (Problem(NotComparableError, words),)


def strays(project: Project, models: Iterable[str]) -> list[Notice]:
    """Baselines that no model has any more: it was removed or renamed."""
    files = [] if project.baseline is None else baselines.strays(project.baseline, models)
    return [
        Notice("no such model", f"baseline {file.name}: its model was removed or renamed; delete it", str(file))
        for file in files
    ]


def _provenance(heads: Mapping[str, Counts], own: Mapping[str, Profile]) -> list[str]:
    """What a reader needs to do it again."""
    from snnenergy import __version__

    lines = [f"snnenergy {__version__}"]
    if own:
        lines.append("priced on " + ", ".join(f"{chip.name} ({chip.operating_point})" for chip in own.values()))
    tools = {", ".join(f"{k} {v}" for k, v in sorted(c.identity.versions.items())) for c in heads.values()}
    lines += [f"counted with {tool}" for tool in sorted(tools - {""})[:3]]
    samples = sorted({c.samples for c in heads.values()})
    return [*lines, f"samples: {', '.join(map(str, samples[:6]))}; counting rules {_rules(heads)}"]


def _rules(heads: Mapping[str, Counts]) -> str:
    return ", ".join(map(str, sorted({c.conditions.rules for c in heads.values()})))


def _named(counts: Counts | Mapping[str, Counts] | Iterable[Counts]) -> dict[str, Counts]:
    from snnenergy.counts import Counts

    if isinstance(counts, Counts):
        return {counts.model: counts}
    if isinstance(counts, Mapping):
        return dict(counts)
    rows = list(counts)
    named = {row.model: row for row in rows}
    if len(named) != len(rows):
        raise UsageError("two of the counts have the same model name; pass a mapping from names to counts")
    return named


def _bases(baseline: Counts | Mapping[str, Counts] | StrPath, heads: Mapping[str, Counts]) -> dict[str, Counts]:
    from snnenergy.counts import Counts

    if isinstance(baseline, Mapping):
        return dict(baseline)
    if not isinstance(baseline, Counts) and Path(baseline).is_dir():
        return baselines.read(Path(baseline), heads)
    if len(heads) != 1:
        raise UsageError(f"one baseline for {len(heads)} models; pass a folder, or a mapping from names to counts")
    if not isinstance(baseline, Counts) and not Path(baseline).exists():
        return {}
    return {next(iter(heads)): baseline if isinstance(baseline, Counts) else Counts.load(baseline)}
