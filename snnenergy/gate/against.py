"""The gate as it stands on the base branch, so that a pull request cannot raise its own limit.

Budgets and baselines come from the base; the pull request's own budgets hold besides.  What the pull request loosened,
removed or rewrote is told, each a Notice on its line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snnenergy.gate import baselines, chips, places, settings
from snnenergy.gate.git import Commit
from snnenergy.gate.metrics import show
from snnenergy.gate.settings import Budget, Placed, Project
from snnenergy.gate.verdict import Notice

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

LOOSENED, REWRITTEN, CHANGED = "loosened", "baseline rewritten", "changed"
_LENIENT = {"low": 0, "nominal": 1, "high": 2}
_STRICT = {"off": 0, "warn": 1, "error": 2}


@dataclass(frozen=True)
class Base:
    """What the base branch says: `budgets` of both sides, its baselines, its own profiles where they differ from today's.

    gone: models that the base names, or keeps a baseline of, and the pull request does not have
    hardware: the chips that `chip = "*"` means, the base's among them
    """

    budgets: list[Placed]
    baselines: Mapping[str, Counts] | None
    past: Mapping[str, Profile] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    commit: str = ""
    hardware: tuple[str, ...] = ()


def read(ref: str, config: Path, head: Project, heads: Mapping[str, Profile], models: tuple[str, ...]) -> Base:
    """The base branch's side of the gate; UsageError where the ref or its settings cannot be read.

    heads: profiles of the pull request by the words of its settings; models: those that are judged
    """
    commit = Commit(ref, config.parent)
    with tempfile.TemporaryDirectory() as folder:
        tree = _Tree(commit, Path(folder))
        base = _settings(tree, config)
        if base is None:
            words = f"{ref} has no {config.name}: this pull request brings its own budgets, and its own baseline"
            return Base(
                head.budgets,
                _baselines(head, models),
                notices=(Notice("new gate", words, str(config)),),
                commit=commit.name,
            )
        return _base(tree, config.parent, head, base, heads, models)


def _baselines(project: Project, models: tuple[str, ...]) -> dict[str, Counts] | None:
    return None if project.baseline is None else baselines.read(project.baseline, models)


@dataclass(frozen=True)
class _Tree:
    """Files of the base, laid out in a temporary folder as in the repository, so that every reader of paths reads them."""

    commit: Commit
    folder: Path

    def lay(self, paths: Iterable[Path]) -> dict[Path, Path]:
        """Where the files now lie; those the base does not hold are left out."""
        laid = {}
        for path, content in self.commit.read(paths).items():
            laid[path] = self.folder / self.commit.name_of(path)
            laid[path].parent.mkdir(parents=True, exist_ok=True)
            laid[path].write_bytes(content)
        return laid


def _settings(tree: _Tree, config: Path) -> Project | None:
    """The base's settings; a pull request that moved them from one usual file to the other does not escape them."""
    usual = (settings.FILE, settings.PYPROJECT)
    candidates = [config, *(config.parent / name for name in usual if config.name in usual and name != config.name)]
    for path, laid in tree.lay(candidates).items():
        if path.name != settings.PYPROJECT or places.read(laid, settings.TABLE) is not None:
            return settings.read(laid, shown=f"{tree.commit.ref}:{path.name}")
    return None


def _base(
    tree: _Tree, folder: Path, head: Project, base: Project, heads: Mapping[str, Profile], models: tuple[str, ...]
) -> Base:
    """folder: where the settings lie in the repository; what they name is laid out beside them."""
    stored: dict[str, Counts] = {}
    if base.settings.baseline is not None:
        tree.lay(baselines.file_of(folder / base.settings.baseline, model) for model in models)
        stored = _baselines(base, models) or {}
    own = [word for word in chips.needed(base.settings.hardware, base.budgets) if chips.is_file(word)]
    laid = tree.lay(folder / word for word in own)
    before = chips.load([word for word in own if folder / word in laid], base.folder)
    today = {chip.name: chip for chip in heads.values()}
    past = {chip.name: chip for chip in before.values() if today.get(chip.name) not in (None, chip)}
    files = [] if base.settings.baseline is None else tree.commit.names(folder / base.settings.baseline)
    kept = [name.removesuffix(baselines.SUFFIX) for name in files if name.endswith(baselines.SUFFIX)]
    gone = tuple(name for name in dict.fromkeys([*base.settings.models, *kept]) if name not in models)
    chips_of_both = tuple(dict.fromkeys([*base.settings.hardware, *head.settings.hardware]))
    added = {m: c for m, c in (_baselines(head, models) or {}).items() if m not in base.settings.models}
    notices = [*_loosened(base, head), *_rewritten(head, stored, models), *_changed(base, head, gone, past)]
    none = base.settings.baseline is None and head.baseline is None
    return Base(
        _both(base, head),
        None if none else {**added, **stored},
        past,
        gone,
        tuple(notices),
        tree.commit.name,
        chips_of_both,
    )


