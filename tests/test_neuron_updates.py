"""What one update of a framework's own neuron costs: counted by hand from its source, and by the recorder.

A row is (adds, muls, compares, specials): of one neuron in one step; then of what the source computes once a step, and once a
forward, on constants that one number holds for all neurons.  A reset to a value is s r + (1 - s) v, a sign is a comparison.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from snnenergy.trace import count
from tests.framework_nets import Folded, Loop, States, package

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own, while they are imported and run
T, N, NEURONS = 3, 2, 5
Ops = tuple[int, int, int, int]
NONE: Ops = (0, 0, 0, 0)


@dataclass(frozen=True)
class Written:
    """A neuron class; its model; what its source does per update, per step and per forward."""

    framework: str
    name: str
    make: Callable[[Any], nn.Module]
    model: str
    update: Ops
    step: Ops = NONE
    forward: Ops = NONE

    def __str__(self) -> str:
        return f"{self.framework}: {self.name}"


def sj(mode: str = "m", **options: Any) -> Callable[[Any], nn.Module]:
    def make(cls: Any) -> nn.Module:
        functional = package("spikingjelly.activation_based.functional")
        neuron = cls(step_mode=mode, **options)
        return (Folded if mode == "m" else Loop)(neuron, functional.reset_net)

    return make


def snn(**options: Any) -> Callable[[Any], nn.Module]:
    return lambda cls: Loop(cls(**options), lambda neuron: neuron.reset_mem())  # type: ignore[operator]  # a snnTorch neuron


def cell(cls: Any) -> nn.Module:
    return States(cls())


def sinabs(**options: Any) -> Callable[[Any], nn.Module]:
    return lambda cls: Folded(cls(**options), package("sinabs").reset_states)


SJ, SNN = "spikingjelly.activation_based.neuron", "snntorch"
NORSE, SINABS = "norse.torch", "sinabs.layers"
ROWS = (
    # h - theta: 1 add; >= 0: 1 compare; s r + (1 - s) h: 2 adds, 2 muls; so (3, 2, 1, 0) beside the charge
    Written(SJ, "IFNode", sj(), "IF", (1 + 3, 2, 1, 0)),  # h = v + x
    Written(SJ, "IFNode", sj("s"), "IF", (1 + 3, 2, 1, 0)),
    Written(SJ, "LIFNode", sj(), "LIF", (3 + 3, 1 + 2, 1, 0)),  # h = v + (x - (v - r)) / tau
    Written(SJ, "LIFNode", sj("s"), "LIF", (3 + 3, 1 + 2, 1, 0)),
    Written(
        SJ, "ParametricLIFNode", sj(), "PLIF", (3 + 3, 1 + 2, 1, 0), forward=(0, 0, 0, 1)
    ),  # sigmoid(w) for 1 / tau
    # h = v + (x + a (v - r) (v - c)) / tau
    Written(SJ, "QIFNode", sj(), "QIF", (4 + 3, 3 + 2, 1, 0)),
    # h = v + (x + r - v + d exp((v - theta) / d)) / tau
    Written(SJ, "EIFNode", sj(), "EIF", (5 + 3, 3 + 2, 1, 1)),
    # h = v + (x + a0 (v - r) (v - c) - w) / tau;  w = w + (a (h - r) - w) / tau_w + b s
    Written(SJ, "IzhikevichNode", sj(), "Izhikevich", (5 + 4 + 3, 3 + 3 + 2, 1, 0)),
    # u = c u + x;  h = d v + u
    Written(SJ, "CUBALIFNode", lambda cls: Loop(cls(), _reset_sj), "CUBA", (2 + 3, 2 + 2, 1, 0)),
    # p = h >= theta; n = -h >= theta; s = p - n; reset by p + n: a sign, a threshold, a compare and two sums more
    Written(SJ, "TernaryIFNode", sj(), "ternary IF", (1 + 3 + 3, 2, 3, 0)),
    Written(SJ, "TernaryLIFNode", sj(), "ternary LIF", (3 + 3 + 3, 1 + 2, 3, 0)),
    # i = x (1 - b (1 - g)); v = (1 - a (1 - t)) v - (1 - a) l + i - (1 - a (1 - t)) v c s - (1 - c) r s; gates are scalars
    Written(SJ, "GatedLIFNode", sj(T=T), "GLIF", (4 + 1, 6, 1, 0), (8, 5, 0, 1), (0, 0, 0, 7)),
    # v = relu(k (v + (x - (v - r)) / tau))
    Written(SJ, "KLIFNode", sj(), "KLIF", (3 + 3, 2 + 2, 2, 0)),
    # twice v - theta and a comparison (this step's spike, the last one's reset); the spike times its grade; - reset theta;
    # the decay is clamped between 0 and 1 in every step
    Written(SNN, "Leaky", snn(beta=0.8), "LIF", (1 + 3, 1 + 2, 2, 0), (0, 0, 2, 0)),  # v = b v + x
    # v = x R (1 / (R C)) dt + (1 - dt / (R C)) v
    Written(SNN, "Lapicque", snn(beta=0.8), "LIF", (1 + 3, 4 + 2, 2, 0), (1, 4, 0, 1)),
    Written(
        SNN, "Synaptic", snn(alpha=0.9, beta=0.8), "CUBA", (2 + 3, 2 + 2, 2, 0), (0, 0, 4, 0)
    ),  # u = a u + x; v = b v + u
    # and the recurrent layer's output is added; its own products are its own layer's
    Written(SNN, "RLeaky", snn(beta=0.8, linear_features=NEURONS), "LIF", (2 + 3, 1 + 2, 2, 0), (0, 0, 2, 0)),
    Written(
        SNN, "RSynaptic", snn(alpha=0.9, beta=0.8, linear_features=NEURONS), "CUBA", (3 + 3, 2 + 2, 2, 0), (0, 0, 4, 0)
    ),
    # p = a p + x; n = b n - x; v = k (p + n), all of it twice; each - s of the second: the reset to zero, on which it is set
    # k = log a / (log b - log a) + 1 of clamped constants, twice as well
    Written(SNN, "Alpha", snn(alpha=0.9, beta=0.8), "alpha", (3 + 3 + 3 + 2, 3 + 3 + 3 + 1, 2, 0), (4, 2, 20, 6)),
    # i = i + x; v = v + dt / tau_m (r - v + i); i = i - dt / tau_s i; then the threshold and the reset as above
    # the v that a forward starts from is one number, so the first r - v is one sum
    Written(NORSE, "LIFCell", cell, "LIF", (5 + 3, 2 + 2, 1, 0), (0, 2, 0, 0), (1 - N * NEURONS, 0, 0, 0)),
    Written(NORSE, "IAFCell", cell, "IF", (1 + 3, 2, 1, 0)),
    # v = a v + x; s = (v > 0) trunc(v / theta); v - s theta; and the mean rate of the whole output: a sum, a division
    Written(SINABS, "IAF", sinabs(), "IF", (2 + 1, 4, 1, 0), forward=(0, 1, 0, 0)),
    # a = exp(-1 / tau), once: a reciprocal, a sign's product and an exponential
    Written(SINABS, "LIF", sinabs(tau_mem=5.0, norm_input=False), "LIF", (2 + 1, 4, 1, 0), forward=(0, 2, 0, 2)),
    # v = a v + x; t = theta + k b, before and after; s = v - t >= 0; v - s t; b = r b + (1 - r) s; and the mean rate
    Written(
        SINABS,
        "ALIF",
        sinabs(tau_mem=5.0, tau_adapt=5.0, norm_input=False),
        "ALIF",
        (6 + 1, 6, 1, 0),
        (1, 0, 0, 0),
        (0, 3, 0, 4),
    ),
    Written(SINABS, "ExpLeak", sinabs(tau_mem=5.0), "LI", (1 + 1, 1, 0, 0), forward=(0, 2, 0, 2)),
)


def _reset_sj(neuron: nn.Module) -> None:
    package("spikingjelly.activation_based.functional").reset_net(neuron)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_update_is_what_the_source_says(row: Written) -> None:
    try:
        package(row.framework)
    except ImportError:
        pytest.skip(f"{row.framework.partition('.')[0]} is not installed")
    net = row.make(getattr(importlib.import_module(row.framework), row.name)).eval()
    shape: tuple[int, ...] = (N, T, NEURONS) if row.framework == SINABS else (T, N, NEURONS)
    if row.name == "GatedLIFNode":
        shape = (T, N, NEURONS, 1, 1)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net(x)  # some neurons make their state in the first forward
        counts = count(net, x)
    (layer,) = [layer for layer in counts.layers if layer.role == "neuron"]
    assert (layer.neuron_model, layer.neurons, layer.updates) == (row.model, NEURONS, T * N * NEURONS)
    expected = tuple(u * layer.updates + s * T + f for u, s, f in zip(row.update, row.step, row.forward, strict=True))
    assert (layer.adds, layer.muls, layer.compares, layer.specials) == expected
    assert not counts.uncounted
