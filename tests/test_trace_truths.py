"""Operation counts that a reader can work out by hand, each named after the way counters get it wrong."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.prune import l1_unstructured

from snnenergy.counts import Counts
from snnenergy.trace import count, counting
from tests.trace_nets import Functional, acs_and_macs, analog, dense, spikes, synaptic


# ---- recurrent layers: gates x hidden x (inputs + hidden) per step
def test_lstm_is_not_free() -> None:
    assert dense(nn.LSTM(8, 16), analog(5, 1, 8)) == 4 * 16 * (8 + 16) * 5 == 7680


def test_lstm_unbatched_batched_and_batch_first() -> None:
    assert dense(nn.LSTM(8, 16), analog(5, 8)) == 7680
    assert dense(nn.LSTM(8, 16), analog(5, 3, 8)) == 3 * 7680
    assert dense(nn.LSTM(8, 16, batch_first=True), analog(3, 5, 8)) == 3 * 7680


def test_lstm_cell_with_a_zero_state_still_costs_its_recurrent_product() -> None:
    counts = count(nn.LSTMCell(8, 16), analog(1, 8))
    (cell,) = synaptic(counts)
    assert cell.dense_macs == 4 * 16 * (8 + 16) == 1536
    assert cell.effective == 4 * 16 * 8  # but drives nothing


def test_bidirectional_two_layer_gru() -> None:
    assert dense(nn.GRU(8, 16, 2, bidirectional=True), analog(5, 1, 8)) == 34_560
    assert 34_560 == 3 * 16 * 5 * 2 * ((8 + 16) + (32 + 16))


def test_bidirectional_two_layer_lstm() -> None:
    assert dense(nn.LSTM(8, 16, 2, bidirectional=True), analog(5, 1, 8)) == 4 * 16 * 5 * 2 * ((8 + 16) + (32 + 16))


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # torch says that it takes its slower kernel
def test_lstm_with_projection() -> None:
    # gates read 8 inputs and 4 projected states; the projection itself is 16 x 4
    assert dense(nn.LSTM(8, 16, proj_size=4), analog(5, 1, 8)) == 5 * (4 * 16 * (8 + 4) + 16 * 4)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_plain_rnn(nonlinearity: str) -> None:
    assert dense(nn.RNN(8, 16, nonlinearity=nonlinearity), analog(5, 3, 8)) == 5 * 3 * 16 * (8 + 16)


def test_gru_and_rnn_cells() -> None:
    assert dense(nn.GRUCell(8, 16), analog(2, 8)) == 2 * 3 * 16 * (8 + 16)
    assert dense(nn.RNNCell(8, 16), analog(2, 8)) == 2 * 16 * (8 + 16)


def test_lstm_on_a_packed_sequence() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(analog(5, 2, 8), torch.tensor([5, 3]))
    assert dense(nn.LSTM(8, 16), packed, samples=2) == 4 * 16 * (8 + 16) * (5 + 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # one fused kernel, or a step at a time
def test_lstm_without_biases_adds_none(dtype: torch.dtype) -> None:
    (layer,) = synaptic(count(nn.LSTM(8, 16, bias=False, dtype=dtype), analog(5, 3, 8).to(dtype)))
    # per hidden unit and step four gate sums of two products each, and f c + i g
    assert (layer.bias, layer.adds) == (0, 5 * 3 * 16 * (4 + 1))


def test_lstm_on_spikes_accumulates_and_on_its_own_state_multiplies() -> None:
    x = spikes(5, 1, 8)
    acs, macs = acs_and_macs(nn.LSTM(8, 16), x)
    assert acs == 4 * 16 * int(x.sum())
    assert macs == 4 * 16 * 16 * 4  # the first state is zero


# ---- attention: 4 projections and 2 products
ATTENTION = 4 * 6 * 8 * 8 + 2 * 6 * 6 * 8
FEED = 6 * 8 * 16 * 2


def test_attention_by_hand() -> None:
    assert ATTENTION == 2112
    assert 2 * 6 * 6 * 8 == 576


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_multihead_attention(train: bool, need_weights: bool, batch_first: bool) -> None:
    x = analog(1, 6, 8) if batch_first else analog(6, 1, 8)
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first).train(train)
    assert dense(layer, x, x, x, kwargs={"need_weights": need_weights}) == 2112


def test_multihead_attention_products_alone() -> None:
    x = analog(6, 1, 8)
    layers = count(nn.MultiheadAttention(8, 2).eval(), x, x, x).layers
    pairs = [s for layer in layers for s in layer.streams if s.operand == "a" and s.pair is not None]
    assert sum(s.driven for s in pairs) == 576  # no product of two values is zero here


def test_multihead_attention_of_other_widths() -> None:
    layer = nn.MultiheadAttention(8, 2, kdim=3, vdim=5).eval()
    q, k, v = analog(6, 1, 8), analog(4, 1, 3), analog(4, 1, 5)
    assert dense(layer, q, k, v) == 6 * 8 * 8 * 2 + 4 * 8 * (3 + 5) + 2 * 6 * 4 * 8


def test_scaled_dot_product_attention() -> None:
    x = analog(1, 1, 6, 4)
    model = Functional(lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v))
    assert dense(model, x, x, x) == 2 * 6 * 6 * 4 == 288


@pytest.mark.parametrize("masked", [False, True])
def test_fused_attention_pays_for_its_scale_mask_and_softmax(masked: bool) -> None:
    x, n = analog(2, 4, 6, 8), 2 * 4 * 6 * 6  # 288 scores
    mask = analog(6, 6) if masked else None  # of floats: it is added
    total = count(Functional(lambda m, q: F.scaled_dot_product_attention(q, q, q, attn_mask=mask)), x).total()
    # softmax: less the largest, exp, their sum, a division; the scale is one product
    assert (total.adds, total.muls, total.compares, total.specials) == ((2 + masked) * n, 2 * n, n, n)


def test_fused_attention_pays_what_its_definition_does() -> None:
    def by_hand(m: nn.Module, q: Tensor) -> Tensor:
        return torch.softmax(q @ q.transpose(-1, -2) * 8**-0.5, -1) @ q

    fused, apart = (
        count(Functional(body), analog(2, 4, 6, 8)).total()
        for body in (lambda m, q: F.scaled_dot_product_attention(q, q, q), by_hand)
    )
    for kind in ("dense_macs", "adds", "muls", "compares", "specials"):
        assert getattr(fused, kind) == getattr(apart, kind)


def test_scaled_dot_product_attention_skips_what_is_masked_only_in_the_effective_taps() -> None:
    x = analog(1, 1, 6, 4)
    model = Functional(lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    total = count(model, x, x, x).total()
    assert total.dense_macs == 288
    assert total.effective == 6 * 6 * 4 + 21 * 4  # of the weights of v, 6 x 7 / 2 are not zero


def test_scaled_dot_product_attention_with_shared_keys() -> None:
    model = Functional(lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
    assert dense(model, analog(1, 4, 6, 4), analog(1, 2, 6, 4), analog(1, 2, 6, 4)) == 4 * 288


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_encoder_layer(train: bool, norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first).train(train)
    with torch.no_grad():
        assert dense(layer, analog(1, 6, 8)) == ATTENTION + FEED


def test_transformer_encoder_layer_names_its_parts_also_on_the_fused_path() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with torch.no_grad():
        counts = count(layer, analog(1, 6, 8))
    assert counts["linear1"].dense_macs == counts["linear2"].dense_macs == 6 * 8 * 16
    assert counts["linear1"].weights == 8 * 16


def test_transformer_encoder_of_two_layers() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with torch.no_grad():
        assert dense(nn.TransformerEncoder(layer, 2).eval(), analog(3, 6, 8)) == 3 * 2 * (ATTENTION + FEED)


PADDED = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
"""Two sentences, of six words and of four."""


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_transformer_encoder_leaves_out_what_is_padded_where_torch_does() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    options = {"kwargs": {"src_key_padding_mask": PADDED}}
    with torch.no_grad():
        whole = dense(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), analog(2, 6, 8), **options)
        nested = dense(nn.TransformerEncoder(layer, 2).eval(), analog(2, 6, 8), **options)
    assert whole == 2 * 2 * (ATTENTION + FEED)
    words, pairs = 6 + 4, 6 * 6 + 4 * 4
    assert nested == 2 * (words * (4 * 64 + 2 * 8 * 16) + 2 * pairs * 8)


def test_multihead_attention_with_a_mask_is_as_dense_and_drives_less() -> None:
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), analog(2, 6, 8)
    counts = count(layer, x, x, x, kwargs={"key_padding_mask": PADDED})
    plain = count(layer, x, x, x)
    assert counts.total().dense_macs == plain.total().dense_macs == 2 * 2112
    assert (
        plain.total().effective - counts.total().effective == 6 * 2 * 8
    )  # six words, two of the weights of v, all heads


def test_transformer_decoder_layer() -> None:
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).eval()
    assert dense(layer, analog(1, 6, 8), analog(1, 6, 8)) == 2 * ATTENTION + FEED


# ---- the same product by other names
W = analog(5, 7, seed=1)
X = analog(3, 7, seed=2)
PRODUCTS: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...], Tensor, int]] = {
    "F.linear": (lambda m, x: F.linear(x, m.w), (X,), W, 105),
    "x @ w": (lambda m, x: x @ m.w.t(), (X,), W, 105),
    "torch.matmul of rank 4": (lambda m, x: torch.matmul(x, m.w.t()), (analog(2, 2, 3, 7),), W, 4 * 105),
    "w @ x, a vector": (lambda m, x: m.w @ x, (analog(7),), W, 35),
    "torch.mv": (lambda m, x: torch.mv(m.w, x), (analog(7),), W, 35),
    "torch.addmv": (lambda m, b, x: torch.addmv(b, m.w, x), (analog(5), analog(7)), W, 35),
    "torch.dot": (lambda m, x: torch.dot(m.w, x), (analog(7),), W[0], 7),
    "torch.vdot": (lambda m, x: torch.vdot(m.w, x), (analog(7),), W[0], 7),
    "torch.inner": (lambda m, x: torch.inner(x, m.w), (X,), W, 105),
    "torch.tensordot": (lambda m, x: torch.tensordot(x, m.w, ([1], [1])), (X,), W, 105),
    "torch.einsum": (lambda m, x: torch.einsum("bi,oi->bo", x, m.w), (X,), W, 105),
    "torch.einsum of rank 3": (lambda m, x: torch.einsum("bti,oi->bto", x, m.w), (analog(3, 2, 7),), W, 210),
    "torch.bmm": (lambda m, x: torch.bmm(x, m.w), (analog(4, 5, 3),), analog(4, 3, 2), 120),
    "torch.baddbmm": (
        lambda m, b, x: torch.baddbmm(b, x, m.w),
        (analog(4, 5, 2), analog(4, 5, 3)),
        analog(4, 3, 2),
        120,
    ),
    "torch.addmm": (lambda m, b, x: torch.addmm(b, x, m.w.t()), (analog(5), X), W, 105),
    "torch.addbmm": (lambda m, b, x: torch.addbmm(b, x, m.w), (analog(5, 2), analog(4, 5, 3)), analog(4, 3, 2), 120),
    "torch.linalg.multi_dot": (lambda m, x: torch.linalg.multi_dot((x, m.w.t())), (X,), W, 105),
    "F.conv1d": (lambda m, x: F.conv1d(x, m.w), (analog(1, 2, 6),), analog(3, 2, 3), 3 * 4 * 2 * 3),
    "F.conv2d": (lambda m, x: F.conv2d(x, m.w, padding=1), (analog(1, 1, 4, 4),), analog(2, 1, 3, 3), 288),
    "F.conv3d": (lambda m, x: F.conv3d(x, m.w), (analog(1, 1, 3, 3, 3),), analog(2, 1, 2, 2, 2), 2 * 8 * 8),
    "F.conv_transpose2d": (
        lambda m, x: F.conv_transpose2d(x, m.w),
        (analog(1, 1, 4, 4),),
        analog(1, 2, 3, 3),
        16 * 2 * 9,
    ),
    "F.bilinear": (
        lambda m, a, b: F.bilinear(a, b, m.w),
        (analog(2, 4), analog(2, 5)),
        analog(6, 4, 5),
        2 * 6 * 5 * (4 + 1),
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_functional_product(name: str) -> None:
    body, inputs, weight, macs = PRODUCTS[name]
    assert dense(Functional(body, w=weight), *inputs, samples=1) == macs


def test_a_product_of_two_activations_needs_both() -> None:
    a = torch.tensor([[1.0, 0.0, 2.0]])
    b = torch.tensor([[3.0, 3.0], [3.0, 3.0], [0.0, 3.0]])
    total = count(Functional(lambda m, a, b: a @ b), a, b).total()
    assert (total.dense_macs, total.effective) == (6, 3)  # a0 b00, a0 b01, a2 b21


def test_bilinear() -> None:
    # as torch computes it: x1 meets the weight (6 x 5 x 4), what comes out meets x2 (6 x 5)
    assert dense(nn.Bilinear(4, 5, 6), analog(2, 4), analog(2, 5)) == 2 * (6 * 5 * 4 + 6 * 5)


smallest_away: Any = l1_unstructured


class Subclass(nn.Linear):
    pass


def reparametrized() -> dict[str, nn.Module]:
    lora = nn.Linear(4, 5)
    nn.utils.parametrize.register_parametrization(lora, "weight", Doubled())
    pruned = nn.Linear(4, 5)
    smallest_away(pruned, "weight", 8)
    return {
        "a subclass": Subclass(4, 5),
        "parametrized": lora,
        "weight-normed": parametrizations.weight_norm(nn.Linear(4, 5)),
        "pruned": pruned,
    }


class Doubled(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return 2 * w


@pytest.mark.parametrize("kind", ["a subclass", "parametrized", "weight-normed", "pruned"])
def test_a_linear_layer_in_disguise(kind: str) -> None:
    assert dense(reparametrized()[kind], analog(2, 4)) == 2 * 4 * 5


def test_a_layer_of_which_eight_weights_are_pruned_has_twelve_effective_taps() -> None:
    total = count(reparametrized()["pruned"], analog(1, 4)).total()
    assert (total.dense_macs, total.effective, total.weights, total.weights_nonzero) == (20, 12, 20, 12)


def test_spectral_norm_computes_its_norm_too() -> None:
    # sigma = u . (W v): 5 x 4 and 5 beside the layer's own 2 x 4 x 5
    assert dense(parametrizations.spectral_norm(nn.Linear(4, 5)).eval(), analog(2, 4)) == 40 + 20 + 5


# ---- modules that are not called as usual
class Twice(nn.Module):
    """One layer under two names, used under both."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = self.a

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.a(x))
        return y


