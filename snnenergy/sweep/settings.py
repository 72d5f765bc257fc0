"""`sweep.yaml`: models, the axes that are varied over them, and the chips they are priced on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema, field_validator, model_validator

from snnenergy.errors import UsageError
from snnenergy.hardware.document import Document, Finding, check, read, sentence
from snnenergy.hardware.figures import Strict

_Coding = Literal["none", "direct", "rate", "latency", "delta"]
_Precision = Literal["fp32", "fp16", "bf16", "int8"]
AXES = ("steps", "encode", "thresholds", "precisions", "seed", "assume_rate")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _either(item: dict[str, Any]) -> WithJsonSchema:
    """What an editor is told: one value, or a list of them."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


Size = Annotated[StrictInt, Field(ge=1)]
Steps = Annotated[list[Size], BeforeValidator(_listed), _either({"type": "integer", "minimum": 1})]
Coding = Annotated[
    list[_Coding],
    BeforeValidator(_listed),
    _either({"type": "string", "enum": list(get_args(_Coding))}),
]
Thresholds = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]], BeforeValidator(_listed), _either({"type": "number"})
]
Precisions = Annotated[
    list[_Precision],
    BeforeValidator(_listed),
    _either({"type": "string", "enum": list(get_args(_Precision))}),
]
Seeds = Annotated[
    list[Annotated[StrictInt, Field(ge=0)]], BeforeValidator(_listed), _either({"type": "integer", "minimum": 0})
]
Shares = Annotated[
    list[Annotated[float, Field(ge=0, le=1)]],
    BeforeValidator(_listed),
    _either({"type": "number", "minimum": 0, "maximum": 1}),
]

Chips = Annotated[list[str], BeforeValidator(_listed), _either({"type": "string"})]


class Axes(Strict):
    """What is varied: one value or a list.  At the top it holds for every model; a model's own stands instead, also an empty list.

    steps: time steps, which `encode` makes of a static input; or the first T of an input whose `time_axis` is given
    encode: how a static input becomes steps; none: it is taken as it is
    thresholds: of every spiking neuron; left out, the model keeps its own
    precisions: fp32, fp16 and bf16 cast model and input; int8 rounds the weights and prices at 8 bits; left out: as it is
    seed: of random weights, rate coding and models that draw
    assume_rate: with `meta`, the firing rate of every neuron
    """

    steps: Steps | None = None
    encode: Coding | None = None
    thresholds: Thresholds | None = None
    precisions: Precisions | None = None
    seed: Seeds | None = None
    assume_rate: Shares | None = None

    @field_validator(*AXES)
    @classmethod
    def _once(cls, values: list[Any] | None) -> list[Any] | None:
        for twice in _twice(values or ()):
            raise ValueError(f"{twice} stands twice")
        return values


class ModelTable(Axes):
    """One model and what it runs on; paths are relative to the file they stand in, factories to the current directory.

    source: a model file, or `pkg.mod:factory`; weights: a state_dict or safetensors file for `factory`
    args: keyword arguments of the factory; a list is an axis (to pass one list, put it into another)
    data: an .npz or .npy file, a folder of them or `pkg.mod:loader`, as `profile --data`; labels in it give the accuracy
    limit, batch_size: the first samples of the data only; samples of one forward
    input_shape: synthetic input instead; neither: the file's or the factory's own input
    meta: shapes only; rates: with it, a JSON file of firing rates by layer
    """

    source: str | None = None
    factory: str | None = None
    weights: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    data: str | None = None
    limit: Size | None = None
    batch_size: Size | None = None
    input_shape: list[Size] | None = None
    time_axis: Annotated[StrictInt, Field(ge=0)] | None = None
    samples: Size | None = None
    allow_class: list[str] = Field(default_factory=list)
    meta: bool = False
    rates: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.source is None) == (self.factory is None) or (self.source and self.weights):
            raise ValueError("a model is a `source`, or a `factory` with or without `weights`")
        if self.data is not None and self.input_shape is not None:
            raise ValueError("`data` and `input_shape`: give one of them")
        if self.data is None and (self.limit or self.batch_size):
            raise ValueError("`limit` and `batch_size` go with `data`")
        if self.meta and self.data is not None:
            raise ValueError("`meta` counts shapes and reads no data; give `input_shape`")
        if self.rates is not None and not self.meta:
            raise ValueError("`rates` goes with `meta`; without it activity is counted")
        return self

    @field_validator("args")
    @classmethod
    def _names(cls, args: dict[str, Any]) -> dict[str, Any]:
        for name, value in args.items():
            if not name.isidentifier():
                raise ValueError(f"{name!r:.60} is no name of an argument")
            if not all(map(_plain, _listed(value))):
                raise ValueError(f"{name}: expected numbers, words, true, false or null, or lists of them")
            if value == []:
                raise ValueError(f"{name}: an axis without values; to pass an empty list write [[]]")
            for twice in _twice(_listed(value)):
                raise ValueError(f"{name}: {twice} stands twice; to pass one list put it into another")
        return args


