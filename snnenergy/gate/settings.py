"""Budgets and models as a project writes them down: `snnenergy.toml`, or `[tool.snnenergy]` of its pyproject.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictInt, ValidationInfo, WithJsonSchema, field_validator, model_validator

from snnenergy.errors import UsageError, near
from snnenergy.gate import metrics, places
from snnenergy.gate.metrics import METRICS
from snnenergy.hardware.document import Document, check, sentence
from snnenergy.hardware.figures import Strict

FILE = "snnenergy.toml"
PYPROJECT = "pyproject.toml"
TABLE = ("tool", "snnenergy")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_TEXT_OR_NUMBER: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}]}

Positive = Annotated[StrictInt, Field(ge=1)]
Bound = Literal["low", "nominal", "high"]
Level = Literal["error", "warn", "off"]


class Match(Strict):
    """What a budget holds for: globs of model, chip and layer paths; without `layer` the whole model.

    A chip without glob signs need not stand in `hardware`: it is added.  Several layers are held by their sum.
    """

    model: str = "*"
    chip: str = "*"
    layer: str | None = None


@dataclass(frozen=True, slots=True)
class Increase:
    """How much more than the baseline: a share of it, or an amount in the metric's unit."""

    amount: float
    relative: bool

    def limit(self, base: float) -> float:
        return base * (1 + self.amount) if self.relative else base + self.amount


class Budget(Strict):
    """One limit.  `max`, `min` and an absolute `max_increase` carry the metric's unit; a relative one is "2 %"."""

    match: Match = Match()
    metric: Annotated[str, WithJsonSchema({"type": "string", "enum": list(METRICS)})]
    max: Annotated[float | None, WithJsonSchema(_TEXT_OR_NUMBER)] = None
    min: Annotated[float | None, WithJsonSchema(_TEXT_OR_NUMBER)] = None
    max_increase: Annotated[Increase | None, WithJsonSchema(_TEXT_OR_NUMBER)] = None
    bound: Bound = "nominal"
    level: Level = "error"
    reason: str = ""

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"no such metric {metric!r:.40}{near(metric, METRICS)}")
        return metric

    @field_validator("max", "min", mode="before")
    @classmethod
    def _limit(cls, value: Any, given: ValidationInfo) -> float | None:
        metric = given.data.get("metric")
        if metric is None or value is None:  # a wrong metric is told already
            return None
        if METRICS[metric].unit == "yes":
            raise ValueError(f"{metric} is true or false and takes no limit; leave it out")
        return metrics.parse(value, METRICS[metric].unit)

    @field_validator("max_increase", mode="before")
    @classmethod
    def _increase(cls, value: Any, given: ValidationInfo) -> Increase | None:
        metric = given.data.get("metric")
        if metric is None or value is None:
            return None
        row = METRICS[metric]
        if row.unit == "yes" or not row.based:
            raise ValueError(f"a baseline says nothing of {metric}; use {'no limit' if row.unit else 'min'}")
        if isinstance(value, str) and (share := re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*%\s*", value)):
            return Increase(float(share[1]) / 100, relative=True)
        try:
            return Increase(metrics.parse(value, row.unit), relative=False)
        except ValueError as error:
            raise ValueError(str(error).replace("expected ", 'expected "2 %" or ', 1)) from None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        row = METRICS[self.metric]
        if row.unit != "yes" and self.max is None and self.min is None and self.max_increase is None:
            raise ValueError("a budget needs max, min or max_increase")
        if self.match.layer is not None and not row.layered:
            raise ValueError(f"{self.metric} is of the whole model; leave match.layer out")
        if self.match.chip != "*" and not row.chip:
            raise ValueError(f"{self.metric} does not depend on a chip; leave match.chip out")
        return self

    @property
    def row(self) -> metrics.Metric:
        return METRICS[self.metric]


class ModelTable(Strict):
    """One model: a file, a `pkg.mod:factory`, or a factory with weights; and the input, or the data set, it runs on.

    source: a model file, `pkg.mod:factory`, or stored Counts; weights: a state_dict or safetensors file for `factory`
    data: a file or folder of arrays, or `pkg.mod:loader`; batch_size, limit: samples of one forward, and of all of them
    steps: how many time steps it must run, checked after counting; encode: the coding that makes them of a static input
    event_bin: duration of a frame of an input of events; neurons: the model of modules that no framework defines, by path
    """

    source: str | None = None
    factory: str | None = None
    weights: str | None = None
    input: str | None = None
    input_shape: list[Positive] | None = None
    data: str | None = None
    batch_size: Positive | None = None
    limit: Positive | None = None
    encode: str | None = None
    event_bin: Annotated[float, Field(gt=0)] | None = None
    neurons: dict[str, str] = Field(default_factory=dict)
    time_axis: StrictInt | None = None
    samples: Positive | None = None
    steps: Positive | None = None
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    allow_class: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.source is None) == (self.factory is None) or (self.source and self.weights):
            raise ValueError("a model is a `source`, or a `factory` with or without `weights`")
        given = [name for name in ("input", "input_shape", "data") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(f'`{name}`' for name in given)}: give one of them")
        if self.data is None and (self.batch_size is not None or self.limit is not None):
            raise ValueError("`batch_size` and `limit` go with `data`")
        if self.encode is not None and self.steps is None:
            raise ValueError("`encode` needs `steps`, the time steps that it makes")
        return self


