"""The second witness: fvcore's dense MACs, computed by other code from a TorchScript trace, beside ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnenergy import Counts, UsageError
from snnenergy.trace import count
from snnenergy.trace.witness import WitnessReport, witness
from tests.conftest import ROOT, Cli
from tests.trace_nets import Functional, analog, conv_net, spikes, spiking_net

DIGITS = ROOT / "examples" / "digits"


def asked(model: nn.Module, *inputs: Any, **kwargs: Any) -> WitnessReport:
    with torch.no_grad():
        counts = count(model, *inputs, kwargs=kwargs)
    return witness(model, inputs, counts, kwargs=kwargs)


def rows(report: WitnessReport) -> dict[str, tuple[int, int]]:
    return {row.path: (row.ours, row.fvcore) for row in report.layers}


class Residual(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.down = nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.bn1(self.conv1(x)))) + self.down(x))


def resnet() -> nn.Module:
    """3 x 8 x 8 -> 5."""
    blocks = (Residual(4, 4, 1), Residual(4, 8, 2))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.ReLU(), *blocks, *head).eval()


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=(1, 0), dilation=(1, 2), groups=4, padding_mode="circular"),
        nn.ConvTranspose2d(8, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=2),
        nn.ConvTranspose2d(6, 2, 3, dilation=2),
    )


class Attention(nn.Module):
    """By matmul: heads of four."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.reshape(*x.shape[:2], 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        joined: Tensor = self.out(((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).flatten(2))
        return joined


EQUAL: dict[str, Callable[[], tuple[nn.Module, Sequence[Any]]]] = {
    "resnet": lambda: (resnet(), (analog(2, 3, 8, 8),)),
    "vgg": lambda: (conv_net(), (analog(2, 1, 8, 8),)),
    "spiking vgg": lambda: (spiking_net(), (spikes(3, 2, 1, 6, 6),)),
    "linear of rank 3": lambda: (nn.Linear(8, 4), (analog(3, 5, 8),)),
    "linear of a vector": lambda: (nn.Linear(8, 4), (analog(8),)),
    "grouped and transposed": lambda: (transposed().eval(), (analog(1, 4, 9, 9),)),
    "conv1d": lambda: (nn.Conv1d(4, 8, 3, groups=2), (analog(2, 4, 9),)),
    "conv3d": lambda: (nn.Conv3d(2, 3, (1, 2, 3), padding=1), (analog(2, 2, 4, 4, 4),)),
    "unbatched conv": lambda: (nn.Conv2d(3, 4, 3), (analog(3, 8, 8),)),
    "attention by matmul": lambda: (Attention(), (analog(2, 6, 8),)),
    "a layer twice": lambda: (nn.Sequential(*[nn.Linear(8, 8)] * 2), (analog(2, 8),)),
    "a parameter": lambda: (Functional(lambda m, x: x @ m.w, w=analog(8, 4)), (analog(2, 8),)),
    "a cell": lambda: (nn.LSTMCell(8, 16), (analog(1, 8),)),
}  # fmt: skip  # a table, read across


@pytest.mark.parametrize("name", EQUAL)
def test_equal_in_every_layer(name: str) -> None:
    model, inputs = EQUAL[name]()
    report = asked(model, *inputs)
    assert report.layers
    assert report.agrees
    assert report.ours == report.fvcore == sum(row.fvcore for row in report.layers) > 0
    assert all(row.reason == "" for row in report.layers)


def test_by_hand() -> None:
    # 3 -> 4 channels, 3 x 3 on 8 x 8; 4 -> 4 and 4 -> 8 blocks, the second to 4 x 4; 8 -> 5; two images
    plain, strided = 4 * 4 * 64, 8 * 16
    report = asked(resnet(), analog(2, 3, 8, 8))
    assert rows(report) == {
        path: (2 * n, 2 * n)
        for path, n in {
            "0": 3 * 4 * 9 * 64,
            "3.conv1": plain * 9, "3.conv2": plain * 9, "3.down": plain,
            "4.conv1": strided * 4 * 9, "4.conv2": strided * 8 * 9, "4.down": strided * 4,
            "7": 8 * 5,
        }.items()
    }  # fmt: skip  # a table, read across


def attend(m: nn.Module, q: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, q, q)


