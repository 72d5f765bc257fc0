"""CSV as every report writes it: cells no spreadsheet runs, numbers that round-trip, an empty cell for what is unknown."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from snnenergy.report.escape import csv_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snnenergy.cost.records import Range

ENDS = ("low", "nominal", "high")


def written(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A line of names and one per row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(csv_cell, head))
    for row in rows:
        writer.writerow(map(_cell, row))
    return out.getvalue()


def ends(value: Range | None) -> tuple[float | None, ...]:
    """Three cells of a range, as `ENDS` names them."""
    return (None, None, None) if value is None else (value.low, value.nominal, value.high)


def names(name: str, unit: str) -> list[str]:
    """Their columns: `energy_low_J`."""
    return [f"{name}_{end}_{unit}".rstrip("_") for end in ENDS]


def _cell(value: object) -> str:
    if isinstance(value, str | tuple):
        return csv_cell(value if isinstance(value, str) else "; ".join(value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
