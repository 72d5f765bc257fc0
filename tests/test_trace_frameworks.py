"""What each framework means by neuron, time and sample: the same small net, written five ways, counted by hand.

T = 5 steps, N = 3 samples, 6 inputs, 4 spiking neurons, 2 outputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnenergy.cost.structure import populations
from snnenergy.counts import Counts
from snnenergy.trace import count, counting
from tests.trace_nets import LIF, Steps, figures, spikes

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own, while they are imported and run
T, N, INPUTS, NEURONS, OUTPUTS = 5, 3, 6, 4, 2


def weighted(net: nn.Module) -> nn.Module:
    """Every linear layer gets positive weights, so that all neurons fire now and then."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.weight, 0.4)
            nn.init.zeros_(layer.bias)
    return net.eval()


def plain() -> tuple[nn.Module, Tensor]:
    return Steps(nn.Sequential(nn.Linear(INPUTS, NEURONS), LIF(), nn.Linear(NEURONS, OUTPUTS))), spikes(T, N, INPUTS)


def spikingjelly(mode: str) -> Callable[[], tuple[nn.Module, Tensor]]:
    def build() -> tuple[nn.Module, Tensor]:
        pytest.importorskip("spikingjelly", reason="spikingjelly is not installed", exc_type=ImportError)
        from spikingjelly.activation_based import functional, layer, neuron

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Sequential(
                    layer.Linear(INPUTS, NEURONS), neuron.LIFNode(), layer.Linear(NEURONS, OUTPUTS)
                )
                functional.set_step_mode(self.net, mode)

            def forward(self, x: Tensor) -> Any:
                functional.reset_net(self.net)
                return self.net(x) if mode == "m" else torch.stack([self.net(x[t]) for t in range(T)])

        return Net(), spikes(T, N, INPUTS)

    return build


def snntorch() -> tuple[nn.Module, Tensor]:
    package = pytest.importorskip("snntorch", reason="snntorch is not installed", exc_type=ImportError)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif, self.fc2 = (
                nn.Linear(INPUTS, NEURONS),
                package.Leaky(beta=0.5),
                nn.Linear(NEURONS, OUTPUTS),
            )

        def forward(self, x: Tensor) -> Tensor:
            mem, out = self.lif.init_leaky(), []
            for t in range(T):
                spk, mem = self.lif(self.fc1(x[t]), mem)
                out.append(self.fc2(spk))
            return torch.stack(out)

    return Net(), spikes(T, N, INPUTS)


def norse() -> tuple[nn.Module, Tensor]:
    package = pytest.importorskip("norse.torch", reason="norse is not installed", exc_type=ImportError)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            p = package.LIFParameters(tau_syn_inv=torch.tensor(900.0), tau_mem_inv=torch.tensor(900.0))
            self.fc1, self.lif, self.fc2 = nn.Linear(INPUTS, NEURONS), package.LIFCell(p), nn.Linear(NEURONS, OUTPUTS)

        def forward(self, x: Tensor) -> Tensor:
            state, out = None, []
            for t in range(T):
                spk, state = self.lif(self.fc1(x[t]), state)
                out.append(self.fc2(spk))
            return torch.stack(out)

    return Net(), spikes(T, N, INPUTS)


def sinabs() -> tuple[nn.Module, Tensor]:
    package = pytest.importorskip("sinabs", reason="sinabs is not installed", exc_type=ImportError)
    layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed", exc_type=ImportError)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            lif = layers.LIFSqueeze(
                tau_mem=2.0, batch_size=N, spike_fn=package.activation.SingleSpike, norm_input=False
            )
            self.fc1, self.lif, self.fc2 = nn.Linear(INPUTS, NEURONS), lif, nn.Linear(NEURONS, OUTPUTS)

        def forward(self, x: Tensor) -> Any:
            package.reset_states(self)
            return self.fc2(self.lif(self.fc1(x.flatten(0, 1))))

    return Net(), spikes(T, N, INPUTS).transpose(0, 1).contiguous()  # N x T x F


