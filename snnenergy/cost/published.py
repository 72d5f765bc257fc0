"""Published tables, reproduced: their architectures and rates under their own conventions, beside what they print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from snnenergy.cost.convention_layers import AnyLayer
from snnenergy.cost.convention_rates import price_rates
from snnenergy.cost.convention_rules import Reference
from snnenergy.cost.conventions import apply
from snnenergy.counts import Counts
from snnenergy.hardware.document import read, validate
from snnenergy.hardware.figures import Strict
from snnenergy.shipped import shipped

UNITS = {"": 1.0, "G": 1e9, "B": 1.0, "x": 1.0, "J": 1.0, "mJ": 1e-3, "nJ": 1e-9}
Quantity = Literal["energy", "acs", "macs", "dense", "footprint", "energy ratio"]


class Workload(Strict):
    """A published net: layers by structure (here, or in a file beside this one), or recorded counts."""

    title: str
    time_steps: int = 1
    layers: tuple[AnyLayer, ...] = Field((), strict=False)
    file: str | None = None
    note: str = ""


class Structure(Strict):
    """A file of layers: an architecture and its published rates."""

    schema_version: Literal[1]
    source: str
    layers: tuple[AnyLayer, ...] = Field(strict=False)


class Printed(Strict):
    """One printed number (or interval, with `high`), and how near ours must come, both in `unit`.

    against: the workload whose energy is divided by, for a ratio
    """

    table: str
    workload: str
    convention: str
    quantity: Quantity
    published: float = Field(strict=False)
    high: float | None = Field(None, strict=False)
    unit: str = ""
    decimals: int = 0
    tolerance: float = Field(0.0, ge=0, strict=False)
    against: str | None = None
    source: str
    note: str = ""


class Tables(Strict):
    """The file of published tables."""

    schema_version: Literal[1]
    sources: dict[str, Reference]
    tables: dict[str, str]
    workloads: dict[str, Workload]
    rows: tuple[Printed, ...] = Field(strict=False)


@dataclass(frozen=True, slots=True)
class Row:
    """A printed number beside ours, both in `unit`; `high`: the printed number is an interval up to there."""

    table: str
    title: str
    quantity: str
    published: float
    high: float | None
    ours: float
    unit: str
    decimals: int
    tolerance: float
    source: str
    rule: str
    note: str = ""

    @property
    def difference(self) -> float:
        """Ours minus the printed number; from an interval, the distance to its nearer end, 0 inside."""
        if self.high is None:
            return self.ours - self.published
        return min(self.ours - self.published, 0.0) + max(self.ours - self.high, 0.0)

    @property
    def passed(self) -> bool:
        """Within the row's tolerance, with room for the rounding of the difference itself."""
        return abs(self.difference) <= self.tolerance + 1e-12 * abs(self.published)


FOLDER = "published"
FILE = "tables.yaml"


@cache
def tables() -> Tables:
    return validate(read(_folder() / FILE), Tables)


def _folder() -> Path:
    return shipped("conventions") / FOLDER


@cache
def counts_of(name: str) -> Counts:
    """The counts of a published net: recorded ones from their file, or built from structure and printed rates."""
    load = tables().workloads[name]
    if load.file and load.file.endswith(".json"):
        return Counts.load(_folder() / load.file)
    layers = _layers(load)
    structure = Counts.build(
        load.title, [layer.counts(load.time_steps) for layer in layers], time_steps=load.time_steps
    )
    rates = {layer.path: rate for layer in layers if (rate := layer.given()) is not None}
    return price_rates(structure, rates) if rates else structure


def _layers(load: Workload) -> tuple[AnyLayer, ...]:
    return validate(read(_folder() / load.file), Structure).layers if load.file else load.layers


def footprint(name: str) -> int:
    """Bytes of all parameters and buffers."""
    rows = [(layer.counts(1), layer.buffer_bytes) for layer in _layers(tables().workloads[name])]
    return sum(made.parameters * made.weight_bits // 8 + buffers for made, buffers in rows)


def reproductions() -> tuple[Row, ...]:
    """Every printed number, computed again."""
    return tuple(_rows())


def _rows() -> Iterator[Row]:
    published = tables()
    for row in published.rows:
        source = published.sources[row.source]
        yield Row(
            table=published.tables[row.table],
            title=published.workloads[row.workload].title,
            quantity=row.quantity,
            published=row.published,
            high=row.high,
            ours=_computed(row) / UNITS[row.unit],
            unit=row.unit,
            decimals=row.decimals,
            tolerance=row.tolerance,
            source=source.doi or source.url or source.title,
            rule=row.convention,
            note=row.note,
        )


def _computed(row: Printed) -> float:
    if row.quantity == "footprint":
        return float(footprint(row.workload))
    made = apply(counts_of(row.workload), row.convention)
    if row.quantity not in ("energy", "energy ratio"):
        value: float = getattr(made, row.quantity)
        return value
    assert made.energy_joules is not None, "a row about energy names a convention with prices"
    if row.against is None:
        return made.energy_joules
    other = apply(counts_of(row.against), row.convention).energy_joules
    assert other, "a ratio is against a net that costs something"
    return made.energy_joules / other


def markdown(rows: tuple[Row, ...]) -> str:
    """`docs/reproductions.md`: every row by table, and the notes."""
    head = [
        "# Published tables, reproduced",
        "",
        "Written by `snnenergy conventions reproduce --markdown docs/reproductions.md`; a test holds it equal to what the",
        "shipped conventions compute from the shipped structures, rates and counts. Difference is ours minus published, in",
        "the unit of the row; every row has a tolerance and a test that it is kept.",
    ]
    body: list[str] = []
    for table in dict.fromkeys(row.table for row in rows):
        own = [row for row in rows if row.table == table]
        body += ["", f"## {table}", "", "| workload | quantity | published | ours | difference | source | rule |"]
        body += ["|---|---|---|---|---|---|---|", *map(_line, own)]
        notes = [f"- {row.title}, {row.quantity}: {row.note}" for row in own if row.note]
        body += ["", *dict.fromkeys(notes)] if notes else []
    return "\n".join([*head, *body, ""])


def _line(row: Row) -> str:
    unit = f" {row.unit}" if row.unit else ""
    end = "" if row.high is None else f" to {row.high:,.{row.decimals}f}"
    extra = 2 if row.unit and row.unit != "B" else 0
    same = abs(row.difference) <= 1e-12 * abs(row.published)
    difference = "inside" if row.high is not None and same else "0" if same else f"{row.difference:+.2g}"
    cells = (
        row.title,
        row.quantity,
        f"{row.published:,.{row.decimals}f}{end}{unit}",
        f"{row.ours:,.{row.decimals + extra}f}{unit}",
        difference,
        row.source,
        f"`{row.rule}`",
    )
    return f"| {' | '.join(cells)} |"
