"""One optimisation step, counted: against loops over taps, against torch's own FLOP counter, and laws."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import snnenergy
from snnenergy.counts import Counts, LayerCounts
from snnenergy.errors import InputError, UsageError
from tests.conftest import Cli


def of_phase(counts: Counts, phase: str) -> dict[str, LayerCounts]:
    return {layer.path.partition("@")[0]: layer for layer in counts.layers if layer.phase == phase}


# ---- truths by hand
def test_a_small_net_by_hand() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 20), nn.ReLU(), nn.Linear(20, 10))
    counts = snnenergy.count_training(net, torch.randn(4, 7), targets=torch.tensor([1, 2, 3, 0]), optimizer="adam")
    forward = 4 * 20 * 7 + 4 * 10 * 20
    assert counts.samples == 4
    assert sum(layer.dense_macs for layer in counts.layers) == forward * 2 + 4 * 20 * 10  # the input takes no gradient
    assert "0" not in of_phase(counts, "grad_input")
    assert of_phase(counts, "grad_weight")["0"].adds == 4 * 20  # the bias: a sum over the batch
    step = of_phase(counts, "optimizer")["0"]
    assert (step.adds, step.muls, step.specials) == (5 * 160, 6 * 160, 2 * 160)
    assert counts.total().weights == 7 * 20 + 20 * 10  # once, whatever the phases read
    assert counts.conditions.training == "adam, loss cross_entropy"
    assert counts.uncounted == ()


def test_spikes_gate_the_gradient_of_the_weights() -> None:
    x = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 0, 1, 0]])
    counts = snnenergy.count_training(nn.Linear(5, 3, bias=False), x)
    row = counts["(root)@grad_weight"]
    assert (row.dense_macs, row.acs, row.macs) == (2 * 5 * 3, 3 * 3, 0)  # three spikes, each at three gradients
    assert {s.operand: (s.elements, s.nonzero) for s in row.streams} == {"a": (6, 6), "b": (10, 3)}


# ---- the first witness: every tap in plain Python, with the gradients of a backward pass of our own
def taps(x: Tensor, g: Tensor, reach: Callable[[tuple[int, ...], tuple[int, ...]], list[tuple[int, ...]]]) -> int:
    """Pairs of a non-zero input element and a non-zero gradient element, once for each weight that joins them."""
    inputs, outputs = x.nonzero().tolist(), g.nonzero().tolist()
    return sum(len(reach(tuple(i), tuple(o))) for i, o in itertools.product(inputs, outputs))


def joined(conv: Any, i: tuple[int, ...], o: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Weights [cout, cin / groups, kh, kw] (transposed: [cin, cout / groups, kh, kw]) between an input and an output."""
    if i[0] != o[0]:
        return []
    transposed = isinstance(conv, nn.ConvTranspose2d)
    per_in, per_out = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    if i[1] // per_in != o[1] // per_out:
        return []
    found = []
    for k in itertools.product(*map(range, conv.kernel_size)):
        near, far = (i, o) if transposed else (o, i)
        places = [
            near[2 + d] * conv.stride[d] - conv.padding[d] + k[d] * conv.dilation[d] == far[2 + d] for d in range(2)
        ]
        if all(places):
            found.append((o[1], i[1] % per_in, *k) if not transposed else (i[1], o[1] % per_out, *k))
    return found


def sparse(*shape: int) -> Tensor:
    return torch.relu(torch.randn(shape))