def test_a_layer_used_twice_under_two_names_counts_twice_and_weighs_once() -> None:
    counts = count(Twice(), analog(2, 4))
    assert counts.total().dense_macs == 2 * 2 * 16
    assert (counts.total().weights, counts.coverage.parameters_total) == (16, 20)
    assert counts.uncounted == ()


class Forwarded(nn.Module):
    """A submodule called through `.forward`, which no hook sees, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)
        self.unused = nn.Linear(9, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.a.forward(x)


def test_a_submodule_called_through_forward() -> None:
    counts = count(Forwarded(), analog(2, 4))
    assert counts.total().dense_macs == 24
    assert synaptic(counts)[0].path == "param:a.weight"


def test_a_layer_never_used_is_reported() -> None:
    (row,) = count(Forwarded(), analog(2, 4)).uncounted
    assert (row.path, row.op, row.calls, row.parameters) == ("unused", "uncalled", 0, 9 * 9 + 9)


class Tied(nn.Module):
    """An encoder and a decoder with one weight matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False)
        self.c = nn.Linear(4, 3, bias=False)
        self.c.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(self.a(x)))
        return y + F.linear(y, self.a.weight.t()).sum()


def test_tied_weights() -> None:
    assert dense(Tied(), analog(2, 4)) == 2 * 12 * 4


