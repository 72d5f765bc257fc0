"""What kind of values a stream carries: one sentence of the definition, one test."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnenergy.counts import Counts, Domain, Evidence
from snnenergy.errors import CountsError
from snnenergy.trace import count, counting
from tests.trace_nets import (
    LIF,
    Functional,
    Steps,
    acs_and_macs,
    analog,
    figures,
    repeated,
    spikes,
    streams,
    surveyed,
    synaptic,
)


def domain(x: Tensor, layer: nn.Module | None = None) -> str:
    """Of the one stream into a layer of 10 outputs."""
    (stream,) = streams(layer or nn.Linear(x.shape[-1], 10), x)
    return str(stream.domain)


S = spikes(4, 30)
T = spikes(4, 30, seed=1) - spikes(4, 30, seed=2)


# ---- what is a spike
def test_zeros_and_ones_are_spikes() -> None:
    assert domain(S) == "spike"


def test_ones_alone_are_spikes() -> None:
    assert domain(torch.ones(4, 30)) == "spike"


@pytest.mark.parametrize("scale", [0.37, 5.0, 1e-4, 3e5])
def test_zeros_and_one_other_size_are_spikes(scale: float) -> None:
    assert domain(S * scale) == "spike"


def test_negative_spikes_alone_have_one_sign() -> None:
    assert domain(-S) == "spike"


def test_nothing_but_zeros_is_no_event() -> None:
    (stream,) = streams(nn.Linear(30, 10), torch.zeros(4, 30))
    assert (stream.domain, stream.driven, stream.nonzero, stream.elements) == ("spike", 0, 0, 120)


def test_both_signs_of_one_size_are_ternary() -> None:
    assert domain(T) == "ternary"
    assert domain(T * 0.7) == "ternary"


def test_bool_and_integer_tensors() -> None:
    model = Functional(lambda m, x: F.linear(x.float(), m.w), w=analog(10, 30))
    assert streams(model, S.bool())[0].domain == "spike"
    assert streams(model, (S * 3).to(torch.int64))[0].domain == "spike"


# ---- what is graded
def test_a_sum_of_two_spikes_is_graded() -> None:
    assert domain(S + spikes(4, 30, seed=5)) == "graded"


@pytest.mark.parametrize("size", [1.0, 0.37, 1 / 3])
def test_a_summed_residual_of_scaled_spikes_is_graded(size: float) -> None:
    parts = [size * spikes(4, 30, p=0.5, seed=i) for i in range(3)]
    assert domain(parts[0] + parts[1] + parts[2]) == "graded"


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_average_pooled_spikes_are_graded(kernel: int) -> None:
    pooled = F.avg_pool2d(spikes(4, 2, 4 * kernel, 4 * kernel, p=0.5), kernel)
    assert domain(pooled.flatten(1)) == "graded"


def test_sum_pooled_spikes_are_graded() -> None:
    pooled = 4 * F.avg_pool2d(spikes(4, 2, 8, 8, p=0.5), 2)
    assert domain(pooled.flatten(1)) == "graded"


def test_a_mean_over_six_steps_is_graded() -> None:
    assert domain(torch.stack([spikes(4, 30, seed=i) for i in range(6)]).mean(0)) == "graded"


def test_graded_with_both_signs_is_graded_not_ternary() -> None:
    assert domain(T + 2 * spikes(4, 30, seed=9)) == "graded"


# ---- what is analog
def test_random_numbers_are_analog() -> None:
    assert domain(analog(4, 30)) == "analog"


def test_a_constant_grey_image_is_analog() -> None:
    assert domain(torch.full((4, 30), 0.5)) == "analog"


def test_white_and_black_pixels_among_grey_ones_are_no_spikes() -> None:
    x = torch.rand(4, 300, generator=torch.Generator().manual_seed(0))
    x[0, :50], x[1, :50] = 0, 1
    layer = nn.Linear(300, 10)
    assert acs_and_macs(layer, x) == (0, 10 * int((x != 0).sum()))


def test_more_than_sixty_four_sizes_are_analog() -> None:
    whole = torch.arange(1, 65, dtype=torch.float32)
    assert domain(whole[None]) == "graded"
    assert domain(torch.arange(1, 66, dtype=torch.float32)[None]) == "analog"


def test_eight_bit_pixels_are_analog() -> None:
    x = torch.randint(0, 256, (4, 300), generator=torch.Generator().manual_seed(0)) / 255
    assert domain(x) == "analog"


def test_nan_and_infinity_are_analog() -> None:
    x = S.clone()
    x[0, 0] = float("nan")
    assert domain(x) == "analog"
    x[0, 0] = float("inf")
    assert domain(x) == "analog"


def test_two_sizes_without_a_common_unit_are_analog() -> None:
    assert domain(S + 0.6180339 * spikes(4, 30, seed=5)) == "analog"


def test_binary_weights_do_not_make_an_analog_input_a_spike() -> None:
    model = Functional(lambda m, x: F.linear(x, m.w.sign()), w=analog(5, 7))
    assert acs_and_macs(model, analog(3, 7)) == (0, 105)


def test_pruned_binary_weights_neither() -> None:
    model = Functional(lambda m, x: x @ (m.w > 0).float(), w=analog(7, 5))
    (stream,) = streams(model, analog(3, 7))
    assert stream.domain == "analog"
    assert isinstance(model.w, Tensor)
    assert stream.effective == 3 * int(torch.count_nonzero(model.w > 0))


# ---- a stream is the whole run
def test_a_batch_of_a_spiking_and_an_analog_sample_is_one_analog_stream() -> None:
    layer, s, a = nn.Linear(30, 10), spikes(1, 30), analog(1, 30)
    work = 10 * (int(s.sum()) + 30)
    assert acs_and_macs(layer, torch.cat([s, a])) == (0, work)
    merged = count(layer, s).merge(count(layer, a))
    assert (merged.total().acs, merged.total().macs) == (0, work)
    both = count(layer, torch.cat([s, a]))
    assert merged.layers[0].streams == both.layers[0].streams


def test_an_analog_layer_stays_analog_in_an_almost_empty_step() -> None:
    x = analog(3, 1, 30)
    x[1] = 0
    x[1, 0, 4] = 0.25
    net = Steps(nn.Sequential(nn.Linear(30, 10), LIF()))
    layer = count(net, x)["net.0"]
    assert (layer.acs, layer.macs) == (0, 10 * 61)
    assert layer.per_step is not None
    assert layer.per_step.effective == (300, 10, 300)


def test_an_all_zero_step_does_not_flip_a_spiking_layer() -> None:
    x = spikes(3, 1, 30)
    x[0] = 0
    layer = count(Steps(nn.Sequential(nn.Linear(30, 10), LIF())), x)["net.0"]
    assert (layer.acs, layer.macs) == (10 * int(x.sum()), 0)


def test_a_saturated_sample_does_not_make_a_grey_data_set_spikes() -> None:
    layer = nn.Linear(30, 10)
    with counting(layer) as rec:
        layer(torch.ones(1, 30))
        assert rec.counts().total().acs == 300
        layer(torch.full((1, 30), 0.5))
    assert (rec.counts().total().acs, rec.counts().total().macs) == (0, 600)


def test_spikes_of_two_sizes_seen_one_after_the_other_are_graded() -> None:
    layer = nn.Linear(30, 10)
    with counting(layer) as rec:
        layer(S)
        layer(2 * S)
    (stream,) = rec.counts().layers[0].streams
    assert (stream.domain, stream.unit_taps) == ("graded", 10 * int(S.sum()) * 3)


def test_a_saturated_neuron_fires_spikes_though_no_zero_occurs() -> None:
    class Always(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif, self.fc = LIF(threshold=-99.0), nn.Linear(30, 10)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(0.5 * self.lif(x))
            return y

    layer = count(Always(), analog(4, 30))["fc"]
    assert layer.streams[0].evidence == Evidence(magnitudes=(0.5,), positive=True)
    assert layer.streams[0].domain == "analog"  # scaled outside the neuron: half of a constant is a constant


def test_scaled_spikes_of_a_neuron_module_are_spikes_though_no_zero_occurs() -> None:
    class ScaledLIF(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x > -99).to(x.dtype) * 0.5

    layer = count(nn.Sequential(ScaledLIF(), nn.Linear(30, 10)), analog(4, 30))["1"]
    assert layer.streams[0].domain == "spike"
    assert layer.streams[0].evidence.neuron


# ---- unit taps
def test_a_graded_three_is_three_accumulates() -> None:
    x = torch.tensor([[0.0, 1.0, 3.0, 2.0]])
    (stream,) = streams(nn.Linear(4, 10), x)
    assert (stream.domain, stream.driven, stream.unit_taps) == ("graded", 30, 60)


def test_unit_taps_of_an_average_pool_are_the_spikes_that_were_pooled() -> None:
    x = spikes(4, 2, 9, 9, p=0.4)
    net = nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), nn.Linear(18, 10))
    (stream,) = streams(net, x)
    assert stream.domain == "graded"
    assert stream.evidence.unit == pytest.approx(1 / 9)
    assert stream.unit_taps == 10 * int(x.sum())


def test_unit_taps_at_the_border_of_a_convolution() -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0], x[0, 0, 1, 1] = 3, 1
    (stream,) = streams(nn.Conv2d(1, 2, 3, padding=1), x)
    assert (stream.driven, stream.unit_taps) == (2 * (4 + 9), 2 * (3 * 4 + 9))


def test_unit_taps_of_spikes_are_their_taps_whatever_their_size() -> None:
    (stream,) = streams(nn.Linear(30, 10), 0.37 * S)
    assert stream.unit_taps == stream.driven == 10 * int(S.sum())


def test_unit_taps_of_analog_values_do_not_exist() -> None:
    (stream,) = streams(nn.Linear(30, 10), analog(4, 30))
    assert stream.unit_taps is None


def test_unit_taps_and_zero_weights() -> None:
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight[0] = 0
    (stream,) = streams(layer, torch.tensor([[0.0, 1.0, 3.0, 2.0]]))
    assert (stream.driven, stream.effective, stream.unit_taps) == (6, 3, 12)  # units of driven taps


# ---- products of activations
@pytest.mark.parametrize(
    ("left", "right", "pair"),
    [
        (S[:1], S[:1], "spike"),
        (S[:1], analog(1, 30), "spike"),
        (analog(1, 30), S[:1], "spike"),
        (T[:1], analog(1, 30), "ternary"),
        (S[:1] + S[1:2], analog(1, 30), "graded"),
        (S[:1] + S[1:2], S[:1], "spike"),
        (analog(1, 30), analog(1, 30), "analog"),
    ],
)
def test_domain_of_a_product_of_activations(left: Tensor, right: Tensor, pair: str) -> None:
    a, b = streams(Functional(lambda m, x, y: x @ y.t()), left, right)
    assert a.domain == b.domain == pair
    both = int(((left != 0) & (right != 0)).sum())
    assert (a.driven, a.effective, b.driven, b.effective) == (both, both, 0, 0)


def test_unit_taps_of_a_product_are_weighed_by_the_graded_side() -> None:
    graded, other = torch.tensor([[1.0, 3.0, 0.0]]), torch.tensor([[3.14159, 2.71828, 1.41421]])
    for x, y in ((graded, other), (other, graded)):
        a, b = streams(Functional(lambda m, x, y: x @ y.t()), x, y)
        assert (a.domain, a.driven, a.unit_taps, b.unit_taps) == ("graded", 2, 4, 0)
    ones = torch.tensor([[1.0, 1.0, 0.0]])
    a, _ = streams(Functional(lambda m, x, y: x @ y.t()), graded, ones)
    assert (a.domain, a.unit_taps) == ("spike", 2)  # a spike gates: each tap is one accumulate


def test_a_mask_made_of_parameters_and_buffers_is_a_weight_and_decides_nothing() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.ones(30, 10))

        def forward(self, x: Tensor) -> Tensor:
            assert isinstance(self.mask, Tensor)
            return x @ self.mask

    (stream,) = streams(Masked(), analog(4, 30))
    assert (stream.domain, stream.driven) == ("analog", 1200)


class Held(nn.Module):
    """Multiplies by what it holds under a name, as an attribute, in a list or in a dict; `masked`: by a weight times it."""

    def __init__(self, held: Any, masked: bool = False) -> None:
        super().__init__()
        self.held = held
        self.weight = nn.Parameter(torch.ones(5, 6)) if masked else None

    def forward(self, x: Tensor) -> Tensor:
        (w,) = (
            self.held
            if isinstance(self.held, list)
            else self.held.values()
            if isinstance(self.held, dict)
            else [self.held]
        )
        return F.linear(x, w if self.weight is None else self.weight * w)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("hold", [lambda w: w, lambda w: [w], lambda w: {"w": w}])
def test_a_plain_tensor_that_a_module_holds_is_a_weight_and_decides_nothing(
    hold: Callable[[Tensor], Any], masked: bool
) -> None:
    """18 of 30 words are not zero, and all of them are -1 or 1: an analog input stays one."""
    w = torch.tensor([-1.0, 1.0, 0.0, 1.0, 0.0]).repeat(6).reshape(5, 6)
    model, x = Held(hold(w), masked), analog(4, 6)
    (layer,) = synaptic(count(model, x))
    (stream,) = layer.streams
    assert (stream.domain, stream.driven, stream.effective) == ("analog", 120, 72)
    assert (layer.op, layer.weights, layer.weights_nonzero) == ("linear", 30, 18)
    assert figures(repeated(model, 6, x)) == figures(repeated(model, 6, x, survey="always"))


@pytest.mark.parametrize("cast", [False, True])
def test_a_tensor_from_before_the_forward_is_a_weight_wherever_it_is_kept(cast: bool) -> None:
    """It changes in place before the fourth of six forwards, from 18 words that are not zero to 12."""

    def run(survey: str) -> Counts:
        w = torch.tensor([-1.0, 1.0, 0.0, 1.0, 0.0]).repeat(6).reshape(5, 6)
        x = analog(4, 6).to(torch.double if cast else torch.float)
        with torch.no_grad(), counting(Functional(lambda m, x: F.linear(x, w.to(x.dtype))), survey=survey) as rec:
            for i in range(6):
                if i == 3:
                    w.copy_(torch.tensor([-1.0, 0.0, 0.0, 1.0, 0.0]).repeat(6).reshape(5, 6))
                rec.model(x)
        return rec.counts()

    (layer,) = synaptic(run("auto"))
    (stream,) = layer.streams
    assert (stream.domain, stream.driven, stream.effective) == ("analog", 6 * 120, 3 * 72 + 3 * 48)
    assert figures(run("auto")) == figures(run("always"))


def test_an_input_that_nobody_was_told_of_is_no_weight() -> None:
    """A call whose input is in a closure: what a layer makes of it meets a weight again, outside of any leaf."""
    net, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU()), analog(4, 6)
    w = nn.Parameter(torch.ones(3, 5))
    net.register_parameter("w", w)
    with torch.no_grad(), counting(net, samples=4) as rec:
        rec.call(lambda: F.linear(net(x * 2), w))
    assert {la.path: [s.operand for s in la.streams] for la in synaptic(rec.counts())} == {"0": ["a"], "param:w": ["a"]}


class Assembled(nn.Module):
    """A layer on spikes and another tensor, put side by side into one made beforehand; or into a buffer."""

    def __init__(self, kept: bool) -> None:
        super().__init__()
        self.register_buffer("room", torch.zeros(2, 8))
        self.kept = kept
        self.spikes, self.before, self.fc = LIF(), nn.Linear(4, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        assert isinstance(self.room, Tensor)
        room = self.room if self.kept else torch.zeros(2, 8)
        with torch.no_grad():
            room[:, :4] = self.spikes(x)
            room[:, 4:] = self.before(y)
        made: Tensor = self.fc(room)
        return made


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_put_together_in_a_tensor_is_driven_by_what_was_put_there(kept: bool) -> None:
    layer = count(Assembled(kept), analog(2, 4), analog(2, 4), samples=2)["fc"]
    assert not layer.streams[0].evidence.neuron
    assert layer.sources == (() if kept else ("spikes",))


# ---- segments
class Joined(nn.Module):
    """cat of two inputs along the features, some op that keeps elements apart, a linear layer."""

    def __init__(self, width: int, then: Any = None) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 10)
        self.then = then

    def forward(self, *parts: Tensor) -> Tensor:
        x = torch.cat(parts, 1)
        y: Tensor = self.fc(x if self.then is None else self.then(x))
        return y


ONE_OF_30 = torch.zeros(1, 30)
ONE_OF_30[0, 3] = 1


def test_a_cat_of_spike_and_analog_channels_is_two_streams() -> None:
    assert acs_and_macs(Joined(32), ONE_OF_30, analog(1, 2)) == (10, 20)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_cat_that_a_convolution_pads_is_two_streams(mode: Any) -> None:
    """Two channels of spikes and one of grey values; the layer's sources are layers, whatever its streams are called."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Conv2d(1, 1, 1)
            self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode, bias=False)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            made: Tensor = self.conv(torch.cat([x, self.before(y), self.before(y)], 1)[:, :3])
            return made

    model, x, y = Padded(), spikes(2, 1, 5, 5), analog(2, 1, 5, 5)
    layer = count(model, x, y)["conv"]
    around = F.pad(x, (1, 1, 1, 1), mode="constant" if mode == "zeros" else mode)
    taps = F.conv2d(around, torch.ones(4, 1, 3, 3))
    assert [(s.source, s.domain) for s in layer.streams] == [
        ("(input)", "spike"),
        ("before", "analog"),
        ("before#1", "analog"),
    ]
    assert layer.streams[0].driven == int(taps.sum())
    assert layer.sources == ("(input)", "before")  # and not itself, which copies what it pads
    assert figures(repeated(model, 6, x, y)) == figures(repeated(model, 6, x, y, survey="always"))


