"""Spiking nets as people write them, in plain PyTorch and no framework: every layer against a visit of every tap.

What each layer read is taken by plain hooks (or by the net itself, where it is no module) from a run without counting.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnenergy.cost.structure import populations
from snnenergy.trace import count
from tests.brute_force import Taps, convolution, linear, product, transposed_convolution
from tests.trace_nets import LIF, make_dyadic, spikes

T, N = 4, 3


def fire(v: Tensor, threshold: float = 1.0) -> Tensor:
    return (v >= threshold).to(v.dtype)


class ScanLIF(nn.Module):
    """A leaky neuron over all steps at once, time on `axis`."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x.select(self.axis, 0)), []
        for step in x.unbind(self.axis):
            v = 0.5 * v + step
            out.append(fire(v))
            v = v - out[-1]
        return torch.stack(out, self.axis)


class Looped(nn.Module):
    """A net of one step: its neurons are put to rest, then `step` runs for each of x [T, N, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules():
            if isinstance(module, LIF):
                module.v = None
        return torch.stack([self.step(x[t]) for t in range(T)])

    def step(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Residual(Looped):
    """Spikes added to spikes: values 0, 1, 2, which are graded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.lif1, self.lif2, self.head = LIF(0.5), LIF(0.25), nn.Linear(32, 5, bias=False)

    def step(self, x: Tensor) -> Tensor:
        s = self.lif1(self.conv1(x))
        out: Tensor = self.head((s + self.lif2(self.conv2(s))).flatten(1))
        return out


class Decoder(Looped):
    """Spikes up again: a transposed convolution with a stride, then an ordinary one."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 3, 2, stride=2, bias=False), nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1)
        self.lif1, self.lif2, self.out = LIF(0.25), LIF(0.25), nn.Conv2d(2, 1, 1)

    def step(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.lif2(self.up(self.lif1(self.down(x)))))
        return out


class Attention(Looped):
    """Spiking self-attention without softmax: (q k^T) v, all three spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4, bias=False) for _ in range(4))
        self.lifs = nn.ModuleList(LIF(0.25) for _ in range(4))
        self.read: list[tuple[Tensor, Tensor]] = []

    def step(self, x: Tensor) -> Tensor:
        q, k, v = (lif(layer(x)) for lif, layer in zip(self.lifs, (self.q, self.k, self.v), strict=False))
        scores = q @ k.transpose(-2, -1)
        self.read += [(q, k.transpose(-2, -1)), (scores, v)]
        out: Tensor = self.out(self.lifs[3](0.25 * (scores @ v)))
        return out


class Pooled(Looped):
    """Spikes through a max-pool stay spikes; through a sum-pool they are counts, which are graded."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.lif, self.head = nn.Conv2d(1, 2, 3, padding=1, bias=False), LIF(0.25), nn.Linear(8, 3)
        self.pool = nn.MaxPool2d(2) if how == "max" else nn.LPPool2d(1, 2) if how == "lp" else None

    def step(self, x: Tensor) -> Tensor:
        s = self.lif(self.conv(x))
        pooled = self.pool(s) if self.pool is not None else 4 * F.avg_pool2d(s, 2)
        out: Tensor = self.head(pooled.flatten(1))
        return out


class Functional(nn.Module):
    """A functional neuron in forward, named by nothing, over N x T x X."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 5, bias=False), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        v, out = x.new_zeros(x.shape[0], 5), x.new_zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            v = 0.5 * v + self.fc1(x[:, t])
            s = fire(v, 0.5)
            v = v * (1 - s)
            out = out + self.fc2(s)
        return out


