"""Counts small enough to price by hand, and projects made of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from snnenergy import Counts
from snnenergy.counts import Conditions, Identity

CHIP = "horowitz_int32"
"""0.1 pJ an addition: a spike through a weight costs that, and there is neither memory nor static power."""
PICOJOULE = 1e-12


def net(acs: int = 1000, *, name: str = "net", samples: int = 1, weights: str = "w1", **fields: Any) -> Counts:
    """A spiking linear layer `fc` with that many accumulates an inference, and a layer `out` with 100."""
    layers = [synapses("fc", acs * samples), synapses("out", 100 * samples)]
    fields.setdefault("identity", Identity(weights=weights, architecture="a", time_steps=1, dtype="float32"))
    fields.setdefault("conditions", Conditions(inputs="ab"))
    return Counts.build(name, layers, samples=samples, time_steps=1, **fields)


def synapses(path: str, effective: int) -> dict[str, Any]:
    spikes = {"domain": "spike", "elements": 100, "nonzero": 10, "driven": effective, "effective": effective}
    return {
        "path": path, "role": "synaptic", "op": "linear", "dense_macs": 4000, "valid_macs": 4000, "streams": [spikes],
        "weights": 100, "weights_nonzero": 100, "weight_bits": 32, "output_elements": 10, "fan_in": 10, "fan_out": 10,
    }  # fmt: skip  # a table, read across


def budget(
    metric: str = "acs", model: str = "*", chip: str | None = None, layer: str | None = None, **limits: Any
) -> Any:
    """The fields of a budget, as in a file."""
    match = {"model": model, "chip": chip, "layer": layer}
    return {"metric": metric, "match": {k: v for k, v in match.items() if v is not None}, **limits}


def git(folder: Path, *arguments: str) -> str:
    """A git command in a repository that knows no user of this machine."""
    who = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=main",
    ]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def commit(folder: Path, message: str = "x") -> str:
    """Everything committed; the commit's name."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()
