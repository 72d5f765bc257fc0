"""Nothing is left out: every layer of torch.nn runs, and every operator that it emits has a row in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import snnenergy
from snnenergy.counts import Counts
from snnenergy.errors import UsageError
from snnenergy.trace import contractions, count, counting, formulas, fused
from snnenergy.trace.formulas import Contraction, Free
from tests.trace_nets import Functional, analog, figures, repeated, spikes

pytestmark = pytest.mark.filterwarnings("ignore")  # torch deprecates several of its own layers

Made = tuple[nn.Module, tuple[Any, ...]]


def vector() -> Tensor:
    return analog(2, 6)


def line() -> Tensor:
    return analog(2, 4, 8)


def image() -> Tensor:
    return analog(2, 4, 8, 8)


def volume() -> Tensor:
    return analog(2, 4, 4, 4, 4)


def by_rank(kind: str, *arguments: Any, **options: Any) -> dict[str, Callable[[], Made]]:
    """A layer that torch has for one, two and three axes."""
    return {
        kind.format(rank): on(x, *arguments, **options)(kind.format(rank))
        for rank, x in (("1d", line), ("2d", image), ("3d", volume))
        if hasattr(nn, kind.format(rank))
    }


def on(x: Callable[[], Tensor], *arguments: Any, **options: Any) -> Callable[[str], Callable[[], Made]]:
    return lambda kind: lambda: (getattr(nn, kind)(*arguments, **options), (x(),))


def each(kinds: str, make: Callable[[str], Callable[[], Made]]) -> dict[str, Callable[[], Made]]:
    return {kind: make(kind) for kind in kinds.split()}


def loss(*inputs: Callable[[], Any], **options: Any) -> Callable[[str], Callable[[], Made]]:
    return lambda kind: lambda: (getattr(nn, kind)(**options), tuple(x() for x in inputs))


def chance() -> Tensor:
    return analog(2, 6).sigmoid()


def signs() -> Tensor:
    return 2 * spikes(2, 6) - 1


def labels() -> Tensor:
    return torch.tensor([1, 3])


def unpool(rank: int) -> Callable[[], Made]:
    def make() -> Made:
        x = (line, image, volume)[rank - 1]()
        pooled, where = getattr(nn, f"MaxPool{rank}d")(2, return_indices=True)(x)
        return getattr(nn, f"MaxUnpool{rank}d")(2), (pooled, where)

    return make


def ctc() -> Made:
    scores = analog(5, 2, 4).log_softmax(-1)
    return nn.CTCLoss(), (scores, torch.tensor([[1, 2], [1, 3]]), torch.tensor([5, 5]), torch.tensor([2, 2]))


ZOO: dict[str, Callable[[], Made]] = {
    # sums of products
    **by_rank("Conv{}", 4, 3, 3, padding=1),
    **by_rank("ConvTranspose{}", 4, 3, 3, stride=2),
    **by_rank("LazyConv{}", 3, 3),
    **by_rank("LazyConvTranspose{}", 3, 3),
    "Linear": on(vector, 6, 3)("Linear"),
    "LazyLinear": on(vector, 3)("LazyLinear"),
    "Bilinear": lambda: (nn.Bilinear(6, 6, 3), (vector(), vector())),
    **each("RNN GRU LSTM", on(lambda: analog(5, 2, 6), 6, 3, 2, bidirectional=True)),
    **each("RNNCell GRUCell LSTMCell", on(vector, 6, 3)),
    "MultiheadAttention": lambda: (nn.MultiheadAttention(4, 2), (analog(5, 2, 4),) * 3),
    "TransformerEncoderLayer": on(lambda: analog(2, 5, 4), 4, 2, 6, batch_first=True)("TransformerEncoderLayer"),
    "TransformerDecoderLayer": lambda: (nn.TransformerDecoderLayer(4, 2, 6), (analog(5, 2, 4),) * 2),
    "TransformerEncoder": lambda: (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), 2),
        (analog(2, 5, 4),),
    ),
    "TransformerDecoder": lambda: (
        nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6), 2),
        (analog(5, 2, 4),) * 2,
    ),
    "Transformer": lambda: (nn.Transformer(4, 2, 1, 1, 6), (analog(5, 2, 4),) * 2),
    "AdaptiveLogSoftmaxWithLoss": lambda: (
        nn.AdaptiveLogSoftmaxWithLoss(16, 8, [2, 4]),
        (analog(3, 16), torch.tensor([1, 3, 7])),
    ),
    "LinearCrossEntropyLoss": lambda: (nn.LinearCrossEntropyLoss(6, 5), (vector(), labels())),
    # pooling
    **by_rank("AvgPool{}", 2),
    **by_rank("MaxPool{}", 2),
    **by_rank("LPPool{}", 2, 2),
    **by_rank("AdaptiveAvgPool{}", 3),
    **by_rank("AdaptiveMaxPool{}", 3),
    "FractionalMaxPool2d": on(image, 2, output_size=3)("FractionalMaxPool2d"),
    "FractionalMaxPool3d": on(lambda: analog(2, 4, 8, 8, 8), 2, output_size=3)("FractionalMaxPool3d"),
    **{f"MaxUnpool{rank}d": unpool(rank) for rank in (1, 2, 3)},
    # norms
    **by_rank("BatchNorm{}", 4),
    **by_rank("LazyBatchNorm{}"),
    **by_rank("InstanceNorm{}", 4, affine=True),
    **by_rank("LazyInstanceNorm{}"),
    "SyncBatchNorm": on(image, 4)("SyncBatchNorm"),
    "LayerNorm": on(vector, 6)("LayerNorm"),
    "RMSNorm": on(vector, 6)("RMSNorm"),
    "GroupNorm": on(image, 2, 4)("GroupNorm"),
    "LocalResponseNorm": on(image, 2)("LocalResponseNorm"),
    "CrossMapLRN2d": on(image, 2)("CrossMapLRN2d"),
    # activations
    **each(
        "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU RReLU ReLU ReLU6 SELU SiLU "
        "Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink",
        on(vector),
    ),
    "Threshold": on(vector, 0.1, 0.0)("Threshold"),
    "GLU": on(vector)("GLU"),
    **each("Softmax LogSoftmax Softmin", on(vector, -1)),
    "Softmax2d": on(image)("Softmax2d"),
    # distances and losses
    **each("CosineSimilarity PairwiseDistance", lambda kind: lambda: (getattr(nn, kind)(), (vector(), vector()))),
    **each("L1Loss MSELoss SmoothL1Loss HuberLoss KLDivLoss PoissonNLLLoss", loss(vector, vector)),
    **each("BCELoss", loss(chance, chance)),
    **each("BCEWithLogitsLoss MultiLabelSoftMarginLoss", loss(vector, chance)),
    **each("CrossEntropyLoss MultiMarginLoss", loss(vector, labels)),
    "NLLLoss": loss(lambda: vector().log_softmax(-1), labels)("NLLLoss"),
    "NLLLoss2d": loss(image, lambda: torch.ones(2, 8, 8, dtype=torch.int64))("NLLLoss2d"),
    "MultiLabelMarginLoss": loss(vector, lambda: torch.tensor([[1, 2, -1, 0, 0, 0]] * 2))("MultiLabelMarginLoss"),
    **each("SoftMarginLoss HingeEmbeddingLoss", loss(vector, signs)),
    "MarginRankingLoss": loss(vector, vector, signs)("MarginRankingLoss"),
    "CosineEmbeddingLoss": loss(vector, vector, lambda: torch.tensor([1.0, -1.0]))("CosineEmbeddingLoss"),
    "GaussianNLLLoss": loss(vector, vector, chance)("GaussianNLLLoss"),
    **each("TripletMarginLoss TripletMarginWithDistanceLoss", loss(vector, vector, lambda: analog(2, 6, seed=9))),
    "CTCLoss": ctc,
    # tables and resampling
    "EmbeddingBag": lambda: (nn.EmbeddingBag(9, 6), (torch.tensor([[1, 2, 8], [0, 0, 3]]),)),
    "Embedding": lambda: (nn.Embedding(9, 6), (torch.tensor([[1, 2, 8]]),)),
    "Upsample": on(image, scale_factor=2, mode="bicubic")("Upsample"),
    "UpsamplingBilinear2d": on(image, scale_factor=2)("UpsamplingBilinear2d"),
    "UpsamplingNearest2d": on(image, scale_factor=2)("UpsamplingNearest2d"),
    "Fold": on(lambda: analog(2, 9, 4), (4, 4), 3)("Fold"),
    # what moves values
    **by_rank("Dropout{}"),
    "Dropout": on(vector)("Dropout"),
    "AlphaDropout": on(vector)("AlphaDropout"),
    "FeatureAlphaDropout": on(image)("FeatureAlphaDropout"),
    **by_rank("CircularPad{}", 1),
    **by_rank("ConstantPad{}", 1, 0.5),
    **by_rank("ReflectionPad{}", 1),
    **by_rank("ReplicationPad{}", 1),
    **by_rank("ZeroPad{}", 1),
    "ChannelShuffle": on(image, 2)("ChannelShuffle"),
    "PixelShuffle": on(image, 2)("PixelShuffle"),
    "PixelUnshuffle": on(image, 2)("PixelUnshuffle"),
    "Flatten": on(image)("Flatten"),
    "Identity": on(image)("Identity"),
    "Unflatten": on(vector, 1, (2, 3))("Unflatten"),
    "Unfold": on(image, 3)("Unfold"),
}

NO_LAYER = {
    "Module": "abstract",
    "RNNBase": "abstract",
    "RNNCellBase": "abstract",
    "Container": "its class is gone from use",
    "Sequential": "holds layers",
    "ModuleDict": "holds layers",
    "ModuleList": "holds layers",
    "ParameterDict": "holds parameters",
    "ParameterList": "holds parameters",
    "LinearCrossEntropyOptions": "holds options",
}

NO_ARITHMETIC = {
    "moves values": "MaxUnpool1d MaxUnpool2d MaxUnpool3d CircularPad1d CircularPad2d CircularPad3d ConstantPad1d "
    "ConstantPad2d ConstantPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d "
    "ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d ChannelShuffle PixelShuffle PixelUnshuffle Flatten Identity Unflatten "
    "Unfold UpsamplingNearest2d",
    "looks up rows": "Embedding",
    "does nothing in eval mode": "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout",
}

NEEDS_GPU = {"SyncBatchNorm": "in training it runs on accelerators only"}


def made(name: str, train: bool) -> Made:
    if not hasattr(nn, name):
        pytest.skip(f"torch {torch.__version__} has no nn.{name}")
    torch.manual_seed(0)
    layer, inputs = ZOO[name]()
    if name.startswith("Lazy"):
        with torch.no_grad():
            layer(*inputs)
    return layer.train(train), inputs


def arithmetic(counts: Counts) -> int:
    t = counts.total()
    return t.dense_macs + t.adds + t.muls + t.compares + t.specials


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_layer_is_counted_whole(name: str, train: bool, grad: bool) -> None:
    if train and name in NEEDS_GPU:
        pytest.skip(NEEDS_GPU[name])
    layer, inputs = made(name, train)
    with torch.set_grad_enabled(grad):
        counts = count(layer, *inputs, samples=2)
    assert counts.uncounted == ()
    assert counts.coverage.complete
    free = {kind for row in NO_ARITHMETIC.values() for kind in row.split()}
    if not train or name not in free:
        assert (arithmetic(counts) == 0) == (name in free)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_layer_is_the_same_over_several_forwards(name: str) -> None:
    layer, inputs = made(name, train=False)
    with torch.no_grad():
        once = count(layer, *inputs, samples=2)
        with counting(layer, samples=2) as rec:
            for _ in range(3):
                layer(*inputs)
    assert figures(rec.counts()) == figures(once.merge(once, once))


def test_every_class_of_torch_nn_is_in_the_zoo_or_is_no_layer() -> None:
    known = set(nn.modules.__all__)
    assert known - set(ZOO) - set(NO_LAYER) == set()
    assert {name for row in NO_ARITHMETIC.values() for name in row.split()} <= set(ZOO)


# ---- the table of operators
class Emitted(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch annotates no mode
    """Names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch annotates no mode
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.names.add(func._schema.name)
        return func(*args, **(kwargs or {}))


