"""Arithmetic carried to another node: the published polynomials, what they miss, and that it is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from snnenergy.cost import estimate
from snnenergy.errors import UsageError
from snnenergy.hardware import load_hardware, stored
from snnenergy.hardware.nodes import COEFFICIENTS, factor, scaled
from tests.conftest import ROOT, Cli
from tests.cost_nets import net


def test_the_equation_by_hand() -> None:
    before = 1.103 * 0.81 - 0.362 * 0.9 + 0.2767
    after = 0.1776 * 0.49 - 0.09097 * 0.7 + 0.02447
    assert factor(45, 0.9, 7, 0.7) == pytest.approx(after / before)
    for node in COEFFICIENTS:
        assert factor(node, 0.9, node, 0.9) == 1
    assert factor(45, 0.9, 7, 0.7) == pytest.approx(factor(45, 0.9, 16, 0.8) * factor(16, 0.8, 7, 0.7))


def test_it_misses_the_published_seven_nanometres_sixfold() -> None:
    chip = scaled(load_hardware("horowitz_int8"), 7)
    mac = chip.figures()["arithmetic.0.mac"].value
    assert mac == pytest.approx(0.23e-12 * 0.0566, rel=1e-3)
    published = load_hardware("jouppi_int8").figures()["arithmetic.0.mac"].value
    assert published / mac == pytest.approx(0.077 / 0.013, rel=0.01)
    told = estimate(net(), chip)
    assert told.band == "unvalidated"
    assert any("sixfold" in line for line in told.caveats)
    assert any("Stillmaker" in line for line in told.caveats)
    whole = estimate(net(), "horowitz_int8")
    assert told.energy is not None
    assert whole.energy is not None
    assert told.energy.nominal == pytest.approx(whole.energy.nominal * factor(45, 0.9, 7, 0.7))
    assert told.energy.low <= told.energy.nominal < told.energy.high < whole.energy.nominal


@pytest.mark.parametrize("node", COEFFICIENTS)
def test_only_a_smaller_node_runs_at_the_low_voltage(node: int) -> None:
    chip = load_hardware("horowitz_fp32")
    mac, before = scaled(chip, node).figures()["arithmetic.0.mac"], chip.figures()["arithmetic.0.mac"]
    volts = 0.7 if node < 45 else 0.9
    assert mac.value == pytest.approx(before.value * factor(45, 0.9, node, volts))
    assert mac.value > before.value or node <= 45
    assert (mac.value == before.value) == (node == 45)
    assert any(
        f"nm by Stillmaker & Baas 2017, {volts} V; high: 0.9 V" in line for line in scaled(chip, node).assumptions
    )


def test_a_scaled_profile_is_a_profile() -> None:
    chip = scaled(load_hardware("horowitz_int32"), 7)
    assert stored.from_dict(stored.to_dict(chip), "report") == chip
    assert {f.how for f in chip.figures().values()} == {"proxy"}


@pytest.mark.parametrize(
    ("name", "node"), [("loihi", 7), ("h100_sxm", 7), ("lemaire2022", 7), ("horowitz_int8", 5), ("jouppi_int8", 7)]
)
def test_what_does_not_scale_is_refused(name: str, node: int) -> None:
    with pytest.raises(UsageError, match=f"--scale-node {node}: "):
        scaled(load_hardware(name), node)


def test_the_command_says_so_in_its_report(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "reports" / "digits.json", tmp_path)
    answer = cli("report", "digits.json", "--hardware", "horowitz_int8", "--scale-node", 7)
    assert answer.code == 0
    assert "horowitz_int8_7nm" in answer.out
    assert "sixfold" in " ".join(answer.out.split())
    assert "sixfold" not in cli("report", "digits.json", "--hardware", "horowitz_int8").out
    assert cli("report", "digits.json", "--hardware", "loihi", "--scale-node", 7).code == 2
    assert cli("report", "digits.json", "--scale-node", 7).code == 2
