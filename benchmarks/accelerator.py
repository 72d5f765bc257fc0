"""Counting on an accelerator: the integers of the CPU, no synchronisation per operator, and what it costs.

    python benchmarks/accelerator.py [DEVICE] [--json FILE|-]

A net whose weights and inputs are small dyadic numbers computes the same values everywhere: every count must be the CPU's.
For the nets of overhead.py: milliseconds of a bare and of a watched forward, and how often a watched forward makes the
host wait for the device.  Synchronisations are what `torch.cuda.set_sync_debug_mode` warns of.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnenergy
from benchmarks.overhead import LIF, NETS, Steps, conv_stack

RUNS, LEARN = 30, 8
"""Timed forwards, and forwards before them: the 8th is surveyed, the next surveyed one is the 16th."""


def dyadic() -> tuple[nn.Module, Tensor]:
    """A spiking conv net in quarters, on an image in eighths."""
    torch.manual_seed(0)
    net = conv_stack((8, "M", 16, "M"), LIF, nn.Linear(16 * 4 * 4, 10))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randint(-4, 5, p.shape) / 4)
    return Steps(net.eval(), 4), torch.randint(0, 9, (2, 3, 16, 16)) / 8


def same_counts(device: str) -> bool:
    model, x = dyadic()
    layers = []
    for where in ("cpu", device):
        there = copy.deepcopy(model).to(where)
        with torch.no_grad(), snnenergy.counting(there) as rec:
            for _ in range(5):
                there(x.to(where))
        layers.append([(la.path, la.dense_macs, la.streams, la.spikes_out, la.per_step) for la in rec.counts().layers])
    return layers[0] == layers[1]


def timed(run: Callable[[], object], wait: Callable[[], None]) -> float:
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def measure(name: str, device: str) -> dict[str, Any]:
    model, x = NETS[name]()
    model, x = model.to(device).eval(), x.to(device)
    watched = copy.deepcopy(model)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    bare, open_, waits = [], [], []
    with torch.no_grad(), snnenergy.counting(watched) as rec:
        for _ in range(LEARN):
            model(x)
            watched(x)
        for _ in range(RUNS):
            bare.append(timed(lambda: model(x), wait))
            surveyed = rec.surveyed
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                if device.startswith("cuda"):
                    torch.cuda.set_sync_debug_mode("warn")
                try:
                    watched(x)
                finally:
                    if device.startswith("cuda"):
                        torch.cuda.set_sync_debug_mode("default")
            if rec.surveyed == surveyed:
                waits.append(sum("synchroniz" in str(w.message) for w in heard))
            open_.append(timed(lambda: watched(x), wait))
    return {
        "net": name, "bare_ms": 1e3 * statistics.median(bare), "open_ms": 1e3 * statistics.median(open_),
        "ratio": statistics.median(open_) / statistics.median(bare), "waits": statistics.median(waits),
        "contractions": sum(site.slot for site in rec.layers.sites.values()), "surveyed": rec.surveyed, "forwards": rec.forwards,
    }  # fmt: skip  # one record, read across


def table(made: dict[str, Any]) -> str:
    """The record as Markdown."""
    same = "equal" if made["same_counts"] else "DIFFER FROM"
    lines = [f"{made['device']}, torch {made['torch']}: counts of the dyadic net {same} the CPU's", ""]
    lines += [
        "| net | bare, ms | watched, ms | ratio | reads a forward | waits a forward |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['net']} | {row['bare_ms']:.2f} | {row['open_ms']:.2f} | x{row['ratio']:.2f} "
        f"| {row['contractions']} | {row['waits']:g} |"
        for row in made["nets"]
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Counting on an accelerator.")
    parser.add_argument("device", nargs="?", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", metavar="FILE|-", help="write JSON; `-`: to stdout, instead of the table")
    wanted = parser.parse_args(arguments)
    device = wanted.device
    card = torch.cuda.get_device_name() if device.startswith("cuda") else device
    rows = [measure(name, device) for name in NETS]
    made = {"device": card, "torch": str(torch.__version__), "same_counts": same_counts(device), "nets": rows}
    document = json.dumps(made, indent=1) + "\n"
    if wanted.json and wanted.json != "-":
        Path(wanted.json).write_text(document, encoding="utf-8")
    print(document if wanted.json == "-" else table(made), end="")


if __name__ == "__main__":
    main()
