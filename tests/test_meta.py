"""Counts of shapes: what does not depend on values is that of a real run, what does is unknown in every output, never 0."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import large
from snnenergy import count, estimate, load_hardware
from snnenergy.cost.convention_rates import assume_rate, price_rates
from snnenergy.counts import Counts, LayerCounts
from snnenergy.errors import ActivityError, InputError, UsageError
from snnenergy.hardware.document import read
from snnenergy.load import Workload, shapes
from snnenergy.shipped import shipped
from snnenergy.trace.workload import count_workload
from tests.conftest import Cli
from tests.test_trace_zoo import ZOO
from tests.trace_nets import LIF, Steps, analog, conv_net, spikes, spiking_net

NEEDS_VALUES = {"AdaptiveLogSoftmaxWithLoss", "CTCLoss", "GaussianNLLLoss"}
"""Layers of torch whose own code branches on values, or whose sizes follow from them."""
VALUE_FREE = (
    "path role op module_type sources dense_macs valid_macs neuron_model neurons updates state_words adds muls compares "
    "specials weights weight_bits bias output_elements input_bits output_bits fan_in fan_out foldable"
).split()

Made = tuple[nn.Module, tuple[Any, ...]]
NETS: dict[str, Callable[[], Made]] = {
    **{name: made for name, made in ZOO.items() if name not in NEEDS_VALUES},
    "convolutions": lambda: (conv_net(), (analog(2, 1, 8, 8),)),
    "a loop over time": lambda: (spiking_net(), (spikes(4, 2, 1, 6, 6),)),
    "a decoder": lambda: (large.decoder_small(), (torch.arange(12).reshape(2, 6),)),
    "a spiking transformer": lambda: (large.spikformer_small(), (spikes(2, 1, 3, 32, 32),)),
}


def shaped(net: nn.Module, *inputs: Any) -> Counts:
    """Counts of the same net and inputs without values."""
    mode = shapes.mode()
    shapes.place(mode, net)
    return count_workload(
        Workload("net", net, shapes.only(mode, inputs), {}, "module", synthetic=False, seed=None, mode=mode)
    )


def value_free(layer: LayerCounts) -> dict[str, Any]:
    streams = [(s.source, s.operand, s.elements) for s in layer.streams]
    return {name: getattr(layer, name) for name in VALUE_FREE} | {"geometry": layer.geometry, "streams": streams}


@pytest.mark.filterwarnings("ignore")  # torch deprecates several of its own layers
@pytest.mark.parametrize("name", NETS)
def test_dense_fields_are_those_of_the_real_run(name: str) -> None:
    net, inputs = NETS[name]()
    net.eval()
    with torch.no_grad():
        net(*inputs)  # lazy layers take their sizes
        real = count(net, *inputs)
    meta = shaped(net, *inputs)
    assert list(map(value_free, meta.layers)) == list(map(value_free, real.layers))
    assert (meta.samples, meta.time_steps, meta.uncounted) == (real.samples, real.time_steps, real.uncounted)
    assert meta.coverage == real.coverage
    assert meta.seen == (not any(layer.streams for layer in real.layers))


def test_by_hand() -> None:
    counts = shaped(nn.Sequential(nn.Linear(20, 7), nn.Linear(7, 3)), torch.ones(4, 20))
    assert [layer.dense_macs for layer in counts.layers] == [4 * 20 * 7, 4 * 7 * 3]
    assert [layer.elements for layer in counts.layers] == [4 * 20, 4 * 7]
    assert counts.per_inference("dense_macs") == 20 * 7 + 7 * 3
    assert counts.conditions.inputs == ""


def test_the_activity_is_unknown_and_not_zero() -> None:
    counts = shaped(nn.Sequential(nn.Linear(4, 3), LIF()), torch.ones(2, 4))
    layer = counts["0"]
    for name in ("acs", "macs", "driven", "effective", "nonzero", "sparsity", "domains", "graded_macs", "graded_units"):
        with pytest.raises(ActivityError, match="--assume-rate"):
            getattr(layer, name)
    with pytest.raises(ActivityError):
        counts.total()
    assert counts["1"].spikes_out is None
    assert (counts.per_inference("acs"), counts.per_inference("spikes_out"), counts.sparsity, counts.firing_rate) == (
        None,
        None,
        None,
        None,
    )
    row = counts.to_dataframe().iloc[0]
    assert row["dense_macs"] == 24
    assert row.isna()["acs"]
    again = Counts.from_dict(json.loads(counts.to_json()))
    assert again == counts
    assert '"domain"' not in counts.to_json()
    assert counts.merge(counts)["0"].elements == 16
    assert not counts.merge(counts).seen


def test_a_dense_chip_prices_shapes_as_it_prices_values_and_others_refuse() -> None:
    net, x = conv_net(), analog(1, 1, 8, 8)
    with torch.no_grad():
        real = count(net, x)
    meta = shaped(net, x)
    gpu = estimate(meta, "h100")
    assert gpu.energy is not None
    assert gpu.energy == estimate(real, "h100").energy
    for chip in ("loihi", "truenorth", "tianjic", "horowitz_fp32", "lemaire2022"):
        made = estimate(meta, chip)
        assert (made.energy, made.latency, made.verdict) == (None, None, "activity not known"), chip
        valid = sum(layer.valid_macs for layer in meta.layers)
        assert any(f"at most {valid:,} taps" in line for line in made.caveats), chip
    assert estimate(meta, "loihi").fit.cores == estimate(real, load_hardware("loihi")).fit.cores or meta.layers


def test_assumed_rates_by_hand() -> None:
    """Ten neurons that fire at 0.1 drive 10 x 0.1 x 5 taps a step; what no neuron feeds is analog and never zero."""
    net = Steps(nn.Sequential(nn.Linear(4, 10, bias=False), LIF(), nn.Linear(10, 5, bias=False), LIF()))
    counts = assume_rate(shaped(net, torch.ones(3, 1, 4)), 0.1)
    total = counts.total()
    assert total.per_inference("acs") == 3 * 10 * 0.1 * 5
    assert total.per_inference("macs") == 3 * 4 * 10
    assert total.per_inference("spikes_out") == 3 * (10 + 5) * 0.1
    assert counts["net.0"].domains == ("analog",)
    assert counts["net.2"].domains == ("spike",)
    assert counts.conditions.assumed.startswith("every neuron fires at a rate of 0.1")
    named = price_rates(shaped(net, torch.ones(3, 1, 4)), {"net.0": 0.5, "net.1": 0.2, "net.3": 0.0})
    assert named.total().per_inference("acs") == 3 * (4 * 0.5 * 10 + 10 * 0.2 * 5)
    energy = estimate(counts, "loihi").breakdown.synaptic
    assert energy.nominal == pytest.approx(15 * 23.6e-12)  # the analog layer is not supported there, and said so


@pytest.mark.parametrize(("steps", "batch"), [(3, 1), (2, 7)])
def test_a_dense_chip_costs_the_same_at_every_assumed_rate(steps: int, batch: int) -> None:
    """It does the whole operation whatever arrives: also its launches, memory and time stay."""
    net = Steps(nn.Sequential(nn.Linear(4, 10, bias=False), LIF(), nn.Linear(10, 5, bias=False), LIF()))
    shapes = shaped(net, torch.ones(steps, batch, 4))
    plain = estimate(shapes, "h100")
    for rate in (0.0, 0.1, 1.0):
        assumed = estimate(assume_rate(shapes, rate), "h100")
        assert assumed.energy is not None
        assert plain.energy is not None
        assert assumed.energy.nominal == pytest.approx(plain.energy.nominal, rel=1e-5)
        assert assumed.latency is not None
        assert plain.latency is not None
        assert assumed.latency.nominal == pytest.approx(plain.latency.nominal, rel=1e-5)


def test_a_rate_needs_neurons() -> None:
    with pytest.raises(UsageError, match="no spiking neuron"):
        assume_rate(shaped(nn.Linear(4, 3), torch.ones(1, 4)), 0.1)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_forward_that_asks_for_values_is_told_why() -> None:
    with pytest.raises(UsageError, match="With --meta tensors have shapes and no values"):
        shaped(Branches(), torch.ones(1, 4))


SMALL = "benchmarks.large:spikformer_small"
SHAPE = ("--meta", "--input-shape", "2,1,3,32,32", "--time-axis", "0")


def written(cli: Cli, folder: Path, *options: object) -> tuple[str, dict[str, str]]:
    files = {form: folder / form for form in ("json", "html", "markdown", "csv", "layers_csv", "latex")}
    targets = [part for form, file in files.items() for part in (f"--{form.replace('_', '-')}", file)]
    answer = cli("profile", SMALL, *SHAPE, "--hardware", "h100,loihi", *targets, *options)
    assert answer.code == 0, answer.err
    return answer.out, {form: file.read_text(encoding="utf-8") for form, file in files.items()}


def test_every_output_says_unknown(cli: Cli, tmp_path: Path) -> None:
    shown, files = written(cli, tmp_path)
    assert "ACTIVITY NOT KNOWN" in shown
    assert "ACs and MACs not known" in shown
    for form in ("html", "markdown", "latex"):
        assert "ACTIVITY NOT KNOWN" in files[form], form
    rows = list(csv.DictReader(io.StringIO(files["csv"])))
    assert {(r["acs"], r["macs"], r["sparsity"], r["activity"]) for r in rows} == {
        ("", "", "", "not known, counted from shapes")
    }
    assert all(int(float(r["dense_macs"])) > 0 for r in rows)
    assert {r["acs"] for r in csv.DictReader(io.StringIO(files["layers_csv"])) if r["role"] == "synaptic"} == {""}
    document = json.loads(files["json"])
    streams = [s for layer in document["layers"] for s in layer.get("streams", ())]
    assert streams
    assert not any(s["seen"] for s in streams)


def test_every_output_says_assumed(cli: Cli, tmp_path: Path) -> None:
    shown, files = written(cli, tmp_path, "--assume-rate", "0.1")
    assert "ASSUMED ACTIVITY" in shown
    for form in ("html", "markdown", "latex"):
        assert "ASSUMED ACTIVITY" in files[form], form
    for form in ("csv", "layers_csv"):
        assert all(r["activity"].startswith("assumed") for r in csv.DictReader(io.StringIO(files[form]))), form
    assert "1000000" not in shown  # samples that nobody counted
    assert json.loads(files["json"])["conditions"]["assumed"].startswith("every neuron fires at a rate of 0.1")


def test_options_that_do_not_go_together(cli: Cli, tmp_path: Path) -> None:
    rates = tmp_path / "rates.json"
    rates.write_text("{}", encoding="utf-8")
    for options, words in (
        (("--witness",), "--meta and --witness"),
        (("--rates", rates, "--assume-rate", "0.1"), "--rates and --assume-rate"),
    ):
        answer = cli("profile", SMALL, *SHAPE, *options)
        assert (answer.code, words in answer.err) == (2, True), answer.err


def test_shapes_that_no_count_can_hold_are_refused() -> None:
    with pytest.raises(InputError, match="positive sizes"):
        shapes.inputs((2**25, 2**25), (), 0)


def test_seven_billion_parameters_take_no_memory(cli: Cli) -> None:
    """2 x 32000 x 4096 + 32 (4 x 4096^2 + 3 x 4096 x 11008 + 2 x 4096) + 4096 parameters; 26 GB if they had values."""
    answer = cli(
        "profile", "benchmarks.large:decoder_7b", "--meta", "--input-shape", "1,16", "--hardware", "none", "--json", "-"
    )
    document = json.loads(answer.out)
    assert document["coverage"]["parameters_total"] == 6_738_415_616
    width, hidden, words, steps = 4096, 11008, 32000, 16
    weights = 32 * (4 * width * width + 3 * width * hidden) + words * width
    attention = 32 * 2 * steps * steps * width
    assert sum(layer.get("dense_macs", 0) for layer in document["layers"]) == steps * weights + attention


def test_a_spiking_transformer_has_the_layers_its_authors_list() -> None:
    """Spikingformer-8-512, layer by layer: kernel area x input channels x output channels x places x 4 steps.

    Left out: the authors multiply keys by values first, our net queries by keys; their head runs once, ours at every step.
    """
    published = [
        row
        for row in read(shipped("conventions") / "published" / "spikingformer_8_512.yaml").value["layers"]
        if row["kind"] == "conv"
    ]
    mode = shapes.mode()
    with mode:
        net = large.SpikingTransformer(512, 8, 8, 1000)
    counts = shaped_at(mode, net, 4, 1, 3, 224, 224)
    ours = [layer for layer in counts.layers if layer.role == "synaptic" and "matmul" not in layer.path][:-1]
    assert len(ours) == len(published) == 5 + 8 * 6
    for layer, row in zip(ours, published, strict=True):
        (cin, cout), (height, width), (kh, kw) = row["channels"], row["input"], row["kernel"]
        assert layer.dense_macs == 4 * cin * cout * height * width * kh * kw, (layer.path, row["path"])


def test_the_first_layer_of_the_wide_one_is_as_published() -> None:
    """96 channels of its own width: 3 x 96 x 9 x 224 x 224 x 4 = 520,224,768, as conventions/published/tables.yaml has it."""
    mode = shapes.mode()
    with mode:
        net = large.spikformer_8_768()
    counts = shaped_at(mode, net, 4, 1, 3, 224, 224)
    assert counts["patches.0.conv"].dense_macs == 520_224_768
    assert counts.coverage.parameters_total == 66_357_064


def shaped_at(mode: Any, net: nn.Module, *shape: int) -> Counts:
    x = shapes.only(mode, (torch.empty(shape, device="meta"),))
    return count_workload(Workload("net", net.eval(), x, {}, "module", False, None, time_axis=0, mode=mode))


@pytest.mark.parametrize("command", ["measure", "init"])
def test_what_runs_on_values_refuses_shapes(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = cli(command, Path(__file__).parents[1] / "examples" / "digits" / "digits_ann.pt2", "--meta")
    assert found.code == 2 and f"--meta: {command} runs the model on values" in found.err
