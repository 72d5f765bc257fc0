"""T, samples and neurons of nets that say them in their own ways: what every figure per inference stands on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnenergy.counts import Counts
from snnenergy.trace import count, counting
from tests.framework_nets import CASES, Case, package
from tests.trace_nets import LIF, spikes

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own, while they are imported and run

EXPORTED = [
    "ternary LIF, multi step",
    "Alpha, state passed on",
    "Leaky and Synaptic, init_hidden",
    "IAFSqueeze",
    "LIF over (N, T, ...)",
    "ExpLeak over (N, T, ...)",
]


def of(name: str) -> Any:
    try:
        return package(name)
    except ImportError:
        return pytest.skip(f"{name} is not installed")


def clock(counts: Counts) -> tuple[int | None, int, dict[str, int]]:
    return counts.time_steps, counts.samples, {la.path: la.neurons for la in counts.layers if la.role == "neuron"}


# ---- a static input, read once by the first layers and repeated
class Static(nn.Module):
    """Some layers on N images or vectors, then neurons that run T steps of what those made."""

    def __init__(self, first: nn.Module, neuron: nn.Module, steps: int, order: str) -> None:
        super().__init__()
        self.first, self.neuron, self.last = first, neuron, nn.Linear(4, 3)
        self.steps, self.order = steps, order

    def forward(self, x: Tensor) -> Tensor:
        once = self.first(x)
        axis = 0 if self.order == "TN" else 1
        out = self.neuron(torch.stack([once] * self.steps, axis))
        fired: Tensor = out[0] if isinstance(out, tuple) else out
        made: Tensor = self.last(fired.flatten(3).mean(3) if fired.dim() > 3 else fired)
        return made


def _jelly() -> nn.Module:
    made: nn.Module = of("spikingjelly.activation_based.neuron").IFNode(step_mode="m")
    return made


SEQUENCES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "SpikingJelly": (_jelly, "TN"),
    "Norse": (lambda: of("norse.torch").LIF(), "TN"),
    "snnTorch": (lambda: of("snntorch").StateLeaky(beta=0.9, channels=4), "TN"),
    "sinabs": (lambda: of("sinabs.layers").IAF(), "NT"),
}


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [1, 2, 4])
@pytest.mark.parametrize(
    ("name", "conv"),
    [(name, conv) for name in SEQUENCES for conv in (False, True) if (name, conv) != ("snnTorch", True)],  # of vectors
)
def test_a_static_image_is_one_sample_at_any_number_of_steps(name: str, samples: int, steps: int, conv: bool) -> None:
    """Also where there are as many samples, or features, as steps."""
    make, order = SEQUENCES[name]
    first: nn.Module = nn.Conv2d(3, 4, 2) if conv else nn.Linear(4, 4)
    x = torch.rand(samples, 3, 3, 3) if conv else torch.rand(samples, 4)
    with torch.no_grad():
        counts = count(Static(first, make(), steps, order), x)
    assert clock(counts) == (steps, samples, {"neuron": 16 if conv else 4})


@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize("name", SEQUENCES)
def test_an_input_with_steps_has_them_where_the_layers_do(name: str, samples: int) -> None:
    make, order = SEQUENCES[name]
    net = nn.Sequential(nn.Linear(4, 4), make())
    with torch.no_grad():
        counts = count(net, torch.rand((4, samples, 4) if order == "TN" else (samples, 4, 4)))
    assert clock(counts) == (4, samples, {"1": 4})


# ---- neurons by class that say nothing of time
def test_a_neuron_that_knows_one_step_mode_only() -> None:
    neuron = of("spikingjelly.activation_based.neuron")
    net = nn.Sequential(nn.Linear(6, 8), neuron.PSN(T=5), nn.Linear(8, 4))
    with torch.no_grad():
        assert clock(count(net, spikes(5, 3, 6))) == (5, 3, {"1": 8})


@pytest.mark.parametrize(
    "kind",
    "LIFEx LIFExRecurrent LIFAdExRecurrent LIFRefracRecurrent LIFAdExRefracRecurrent".split(),
)
def test_every_sequence_of_norse(kind: str) -> None:
    make = getattr(of("norse.torch"), kind)
    net = make(6, 8) if "Recurrent" in kind else make()
    with torch.no_grad():
        assert clock(count(net, spikes(5, 3, 6))) == (5, 3, {"(root)": 8 if "Recurrent" in kind else 6})


WORDS: list[tuple[str, str, dict[str, Any], int]] = [
    ("norse.torch", "LIFCell", {}, 2),
    ("norse.torch", "LIFBoxCell", {}, 1),
    ("norse.torch", "LIFRefracCell", {}, 3),
    ("norse.torch", "LSNNCell", {}, 3),
    ("norse.torch", "LIFAdExCell", {}, 3),
    ("norse.torch", "LICell", {}, 2),
    ("norse.torch", "IAFCell", {}, 1),
    ("sinabs.layers", "LIF", {"tau_mem": 20.0}, 1),
    ("sinabs.layers", "LIF", {"tau_mem": 20.0, "tau_syn": 10.0}, 2),
    ("sinabs.layers", "ALIF", {"tau_mem": 20.0, "tau_adapt": 20.0, "tau_syn": 10.0}, 3),
    ("spikingjelly.activation_based.neuron", "ComplementaryLIFNode", {}, 2),
]


@pytest.mark.parametrize(("home", "kind", "options", "words"), WORDS)
def test_a_synaptic_current_is_state(home: str, kind: str, options: dict[str, Any], words: int) -> None:
    net = getattr(of(home), kind)(**options)
    with torch.no_grad():
        (layer,) = count(net, spikes(2, 3, 4), samples=2).layers
    assert layer.state_words == words


# ---- loops
class Loop(nn.Module):
    """Two layers over the steps of axis 0, with a neuron each."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.lif, self.other = nn.Linear(6, 8), nn.Linear(8, 4), LIF(), LIF()

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.other(self.b(self.lif(self.a(step)))) for step in x])


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("samples", [1, 3])
def test_a_loop_over_one_step_has_the_samples_of_every_other(steps: int, samples: int) -> None:
    assert clock(count(Loop(), spikes(steps, samples, 6))) == (steps, samples, {"lif": 8, "other": 4})