def test_a_cat_stays_two_streams_in_an_open_context() -> None:
    counts = repeated(Joined(32), 7, ONE_OF_30, analog(1, 2))
    assert (counts.total().acs, counts.total().macs) == (70, 140)
    assert surveyed(counts) < (7, 7)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_segments_follow_the_order_of_the_cat(order: tuple[int, ...]) -> None:
    parts = (spikes(4, 30), analog(4, 2), spikes(4, 5, seed=7) + spikes(4, 5, seed=8))
    rows = streams(Joined(37), *(parts[i] for i in order))
    want = [("spike", 120), ("analog", 8), ("graded", 20)]
    assert [(s.domain, s.elements) for s in rows] == [want[i] for i in order]
    assert [s.driven for s in rows] == [10 * int((parts[i] != 0).sum()) for i in order]


@pytest.mark.parametrize(
    "then", [F.relu, torch.abs, lambda x: x * 1.0, lambda x: x.t().contiguous().t(), lambda x: x.view(4, 32)]
)
def test_segments_follow_elementwise_ops_and_views(then: Any) -> None:
    rows = streams(Joined(32, then), spikes(4, 30), analog(4, 2).abs())
    assert [(s.domain, s.elements) for s in rows] == [("spike", 120), ("analog", 8)]


def _beside(view: Any) -> Any:
    """Take a view of x for something else, and go on with x."""

    def then(x: Tensor) -> Tensor:
        view(x)
        return x

    return then