class Shared(nn.Module):
    """A loop with two nets in it, of which both call one layer."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(5, 5, bias=False)
        self.left = nn.Sequential(nn.Linear(6, 5, bias=False), LIF(0.25), shared, LIF(0.25))
        self.right = nn.Sequential(nn.Linear(6, 5, bias=False), LIF(0.25), shared, LIF(0.25))
        self.out = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules():
            if isinstance(module, LIF):
                module.v = None
        steps = [self.out(torch.cat([self.left(x[t]), self.right(1 - x[t])], 1)) for t in range(T)]
        return torch.stack(steps)


@dataclass(frozen=True)
class Model:
    """A net, its input, what is passed to `count`, and domains of layers that are worth saying."""

    build: Callable[[], nn.Module]
    x: Tensor
    options: dict[str, Any]
    domains: dict[str, tuple[str, ...]]


def stack(axis: int) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5, bias=False), ScanLIF(axis), nn.Linear(5, 4))


def time_last() -> nn.Module:
    return nn.Sequential(nn.Conv1d(6, 5, 1, bias=False), ScanLIF(-1), nn.Conv1d(5, 4, 1))


MODELS = {
    "residual adds": Model(Residual, spikes(T, N, 2, 4, 4), {}, {"conv2": ("spike",), "head": ("graded",)}),
    "transposed decoder": Model(Decoder, spikes(T, N, 1, 6, 6), {}, {"up": ("spike",), "out": ("spike",)}),
    "spiking attention": Model(Attention, spikes(T, N, 5, 4, p=0.5), {}, {"out": ("spike",)}),
    "max-pool of spikes": Model(lambda: Pooled("max"), spikes(T, N, 1, 4, 4), {}, {"head": ("spike",)}),
    "sum-pool of spikes": Model(lambda: Pooled("sum"), spikes(T, N, 1, 4, 4), {}, {"head": ("graded",)}),
    "LP-pool of spikes": Model(lambda: Pooled("lp"), spikes(T, N, 1, 4, 4), {}, {"head": ("graded",)}),
    "functional neuron": Model(Functional, spikes(N, T, 6), {}, {"fc1": ("spike",), "fc2": ("spike",)}),
    "T x N x X": Model(lambda: stack(0), spikes(T, N, 6), {"time_axis": 0}, {"2": ("spike",)}),
    "N x T x X": Model(lambda: stack(1), spikes(N, T, 6), {"time_axis": 1}, {"2": ("spike",)}),
    "N x T x X, N = T": Model(lambda: stack(1), spikes(T, T, 6), {"time_axis": 1}, {"2": ("spike",)}),
    "N x X x T": Model(time_last, spikes(N, 6, T), {"time_axis": -1}, {"2": ("spike",)}),
    "N x X x T, N = T": Model(time_last, spikes(T, 6, T), {"time_axis": -1}, {"2": ("spike",)}),
    "two nets share a layer": Model(Shared, spikes(T, N, 6), {}, {"out": ("spike",)}),
}


def reads(net: nn.Module, x: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """What every layer of weights read, call by call, in a run that is not counted."""
    found: list[tuple[nn.Module, Tensor]] = []
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
    layers = [m for m in net.modules() if isinstance(m, kinds)]
    handles = [m.register_forward_pre_hook(lambda m, args: found.append((m, args[0].clone()))) for m in layers]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return found


def taps(layer: Any, x: Tensor) -> Taps:
    if isinstance(layer, nn.Linear):
        return linear(x, layer.weight)
    if isinstance(layer, nn.ConvTranspose2d):
        with torch.no_grad():
            size = layer(x).shape[2:]
        return transposed_convolution(
            x,
            layer.weight,
            size,
            stride=layer.stride,
            padding=list(map(int, layer.padding)),
            dilation=layer.dilation,
            groups=1,
        )
    pad, stride, kernel = layer.padding, layer.stride, layer.kernel_size
    size = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(x.shape[2:], pad, kernel, stride, strict=True)]
    return convolution(x, layer.weight, size, stride=stride, before=pad, dilation=layer.dilation, groups=1)


def four(t: Taps) -> tuple[int, int, int, int]:
    return t.dense, t.valid, t.driven, t.effective


def added(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*rows, strict=True)))


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_is_that_of_a_visit_of_every_tap(name: str) -> None:
    case = MODELS[name]
    net = make_dyadic(case.build(), seed=1)
    expected: dict[str, list[tuple[int, ...]]] = {}
    paths = {m: path for path, m in net.named_modules(remove_duplicate=True)}
    for layer, x in reads(net, case.x):
        expected.setdefault(paths[layer], []).append(four(taps(layer, x)))
    for i, (a, b) in enumerate(getattr(net, "read", [])):
        expected.setdefault(f"product {i % 2}", []).append(four(product(a, b)))
    with torch.no_grad():
        counts = count(net, case.x, **case.options)
    found: dict[str, list[tuple[int, ...]]] = {}
    for row in (r for r in counts.layers if r.role == "synaptic"):
        found.setdefault(row.path, []).append((row.dense_macs, row.valid_macs, row.driven, row.effective))
    assert sorted(map(added, found.values())) == sorted(map(added, expected.values()))
    assert {p: added(r) for p, r in found.items() if p in expected} == {
        p: added(r) for p, r in expected.items() if not p.startswith("product")
    }
    assert {path: counts[path].domains for path in case.domains} == case.domains
    assert (counts.time_steps, counts.samples) == (T, T if "N = T" in name else N)
    assert not counts.uncounted
    if isinstance(net, nn.Sequential):
        silent_and_steps(net, case.x, counts, case.options["time_axis"])


def silent_and_steps(net: nn.Sequential, x: Tensor, counts: Any, axis: int) -> None:
    """Layers that run all steps at once: silent neurons over time, and steps told apart or not told at all."""
    with torch.no_grad():
        fired = net[1](net[0](x))
    lif = counts["1"]
    assert (lif.silent, lif.saturated) == (int((fired.sum(axis) == 0).sum()), int((fired.mean(axis) == 1).sum()))
    others = [d for d in range(3) if d != axis % 3]
    if axis == -1:
        assert lif.per_step is None
    else:
        assert lif.per_step.spikes_out == tuple(fired.sum(others).int().tolist())
        assert counts["2"].per_step.driven == tuple(4 * n for n in fired.sum(others).int().tolist())


def test_what_two_nets_send_to_one_layer_are_two_streams() -> None:
    net, x = make_dyadic(Shared(), seed=1), MODELS["two nets share a layer"].x
    read = [x for layer, x in reads(net, x) if layer is net.out]
    with torch.no_grad():
        streams = count(net, x)["out"].streams
    assert [s.source for s in streams] == ["left.3", "right.3"]
    assert [s.driven for s in streams] == [
        2 * int(sum((r[:, at] != 0).sum() for r in read)) for at in (slice(5), slice(5, 10))
    ]


MADE: dict[str, Callable[[Any, Tensor], Any]] = {
    "as it is": lambda net, x: net.fc(x),
    "scaled": lambda net, x: [net.fc(step) for step in 2 * x],
    "cast": lambda net, x: [net.fc(step) for step in x.double().float()],
    "flipped": lambda net, x: [net.fc(step) for step in x.flip(2)],
}


class Made(nn.Module):
    """Loops over what it made of its input T x N x X, not over the input."""

    def __init__(self, how: str, neuron: bool) -> None:
        super().__init__()
        self.how, self.fc, self.lif = how, nn.Linear(6, 5), LIF() if neuron else None

    def forward(self, x: Tensor) -> Any:
        if self.lif is not None:
            self.lif.v = None
        return sum(fire(i) if self.lif is None else self.lif(i) for i in MADE[self.how](self, x))


@pytest.mark.parametrize(("how", "neuron"), [("as it is", True), *itertools.product(list(MADE)[1:], (True, False))])
def test_steps_of_what_was_made_of_the_input(how: str, neuron: bool) -> None:
    with torch.no_grad():
        counts = count(make_dyadic(Made(how, neuron)), spikes(T, N, 6))
    assert (counts.time_steps, counts.samples) == (T, N)


def test_a_functional_neuron_that_nobody_names_is_counted_as_its_arithmetic() -> None:
    net = make_dyadic(Functional(), seed=1)
    with torch.no_grad():
        counts = count(net, spikes(N, T, 6))
    assert {layer.role for layer in counts.layers if layer.op != "copy"} == {"synaptic", "other"}
    root = counts["(root)"]
    # per step and neuron: v / 2 + i; v >= theta; 1 - s; v (1 - s); and four outputs added up
    updates = N * T * 5
    assert (root.adds, root.muls, root.compares) == (2 * updates + N * T * 4, 2 * updates, updates)


def test_dyadic_weights_make_every_neuron_net_fire() -> None:
    """Otherwise the equalities above would hold of nothing."""
    for name, case in MODELS.items():
        net = make_dyadic(case.build(), seed=1)
        last = reads(net, case.x)[-1][1]
        assert 0 < int((last != 0).sum()) < last.numel(), name


class SpikingAttention(nn.Module):
    """Queries, keys and values as spikes; the product of scores and values drives neurons, the scores drive none."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4, bias=False) for _ in range(4))
        self.q_lif, self.k_lif, self.v_lif, self.lif = (LIF() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q_lif(self.q(x)), self.k_lif(self.k(x)), self.v_lif(self.v(x))
        y: Tensor = self.out(self.lif((q @ k.transpose(1, 2)) @ v * 0.25))
        return y


def test_the_scores_of_a_spiking_attention_are_neurons_of_their_own() -> None:
    with torch.no_grad():
        counts = count(SpikingAttention(), spikes(2, 6, 4))
    assert [(p.path, [w.path for w in p.synaptic], sorted(p.inputs)) for p in populations(counts)] == [
        ("q_lif", ["q"], []),
        ("k_lif", ["k"], []),
        ("v_lif", ["v"], []),
        ("(root)::matmul#0", ["(root)::matmul#0"], ["k_lif", "q_lif"]),
        ("lif", ["(root)::matmul#1"], ["(root)::matmul#0", "v_lif"]),
        ("out", ["out"], ["lif"]),
    ]
