"""Watching equals surveying: a context over many forwards counts what counting each one alone would."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.prune import l1_unstructured

from snnenergy.counts import Counts
from snnenergy.trace import count, counting, region
from tests.trace_nets import LIF, Functional, Steps, analog, conv_net, figures, spikes, spiking_net, surveyed, synaptic

smallest_away: Any = l1_unstructured
FORWARDS = 7
"""Of which 1, 2 and 4 are surveyed."""


class Folded(nn.Module):
    """Takes T x N x F, folds both axes for its layers, as frameworks in multi-step mode do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        t, n = x.shape[:2]
        y = self.conv(x.flatten(0, 1)).gt(0).float()
        z: Tensor = self.fc(y.flatten(1)).unflatten(0, (t, n))
        return z


class Attends(nn.Module):
    """Attention written out: two products of activations between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        y: Tensor = self.out(torch.softmax(q @ k.transpose(-1, -2), -1) @ v)
        return y


class SpikingAttention(Attends):
    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.qkv(x) > 0.2).float().chunk(3, -1)
        y: Tensor = self.out(((q @ k.mT) @ v > 1).float())
        return y


def pruned(amount: float = 0.6) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(192, 5))
    for layer in (net[0], net[3]):
        smallest_away(layer, "weight", amount)
    return net


class Padded(nn.Module):
    """A convolution of each way of padding, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"),
            nn.Conv2d(2, 2, (3, 2), padding=(1, 1), padding_mode="circular"),
            nn.Conv2d(2, 2, 3, padding=(2, 1), padding_mode="replicate"),
            nn.Conv2d(2, 2, (4, 3), padding="same"),
            nn.Conv2d(2, 2, 4, padding="same", dilation=2),
            nn.Conv2d(2, 2, (4, 3), padding="same", padding_mode="reflect"),
            nn.Conv2d(2, 2, 3, stride=2, padding=1, groups=2),
            nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
            nn.Conv2d(3, 1, 2, padding="valid"),
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = (layer(x) > 0).float()
        return x


class Recurrent(nn.Module):
    """Two layers in a loop over time, one of them on its own spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.i2h, self.h2h, self.out = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[1], 5)
        total = torch.zeros(x.shape[1], 2)
        for t in range(x.shape[0]):
            h = (self.i2h(x[t]) + self.h2h(h) > 0.1).float()
            total = total + self.out(h)
        return total


class Regional(nn.Module):
    """A functional neuron with a name."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros(x.shape[1], 5)
        out = torch.zeros(())
        for t in range(x.shape[0]):
            current = self.fc(x[t])
            with region("lif", role="LIF"):
                v = 0.5 * v + current
                s = (v > 0.2).float()
                v = v * (1 - s)
            out = out + s.sum()
        return out


class Overwrites(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        x.copy_(y.relu())
        z: Tensor = self.b(x)
        x.zero_()
        return z


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.fc(x).relu()[:, None].expand(-1, 2, -1))
        return y


def functional() -> nn.Module:
    return Functional(lambda m, x: F.linear(F.relu(F.linear(x, m.w)), m.u), w=analog(5, 6), u=analog(3, 5))


def parametrized() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2))


quiet = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "conv": (conv_net, lambda i: analog(2, 1, 8, 8, seed=i).relu()),
    "spiking": (spiking_net, lambda i: spikes(3, 2, 1, 6, 6, seed=i)),
    "padded": (Padded, lambda i: spikes(2, 1, 8, 8, seed=i)),
    "pruned": (pruned, lambda i: analog(2, 1, 8, 8, seed=i)),
    "folded": (Folded, lambda i: spikes(3, 2, 1, 4, 4, seed=i)),
    "attention": (Attends, lambda i: analog(2, 4, 8, seed=i)),
    "spiking attention": (SpikingAttention, lambda i: analog(2, 4, 8, seed=i)),
    "functional": (functional, lambda i: analog(2, 6, seed=i)),
    "recurrent": (Recurrent, lambda i: spikes(4, 2, 6, seed=i)),
    "region": (Regional, lambda i: spikes(4, 2, 6, seed=i)),
    "overwritten": (Overwrites, lambda i: spikes(4, 6, seed=i)),
    "shared layer": (Shared, lambda i: analog(4, 6, seed=i)),
    "weight norm": (parametrized, lambda i: analog(4, 6, seed=i)),
    "LSTM": (lambda: nn.LSTM(6, 5), lambda i: analog(4, 2, 6, seed=i)),
    "LSTM cell": (lambda: nn.LSTMCell(6, 5), lambda i: spikes(4, 6, seed=i)),
    "multi-head attention": (
        lambda: Functional(lambda m, x: m.inner(x, x, x)[0]),
        lambda i: analog(2, 4, 8, seed=i),
    ),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(),
        lambda i: analog(2, 4, 8, seed=i),
    ),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 3)),
        lambda i: torch.randint(9, (2, 4), generator=torch.Generator().manual_seed(i)),
    ),
}