def _written(x: Tensor) -> Tensor:
    """Three spike channels are overwritten with what another source says: nobody knows any more whose channels these are."""
    x[:, :3] = torch.full((4, 3), 0.25)
    return x


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.flatten(),
        lambda x: x.chunk(2, 1),
        lambda x: x[:, :3].sum(),
        lambda x: x.t(),
        lambda x: x.view(torch.int32),
        lambda x: x[:, 2:5].relu(),
        lambda x: torch.cat([x[:, :2], x[:, 4:6]], 1),
    ],
)
def test_segments_stay_when_a_view_is_taken_for_something_else(view: Any) -> None:
    rows = streams(Joined(32, _beside(view)), spikes(4, 30), analog(4, 2))
    assert [(s.domain, s.elements) for s in rows] == [("spike", 120), ("analog", 8)]


def test_every_view_of_a_cat_finds_its_own_segments() -> None:
    # features 28 to 32: two that spike, two that do not
    rows = streams(Joined(4, lambda x: x[:, 28:]), spikes(4, 30), analog(4, 2))
    assert [(s.domain, s.elements) for s in rows] == [("spike", 8), ("analog", 8)]
    (row,) = streams(Joined(4, lambda x: x[:, :4]), spikes(4, 30), analog(4, 2))
    assert (row.domain, row.elements) == ("spike", 16)


