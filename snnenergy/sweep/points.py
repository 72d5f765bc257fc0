"""Every combination of the axes of a sweep, and for each the digest that says which count it needs."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snnenergy.counts import Conditions
from snnenergy.errors import UsageError
from snnenergy.sweep import sources
from snnenergy.sweep.settings import ModelTable, Plan

MAX_POINTS = 100_000
RESERVED = {"model", "hardware", "steps", "encode", "threshold", "precision", "seed", "assume_rate"}
"""Names of columns: an argument of a factory that is called so stands as `args.model`."""
COUNTED = {"steps": "steps", "encode": "encode", "thresholds": "threshold", "precisions": "precision", "seed": "seed"}
"""Axes that change what is counted, and the field of a Task that holds one of their values."""


@dataclass(frozen=True, slots=True)
class Task:
    """All a worker needs to count a point: plain values, paths from the current directory."""

    source: str
    factory: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    limit: int | None = None
    batch_size: int | None = None
    input_shape: tuple[int, ...] | None = None
    time_axis: int | None = None
    samples: int | None = None
    allow_class: tuple[str, ...] = ()
    meta: bool = False
    steps: int | None = None
    encode: str | None = None
    threshold: float | None = None
    precision: str | None = None
    seed: int = 0

    def digest(self, held: Mapping[str, str | None]) -> str:
        """Of the content: `held` has what stands behind `source`, `factory` and `data`, in place of their names."""
        content = json.dumps({**asdict(self), **held, "rules": Conditions().rules}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration: the model's name, the value of each of its axes, what counts it, and under which digest it is stored.

    assume_rate, rates: activity that is put in when the counts of shapes are priced
    """

    model: str
    values: Mapping[str, Any]
    task: Task
    digest: str
    assume_rate: float | None = None
    rates: str | None = None

    @property
    def label(self) -> str:
        """`snn width=16 steps=4 threshold=0.5`"""
        return " ".join([self.model, *(f"{name}={shown(value)}" for name, value in self.values.items())])


def shown(value: Any) -> str:
    """A value of an axis in a cell."""
    if isinstance(value, list):
        return "x".join(map(shown, value)) or "[]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def expand(plan: Plan) -> list[Point]:
    """All points of a sweep, in the order of its file; UsageError where there are too many, or a file is missing."""
    names = list(plan.settings.models)
    total = sum(math.prod(map(len, _grid(plan, name).values())) for name in names)
    if total > MAX_POINTS:
        raise UsageError(f"{plan.document.path}: {total:,} points; a sweep holds at most {MAX_POINTS:,}")
    return [point for name in names for point in _of_model(plan, name)]


def _grid(plan: Plan, name: str) -> dict[str, list[Any]]:
    """Values by axis, the factory's arguments first; an argument that is no list has one."""
    table = plan.settings.models[name]
    arguments = {f"args.{key}": value if isinstance(value, list) else [value] for key, value in table.args.items()}
    return arguments | plan.axes(name)


def _of_model(plan: Plan, name: str) -> Iterator[Point]:
    table, grid = plan.settings.models[name], _grid(plan, name)
    fixed = _fixed(plan, name, table)
    held = _held(plan, name, fixed)
    for combination in itertools.product(*grid.values()):
        chosen = dict(zip(grid, combination, strict=True))
        arguments = {key.removeprefix("args."): v for key, v in chosen.items() if key.startswith("args.")}
        own = {COUNTED[axis]: v for axis, v in chosen.items() if axis in COUNTED}
        task = Task(**fixed, arguments=arguments, **(own | {"encode": _coding(own)}))
        rate = chosen.get("assume_rate")
        values = {f"args.{key}" if key in RESERVED else key: value for key, value in arguments.items()} | own
        values |= {} if rate is None else {"assume_rate": rate}
        yield Point(
            name, values, task, task.digest(held), rate, None if table.rates is None else plan.path(table.rates)
        )


def _held(plan: Plan, name: str, fixed: Mapping[str, Any]) -> dict[str, str | None]:
    """Digests of what a model's files and code hold, not of their names."""
    try:
        return {
            key: None if fixed[key] is None else sources.digest(fixed[key]) for key in ("source", "factory", "data")
        }
    except UsageError as error:
        raise UsageError(str(plan.document.finding(("models", name), str(error)))) from error


def _coding(own: Mapping[str, Any]) -> str | None:
    return None if own.get("encode") == "none" else own.get("encode")


def _fixed(plan: Plan, name: str, table: ModelTable) -> dict[str, Any]:
    """What all points of a model share."""
    source = table.source if table.source is not None else table.weights or table.factory or ""
    code = table.weights is None and sources.is_code(source)
    if table.args and not (code or table.factory):
        raise UsageError(str(plan.document.finding(("models", name, "args"), "a model file takes no arguments")))
    held = {key: getattr(table, key) for key in ("limit", "batch_size", "time_axis", "samples", "meta")}
    return {
        **held,
        "source": source if code else plan.path(source),
        "factory": table.factory if table.weights else None,
        "data": None if table.data is None else _located(plan, table.data),
        "input_shape": None if table.input_shape is None else tuple(table.input_shape),
        "allow_class": tuple(table.allow_class),
    }


def _located(plan: Plan, text: str) -> str:
    """A file or `file.npz:name` relative to the sweep file, else the `pkg.mod:loader` it is."""
    path = plan.path(text)
    there = Path(path).exists() or Path(path.rpartition(":")[0] or path).is_file()
    return text if not there and sources.is_code(text) else path


def shard(points: Sequence[Point], index: int, of: int) -> list[Point]:
    """Points of the index-th of so many shards, counted from 0: every of-th digest in their order; together they are all."""
    mine = set(sorted({point.digest for point in points})[index::of])
    return [point for point in points if point.digest in mine]
