"""Local learning rules: synapse updates by hand, by brute force over recorded spikes, and by their laws."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import snnenergy
from snnenergy.cost import conventions
from snnenergy.counts import LEARNING_OFF, Counts
from snnenergy.errors import UsageError
from snnenergy.load import Batch, Workload
from snnenergy.report import markdown, tables, terminal
from snnenergy.trace.dataset import Pass
from tests.framework_nets import package

T = 6
LOIHI_UPDATE = 120e-12


def installed(name: str) -> None:
    """Skips the test where the framework is absent."""
    try:
        package(name)
    except ImportError:
        pytest.skip(f"{name} is not installed")


# ---- BindsNET
def network(w: Tensor, rule: str = "PostPre", **options: Any) -> Any:
    """X -> Y, with monitors; Y fires wherever a spike reached it through a positive weight."""
    installed("bindsnet")
    nodes, topology = package("bindsnet.network.nodes"), package("bindsnet.network.topology")
    learning, monitors = package("bindsnet.learning"), package("bindsnet.network.monitors")
    learns = options.pop("learns", True)
    net = package("bindsnet.network").Network(dt=1.0, learning=learns)
    net.add_layer(nodes.Input(n=w.shape[0], traces=True), "X")
    net.add_layer(nodes.McCullochPitts(n=w.shape[1], traces=True, thresh=0.5), "Y")
    options = {"nu": (0.01, 0.01), "wmin": 0.0, "wmax": 2.0, "reduction": torch.sum} | options
    made = topology.Connection(
        net.layers["X"], net.layers["Y"], w=w.clone(), update_rule=getattr(learning, rule), **options
    )
    net.add_connection(made, "X", "Y")
    for name in ("X", "Y"):
        net.add_monitor(monitors.Monitor(net.layers[name], ["s"], time=options.pop("time", T)), name)
    return net


def run(net: Any, x: Tensor, **kwargs: Any) -> Counts:
    """One `network.run` over x [T, N, X], counted."""
    with snnenergy.counting(net, name="net") as rec:
        rec.call(net.run, inputs={"X": x}, time=len(x), **kwargs)
    return rec.counts()


def fired(net: Any) -> tuple[int, int]:
    """Spikes of X and of Y over the run, as BindsNET's own monitors kept them."""
    x, y = (int(net.monitors[name].get("s").sum()) for name in ("X", "Y"))
    return x, y


def spikes(samples: int = 1, neurons: int = 3, seed: int = 0) -> Tensor:
    return (torch.rand(T, samples, neurons, generator=torch.Generator().manual_seed(seed)) < 0.4).byte()


DRAWN = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.uint8)[:, None]