def emitted() -> Iterator[tuple[str, str]]:
    """(layer, aten operator) of the whole zoo, in all modes."""
    for name in sorted(set(ZOO) & set(dir(nn))):
        for train in (False, True):
            if train and name in NEEDS_GPU:
                continue
            layer, inputs = made(name, train)
            for grad in (torch.no_grad, torch.enable_grad):
                with grad(), Emitted() as seen:
                    layer(*inputs)
                yield from ((name, op) for op in seen.names)


def test_every_operator_that_the_zoo_emits_has_a_row() -> None:
    rows = dict.fromkeys(emitted())
    assert len({op for _, op in rows}) > 100
    absent = sorted(
        {op for _, op in rows if op.startswith("aten::") and formulas.row(op.removeprefix("aten::")) is None}
    )
    assert absent == []
    assert {op.partition("::")[0] for _, op in rows} == {"aten"}


def test_every_contraction_that_the_zoo_emits_has_a_rule() -> None:
    names = {op.removeprefix("aten::") for _, op in emitted()}
    summed = {n for n in names if isinstance(formulas.row(n), Contraction)}
    assert summed <= set(contractions.RULES | fused.RULES)
    assert {"convolution", "addmm", "bmm"} <= summed


def test_what_is_free_says_why() -> None:
    free = [row for row in formulas.TABLE_OF_ROWS.values() if isinstance(row, Free)]
    assert all(len(row.why) > 10 for row in free)