def test_streams_of_a_cat_of_parts_of_a_cat_have_names_of_their_own() -> None:
    rows = streams(Joined(32, lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)), spikes(4, 30), analog(4, 2))
    assert [(s.domain, s.elements) for s in rows] == [("spike", 56), ("analog", 8), ("spike", 64)]
    assert len({s.source for s in rows}) == 3


def test_a_cat_without_values_has_segments() -> None:
    parts = (spikes(4, 30).to("meta"), analog(4, 2).to("meta"))
    (layer,) = synaptic(count(Joined(32).to("meta"), *parts))
    assert layer.valid_macs == 4 * 32 * 10


def test_a_square_cat_transposed_is_not_taken_for_itself() -> None:
    # 4 x 4, the first two columns spike: of the transposed, the first two rows do, and every column holds both kinds
    assert len(streams(Joined(4), spikes(4, 2), analog(4, 2))) == 2
    (row,) = streams(Joined(4, lambda x: x.t()), spikes(4, 2), analog(4, 2))
    assert (row.domain, row.elements) == ("analog", 16)


def test_a_cat_that_is_written_to_is_one_stream() -> None:
    (row,) = streams(Joined(32, _written), spikes(4, 30), analog(4, 2))
    assert (row.domain, row.elements) == ("analog", 128)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pad", [(1, 1, 1, 1), (0, 0, -1, 2), (2, 0)])
