"""An ANN as the spiking net it would become: by hand, by law, against SpikingJelly's own conversion, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnenergy.cost import estimate
from snnenergy.counts import Counts
from snnenergy.errors import CountsError, InputError, NotComparableError, UsageError
from snnenergy.gate.difference import between
from snnenergy.load import Workload, load
from snnenergy.trace.conversion import Conversion, convert, threshold
from tests.conftest import ROOT, Cli

DIGITS = ROOT / "examples" / "digits"
FASHION = ROOT / "examples" / "fashion"


def work(module: nn.Module, x: Tensor, labels: object = None) -> Workload:
    return Workload("net", module.eval(), (x,), {}, "factory", False, None, labels=labels)


def line(*weights: list[list[float]]) -> nn.Sequential:
    """Linear layers without bias, a ReLU between each two."""
    layers: list[nn.Module] = []
    for rows in weights:
        made = nn.Linear(len(rows[0]), len(rows), bias=False)
        made.weight = nn.Parameter(torch.tensor(rows))
        layers += [made, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_spikes_by_hand() -> None:
    # lambda is 0.999 (between 0.5 and 1); x = 1 fires in each of 4 steps, 0.5 in steps 2 and 4, -1 never
    made = convert(work(line([[1.0]], [[2.0], [3.0]]), torch.tensor([[1.0], [0.5], [-1.0]])), [4])
    (run,) = made.runs
    (population,) = run.layers
    assert (population.path, population.function, population.spikes) == ("1", "relu", 6 / 3)
    assert population.threshold == pytest.approx(0.999)
    counts = run.counts
    assert (counts.time_steps, counts.samples) == (4, 3)
    assert (counts["0"].macs, counts["2"].acs, counts["2"].macs) == (
        4 * 3,
        6 * 2,
        0,
    )  # current; 6 spikes, 2 synapses each
    neurons = counts["1"]
    assert (neurons.role, neurons.neuron_model, neurons.neurons) == ("neuron", "IF", 1)
    assert (neurons.updates, neurons.spikes_out) == (4 * 3, 6)
    assert neurons.per_step is not None
    assert neurons.per_step.spikes_out == (1, 2, 1, 2)
    assert (made.ann["0"].macs, made.ann["2"].macs) == (3, 2 * 2)
    assert "0: linear: takes values, not spikes, in every step" in made.notes


def test_pooled_spikes_are_passed_on_one_by_one() -> None:
    # 3 neurons of 4 fire in both steps: 6 spikes, each of which reaches 3 outputs through its pool
    net = nn.Sequential(nn.ReLU(), nn.AvgPool1d(2), nn.Linear(2, 3, bias=False))
    made = convert(work(net, torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])), [2])
    layer = made.runs[0].counts["2"]
    assert (layer.acs, layer.macs) == (18, 0)
    assert made.runs[0].counts["1"].foldable
    assert any("each spike of a window is passed on by itself" in note for note in made.notes)


@pytest.mark.parametrize("steps", [1, 5, 64, 200])
def test_a_constant_current_fires_at_its_rate(steps: int) -> None:
    x = torch.rand(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 0.5
    made = convert(work(nn.Sequential(nn.ReLU()), x), [steps])
    (population,) = made.runs[0].layers
    expected = np.clip(np.floor(steps * x.numpy() / population.threshold + 1e-9), 0, steps)
    assert round(population.spikes * 50) == expected.sum()


def test_batch_norm_is_folded_on_both_sides() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    made = convert(work(net, torch.rand(4, 1, 5, 5)), [3])
    for counts in (made.ann, made.runs[0].counts):
        assert "1" not in [layer.path for layer in counts.layers]
        assert counts["0"].bias == 2
    assert made.ann["0"].adds == 4 * 2 * 9
    assert made.runs[0].counts["2"].sources == ("0",)


class Odd(nn.Module):
    """Activations called as functions, twice, in place, and of kinds that have no neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.fc(x))
        y = self.relu(self.fc(y)) + y
        y = self.relu(self.norm(y))
        y = F.gelu(self.fc(y)).clamp(min=0)
        return torch.softmax(self.fc(y), -1)


def test_functions_repeats_and_what_is_not_converted() -> None:
    made = convert(work(Odd(), torch.rand(3, 4)), [4])
    paths = [layer.path for layer in made.runs[0].layers]
    assert len(paths) == len(set(paths)) == 5
    assert [layer.function for layer in made.runs[0].layers] == ["relu", "relu", "relu", "gelu", "clamp"]
    notes = "\n".join(made.notes)
    for words in ("norm: layer_norm: its statistics", "(root): softmax: no IF neuron", "(root): gelu: taken as a ReLU"):
        assert words in notes