CONVOLUTIONS = [
    nn.Conv2d(2, 4, 3, padding=1),
    nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False),
    nn.Conv2d(2, 2, (3, 2), stride=(1, 2), dilation=(2, 1)),
    nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2),
]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
def test_a_convolution_tap_by_tap(conv: Any, batch: int) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        conv.weight[conv.weight.abs() < 0.05] = 0
    first = nn.Conv2d(2, conv.in_channels, 1)
    net = nn.Sequential(first, nn.ReLU(), conv, nn.ReLU())
    x = torch.randn(batch, 2, 5, 6)
    counts = snnenergy.count_training(net, x)

    h = torch.relu(first(x))
    y = conv(h)
    (g,) = torch.autograd.grad(torch.relu(y).sum(), y)
    weight = of_phase(counts, "grad_weight")["2"]
    assert weight.driven == weight.effective == taps(h, g, lambda i, o: joined(conv, i, o))
    assert weight.dense_macs == counts["2"].dense_macs
    assert weight.valid_macs == counts["2"].valid_macs

    back = of_phase(counts, "grad_input")["2"]
    everywhere = torch.ones_like(h)
    assert back.driven == taps(everywhere, g, lambda i, o: joined(conv, i, o))
    assert back.effective == taps(everywhere, g, lambda i, o: [w for w in joined(conv, i, o) if conv.weight[w] != 0])
    assert back.dense_macs == counts["2"].dense_macs


class Spike(torch.autograd.Function):
    """1 where v >= 0; the gradient passes where |v| < 0.5."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        ctx.save_for_backward(v)
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (v,) = ctx.saved_tensors
        return g * (v.abs() < 0.5).to(g.dtype)


class LIF(nn.Module):
    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        v = 0.5 * v + x
        s = Spike.apply(v - 0.4)  # type: ignore[no-untyped-call]  # torch's own
        return s, v - s.detach() * 0.4


class TwoSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif, self.fc2 = nn.Linear(6, 8), LIF(), nn.Linear(8, 3, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        v, out = torch.zeros(frames.shape[1], 8), torch.zeros(())
        for x in frames:
            s, v = self.lif(self.fc1(x), v)
            out = out + self.fc2(s)
        return out


@pytest.mark.parametrize("batch", [1, 3])
def test_two_steps_of_a_spiking_net_tap_by_tap(batch: int) -> None:
    torch.manual_seed(3)
    net, frames = TwoSteps(), (torch.rand(2, batch, 6) < 0.4).float()
    labels = torch.arange(batch) % 3
    counts = snnenergy.count_training(net, frames, targets=labels)
    assert (counts.time_steps, counts.samples) == (2, batch)

    # by hand: the gradients that arrive at the two linear layers in each step
    seen: dict[str, list[Tensor]] = {"fc1": [], "fc2": []}
    given: dict[str, list[Tensor]] = {"fc1": [], "fc2": []}

    def watch(name: str, x: Tensor, out: Tensor) -> None:
        given[name].append(x.detach())
        out.register_hook(seen[name].append)  # type: ignore[no-untyped-call]  # torch's own

    for name, layer in (("fc1", net.fc1), ("fc2", net.fc2)):
        layer.register_forward_hook(lambda _m, args, out, name=name: watch(name, args[0], out))
    nn.functional.cross_entropy(net(frames), labels).backward()  # type: ignore[no-untyped-call]  # torch's own

    for name, n_out in (("fc1", 8), ("fc2", 3)):
        row = of_phase(counts, "grad_weight")[name]
        steps = zip(given[name], reversed(seen[name]), strict=True)
        driven = sum(int((x[b] != 0).sum() * (g[b] != 0).sum()) for x, g in steps for b in range(batch))
        assert (row.driven, row.acs, row.macs) == (driven, driven, 0)
        assert row.dense_macs == 2 * batch * n_out * given[name][0].shape[1]
    assert "fc1" not in of_phase(counts, "grad_input")
    back = of_phase(counts, "grad_input")["fc2"]
    nonzero = sum(int((g != 0).sum()) for g in seen["fc2"])
    assert (back.driven, back.macs, back.acs) == (nonzero * 8, nonzero * 8, 0)
    # two steps' weight gradients are added once, and so are those of the bias
    assert of_phase(counts, "grad_weight")["fc2"].adds == 3 * 8
    assert of_phase(counts, "grad_weight")["fc1"].adds == 8 * 6 + 8 + 2 * batch * 8
    # the slope: |v|, a comparison and a product for every neuron and step; the leak of the second step: a product and a sum
    lif = of_phase(counts, "grad_input")["lif"]
    assert (lif.compares, lif.muls, lif.adds) == (2 * batch * 8 * 2, 2 * batch * 8 + batch * 8, batch * 8)


def test_sums_over_steps_are_of_the_weights() -> None:
    """Three steps of a convolution: two sums of its weights' gradients, whatever kernel gave them; a bias' as well."""

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, frames: Tensor) -> Tensor:
            return torch.stack([self.conv(x) for x in frames]).sum(0)

    counts = snnenergy.count_training(Steps(), torch.randn(3, 2, 1, 4, 4))
    row = of_phase(counts, "grad_weight")["conv"]
    bias = 3 * 2 * 2 * 2 * 2  # every output element is added once
    assert row.adds == bias + 2 * (2 * 9 + 2)
    assert "conv" not in of_phase(counts, "grad_input")


def test_two_kinds_of_products_in_one_layer() -> None:
    """x W^T and q k^T in one module: only the first has a gradient of weights."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            q = x @ self.w
            return q @ q.transpose(0, 1)

    counts = snnenergy.count_training(Both(), torch.randn(3, 4))
    by_phase = {
        phase: sum(r.dense_macs for r in of_phase(counts, phase).values()) for phase in ("grad_input", "grad_weight")
    }
    assert by_phase == {"grad_input": 2 * 3 * 4 * 3, "grad_weight": 3 * 4 * 4}