BUILDS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "plain": plain,
    "spikingjelly, single step": spikingjelly("s"),
    "spikingjelly, multi step": spikingjelly("m"),
    "snntorch": snntorch,
    "norse": norse,
    "sinabs": sinabs,
}


def neuron(counts: Counts) -> Any:
    (layer,) = [layer for layer in counts.layers if layer.role == "neuron"]
    return layer


@pytest.mark.parametrize("name", BUILDS)
def test_the_same_net_in_every_framework(name: str) -> None:
    model, x = BUILDS[name]()
    with torch.no_grad():
        counts = count(weighted(model), x)
    first, last = (layer for layer in counts.layers if layer.role == "synaptic")
    lif = neuron(counts)
    assert (counts.samples, counts.time_steps) == (N, T)
    assert (first.dense_macs, last.dense_macs) == (T * N * INPUTS * NEURONS, T * N * NEURONS * OUTPUTS)
    assert first.acs == NEURONS * int(x.sum())
    assert (lif.neurons, lif.updates) == (NEURONS, NEURONS * T * N)
    assert 0 < lif.spikes_out < lif.updates
    assert last.acs == OUTPUTS * lif.spikes_out
    assert lif.neuron_model in ("LIF", "IF")
    assert [str(s.domain) for s in (*first.streams, *last.streams)] == ["spike", "spike"]


@pytest.mark.parametrize("name", BUILDS)
def test_steps_of_every_framework(name: str) -> None:
    model, x = BUILDS[name]()
    with torch.no_grad():
        counts = count(weighted(model), x)
    first, last = (layer for layer in counts.layers if layer.role == "synaptic")
    lif = neuron(counts)
    steps = x.sum((0, 2)) if name == "sinabs" else x.sum((1, 2))
    assert first.per_step is not None
    assert last.per_step is not None
    assert first.per_step.effective == tuple(NEURONS * int(n) for n in steps)
    assert last.per_step.effective == tuple(OUTPUTS * n for n in lif.per_step.spikes_out)
    assert sum(lif.per_step.spikes_out) == lif.spikes_out


@pytest.mark.parametrize("name", BUILDS)
def test_watching_every_framework(name: str) -> None:
    model, x = BUILDS[name]()
    weighted(model)
    with torch.no_grad():
        model(x)  # some neurons make their state in the first forward
        once = count(model, x)
        with counting(model) as rec:
            for _ in range(3):
                model(x)
    assert figures(rec.counts()) == figures(once.merge(once, once))


def test_a_time_axis_may_be_given() -> None:
    net = weighted(nn.Sequential(nn.Linear(INPUTS, NEURONS), nn.ReLU()))
    x = spikes(T, N, INPUTS)
    given, guessed = count(net, x, time_axis=0), count(net, x)
    assert (given.samples, given.time_steps) == (N, T)
    assert (guessed.samples, guessed.time_steps) == (T, None)
    steps = given["0"].per_step
    assert steps is not None
    assert steps.effective == tuple(NEURONS * int(n) for n in x.sum((1, 2)))
    assert given["0"].effective == guessed["0"].effective
    assert count(net, x.transpose(0, 1), time_axis=1).samples == N


class Rows(nn.Module):
    """`body` gives the inputs of a layer and its neuron, one call each, of x as it comes."""

    def __init__(self, body: Callable[[Tensor], Any], twice: bool = False) -> None:
        super().__init__()
        self.body, self.fc, self.lif, self.twice = body, nn.Linear(INPUTS, INPUTS), LIF(), twice

    def forward(self, x: Tensor) -> Tensor:
        self.lif.v = None
        for part in self.body(x):
            y: Tensor = self.lif(self.fc(part))
            if self.twice:
                y = self.lif(self.fc(y))
        return y