def build(name: str) -> tuple[nn.Module, list[Tensor]]:
    make, inputs = NETS[name]
    torch.manual_seed(1)
    model = make()
    if name == "multi-head attention":
        model.inner = nn.MultiheadAttention(8, 2, batch_first=True)
    return model, [inputs(i) for i in range(FORWARDS)]


def run(model: nn.Module, inputs: Iterable[Tensor], survey: str = "auto", **options: Any) -> Counts:
    with counting(model, survey=survey, **options) as rec:
        for x in inputs:
            model(x.clone())
    return rec.counts()


@quiet
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_watching_equals_surveying_every_forward_and_merging_single_counts(name: str, grad: bool) -> None:
    model, inputs = build(name)
    with torch.set_grad_enabled(grad):
        watched = run(model, inputs)
        always = run(model, inputs, survey="always")
        single = [count(model, x.clone()) for x in inputs]
    merged = single[0].merge(*single[1:])
    assert figures(watched) == figures(always)
    assert figures(watched) == figures(merged)
    assert watched.forwards == always.forwards == FORWARDS
    assert surveyed(always) == (FORWARDS, FORWARDS)
    assert watched.uncounted == ()


DISPATCHED = ("transformer", "multi-head attention", "LSTM", "LSTM cell", "weight norm", "shared layer")
"""Fused kernels, and weights made anew outside a leaf: surveyed every time."""


@quiet
@pytest.mark.parametrize("name", [name for name in NETS if name not in DISPATCHED])
def test_what_can_be_watched_is_not_surveyed_every_time(name: str) -> None:
    model, inputs = build(name)
    assert surveyed(run(model, inputs))[0] < FORWARDS


@quiet
@pytest.mark.parametrize("name", NETS)
def test_counts_may_be_read_at_any_time(name: str) -> None:
    model, inputs = build(name)
    with counting(model) as rec:
        for i, x in enumerate(inputs, 1):
            model(x.clone())
            assert rec.counts().forwards == i
    assert figures(rec.counts()) == figures(run(model, inputs))


# ---- what changes on the way
def test_changing_batch_sizes() -> None:
    model = conv_net()
    inputs = [analog(n, 1, 8, 8, seed=n) for n in (1, 3, 1, 2, 3, 1, 1, 3, 2)]
    whole = run(model, inputs)
    assert whole.samples == 17
    assert figures(whole) == figures(run(model, [torch.cat(inputs)]))
    assert surveyed(whole)[0] < len(inputs)


def test_changing_input_sizes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    inputs = [analog(1, 1, n, n, seed=n) for n in (6, 8, 6, 8, 6, 8, 6)]
    counts = run(net, inputs)
    assert figures(counts) == figures(run(net, inputs, survey="always"))
    assert counts["0"].dense_macs == sum(n * n * 2 * 9 for n in (6, 8, 6, 8, 6, 8, 6))