# ---- the second witness
class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        out: Tensor = self.out(torch.softmax(q @ k.transpose(1, 2), -1) @ v)
        return out


WITNESSED = [
    (nn.Sequential(nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 4)), (5, 9)),
    (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
        (2, 2, 8, 8),
    ),
    (nn.Sequential(nn.Conv1d(3, 4, 3, padding=2), nn.GELU(), nn.AvgPool1d(2)), (2, 3, 10)),
    (Attention(), (2, 5, 8)),
]


@pytest.mark.parametrize(("net", "shape"), WITNESSED, ids=["mlp", "conv", "conv1d", "attention"])
def test_dense_macs_are_those_of_torchs_flop_counter(net: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    counts = snnenergy.count_training(net, x)
    assert counts.uncounted == ()
    witness = FlopCounterMode(display=False)
    with witness:
        net(x).sum().backward()
    assert 2 * counts.total().dense_macs == witness.get_total_flops()


@pytest.mark.parametrize("masked", [False, True])
def test_a_fused_attention_gives_its_weights_again_and_their_gradient(masked: bool) -> None:
    mask = torch.randn(5, 5) if masked else None

    class Fused(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (t.unsqueeze(1) for t in self.qkv(x).chunk(3, -1))
            out: Tensor = self.out(nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).squeeze(1))
            return out

    counts = snnenergy.count_training(Fused(), torch.randn(2, 5, 8))
    (row,) = (layer for layer in counts.layers if layer.phase == "grad_input" and "sdpa" in layer.path)
    n = 2 * 5 * 5  # scores: scale, mask and softmax as in the forward, then P (dP - sum(P dP))
    assert (row.adds, row.muls, row.compares, row.specials) == ((4 + masked) * n, 4 * n, n, n)


# ---- what a step keeps, and what it leaves behind
def test_kept_bytes_by_hand() -> None:
    net = nn.Sequential(nn.Linear(7, 20), nn.ReLU(), nn.Linear(20, 10), nn.Sigmoid())
    counts = snnenergy.count_training(net, torch.randn(4, 7))
    kept = {layer.path: layer.saved_bytes for layer in counts.layers if layer.saved_bytes}
    # the input once; what the ReLU puts out, for itself and the next layer; what the sigmoid puts out
    assert kept == {"0": 4 * 7 * 4, "1": 4 * 20 * 4, "3": 4 * 10 * 4}


def alive(net: nn.Module, x: Tensor) -> int:
    """Bytes of the input, and of everything a forward made that is still there when it has returned, but its loss."""
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.utils._python_dispatch import TorchDispatchMode

    made: dict[int, tuple[Any, int]] = {}

    class Sees(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for t in out if isinstance(out, tuple | list) else (out,):
                if isinstance(t, Tensor):
                    held = t.untyped_storage()
                    made[held._cdata] = (StorageWeakRef(held), held.nbytes())  # type: ignore[no-untyped-call]  # torch's own
            return out

    with Sees():  # type: ignore[no-untyped-call]  # the same
        loss = net(x).sum()
    own = {t.untyped_storage()._cdata for t in (*net.parameters(), *net.buffers(), loss, x)}
    return x.nbytes + sum(n for key, (held, n) in made.items() if key not in own and not held.expired())


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.Sequential(nn.Linear(7, 20), nn.ReLU(), nn.Linear(20, 10), nn.Sigmoid()), (4, 7)),
        (
            nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5)),
            (2, 2, 8, 8),
        ),
        (TwoSteps(), (2, 3, 6)),
    ],
    ids=["mlp", "conv", "two steps"],
)
def test_kept_bytes_are_what_is_alive_after_the_forward(net: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    kept = sum(layer.saved_bytes for layer in snnenergy.count_training(net, x).layers)
    assert kept == alive(net.train(), x)


def test_nothing_is_changed() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(72, 3)).eval()
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    grads, random = [p.grad for p in net.parameters()], torch.get_rng_state()
    snnenergy.count_training(
        net, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), optimizer="adamw"
    )
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert [p.grad is g for p, g in zip(net.parameters(), grads, strict=True)] == [True] * len(grads)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module.training for module in net.modules())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in net.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated, and still met in files
def test_a_script_module_keeps_its_mode_too() -> None:
    net = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))).eval()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    snnenergy.count_training(net, torch.randn(4, 3))
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())


