"""Laws, and equality with brute force, on drawn shapes: what no list of examples covers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from snnenergy.counts import LayerCounts
from snnenergy.trace import count, counting
from tests import brute_force
from tests.brute_force import Taps
from tests.trace_nets import Functional, analog, conv_net, dyadic, figures, spikes, spiking_net, synaptic

Test = TypeVar("Test", bound=Callable[..., None])


def drawn(n: int) -> Callable[[Test], Test]:
    """n draws, the same ones in every run."""
    made: Any = settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    decorator: Callable[[Test], Test] = made
    return decorator


seeds = st.integers(0, 2**16)
VALUES = {
    "ones": torch.tensor([0.0, 1.0]),
    "scaled": torch.tensor([0.0, 0.375]),
    "ternary": torch.tensor([-1.0, 0.0, 1.0]),
    "integers": torch.tensor([0.0, 1.0, 2.0, -3.0]),
    "analog": torch.tensor([0.0, 0.3, -1.7, 2.4142]),
    "zeros": torch.tensor([0.0]),
}
kinds = st.sampled_from(sorted(VALUES))


def values(kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    menu = VALUES[kind]
    return menu[torch.randint(len(menu), shape, generator=torch.Generator().manual_seed(seed))]


def thinned(t: Tensor, seed: int) -> None:
    """Sets about a third of a weight to zero."""
    with torch.no_grad():
        t.mul_(torch.rand(t.shape, generator=torch.Generator().manual_seed(seed)) > 0.33)


def agree(layer: LayerCounts, truth: Taps, x: Tensor) -> None:
    (stream,) = layer.streams
    got = (layer.dense_macs, layer.valid_macs, stream.driven, stream.effective)
    assert got == (truth.dense, truth.valid, truth.driven, truth.effective)
    unit = stream.evidence.unit
    if unit is not None:
        assert stream.unit_taps == round(truth.weighted / unit)
    else:
        assert stream.unit_taps == (None if truth.driven else 0)


# ---- convolutions
@dataclass(frozen=True)
class Convolution:
    """Arguments of nn.Conv*d and the input's shape."""

    shape: tuple[int, ...]
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...] | str
    groups: int
    mode: str

    def layer(self) -> Any:
        kind: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(self.kernel) - 1]
        return kind(
            self.shape[1],
            self.out_channels,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            padding_mode=self.mode,
        )

    @property
    def before(self) -> tuple[int, ...]:
        """Elements in front of each axis: 'same' puts the odd one behind."""
        if self.padding == "same":
            return tuple(d * (k - 1) // 2 for k, d in zip(self.kernel, self.dilation, strict=True))
        return (0,) * len(self.kernel) if isinstance(self.padding, str) else self.padding


def each(n: int, numbers: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[numbers] * n)


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    n = draw(st.sampled_from((1, 2, 2, 3)))
    kernel = draw(each(n, st.integers(1, 2 if n == 3 else 4)))
    dilation = draw(each(n, st.integers(1, 2)))
    mode = draw(st.sampled_from(("zeros", "zeros", "reflect", "circular", "replicate")))
    padding: tuple[int, ...] | str = draw(st.one_of(each(n, st.integers(0, 2)), st.sampled_from(("same", "valid"))))
    stride = (1,) * n if padding == "same" else draw(each(n, st.integers(1, 3)))
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    most = [
        s - 1 if isinstance(padding, str) else p
        for s, p in zip(span, padding if not isinstance(padding, str) else span, strict=True)
    ]
    extra = draw(each(n, st.integers(0, 2)))
    # at least one output, and no axis shorter than what reflection takes from it
    sizes = tuple(max(s, p + 1) + e for s, p, e in zip(span, most, extra, strict=True))
    groups = draw(st.integers(1, 2))
    channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    batch = draw(st.integers(1, 2))
    return Convolution((batch, channels[0], *sizes), channels[1], kernel, stride, dilation, padding, groups, mode)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # the case that is wanted
@drawn(240)
@given(convolutions(), kinds, seeds, st.booleans())
def test_convolution_equals_brute_force(conv: Convolution, kind: str, seed: int, thin: bool) -> None:
    x, layer = values(kind, conv.shape, seed), conv.layer()
    if thin:
        thinned(layer.weight, seed)
    out = layer(x)
    truth = brute_force.convolution(
        x,
        layer.weight,
        out.shape[2:],
        stride=conv.stride,
        before=conv.before,
        dilation=conv.dilation,
        groups=conv.groups,
        mode=conv.mode,
    )
    (row,) = synaptic(count(layer, x))
    agree(row, truth, x)
    assert row.output_elements == row.adds == out.numel()  # one bias each
    assert truth.dense == out.numel() * layer.weight[0].numel()


@drawn(120)
@given(st.data(), kinds, seeds, st.booleans())
def test_transposed_convolution_equals_brute_force(data: st.DataObject, kind: str, seed: int, thin: bool) -> None:
    n = data.draw(st.sampled_from((1, 2, 2, 3)))
    kernel, stride = data.draw(each(n, st.integers(1, 3))), data.draw(each(n, st.integers(1, 3)))
    dilation = data.draw(each(n, st.integers(1, 2)))
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(data.draw(st.integers(0, (s - 1) // 2)) for s in span)
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    groups = data.draw(st.integers(1, 2))
    cin, cout = groups * data.draw(st.integers(1, 2)), groups * data.draw(st.integers(1, 2))
    shape = (data.draw(st.integers(1, 2)), cin, *data.draw(each(n, st.integers(1, 3))))
    kind_of: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[n - 1]
    layer: Any = kind_of(cin, cout, kernel, stride, padding, extra, groups, True, dilation)
    x = values(kind, shape, seed)
    if thin:
        thinned(layer.weight, seed)
    out = layer(x)
    truth = brute_force.transposed_convolution(
        x, layer.weight, out.shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    (row,) = synaptic(count(layer, x))
    agree(row, truth, x)
    assert row.streams[0].nonzero == int((x != 0).sum())


@drawn(20)
@given(convolutions(), seeds)
def test_unbatched_convolution_is_a_batch_of_one(conv: Convolution, seed: int) -> None:
    conv = dataclasses.replace(conv, padding="valid" if conv.padding == "same" else conv.padding, mode="zeros")
    x, layer = values("integers", conv.shape, seed)[:1], conv.layer()
    one, batch = count(layer, x[0]), count(layer, x)
    assert one.samples == batch.samples == 1
    mine, theirs = figures(one)["layers"], figures(batch)["layers"]
    assert mine == theirs


@pytest.mark.parametrize(
    "net", [nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3))]
)
def test_unbatched_input_that_is_copied_first_is_one_sample(net: nn.Module) -> None:
    assert count(net, analog(2, 5, 5)).samples == 1


# ---- linear layers and products
@drawn(50)
@given(st.lists(st.integers(1, 3), min_size=0, max_size=4), st.integers(1, 6), st.integers(1, 4), kinds, seeds)
def test_linear_of_any_rank_equals_brute_force(lead: list[int], k: int, n: int, kind: str, seed: int) -> None:
    x, layer = values(kind, (*lead, k), seed), nn.Linear(k, n)
    thinned(layer.weight, seed)
    counts = count(layer, x)
    (row,) = synaptic(counts)
    agree(row, brute_force.linear(x, layer.weight), x)
    assert row.elements == x.numel()
    assert row.nonzero == int((x != 0).sum())
    assert counts.samples == (lead[0] if lead else 1)


@drawn(30)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 4), st.integers(1, 4), kinds, kinds, seeds)
def test_product_of_activations_equals_brute_force(
    b: int, m: int, k: int, n: int, left: str, right: str, seed: int
) -> None:
    x, y = values(left, (b, m, k), seed), values(right, (b, k, n), seed + 1)
    truth = brute_force.product(x, y)
    for body in (
        lambda _, x, y: x @ y,
        lambda _, x, y: torch.bmm(x, y),
        lambda _, x, y: torch.einsum("bmk,bkn->bmn", x, y),
        lambda _, x, y: torch.matmul(x.unsqueeze(1), y.unsqueeze(1)),
    ):
        (row,) = synaptic(count(Functional(body), x, y))
        one, other = row.streams
        assert (row.dense_macs, row.valid_macs, one.driven, one.effective) == (
            truth.dense,
            truth.valid,
            truth.driven,
            truth.effective,
        )
        assert (other.operand, other.driven, other.effective, other.unit_taps) == ("b", 0, 0, 0)
        assert (one.elements, other.elements) == (x.numel(), y.numel())
        assert (one.nonzero, other.nonzero) == (int((x != 0).sum()), int((y != 0).sum()))


@drawn(30)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 4), st.integers(1, 4), kinds, seeds)
def test_einsum_with_a_weight_equals_brute_force(b: int, t: int, k: int, n: int, kind: str, seed: int) -> None:
    # with k = 1 there is no sum: torch runs an elementwise product, and so it is counted
    x, w = values(kind, (b, t, k), seed), analog(n, k, seed=seed)
    thinned(w, seed)
    truth = brute_force.linear(x, w)
    for equation in ("btk,nk->btn", "btk,nk->bnt", "btk,nk->tbn"):
        body = lambda m, x, equation=equation: torch.einsum(equation, x, m.w)  # noqa: E731  # a name is worth no more here
        (row,) = synaptic(count(Functional(body, w=w), x))
        agree(row, truth, x)