def test_parameters_that_share_their_storage_are_all_used() -> None:
    a, b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    b.weight = nn.Parameter(a.weight.data)  # another parameter, the same numbers
    counts = count(nn.Sequential(a, b), analog(2, 4))
    assert counts.total().dense_macs == 64
    assert counts.uncounted == ()


def test_a_table_is_used_when_it_is_looked_up_in() -> None:
    counts = count(nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 3)), torch.tensor([[1, 2, 8]]))
    assert counts.total().dense_macs == 3 * 18
    assert counts.uncounted == ()


def test_layers_that_nothing_reaches_cost_nothing() -> None:
    """As an expert to which no word is sent."""

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle, self.busy, self.conv = nn.Linear(4, 3), nn.Linear(4, 3), nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.conv(x.new_empty(0, 1, 5, 5))
            y: Tensor = self.busy(x)
            z: Tensor = self.idle(x[:0])
            return y.sum() + z.sum()

    model = Experts()
    with counting(model) as rec:
        for _ in range(3):
            model(analog(2, 4))
    counts = rec.counts()
    assert counts.total().dense_macs == 3 * 24
    assert counts.uncounted == ()


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(3, 2), (0, 3)), (nn.Conv2d(1, 2, 3), (0, 1, 5, 5)), (nn.Flatten(), (0, 3, 2))]
)
def test_an_empty_batch_is_no_sample(layer: nn.Module, shape: tuple[int, ...]) -> None:
    counts = count(layer, torch.empty(shape))
    assert (counts.total().dense_macs, counts.samples) == (0, shape[0])