def test_state_that_a_forward_keeps_is_put_back() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.seen, self.v = nn.Linear(3, 3), [torch.zeros(1)], torch.zeros(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.v = self.v + self.fc(x)
            self.seen.append(self.v)
            return self.v

    net = Keeps()
    v, seen = net.v, net.seen
    snnenergy.count_training(net, torch.ones(2, 3))
    assert net.v is v
    assert net.seen is seen
    assert len(seen) == 1


# ---- laws
def test_two_batches_add_up() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    parts = [snnenergy.count_training(net, torch.randn(3, 4), targets=torch.tensor([0, 1, 0])) for _ in range(2)]
    whole = parts[0].merge(parts[1])
    assert (whole.samples, whole.forwards) == (6, 2)
    assert whole.total().macs == sum(p.total().macs for p in parts)
    assert whole == parts[1].merge(parts[0])
    assert Counts.from_dict(whole.to_dict()) == whole
    inference = snnenergy.count(net, torch.randn(3, 4))
    with pytest.raises(snnenergy.CountsError, match="cannot merge"):
        parts[0].merge(inference)


def test_the_forward_is_that_of_an_inference() -> None:
    torch.manual_seed(0)
    net, frames = TwoSteps(), (torch.rand(2, 3, 6) < 0.4).float()
    inference = snnenergy.count(net, frames)
    step = {layer.path: layer for layer in snnenergy.count_training(net, frames).forward}
    for layer in inference.layers:
        other = step[layer.path]
        assert (layer.streams, layer.dense_macs, layer.adds) == (other.streams, other.dense_macs, other.adds)
        assert (layer.updates, layer.spikes_out, layer.per_step) == (other.updates, other.spikes_out, other.per_step)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, foreach=False)),
        ("momentum", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=False)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.1, foreach=False)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01, foreach=False)),
    ],
)
def test_the_closed_form_is_what_torchs_optimizer_does(name: str, make: Callable[[list[nn.Parameter]], Any]) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    from snnenergy.trace.formulas import Arithmetic, Free, row
    from snnenergy.trace.optimizers import OPTIMIZERS

    weight = nn.Parameter(torch.randn(5, 4))
    optimizer = make([weight])
    found, kernels = [], 0

    class Sees(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal kernels
            kwargs = kwargs or {}
            out = func(*args, **kwargs)
            rule = row(func._schema.name.removeprefix("aten::"))
            sized = isinstance(out, Tensor) and out.numel() == weight.numel()  # the step's number is counted by nobody
            if sized and not isinstance(rule, Free):
                kernels += 1
                found.append(rule(args, out))  # type: ignore[misc, operator]  # a formula
                scaled = isinstance(kwargs.get("alpha", 1), float)  # `add` is one sum, its factor a product
                found.append(Arithmetic(muls=weight.numel() * scaled))
            return out

    weight.grad = torch.randn(5, 4)
    optimizer.step()
    weight.grad = torch.randn(5, 4)
    with Sees():  # type: ignore[no-untyped-call]  # the same
        optimizer.step()
    each = OPTIMIZERS[name].each
    assert tuple(map(sum, zip(*found, strict=True))) == tuple(20 * n for n in each)
    assert kernels == OPTIMIZERS[name].kernels
    assert (
        sum(t.numel() == 20 for t in optimizer.state[weight].values() if isinstance(t, Tensor))
        == OPTIMIZERS[name].state_words
    )


# ---- the command
MODEL = ("tests.test_training:small", "--mode", "train", "--input-shape", "6,7", "--hardware", "none")


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(7, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 10))