def _twice(values: Sequence[Any]) -> Iterator[Any]:
    """Values that stand before already; 1 and true are two."""
    return (value for i, value in enumerate(values) if repr(value) in map(repr, values[:i]))


def _plain(value: Any) -> bool:
    return not isinstance(value, dict) and (not isinstance(value, list) or all(map(_plain, value)))


class Settings(Axes):
    """The whole file.  hardware: the chips, by name, alias or path; they may be changed at any time without counting again."""

    models: Annotated[dict[str, ModelTable], Field(min_length=1)]
    hardware: Chips = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings as read, and the folder that paths in them are relative to."""

    settings: Settings
    document: Document
    folder: Path

    def axes(self, name: str) -> dict[str, list[Any]]:
        """The axes of a model that are varied or set: its own, else those of the top."""
        own, top = self.settings.models[name], self.settings
        found = {axis: getattr(top if getattr(own, axis) is None else own, axis) for axis in AXES}
        return {axis: values for axis, values in found.items() if values}

    def path(self, text: str) -> str:
        """A path of the file, from the current directory."""
        return str(self.folder / text)


def load(path: Path) -> Plan:
    """A sweep file; every thing that is wrong with it as `file:line:col: key: ...` in a UsageError."""
    document = read(path, error=UsageError)
    settings, found = check(document, Settings)
    if settings is None:
        raise UsageError(sentence(found))
    plan = Plan(settings, document, path.parent)
    if found := [finding for name in settings.models for finding in _contradictions(plan, name)]:
        raise UsageError(sentence(found))
    return plan


def _contradictions(plan: Plan, name: str) -> Iterator[Finding]:
    """What goes wrong between a model and the axes that hold for it."""
    table, axes = plan.settings.models[name], plan.axes(name)

    def finding(key: str, words: str) -> Finding:
        place = ("models", name, key) if ("models", name, key) in plan.document.marks else (key,)
        return plan.document.finding(place if place in plan.document.marks else ("models", name), words)

    codings = [coding for coding in axes.get("encode", []) if coding != "none"]
    if codings and "steps" not in axes:
        yield finding("encode", f"{name}: `encode: {codings[0]}` makes time steps; say how many with `steps`")
    if "steps" in axes and len(codings) < len(axes.get("encode", ["none"])) and table.time_axis is None:
        yield finding(
            "steps",
            f"{name}: without `encode` the first T steps of the input are taken: give the model its `time_axis`; "
            "or `steps: []` where it has no time",
        )
    if table.meta:
        for axis in ("thresholds", "steps", "encode"):
            if axes.get(axis, []) not in ([], ["none"]):
                yield finding(
                    axis, f"{name}: `meta` counts shapes, which {axis} do not change; give the model `{axis}: []`"
                )
    elif "assume_rate" in axes:
        yield finding("assume_rate", f"{name}: goes with `meta: true`; without it activity is counted")
    if table.rates is not None and "assume_rate" in axes:
        yield finding("rates", f"{name}: `rates` and `assume_rate`: give one of them")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a sweep file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