def test_segments_follow_zero_padding(layout: torch.memory_format, pad: tuple[int, ...]) -> None:
    def forward(m: Any, a: Tensor, b: Tensor) -> Any:
        return F.conv2d(F.pad(torch.cat([a, b], 1), pad), m.w)

    a, b = (t.contiguous(memory_format=layout) for t in (spikes(1, 30, 3, 4), analog(1, 2, 3, 4)))
    rows = streams(Functional(forward, w=analog(10, 32, 1, 1)), a, b)
    assert [s.domain for s in rows] == ["spike", "analog"]
    cut = 1 if pad[2:] == (-1, 2) else 0  # rows that the negative padding takes away
    assert [s.driven for s in rows] == [10 * int((t[:, :, cut:] != 0).sum()) for t in (a, b)]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_segments_follow_an_even_kernel_that_keeps_the_size() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(32, 10, 2, padding="same", bias=False)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            y: Tensor = self.conv(torch.cat([a, b], 1))
            return y

    # 3 x 3 pixels, one row and one column of zeros after them: a pixel of the first row or column is met half as often
    a, b = torch.zeros(1, 30, 3, 3), torch.zeros(1, 2, 3, 3)
    a[0, 3, 0, 0], a[0, 4, 1, 0], b[0, :, 2, 2] = 1, 1, torch.tensor([0.3, 0.7123])
    rows = streams(Same(), a, b)
    assert [(s.domain, s.driven) for s in rows] == [("spike", 10 * (1 + 2)), ("analog", 10 * 2 * 4)]


