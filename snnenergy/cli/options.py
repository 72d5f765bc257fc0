"""The options that several commands share, each written once; a dataclass of options becomes the command's own options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.errors import BudgetError, UnknownHardwareError, UsageError

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

DEFAULT_CHIPS = ("h100_sxm", "truenorth", "loihi", "tianjic")
NO_CHIP = "none"
RESULTS = "Where results go"
_MODEL = "Reading models"

FOUR = ", ".join(DEFAULT_CHIPS)


def hardware(default: str, none: str = f"; `{NO_CHIP}` counts only") -> Any:
    """The option `--hardware` of a command whose chips are these where it is not given; none: what `none` does there."""
    return typer.Option(
        "--hardware", metavar="CHIP[,CHIP...]", help=f"Chips by name, alias or YAML path{none}. Default: {default}."
    )


MinCoverage = Annotated[
    float | None,
    typer.Option(
        "--min-coverage", min=0, max=100, metavar="PERCENT", help="Exit 4 when less of the model was counted."
    ),
]
Witness = Annotated[
    bool, typer.Option("--witness", help="Compare the dense MACs with fvcore's, layer by layer; runs the model again.")
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE|-", help="Write JSON; `-`: to stdout, instead of the table.", rich_help_panel=RESULTS
    ),
]
Markdown = Annotated[
    str | None, typer.Option("--markdown", metavar="FILE|-", help="Write Markdown.", rich_help_panel=RESULTS)
]

Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE|-", help="Write one self-contained page.", rich_help_panel=RESULTS),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
Batch = Annotated[
    int | None, typer.Option("--batch", min=1, metavar="N", help="Inferences together on a processor; default 1.")
]
ProfilePath = Annotated[
    list[Path] | None,
    typer.Option("--profile-path", metavar="FOLDER", help="More hardware profiles, found by name before ours."),
]


# which file and how it is loaded; for one model or a list of them
INPUT = typer.Option(metavar="FILE", help="Input: .npz, .npy or .pt; once, or once per model.", rich_help_panel=_MODEL)
INPUT_SHAPE = typer.Option(
    metavar="1,3,32,32",
    help="Synthetic input of this shape: dense counts are right, activity means nothing.",
    rich_help_panel=_MODEL,
)
FACTORY = typer.Option(
    metavar="PKG.MOD:FN",
    help="Function that builds the module of a state_dict; its code runs.",
    rich_help_panel=_MODEL,
)
ALLOW_CLASS = typer.Option(
    metavar="PKG.CLS",
    help="One more class a whole-module file may hold; its module is imported.",
    rich_help_panel=_MODEL,
)
TRUST = typer.Option("--trust", help="Run whatever code the file holds: only for your own.", rich_help_panel=_MODEL)


@dataclass(frozen=True, slots=True)
class Reading:
    """How model files are loaded and counted; a list holds one value for all models, or one per model."""

    input: Annotated[list[str] | None, INPUT] = None
    input_shape: Annotated[list[str] | None, INPUT_SHAPE] = None
    factory: Annotated[list[str] | None, FACTORY] = None
    allow_class: Annotated[list[str] | None, ALLOW_CLASS] = None
    trust: Annotated[bool, TRUST] = False
    time_axis: Annotated[
        int | None, typer.Option(metavar="AXIS", help="Which axis of the input is time.", rich_help_panel=_MODEL)
    ] = None
    samples: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Samples in one input, where it cannot be known.", rich_help_panel=_MODEL
        ),
    ] = None
    encode: Annotated[
        str | None,
        typer.Option(
            metavar="CODING",
            help="Make steps of a static input: direct, rate, latency or delta; with --steps.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="T", help="Time steps that --encode makes, or frames of --event-bin.", rich_help_panel=_MODEL
        ),
    ] = None
    event_bin: Annotated[
        float | None,
        typer.Option(
            metavar="DURATION",
            help="The input holds events (x, y, t, p): duration of a frame, in its unit of t.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    neuron: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=MODEL",
            help="The module of this path is a neuron of this model, such as LIF.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Seed of synthetic input and random models.", rich_help_panel=_MODEL)
    ] = 0

    meta: Annotated[
        bool,
        typer.Option("--meta", help="Shapes only: no weights in memory, activity not known.", rich_help_panel=_MODEL),
    ] = False

    def of(self, i: int, models: int) -> dict[str, object]:
        """What `load` is told of the i-th of so many models; UsageError where the options do not go with them."""
        if self.input and self.input_shape:
            raise UsageError("--input and --input-shape: give one of them")
        text = _nth("--input-shape", self.input_shape, i, models)
        return {
            "input": _nth("--input", self.input, i, models),
            "input_shape": None if text is None else _shape(text),
            "factory": _nth("--factory", self.factory, i, models),
            "allow_classes": tuple(self.allow_class or ()),
            "trust": self.trust,
            "seed": self.seed,
            "encode": self.encode,
            "steps": self.steps,
            "time_axis": self.time_axis,
            "event_bin": self.event_bin,
            "meta": self.meta,
        }

    def needs_values(self, command: str) -> None:
        """UsageError where --meta leaves `command` nothing to run on."""
        if self.meta:
            raise UsageError(f"--meta: {command} runs the model on values, and shapes have none; leave it out")

    def roles(self) -> dict[str, str]:
        """The neurons named by hand: {path: model}."""
        pairs = [text.rpartition("=") for text in self.neuron or ()]
        for text, (path, _, model) in zip(self.neuron or (), pairs, strict=True):
            if not path or not model:
                raise UsageError(f"--neuron: expected PATH=MODEL such as features.2=LIF, found {text!r}")
        return {path: model for path, _, model in pairs}


@dataclass(frozen=True, slots=True)
class Pricing:
    """Which chips, and how inferences run on them."""

    hardware: Annotated[list[str] | None, hardware(f"{FOUR}; of stored reports, those they hold")] = None
    batch: Batch = None
    bits: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Width of weights and values, for all models alike.")
    ] = None
    pipeline: Annotated[bool, typer.Option("--pipeline", help="Inferences follow each other without a gap.")] = False
    strict_fit: Annotated[bool, typer.Option("--strict-fit", help="Exit 1 when a model does not fit a chip.")] = False
    profile_path: ProfilePath = None
    scale_node: Annotated[
        int | None,
        typer.Option(metavar="NM", help="Datapaths carried to another node, such as 7: a guess, and told as one."),
    ] = None

    def of(self, counted: Mapping[str, Counts], loaded: Sequence[Profile]) -> Comparison:
        """The models on the chips that `profiles` loaded; no estimate at all for `--hardware none`."""
        from snnenergy.cost.records import Comparison

        if not loaded:
            return Comparison(dict(counted), ())
        from snnenergy.cost import compare

        return compare(counted, loaded, batch=self.batch, bits=self.bits, pipeline=self.pipeline)

    def demand_fit(self, made: Comparison) -> None:
        """BudgetError where a model does not fit a chip and --strict-fit asks; after delivery, so that nothing counted is lost."""
        for row in made.estimates if self.strict_fit else ():
            if row.fit.fits is False:
                chip = next(chip.title for chip in made.profiles if chip.name == row.hardware)
                raise BudgetError(f"{row.model} does not fit {chip}:\n" + "\n".join(row.fit.problems[:12]))

    def profiles(self, kept: Iterable[Profile] = ()) -> tuple[Profile, ...]:
        """The chips, read from their files.

        kept: profiles that the reports given hold; without --hardware they are the chips, and a name that no file has is looked
        up among them
        """
        kept = tuple(dict.fromkeys(kept))
        if self.hardware is None and kept:
            if self.scale_node is not None:
                raise UsageError("--scale-node: name the datapaths with --hardware, such as horowitz_int8")
            return _once(kept, "the reports hold two profiles of that name; choose the chips with --hardware")
        loaded = tuple(_chip(text, tuple(self.profile_path or ()), kept) for text in chips(self.hardware))
        loaded = _once(loaded, "--hardware names it twice; give each operating point a run of its own")
        if self.scale_node is None:
            return loaded
        from snnenergy.hardware.nodes import scaled

        return tuple(scaled(chip, self.scale_node) for chip in loaded)


def chips(hardware: list[str] | None, default: tuple[str, ...] = DEFAULT_CHIPS) -> tuple[str, ...]:
    """The chips of `--hardware a,b --hardware c`, each once; UsageError where `none` has company."""
    if hardware is None:
        return default
    named = tuple(dict.fromkeys(name.strip() for text in hardware for name in text.split(",") if name.strip()))
    if not named or (NO_CHIP in named and len(named) > 1):
        raise UsageError(f"--hardware: expected chips, or {NO_CHIP!r} alone; found {', '.join(hardware)!r}")
    return () if named == (NO_CHIP,) else named


def _once(loaded: tuple[Profile, ...], otherwise: str) -> tuple[Profile, ...]:
    names = [chip.name for chip in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{twice}: {otherwise}")
    return loaded


def _chip(text: str, search: tuple[Path, ...], kept: tuple[Profile, ...]) -> Profile:
    """`truenorth`, a file, or `truenorth@0.75 V`: a chip at one of its operating points."""
    name, at, point = text.rpartition("@")
    if not at or Path(text).exists():
        return _named(text, search, kept)
    chip = _named(name, search, kept)
    try:
        return chip.at(point)
    except KeyError as error:
        known = ", ".join((chip.operating_point, *chip.operating_points))
        raise UsageError(f"--hardware {text}: {name} has no operating point {point!r}; it has {known}") from error


def _named(name: str, search: tuple[Path, ...], kept: tuple[Profile, ...]) -> Profile:
    from snnenergy.hardware import load_hardware

    try:
        return load_hardware(name, search=search)
    except UnknownHardwareError:
        found = [chip for chip in kept if chip.is_called(name)]
        if not found:
            raise
        return found[0]


def _nth(option: str, values: list[str] | None, i: int, models: int) -> str | None:
    if not values:
        return None
    if len(values) not in (1, models):
        raise UsageError(
            f"{option}: given {len(values)} times for {models} model files; give it once, or once per model"
        )
    return values[i] if len(values) > 1 else values[0]


def _shape(text: str) -> tuple[int, ...]:
    """`1,3,32,32` as integers."""
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--input-shape: expected positive integers such as 1,3,32,32; found {text!r}")
    return tuple(int(part) for part in parts)
