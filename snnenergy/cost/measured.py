"""Machines that were calibrated, and the nets that were then predicted and measured on them: committed figures, as a page shows them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snnenergy.hardware.quantity import show
from snnenergy.shipped import shipped

Record = Mapping[str, Any]
"""What `benchmarks/measured.py` writes: device, machine, nets (a row each, SI units), and a note on the worst of them."""
FILES = "measured_*.json"


def records(folder: Path | None = None) -> tuple[Record, ...]:
    """The committed ones, in the order of their names."""
    files = sorted((folder or shipped("hardware_profiles") / "validation").glob(FILES))
    return tuple(json.loads(file.read_text(encoding="utf-8")) for file in files)


def error(ratios: Sequence[float]) -> float:
    """Median of |predicted / measured - 1|."""
    return statistics.median(abs(ratio - 1) for ratio in ratios)


def section(record: Record) -> list[str]:
    """Lines of Markdown: a row per net with its command, the medians, the note."""
    nets: Sequence[Record] = record["nets"]
    read = any(row["measured_J"] is not None for row in nets)
    head = ["net", "batch", "predicted time", "measured", "ratio"]
    head += ["predicted energy", "measured", "idle subtracted", "ratio"] if read else []
    lines = [f"### {record['machine']}", "", _row([*head, "command"]), "|" + "---|" * (len(head) + 1)]
    lines += [_row([*_cells(row, read=read), f"`{command(row, record['device'])}`"]) for row in nets]
    lines += ["", f"Median error of time: {error([row['time_ratio'] for row in nets]):.1%}."]
    joules = [row["energy_ratio"] for row in nets if row["energy_ratio"] is not None]
    lines += [f"Median error of energy: {error(joules):.1%}, read from: {nets[0]['meter']}."] if joules else []
    lines += [] if read else [f"In the words of the command: {nets[0]['meter']}."]
    return [*lines, *([record["note"]] if record["note"] else []), ""]


def command(row: Record, device: str) -> str:
    axis = "" if row["time_axis"] is None else f" --time-axis {row['time_axis']}"
    where = "" if device == "cpu" else f" --device {device}"
    return f"snnenergy measure benchmarks.measured:{row['net']}{axis}{where}"


def _cells(row: Record, *, read: bool) -> list[str]:
    cells = [
        row["net"],
        str(row["batch"]),
        show(row["predicted_s"]["nominal"], "s"),
        show(row["measured_s"]["nominal"], "s"),
    ]
    cells.append(f"{row['time_ratio']:.2f}")
    if read:
        predicted = row["predicted_J"] and row["predicted_J"]["nominal"]
        cells += ["-" if j is None else show(j, "J") for j in (predicted, row["measured_J"], row["measured_net_J"])]
        cells.append("-" if row["energy_ratio"] is None else f"{row['energy_ratio']:.2f}")
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


PAGE = """## Measured here

`snnenergy calibrate` fits a profile to the machine it runs on, and `snnenergy measure` sets the estimate of that profile beside
what the machine takes.  No net below took part in a fit; `python benchmarks/measured.py FOLDER` calibrates and measures all of
them, and the raw figures lie in `hardware_profiles/validation/measured_*.json`.  Each command reads `this_machine.yaml`, which
`snnenergy calibrate` leaves in the current folder.
"""


def page(found: Sequence[Record]) -> list[str]:
    """The section of `docs/validation.md`; nothing where no machine was measured."""
    return [*PAGE.splitlines(), "", *(line for record in found for line in section(record))] if found else []