def test_channels_of_an_image_without_samples_are_segments() -> None:
    def forward(m: Any, a: Tensor, b: Tensor) -> Any:
        return F.conv2d(torch.cat([a, b], -3), m.w)

    model = Functional(forward, w=analog(10, 32, 1, 1))
    assert acs_and_macs(model, ONE_OF_30.view(30, 1, 1), analog(2, 1, 1), samples=1) == (10, 20)


def test_rows_of_a_matrix_behind_its_weight_are_segments() -> None:
    model = Functional(lambda m, a, b: m.w @ torch.cat([a, b]), w=analog(10, 32))
    assert acs_and_macs(model, ONE_OF_30.view(30, 1), analog(2, 1), samples=1) == (10, 20)


def test_nested_cats_keep_all_their_operands_apart() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 10)

        def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            y: Tensor = self.fc(torch.cat([torch.cat([a, b], 1), c], 1))
            return y

    rows = streams(Nested(), spikes(4, 5), analog(4, 3), spikes(4, 4, seed=3))
    assert [(s.domain, s.elements) for s in rows] == [("spike", 20), ("analog", 12), ("spike", 16)]


def test_a_stack_along_the_reduced_axis_is_segments() -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 10)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            y: Tensor = self.fc(torch.stack([a, b], -1))
            return y

    rows = streams(Stacked(), spikes(4, 5), analog(4, 5))
    assert [(s.domain, s.elements) for s in rows] == [("spike", 20), ("analog", 20)]