SLICED: dict[str, tuple[Callable[[Tensor], Any], bool, int]] = {
    "one run a frame": (lambda x: [x[t] for t in range(T)], False, T),
    "two runs a frame": (lambda x: [frame for t in range(T) for frame in [x[t]] * 2], False, 2 * T),
    "two passes through one neuron": (lambda x: [x[t] for t in range(T)], True, 2 * T),
    "differences": (lambda x: [x[t] - x[t - 1] for t in range(1, T)], False, T - 1),
    "differences from the frame kept": (lambda x: [b - a for a, b in itertools.pairwise(x)], False, T - 1),
    "differences from nothing": (lambda x: [x[t] - (x[t - 1] if t else 0) for t in range(T)], False, T),
}
"""How a model takes x [T, N, X] apart: its loop, whether a frame passes layer and neuron twice, the steps."""


@pytest.mark.parametrize("name", SLICED)
def test_the_axis_that_a_loop_takes_whole_is_time(name: str) -> None:
    body, twice, steps = SLICED[name]
    with torch.no_grad():
        counts = count(Rows(body, twice), spikes(T, N, INPUTS))
    assert (counts.samples, counts.time_steps) == (N, steps)


APART: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...]]] = {
    "a batch of one": (lambda x: [x[0].mean(0, keepdim=True)] * 4, (1, 3, INPUTS)),
    "a sample at a time, twice each": (lambda x: [x[i // 2].mean(0, keepdim=True) for i in (0, 2)] * 2, (2, 3, INPUTS)),
    "channels": (lambda x: [x[:, 0] + x[:, 1] + x[:, 2]] * 6, (4, 3, INPUTS)),
}


@pytest.mark.parametrize("name", APART)
def test_slices_that_are_no_steps_are_not_time(name: str) -> None:
    body, shape = APART[name]
    with torch.no_grad():
        assert count(Rows(body), spikes(*shape)).samples == shape[0]


def test_a_module_named_a_neuron_by_the_user() -> None:
    net = weighted(Steps(nn.Sequential(nn.Linear(INPUTS, NEURONS), nn.Sigmoid(), nn.Linear(NEURONS, OUTPUTS))))
    counts = count(net, spikes(T, N, INPUTS), roles={"net.1": "CUBA"})
    lif = counts["net.1"]
    assert (lif.role, lif.neuron_model, lif.neurons, lif.updates) == ("neuron", "CUBA", NEURONS, NEURONS * T * N)
    assert lif.spikes_out is None  # its outputs are no spikes


def test_a_module_that_only_looks_like_a_neuron_can_be_said_to_be_none() -> None:
    net = weighted(Steps(nn.Sequential(nn.Linear(INPUTS, NEURONS), LIF(), nn.Linear(NEURONS, OUTPUTS))))
    assert count(net, spikes(T, N, INPUTS), roles={"net.1": "other"})["net.1"].role == "other"


@pytest.mark.parametrize("start", [torch.zeros, torch.ones, torch.rand])
def test_a_neuron_is_not_driven_by_whoever_made_the_state_it_starts_from(start: Callable[..., Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.i2h, self.h2h, self.h2o = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)
            self.hidden, self.output = Adapting(5), Adapting(3)

        def forward(self, x: Tensor) -> Tensor:
            hidden, output = (start(len(x), 5), torch.zeros(len(x), 5)), (start(len(x), 3), torch.zeros(len(x), 3))
            for step in x.unbind(1):
                hidden = self.hidden(self.i2h(step) + self.h2h(hidden[1]), *hidden)
                output = self.output(self.h2o(hidden[1]), *output)
            return output[0]

    with torch.no_grad():
        counts = count(Net(), torch.ones(2, 6, 4), time_axis=1, roles={"hidden": "LIF", "output": "LIF"})
    assert [(p.path, [w.path for w in p.synaptic]) for p in populations(counts)] == [
        ("hidden", ["i2h", "h2h"]),
        ("output", ["h2o"]),
    ]


class Adapting(nn.Module):
    """Its first operator meets its state, as in `v <- a v + I`."""

    def __init__(self, neurons: int) -> None:
        super().__init__()
        self.register_buffer("decay", torch.full((neurons,), 0.9))
        self.decay: Tensor

    def forward(self, current: Tensor, v: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        v = self.decay * v + current - s
        return v, (v > 0.5).float()
