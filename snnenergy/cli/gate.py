"""`snnenergy check`: models held to their energy budgets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, overwriting, stored
from snnenergy.cli.delivery import Look
from snnenergy.cli.gated import counted
from snnenergy.cli.runner import command, say
from snnenergy.errors import CoverageError, UsageError, near

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.gate.settings import Project
    from snnenergy.gate.verdict import Verdict
    from snnenergy.hardware import Profile

SUMMARY = "GITHUB_STEP_SUMMARY"
_LOGS = ("text", "github")
"""Formats that may share stdout: both are lines of a log."""
_GATE = "The gate"

Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Budgets; default: snnenergy.toml, or \\[tool.snnenergy] of pyproject.toml, here."
    ),
]


def register(app: typer.Typer) -> None:
    command(app, check)


@dataclass(frozen=True, slots=True)
class Forms:
    """Which formats a verdict is written in."""

    format: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORM[=FILE]",
            help="text, json, markdown, github or junit; several at once, each to a file or to stdout. Default: text.",
            rich_help_panel=o.RESULTS,
        ),
    ] = None
    json: o.Json = None

    def targets(self) -> list[tuple[str, str]]:
        """(format, file or `-`), checked before any work."""
        from snnenergy.gate.formats import FORMATS

        found = [tuple(part.partition("=")[::2]) for text in self.format or () for part in text.split(",")]
        made = [(form.strip(), file or output.STDOUT) for form, file in found]
        made += [("json", self.json)] if self.json else []
        for form, _ in made:
            if form not in FORMATS:
                raise UsageError(f"--format: no such format {form!r}{near(form, FORMATS)}")
        made = made if any(file == output.STDOUT for _, file in made) else [("text", output.STDOUT), *made]
        alone = [form for form, file in made if file == output.STDOUT]
        if len(alone) > 1 and not set(alone) <= set(_LOGS):
            raise UsageError(f"--format: {' and '.join(alone)} all go to stdout; give all but one a file: json=FILE")
        output.check({f"format {form}={file}": file for form, file in made if file != output.STDOUT})
        return made


@dataclass(frozen=True, slots=True)
class Gate:
    """What is held against what."""

    config: Config = None
    model: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only these models.", rich_help_panel=_GATE)
    ] = None
    base_ref: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Take budgets and baseline from this commit too, so that no pull request raises its own limit.",
            rich_help_panel=_GATE,
        ),
    ] = None
    update_baseline: Annotated[
        bool,
        typer.Option("--update-baseline", help="Write the counts as the new baseline.", rich_help_panel=_GATE),
    ] = False
    accuracy: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=SHARE", help="For budgets on accuracy, 0 to 1.", rich_help_panel=_GATE),
    ] = None


def check(
    gate: Gate,
    forms: Forms,
    counts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COUNTS...]", help="Counts or report JSON, instead of running those models."),
    ] = None,
    min_coverage: o.MinCoverage = 100.0,
) -> None:
    """Holds models to their energy budgets; exit 1 when one is broken, 5 when the baseline is missing or not comparable."""
    from snnenergy.gate import chips, settings

    targets = forms.targets()
    if gate.update_baseline and gate.base_ref:
        raise UsageError(
            "--update-baseline writes this branch's baseline, --base-ref reads another's: give one of them"
        )
    config = settings.find() if gate.config is None else gate.config
    project = settings.read(config)
    overwriting.refuse(targets, [config, *_read(project)])
    _writable(gate, project, targets)
    profiles = chips.load(chips.needed(project.settings.hardware, project.budgets), project.folder)
    known, heads = _heads(project, counts or [], gate.model)
    demanded = 0.0 if min_coverage is None else min_coverage
    if gate.update_baseline:
        _updatable(project, heads, demanded)
    verdict = _judged(gate, project, config, profiles, known, heads, demanded)
    if gate.update_baseline:
        _update(project, heads)
    _deliver(verdict, targets)
    if not verdict.passed:
        raise typer.Exit(verdict.exit_code)


def _writable(gate: Gate, project: Project, targets: Sequence[tuple[str, str]]) -> None:
    """UsageError before any work where the step summary or the baseline cannot be written."""
    if summary := _summary(targets):
        output.append(summary, "")
    if gate.update_baseline and project.baseline is not None:
        output.check_folder(project.baseline)


def _read(project: Project) -> Iterator[str | Path]:
    """What the settings say is read: paths of files, and code by its name."""
    for model in project.settings.models.values():
        for text in (model.source, model.weights, model.input, model.data):
            yield from () if text is None else (project.folder / text, text)
        yield from () if model.factory is None else (model.factory,)
    if project.baseline is not None:
        yield from project.baseline.glob("*.json")


def _judged(
    gate: Gate,
    project: Project,
    config: Path,
    profiles: dict[str, Profile],
    known: list[str],
    heads: Mapping[str, Counts],
    min_coverage: float,
) -> Verdict:
    from snnenergy.gate import against, baselines, chips, gating

    accuracy = Look(accuracy=gate.accuracy).accuracies()
    if gate.base_ref is None:
        bases: Mapping[str, Counts] | None = heads  # an update judges what it will write
        if not gate.update_baseline:
            bases = None if project.baseline is None else baselines.read(project.baseline, heads)
        return gating.verdict(
            heads, project.budgets, bases, profiles,
            accuracy=accuracy, min_coverage=min_coverage, known=known, notices=gating.strays(project, known),
            provenance=[f"budgets: {config}; baseline: {project.settings.baseline or 'none'}"],
        )  # fmt: skip  # a call, read across
    base = against.read(gate.base_ref, config, project, profiles, tuple(known))
    profiles |= chips.load(chips.needed(base.hardware, base.budgets), project.folder)
    return gating.verdict(
        heads, base.budgets, base.baselines, profiles,
        accuracy=accuracy, min_coverage=min_coverage, past=base.past, known=known, gone=base.gone, notices=base.notices,
        provenance=[f"budgets and baseline: {config} of {gate.base_ref} ({base.commit[:12]}), and this branch's budgets"],
    )  # fmt: skip  # a call, read across


def _heads(project: Project, files: Sequence[str], globs: Sequence[str] | None) -> tuple[list[str], dict[str, Counts]]:
    """Every model there is, and the counts of those that are asked for: stored ones, else of a run."""
    given = _given(files)
    known = list(dict.fromkeys([*project.settings.models, *given]))
    wanted = [m for m in known if globs is None or any(fnmatchcase(m, glob) for glob in globs)]
    if not wanted:
        there = ", ".join(known) or f"none: name one under [models] in {project.document.path}, or pass Counts files"
        raise UsageError(f"no model to check; there are {there}")
    return known, {m: given[m] if m in given else counted(project, m, project.settings.models[m]) for m in wanted}


def _given(files: Sequence[str]) -> dict[str, Counts]:
    """The Counts in files, by their model's name or the one in `NAME=FILE`."""
    found: dict[str, Counts] = {}
    for text in files:
        name, _, path = text.partition("=") if "=" in text and not Path(text).exists() else ("", "", text)
        read = stored.read(Path(path))
        if name and len(read) > 1:
            raise UsageError(f"{text}: the file holds {len(read)} models, so it cannot be named as one")
        for counts in read:
            called = name or counts.model
            if called in found:
                raise UsageError(f"two models are called {called!r}; name them apart, as in one=FILE two=FILE")
            found[called] = replace(counts, model=called)
    return found