def test_a_cat_along_another_axis_is_one_stream() -> None:
    class Batched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(30, 10)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            y: Tensor = self.fc(torch.cat([a, b], 0))
            return y

    (stream,) = streams(Batched(), spikes(2, 30), analog(2, 30))
    assert (stream.domain, stream.elements) == ("analog", 120)


def test_channels_of_a_convolution_are_segments_then_permuted_and_flattened() -> None:
    class Channels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(3, 4)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            x = torch.cat([a, b], 1)
            y: Tensor = self.conv(x)
            z: Tensor = self.fc(x.permute(0, 2, 3, 1))
            return y.sum() + z.sum()

    counts = count(Channels(), spikes(2, 2, 3, 3), analog(2, 1, 3, 3))
    for path in ("conv", "fc"):
        assert [(s.domain, s.elements) for s in counts[path].streams] == [("spike", 36), ("analog", 18)]


def test_segments_carry_the_path_of_their_producer() -> None:
    class Paths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif, self.lift, self.fc = LIF(), nn.Linear(4, 3), nn.Linear(7, 10)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(torch.cat([self.lif(x), self.lift(x)], 1))
            return y

    layer = count(Paths(), analog(5, 4))["fc"]
    assert [(s.source, str(s.domain)) for s in layer.streams] == [("lif", "spike"), ("lift", "analog")]
    assert set(layer.sources) >= {"lif", "lift"}