class Changes(nn.Module):
    """Takes another way from some forward on; nothing in its arguments says so."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.way = 0

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.a(x)
        if self.way == 0:
            y = self.b(y)
        elif self.way == 1:
            y = self.c(y)
        elif self.way == 2:
            y = self.b(self.b(y))
        return y


@pytest.mark.parametrize("way", [1, 2, 3])
def test_a_forward_that_takes_another_way_is_not_guessed_and_the_next_is_right(way: int) -> None:
    model = Changes()
    with counting(model) as rec:
        for _ in range(6):  # 1, 2 and 4 surveyed
            model(spikes(2, 6))
        before = figures(rec.counts())
        model.way = way
        model(analog(2, 6))  # found out at its end
        (row,) = [u for u in rec.counts().uncounted if u.path == "(forward)"]
        assert (row.op, row.calls) == ("forward", 1)
        assert "surveyed again" in row.reason
        assert figures(rec.counts())["layers"] == before["layers"]
        assert not rec.counts().coverage.complete
        model(analog(2, 6, seed=1))
    counts = rec.counts()
    last = count(model, analog(2, 6, seed=1))
    assert counts.forwards == 7
    assert counts["a"].dense_macs == 7 * 2 * 36
    assert counts["a"].effective == 6 * count(model, spikes(2, 6))["a"].effective + last["a"].effective
    assert [u.op for u in counts.uncounted if u.path == "(forward)"] == ["forward"]
    if way == 1:
        assert counts["b"].dense_macs == 6 * 72
        assert counts["c"].dense_macs == 72


def test_an_argument_that_decides_the_way_costs_no_forward() -> None:
    class Chooses(Changes):
        def forward(self, x: Tensor, way: int = 0) -> Tensor:
            self.way = way
            y: Tensor = super().forward(x)
            return y

    model = Chooses()
    with counting(model) as rec:
        for i in range(9):
            model(spikes(2, 6, seed=i), way=i % 2)
    counts = rec.counts()
    assert (counts.forwards, counts.uncounted) == (9, ())
    assert (counts["b"].dense_macs, counts["c"].dense_macs) == (5 * 72, 4 * 72)


def test_eval_and_train_forwards_in_one_context() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with counting(net) as rec:
        for i in range(8):
            net.train(i % 2 == 1)
            net(analog(2, 1, 6, 6, seed=i))
    n = 2 * 2 * 16
    assert rec.counts().uncounted == ()
    assert rec.counts()["1"].adds == 4 * n + 4 * (4 * n + 1)  # the norm counts its batches


@pytest.mark.parametrize("edit", ["in place", "under no_grad", "replaced"])
def test_weights_edited_between_forwards(edit: str) -> None:
    layer = nn.Linear(6, 4, bias=False)
    nn.init.ones_(layer.weight)
    net = nn.Sequential(nn.ReLU(), layer)
    x = torch.ones(1, 6)
    with counting(net) as rec, torch.no_grad():
        for i in range(8):
            if i == 5:
                if edit == "replaced":
                    layer.weight = nn.Parameter(torch.ones(4, 6).index_fill(0, torch.tensor([1]), 0))
                elif edit == "in place":
                    layer.weight[1].zero_()
                else:
                    layer.weight.mul_(torch.tensor([[1.0], [0.0], [1.0], [1.0]]))
            net(x)
    assert rec.counts().total().driven == 8 * 24
    assert rec.counts().total().effective == 5 * 24 + 3 * 18


class FastWeights(nn.Module):
    """A Hebbian buffer that is a weight, and grows in every forward."""

    def __init__(self, replaces: bool) -> None:
        super().__init__()
        self.register_buffer("h", torch.zeros(6, 6))
        self.h: Tensor
        self.replaces = replaces

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.h
        if self.replaces:
            self.h = self.h + torch.outer(x[0], x[0])
        else:
            self.h.add_(torch.outer(x[0], x[0]))
        return y


@pytest.mark.parametrize("replaces", [False, True])
def test_a_buffer_that_is_a_weight_and_changes_in_every_forward(replaces: bool) -> None:
    inputs = [spikes(1, 6, seed=i) for i in range(FORWARDS)]
    counts = run(FastWeights(replaces), inputs)
    h, effective = torch.zeros(6, 6), 0
    for x in inputs:
        effective += int(torch.count_nonzero(h[x[0] > 0]))
        h += torch.outer(x[0], x[0])
    assert counts.total().driven == 6 * int(sum(x.sum() for x in inputs))
    assert counts.total().effective == effective


class Reservoir(nn.Module):
    """Weights and state, all of them plain attributes that torch does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.among = spikes(8, 6, seed=1) - spikes(8, 6, seed=2), {"w": spikes(8, 8, seed=3)}
        self.state = torch.zeros(1, 8)
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        for step in x:
            self.state = self.tanh(F.linear(step, self.into) + F.linear(self.state, self.among["w"]))
        return self.state