def test_sparse_products_are_named_or_counted_and_do_not_break_the_count() -> None:
    model = Functional(lambda m, x: torch.sparse.mm(x.to_sparse(), m.w), w=analog(7, 5))
    counts = count(model, spikes(3, 7))
    assert counts.total().dense_macs == 105 or counts.uncounted != ()


def test_unbatched_convolution_is_one_sample() -> None:
    counts = count(nn.Conv2d(1, 2, 3, padding=1), analog(1, 4, 4))
    assert (counts.total().dense_macs, counts.samples) == (288, 1)


class Dictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, batch: dict[str, Any], *, more: tuple[Tensor, ...] = ()) -> dict[str, Any]:
        return {"y": (self.a(batch["x"]), [self.a(t) for t in more])}


def test_dict_and_tuple_inputs_and_outputs() -> None:
    counts = count(Dictionary(), {"x": analog(2, 4)}, kwargs={"more": (analog(2, 4), analog(2, 4))})
    assert (counts.total().dense_macs, counts.samples) == (3 * 24, 2)


def test_bool_spikes() -> None:
    model = Functional(lambda m, x: F.linear(x.float(), m.w), w=W)
    assert acs_and_macs(model, torch.ones(1, 7, dtype=torch.bool)) == (35, 0)


class Overwrites(nn.Module):
    """Clears its input right after the layer ran, as a framework that reuses a buffer does."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.a(x)
        x.zero_()
        return y


def test_an_input_overwritten_right_after_the_layer_ran() -> None:
    model = Overwrites()
    with counting(model) as rec, torch.no_grad():
        for _ in range(6):
            model(torch.ones(2, 4))
    assert rec.counts().total().acs == 6 * 2 * 4 * 3


# ---- borders, transposes, size
def test_a_corner_spike_drives_four_taps_a_channel_and_not_nine() -> None:
    x = torch.zeros(1, 2, 4, 4)
    x[0, :, 0, 0] = 1
    assert acs_and_macs(nn.Conv2d(2, 3, 3, padding=1), x) == (2 * 3 * 4, 0)


@pytest.mark.parametrize(("place", "taps"), [((0, 0), 4), ((0, 1), 6), ((1, 1), 9), ((3, 2), 6)])
def test_a_spike_drives_the_taps_its_place_reaches(place: tuple[int, int], taps: int) -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0][place] = 1
    assert acs_and_macs(nn.Conv2d(1, 1, 3, padding=1), x) == (taps, 0)


def test_transposed_convolution_is_counted_from_its_input() -> None:
    # 16 inputs x 9 taps, not 81 outputs x 9
    assert dense(nn.ConvTranspose2d(1, 1, 3, stride=2), analog(1, 1, 4, 4)) == 16 * 9 == 144


def test_both_conventions_for_padding() -> None:
    total = count(nn.Conv2d(1, 1, 3, padding=1), analog(1, 1, 4, 4)).total()
    inner, edge, corner = 4, 8, 4
    assert total.dense_macs == 16 * 9
    assert total.valid_macs == inner * 9 + edge * 6 + corner * 4 == 100


def test_totals_past_two_to_the_24_stay_exact() -> None:
    layer = nn.Linear(4099, 4097)
    with torch.no_grad():
        layer.weight.fill_(0.5)  # of 16 million random weights one or two are zero
        acs, macs = acs_and_macs(layer, torch.ones(1, 4099))
    assert (acs, macs) == (4099 * 4097, 0) == (16_793_603, 0)


def test_totals_past_two_to_the_24_stay_exact_over_many_rows() -> None:
    # 513 rows of 32,769 events: an odd total that float32 cannot hold
    layer = nn.Linear(32_769, 1, bias=False)
    nn.init.ones_(layer.weight)
    assert acs_and_macs(layer, torch.ones(513, 32_769)) == (513 * 32_769, 0)


def test_convolution_past_two_to_the_24_with_a_zero_weight() -> None:
    layer = nn.Conv2d(1, 129, 3, padding=1, bias=False)
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        layer.weight[0, 0, 1, 1] = 0
    n = 131
    reached = (3 * n - 2) ** 2  # in-range taps of one channel
    total = count(layer, torch.ones(1, 1, n, n)).total()
    assert total.driven == 129 * reached > 1 << 24
    assert total.effective == 129 * reached - n * n


# ---- arithmetic beside the products
def test_bias_norm_pool_and_activation_are_recorded() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.MaxPool2d(2))
    layers = {layer.path: layer for layer in count(net.eval(), analog(2, 1, 8, 8)).layers}
    n = 2 * 4 * 64
    assert layers["0"].adds == n  # one bias an output
    assert (layers["1"].adds, layers["1"].muls, layers["1"].foldable) == (n, n, True)
    assert layers["2"].compares == n
    assert (layers["3"].adds, layers["3"].muls) == (3 * n // 4, n // 4)
    assert layers["4"].compares == 3 * n // 16


def test_a_norm_not_after_a_linear_map_is_not_foldable() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    assert not count(net, analog(2, 1, 8, 8))["2"].foldable


def test_a_norm_that_uses_batch_statistics_is_not_foldable() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).train()
    assert not count(net, analog(2, 1, 8, 8))["1"].foldable


def test_softmax_sigmoid_and_division() -> None:
    model = Functional(lambda m, x: torch.sigmoid(x) / x.exp())
    total = count(model, analog(2, 5)).total()
    assert total.specials == 3 * 10  # sigmoid, exp, a division by a variable


def test_every_axis_of_shape_is_independent() -> None:
    # 7 x 4 neurons of a layer read 20 steps of 10 inputs and 20 of their own state
    for t, n, i, h in itertools.product((1, 3), (1, 2), (4, 10), (5,)):
        assert dense(nn.LSTM(i, h), analog(t, n, i)) == 4 * h * (i + h) * t * n


def test_a_bias_that_is_added_on_its_own_is_a_bias() -> None:
    x = analog(3, 2, 4).transpose(0, 1)
    assert not x.is_contiguous()
    one, other = (count(nn.Linear(4, 5), t)["(root)"] for t in (x, x.contiguous()))
    assert (one.bias, one.adds) == (other.bias, other.adds) == (5, 30)


# [2, 3, 4] @ [2, 4, 5] and [3, 4] @ [4, 5], each added to something: parameters are m.*, and c is an activation
A, B, C = analog(2, 3, 4), analog(2, 4, 5), analog(2, 3, 5)
SUMS: dict[str, tuple[Functional, tuple[Tensor, ...], tuple[int, int]]] = {
    "baddbmm of activations": (Functional(lambda m, a, b, c: torch.baddbmm(c, a, b)), (A, B, C), (30, 0)),
    "baddbmm with weight and bias": (
        Functional(lambda m, a: torch.baddbmm(m.bias, a, m.w), w=B, bias=analog(2, 1, 5)),
        (A,),
        (30, 10),
    ),
    "baddbmm, one weight for all": (
        Functional(lambda m, a: torch.baddbmm(m.bias, a, m.w.expand(2, 4, 5)), w=B[0], bias=analog(5)),
        (A,),
        (30, 5),
    ),
    "baddbmm, nothing added": (Functional(lambda m, a, b, c: torch.baddbmm(c, a, b, beta=0)), (A, B, C), (0, 0)),
    "addbmm of activations": (Functional(lambda m, a, b, c: torch.addbmm(c, a, b)), (A, B, C[0]), (15, 0)),
    "addbmm with weight and bias": (
        Functional(lambda m, a: torch.addbmm(m.bias, a, m.w), w=B, bias=analog(5)),
        (A,),
        (15, 5),
    ),
    "addmm of activations": (Functional(lambda m, a, b, c: torch.addmm(c, a, b)), (A[0], B[0], C[0]), (15, 0)),
    "addmm with weight and bias": (
        Functional(lambda m, a: torch.addmm(m.bias, a, m.w), w=B[0], bias=analog(5)),
        (A[0],),
        (15, 5),
    ),
    "addmm, a residual": (Functional(lambda m, a, c: torch.addmm(c, a, m.w), w=B[0]), (A[0], C[0]), (15, 0)),
    "addmm, weight on the left": (Functional(lambda m, b, c: torch.addmm(c, m.w, b), w=A[0]), (B[0], C[0]), (15, 0)),
    "addmm, nothing added": (Functional(lambda m, a, c: torch.addmm(c, a, m.w, beta=0), w=B[0]), (A[0], C[0]), (0, 0)),
    "addmv of activations": (
        Functional(lambda m, c, a, x: torch.addmv(c, a, x)),
        (C[0, :, 0], A[0], B[0, :, 0]),
        (3, 0),
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_what_a_product_is_added_to_is_a_bias_only_of_parameters(name: str) -> None:
    model, inputs, expected = SUMS[name]
    (layer,) = synaptic(count(model, *inputs))
    assert (layer.adds, layer.bias) == expected
    assert layer.dense_macs == (3 * 4 if "addmv" in name else 60 if "addmm" in name else 120)


def test_a_residual_is_added_in_every_step() -> None:
    def steps(m: Any, a: Tensor, c: Tensor) -> list[Tensor]:
        return [torch.addmm(c, a, m.w) for _ in range(2)] + [torch.mm(a, m.w)]

    (layer,) = synaptic(count(Functional(steps, w=B[0]), A[0], C[0]))
    assert (layer.dense_macs, layer.adds, layer.bias) == (3 * 60, 2 * 15, 0)


def test_a_bag_of_weighted_rows_multiplies() -> None:
    model = Functional(lambda m, i, p: F.embedding_bag(i, m.w, per_sample_weights=p, mode="sum"), w=analog(5, 2))
    total = count(model, torch.zeros(3, 4, dtype=torch.long), analog(3, 4)).total()
    assert (total.adds, total.muls) == (3 * (4 - 1) * 2, 3 * 4 * 2)  # bags of four rows of two


def test_a_ruled_operator_reads_its_input_as_any_layer_does() -> None:
    """A constant 0.5 is analog, also before an operator whose rule the user gave."""

    @torch.library.custom_op("ruled::half", mutates_args=())
    def half(x: Tensor) -> Tensor:
        return x / 2

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = half(x)
            return made

    total = count(Net(), torch.full((3, 4), 0.5), rules={"ruled::half": lambda x: 5 * x.numel()}).total()
    assert (total.acs, total.macs) == (0, 60)


# ---- a leaf that does the same contraction again: the same only if weight, zeros and padding are the same
class Slices(nn.Module):
    """Two products with two halves of one parameter, the second half of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([torch.ones(4, 3), torch.zeros(4, 3)]))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight[0]) + F.linear(x, self.weight[1])