@drawn(20)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), kinds, seeds)
def test_batched_weights_equal_brute_force(b: int, m: int, k: int, n: int, kind: str, seed: int) -> None:
    x, w = values(kind, (b, m, k), seed), analog(b, k, n, seed=seed)
    thinned(w, seed)
    parts = [brute_force.linear(x[i], w[i].t()) for i in range(b)]
    (row,) = synaptic(count(Functional(lambda model, x: torch.bmm(x, model.w), w=w), x))
    assert row.dense_macs == sum(p.dense for p in parts)
    assert (row.driven, row.effective) == (sum(p.driven for p in parts), sum(p.effective for p in parts))


# ---- laws
ADDITIVE = "dense_macs valid_macs adds muls compares specials output_elements updates acs macs driven effective elements nonzero".split()
NETS: dict[str, tuple[Callable[[], Any], int, Callable[[int, int], Tensor]]] = {
    "conv": (conv_net, 0, lambda n, seed: dyadic(n, 1, 8, 8, seed=seed)),
    "spiking": (spiking_net, 1, lambda n, seed: spikes(3, n, 1, 6, 6, seed=seed)),
}


@pytest.mark.parametrize("name", NETS)
@drawn(8)
@given(st.integers(1, 3), seeds)
def test_doubling_the_batch_doubles_the_work(name: str, n: int, seed: int) -> None:
    make, axis, inputs = NETS[name]
    x, net = inputs(n, seed), make()
    once, twice = count(net, x), count(net, torch.cat([x, x], axis))
    assert twice.samples == 2 * once.samples == 2 * n
    for field in ADDITIVE:
        assert [getattr(layer, field) for layer in twice.layers] == [2 * getattr(layer, field) for layer in once.layers]