@pytest.mark.parametrize("survey", ["auto", "always"])
def test_weights_and_a_state_that_are_plain_attributes(survey: str) -> None:
    """One of the weights is replaced in its dict before the fifth of nine forwards; the state goes from forward to forward."""
    model, twin = Reservoir(), Reservoir()
    inputs, state = [analog(5, 1, 6, seed=i) for i in range(9)], torch.zeros(1, 8)
    into = among = 0
    with counting(model, survey=survey, time_axis=0) as rec:
        for i, x in enumerate(inputs):
            if i == 4:
                model.among["w"] = twin.among["w"] = torch.eye(8)
            model(x)
            for step in x:
                into += int(((step != 0).float() @ (twin.into != 0).float().t()).sum())
                among += int(((state != 0).float() @ (twin.among["w"] != 0).float().t()).sum())
                state = twin(step.unsqueeze(0))
    rows = {layer.path: layer for layer in synaptic(rec.counts())}
    assert {path: layer.effective for path, layer in rows.items()} == {"param:into": into, "param:among.w": among}
    assert {path: layer.dense_macs for path, layer in rows.items()} == {
        "param:into": 9 * 5 * 48,
        "param:among.w": 9 * 5 * 64,
    }


def test_weights_edited_behind_autograds_back_are_seen_by_the_next_context() -> None:
    layer, x = nn.Linear(6, 4, bias=False), torch.ones(1, 6)
    nn.init.ones_(layer.weight)
    assert count(layer, x).total().effective == 24
    layer.weight.data[1] = 0  # no version tells
    assert count(layer, x).total().effective == 18


def test_a_layer_pruned_between_forwards() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Linear(6, 4))
    x = torch.ones(1, 6)
    with counting(net) as rec:
        for _ in range(5):
            net(x)
        smallest_away(net[1], "weight", 18)
        for _ in range(3):
            net(x)
    assert rec.counts().total().effective == 5 * 24 + 3 * 6


# ---- other ways in
def test_a_submodule_called_directly() -> None:
    net = conv_net()
    x, y = analog(2, 1, 8, 8), analog(2, 64)
    with counting(net) as rec:
        for _ in range(5):
            net[0](x)
            net[5](y)
    counts = rec.counts()
    assert counts["0"].effective == 5 * count(net, x)["0"].effective
    assert counts["5"].dense_macs == 5 * 2 * 64 * 10
    assert counts.forwards == 10
    assert "1" not in {layer.path for layer in counts.layers}


def test_a_module_outside_the_model_is_not_counted() -> None:
    net, other = conv_net(), nn.Linear(64, 10)
    with counting(net) as rec:
        other(analog(2, 64))
        _ = analog(2, 64) @ analog(64, 64)
    assert rec.counts().forwards == 0
    assert rec.counts().layers == ()


def test_work_between_forwards_is_not_counted() -> None:
    net, x = conv_net(), analog(2, 1, 8, 8)
    with counting(net) as rec:
        for _ in range(4):
            loss = net(x).square().mean()
            loss.backward()
    assert figures(rec.counts()) == figures(run(net, [x] * 4))


def test_another_thread_is_not_counted() -> None:
    net, x = conv_net(), analog(2, 1, 8, 8)
    with counting(net) as rec:
        net(x)
        thread = threading.Thread(target=net, args=(x,))
        thread.start()
        thread.join()
        net(x)
    assert rec.counts().forwards == 2
    assert figures(rec.counts()) == figures(run(net, [x, x]))