def test_updates_of_hand_drawn_spikes() -> None:
    # spikes of X at steps 0, 2 and 4; neurons 0 and 1 of X drive both of Y (one step later), neuron 2 none
    net = network(torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    counts = run(net, DRAWN)
    assert fired(net) == (3, 4)
    row = counts["X_to_Y@learning"]
    assert (row.op, row.phase, row.weights) == ("PostPre", "learning", 6)
    assert row.synapse_updates == 3 * 2 + 4 * 3  # each of X's 3 spikes: 2 synapses out; each of Y's 4: 3 in
    assert row.trace_updates == T * (3 + 2)
    assert row.adds == T * 2 * 3 * 2  # what ran: two dense outer products in every step
    assert (counts.uncounted, counts.samples, counts.time_steps) == ((), 1, T)
    assert counts.total().synapse_updates == 18


def test_taps_follow_weights_that_grow_from_zero_while_they_are_counted() -> None:
    net = network(torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    x = spikes(seed=3)
    history: list[Tensor] = []
    rule = net.connections["X", "Y"].update_rule
    inner = rule.update

    def update(**kwargs: Any) -> None:
        inner(**kwargs)
        history.append(net.connections["X", "Y"].w.detach().clone())

    rule.update = update
    before = net.connections["X", "Y"].w.detach().clone()
    counts = run(net, x)
    weights = [before, *history[:-1]]  # of the step that reads them
    read = [torch.zeros(3), *x[:-1, 0].float()]  # BindsNET hands spikes on one step later
    effective = sum(int((s != 0).float() @ (w != 0).float().sum(1)) for s, w in zip(read, weights, strict=True))
    layer = counts["param:X_to_Y.w"]
    assert layer.streams[0].driven == sum(int(s.sum()) * 2 for s in read)
    assert layer.effective == effective
    assert int((before != 0).sum()) < int((history[-1] != 0).sum())  # some grew
    assert layer.dense_macs == T * 6
    assert layer.weights_nonzero == 6  # a synapse that learns is stored, also while it is zero


def test_data_written_past_its_version_is_seen() -> None:
    net = network(torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), nu=(0.01, 0.0))
    rule, w = net.connections["X", "Y"].update_rule, net.connections["X", "Y"].w
    rule.update = lambda **kwargs: w.data.fill_(1.0)
    x = torch.ones(T, 1, 3, dtype=torch.uint8)
    assert (
        run(net, x)["param:X_to_Y.w"].effective == (T - 1) * 6
    )  # the first step reads no spike, all later ones six taps


@pytest.mark.parametrize(
    ("rule", "options", "kwargs", "updates"),
    [
        ("PostPre", {}, {}, lambda x, y: 2 * x + 3 * y),
        ("PostPre", {"nu": (0.0, 0.01)}, {}, lambda x, y: 3 * y),
        ("PostPre", {"nu": (0.01, 0.0)}, {}, lambda x, y: 2 * x),
        ("WeightDependentPostPre", {}, {}, lambda x, y: 2 * x + 3 * y),
        ("Hebbian", {}, {}, lambda x, y: 2 * x + 3 * y),
        ("DiehlAndCook", {}, {}, lambda x, y: 3 * y),
        ("MSTDP", {}, {"reward": 1.0}, lambda x, y: 2 * x + 3 * y),
        ("MSTDPET", {}, {"reward": 1.0}, lambda x, y: 2 * T * 6),
    ],
)
def test_updates_are_those_of_the_spikes_that_bindsnet_recorded(
    rule: str, options: dict[str, Any], kwargs: dict[str, Any], updates: Callable[[int, int], int]
) -> None:
    net, x = network(torch.full((3, 2), 0.6), rule, **options), spikes(2)
    counts = run(net, x, **kwargs)
    assert counts.samples == 2
    assert counts["X_to_Y@learning"].synapse_updates == updates(*fired(net)) > 0
    assert counts.uncounted == ()


def test_what_is_learnt_keeps_every_bit() -> None:
    counted, alone = (network(torch.full((3, 2), 0.6)) for _ in range(2))
    run(counted, spikes(2))
    alone.run(inputs={"X": spikes(2)}, time=T)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, counted.state_dict()[name]), name
    rule = counted.connections["X", "Y"].update_rule
    assert vars(rule)["update"] == rule._connection_update  # nothing of ours is left


def test_learning_that_is_off_updates_nothing_and_says_so() -> None:
    counts = run(network(torch.full((3, 2), 0.6), learns=False), spikes())
    assert counts.learning == ()
    assert counts.total().synapse_updates == 0
    (note,) = [n for n in counts.identity.notes if n.startswith(LEARNING_OFF)]
    assert note.startswith("learning was off: no synapse was updated by PostPre of X_to_Y (")
    assert note in terminal.render_counts(counts, width=200)


def test_runs_from_the_same_weights_add() -> None:
    parts = [run(network(torch.full((3, 2), 0.6)), spikes(1, seed=seed)) for seed in (1, 2)]
    merged = parts[0].merge(parts[1])
    rows = [c["X_to_Y@learning"] for c in (*parts, merged)]
    for name in ("synapse_updates", "trace_updates", "adds", "muls"):
        one, other, both = (getattr(row, name) for row in rows)
        assert both == one + other
    assert merged.samples == 2
    assert Counts.from_dict(merged.to_dict()) == merged


def test_learning_that_begins_midway_is_counted_from_there() -> None:
    net, x = network(torch.full((3, 2), 0.6), learns=False), spikes()
    updates = []
    with snnenergy.counting(net) as rec:
        for learns in (False, True, False):
            net.learning = learns
            rec.call(net.run, inputs={"X": x.clone()}, time=T)
            updates.append((rec.counts().total().synapse_updates, rec.counts().forwards))
    assert updates[0] == (0, 1)
    assert updates[1] == (2 * int(x.sum()) + 3 * int(net.monitors["Y"].get("s").sum()), 2)
    assert updates[2] == (updates[1][0], 3)
    assert rec.counts().uncounted == ()