def test_two_slices_of_one_parameter_are_two_weights() -> None:
    (layer,) = synaptic(count(Slices(), torch.ones(2, 3)))
    assert (layer.dense_macs, layer.driven, layer.effective) == (48, 48, 24)
    assert (layer.weights, layer.weights_nonzero) == (24, 12)


class Pruning(nn.Module):
    """The same layer twice; in between half of its weights become zero."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4, bias=False)
        nn.init.ones_(self.fc.weight)

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.fc(x)
        with torch.no_grad():
            self.fc.weight[:2] = 0
        second: Tensor = self.fc(x)
        return first + second


def test_a_weight_that_changes_between_two_calls_is_read_again() -> None:
    (layer,) = synaptic(count(Pruning(), torch.ones(1, 3)))
    assert (layer.driven, layer.effective) == (24, 12 + 6)


class PaddedOnce(nn.Module):
    """A 3-tap kernel over 4 elements; the first time the outer two are zeros that were padded on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.conv(F.pad(x[..., 1:3], (1, 1)))
        second: Tensor = self.conv(x)
        return first + second


def test_zeros_padded_on_in_one_call_are_not_taken_for_padding_in_the_next() -> None:
    (layer,) = synaptic(count(PaddedOnce(), analog(1, 1, 4)))
    # 2 outputs x 3 taps; without the outer elements 2 x 2
    assert (layer.dense_macs, layer.valid_macs, layer.driven) == (12, 4 + 6, 4 + 6)