def test_call_counts_a_loop_of_the_users_own() -> None:
    net: Any = nn.Sequential(nn.Linear(6, 5), LIF(), nn.Linear(5, 2))
    net[1].v = None

    def loop(x: Tensor) -> Tensor:
        net[1].v = None
        return torch.stack([net(x[t]) for t in range(4)]).sum(0)

    x = spikes(4, 3, 6)
    with counting(net) as rec:
        outs = [rec.call(loop, x) for _ in range(5)]
    counts = rec.counts()
    assert all(torch.equal(outs[0], out) for out in outs)
    assert (counts.forwards, counts.samples, counts.time_steps) == (5, 15, 4)
    assert counts["0"].dense_macs == 5 * 4 * 3 * 30
    steps = counts["0"].per_step
    assert steps is not None
    assert steps.effective == tuple(5 * 5 * int(x[t].sum()) for t in range(4))


def test_call_counts_products_outside_every_module() -> None:
    net = nn.Linear(6, 5)
    with counting(net) as rec:
        for _ in range(3):
            rec.call(lambda x: net(x) @ net.weight, analog(2, 6))
    assert rec.counts().total().dense_macs == 3 * (2 * 30 + 2 * 30)


def test_call_raises_and_counting_goes_on() -> None:
    net, x = nn.Linear(6, 5), analog(2, 6)

    def bad(x: Tensor) -> Tensor:
        net(x)
        raise ValueError("no")

    with counting(net) as rec:
        rec.call(net, x)
        with pytest.raises(ValueError, match="no"):
            rec.call(bad, x)
        rec.call(net, x)
    counts = rec.counts()
    assert counts.total().dense_macs == 2 * 60
    assert [(u.op, u.calls) for u in counts.uncounted] == [("forward", 1)]


