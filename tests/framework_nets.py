"""The same kinds of small nets in each SNN framework, and what each is: T, samples, neurons; built only where installed.

A case is one net with its input.  `Case.build` imports the framework, and raises ImportError where it is absent.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from snnenergy.trace import region
from tests.bindsnet_imports import without_the_unused
from tests.brute_force import Taps, linear
from tests.trace_nets import spikes

T, N = 6, 2
FEATURES, HIDDEN, OUT = 12, 10, 4
CHANNELS, SIZE, MAPS = 2, 6, 3


@dataclass(frozen=True)
class Case:
    """One net of one framework, and what is known of it before it is counted.

    package: its distribution, whose version the matrix shows; neurons: {path: (model, neurons per sample)}
    source: where T is known from, as `identity.notes` says it; run: calls the net, where that is not `net(x)`
    heard: where a neuron is no module with an output: its spikes, from the net after the run
    by_hand: taps of products outside nn.Linear and nn.Conv2d, from (net, input, {neuron: spikes})
    """

    package: str
    name: str
    build: Callable[[], tuple[nn.Module, Tensor]]
    neurons: dict[str, tuple[str, int]]
    source: str = "a loop inside forward"
    steps: int = T
    run: Callable[[nn.Module, Tensor], Any] | None = None
    heard: dict[str, Callable[[Any], Tensor]] = field(default_factory=dict)
    by_hand: Callable[[Any, Tensor, dict[str, Tensor]], dict[str, Taps]] | None = None

    def __str__(self) -> str:
        return f"{self.package}: {self.name}"

    def net(self) -> tuple[nn.Module, Tensor]:
        """The net with weights that make its neurons fire, and its input."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the frameworks' own
            torch.manual_seed(0)
            model, x = self.build()
        return model.eval(), x

    def call(self, model: nn.Module, x: Tensor) -> Any:
        with torch.no_grad():
            return model(x) if self.run is None else self.run(model, x)


def package(name: str) -> Any:
    """The framework, imported; ImportError where it is absent."""
    if name.partition(".")[0] in ("bindsnet", "lava") and name not in sys.modules:
        with without_the_unused():
            return importlib.import_module(name)
    return importlib.import_module(name)


