"""Published measurements of real chips, re-computed: predicted, measured, ratio, source; and the band that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from snnenergy.cost import measured as measured_here
from snnenergy.cost.price import StrPath, dynamic_only
from snnenergy.cost.records import Estimate, Range
from snnenergy.counts import Counts
from snnenergy.errors import CountsError, ProfileError, UsageError, near
from snnenergy.hardware import Profile, load_hardware, quantity
from snnenergy.hardware.document import Document, read, validate
from snnenergy.hardware.figures import Strict
from snnenergy.hardware.profile import Source
from snnenergy.shipped import shipped

Quantity = Literal[
    "dynamic energy", "synaptic energy", "neuron energy", "power", "static power", "energy", "latency", "time per step"
]
_SECONDS = ("latency", "time per step")
Standing = Literal["independent", "held out", "fitted", "simulator"]
"""How a row bears on a band.

independent: no figure of the profile comes from it; held out: a sibling of points that were fitted; fitted: it was
fitted, so it proves nothing; simulator: agreement with a simulator, not with silicon
"""


class Measured(Strict):
    """One published number of a workload, and the profiles that should predict it.

    tolerance: share of the measured value by which a prediction may miss before `validate` fails
    """

    quantity: Quantity
    value: str
    profiles: tuple[str, ...] = Field(strict=False)
    standing: Standing = "independent"
    operating_point: str | None = None
    tolerance: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    note: str = ""

    @field_validator("value", mode="before")
    @classmethod
    def _quantity(cls, value: object, given: ValidationInfo) -> object:
        name = given.data.get("quantity")
        if name is not None and quantity.parse(value, _unit(name)) <= 0:
            raise ValueError(f'expected a quantity above 0, found "{value}"')
        return value

    @property
    def si(self) -> float:
        return quantity.parse(self.value, self.unit)

    @property
    def unit(self) -> str:
        return _unit(self.quantity)

    @property
    def timed(self) -> bool:
        """Whether a prediction needs a model of time."""
        return self.unit != "J" or self.quantity == "energy"


def _unit(name: Quantity) -> str:
    if name in _SECONDS:
        return "s"
    return "W" if "power" in name else "J"


class Workload(Strict):
    """A published run: its counts (a file beside this one, or layers), and what was measured.

    steps: time steps of one inference, where the counts hold another number of steps of the same activity
    """

    title: str
    source: str
    counts: str | None = None
    layers: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    time_steps: int | None = Field(default=None, ge=1)
    steps: int | None = Field(default=None, ge=1)
    measured: tuple[Measured, ...] = Field(strict=False, min_length=1)
    note: str = ""


class Workloads(Strict):
    """The file of published runs."""

    schema_version: Literal[1]
    sources: dict[str, Source]
    workloads: dict[Annotated[str, StringConstraints(min_length=1)], Workload]


@dataclass(frozen=True, slots=True)
class Row:
    """One prediction beside its measurement; joules, watts or seconds by `unit`."""

    workload: str
    title: str
    hardware: str
    quantity: str
    unit: str
    predicted: Range
    measured: float
    standing: str
    source: str
    tolerance: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        """Predicted over measured, nominal."""
        return self.predicted.nominal / self.measured

    @property
    def band(self) -> tuple[float, float]:
        """The ratio at the low and at the high corner of the constants."""
        return self.predicted.low / self.measured, self.predicted.high / self.measured

    @property
    def passed(self) -> bool:
        """Within its tolerance; a row without one only informs."""
        return self.tolerance is None or abs(self.ratio - 1) <= self.tolerance


SHIPPED = "validation/workloads.yaml"


@cache
def _document(file: Path | None) -> Document:
    return read(file or shipped("hardware_profiles") / SHIPPED)


@cache
def workloads(file: Path | None = None) -> Workloads:
    """Published runs: those that ship with the profiles, or those of a file written like it."""
    document = _document(file)
    made = validate(document, Workloads)
    for name, load in made.workloads.items():
        if load.source not in made.sources:
            words = f"no such source {load.source!r}{near(load.source, made.sources)}"
            raise ProfileError(str(document.finding(("workloads", name, "source"), words)))
    return made


@cache
def counts_of(name: str, file: Path | None = None) -> Counts:
    """The counts of a published run, from a file beside its own or built from its structure."""
    load = workloads(file).workloads[name]
    if load.counts is not None:
        return Counts.load((file or shipped("hardware_profiles") / SHIPPED).parent / load.counts)
    try:
        return Counts.build(name, load.layers, time_steps=load.time_steps)
    except CountsError as error:
        raise ProfileError(f"validation workload {name}: {error}") from error


def run(hardware: str | None = None, *, file: StrPath | None = None, search: Iterable[StrPath] = ()) -> tuple[Row, ...]:
    """Every published workload on every profile that should predict it, or on one of them.

    file: measurements of one's own, written like the shipped ones; search: folders of one's own profiles
    """
    own = Path(file) if file is not None else None
    names = dict.fromkeys(p for w in workloads(own).workloads.values() for m in w.measured for p in m.profiles)
    wanted = load_hardware(hardware, search=search).name if hardware is not None else None
    chips = [load_hardware(name, search=search) for name in names if wanted in (None, name)]
    return tuple(row for chip in chips for row in rows_of(chip, own))


def rows_of(chip: Profile, file: Path | None = None) -> tuple[Row, ...]:
    """The rows of one profile, with its own figures."""
    return tuple(_rows(chip, file))


def _rows(chip: Profile, file: Path | None) -> Iterator[Row]:
    published = workloads(file)
    for name, load in published.workloads.items():
        for i, measured in enumerate(load.measured):
            if chip.name not in measured.profiles:
                continue
            counts = counts_of(name, file)
            try:
                made = _estimated(chip, measured, counts)
            except UsageError as error:
                if file is None:
                    continue  # somebody's own profile of that name, without the figures that it takes
                words = f"{error}; take {chip.name} out of its `profiles`"
                place = _document(file).finding(("workloads", name, "measured", i), words)
                raise ProfileError(str(place)) from None
            source = published.sources[load.source]
            yield Row(
                workload=name,
                title=load.title,
                hardware=chip.name,
                quantity=measured.quantity,
                unit=measured.unit,
                predicted=_predicted(made, measured.quantity, load, counts),
                measured=measured.si,
                standing=measured.standing,
                source=source.doi or source.url or source.title,
                tolerance=measured.tolerance,
                note=measured.note,
            )


def _estimated(chip: Profile, measured: Measured, counts: Counts) -> Estimate:
    """What a profile says of a measurement; UsageError where it says nothing."""
    made = dynamic_only(counts, chip, measured.operating_point)
    if measured.unit != "s" and made.energy is None:
        raise UsageError(f"{chip.name} does not price it: {made.verdict}")
    if measured.timed and not (made.latency and made.latency.low):
        raise UsageError(f"{chip.name} does not say how long it takes")
    return made


def _power(energy: Range, made: Estimate) -> Range:
    time = made.latency
    assert time is not None  # rows that need time are left out without it
    return Range(energy.low / time.low, energy.nominal / time.nominal, energy.high / time.high)


_PREDICTIONS: dict[str, Callable[[Estimate, float], Range]] = {
    "dynamic energy": lambda made, scale: made.breakdown.dynamic * scale,
    "synaptic energy": lambda made, scale: made.breakdown.synaptic * scale,
    "neuron energy": lambda made, scale: made.breakdown.neuron * scale,
    "energy": lambda made, scale: made.breakdown.total * scale,
    "power": lambda made, _: _power(made.breakdown.total, made),
    "static power": lambda made, _: _power(made.breakdown.static, made),
    "latency": lambda made, scale: (made.latency or Range(0.0, 0.0, 0.0)) * scale,
}
"""What a row predicts from an estimate; `scale` turns the steps counted into the steps of an inference."""


def _predicted(made: Estimate, name: str, load: Workload, counts: Counts) -> Range:
    counted = counts.time_steps or 1
    if name == "time per step":
        return _PREDICTIONS["latency"](made, 1 / counted)
    return _PREDICTIONS[name](made, (load.steps or counted) / counted)


def band(chip: Profile) -> str:
    """How far this profile can be trusted, from its rows on silicon; `unvalidated` where there is none.

    Rows are of the file's own operating point, and of the points that they name: another one has no band.

    >>> band(load_hardware("tianjic"))
    'unvalidated'
    """
    if chip.operating_point in chip.operating_points:
        return "unvalidated at this operating point"
    silicon = _silicon(chip)
    if not silicon:
        return "unvalidated"
    kinds = sorted({row.quantity for row in silicon})
    runs = len({row.workload for row in silicon})
    return (
        f"predicted / measured {_ends(silicon)} on silicon "
        f"({', '.join(kinds)}; {_measurements(silicon)}, {runs} run{'s' * (runs > 1)})"
    )


@lru_cache(maxsize=64)
def _silicon(chip: Profile) -> tuple[Row, ...]:
    """The rows that a band is made of."""
    return tuple(r for r in rows_of(chip) if r.standing in ("independent", "held out") and r.unit != "s")


def _ends(rows: Sequence[Row]) -> str:
    ratios = [row.ratio for row in rows]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def _measurements(rows: Sequence[Row]) -> str:
    return f"{len(rows)} measurement{'s' * (len(rows) > 1)}"


def evidence(chip: Profile) -> str:
    """How well a chip is known, in a few words: validated with its ratios, sourced, proxy, or unpublished.

    validated: set beside measurements of the chip, whatever came out
    proxy: an energy or a static power stands in for the chip's own; unpublished: an energy that its charges need is null

    >>> evidence(load_hardware("tianjic")), evidence(load_hardware("akida"))
    ('sourced', 'unpublished')
    """
    if chip.operating_point not in chip.operating_points and (silicon := _silicon(chip)):
        return f"validated {_ends(silicon)}, {_measurements(silicon)}"
    events = {getattr(chip.charges, domain) for domain in ("spike", "ternary", "graded", "analog")}
    if any(getattr(chip.energy, event) is None for event in events & {"synop", "ann_op"}):
        return "unpublished"
    charged = ("energy.", "arithmetic.", "power.static")
    return "proxy" if any(f.how == "proxy" for p, f in chip.figures().items() if p.startswith(charged)) else "sourced"


def markdown(rows: tuple[Row, ...]) -> str:
    """`docs/validation.md`: every row, and the band of every profile that has one."""
    head = [
        "# Validation against silicon",
        "",
        "Written by `snnenergy validate`; a test holds it equal to what the shipped profiles compute.",
        "Predicted and range come from the profile's nominal, low and high figures. Standing: *independent* rows share no",
        "figure with the profile, *held out* rows are siblings of points that were fitted, *fitted* rows prove nothing,",
        "*simulator* rows show agreement with a simulator. Bands are made of independent and held-out rows only.",
        "",
        "| workload | chip | quantity | predicted | range | measured | ratio | standing | source |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    chips = list(dict.fromkeys(row.hardware for row in rows))
    bands = [f"- `{name}`: {band(load_hardware(name))}" for name in chips]
    notes = [f"- {row.title}, `{row.hardware}`, {row.quantity}: {row.note}" for row in rows if row.note]
    tail = ["", "## Bands", "", *bands, "", "## Notes", "", *dict.fromkeys(notes), ""]
    return "\n".join([*head, *map(_line, rows), *tail, *measured_here.page(measured_here.records())])


def _line(row: Row) -> str:
    def show(value: float) -> str:
        return quantity.show(value, row.unit)

    interval = f"{show(row.predicted.low)} to {show(row.predicted.high)}"
    cells = (row.title, f"`{row.hardware}`", row.quantity, show(row.predicted.nominal), interval, show(row.measured))
    return f"| {' | '.join(cells)} | {row.ratio:.3f} | {row.standing} | {row.source} |"
