"""Every framework people train SNNs in: nets written in it are counted unmodified, exactly, and the matrix says so.

Exact means: every tap of every layer, visited one by one in plain Python on inputs that plain hooks saw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnenergy.counts import Domain
from snnenergy.frameworks import neuron_model_of_class
from snnenergy.trace import count, counting
from tests import frameworks_matrix as matrix
from tests.brute_force import convolution, linear
from tests.framework_nets import (
    CASES,
    CHANNELS,
    MAPS,
    OUT,
    SIZE,
    Case,
    N,
    T,
    package,
    run_bindsnet,
)
from tests.trace_nets import LIF, figures, spikes

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own, while they are imported and run


def installed(name: str) -> None:
    """Skips the test where the framework is absent."""
    try:
        package(name)
    except ImportError:
        pytest.skip(f"{matrix.NAMES.get(name, name)} is not installed")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_net_is_counted_exactly_as_it_is(case: Case) -> None:
    installed(case.package)
    expected, fired, counts = matrix.witness(case)
    assert {path: matrix.numbers(taps)[:4] for path, taps in expected.items()} == matrix.found_taps(counts)
    assert matrix.found_neurons(counts) == case.neurons
    assert (counts.time_steps, counts.samples) == (case.steps, N)
    assert any(f"T = {case.steps} steps, {N} samples ({case.source})" == note for note in counts.identity.notes)
    for path, (_, neurons) in case.neurons.items():
        layer = counts[path]
        assert (layer.updates, layer.spikes_out) == (neurons * N * T, matrix.spikes_of(case, path, fired[path]))
        assert layer.spikes_out is None or 0 < layer.spikes_out <= layer.updates
    assert counts.coverage.calls == 1


@pytest.mark.parametrize("case", [c for c in CASES if "ternary" in c.name], ids=str)
def test_signed_spikes_are_ternary(case: Case) -> None:
    installed(case.package)
    _, fired, counts = matrix.witness(case)
    (spikes,) = fired.values()
    assert set(spikes.flatten().tolist()) == {-1.0, 0.0, 1.0}
    assert counts["body.2"].domains == ("ternary",)
    assert counts["body.2"].acs == counts["body.2"].effective > 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_fifth_forward_counts_as_the_first(case: Case) -> None:
    installed(case.package)
    model, x = case.net()
    for _ in range(
        2
    ):  # some neurons make their state in the first forward; BindsNET's reset then clears the last step of its input
        case.call(model, x)
    once = matrix.counted(case, model, x)
    five = matrix.counted(case, model, x, forwards=5)
    assert figures(five) == figures(once.merge(once, once, once, once))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_counting_changes_no_output_and_leaves_nothing_behind(case: Case) -> None:
    installed(case.package)
    model, x = case.net()
    before = case.call(model, x)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    own = [sorted(m.__dict__) for m in model.modules()]
    matrix.counted(case, model, x)
    after = case.call(model, x)
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert own == [sorted(m.__dict__) for m in model.modules()]
    first, then = (out[0] if isinstance(out, tuple) else out for out in (before, after))
    assert first is then is None or torch.equal(first, then)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_published_matrix_holds(case: Case) -> None:
    """docs/frameworks.md, made by `python -m tests.frameworks_matrix`: each row again, but for the version."""
    installed(case.package)
    cells = matrix.judge(case).cells()
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in matrix.DOCUMENT.read_text(encoding="utf-8").splitlines()
    ]
    (row,) = [row for row in rows if len(row) == len(cells) and (row[0], row[2]) == (cells[0], cells[2])]
    assert (row[0], *row[2:]) == (cells[0], *cells[2:])
    assert "no" not in row[3:]


# ---- one small conv SNN with the same weights in every framework, fed the same recorded spikes
class Replay(nn.Module):
    """conv -> neurons; recorded spikes -> linear -> neurons.  What the neurons make of it changes no synaptic count.

    fire(neuron, current, state) -> spikes, state; `folded`: one call runs all steps, on [T, N, ...] or [N * T, ...]
    """

    def __init__(
        self, make: Callable[[], nn.Module], fire: Any = None, layers: Any = nn, order: str = "loop", rest: Any = None
    ) -> None:
        super().__init__()
        self.conv, self.a = layers.Conv2d(CHANNELS, MAPS, 3, padding=1, bias=False), make()
        self.fc, self.b = layers.Linear(MAPS * SIZE**2, OUT, bias=False), make()
        self.fire = fire or (lambda neuron, current, state: (neuron(current), None))
        self.order, self.rest = order, rest

    def forward(self, x: Tensor, recorded: Tensor) -> Any:
        if self.rest is not None:
            self.rest(self)
        if self.order == "TN":
            return self.a(self.conv(x)), self.b(self.fc(recorded))
        if self.order == "NT":
            squeezed = (t.transpose(0, 1).flatten(0, 1) for t in (x, recorded))
            return tuple(
                n(layer(t)) for n, layer, t in zip((self.a, self.b), (self.conv, self.fc), squeezed, strict=True)
            )
        out, a, b = [], None, None
        for t in range(T):
            _, a = self.fire(self.a, self.conv(x[t]), a)
            spk, b = self.fire(self.b, self.fc(recorded[t]), b)
            out.append(spk)
        return torch.stack(out)


def _plain() -> nn.Module:
    return Replay(LIF)


def _spikingjelly(mode: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        base = "spikingjelly.activation_based"
        neuron, layer, functional = (package(f"{base}.{part}") for part in ("neuron", "layer", "functional"))
        net = Replay(neuron.LIFNode, layers=layer, order="TN" if mode == "m" else "loop", rest=functional.reset_net)
        functional.set_step_mode(net, mode)
        return net

    return build


def _snntorch() -> nn.Module:
    snntorch = package("snntorch")
    return Replay(
        lambda: snntorch.Leaky(beta=0.5),
        lambda neuron, current, mem: neuron(current, neuron.init_leaky() if mem is None else mem),
    )


def _norse() -> nn.Module:
    return Replay(package("norse.torch").LIFCell, lambda neuron, current, state: neuron(current, state))


def _sinabs() -> nn.Module:
    sinabs, layers = package("sinabs"), package("sinabs.layers")
    return Replay(lambda: layers.LIFSqueeze(tau_mem=5.0, batch_size=N), order="NT", rest=sinabs.reset_states)


REPLAYS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "plain": ("torch", _plain),
    "SpikingJelly, single step": ("spikingjelly", _spikingjelly("s")),
    "SpikingJelly, multi step": ("spikingjelly", _spikingjelly("m")),
    "snnTorch": ("snntorch", _snntorch),
    "Norse": ("norse", _norse),
    "sinabs": ("sinabs", _sinabs),
}


def weights() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    shapes = ((MAPS, CHANNELS, 3, 3), (OUT, MAPS * SIZE**2))
    conv, fc = (
        torch.randn(s, generator=generator) * (torch.rand(s, generator=generator) > 0.25).float() for s in shapes
    )
    return conv, fc


def recorded() -> tuple[Tensor, Tensor]:
    return spikes(T, N, CHANNELS, SIZE, SIZE, seed=5), spikes(T, N, MAPS * SIZE**2, p=0.15, seed=6)


def by_hand() -> list[tuple[int, int, int, int]]:
    (conv, fc), (x, r) = weights(), recorded()
    options: dict[str, Any] = {"stride": (1, 1), "before": (1, 1), "dilation": (1, 1), "groups": 1}
    found = convolution(x.flatten(0, 1), conv, (SIZE, SIZE), **options), linear(r, fc)
    return [(t.dense, t.valid, t.driven, t.effective) for t in found]


@pytest.mark.parametrize("name", REPLAYS)
def test_the_same_weights_and_spikes_give_the_same_counts(name: str) -> None:
    framework, build = REPLAYS[name]
    installed(framework)
    net = build().eval()
    with torch.no_grad():
        net.conv.weight.copy_(weights()[0])  # type: ignore[union-attr, operator]  # a Replay
        net.fc.weight.copy_(weights()[1])  # type: ignore[union-attr, operator]  # the same
        counts = count(net, *recorded())
    assert [matrix.found_taps(counts)[path] for path in ("conv", "fc")] == by_hand()
    assert {s.domain for path in ("conv", "fc") for s in counts[path].streams} == {Domain.SPIKE}
    assert [counts[path].updates for path in ("a", "b")] == [T * N * MAPS * SIZE**2, T * N * OUT]
    assert (counts.time_steps, counts.samples) == (T, N)


def test_the_same_weights_and_spikes_give_the_same_counts_in_bindsnet() -> None:
    installed("bindsnet")
    network, nodes = package("bindsnet.network"), package("bindsnet.network.nodes")
    topology = package("bindsnet.network.topology")
    conv, fc = weights()
    net = network.Network(batch_size=N)
    for name, shape in (("X", (CHANNELS, SIZE, SIZE)), ("R", (MAPS * SIZE**2,))):
        net.add_layer(nodes.Input(shape=shape), name)
    for name, shape in (("A", (MAPS, SIZE, SIZE)), ("B", (OUT,))):
        net.add_layer(nodes.LIFNodes(shape=shape), name)
    x, a, r, b = (net.layers[name] for name in "XARB")
    net.add_connection(topology.Conv2dConnection(x, a, kernel_size=3, padding=1, w=conv), "X", "A")
    net.add_connection(topology.Connection(r, b, w=fc.T.contiguous()), "R", "B")
    net.learning = False
    inputs = recorded()

    def run(model: Any, _: Tensor) -> None:
        net.reset_state_variables()
        net.run({"X": inputs[0], "R": inputs[1]}, time=T, one_step=True)

    case = Case("bindsnet", "conv", lambda: (net, inputs[0]), {}, run=run)
    counts = matrix.counted(case, net, inputs[0])
    assert [matrix.found_taps(counts)[f"param:{path}.w"] for path in ("X_to_A", "R_to_B")] == by_hand()
    assert [counts[path].updates for path in "AB"] == [T * N * MAPS * SIZE**2, T * N * OUT]


def test_a_bindsnet_network_runs_as_ever_beside_an_open_recorder() -> None:
    installed("bindsnet")
    (case,) = [c for c in CASES if c.package == "bindsnet"]
    model, x = case.net()
    run_bindsnet(model, x)
    alone = case.heard["H"](model).clone()
    with counting(model) as rec:
        run_bindsnet(model, x)  # not through rec.call: nothing is counted
    assert rec.forwards == 0
    assert torch.equal(case.heard["H"](model), alone)


@pytest.mark.parametrize(
    ("qualified", "model"),
    [
        ("snntorch._neurons.leaky.Leaky", "LIF"),
        ("snntorch._neurons.sconv2dlstm.SConv2dLSTM", "SLSTM"),
        ("spikingjelly.activation_based.neuron.plif.ParametricLIFNode", "PLIF"),
        ("norse.torch.module.lif_adex.LIFAdExCell", "AdEx"),
        ("sinabs.layers.exp_leak.ExpLeak", "LI"),
        ("mine.MyLIFNode", "LIF"),
        ("mine.Leaky", None),
        ("torch.nn.modules.activation.LeakyReLU", None),
    ],
)
def test_an_exported_class_is_known_by_its_package_and_name(qualified: str, model: str | None) -> None:
    assert neuron_model_of_class(qualified) == model


def test_the_published_neuron_models_are_the_table() -> None:
    assert matrix.neuron_table() in matrix.DOCUMENT.read_text(encoding="utf-8")


def test_the_matrix_names_the_versions_it_was_made_with() -> None:
    text = matrix.DOCUMENT.read_text(encoding="utf-8")
    for name in {c.package for c in CASES}:
        rows = [line for line in text.splitlines() if line.startswith(f"| {matrix.NAMES[name]} |")]
        versions = {line.split("|")[2].strip() for line in rows}
        assert len(versions) == 1 and all(v[0].isdigit() for v in versions)
