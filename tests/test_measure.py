"""Calibrating and measuring: the fit finds speeds that were put in, intervals and meters by hand, the commands as a user has them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import snnenergy
from snnenergy.cost import measured
from snnenergy.cost.roofline import Terms, bandwidth
from snnenergy.cost.run import Run
from snnenergy.errors import UsageError
from snnenergy.hardware.library import parse
from snnenergy.measure import machine as machines
from snnenergy.measure import meters, render, this_machine
from snnenergy.measure.calibration import Calibration, Energies, Format
from snnenergy.measure.fitting import Sample, Speed, fit, predicted, residuals
from snnenergy.measure.probes import LAYERS, probes
from snnenergy.measure.timing import median_interval, timed
from tests.conftest import Cli

CPU = torch.device("cpu")


def _samples(speed: Speed) -> list[Sample]:
    """One kernel of 10^3 to 10^9 operations on 1 Tbit/s."""
    rows = [(Terms("matmul", 1, 10.0**n, 8.0),) for n in range(3, 10)]
    return [
        Sample("matmul", f"1e{n}", r, 1e12, predicted(Sample("matmul", "", r, 1e12, 0.0), {"matmul": speed}))
        for n, r in enumerate(rows, 3)
    ]


def test_prediction_by_hand() -> None:
    """Two kernels of 3 us, then the longer of 1,000 operations at 1 GOP/s and of 4,000 bits at 1 Gbit/s."""
    sample = Sample("conv", "", (Terms("conv", 2, 1000, 4000),), 1e9, 1.0)
    assert predicted(sample, {"conv": Speed(3e-6, 1e9)}) == pytest.approx(6e-6 + 4e-6)


def test_fit_finds_the_speed_that_made_the_times() -> None:
    true = Speed(launch=7e-6, rate=3.3e10)
    found = fit(_samples(true), "matmul", {})
    assert found.launch == pytest.approx(true.launch, rel=0.02)
    assert found.rate == pytest.approx(true.rate, rel=0.02)
    met = residuals(_samples(true), "matmul", {"matmul": found})
    assert (met.probes, round(met.low, 1), round(met.high, 1)) == (7, 1.0, 1.0)


def test_twice_too_long_and_half_too_short_weigh_the_same() -> None:
    """Two probes of one size, one four times as long: the fit lands on the geometric mean."""
    rows = (Terms("matmul", 0, 1e9, 0),)
    found = fit(
        [Sample("matmul", "a", rows, 1e12, 1.0), Sample("matmul", "b", rows, 1e12, 4.0)], "matmul", {}, launch=1e-9
    )
    assert 1e9 / found.rate == pytest.approx(2.0, rel=0.02)


def test_median_interval_by_ranks() -> None:
    """n = 100: 50 -+ 1.96 x 5 gives the 40th and the 61st value."""
    seen = median_interval([float(n) for n in range(100, 0, -1)])
    assert (seen.median, seen.low, seen.high, seen.runs) == (50.5, 40.0, 61.0, 100)


def test_a_time_is_of_the_run_and_not_of_what_comes_before() -> None:
    order: list[str] = []
    seen = timed(lambda: order.append("run"), lambda: None, lambda: order.append("before"), patience=0.05)
    assert order[::2] == ["before"] * (len(order) // 2)
    assert order[1::2] == ["run"] * (len(order) // 2)
    assert seen.low <= seen.median <= seen.high < 1e-3


def test_a_counter_that_starts_again() -> None:
    meter = meters.Meter("toy", lambda: (0.0, 0.0), wraps=(100.0, 200.0))
    assert meter.between((90.0, 0.0), (5.0, 0.0)) == 15.0
    assert meter.between((5.0, 0.0), (90.0, 1.0)) == 86.0
    assert meter.between((5.0, 190.0), (90.0, 3.0)) == 85.0 + 13.0  # the sum, 195 to 93, says nothing of it


def test_rapl_packages_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(2):
        zone = tmp_path / f"intel-rapl:{i}"
        zone.mkdir()
        (zone / "energy_uj").write_text(f"{i + 1}500000\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of package 0, already in it
    monkeypatch.setattr(meters, "RAPL", tmp_path)
    (meter,) = meters._rapl(CPU)
    assert isinstance(meter, meters.Meter)
    assert (meter.joules(), meter.wraps) == ((1.5, 2.5), (262143.32885, 262143.32885))


def test_a_counter_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied() -> tuple[float, ...]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(meters, "_zeus", lambda _: iter(["Zeus is not installed"]))
    monkeypatch.setattr(meters, "_rapl", lambda _: iter([meters.Meter("CPU packages, by RAPL", denied)]))
    meter, why = meters.find(CPU)
    assert meter is None
    assert "Zeus is not installed" in why and "Permission denied" in why


def test_no_such_device() -> None:
    with pytest.raises(UsageError, match="expected cpu, cuda"):
        this_machine("toaster")


def test_every_probe_is_a_chain_that_runs() -> None:
    for probe in probes("cpu"):
        if probe.kind != "elementwise":
            continue
        chain = probe.chain()
        assert len(list(chain.children())) == LAYERS
        assert chain(probe.input(1)).shape[0] == 1


def _calibration(energies: Energies | None) -> Calibration:
    speeds = {"elementwise": Speed(2e-6, 3e9), "matmul": Speed(5e-6, 6e10), "conv": Speed(1e-5, 5e10)}
    met = {kind: residuals(_samples(speeds["matmul"]), "matmul", {"matmul": speeds["matmul"]}) for kind in speeds}
    levels = (("L2", 1 << 20, 8e11), ("main memory", None, 2e11))
    here = machines.Machine("a processor", CPU, 1, levels[:0], {"torch": "2.13.0", "python": "3.11.7"})
    return Calibration(here, levels, (Format("fp32", 32, speeds, met),), "a meter", energies, "nothing to read")  # type: ignore[arg-type]  # keys are of the literal type


def test_a_profile_without_a_meter_prices_time_and_not_energy() -> None:
    """Linear 100 to 10 on one row: 5 us of launch, then 2,010 operations at 60 GOP/s against 35,840 bits at 800 Gbit/s."""
    chip = parse(render(_calibration(None), "mine"), "mine.yaml")
    counts = snnenergy.count(torch.nn.Linear(100, 10), torch.randn(1, 100))
    found = snnenergy.estimate(counts, chip)
    assert found.energy is None
    assert found.latency is not None
    assert found.latency.nominal == pytest.approx(5e-6 + 32 * (1010 + 100 + 10) / 8e11, rel=1e-3)
    assert any("no power counter" in line for line in found.caveats)


def test_a_profile_with_a_meter_prices_energy() -> None:
    """Static power while it runs, 5 pJ for each of 1,000 MACs, and what its memory moves."""
    energies = Energies(idle=50.0, busy=100.0, macs={"fp32": (5e-12, None)}, elementwise=2e-11, bit=4e-12)
    chip = parse(render(_calibration(energies), "mine"), "mine.yaml")
    found = snnenergy.estimate(snnenergy.count(torch.nn.Linear(100, 10, bias=False), torch.randn(1, 100)), chip)
    assert found.latency is not None and found.energy is not None
    static, macs, memory = 100.0 * found.latency.nominal, 1000 * 5e-12, 32 * 1110 * 4e-12
    assert found.energy.nominal == pytest.approx(static + macs + memory, rel=1e-3)
    assert chip.power.idle is not None and chip.power.idle.value == 50.0


def test_memory_is_as_wide_as_the_level_that_holds_a_forward() -> None:
    chip = parse(render(_calibration(None), "mine"), "mine.yaml")
    run = Run(snnenergy.count(torch.nn.Linear(2, 2), torch.randn(1, 2)), chip)
    near, far = bandwidth(run, 8 * (1 << 20)), bandwidth(run, 8 * (1 << 20) + 1)
    assert near is not None and far is not None
    assert (near.value, far.value) == (8e11, 2e11)


def test_measure_beside_a_calibrated_profile(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "this_machine.yaml").write_text(render(_calibration(None), "this_machine"))
    (tmp_path / "small.py").write_text(
        "import torch\n\ndef make():\n    return torch.nn.Linear(100, 10), torch.randn(4, 100)\n"
    )
    made = cli("measure", "small:make", "--json", "m.json", "--html", "m.html", "--markdown", "m.md")
    assert made.code == 0, made.err
    assert "time, batch 4" in made.out and "energy is not readable here" in made.out
    assert "measured on" in (tmp_path / "m.md").read_text()
    assert "measured on" in (tmp_path / "m.html").read_text()
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["measured"]["batch"] == 4
    assert 0 < record["measured"]["time"]["low"] <= record["measured"]["time"]["nominal"]
    assert math.isclose(record["estimate"]["latency"]["nominal"], 5e-6 + 32 * (1010 + 4 * 110) / 8e11, rel_tol=0.2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("calibrate", "--out", "My Machine.yaml"), "small letters"),
        (("calibrate", "--device", "cuda:99"), "no such device"),
        (("calibrate", "--out", "mine.yaml"), "mine.yaml: is there already; edit it, or pass --force to replace it"),
        (("measure", "nowhere.pt2"), "nowhere.pt2"),
    ],
)
def test_what_goes_wrong_is_said_before_any_work(
    cli: Cli, arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("of the user")
    made = cli(*arguments)
    assert made.code in (2, 3)
    assert said in " ".join(made.err.split())


def test_the_median_error_by_hand() -> None:
    """|0.9 - 1|, |1.5 - 1|, |1.2 - 1|: the middle one is 0.2."""
    assert measured.error([0.9, 1.5, 1.2]) == pytest.approx(0.2)


def test_committed_rows_are_enough_and_their_ratios_are_their_own() -> None:
    found = measured.records()
    assert any(record["device"] == "cpu" for record in found)
    for record in found:
        nets = record["nets"]
        assert len(nets) >= 6 and record["note"] and not record["failed"]
        assert {row["batch"] for row in nets} >= {1, 16}
        for row in nets:
            assert row["time_ratio"] == pytest.approx(row["predicted_s"]["nominal"] / row["measured_s"]["nominal"])
            assert row["predicted_s"]["low"] <= row["predicted_s"]["nominal"] <= row["predicted_s"]["high"]
        if record["device"] == "cpu":
            assert len(nets) >= 8
            assert measured.error([row["time_ratio"] for row in nets]) <= 0.25


def test_a_row_names_its_command() -> None:
    row = {"net": "alif_b1", "time_axis": 0}
    assert measured.command(row, "cuda") == "snnenergy measure benchmarks.measured:alif_b1 --time-axis 0 --device cuda"