class Fails(Changes):
    """Raises after its first layer when told to."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.way == 9:
            raise ValueError("no")
        return y


@pytest.mark.parametrize("at", [0, 1, 2, 4, 5])
def test_a_forward_that_raises_leaves_no_trace_and_counting_goes_on(at: int) -> None:
    model = Fails()
    with counting(model) as rec:
        for i in range(8):
            model.way = 9 if i == at else 0
            if i == at:
                with pytest.raises(ValueError, match="no"):
                    model(100 * analog(2, 6))
            else:
                model(spikes(2, 6, seed=i))
    counts = rec.counts()
    clean = run(Fails(), [spikes(2, 6, seed=i) for i in range(8) if i != at])
    mine, theirs = figures(counts)["layers"], figures(clean)["layers"]
    assert mine["a"] == theirs["a"]
    assert counts.forwards == 7
    rows = [(u.path, u.calls) for u in counts.uncounted if u.op == "forward"]
    assert rows == [("(forward)", 1)]


def test_nested_contexts_of_one_model_count_alike() -> None:
    net, x = conv_net(), analog(2, 1, 8, 8)
    with counting(net) as outer:
        net(x)
        with counting(net) as inner:
            for _ in range(4):
                net(x)
        net(x)
    assert figures(outer.counts()) == figures(run(net, [x] * 6))
    assert figures(inner.counts()) == figures(run(net, [x] * 4))


def test_contexts_of_a_model_and_of_its_part() -> None:
    net, x = conv_net(), analog(2, 1, 8, 8)
    with counting(net) as outer, counting(net[0]) as inner:
        for _ in range(5):
            net(x)
    assert figures(outer.counts()) == figures(run(net, [x] * 5))
    assert figures(inner.counts()) == figures(run(net[0], [x] * 5))


def test_a_recorder_may_be_opened_again() -> None:
    net, x = conv_net(), analog(2, 1, 8, 8)
    rec = counting(net)
    with rec:
        net(x)
        first = rec.counts()
    with rec:
        net(x)
        net(x)
    assert first.forwards == 1
    assert figures(rec.counts()) == figures(run(net, [x, x]))


# ---- regions and time
def test_a_region_is_a_neuron() -> None:
    model, inputs = build("region")
    counts = run(model, inputs, survey="always")
    lif = counts["lif"]
    assert (lif.role, lif.neuron_model, lif.neurons) == ("neuron", "LIF", 5)
    assert lif.updates == FORWARDS * 4 * 2 * 5
    assert lif.muls > 0
    assert counts.time_steps == 4
    assert counts["fc"].per_step is not None
    assert counts["fc"].per_step.effective == tuple(5 * int(sum(x[t].sum() for x in inputs)) for t in range(4))


def test_steps_add_up_to_the_totals() -> None:
    model, inputs = build("spiking")
    counts = run(model, inputs)
    assert counts.time_steps == 3
    for layer in synaptic(counts):
        assert layer.per_step is not None
        assert sum(layer.per_step.effective) == layer.effective
        assert sum(layer.per_step.driven) == layer.driven
    for layer in counts.layers:
        if layer.role == "neuron":
            assert layer.per_step is not None
            assert layer.spikes_out == sum(layer.per_step.spikes_out) > 0


def test_spikes_out_are_the_events_of_the_next_layer() -> None:
    counts = run(
        Steps(nn.Sequential(nn.Linear(6, 5), LIF(0.1), nn.Linear(5, 2))), [spikes(4, 2, 6, seed=i) for i in range(5)]
    )
    assert counts["net.1"].spikes_out == counts["net.2"].nonzero > 0
    assert counts["net.1"].updates == 5 * 4 * 2 * 5
    assert counts["net.1"].neurons == 5


def test_large_inputs_are_read_like_small_ones() -> None:
    """Above and below what a site buffers, in one run."""
    layer = nn.Linear(5000, 3)
    inputs = [spikes(n, 5000, seed=n) for n in (1, 20, 2, 20, 20, 1, 20, 2)]
    counts = run(layer, inputs)
    assert counts.total().acs == 3 * int(sum(x.sum() for x in inputs))
    assert figures(counts) == figures(run(layer, inputs, survey="always"))


@pytest.mark.parametrize("steps", [3, 5])
def test_the_fingerprint_is_of_the_input_as_it_was_though_its_time_axis_shows_at_the_end(steps: int) -> None:
    """Samples lie along axis 1 once the loop over axis 0 is known; by then the forward has overwritten its input."""

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            out = torch.stack([self.fc(x[t]) for t in range(len(x))])
            x.zero_()
            return out

    model, whole = Loop(), analog(steps, 2, 6)
    with torch.no_grad():
        together = count(model, whole.clone())
        apart = [count(model, whole[:, i : i + 1].clone()) for i in range(2)]
    assert (together.samples, together.time_steps) == (2, steps)
    assert together.conditions.inputs == apart[0].merge(apart[1]).conditions.inputs
    assert together.conditions.inputs != count(model, torch.zeros_like(whole)).conditions.inputs


def same_as_always(model: nn.Module, inputs: Iterable[Any]) -> Counts:
    inputs = list(inputs)
    counts = run(model, inputs)
    assert figures(counts) == figures(run(model, inputs, survey="always"))
    return counts


SQUARE = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
"""Whose second row is silent, and none of its columns."""


@pytest.mark.parametrize(
    "body",
    [
        lambda m, x: m.w @ x,
        lambda m, x: F.linear(x.t(), m.w),
        lambda m, x: torch.einsum("ij,oi->oj", x, m.w),
    ],
    ids=["product", "linear", "einsum"],
)
def test_a_transposed_square_is_not_the_square(body: Callable[..., Tensor]) -> None:
    """[features, samples] with the weight [[0, 1]]: only the second feature reaches a weight that is not zero."""
    counts = same_as_always(Functional(body, w=torch.tensor([[0.0, 1.0]])), [SQUARE] * 5)
    assert counts.total().effective == 0
    assert counts.total().driven == 5 * 2


def test_a_transposed_square_image_is_not_the_image() -> None:
    w = torch.zeros(1, 1, 1, 2)
    w[..., 1] = 1  # every column but the first meets it
    counts = same_as_always(Functional(lambda m, x: F.conv2d(x.transpose(-1, -2)[None], m.w), w=w), [SQUARE[None]] * 5)
    assert counts.total().effective == 0  # the transposed is 1 0 | 1 0: what lies in its second column is silent
    assert counts.total().driven == 5 * 2


def test_a_batched_product_that_adds_reads_its_factors() -> None:
    """In baddbmm(c, a, b) with squares all three have one shape."""
    a, b, c = spikes(2, 3, 3, seed=1), spikes(2, 3, 3, seed=2), torch.ones(2, 3, 3)
    model = Functional(lambda m, c, a, b: torch.baddbmm(c, a, b))
    with torch.no_grad(), counting(model, samples=2) as rec:
        for _ in range(5):
            model(c, a, b)
    assert rec.counts().total().driven == 5 * int((a.sum(1) * b.sum(2)).sum())


class Chooses(nn.Module):
    """Of two weights of one shape the first where the input is positive."""

    def __init__(self, *, behind: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4, bias=False) if behind else None
        self.a = nn.Parameter(torch.ones(4, 4))
        self.b = nn.Parameter(torch.zeros(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.fc is None else self.fc(x)
        return torch.mm(y, self.a if float(x.sum()) > 0 else self.b)


@pytest.mark.parametrize("behind", [False, True])
def test_a_forward_that_takes_another_weight_is_found_out(behind: bool) -> None:
    model = Chooses(behind=behind)
    inputs = [torch.ones(3, 4)] * 4 + [-torch.ones(3, 4)] * 2
    counts = run(model, inputs)
    lost = sum(row.calls for row in counts.uncounted if row.op == "forward")
    assert counts.forwards + lost == 6
    effective = sum(layer.effective for layer in counts.layers if layer.path != "fc")
    met = 4 * 48  # the weight of zeros reaches nothing
    assert effective == met
    assert not any(row.op == "uncalled" for row in counts.uncounted)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.bn, self.drop = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(self.bn(self.fc(x)))
        return y


@pytest.mark.parametrize("part", ["bn", "drop"])
def test_the_mode_of_every_module_tells_forwards_apart(part: str) -> None:
    def figures_of(survey: str) -> Any:
        model = Normed().eval()
        with torch.no_grad(), counting(model, survey=survey) as rec:
            for i in range(7):
                model.get_submodule(part).train(i >= 4)
                model(analog(5, 4, seed=i))
        return figures(rec.counts())

    assert figures_of("auto") == figures_of("always")


def test_plain_values_inside_arguments_tell_forwards_apart() -> None:
    def body(m: Any, x: Tensor, how: dict[str, Any]) -> Tensor:
        for _ in range(how["loops"][0]):
            x = torch.tanh(x)
        y: Tensor = x @ m.w
        return y

    def total(survey: str) -> int:
        model = Functional(body, w=analog(4, 3))
        with torch.no_grad(), counting(model, survey=survey) as rec:
            for loops in (1, 1, 1, 1, 3, 3):
                model(analog(2, 4), {"loops": [loops]})
        return rec.counts().total().specials

    assert total("auto") == total("always") == 10 * 8


class ComputedInLeaf(nn.Module):
    """Its weight is made before the one product that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.where(analog(5, 6) > 0, 1.0, -1.0))
        self.register_buffer("mask", (torch.arange(30).reshape(5, 6) % 2).float())

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.mask, Tensor)
        return F.linear(x.t(), self.w * self.mask)