def test_diehl_and_cook_s_network_whose_weights_are_no_parameters() -> None:
    installed("bindsnet")
    model = package("bindsnet.models").DiehlAndCook2015(n_inpt=6, n_neurons=4, norm=20.0, inpt_shape=(6,))
    monitors = package("bindsnet.network.monitors")
    for name in ("X", "Ae"):
        model.add_monitor(monitors.Monitor(model.layers[name], ["s"], time=40), name)
    x = (torch.rand(40, 1, 6, generator=torch.Generator().manual_seed(0)) < 0.5).byte()
    counts = run(model, x)
    out, into = (int(model.monitors[name].get("s").sum()) for name in ("X", "Ae"))
    assert into > 0
    row = counts["X_to_Ae.weight@learning"]
    assert (row.op, row.synapse_updates, row.sources) == ("PostPre", out * 4 + into * 6, ("param:X_to_Ae.weight",))
    assert counts["param:X_to_Ae.weight"].driven == int(x[:-1].sum()) * 4
    assert counts.uncounted == ()
    assert "analog" not in {str(d) for layer in counts.layers for d in layer.domains}


def test_a_convolution_of_bindsnet_by_its_taps() -> None:
    installed("bindsnet")
    net = package("bindsnet.network").Network(dt=1.0)
    nodes, topology = package("bindsnet.network.nodes"), package("bindsnet.network.topology")
    net.add_layer(nodes.Input(shape=(1, 5, 5), traces=True), "X")
    net.add_layer(nodes.McCullochPitts(shape=(2, 3, 3), traces=True, thresh=0.5), "Y")
    rule, options = package("bindsnet.learning").PostPre, {"stride": 2, "padding": 1, "nu": (0.01, 0.01)}
    w = torch.full((2, 1, 3, 3), 0.6)
    made = topology.Conv2dConnection(net.layers["X"], net.layers["Y"], kernel_size=3, w=w, update_rule=rule, **options)
    net.add_connection(made, "X", "Y")
    net.add_monitor(package("bindsnet.network.monitors").Monitor(net.layers["Y"], ["s"], time=T), "Y")
    x = (torch.rand(T, 1, 1, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.3).byte()
    row = run(net, x)["X_to_Y@learning"]
    ones = torch.ones_like(w)
    into = F.conv2d(torch.ones(1, 1, 5, 5), ones, stride=2, padding=1)
    out = F.conv_transpose2d(torch.ones(1, 2, 3, 3), ones, stride=2, padding=1)
    y = net.monitors["Y"].get("s").reshape(T, 2, 3, 3)
    assert row.synapse_updates == int((x[:, 0] * out).sum() + (y * into).sum())


class Running(nn.Module):
    """Runs a network over x [T, N, X], as a command runs a model."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        self.net.train()  # commands put a model into evaluation mode, and BindsNET then learns nothing
        self.net.reset_state_variables()
        self.net.run(inputs={"X": x.byte()}, time=len(x))
        out: Tensor = self.net.layers["Y"].s.float()
        return out


def test_each_sample_of_a_data_set_has_its_own_updates() -> None:
    module = Running(network(torch.full((3, 2), 0.6))).eval()
    samples = [spikes(1, seed=seed).float() for seed in range(3)]
    with Pass(Workload("net", module, (), {}, "factory", False, None), time_axis=0, each="sample") as one:
        for i, x in enumerate(samples):
            one.take(Batch((x,), {}, None, i, i, 1, axis=1, time_axis=0))
    assert one.rows is not None
    whole = one.counts()
    each = [c["net.X_to_Y@learning"] for c in one.rows.counts(whole)]
    pre = [int(x.sum()) * 2 for x in samples]
    assert [row.trace_updates for row in each] == [T * 5] * 3
    assert all(
        row.synapse_updates >= n and (row.synapse_updates - n) % 3 == 0 for row, n in zip(each, pre, strict=True)
    )
    assert sum(row.synapse_updates for row in each) == whole.total().synapse_updates > 0


def test_a_rule_without_a_row_is_named() -> None:
    installed("bindsnet")
    base = package("bindsnet.learning").learning.LearningRule

    class Homebrew(base):  # type: ignore[misc, valid-type]  # a class that is only known at run time
        def update(self, **kwargs: Any) -> None:
            self.connection.w += 0.1

    net = network(torch.full((3, 2), 0.6))
    net.connections["X", "Y"].update_rule = Homebrew(net.connections["X", "Y"], nu=(0.1, 0.1))
    counts = run(net, spikes())
    (row,) = [r for r in counts.uncounted if r.op == "Homebrew"]
    assert (row.path, row.calls) == ("X_to_Y@learning", T)
    assert "no row for this learning rule" in row.reason
    assert counts["X_to_Y@learning"].adds == T * 6  # its arithmetic is
    assert not any(n.startswith(LEARNING_OFF) for n in counts.identity.notes)
    assert "Homebrew on X_to_Y: updates not counted" in terminal.render_counts(counts, width=200)


# ---- SpikingJelly
def sj_net(synapse: nn.Module) -> nn.Sequential:
    installed("spikingjelly.activation_based.learning")  # which wants tensorboard
    neuron = package("spikingjelly.activation_based.neuron")
    return nn.Sequential(synapse, neuron.IFNode(v_threshold=0.5))


def sj_learner(net: nn.Sequential, kind: str = "STDPLearner", **options: Any) -> Any:
    learning = package("spikingjelly.activation_based.learning")
    options = {"step_mode": "s", "tau_pre": 2.0, "tau_post": 2.0} | options
    return getattr(learning, kind)(synapse=net[0], sn=net[1], **options)


def train(net: nn.Module, learner: Any, x: Tensor, post: list[Tensor]) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in x:
        optimizer.zero_grad()
        post.append(net(step).detach())
        learner.step(on_grad=True)
        optimizer.step()


@pytest.mark.parametrize("shape", ["linear", "conv"])
def test_a_learner_beside_the_net(shape: str) -> None:
    torch.manual_seed(0)
    conv = shape == "conv"
    synapse = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False) if conv else nn.Linear(4, 3, bias=False)
    size = (2, 2, 5, 5) if conv else (2, 4)
    x = (torch.rand(T, *size) < 0.5).float()
    nn.init.constant_(synapse.weight, 0.2)
    net = sj_net(synapse)
    learner = sj_learner(net)
    post: list[Tensor] = []
    with torch.no_grad(), snnenergy.counting(net, samples=2, learners=[learner]) as rec:
        rec.call(train, net, learner, x, post)
    row = rec.counts()["0@learning"]
    y = torch.stack(post)
    if conv:  # each spike by a convolution of ones: the taps that lie inside
        ones = torch.ones_like(synapse.weight)
        into = F.conv2d(torch.ones(1, *size[1:]), ones, stride=2, padding=1)
        out = F.conv_transpose2d(torch.ones(1, *y.shape[2:]), ones, stride=2, padding=1)
        expected = int((x * out).sum() + (y * into).sum())
    else:
        expected = int(x.sum() * 3 + y.sum() * 4)
    assert row.synapse_updates == expected > 0
    assert row.trace_updates == x.numel() + y.numel()


def test_a_learner_in_multi_step_mode_counts_the_same() -> None:
    torch.manual_seed(0)
    x = (torch.rand(T, 2, 4) < 0.5).float()
    totals = []
    for mode in "sm":
        synapse = nn.Linear(4, 3, bias=False)
        nn.init.constant_(synapse.weight, 0.4)
        net = sj_net(synapse)
        package("spikingjelly.activation_based.functional").set_step_mode(net, mode)
        learner = sj_learner(net, step_mode=mode)

        def forward(net: nn.Module = net, learner: Any = learner, mode: str = mode) -> None:
            if mode == "m":
                net(x)
            else:
                for step in x:
                    net(step)
            learner.step(on_grad=False)

        with torch.no_grad(), snnenergy.counting(net, samples=2, learners=[learner]) as rec:
            rec.call(forward)
        totals.append(rec.counts()["0@learning"].synapse_updates)
    assert totals[0] == totals[1] > 0


@pytest.mark.parametrize(("kind", "updates"), [("MSTDPLearner", 0), ("MSTDPETLearner", T * 12)])
def test_rewarded_learners(kind: str, updates: int) -> None:
    synapse = nn.Linear(4, 3, bias=False)
    nn.init.constant_(synapse.weight, 0.4)
    net = sj_net(synapse)
    learner = sj_learner(net, kind, **({"tau_trace": 2.0} if kind == "MSTDPETLearner" else {}))
    size = (T, 4) if kind == "MSTDPETLearner" else (T, 2, 4)  # that one knows no batch
    x = (torch.rand(size, generator=torch.Generator().manual_seed(0)) < 0.5).float()

    def play() -> int:
        fired = 0
        for step in x:
            fired += int(net(step).sum())
            learner.step(reward=1.0, on_grad=False)
        return fired

    with torch.no_grad(), snnenergy.counting(net, samples=x[0].numel() // 4, learners=[learner]) as rec:
        fired = rec.call(play)
    assert rec.counts()["0@learning"].synapse_updates == (updates or int(x.sum()) * 3 + fired * 4)
    assert "step" not in vars(learner)  # nothing of ours is left


def test_two_connections_on_one_population_share_its_trace() -> None:
    net = network(torch.full((3, 2), 0.6))
    topology, rule = package("bindsnet.network.topology"), package("bindsnet.learning").PostPre
    layer, w = net.layers["Y"], torch.full((2, 2), 0.1)
    net.add_connection(topology.Connection(layer, layer, w=w, update_rule=rule, nu=(0.01, 0.01)), "Y", "Y")
    counts = run(net, spikes())
    assert counts["X_to_Y@learning"].trace_updates == T * (3 + 2)
    assert counts["Y_to_Y@learning"].trace_updates == 0
    assert counts["Y_to_Y@learning"].synapse_updates == 2 * 2 * fired(net)[1]


def test_a_learner_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="Linear is no learner that is known"):
        snnenergy.counting(nn.Linear(2, 2), learners=[nn.Linear(2, 2)]).__enter__()


# ---- prices
def learnt(updates: int = 1000) -> Counts:
    """By hand: 100 synapses, 10 spikes, a rule that made 1000 updates in 2 samples of 10 steps."""
    streams = [{"elements": 200, "nonzero": 20, "driven": 200, "effective": 200, "domain": "spike"}]
    layer = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 2000, "valid_macs": 2000, "weights": 100}
    layer |= {"weights_nonzero": 100, "weight_bits": 8, "fan_in": 10, "fan_out": 10, "output_elements": 200}
    neuron = {"path": "lif", "role": "neuron", "neuron_model": "LIF", "neurons": 10, "updates": 200, "spikes_out": 5}
    row = {"path": "fc@learning", "op": "PostPre", "phase": "learning", "sources": ["fc"], "weights": 100, "adds": 4000}
    row |= {"synapse_updates": updates, "trace_updates": 400, "muls": 4000, "geometry": {"synapses": 100}}
    return Counts.build("net", [layer | {"streams": streams}, neuron, row], samples=2, time_steps=10)


def test_loihi_charges_each_update_with_davies_figure() -> None:
    with_rule, without = (snnenergy.estimate(learnt(n), "loihi") for n in (1000, 0))
    (row,) = [layer for layer in with_rule.layers if layer.path == "fc@learning"]
    assert row.energy.nominal == pytest.approx(500 * LOIHI_UPDATE)
    assert row.charged == "synapse updates (PostPre)"
    assert with_rule.latency is not None
    assert without.latency is not None
    assert with_rule.latency.nominal - without.latency.nominal == pytest.approx(500 * 6.1e-9)
    assert any("visits every synapse in every step makes 1,000, 120 nJ" in line for line in with_rule.caveats)
    assert not with_rule.partial


def test_a_spiking_chip_without_the_figure_is_partial_and_says_why() -> None:
    for chip in ("truenorth", "loihi2", "odin"):
        estimate = snnenergy.estimate(learnt(), chip)
        assert estimate.partial
        assert any(
            line.startswith("energy.synapse_update is not published (layer fc@learning)") for line in estimate.caveats
        )


def test_a_processor_pays_for_the_arithmetic_that_ran() -> None:
    h100 = [snnenergy.estimate(c, "h100") for c in (learnt(1000), learnt(0))]
    assert h100[0].energy == h100[1].energy  # by its arithmetic, not by the update
    (row,) = [layer for layer in h100[0].layers if layer.path == "fc@learning"]
    assert row.energy.nominal > 0
    assert not h100[0].partial


def test_conventions_of_inference_leave_learning_out_and_say_so() -> None:
    counts = learnt()
    made = conventions.apply(counts, "neurobench")
    assert made.ops == conventions.apply(dataclasses.replace(counts, layers=counts.layers[:2]), "neurobench").ops
    assert "fc@learning: local learning is left out; conventions count inference" in made.notes


def test_every_format_has_the_line() -> None:
    comparison = snnenergy.compare({"net": learnt()}, hardware=["loihi"])
    line = "net learns while it runs: PostPre on fc: 500 synapse and 200 trace updates per inference, 100 synapses"
    assert line in terminal.render(comparison, width=200)
    assert line in markdown.render(comparison)
    header, *rows = tables.layers_csv(comparison).splitlines()
    column = header.split(",").index("synapse_updates")
    assert [r.split(",")[column] for r in rows if ",fc@learning," in r] == ["500.0"]