class Settings(Strict):
    """The whole file.  baseline: the folder of committed Counts, one file a model; hardware: the chips of `chip = "*"`."""

    models: dict[str, ModelTable] = Field(default_factory=dict)
    budgets: list[Budget] = Field(default_factory=list)
    hardware: list[str] = Field(default_factory=list)
    baseline: str | None = None

    @field_validator("models")
    @classmethod
    def _names(cls, models: dict[str, ModelTable]) -> dict[str, ModelTable]:
        for name in models:
            check_name(name)
        return models


def check_name(name: str) -> None:
    """Raises ValueError for a model name that could not be a file name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a model is named by letters, digits, `_`, `-`, `.` and `+`; found {name!r:.60}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a budget is written; an annotation stands there.  No file: it was made in Python."""

    file: str = ""
    line: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "budget"


@dataclass(frozen=True, slots=True)
class Placed:
    """A budget and its place."""

    budget: Budget
    place: Place = Place()


@dataclass(frozen=True, slots=True)
class Project:
    """Settings as read: paths in them are relative to `folder`."""

    settings: Settings
    document: Document
    folder: Path

    @property
    def budgets(self) -> list[Placed]:
        return [Placed(b, self.place("budgets", i)) for i, b in enumerate(self.settings.budgets)]

    def place(self, *path: str | int) -> Place:
        found = self.document.finding(path, "")
        return Place(self.document.path, int(found.where.rsplit(":", 2)[1]))

    @property
    def baseline(self) -> Path | None:
        return None if self.settings.baseline is None else self.folder / self.settings.baseline


def find(folder: Path = Path()) -> Path:
    """The settings of a folder; UsageError where there are none, or two."""
    own, pyproject = folder / FILE, folder / PYPROJECT
    tabled = pyproject.is_file() and places.read(pyproject, TABLE) is not None
    if own.is_file() and tabled:
        raise UsageError(f"both {own} and [tool.snnenergy] of {pyproject} hold budgets; keep one of them")
    if not own.is_file() and not tabled:
        raise UsageError(f"no {FILE} and no [tool.snnenergy] in {PYPROJECT} here; `snnenergy init MODEL` writes one")
    return pyproject if tabled else own


def read(path: Path, *, shown: str | None = None) -> Project:
    """The settings in a file; every thing that is wrong as `file:line:col: key: ...` in a UsageError."""
    table = TABLE if path.name == PYPROJECT else ()
    document = places.read(path, table, shown=shown)
    if document is None:
        raise UsageError(f"{shown or path}: no table [tool.snnenergy]")
    settings, found = check(document, Settings)
    if settings is None:
        raise UsageError(sentence(found))
    project = Project(settings, document, path.parent)
    _consistent(project)
    return project


def _consistent(project: Project) -> None:
    settings = project.settings
    for i, budget in enumerate(settings.budgets):
        if budget.max_increase is not None and settings.baseline is None:
            raise UsageError(
                f"{project.place('budgets', i, 'max_increase')}: max_increase needs a baseline: add "
                '`baseline = "folder"` at the top, and run `snnenergy check --update-baseline` once'
            )


def budget(value: Budget | Mapping[str, Any]) -> Budget:
    """A budget from its fields, as they stand in a file; UsageError says what is wrong."""
    if isinstance(value, Budget):
        return value
    made, found = check(Document("budget", dict(value)), Budget)
    if made is None:
        raise UsageError("\n".join(f"budget: {f.key}: {f.message}" if f.key else f"budget: {f.message}" for f in found))
    return made


def json_schema() -> dict[str, Any]:
    """The JSON Schema of snnenergy.toml and of `[tool.snnenergy]`, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