@pytest.mark.parametrize("width", [4, 8])
def test_a_neuron_that_serves_two_layers_runs_twice_a_step(width: int) -> None:
    """Which of its neurons fired in no step is not known: its calls are of two populations."""
    counts = count(Shared(width), spikes(5, 3, 6))
    assert clock(counts) == (5, 3, {"lif": 8 + width})
    assert (counts["lif"].silent, counts["lif"].saturated) == (None, None)


class Shared(nn.Module):
    """One neuron module, whose state the model keeps, after both layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b, self.lif = nn.Linear(6, 8), nn.Linear(8, width), FireLIF()

    def forward(self, x: Tensor) -> Tensor:
        v = w = torch.zeros(())
        out = []
        for step in x:
            s, v = self.lif(self.a(step), v)
            t, w = self.lif(self.b(s), w)
            out.append(t)
        return torch.stack(out)


class FireLIF(nn.Module):
    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        v = 0.9 * v + x
        s = (v > 0.1).float()
        return s, v - s


def test_steps_that_differ_between_forwards_leave_the_neurons_as_many() -> None:
    net = Loop()
    with counting(net) as rec:
        for steps in (5, 3, 5, 3, 3):
            net(spikes(steps, 3, 6))
    counts = rec.counts()
    assert clock(counts) == (None, 15, {"lif": 8, "other": 4})
    assert any("3 and 5 steps" in note for note in counts.identity.notes)


# ---- blocks that are named like neurons
class ConvLIF(nn.Module):
    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.neuron = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), neuron

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.neuron(self.norm(self.conv(x)))
        return made


def test_a_block_named_like_a_neuron_is_none() -> None:
    """Its norm is no neuron's arithmetic, and its neuron says what it says anywhere; `roles` may say otherwise."""
    block = ConvLIF(LIF()).eval()
    counts = count(nn.Sequential(block), spikes(2, 2, 5, 5))
    assert {la.path: la.role for la in counts.layers if la.neuron_model} == {"0.neuron": "neuron"}
    assert counts["0.norm"].role == "other" and counts["0.norm"].foldable
    named = count(nn.Sequential(block), spikes(2, 2, 5, 5), roles={"0": "LIF"})
    assert "0" in {la.path for la in named.layers if la.neuron_model}


# ---- exported programs
@pytest.mark.parametrize("case", [c for c in CASES if c.name in EXPORTED], ids=str)
def test_an_exported_net_counts_as_it_does_itself(case: Case) -> None:
    of(case.package)

    def rows(counts: Counts) -> Any:
        names = "path neuron_model neurons updates spikes_out state_words silent saturated".split()
        return [[getattr(layer, n) for n in names] for layer in counts.layers if layer.role == "neuron"]

    net, x = case.net()
    with torch.no_grad():
        program = torch.export.export(net, (x,)).module()
        whole, parts = count(net, x), count(program, x)
    assert (parts.time_steps, parts.samples) == (whole.time_steps, whole.samples)
    assert rows(parts) == rows(whole) != []