class PaddedAcross(nn.Module):
    """A 3 x 3 kernel over a square of 2 x 4 ones and two rows of zeros, and over its transpose."""

    def __init__(self, *, upright: bool) -> None:
        super().__init__()
        self.conv, self.upright = nn.Conv2d(1, 1, 3, bias=False), upright

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (0, 0, 1, 1))
        turned: Tensor = self.conv(padded.transpose(2, 3))
        return turned + self.conv(padded) if self.upright else turned


@pytest.mark.parametrize("upright", [False, True])
def test_zeros_padded_on_are_not_looked_for_on_the_axes_of_another_view(upright: bool) -> None:
    (layer,) = synaptic(count(PaddedAcross(upright=upright), torch.ones(1, 1, 2, 4)))
    # 4 windows, each of 2 lines of 3 ones and a line of padded zeros, upright and turned
    calls = 2 if upright else 1
    assert layer.dense_macs == calls * 4 * 9
    assert (layer.valid_macs, layer.driven, layer.effective) == (calls * 4 * 2 * 3,) * 3


def test_zeros_padded_on_that_are_turned_into_channels_are_inputs_like_others() -> None:
    model = Functional(lambda m, x: F.conv2d(F.pad(x, (0, 0, 1, 1)).transpose(1, 2), m.w), w=torch.ones(5, 4, 1, 1))
    # [1, 1, 4, 4] of which 2 rows are ones, as 4 channels of 1 x 4: 8 ones meet 5 taps, and 8 zeros may
    (layer,) = synaptic(count(model, torch.ones(1, 1, 2, 4)))
    assert (layer.valid_macs, layer.driven) == (16 * 5, 8 * 5)