def weighted(net: nn.Module, gain: float = 0.35) -> nn.Module:
    """Positive weights, some of them zero, so that all neurons fire now and then."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                kept = torch.rand(layer.weight.shape, generator=generator) > 0.2
                layer.weight.copy_(gain * torch.rand(layer.weight.shape, generator=generator) * kept)
                if layer.bias is not None:
                    layer.bias.zero_()
    return net


class Loop(nn.Module):
    """Calls `body(x[t])` for every step of x [T, N, ...]; `rest` puts the state to rest first."""

    def __init__(self, body: nn.Module, rest: Callable[[nn.Module], Any] = lambda body: None) -> None:
        super().__init__()
        self.body, self.rest = body, rest

    def forward(self, x: Tensor) -> Tensor:
        self.rest(self.body)
        out = [self.body(x[t]) for t in range(x.shape[0])]
        return torch.stack([y[0] if isinstance(y, tuple) else y for y in out])


class Folded(nn.Module):
    """Calls `body(x)` once, from a state at rest."""

    def __init__(self, body: nn.Module, rest: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.body, self.rest = body, rest

    def forward(self, x: Tensor) -> Any:
        self.rest(self.body)
        return self.body(x)


# ---- SpikingJelly
def _spikingjelly() -> Any:
    base = package("spikingjelly.activation_based")
    for part in ("neuron", "layer", "functional"):
        importlib.import_module(f"spikingjelly.activation_based.{part}")
    return base


def _sj(kind: str, mode: str, signed: bool = False) -> tuple[nn.Module, Tensor]:
    base = _spikingjelly()
    make = getattr(base.neuron, kind)
    body = nn.Sequential(base.layer.Linear(FEATURES, HIDDEN), make(), base.layer.Linear(HIDDEN, OUT))
    base.functional.set_step_mode(body, mode)
    weighted(body, 0.9)
    if signed:
        with torch.no_grad():
            body[0].weight.mul_(1 - 2 * (torch.arange(HIDDEN) % 2)[:, None])  # type: ignore[operator]  # a Linear
    around = Folded if mode == "m" else Loop
    return around(body, base.functional.reset_net), spikes(T, N, FEATURES)


def _sj_gated() -> tuple[nn.Module, Tensor]:
    """Its gates have a place for channels, height and width, so it stands behind a convolution."""
    base = _spikingjelly()
    layer = base.layer
    body = nn.Sequential(
        layer.Conv2d(CHANNELS, MAPS, 3, padding=1),
        base.neuron.GatedLIFNode(T=T),
        layer.Flatten(),
        layer.Linear(MAPS * SIZE**2, OUT),
    )
    with torch.no_grad():
        for gate in (body[1].alpha, body[1].beta, body[1].gamma):
            gate.fill_(0.05)  # type: ignore[operator]  # a parameter, which numpy drew
    base.functional.set_step_mode(body, "m")
    return Folded(weighted(body), base.functional.reset_net), spikes(T, N, CHANNELS, SIZE, SIZE)


def _sj_conv() -> tuple[nn.Module, Tensor]:
    base = _spikingjelly()
    layer = base.layer
    body = nn.Sequential(
        layer.Conv2d(CHANNELS, MAPS, 3, padding=1),
        base.neuron.IFNode(),
        layer.MaxPool2d(2),
        layer.Flatten(),
        layer.Linear(MAPS * (SIZE // 2) ** 2, OUT),
        base.neuron.LIFNode(),
    )
    base.functional.set_step_mode(body, "m")
    return Folded(weighted(body), base.functional.reset_net), spikes(T, N, CHANNELS, SIZE, SIZE)


class Repeated(nn.Module):
    """The same x [N, ...] at every of T steps: direct coding."""

    def __init__(self, body: nn.Module, rest: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.body, self.rest = body, rest

    def forward(self, x: Tensor) -> Any:
        self.rest(self.body)
        return sum(self.body(x) for _ in range(T))


def _ann2snn() -> tuple[nn.Module, Tensor]:
    ann2snn = package("spikingjelly.activation_based.ann2snn")
    functional = package("spikingjelly.activation_based.functional")
    ann = nn.Sequential(
        nn.Conv2d(CHANNELS, MAPS, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(MAPS * SIZE**2, OUT)
    )
    x = torch.rand(N, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    recipe = ann2snn.RateCodingRecipe([(x, torch.zeros(N))], mode="max")
    return Repeated(ann2snn.Converter(recipe).convert(weighted(ann).eval()), functional.reset_net), x


# ---- snnTorch
class _Explicit(nn.Module):
    def __init__(self, neuron: nn.Module, first: str) -> None:
        super().__init__()
        self.fc1, self.n, self.fc2 = nn.Linear(FEATURES, HIDDEN), neuron, nn.Linear(HIDDEN, OUT)
        self.first = first
        weighted(self, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        state = getattr(self.n, self.first)()
        state = state if isinstance(state, tuple) else (state,)
        out = []
        for t in range(x.shape[0]):
            spk, *state = self.n(self.fc1(x[t]), *state)
            out.append(self.fc2(spk))
        return torch.stack(out)


def _snn(kind: str, first: str, **options: Any) -> tuple[nn.Module, Tensor]:
    neuron = getattr(package("snntorch"), kind)(**options)
    return _Explicit(neuron, first), spikes(T, N, FEATURES)


class _Recurrent(_Explicit):
    """RLeaky and RSynaptic hand their spikes to the next step: they are state too."""

    def forward(self, x: Tensor) -> Tensor:
        state = getattr(self.n, self.first)()
        out = []
        for t in range(x.shape[0]):
            state = self.n(self.fc1(x[t]), *state)
            out.append(self.fc2(state[0]))
        return torch.stack(out)


def _recurrent(kind: str, first: str, **options: Any) -> tuple[nn.Module, Tensor]:
    neuron = getattr(package("snntorch"), kind)(linear_features=HIDDEN, **options)
    return _Recurrent(neuron, first), spikes(T, N, FEATURES)


def _init_hidden() -> tuple[nn.Module, Tensor]:
    snntorch, utils = package("snntorch"), package("snntorch.utils")
    body = nn.Sequential(
        nn.Linear(FEATURES, HIDDEN),
        snntorch.Leaky(beta=0.8, init_hidden=True),
        nn.Linear(HIDDEN, OUT),
        snntorch.Synaptic(alpha=0.9, beta=0.8, init_hidden=True, output=True),
    )

    def rest(net: nn.Module) -> None:
        for layer in list(net.children())[1::2]:
            layer.reset_mem()  # type: ignore[operator]  # a snnTorch neuron

    assert utils is not None
    return Loop(weighted(body, 1.0), rest), spikes(T, N, FEATURES)


# ---- Norse
def _norse(kind: str, **options: Any) -> tuple[nn.Module, Tensor]:
    norse = package("norse.torch")
    parameters = norse.LIFParameters(tau_syn_inv=torch.tensor(500.0), tau_mem_inv=torch.tensor(500.0))
    neuron = getattr(norse, kind)(p=parameters, **options)
    return norse.SequentialState(nn.Linear(FEATURES, HIDDEN), neuron, nn.Linear(HIDDEN, OUT)), spikes(T, N, FEATURES)


class States(nn.Module):
    """A SequentialState of cells over x [T, N, ...], its state handed on."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        state, out = None, []
        for t in range(x.shape[0]):
            y, state = self.body(x[t], state)
            out.append(y)
        return torch.stack(out)