def test_an_exported_spiking_net_is_said_to_be_one() -> None:
    given = load(DIGITS / "digits_snn.pt2", input=f"{DIGITS / 'digits.npz'}:frames")
    with pytest.raises(
        UsageError, match=r"has spiking neurons already \(lif1, lif2, lif3\); `snnenergy profile` counts"
    ):
        convert(given, [4])


def test_what_cannot_be_converted_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to convert"):
        convert(work(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), torch.rand(1, 2)), [4])
    with pytest.raises(InputError, match="one floating-point input"):
        convert(work(nn.ReLU(), torch.ones(2, 2, dtype=torch.long)), [4])
    with pytest.raises(InputError, match="a rate is not negative"):
        convert(work(nn.ReLU(), -torch.ones(2, 2)), [4], coding="rate")
    with pytest.raises(InputError, match="NaN"):
        threshold(torch.tensor([1.0, float("nan")]))
    with pytest.raises(UsageError, match="--steps"):
        convert(work(nn.ReLU(), torch.ones(2, 2)), [])


def test_the_model_is_left_as_it_was() -> None:
    net, x = line([[1.0, -1.0]], [[1.0]]), torch.rand(5, 2)
    before = net(x)
    convert(work(net, x), [4])
    assert torch.equal(net(x), before)
    assert not net[1]._forward_hooks


def test_predicted_counts_say_so_everywhere() -> None:
    net, x = line([[1.0, -1.0]], [[1.0]]), torch.rand(5, 2)
    made = convert(work(net, x), [4])
    counts = made.runs[0].counts
    assert Counts.from_dict(json.loads(counts.to_json())) == counts
    assert "predicted" not in made.ann.to_json()
    assert any(line.startswith("predicted, of a net that was not built") for line in estimate(counts, "loihi").caveats)
    with pytest.raises(CountsError, match="predicted"):
        _ = counts.conditions + made.ann.conditions
    with pytest.raises(NotComparableError, match="predicted"):
        between(made.ann, counts)


@pytest.fixture(scope="module")
def fashion() -> tuple[Workload, Conversion]:
    given = load(FASHION / "fashion_ann.pt", input=FASHION / "fashion.npz")
    return given, convert(given, [8, 32], coding="direct")


def test_an_exported_program_is_the_same_net() -> None:
    x = DIGITS / "digits.npz"
    module, program = (convert(load(DIGITS / f, input=x), [8]) for f in ("digits_ann_model.pt", "digits_ann.pt2"))
    assert module.runs[0].layers == program.runs[0].layers
    assert [(r.path, r.acs, r.macs) for r in module.runs[0].counts.layers] == [
        (r.path, r.acs, r.macs) for r in program.runs[0].counts.layers
    ]
    rate = convert(load(DIGITS / "digits_ann.pt2", input=x), [8], coding="rate")
    assert rate.runs[0].counts.total().macs == 0
    assert not estimate(rate.runs[0].counts, "loihi").partial


@pytest.mark.filterwarnings("ignore")  # SpikingJelly's own, on import
def test_spikingjelly_makes_the_same_spikes(fashion: tuple[Workload, Conversion]) -> None:
    pytest.importorskip("spikingjelly.activation_based.ann2snn.recipes", reason="SpikingJelly 2.0 is not installed")
    from snnenergy.trace.ann2snn import verify

    given, made = fashion
    for run, real in zip(made.runs, verify(given, made), strict=True):
        assert [layer.spikes for layer in run.layers] == pytest.approx(list(real.spikes), rel=0.01)
        assert run.accuracy == pytest.approx(real.accuracy, abs=0.02)
    assert made.accuracy == 0.93


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    given = (
        "convert-estimate",
        DIGITS / "digits_ann.pt2",
        "--input",
        DIGITS / "digits.npz",
        "--hardware",
        "tianjic,loihi",
    )
    done = cli(*given, "--steps", "4,8", "--input-coding", "rate", "--json", out)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    for words in ("even at T", "relu2", "Everything was converted", "0.94"):
        assert words in done.out
    again = cli("report", out, "--hardware", "loihi")
    assert again.code == 0
    assert "predicted: rate-coded conversion" in " ".join(again.out.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--steps", "4,x"), "expected numbers of time steps"),
        (("--input-coding", "burst"), "expected direct or rate"),
        (("--verify",), "It needs the module itself"),
    ],
)
def test_the_command_says_what_to_do(cli: Cli, options: tuple[str, ...], words: str) -> None:
    if "--verify" in options:
        pytest.importorskip("spikingjelly.activation_based.ann2snn.recipes", reason="SpikingJelly 2.0 is not installed")
    done = cli("convert-estimate", DIGITS / "digits_ann.pt2", "--input", DIGITS / "digits.npz", *options)
    assert done.code == 2
    assert words in " ".join(done.err.split())
    assert done.out == ""
