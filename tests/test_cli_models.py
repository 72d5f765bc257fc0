"""The command line with real models: the digits pair that ships, end to end, against a brute-force count."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnenergy import Counts
from snnenergy.load import Workload, load
from tests.conftest import ROOT, Answer, Cli

DIGITS = ROOT / "examples" / "digits"
SHOWN = 20
"""Test images of the brute-force count: enough to meet every value, few enough for Python loops in numpy."""
Array = np.ndarray[Any, np.dtype[Any]]


class Tapped(torch.fx.Interpreter):
    """Runs a graph and keeps, per weight, the inputs that its contractions saw; no part of what is tested."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, list[tuple[str, Array, Array, tuple[Any, ...]]]] = {}

    def run_node(self, node: torch.fx.Node) -> Any:
        op = str(node.target)
        if op in ("aten.conv2d.default", "aten.linear.default"):
            x, weight, *rest = self.fetch_args_kwargs_from_env(node)[0]
            self.seen.setdefault(str(node.args[1]), []).append((op, x.numpy(), weight.numpy(), tuple(rest)))
        return super().run_node(node)


def conv_taps(x: Array, weight: Array, stride: int, padding: int) -> tuple[int, int]:
    """(driven, effective) taps of a conv2d by visiting every tap of every output: in range, input (and weight) not zero."""
    _, channels, height, width = x.shape
    out_channels, _, rows, columns = weight.shape
    live = x != 0
    kept = (weight != 0).sum(axis=0)  # weights that an input channel drives through each tap
    driven = effective = 0
    for i in range((height + 2 * padding - rows) // stride + 1):
        for j in range((width + 2 * padding - columns) // stride + 1):
            for r in range(rows):
                for c in range(columns):
                    y, z = i * stride + r - padding, j * stride + c - padding
                    if 0 <= y < height and 0 <= z < width:
                        for channel in range(channels):
                            events = int(live[:, channel, y, z].sum())
                            driven += events * out_channels
                            effective += events * int(kept[channel, r, c])
    return driven, effective


def taps(op: str, x: Array, weight: Array, rest: tuple[Any, ...]) -> tuple[int, int]:
    if op == "aten.linear.default":  # one tap per non-zero input and output; effective where the weight is not zero
        live = (x != 0).reshape(-1, x.shape[-1])
        return int(live.sum()) * len(weight), int((live @ (weight != 0).T.astype(np.int64)).sum())
    stride = rest[1][0] if len(rest) > 1 else 1
    padding = rest[2][0] if len(rest) > 2 else 0
    return conv_taps(x, weight, stride, padding)


def test_the_brute_force_count_by_hand() -> None:
    x, weight = np.zeros((1, 1, 3, 3)), np.ones((2, 1, 3, 3))
    x[0, 0, 1, 1] = 1  # the centre is reached by all nine taps of a padded 3 x 3, in two output channels
    assert conv_taps(x, weight, 1, 1) == (18, 18)
    x[0, 0, 0, 0] = 1  # a corner only by four
    assert conv_taps(x, weight, 1, 1) == (26, 26)
    weight[:, 0, 1, 1] = 0  # the middle tap of each output channel is a zero weight: both inputs lose it, twice
    assert conv_taps(x, weight, 1, 1) == (26, 22)
    assert taps("aten.linear.default", np.array([[1, 0, 2]]), np.array([[1, 1, 0], [1, 1, 1]]), ()) == (4, 3)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first test images, as the shipped file holds them."""
    with np.load(DIGITS / "digits.npz", allow_pickle=False) as file:
        kept = {"x": file["x"][:SHOWN], "frames": file["frames"][:, :SHOWN], "y": file["y"][:SHOWN]}
    path = tmp_path_factory.mktemp("few") / "few.npz"
    np.savez(path, **kept)
    return path


def brute_force(work: Workload) -> dict[str, tuple[int, int]]:
    """(driven, effective) by layer, over all calls of a layer."""
    module = work.module
    assert isinstance(module, torch.fx.GraphModule)
    tapped = Tapped(module)
    with torch.no_grad():
        tapped.run(*work.inputs)
    found = {}
    for name, calls in tapped.seen.items():
        pairs = [taps(*call) for call in calls]
        found[name.removesuffix("_weight")] = (sum(d for d, _ in pairs), sum(e for _, e in pairs))
    return found


@pytest.mark.parametrize("net", ["ann", "snn"])
def test_profile_equals_the_brute_force_count_to_the_integer(net: str, cli: Cli, few: Path, tmp_path: Path) -> None:
    model, out = DIGITS / f"digits_{net}.pt2", tmp_path / "out.json"
    answer = cli("profile", model, "--input", few, "--hardware", "loihi,h100", "--json", out)
    assert answer.code == 0, answer.err
    counts = Counts.load(out)
    expected = brute_force(load(model, input=few))
    assert set(expected) == {"conv1", "conv2", "fc"}
    assert {path: (counts[path].driven, counts[path].effective) for path in expected} == expected
    assert counts.samples == SHOWN
    assert counts.coverage.complete
    assert counts.uncounted == ()


def test_the_dense_counts_of_the_digits_nets_by_hand(cli: Cli, few: Path, tmp_path: Path) -> None:
    conv1, conv2, fc = 12 * 8 * 8 * 9, 16 * 4 * 4 * 12 * 9, 10 * 256
    in_range = 12 * (3 * 8 - 2) ** 2, 16 * 12 * (3 * 4 - 1) ** 2  # per axis: the taps of 3 that a border of 1 leaves
    for net, steps in (("ann", 1), ("snn", 8)):
        out = tmp_path / f"{net}.json"
        assert cli("profile", DIGITS / f"digits_{net}.pt2", "--input", few, "--json", out).code == 0
        counts = Counts.load(out)
        assert counts.total().dense_macs == SHOWN * steps * (conv1 + conv2 + fc)
        assert [counts[p].valid_macs for p in ("conv1", "conv2")] == [SHOWN * steps * n for n in in_range]
        assert counts.time_steps == (8 if net == "snn" else None)


def test_the_spiking_net_spikes(cli: Cli, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "snn.json"
    cli("profile", DIGITS / "digits_snn.pt2", "--input", few, "--json", out)
    counts = Counts.load(out)
    assert all(counts[path].domains == ("spike",) for path in ("conv1", "conv2", "fc"))
    assert counts.total().macs == 0
    with np.load(few, allow_pickle=False) as file:
        assert counts["conv1"].nonzero == int(file["frames"].sum())
    # what a layer of neurons fires is what the next layer receives
    assert counts["lif1"].spikes_out == counts["conv2"].nonzero
    assert counts["lif2"].spikes_out == counts["fc"].nonzero
    assert counts["lif1"].updates == SHOWN * 8 * 12 * 8 * 8


def test_profile_json_holds_counts_and_estimates(cli: Cli, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    cli("profile", DIGITS / "digits_snn.pt2", "--input", few, "--hardware", "loihi,h100", "--json", out)
    estimates = json.loads(out.read_text())["estimates"]
    assert [(e["model"], e["hardware"]) for e in estimates] == [("digits_snn", "loihi"), ("digits_snn", "h100_sxm")]
    assert estimates[0]["energy"]["low"] <= estimates[0]["energy"]["nominal"] <= estimates[0]["energy"]["high"]
    priced_again = cli("report", out, "--hardware", "loihi,h100", "--json", "-")
    assert json.loads(priced_again.out)["estimates"] == estimates


def test_the_same_command_twice_writes_the_same_bytes(cli: Cli, few: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cli("profile", DIGITS / "digits_snn.pt2", "--input", few, "--json", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_whole_module_and_an_exported_one_count_alike(cli: Cli, few: Path, tmp_path: Path) -> None:
    for name in ("digits_ann.pt2", "digits_ann_model.pt"):
        assert cli("profile", DIGITS / name, "--input", few, "--hardware", "none", "--json", tmp_path / name).code == 0
    one, other = (Counts.load(tmp_path / name) for name in ("digits_ann.pt2", "digits_ann_model.pt"))
    assert one.total() == other.total()
    assert one.conditions.inputs == other.conditions.inputs


def test_synthetic_input_is_labelled(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    answer = cli("profile", DIGITS / "digits_ann_model.pt", "--input-shape", "1,1,8,8", "--json", out)
    assert answer.code == 0
    assert "activity means nothing" in " ".join(answer.out.split())
    assert Counts.load(out).conditions.synthetic
    assert Counts.load(out).total().dense_macs == 12 * 64 * 9 + 16 * 16 * 12 * 9 + 2560


# Demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """The demo, run once."""
    import subprocess
    import sys

    out = tmp_path_factory.mktemp("demo")
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "snnenergy", "demo"],
        cwd=out,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return out, Answer(done.returncode, done.stdout, done.stderr)


def test_the_demo_prints_one_comparison_and_the_paths_of_its_report(shown: tuple[Path, Answer]) -> None:
    out, answer = shown
    assert answer.code == 0, answer.err
    rows = {tuple(line.split()[:2]): line for line in answer.out.splitlines() if line.startswith(("ann  ", "snn  "))}
    assert set(rows) == {
        (net, chip) for net in ("ann", "snn") for chip in ("h100_sxm", "truenorth", "loihi", "tianjic")
    }
    for chip in ("truenorth", "loihi"):
        assert "not priced" in rows["ann", chip]
        assert "analog: not supported" in rows["ann", chip]
    for net in ("ann", "snn"):
        assert "launch-bound" in rows[net, "h100_sxm"]
    assert len(answer.out.splitlines()) <= 24  # one screen
    for name in ("snnenergy-report.json", "snnenergy-report.html"):
        assert name in answer.out
        assert (out / name).stat().st_size > 10_000
    assert max(map(len, answer.out.splitlines())) <= 80


def test_the_demo_ran_all_shipped_images(shown: tuple[Path, Answer]) -> None:
    from snnenergy.report import document

    comparison = document.read(shown[0] / "snnenergy-report.json")
    assert comparison.models == ("ann", "snn")
    assert {counts.samples for counts in comparison.counts.values()} == {200}
    assert len(comparison.estimates) == 8
    for chip in ("truenorth", "loihi"):
        assert comparison.of("ann", chip).energy is None
        assert comparison.of("snn", chip).energy is not None
    assert document.read(shown[0] / "snnenergy-report.html") == comparison


# Bad input: one clear error, the exit code of the table, nothing written


def truncated(path: Path) -> Path:
    path.write_bytes((DIGITS / "digits_ann.pt2").read_bytes()[:5000])
    return path


def text(path: Path) -> Path:
    path.write_text("not a model\n")
    return path


def absent(path: Path) -> Path:
    return path


BAD_MODELS = [(absent, 2, "no such"), (text, 3, "expected a model file"), (truncated, 3, "")]


@pytest.mark.parametrize(("make", "code", "found"), BAD_MODELS)
def test_a_file_that_is_no_model(make: Callable[[Path], Path], code: int, found: str, cli: Cli, tmp_path: Path) -> None:
    model, out = make(tmp_path / "model.pt2"), tmp_path / "out.json"
    answer = cli("profile", model, "--input-shape", "1,1,8,8", "--json", out)
    refused(answer, code, out)
    assert str(model) in answer.err
    assert found in answer.err


@pytest.mark.parametrize(
    ("model", "options", "found"),
    [
        ("digits_ann.pt2", ("--input-shape", "1,3,8,8"), "1, 3, 8, 8"),
        ("digits_ann_model.pt", ("--input-shape", "1,1,9,9"), "1, 1, 9, 9"),
        ("digits_ann_model.pt", (), "--input-shape 1,1,"),
        ("digits_ann_model.pt", ("--input", "no-such.npz"), "no-such.npz"),
        ("digits_ann_model.pt", ("--input-shape", "1,1,8,8", "--hardware", "lohi"), "loihi"),
        ("digits_ann_model.pt", ("--input-shape", "1,1,8,x"), "--input-shape"),
    ],
)
def test_input_that_does_not_fit(model: str, options: tuple[str, ...], found: str, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    answer = cli("profile", DIGITS / model, *options, "--json", out)
    refused(answer, 2, out)
    assert found in answer.err


def refused(answer: Answer, code: int, out: Path) -> None:
    assert (answer.code, answer.out) == (code, ""), answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err.splitlines()) <= 21
    assert not out.exists()


def test_a_profile_with_a_wrong_unit(cli: Cli, few: Path, tmp_path: Path) -> None:
    chip, out = tmp_path / "loihi.yaml", tmp_path / "out.json"
    chip.write_text((ROOT / "hardware_profiles" / "loihi.yaml").read_text().replace("23.6 pJ", "23.6 ps"))
    answer = cli("profile", DIGITS / "digits_snn.pt2", "--input", few, "--hardware", chip, "--json", out)
    refused(answer, 2, out)
    assert f"{chip}:" in answer.err
    assert "energy.synop" in answer.err


# Several models, and looking into one


def test_compare_mixes_models_and_stored_counts(cli: Cli, few: Path, tmp_path: Path) -> None:
    stored = tmp_path / "ann.json"
    cli("profile", DIGITS / "digits_ann.pt2", "--input", few, "--json", stored)
    targets = {form: tmp_path / f"out.{form}" for form in ("json", "html", "markdown", "csv", "latex")}
    options = [text for form, path in targets.items() for text in (f"--{form}", path)]
    snn = f"snn={DIGITS / 'digits_snn.pt2'}"
    answer = cli("compare", f"ann={stored}", snn, "--input", few, "--hardware", "h100,loihi", *options)
    assert answer.code == 0, answer.err
    record = json.loads(targets["json"].read_text())
    assert list(record["counts"]) == ["ann", "snn"]
    assert len(record["estimates"]) == 4
    assert len(targets["csv"].read_text().splitlines()) == 5
    assert targets["html"].read_text().startswith("<!doctype html>")
    assert "\\toprule" in targets["latex"].read_text()
    assert targets["markdown"].read_text().startswith("**")


def test_inspect_shows_layers_and_runs_nothing(cli: Cli, tmp_path: Path) -> None:
    answer = cli("inspect", DIGITS / "digits_snn.pt2")
    assert answer.code == 0
    assert "296,960 MACs" in answer.out  # 8 steps of 37,120
    assert "weight 16x12x3x3" in answer.out
    found = json.loads(cli("inspect", DIGITS / "digits_ann_model.pt", "--json", "-").out)
    assert found["loadable"]
    assert found["parameters"] == 12 * 9 + 16 * 12 * 9 + 2560
    assert cli("inspect", text(tmp_path / "x.pt")).code == 3
    assert cli("inspect", tmp_path / "absent.pt").code == 2


def test_a_chip_at_an_operating_point_and_a_folder_of_profiles(cli: Cli, tmp_path: Path) -> None:
    """59.6 mW for eight ticks of 1 ms and two more until the last layer has seen the last spikes."""
    files = (DIGITS / "digits_snn.pt2", "--input", DIGITS / "digits.npz")
    answer = cli("profile", *files, "--hardware", "truenorth@0.75 V", "--json", "-")
    (estimate,) = json.loads(answer.out)["estimates"]
    assert estimate["breakdown"]["static"]["nominal"] == pytest.approx(59.6e-3 * 10e-3)
    answer = cli("profile", *files, "--hardware", "truenorth@2 V")
    assert (answer.code, answer.out) == (2, "")
    assert "has no operating point '2 V'" in answer.err
    answer = cli("profile", *files, "--hardware", "truenorth,truenorth@0.75 V")
    assert answer.code == 2
    assert "names it twice" in answer.err
    own = (ROOT / "hardware_profiles" / "loihi.yaml").read_text().replace("name: loihi\n", "name: mine\n", 1)
    (tmp_path / "mine.yaml").write_text(own.replace("aliases: [loihi1, loihi_davies]", "aliases: []"))
    answer = cli("profile", *files, "--hardware", "mine", "--profile-path", tmp_path, "--json", "-")
    assert [e["hardware"] for e in json.loads(answer.out)["estimates"]] == ["mine"]