def _norse_cells() -> tuple[nn.Module, Tensor]:
    body, x = _norse("LIFCell")
    return States(weighted(body, 2.0)), x


def _norse_sequence() -> tuple[nn.Module, Tensor]:
    body, x = _norse("LIF")
    return weighted(body, 2.0), x


def _norse_recurrent() -> tuple[nn.Module, Tensor]:
    norse = package("norse.torch")
    parameters = norse.LIFParameters(tau_syn_inv=torch.tensor(500.0), tau_mem_inv=torch.tensor(500.0))
    recurrent = norse.LIFRecurrent(FEATURES, HIDDEN, p=parameters)
    with torch.no_grad():
        recurrent.input_weights.copy_(torch.rand(HIDDEN, FEATURES))
        recurrent.recurrent_weights.copy_(0.1 * torch.rand(HIDDEN, HIDDEN))
    return norse.SequentialState(recurrent, weighted(nn.Linear(HIDDEN, OUT))), spikes(T, N, FEATURES)


# ---- sinabs
def _sinabs_squeezed() -> tuple[nn.Module, Tensor]:
    sinabs, layers = package("sinabs"), package("sinabs.layers")
    body = nn.Sequential(
        nn.Conv2d(CHANNELS, MAPS, 3),
        layers.IAFSqueeze(batch_size=N),
        layers.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(MAPS * 4, OUT),
        layers.IAFSqueeze(batch_size=N),
    )
    return Folded(weighted(body), sinabs.reset_states), spikes(N * T, CHANNELS, SIZE, SIZE)


def _sinabs_steps(kind: str, **options: Any) -> tuple[nn.Module, Tensor]:
    sinabs, layers = package("sinabs"), package("sinabs.layers")
    neuron = getattr(layers, kind)(tau_mem=5.0, **options)
    body = nn.Sequential(nn.Linear(FEATURES, HIDDEN), neuron, nn.Linear(HIDDEN, OUT))
    x = spikes(N, T, FEATURES)
    return Folded(weighted(body), sinabs.reset_states), x.flatten(0, 1) if kind.endswith("Squeeze") else x


# ---- BindsNET
def _bindsnet() -> tuple[nn.Module, Tensor]:
    network = package("bindsnet.network")
    nodes, topology = package("bindsnet.network.nodes"), package("bindsnet.network.topology")
    net = network.Network(batch_size=N)
    net.add_layer(nodes.Input(n=FEATURES), "X")
    net.add_layer(nodes.LIFNodes(n=HIDDEN), "H")
    w = 20 * torch.rand(FEATURES, HIDDEN) * (torch.rand(FEATURES, HIDDEN) > 0.2)
    net.add_connection(topology.Connection(net.layers["X"], net.layers["H"], w=w), "X", "H")
    net.add_monitor(package("bindsnet.network.monitors").Monitor(net.layers["H"], ["s"], time=T), "H")
    net.learning = False
    return net, spikes(T, N, FEATURES)


def run_bindsnet(net: Any, x: Tensor) -> Any:
    net.reset_state_variables()
    return net.run({"X": x}, time=x.shape[0], one_step=True)