def einsum(m: nn.Module, q: Tensor, k: Tensor) -> Tensor:
    return torch.einsum("bij,bjk->bik", q, k)


# ours, fvcore's, and the word that the reason must hold
NAMED: dict[str, tuple[Callable[[], tuple[nn.Module, Sequence[Any]]], int, int, str]] = {
    "LSTM": (lambda: (nn.LSTM(8, 16), (analog(5, 1, 8),)), 7680, 0, "aten::lstm x1, unsupported"),
    "GRU": (lambda: (nn.GRU(8, 16, 2, bidirectional=True), (analog(5, 1, 8),)), 34560, 0, "aten::gru x1, unsupported"),
    "SDPA": (lambda: (Functional(attend), (analog(1, 1, 6, 4),)), 288, 0, "scaled_dot_product_attention x1, unsupported"),
    "bilinear": (lambda: (nn.Bilinear(3, 4, 5), (analog(2, 3), analog(2, 4))), 160, 0, "aten::bilinear x1, unsupported"),
    "same": (lambda: (nn.Conv2d(3, 4, 3, padding="same"), (analog(1, 3, 8, 8),)), 6912, 0, "_convolution_mode x1, unsupported"),
    "broadcast": (lambda: (Functional(lambda m, a, b: a @ b), (analog(6, 4), analog(3, 4, 5))), 360, 120, "240 MACs that fvcore's matmul leaves out"),
    "vector": (lambda: (Functional(lambda m, a, b: a @ b), (analog(6, 4), analog(4))), 24, 0, "24 MACs that fvcore's matmul leaves out"),
    "einsum": (lambda: (Functional(einsum), (analog(3, 37, 41), analog(3, 41, 43))), 3 * 37 * 41 * 43, 195700, "four digits"),
    "outer": (lambda: (Functional(lambda m, a, b: torch.einsum("i,j->ij", a, b)), (analog(7), analog(9))), 0, 32, "sums nothing"),
}  # fmt: skip  # a table, read across


@pytest.mark.parametrize("name", NAMED)
def test_every_difference_has_its_reason(name: str) -> None:
    make, ours, theirs, word = NAMED[name]
    model, inputs = make()
    report = asked(model, *inputs)
    assert (report.ours, report.fvcore) == (ours, theirs)
    assert not report.agrees
    assert report.unexplained == ()
    (row,) = report.layers
    assert word in row.reason


def test_a_fused_attention_layer_is_explained_to_the_last_mac() -> None:
    # eval, L = 6, E = 8: 6*24*8 in, 2*6*6*8 products, 6*8*8 out = 2112 without a rule; the two linear layers are equal
    report = asked(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), analog(1, 6, 8))
    assert rows(report)["linear1"] == rows(report)["linear2"] == (768, 768)
    assert report.ours - (report.fvcore or 0) == 2112
    assert report.unexplained == ()
    assert report.unsupported == {"aten::_native_multi_head_attention": 1}


def test_what_is_booked_in_another_module_is_equal_in_sum() -> None:
    net = Functional(lambda m, x: F.linear(m.e.forward(x), m.e.weight))
    net.e = nn.Linear(8, 8)
    report = asked(net, analog(2, 8))
    assert rows(report) == {"e": (256, 0), "(root)": (0, 256)}
    assert report.ours == report.fvcore == 256
    assert all("(root): equal in sum" in row.reason for row in report.layers)


def test_what_no_output_depends_on_is_dropped_by_the_trace() -> None:
    net = Functional(lambda m, x: (m.used(x), m.idle(x))[0])
    net.used, net.idle = nn.Linear(8, 8), nn.Linear(8, 3)
    report = asked(net, analog(2, 8))
    assert rows(report) == {"used": (128, 128), "idle": (48, 0)}
    assert "no output depends on" in report.layers[1].reason
    assert report.unexplained == ()


def test_a_difference_without_a_reason_is_called_unexplained() -> None:
    model, x = nn.Linear(8, 4), analog(2, 8)
    wrong = Counts.build("net", [{"path": "(root)", "op": "linear", "dense_macs": 63}], forwards=1)
    report = witness(model, (x,), wrong)
    assert report.unexplained == ("(root)",)
    assert "-1: 1 unexplained" in report.lines()[-2]