def _copied(x: Tensor) -> None:
    x[..., :1] = torch.ones(1, 1, 1)


@pytest.mark.parametrize(
    "write", [_copied, lambda x: x.index_fill_(2, torch.tensor([0]), 1.0), lambda x: x[..., :1].add_(1)]
)
def test_padded_zeros_that_are_written_over_are_inputs(write: Any) -> None:
    def forward(m: Any, x: Tensor) -> Any:
        padded = F.pad(x, (1, 1))
        write(padded)
        return F.conv1d(padded, m.w)

    # 0 1 1 0 becomes 1 1 1 0: of 2 windows of 3 taps all are valid, and the last one meets a zero
    (layer,) = synaptic(count(Functional(forward, w=torch.ones(1, 1, 3)), torch.ones(1, 1, 2)))
    assert (layer.valid_macs, layer.driven) == (6, 5)


def test_a_layer_called_with_padding_on_one_axis_and_on_the_other() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, (3, 1), bias=False)

        def forward(self, x: Tensor) -> Tensor:
            padded = F.pad(x, (0, 0, 1, 1))
            y: Tensor = self.conv(padded) + self.conv(padded.transpose(2, 3))
            return y

    # 4 x 4 with rows of zeros outside, 3 x 1 taps, 2 x 4 outputs: upright each meets 2 ones, turned 2 of 4 columns meet 3
    (layer,) = synaptic(count(Turned(), torch.ones(1, 1, 2, 4)))
    assert (layer.dense_macs, layer.valid_macs, layer.driven) == (2 * 24, 8 * 2 + 4 * 3, 8 * 2 + 4 * 3)