@pytest.mark.parametrize("name", NETS)
@drawn(8)
@given(st.integers(2, 5), seeds, st.randoms(use_true_random=False))
def test_sharding_and_shuffling_samples_changes_nothing(name: str, n: int, seed: int, random: Any) -> None:
    make, axis, inputs = NETS[name]
    x, net = inputs(n, seed), make()
    whole = figures(count(net, x))
    order = list(range(n))
    random.shuffle(order)
    shuffled = x.index_select(axis, torch.tensor(order))
    assert figures(count(net, shuffled)) == whole
    cut = random.randint(1, n - 1)
    parts = shuffled.tensor_split([cut], axis)
    merged = count(net, parts[0]).merge(*(count(net, part) for part in parts[1:]))
    assert figures(merged) == whole
    with counting(net) as rec:
        for part in shuffled.tensor_split(n, axis):
            net(part)
    assert figures(rec.counts()) == whole


def test_a_shard_may_be_a_view_of_the_whole() -> None:
    x, net = spikes(3, 4, 1, 6, 6), spiking_net()
    merged = count(net, x[:, :1]).merge(count(net, x[:, 1:]))
    assert figures(merged) == figures(count(net, x))


@drawn(20)
@given(kinds, kinds, seeds)
def test_dense_figures_do_not_depend_on_values(one: str, other: str, seed: int) -> None:
    net = conv_net()
    fields = "dense_macs valid_macs adds muls compares specials output_elements weights".split()
    rows = [
        [[getattr(layer, f) for f in fields] for layer in count(net, values(kind, (2, 1, 8, 8), seed)).layers]
        for kind in (one, other)
    ]
    assert rows[0] == rows[1]


def test_brute_force_itself_on_a_case_by_hand() -> None:
    # a 3x3 kernel with one pad on 2x2: every output reaches all four inputs
    x, w = torch.tensor([[[[1.0, 0.0], [2.0, 0.0]]]]), torch.ones(1, 1, 3, 3)
    w[0, 0, 1, 1] = 0
    got = brute_force.convolution(x, w, (2, 2), stride=(1, 1), before=(1, 1), dilation=(1, 1), groups=1)
    # 36 taps, 16 of them real; two events meet 4 each; the centre weight is zero for one of the 4
    assert dataclasses.astuple(got) == (36, 16, 8, 6, 12.0)
    reflected = brute_force.convolution(
        x, w, (2, 2), stride=(1, 1), before=(1, 1), dilation=(1, 1), groups=1, mode="reflect"
    )
    assert (reflected.dense, reflected.valid) == (36, 36)
