"""Counts against an independent brute-force reference, case by case: a table, printed by one command.

    python benchmarks/conformance.py [CASE ...] [--json FILE|-]

The cases and the reference lie beside the repository (../shared/conformance); without them there is nothing to compare
with, and the command says so.  Per case: one-shot `count`, and three forwards in one open context, in total and per layer.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import snnenergy

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "conformance"
FIGURES = ("dense", "acs", "macs")
FRAMEWORKS = ("snntorch", "spikingjelly", "norse", "sinabs", "bindsnet")
OPEN = 3

Layers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One case: the reference's totals of one forward, how many figures it has, and each of ours that differs."""

    case: str
    dense: int
    acs: int
    macs: int
    layers: int
    steps: int
    wrong: tuple[str, ...]
    missing: str = ""


def compare(counts: snnenergy.Counts, truth: Layers, times: int) -> list[str]:
    """Where the counts of so many equal forwards are not exactly the reference's."""
    ours = {layer.path: layer for layer in counts.layers if layer.dense_macs}
    wrong = [f"{path}: no such layer" for path in sorted(set(ours) ^ set(truth))]
    for path in truth.keys() & ours.keys():
        layer, row = ours[path], truth[path]
        found = {"dense": layer.dense_macs, "acs": layer.acs, "macs": layer.macs}
        wrong += [f"{path}: {f} {found[f]} for {times * row[f]}" for f in FIGURES if found[f] != times * row[f]]
        if stepped(row):
            steps = layer.per_step.effective if layer.per_step is not None else ()
            wrong += [] if list(steps) == [times * n for n in row["steps"]] else [f"{path}: steps"]
    return wrong


def stepped(row: Mapping[str, Any]) -> bool:
    return bool(row["steps"]) and len(row["steps"]) > 1


def measure(case: Any, reference: Any) -> Row:
    try:
        model, inputs = case.build()
    except ImportError as error:
        return Row(case.name, 0, 0, 0, 0, 0, (), missing=str(error))
    truth = reference.reference(model, inputs, T=case.T, layout=case.layout, spike_channels=case.spike_channels)
    with torch.no_grad():
        once = snnenergy.count(model, *inputs, spike_channels=case.spike_channels)
        with snnenergy.counting(model, spike_channels=case.spike_channels) as rec:
            for _ in range(OPEN):
                model(*inputs)
    wrong = [f"count: {w}" for w in compare(once, truth, 1)]
    wrong += [f"counting: {w}" for w in compare(rec.counts(), truth, OPEN)]
    wrong += [f"uncounted: {row.path}: {row.op}" for row in once.uncounted if row.op != "uncalled"]
    dense, acs, macs = (sum(row[f] for row in truth.values()) for f in FIGURES)
    return Row(case.name, dense, acs, macs, len(truth), sum(map(stepped, truth.values())), tuple(wrong))


def table(rows: Sequence[Row]) -> str:
    """Markdown, as it stands in docs/counting.md."""
    exact = sum(not row.wrong and not row.missing for row in rows)
    lines = [", ".join(f"{name} {number}" for name, number in versions().items()), ""]
    lines += ["| case | dense MACs | ACs | MACs | layers | with steps | |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {r.case} | {r.dense:,} | {r.acs:,} | {r.macs:,} | {r.layers} | {r.steps or ''} | {_verdict(r)} |"
        for r in rows
    ]
    return "\n".join([*lines, "", f"{exact} of {len(rows)} cases exact"]) + "\n"


def _verdict(row: Row) -> str:
    return f"not run: {row.missing}" if row.missing else "; ".join(row.wrong) or "exact"


def versions() -> dict[str, str]:
    found = {"snnenergy": snnenergy.__version__, "torch": torch.__version__, "python": platform.python_version()}
    for name in FRAMEWORKS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Counts against an independent brute-force reference.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--json", metavar="FILE|-", help="write JSON; `-`: to stdout, instead of the table")
    wanted = parser.parse_args(arguments)
    if not (FOLDER / "reference.py").is_file():
        print(f"no reference at {os.path.relpath(FOLDER)}: nothing to compare with", file=sys.stderr)
        return 2
    sys.path.insert(0, str(FOLDER))
    warnings.simplefilter("ignore")  # the frameworks' own, while they are imported and run
    importlib.import_module("env_shims").quiet()
    cases: Mapping[str, Any] = importlib.import_module("cases").CASES
    importlib.import_module("edges")
    reference = importlib.import_module("reference")
    if unknown := sorted(set(wanted.cases) - set(cases)):
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(cases)}")
    rows = [measure(cases[name], reference) for name in wanted.cases or cases]
    document = json.dumps({"versions": versions(), "cases": [asdict(row) for row in rows]}, indent=1) + "\n"
    if wanted.json and wanted.json != "-":
        Path(wanted.json).write_text(document, encoding="utf-8")
    print(document if wanted.json == "-" else table(rows), end="")
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
