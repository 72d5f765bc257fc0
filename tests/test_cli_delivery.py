"""What a report command writes: every format, charts, rows chosen; colour and progress only where they belong."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest

from snnenergy import Counts, errors
from snnenergy.cli import output
from snnenergy.cli.delivery import Look, Targets, formats
from snnenergy.report import document
from tests.conftest import Cli
from tests.test_cli import counts


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Counts of an ANN and of an SNN."""
    analog = {"domain": "analog", "elements": 20, "nonzero": 20, "driven": 200, "effective": 160}
    fc = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 200, "streams": [analog], "weights": 100}
    Counts.build("ann", [fc | {"output_elements": 20, "fan_in": 10, "fan_out": 10}], samples=2).save(tmp_path / "a")
    counts("snn").save(tmp_path / "s")
    return tmp_path / "a", tmp_path / "s"


def test_every_format_is_an_option_and_every_option_a_format() -> None:
    assert list(formats(Look())) == [field.name for field in dataclasses.fields(Targets)]


def test_all_formats_say_the_same_energy(cli: Cli, pair: tuple[Path, Path], tmp_path: Path) -> None:
    targets = {form: tmp_path / f"out.{form}" for form in formats(Look())}
    options = [part for form, path in targets.items() for part in (f"--{form.replace('_', '-')}", path)]
    assert cli("report", *pair, "--hardware", "h100,tianjic", *options).code == 0
    comparison = document.read(targets["json"])
    assert document.read(targets["html"]) == comparison
    rows = list(csv.DictReader(io.StringIO(targets["csv"].read_text())))
    assert [(row["model"], row["hardware"]) for row in rows] == [(e.model, e.hardware) for e in comparison.estimates]
    for row, estimate in zip(rows, comparison.estimates, strict=True):
        assert estimate.energy is not None
        assert float(row["energy_nominal_J"]) == estimate.energy.nominal
    layers = list(csv.DictReader(io.StringIO(targets["layers_csv"].read_text())))
    first = sum(float(r["energy_nominal_J"]) for r in layers if (r["model"], r["hardware"]) == ("ann", "tianjic"))
    energy = comparison.of("ann", "tianjic").energy
    assert energy is not None
    assert first == pytest.approx(energy.nominal)


def test_figures_are_written_into_the_folder(cli: Cli, pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    answer = cli("report", *pair, "--hardware", "tianjic", "--figures", tmp_path / "charts")
    assert answer.code == 0, answer.err
    made = list((tmp_path / "charts").iterdir())
    assert made
    assert all(file.suffix == ".svg" and file.read_text().startswith("<svg") for file in made)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--figures", "nowhere"), "no such folder"),
        (("--figures", ".", "--figure-format", "bmp"), "bmp"),
        (("--sort", "colour"), "colour"),
        (("--accuracy", "ann=2"), "0 to 1"),
        (("--accuracy", "0.9"), "MODEL=SHARE"),
        (("--accuracy", "bnn=0.9"), "no model 'bnn'"),
    ],
)
def test_what_cannot_be_shown_is_one_error(
    options: tuple[str, ...], found: str, cli: Cli, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    answer = cli("report", *pair, "--hardware", "tianjic", *options, "--json", out)
    assert (answer.code, answer.out) == (2, "")
    assert found in answer.err
    assert not out.exists()


def test_rows_are_sorted_and_cut(cli: Cli, pair: tuple[Path, Path]) -> None:
    cut = cli("report", pair[1], "--hardware", "tianjic", "--sort", "name", "--top", 1)
    assert cut.code == 0
    assert "\nfc " in cut.out


def test_one_report_without_options_is_the_stored_one_and_any_option_prices_anew(
    cli: Cli, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    cli("report", *pair, "--hardware", "tianjic", "--json", out)
    stored = json.loads(out.read_text())
    stored["verdict"] = "as it was written"
    out.write_text(json.dumps(stored))
    assert "as it was written" in cli("report", out).out
    assert "as it was written" not in cli("report", out, "--bits", 8).out


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert not output.color()  # captured: no terminal
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert output.color()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.color()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.color()


def test_progress_only_where_somebody_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.progress("counting")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", watched := Terminal())
    output.progress("counting")
    assert watched.getvalue() == "snnenergy: counting ...\n"


def test_a_table_keeps_to_the_width_and_shows_hidden_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    drawn = output.table(("name", "n"), [("a" * 100, "1"), ("b\x1b[31m", "22")])
    assert max(map(len, drawn.splitlines())) <= 40
    assert "\x1b" not in drawn
    assert "\\x1b" in drawn


def test_writing_where_one_may_not_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="cannot be written"):
        output.write(str(tmp_path / "absent" / "a.json"), "x")
