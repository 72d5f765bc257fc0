"""Whole modules of the SNN frameworks: loaded through the list of classes and computing the same, or refused with the way out."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from snnenergy.errors import UnsafeModelError
from snnenergy.load import inspect, load_model
from snnenergy.load.allowed import BUILT
from tests.attacks import torch_bytes

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks and what they import

SINABS = {
    "LIF": {"tau_mem": 10.0},
    "LIFSqueeze": {"tau_mem": 10.0, "batch_size": 1},
    "IAF": {},
    "IAFSqueeze": {"batch_size": 1},
    "ALIF": {"tau_mem": 10.0, "tau_adapt": 10.0},
    "ExpLeak": {"tau_mem": 10.0},
}
SPIKINGJELLY = "IFNode LIFNode ParametricLIFNode KLIFNode EIFNode QIFNode IzhikevichNode".split()
CASES = [("sinabs.layers", name, options) for name, options in SINABS.items()] + [
    ("spikingjelly.activation_based.neuron", name, {}) for name in SPIKINGJELLY
]


def made(package: str, name: str, options: dict[str, Any]) -> nn.Module:
    home = pytest.importorskip(package, exc_type=ImportError)
    neuron: nn.Module = getattr(home, name)(**options)
    return nn.Sequential(nn.Linear(3, 4), neuron).eval()


@pytest.mark.parametrize(("package", "name", "options"), CASES, ids=[f"{p.split('.')[0]} {n}" for p, n, _ in CASES])
def test_neurons_load_and_compute_the_same(package: str, name: str, options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = made(package, name, options)
    (tmp_path / "net.pt").write_bytes(torch_bytes(net))
    assert inspect(tmp_path / "net.pt").loadable
    x = 3 * torch.rand(2, 5, 3) if package.startswith("sinabs") and "Squeeze" not in name else 3 * torch.rand(2, 3)
    assert torch.equal(load_model(tmp_path / "net.pt").module(x), net(x))


@pytest.mark.parametrize("name", ["IAFCell", "LSNNCell"])
def test_norse_neurons_are_refused_with_the_way_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(torch_bytes(made("norse.torch", name, {})))
    with pytest.raises(UnsafeModelError, match=r"Norse neurons .*--factory"):
        load_model(tmp_path / "net.pt")


def test_every_listed_class_is_there() -> None:
    """A name that a framework no longer has would be refused with a puzzling message."""
    for package in ("torch", "snntorch", "spikingjelly", "sinabs"):
        if package != "torch":
            pytest.importorskip(package, exc_type=ImportError)
        for full in (name for name in BUILT if name.startswith(f"{package}.")):
            module, _, name = full.rpartition(".")
            assert hasattr(importlib.import_module(module), name), full