def test_a_weight_that_a_leaf_computes_stays_a_weight() -> None:
    counts = same_as_always(ComputedInLeaf(), [analog(6, 4, seed=i) for i in range(6)])
    (layer,) = synaptic(counts)
    assert [s.operand for s in layer.streams] == ["a"]
    assert (layer.driven, layer.effective) == (6 * 4 * 30, 6 * 4 * 15)


def test_always_reads_weights_anew_whatever_edits_them() -> None:
    """24 weights, half of them zeroed past autograd's eyes before the third of four forwards."""

    def effective(edit: Callable[[nn.Linear], None], survey: str) -> int:
        model = nn.Linear(6, 4)
        with torch.no_grad(), counting(model, survey=survey) as rec:
            for i in range(4):
                if i == 2:
                    edit(model)
                model(torch.ones(1, 6))
        return rec.counts().total().effective

    def written(model: nn.Linear) -> None:
        model.weight.data[:2] = 0

    def given(model: nn.Linear) -> None:
        model.weight.data = torch.cat([torch.zeros(2, 6), torch.ones(2, 6)])

    assert effective(written, "always") == effective(given, "always") == 24 + 24 + 12 + 12
    assert effective(given, "auto") == 24 + 24 + 12 + 12


def test_a_parameter_that_lies_where_another_lay() -> None:
    """A fused layer is surveyed each time; its weight is replaced before every forward."""
    model = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).eval()
    met = 0
    with torch.no_grad(), counting(model) as rec:
        for i in range(12):
            w = torch.zeros(6, 4)
            w.view(-1)[: i + 1] = 1
            model.linear1.weight = nn.Parameter(w)
            del w
            model(analog(1, 3, 4, seed=i))
            met += (i + 1) * 3
    assert rec.counts()["linear1"].effective == met