# ---- lava-dl
def _slayer() -> tuple[nn.Module, Tensor]:
    block = package(SLAYER).block.cuba
    neuron = {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.1, "requires_grad": False}
    body = nn.Sequential(block.Dense(neuron, FEATURES, HIDDEN), block.Dense(neuron, HIDDEN, OUT))
    with torch.no_grad():
        for weight in (p for p in body.parameters() if p.dim() > 1):  # beside them, the neurons' decays
            weight.copy_(torch.rand(weight.shape))
            weight[::2, ::3] = 0
    return body, spikes(N, FEATURES, T)


def _slayer_taps(net: Any, x: Tensor, fired: dict[str, Tensor]) -> dict[str, Taps]:
    """A dense block is a convolution of size one over [N, X, 1, 1, T], and hands its spikes on one step later."""
    later = one_step_later(fired["0.neuron"].movedim(-1, 0)).movedim(0, -1)
    reads = {"0.synapse": (net[0], x), "1.synapse": (net[1], later)}
    return {path: linear(r.movedim(1, -1), block.synapse.weight.flatten(1)) for path, (block, r) in reads.items()}


# ---- plain PyTorch
class AdaptiveNet(nn.Module):
    """A functional adaptive neuron inside forward, as research code writes it, with a recurrent layer of spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, HIDDEN)
        self.rec = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, OUT)
        weighted(self, 0.5)
        self.fired: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.fired.clear()
        mem = spk = b = x.new_zeros(x.shape[1], HIDDEN)
        total = x.new_zeros(x.shape[1], OUT)
        for t in range(x.shape[0]):
            current = self.fc(x[t]) + self.rec(spk)
            with region("alif", role="ALIF"):
                b = 0.9 * b + 0.1 * spk
                threshold = 0.3 + 1.8 * b
                mem = 0.8 * mem + current - threshold * spk
                spk = (mem > threshold).float()
            total = total + self.out(spk)
            self.fired.append(spk)
        return total


def _plain() -> tuple[nn.Module, Tensor]:
    return AdaptiveNet(), spikes(T, N, FEATURES)


def one_step_later(fired: Tensor) -> Tensor:
    """What a recurrent layer reads when [T, ...] fired: nothing at first, then what fired one step before."""
    return torch.cat([torch.zeros_like(fired[:1]), fired[:-1]])


def _norse_taps(net: Any, x: Tensor, fired: dict[str, Tensor]) -> dict[str, Taps]:
    neuron = net[0]
    again = linear(one_step_later(fired["0"]), neuron.recurrent_weights)
    return {"param:0.input_weights": linear(x, neuron.input_weights), "param:0.recurrent_weights": again}


def _bindsnet_taps(net: Any, x: Tensor, fired: dict[str, Tensor]) -> dict[str, Taps]:
    return {"param:X_to_H.w": linear(x, net.connections["X", "H"].w.T)}


def _hidden(path: str, model: str) -> dict[str, tuple[str, int]]:
    return {path: (model, HIDDEN)}


SLAYER = "lava.lib.dl.slayer"
SJ_M, NORSE_T = 'SpikingJelly step_mode "m"', "Norse {} (T, N, ...)"
CASES = (
    Case("spikingjelly", "LIF, single step", lambda: _sj("LIFNode", "s"), _hidden("body.1", "LIF")),
    Case("spikingjelly", "LIF, multi step", lambda: _sj("LIFNode", "m"), _hidden("body.1", "LIF"), SJ_M),
    Case("spikingjelly", "PLIF, multi step", lambda: _sj("ParametricLIFNode", "m"), _hidden("body.1", "PLIF"), SJ_M),
    Case("spikingjelly", "Izhikevich", lambda: _sj("IzhikevichNode", "m"), _hidden("body.1", "Izhikevich"), SJ_M),
    Case("spikingjelly", "QIF", lambda: _sj("QIFNode", "m"), _hidden("body.1", "QIF"), SJ_M),
    Case("spikingjelly", "EIF", lambda: _sj("EIFNode", "m"), _hidden("body.1", "EIF"), SJ_M),
    Case(
        "spikingjelly",
        "ternary IF, single step",
        lambda: _sj("TernaryIFNode", "s", signed=True),
        _hidden("body.1", "ternary IF"),
    ),
    Case(
        "spikingjelly",
        "ternary LIF, multi step",
        lambda: _sj("TernaryLIFNode", "m", signed=True),
        _hidden("body.1", "ternary LIF"),
        SJ_M,
    ),
    Case("spikingjelly", "conv, gated LIF", _sj_gated, {"body.1": ("GLIF", MAPS * SIZE**2)}, SJ_M),
    Case(
        "spikingjelly",
        "conv, IF and LIF, multi step",
        _sj_conv,
        {"body.1": ("IF", MAPS * SIZE**2), "body.5": ("LIF", OUT)},
        SJ_M,
    ),
    Case("spikingjelly", "ann2snn, rate coding", _ann2snn, {"body.spiking_0.if_node": ("IF", MAPS * SIZE**2)}),
    Case("snntorch", "Leaky, state passed on", lambda: _snn("Leaky", "init_leaky", beta=0.8), _hidden("n", "LIF")),
    Case(
        "snntorch",
        "Synaptic, state passed on",
        lambda: _snn("Synaptic", "init_synaptic", alpha=0.9, beta=0.8),
        _hidden("n", "CUBA"),
    ),
    Case(
        "snntorch",
        "Alpha, state passed on",
        lambda: _snn("Alpha", "init_alpha", alpha=0.9, beta=0.8),
        _hidden("n", "alpha"),
    ),
    Case(
        "snntorch",
        "Leaky and Synaptic, init_hidden",
        _init_hidden,
        _hidden("body.1", "LIF") | {"body.3": ("CUBA", OUT)},
    ),
    Case("snntorch", "Lapicque", lambda: _snn("Lapicque", "init_lapicque", beta=0.8), _hidden("n", "LIF")),
    Case("snntorch", "RLeaky", lambda: _recurrent("RLeaky", "init_rleaky", beta=0.8), _hidden("n", "LIF")),
    Case(
        "snntorch",
        "RSynaptic",
        lambda: _recurrent("RSynaptic", "init_rsynaptic", alpha=0.9, beta=0.8),
        _hidden("n", "CUBA"),
    ),
    Case("norse", "SequentialState of cells", _norse_cells, _hidden("body.1", "LIF")),
    Case("norse", "SequentialState over time", _norse_sequence, _hidden("1", "LIF"), NORSE_T.format("LIF")),
    Case(
        "norse",
        "LIFRecurrent",
        _norse_recurrent,
        _hidden("0", "LIF"),
        NORSE_T.format("LIFRecurrent"),
        by_hand=_norse_taps,
    ),
    Case(
        "sinabs",
        "IAFSqueeze",
        _sinabs_squeezed,
        {"body.1": ("IF", MAPS * 16), "body.5": ("IF", OUT)},
        "sinabs squeezed layers (N T, ...)",
    ),
    Case(
        "sinabs",
        "LIFSqueeze, no convolution",
        lambda: _sinabs_steps("LIFSqueeze", norm_input=False, batch_size=N),
        _hidden("body.1", "LIF"),
        "sinabs squeezed layers (N T, ...)",
    ),
    Case(
        "sinabs",
        "LIF over (N, T, ...)",
        lambda: _sinabs_steps("LIF", norm_input=False),
        _hidden("body.1", "LIF"),
        "sinabs (N, T, ...)",
    ),
    Case(
        "sinabs",
        "ALIF over (N, T, ...)",
        lambda: _sinabs_steps("ALIF", tau_adapt=5.0, norm_input=False),
        _hidden("body.1", "ALIF"),
        "sinabs (N, T, ...)",
    ),
    Case(
        "sinabs",
        "ExpLeak over (N, T, ...)",
        lambda: _sinabs_steps("ExpLeak"),
        _hidden("body.1", "LI"),
        "sinabs (N, T, ...)",
    ),
    Case(
        "bindsnet",
        "network.run",
        _bindsnet,
        _hidden("H", "LIF"),
        run=run_bindsnet,
        heard={"H": lambda net: net.monitors["H"].get("s")},
        by_hand=_bindsnet_taps,
    ),
    Case(
        SLAYER,
        "slayer blocks, CUBA",
        _slayer,
        {"0.neuron": ("CUBA", HIDDEN), "1.neuron": ("CUBA", OUT)},
        "lava-dl slayer (N, ..., T)",
        by_hand=_slayer_taps,
    ),
    Case(
        "torch",
        "functional neuron in a region",
        _plain,
        _hidden("alif", "ALIF"),
        heard={"alif": lambda net: torch.stack(net.fired)},
    ),
)