def test_dicts_keywords_and_plain_values_arrive() -> None:
    net = Functional(lambda m, batch, scale: {"y": m.fc(batch["x"]) * scale, "n": 3})
    net.fc = nn.Linear(8, 3)
    assert asked(net, {"x": analog(2, 8)}, 2.0).agrees

    class Keyword(nn.Linear):
        def forward(self, input: Tensor, *, more: Tensor | None = None) -> Tensor:  # noqa: A002  # nn.Linear's own name
            return super().forward(input if more is None else input + more)

    assert asked(Keyword(8, 3), analog(2, 8), more=analog(2, 8)).agrees


def test_an_exported_program_is_compared_in_total(tmp_path: Path) -> None:
    module = torch.export.export(conv_net(), (analog(2, 1, 8, 8),)).module()
    report = asked(module, analog(2, 1, 8, 8))
    assert report.ours == report.fvcore == 2 * (4 * 9 * 64 + 64 * 10)
    assert report.unexplained == ()


class Refuses(nn.Module):
    """Runs, but not while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._get_tracing_state() is not None:
            raise RuntimeError("not\nunder a tracer")
        out: Tensor = self.fc(x)
        return out


def test_a_model_that_fvcore_cannot_run_is_said_and_left_as_it_was() -> None:
    model = Refuses()
    report = asked(model, analog(2, 8))
    assert (report.ours, report.fvcore, report.agrees) == (64, None, False)
    assert report.failure == "RuntimeError: not under a tracer"
    assert "nothing is compared" in report.lines()[-1]
    assert all(not (m._forward_hooks or m._forward_pre_hooks) for m in model.modules())


def test_the_random_state_and_the_hooks_stay() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout()).train()
    kept = model[0].register_forward_hook(lambda m, args, out: None)
    with torch.no_grad():
        counts = count(model, analog(2, 8))
    before = torch.random.get_rng_state()
    assert witness(model, (analog(2, 8),), counts).agrees
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(model[0]._forward_hooks) == [kept.id]
    assert model.training


def test_one_forward_is_compared() -> None:
    model, x = nn.Linear(8, 4), analog(2, 8)
    both = count(model, x).merge(count(model, x + 1))
    with pytest.raises(UsageError, match="these counts are of 2"):
        witness(model, (x,), both)


def test_the_text_names_version_layers_total_and_reasons() -> None:
    lines = asked(nn.Sequential(nn.Linear(8, 8), nn.LSTM(8, 16)), analog(5, 1, 8)).lines()
    assert re.fullmatch(r"second witness: fvcore [\w.]+, dense MACs of one forward of \d+ samples?", lines[0])
    assert [re.split(r"\s{2,}", line) for line in lines[1:]] == [
        ["layer", "snnenergy", "fvcore"],
        ["0", "320", "320", "equal"],
        ["1", "7,680", "0", "[1]"],
        ["total", "8,000", "320", "+7,680: every difference has a reason"],
        ["[1] 1: 7,680 MACs in aten::lstm x1, unsupported by fvcore"],
    ]


def test_the_command_shows_it_and_writes_it_beside_the_counts(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "counts.json"
    arguments = ("profile", DIGITS / "digits_ann.pt2", "--input", DIGITS / "digits.npz", "--hardware", "none")
    answer = cli(*arguments, "--witness", "--json", target)
    assert answer.code == 0, answer.err
    total = Counts.load(target).total().dense_macs
    assert f"total   {total:,}  {total:,}  equal" in re.sub(r" {2,}", "  ", answer.out).replace("total  ", "total   ")
    found = json.loads(target.read_text(encoding="utf-8"))["witness"]
    assert found["ours"] == found["fvcore"] == total
    assert found["unexplained"] == []
    assert "witness" not in json.loads(cli(*arguments, "--json", "-").out)


def test_the_command_passes_where_fvcore_cannot(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "refusing.py").write_text("from tests.test_witness import Refuses as make\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    answer = cli("profile", "refusing:make", "--input-shape", "2,8", "--hardware", "none", "--witness")
    assert answer.code == 0, answer.err
    assert "RuntimeError: not under a tracer" in answer.out


def test_a_convention_has_no_witness(cli: Cli) -> None:
    answer = cli("profile", DIGITS / "digits_ann.pt2", "--witness", "--convention", "syops")
    assert answer.code == 2
    assert "--witness and --convention" in answer.err