def test_every_name_of_the_table_is_an_operator_of_torch() -> None:
    """A misspelt row would be a silent hole."""
    gone = sorted(
        name
        for name in formulas.TABLE_OF_ROWS
        if not any(hasattr(torch.ops.aten, n) for n in (name, name + "_", name.lower()))
    )
    assert gone == []


def test_composite_operators_under_inference_mode_are_taken_apart() -> None:
    with torch.inference_mode():
        for name in (
            "Linear",
            "Conv2d",
            "ConvTranspose2d",
            "LSTM",
            "GRU",
            "MultiheadAttention",
            "LayerNorm",
            "BatchNorm2d",
        ):
            layer, inputs = made(name, train=False)
            counts = count(layer, *inputs, samples=2)
            assert counts.uncounted == ()
            assert arithmetic(counts) > 0


# ---- custom operators
@torch.library.custom_op("snnenergy_tests::scaled_matmul", mutates_args=())
def scaled_matmul(x: Tensor, w: Tensor, scale: float) -> Tensor:
    return scale * (x @ w)


@scaled_matmul.register_fake
def _(x: Tensor, w: Tensor, scale: float) -> Tensor:
    return x.new_empty(x.shape[0], w.shape[1])


OP = "snnenergy_tests::scaled_matmul"


class Custom(nn.Module):
    """A linear layer, then a product in an operator that nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4, bias=False)
        self.inner = Functional(lambda m, x: scaled_matmul(x, m.w, 2.0), w=analog(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(self.fc(x))
        return y


def test_an_unknown_operator_is_named_with_path_calls_and_parameters() -> None:
    counts = repeated(Custom(), 3, vector())
    (row,) = counts.uncounted
    assert (row.path, row.op, row.calls, row.parameters) == ("inner", OP, 3, 12)
    assert (counts.coverage.parameters_counted, counts.coverage.parameters_total) == (24, 36)
    assert (counts.coverage.calls_counted, counts.coverage.calls_total) == (3, 6)
    assert not counts.coverage.complete


def test_a_rule_of_the_users_counts_it() -> None:
    counts = count(Custom(), vector(), rules={OP: lambda x, w, scale: x.shape[0] * w.numel()})
    assert counts.uncounted == ()
    assert counts.coverage.complete
    assert counts["inner"].dense_macs == 2 * 12
    assert counts["inner"].role == "synaptic"
    assert counts.total().dense_macs == 2 * 24 + 2 * 12


def test_a_rule_may_give_every_kind_of_arithmetic() -> None:
    rule = lambda x, w, scale: {"dense_macs": 24, "muls": 6}  # noqa: E731  # a name is worth no more here
    layer = repeated_with(Custom(), {OP: rule})["inner"]
    assert (layer.dense_macs, layer.muls) == (3 * 24, 3 * 6)


@pytest.mark.parametrize(
    ("values", "domain", "units"),
    [
        ([0.0, 1, 0, 1, 0, 1], "spike", 24),
        ([0.0, 2, 0, 2, 0, -2], "ternary", 24),
        ([0.0, 1, 2, 3, 0, 1], "graded", None),
    ],
)
def test_which_value_meets_which_tap_of_a_rule_is_not_known(
    values: list[float], domain: str, units: int | None
) -> None:
    model = Functional(lambda m, x: scaled_matmul(x, m.w, 2.0), w=analog(6, 4))
    counts = count(model, torch.tensor([values]), rules={OP: lambda x, w, scale: w.numel()})
    (stream,) = counts.layers[0].streams
    assert (stream.domain, stream.driven, stream.unit_taps) == (domain, 24, units)
    chip = snnenergy.load_hardware(
        "horowitz_fp32"
    )  # graded taps are unit accumulates there; without units they are MACs
    assert snnenergy.estimate(counts, chip).energy is not None
    assert Counts.from_dict(counts.to_dict()) == counts


@pytest.mark.parametrize("given", [24, np.int64(24), torch.tensor(24), {"dense_macs": np.int32(24)}])
def test_a_rule_may_return_any_integer(given: Any) -> None:
    layer = count(Custom(), vector(), rules={OP: lambda x, w, scale: given})["inner"]
    assert layer.dense_macs == layer.valid_macs == 24
    assert type(layer.dense_macs) is int


@pytest.mark.parametrize("given", [24.0, None, "24", {"macs": 3}, {"muls": 6.0}, [24]])
def test_what_a_rule_may_not_return_is_said_in_one_line(given: Any) -> None:
    with pytest.raises(UsageError) as told:
        count(Custom(), vector(), rules={OP: lambda x, w, scale: given})
    assert f"the rule of {OP} returned {given!r}; it may return dense MACs, an integer, or a mapping of" in str(
        told.value
    )
    assert "\n" not in str(told.value)


def repeated_with(model: nn.Module, rules: dict[str, Any]) -> Counts:
    with counting(model, rules=rules) as rec:
        for _ in range(3):
            model(vector())
    return rec.counts()


def test_an_aten_operator_without_a_row_is_named_too() -> None:
    counts = count(Functional(lambda m, x: torch.linalg.svdvals(x) + m.w.sum(), w=analog(2)), vector())
    (row,) = counts.uncounted
    assert "svd" in row.op
    assert row.calls == 1