class Learnable(nn.Module):
    """A neuron that works out its decay before it looks at its input."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.zeros(()))
        self.v = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        self.v = torch.sigmoid(self.decay) * self.v + x
        return (self.v >= 1).to(x.dtype)


def test_a_neuron_names_who_drives_it_whatever_it_computes_first() -> None:
    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.lif, self.two, self.out = nn.Linear(4, 3), Learnable(), nn.Linear(3, 3), Learnable()

        def forward(self, x: Tensor) -> Tensor:
            z: Tensor = self.out(self.two(self.lif(self.one(x))))
            return z

    counts = count(Layers(), analog(5, 4), roles={"lif": "LIF", "out": "LIF"})
    assert {path: counts[path].sources for path in ("lif", "out")} == {"lif": ("one",), "out": ("two",)}


def test_zero_weights_are_told_apart_by_segment() -> None:
    model = Joined(4)
    with torch.no_grad():
        model.fc.weight.fill_(1)
        model.fc.weight[:7, :2] = 0
    rows = streams(model, torch.ones(1, 2), analog(1, 2))
    assert [(s.driven, s.effective) for s in rows] == [(20, 6), (20, 20)]


# ---- the user's word
def test_spike_channels_are_named_by_the_user() -> None:
    layer, x = nn.Linear(30, 10), torch.cat([spikes(1, 30), analog(1, 30)])
    inside = 10 * int((x[:, :10] != 0).sum())
    whole = 10 * int((x != 0).sum())
    for chosen in (slice(0, 10), list(range(10))):
        assert acs_and_macs(layer, x, spike_channels={"(root)": chosen}) == (inside, whole - inside)


def test_spike_channels_of_a_convolution() -> None:
    x = analog(1, 3, 4, 4)
    layer = nn.Conv2d(3, 2, 1)
    assert acs_and_macs(layer, x, spike_channels={"(root)": slice(2, 3)}) == (2 * 16, 2 * 32)


def test_evidence_and_override_both_stand_in_the_json() -> None:
    x = torch.full((1, 4), 0.5)
    counts = count(nn.Linear(4, 3), x, spike_channels={"(root)": slice(0, 4)})
    (row,) = json.loads(counts.to_json())["layers"][0]["streams"]
    assert (row["domain"], row["override"]) == ("spike", "spike")
    assert row["evidence"] == {"magnitudes": [0.5], "positive": True}
    back = Counts.from_dict(json.loads(counts.to_json()))
    assert back == counts
    assert back.layers[0].streams[0].evidence.domain is Domain.ANALOG


def test_streams_of_different_overrides_do_not_merge() -> None:
    layer, x = nn.Linear(4, 3), torch.full((1, 4), 0.5)
    with pytest.raises(CountsError):
        count(layer, x).merge(count(layer, x, spike_channels={"(root)": slice(0, 4)}))


# ---- frameworks
@pytest.mark.filterwarnings("ignore")  # SpikingJelly's own, while it is imported
def test_spikingjelly_ann2snn_conversion_comes_out_as_accumulates() -> None:
    pytest.importorskip("spikingjelly", reason="spikingjelly is not installed")
    pytest.importorskip("requests", reason="spikingjelly's ann2snn does not import without requests")
    from spikingjelly.activation_based import ann2snn

    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 3)
    )
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))[..., :4, :4].contiguous()
    recipe = ann2snn.RateCodingRecipe(dataloader=[(images, torch.zeros(2))], mode="max")
    snn = ann2snn.Converter(recipe).convert(net.eval())
    with counting(snn) as rec, torch.no_grad():
        for _ in range(4):
            snn(images)
    layers = synaptic(rec.counts())
    assert [[str(s.domain) for s in layer.streams] for layer in layers] == [["analog"], ["spike"], ["spike"]]
    assert [layer.macs == 0 for layer in layers] == [False, True, True]
    assert layers[1].acs > 0
    assert layers[1].streams[0].evidence.magnitudes != (1.0,)  # its spikes are scaled to the layer they stand for


def test_synaptic_layers_are_named_once() -> None:
    counts = count(Steps(nn.Sequential(nn.Linear(30, 10), LIF(), nn.Linear(10, 3))), spikes(3, 2, 30))
    assert [layer.path for layer in synaptic(counts)] == ["net.0", "net.2"]


def test_unit_taps_of_a_product_merge_though_one_part_saw_one_size() -> None:
    """Taps with one magnitude on the graded side weighed one each in the part that saw no other; together they weigh it."""
    model = Functional(lambda m, a, b: a @ b)
    a, b = analog(1, 3, 4), [spikes(1, 4, 5, seed=1) * 2, spikes(1, 4, 5, seed=2) * 3]
    with torch.no_grad():
        parts = [count(model, a, part, samples=1) for part in b]
        whole = count(model, a.repeat(2, 1, 1), torch.cat(b), samples=2)
    merged = parts[0].merge(parts[1]).layers[0].streams[0]
    assert merged.unit_taps == whole.layers[0].streams[0].unit_taps == 3 * int(sum(part.sum() for part in b))