def _updatable(project: Project, heads: Mapping[str, Counts], min_coverage: float) -> None:
    """Raises where there is no place for a baseline, or too little was counted for one."""
    from snnenergy.gate.compare import uncovered

    if project.baseline is None:
        raise UsageError(f'{project.document.path}: names no baseline; add `baseline = "folder"` at the top')
    for name, counts in heads.items():
        for problem in uncovered(counts, min_coverage):
            raise CoverageError(f"{name}: {problem.words}\nNo baseline was written.")


def _update(project: Project, heads: Mapping[str, Counts]) -> None:
    from snnenergy.gate import baselines

    assert project.baseline is not None  # `_updatable` has seen to it
    for file in baselines.write(project.baseline, heads):
        say(f"baseline written: {file}")


def _summary(targets: Sequence[tuple[str, str]]) -> str | None:
    """The file of the step summary, where the platform asks for one."""
    return os.environ.get(SUMMARY) if any(form == "github" for form, _ in targets) else None


def _deliver(verdict: Verdict, targets: Sequence[tuple[str, str]]) -> None:
    """Renders everything, then writes it; the step summary besides, where the platform asks for one."""
    from snnenergy.gate.formats import FORMATS

    made = [(FORMATS[form](verdict), target) for form, target in targets]
    for document, target in made:
        if target != output.STDOUT:
            output.write(target, document)
    if summary := _summary(targets):
        output.append(summary, FORMATS["markdown"](verdict))
    shown = "".join(document for document, target in made if target == output.STDOUT)
    logs = all(form in _LOGS for form, target in targets if target == output.STDOUT)
    (output.show if logs else output.emit)(shown)