def test_of_forwards_and_weights_that_are_over_nothing_is_kept() -> None:
    model, gone = nn.Sequential(nn.Linear(6, 4)), []
    with torch.no_grad(), counting(model) as rec:
        for i in range(20):
            model[0].weight = nn.Parameter(analog(4, 6, seed=i) * (torch.arange(24).reshape(4, 6) % 3 > 0))
            gone.append(weakref.ref(model[0].weight))
            model(analog(2, 6))
        alive = sum(ref() is not None for ref in gone)
        assert alive <= 2
        assert len(rec.weights.nonzero()) == 1
        assert rec.counts()["0"].effective == 20 * 2 * 16


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_a_watched_recurrent_layer_keeps_no_activation(layer: Any) -> None:
    """Its operators are read by waking the survey, whose frame lives as long as its plan."""
    model = layer(6, 4)
    with torch.no_grad(), counting(model, time_axis=0) as rec:
        for i in range(9):
            x = analog(3, 2, 6, seed=i)
            ref = weakref.ref(x)
            model(x)
            del x
            assert ref() is None or i in (0, 1, 3, 7)
        assert all(not wake.frame.reads for plan in rec.plans.values() for wake in plan.wakes)


def test_a_neuron_that_returns_its_state_before_its_spikes() -> None:
    class Nested(nn.Module):
        def forward(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            return (x, -x), (x > 0).float()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = Nested()

        def forward(self, x: Tensor) -> Tensor:
            spk: Tensor = self.lif(x)[1]
            return spk * 2

    model, inputs = Net(), [analog(3, 5, seed=i) for i in range(6)]
    with torch.no_grad(), counting(model, roles={"lif": "LIF"}) as rec:
        for x in inputs:
            model(x)
    assert rec.counts()["lif"].spikes_out == sum(int((x > 0).sum()) for x in inputs)


def test_spikes_that_a_module_makes_in_a_region() -> None:
    class Spike(nn.Module):
        def forward(self, v: Tensor) -> Tensor:
            return (v > 0).float()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.spike = nn.Linear(4, 4), Spike()

        def forward(self, x: Tensor) -> Tensor:
            with region("cell"):
                spk: Tensor = self.spike(self.fc(x))
            return spk * 2

    model, inputs = Net(), [analog(3, 4, seed=i) for i in range(6)]
    with torch.no_grad():
        fired = sum(int((model.fc(x) > 0).sum()) for x in inputs)
    assert same_as_always(model, inputs)["cell"].spikes_out == fired


def test_an_operator_that_runs_on_a_thread_of_torchs_own() -> None:
    """It inherits the dispatch key that is listened on, and nothing listens there."""

    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(analog(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            found: list[Tensor] = []
            key = torch._C._dispatch_key_parse("TESTING_ONLY_GenericMode")

            def work() -> None:
                with torch._C._IncludeDispatchKeyGuard(key):
                    found.append(torch.mm(x, self.w.detach()))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return torch.mm(x, self.w) + found[0]

    model = Parallel()
    with torch.no_grad(), counting(model):
        for i in range(5):
            model(analog(2, 4, seed=i))