class FromNumpy(nn.Module):
    """Values that no operator made meet a weight, and lie where another tensor was just freed."""

    def __init__(self, made: Callable[[FromNumpy, Tensor], Tensor]) -> None:
        super().__init__()
        self.fc, self.made = nn.Linear(6, 6, bias=False), made
        self.scale = nn.Parameter(torch.rand(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        values = x.numpy() * 2
        for _ in range(100):
            freed = self.made(self, x)
            place = freed.untyped_storage()._cdata
            del freed
            given = torch.from_numpy(values)
            if given.untyped_storage()._cdata == place:
                break
        y: Tensor = self.fc(given)
        return y


@pytest.mark.parametrize("made", [lambda m, x: m.scale.abs(), lambda m, x: torch.cat([x[:, :3], x[:, 3:]], 1)])
def test_what_comes_from_numpy_is_not_taken_for_what_was_freed_there(made: Any) -> None:
    with torch.no_grad():
        (layer,) = synaptic(count(FromNumpy(made), torch.rand(4, 6) + 0.5))
    (stream,) = layer.streams
    assert (layer.path, layer.weights) == ("fc", 36)
    assert (stream.elements, stream.driven) == (4 * 6, 4 * 6 * 6)


def test_what_was_computed_from_parameters_is_freed_when_the_model_lets_go_of_it() -> None:
    gone = []

    def forward(m: Any, x: Tensor) -> Tensor:
        computed = m.w.abs()
        kept, total = weakref.ref(computed.untyped_storage()), computed.sum()
        del computed
        gone.append(kept() is None)
        y: Tensor = x @ m.w * total
        return y

    with torch.no_grad():
        count(Functional(forward, w=torch.ones(6, 6)), torch.rand(4, 6))
    assert gone and all(gone)


class TwoBiases(nn.Module):
    """One weight, two biases."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))
        self.first, self.second = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.first) + F.linear(x, self.weight, self.second)


def test_two_biases_of_one_weight_are_both_used() -> None:
    counts = count(TwoBiases(), torch.ones(2, 3))
    (layer,) = synaptic(counts)
    assert (layer.dense_macs, layer.bias) == (48, 8)
    assert not counts.uncounted


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 3, stride=2), nn.Conv2d(2, 3, 1)])
def test_a_batch_of_none(layer: nn.Conv2d) -> None:
    with torch.no_grad():
        counts = count(layer, torch.zeros(0, 2, 6, 6))
    assert (counts.samples, counts.total().dense_macs, counts.total().driven) == (0, 0, 0)


def test_an_expert_that_no_row_goes_to() -> None:
    """Rows of 1 and 2 arrive in one call of the layer, none in the next."""
    layer = nn.Linear(4, 3, bias=False)
    model = Functional(lambda m, x: torch.cat([layer(x), layer(x[:0])]))
    x = torch.tensor([[1.0, 0, 2, 0], [0, 2, 1, 1]])
    model.add_module("layer", layer)
    with torch.no_grad(), counting(model) as rec:
        for _ in range(3):
            model(x)
    assert rec.counts()["layer"].driven == 3 * 5 * 3
    assert rec.counts()["layer"].graded_units == 3 * 7 * 3


class Binarised(nn.Linear):
    """Its weight becomes the sign of one that is no parameter, as in the first binary nets."""

    def __init__(self) -> None:
        super().__init__(6, 4)
        self.latent = self.weight.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = self.latent.sign()
        return super().forward(x)


class Query(nn.Module):
    """A learnt vector goes through a layer whose weight is a parameter, too."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.fc = nn.Parameter(analog(1, 6)), nn.Linear(6, 4)
        self.fc.weight.data.sign_()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.q)
        return x + y


def one_analog_layer(counts: Counts, path: str, times: int) -> None:
    """24 products of an analog input and 4 biases each time."""
    layer = counts[path]
    assert [(s.operand, str(s.domain)) for s in layer.streams] == [("a", "analog")]
    assert (layer.dense_macs, layer.driven, layer.adds) == (24 * times, 24 * times, 4 * times)
    assert (layer.weights, layer.bias) == (24, 4)


def test_the_weight_of_the_layer_that_runs_is_the_weight() -> None:
    with torch.no_grad():
        model = nn.Sequential(Binarised())
        for _ in range(2):
            one_analog_layer(count(model, analog(1, 6)), "0", 1)
        one_analog_layer(count(Query(), analog(1, 4)), "fc", 1)


def test_parameters_that_are_given_for_one_call() -> None:
    model = nn.Sequential(nn.Linear(6, 4))
    given = {name: p.detach().sign() for name, p in model.named_parameters()}
    with torch.no_grad(), counting(model) as rec:
        for i in range(3):
            torch.func.functional_call(model, given, (analog(1, 6, seed=i),))
    one_analog_layer(rec.counts(), "0", 3)


@pytest.mark.parametrize("replaced", [True, False])
def test_parameters_that_change_before_the_first_forward(replaced: bool) -> None:
    model: Any = nn.Sequential(nn.Linear(6, 4))
    with torch.no_grad(), counting(model) as rec:
        if replaced:
            model[0].weight = nn.Parameter(analog(4, 6).sign())
        else:
            model.double()
        for i in range(3):
            model(analog(1, 6, seed=i).to(model[0].weight.dtype))
    one_analog_layer(rec.counts(), "0", 3)


def test_one_operator_is_one_call_whatever_it_is_read_as() -> None:
    """w @ x of a batch of six is six products of one weight, and no six time steps."""
    model = Functional(lambda m, x: torch.bmm(m.w.repeat(6, 1, 1), x), w=analog(1, 3, 4))
    with torch.no_grad():
        counts = count(model, analog(6, 4, 5))
    assert (counts.time_steps, counts.samples) == (None, 6)
    assert counts.total().dense_macs == 6 * 3 * 4 * 5


def test_padding_of_an_image_without_samples() -> None:
    """Zeros put around 3 x 3 pixels of one channel are met by nobody: 49 taps of a 3 x 3 kernel lie inside."""
    model = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(1, 1, 3, bias=False))
    x = torch.ones(1, 3, 3)
    with torch.no_grad():
        assert count(model, x).total().valid_macs == count(model, x[None]).total().valid_macs == 49


def test_an_expanded_filter_is_stored_once() -> None:
    """One 3 x 3 filter for each of four channels."""
    model = Functional(
        lambda m, x: F.conv2d(x, m.w.expand(4, 1, 3, 3), groups=4), w=torch.tensor([1.0, 0, 1]).repeat(3, 1)
    )
    with torch.no_grad():
        counts = count(model, torch.ones(1, 4, 5, 5))
    assert (counts.total().weights, counts.total().weights_nonzero) == (9, 6)
    assert counts.total().effective == 4 * 9 * 6