def test_profile_counts_the_first_samples(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "step.json"
    answer = cli("profile", *MODEL, "--batch", "4", "--optimizer", "momentum", "--json", file)
    assert answer.code == 0
    assert answer.out.startswith("small: one step of momentum, loss sum, on 4 samples, synthetic input")
    assert max(map(len, answer.out.splitlines())) <= 80
    counts = Counts.load(file)
    assert counts.samples == 4
    assert counts["0"].dense_macs == 4 * 7 * 20
    again = tmp_path / "again.json"
    assert cli("profile", *MODEL, "--batch", "4", "--optimizer", "momentum", "--json", again).code == 0
    assert again.read_bytes() == file.read_bytes()  # weights and dropout come from the seed


class Loop(nn.Module):
    """Two outputs of what the steps, along one axis of the input, add up to."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.fc, self.axis = nn.Linear(3, 2), axis

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.fc(step) for step in x.unbind(self.axis)]).sum(0)


def first_axis() -> nn.Module:
    return Loop(0)


def second_axis() -> nn.Module:
    return Loop(1)


@pytest.mark.parametrize(
    ("net", "shape", "given", "steps"),
    [
        ("first_axis", "8,5,3", (), 8),
        ("first_axis", "8,5,3", ("--time-axis", "0"), 8),
        ("first_axis", "8,5,3", ("--time-axis", "-3"), 8),
        ("second_axis", "5,8,3", (), 8),
        ("second_axis", "5,8,3", ("--time-axis", "1"), 8),
    ],
)
def test_the_first_samples_keep_all_their_steps(
    cli: Cli, tmp_path: Path, net: str, shape: str, given: tuple[str, ...], steps: int
) -> None:
    file = tmp_path / "step.json"
    model = (f"tests.test_training:{net}", "--mode", "train", "--input-shape", shape, "--hardware", "none")
    answer = cli("profile", *model, "--batch", "4", *given, "--json", file)
    assert answer.code == 0, answer.err
    counts = Counts.load(file)
    assert (counts.samples, counts.time_steps) == (4, steps)
    assert counts["fc"].dense_macs == 4 * steps * 3 * 2


def test_labels_of_the_input_are_the_targets(cli: Cli, root: Path) -> None:
    digits = root / "examples" / "digits"
    model = ("profile", digits / "digits_ann_model.pt", "--input", digits / "digits.npz", "--mode", "train")
    answer = cli(*model, "--batch", "8", "--hardware", "h100,loihi")
    assert "digits_ann_model: one step of sgd, loss cross_entropy, on 8 samples" in answer.out
    assert "does not train" in answer.out
    assert "loss sum" in cli(*model, "--loss", "sum", "--hardware", "none").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mode", "learn"], "--mode: expected infer or train, found 'learn'"),
        (["--optimizer", "adam"], "--optimizer: goes with --mode train"),
        (["--mode", "train", "--optimizer", "lion"], "expected one of sgd, momentum, adam, adamw"),
        (["--mode", "train", "--loss", "mse"], "loss mse: needs targets"),
        (["--mode", "train", "--batch", "7"], "--batch 7: the input holds 6 samples"),
        (["--mode", "train", "--witness"], "--mode train and --witness: give one of them"),
        (["--mode", "train", "--latex", "table.tex"], "--latex: not for training counts"),
    ],
)
def test_what_profile_refuses(cli: Cli, arguments: list[str], says: str) -> None:
    answer = cli("profile", MODEL[0], *MODEL[3:], *arguments)
    assert answer.code == 2
    assert says in answer.err
    assert answer.out == ""


def overwrites() -> nn.Module:
    class Overwrites(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(super().forward(x)).add_(1)

    return Overwrites(7, 2)


def test_samples_on_no_axis_are_not_cut(cli: Cli) -> None:
    answer = cli("profile", MODEL[0], "--mode", "train", "--input-shape", "7", "--batch", "1", "--hardware", "none")
    assert answer.code == 2
    assert "the input (7,) is taken for 1 samples, and they do not lie on axis 0; pass --time-axis" in answer.err


def test_a_step_that_fails_by_itself_is_the_models(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = cli("profile", "tests.test_training:overwrites", *MODEL[1:])
    assert answer.code == 2
    assert "a training step raised RuntimeError" in answer.err
    monkeypatch.setattr("snnenergy.trace.training._with_phases", lambda *_: 1 // 0)
    assert cli("profile", *MODEL).code == 70  # the same step runs alone: it is our bug


def test_an_exported_spiking_net_says_why_it_does_not_train(cli: Cli, root: Path) -> None:
    digits = root / "examples" / "digits"
    answer = cli("profile", digits / "digits_snn.pt2", "--input", digits / "digits.npz", "--mode", "train")
    assert answer.code == 2
    assert "no gradient reaches any weight" in answer.err
    assert "exported net was made for inference" in answer.err


# ---- errors
def test_errors_say_what_to_do(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(UsageError, match="optimizer: expected one of sgd, momentum, adam, adamw; found 'lion'"):
        snnenergy.count_training(net, torch.ones(1, 3), optimizer="lion")
    with pytest.raises(UsageError, match="loss: expected one of cross_entropy, mse, sum; found 'l7'"):
        snnenergy.count_training(net, torch.ones(1, 3), loss="l7")
    with pytest.raises(InputError, match="labels run from 0 to 5, the model has 2 classes"):
        snnenergy.count_training(net, torch.ones(2, 3), targets=torch.tensor([0, 5]))
    with pytest.raises(InputError, match="no parameter takes a gradient"):
        snnenergy.count_training(nn.ReLU(), torch.ones(1, 3))


def test_what_cannot_be_trained_raises_as_it_would() -> None:
    class Overwrites(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.sigmoid(super().forward(x))
            return y.add_(1)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        snnenergy.count_training(Overwrites(3, 2), torch.ones(1, 3))


def test_checkpoints() -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self, *, reentrant: bool) -> None:
            super().__init__()
            self.a, self.b, self.reentrant = nn.Linear(4, 5), nn.Linear(5, 3), reentrant

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(checkpoint(lambda y: torch.relu(self.a(y)), x, use_reentrant=self.reentrant))
            return out

    x = torch.randn(2, 4, requires_grad=True)
    counts = snnenergy.count_training(Checkpointed(reentrant=False), x)
    assert counts["a"].dense_macs == 2 * 2 * 4 * 5  # once more in the backward pass
    assert sum(layer.saved_bytes for layer in counts.layers) == x.nbytes + 2 * 5 * 4  # and only what b takes is kept
    with pytest.raises(InputError, match="use_reentrant=False"):
        snnenergy.count_training(Checkpointed(reentrant=True), x)


def test_a_spike_without_a_slope_is_named() -> None:
    class Hard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc2((self.fc1(x) > 0).float())
            return out

    counts = snnenergy.count_training(Hard(), torch.ones(2, 4))
    assert "no gradient reaches fc1.weight, fc1.bias" in counts.identity.notes
    assert set(of_phase(counts, "optimizer")) == {"fc2"}

    class Dead(Hard):
        def forward(self, x: Tensor) -> Tensor:
            return (super().forward(x) > 0).float()

    with pytest.raises(InputError, match="no gradient reaches any weight"):
        snnenergy.count_training(Dead(), torch.ones(2, 4))


def test_a_gradient_without_a_rule_is_named() -> None:
    counts = snnenergy.count_training(nn.Bilinear(3, 4, 2), torch.ones(2, 3), torch.ones(2, 4))
    assert {(row.path, row.op) for row in counts.uncounted} == {("(root)@grad_input", "_trilinear")}
    assert counts.coverage.calls < 1


def test_what_a_kernel_without_a_rule_makes_names_it_as_its_source() -> None:
    class Met(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.met = nn.Linear(4, 6), nn.Bilinear(6, 6, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x).relu()
            z: Tensor = self.met(y, y.flip(0).contiguous())
            return z

    counts = snnenergy.count_training(Met(), torch.rand(5, 4))
    assert counts["(root)@grad_input"].sources == ("met@grad_input",)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}, {"num_layers": 2}], ids=str)
def test_a_fused_lstm(options: dict[str, Any]) -> None:
    counts = snnenergy.count_training(nn.LSTM(4, 5, **options), torch.randn(3, 2, 4))
    assert counts.uncounted == ()
    cells = [(4, 5)] * (1 + ("bidirectional" in options)) + [(5, 5)] * ("num_layers" in options)
    dense = sum(3 * 2 * 4 * h * (i + h) for i, h in cells)  # T N gates (inputs + states)
    assert [layer.dense_macs for layer in counts.layers if layer.dense_macs] == [dense] * 3
    assert (
        counts["(root)@grad_input"].driven < dense
    )  # the last step hands no gradient to a forget gate whose c was zero


def test_gate_gradients_of_an_lstm_are_torchs() -> None:
    from snnenergy.trace.gradients import lstm_gate_gradients

    torch.manual_seed(0)
    net, x, h, c = nn.LSTM(4, 5), torch.randn(3, 2, 4), torch.randn(1, 2, 5), torch.randn(1, 2, 5)
    y, (last_h, last_c) = net(x, (h, c))
    given = [torch.randn_like(t) for t in (y, last_h, last_c)]
    w_ih, w_hh, b_ih, b_hh = net.parameters()
    expected = torch.autograd.grad((y, last_h, last_c), (w_ih, w_hh, b_ih), given)
    with torch.no_grad():
        found, before = lstm_gate_gradients(x, (w_ih, w_hh, b_ih + b_hh), (h, c), given, range(3))
    gates, states = (torch.stack([steps[t] for t in range(3)]) for steps in (found, before))
    for weight, inputs in zip(expected, (x, states), strict=False):
        torch.testing.assert_close(torch.einsum("tng,tni->gi", gates, inputs), weight)
    torch.testing.assert_close(gates.sum((0, 1)), expected[2])