def _both(base: Project, head: Project) -> list[Placed]:
    """The base's budgets, on their line of the pull request's file where they still stand there; then the others of it."""
    mine = head.budgets
    placed = []
    for budget in base.settings.budgets:
        twin = _twin(budget, mine)
        where = twin.place if twin else head.place("budgets")
        placed.append(Placed(budget, where))
    return placed + [p for p in mine if p.budget not in base.settings.budgets]


def _twin(budget: Budget, among: list[Placed]) -> Placed | None:
    """The budget that holds the same metric of the same models, chips and layers: itself, or the one it became."""
    same = [p for p in among if (p.budget.match, p.budget.metric) == (budget.match, budget.metric)]
    return next((p for p in same if p.budget == budget), same[0] if same else None)


def _loosened(base: Project, head: Project) -> Iterator[Notice]:
    for placed in base.budgets:
        budget, twin = placed.budget, _twin(placed.budget, head.budgets)
        what = f"{budget.metric} of {budget.match.model}{f' on {budget.match.chip}' if budget.row.chip else ''}"
        if twin is None:
            place = head.place("budgets")
            yield Notice(LOOSENED, f"{what}: the budget was removed; it still holds here", place.file, place.line)
        elif ways := list(_ways(budget, twin.budget)):
            words = f"{what}: {', '.join(ways)}; the old one still holds here"
            yield Notice(LOOSENED, words, twin.place.file, twin.place.line)


def _ways(old: Budget, new: Budget) -> Iterator[str]:
    """How a budget became weaker."""
    unit = old.row.unit
    if old.max is not None and (new.max is None or new.max > old.max):
        yield f"max {show(old.max, unit)} -> {show(new.max, unit)}"
    if old.min is not None and (new.min is None or new.min < old.min):
        yield f"min {show(old.min, unit)} -> {show(new.min, unit)}"
    if old.max_increase is not None and old.max_increase != new.max_increase:
        a, b = old.max_increase, new.max_increase
        if b is None or a.relative != b.relative or b.amount > a.amount:
            yield "max_increase changed" if b else "max_increase removed"
    if old.bound != new.bound and (old.min is not None or _LENIENT[new.bound] < _LENIENT[old.bound]):
        yield f"bound {old.bound} -> {new.bound}"
    if _STRICT[new.level] < _STRICT[old.level]:
        yield f"level {old.level} -> {new.level}"


def _rewritten(head: Project, stored: Mapping[str, Counts], models: tuple[str, ...]) -> Iterator[Notice]:
    """Baselines whose counts are other ones in the pull request."""
    mine = _baselines(head, models) or {}
    for name, counts in stored.items():
        file = str((head.baseline or head.folder) / f"{name}{baselines.SUFFIX}")
        if name not in mine:
            yield Notice(REWRITTEN, f"{name}: its baseline was removed; the base's holds", file)
        elif mine[name] != counts:
            rows = [(n, counts.per_inference(n), mine[name].per_inference(n)) for n in ("acs", "macs")]
            words = ", ".join(f"{n} {show(x, '')} -> {show(y, '')}" for n, x, y in rows if x != y)
            yield Notice(REWRITTEN, f"{name}: {words or 'other layers or conditions'}; the base's holds", file)


def _changed(base: Project, head: Project, gone: tuple[str, ...], past: Mapping[str, Profile]) -> Iterator[Notice]:
    """Models that are gone or run on something else, and profiles with other figures."""
    for name in gone:
        place = head.place("models")
        yield Notice(CHANGED, f"model {name}: removed or renamed", place.file, place.line)
    for name, table in base.settings.models.items():
        new = head.settings.models.get(name)
        if new is not None and new != table:
            fields = [f for f in type(table).model_fields if getattr(table, f) != getattr(new, f)]
            place = head.place("models", name)
            changes = (f"{f} {getattr(table, f)!r} -> {getattr(new, f)!r}" for f in fields)
            yield Notice(CHANGED, f"model {name}: {', '.join(changes)}", place.file, place.line)
    for chip in past:
        place = head.place("hardware")
        yield Notice(CHANGED, f"hardware profile {chip}: other figures than on the base", place.file, place.line)
    if left := [word for word in base.settings.hardware if word not in head.settings.hardware]:
        place = head.place("hardware")
        yield Notice(
            CHANGED, f"hardware: without {', '.join(left)}; the base's budgets keep them", place.file, place.line
        )
    if base.settings.baseline != head.settings.baseline:
        place = head.place("baseline")
        ways = f"{base.settings.baseline!r} -> {head.settings.baseline!r}"
        yield Notice(CHANGED, f"baseline folder: {ways}; the base's holds", place.file, place.line)
