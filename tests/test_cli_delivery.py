"""What a report command writes: every format, charts, rows chosen; colour and progress only where they belong."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snnenergy import Counts, errors
from snnenergy.cli import output
from snnenergy.cli.delivery import Look, Targets, formats
from snnenergy.counts import Conditions
from snnenergy.report import document
from tests import test_report_records as made
from tests.conftest import ROOT, Cli
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


def test_a_table_waits_for_no_other_format() -> None:
    code = """
import atexit, sys
from snnenergy.cli import main
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, "report", str(ROOT / "reports" / "digits.json")],
        check=True, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip  # one call
    loaded = set(ran.stderr.split())
    assert "snnenergy.report.terminal" in loaded
    assert not loaded & {f"snnenergy.report.{form}" for form in ("html", "charts", "latex", "markdown", "tables")}


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


def test_what_goes_with_figures_says_so_before_any_work(cli: Cli, tmp_path: Path) -> None:
    for command in ("profile", "compare", "report", "convert-estimate"):
        assert "--figure-format: goes with --figures" in cli(command, "none.json", "--figure-format", "pdf").err
        assert "no such folder" in cli(command, "none.json", "--figures", tmp_path / "none").err


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


def _choices(page: Path) -> tuple[list[str], list[int]]:
    """The rooflines of a page, and how many widths and batches each of its pairs offers."""
    (text,) = re.findall(r'<script id="drawings"[^>]*>([^<]*)</script>', page.read_text(encoding="utf-8"))
    drawings = json.loads(text)
    return [r["name"] for r in drawings["roofs"]], [len(p["even"]["variants"]) for p in drawings["pairs"] if p["even"]]


def test_a_page_has_the_rooflines_and_choices_of_its_chips_also_from_a_stored_report(cli: Cli, tmp_path: Path) -> None:
    stored, again, wide = ROOT / "reports" / "digits.json", tmp_path / "again.html", tmp_path / "wide.html"
    assert cli("report", stored, "--html", again).code == 0
    roofs, variants = _choices(again)
    assert roofs == ["h100_sxm"]
    assert max(variants) == 5 * 5  # widths as counted, 4, 8, 16, 32; batches 1, 4, 16, 64, 256
    assert _choices(ROOT / "reports" / "digits.html") == (roofs, variants)
    assert cli("report", stored, "--hardware", "h100", "--bits", 8, "--html", wide).code == 0
    assert _choices(wide) == (["h100_sxm"], [0])  # priced at a chosen width: there the choices do not start


def test_a_stored_report_that_today_is_priced_otherwise_offers_no_choice(cli: Cli, tmp_path: Path) -> None:
    old = json.loads((ROOT / "reports" / "digits.json").read_text(encoding="utf-8"))
    for estimate in old["estimates"]:
        for end in estimate["energy"] or {}:
            estimate["energy"][end] *= 2
    (tmp_path / "old.json").write_text(json.dumps(old), encoding="utf-8")
    assert cli("report", tmp_path / "old.json", "--html", tmp_path / "old.html").code == 0
    assert _choices(tmp_path / "old.html") == (["h100_sxm"], [0, 0])


def test_what_compares_badly_is_said_or_refused(cli: Cli, tmp_path: Path) -> None:
    """Stored Counts of another schema, of one name, of nothing, of other samples, rules, and names that attack."""
    nasty = made.nasty()
    for name, document_ in (
        ("schema", made.digits_ann().to_dict() | {"schema_version": 99}),
        ("empty", Counts.build("empty", []).to_dict()),
        ("fewer", dataclasses.replace(made.digits_snn("fewer"), samples=100).to_dict()),
        ("ruled", dataclasses.replace(made.digits_ann("ruled"), conditions=Conditions(rules=7)).to_dict()),
        ("ann", made.digits_ann("ann").to_dict()),
        ("nasty", next(iter(nasty.counts.values())).to_dict()),
    ):
        (tmp_path / name).write_text(json.dumps(document_), encoding="utf-8")
    ann, priced = tmp_path / "ann", ("--hardware", "h100")
    assert (
        "schema_version 99: this version of snnenergy reads 1" in cli("report", ann, tmp_path / "schema", *priced).err
    )
    assert "two models are called 'ann'" in cli("report", ann, ann, *priced).err
    for name, says in (
        ("fewer", "different samples"),
        ("ruled", "different counting rules"),
        ("empty", "no layer was counted"),
    ):
        answer = cli("report", ann, tmp_path / name, *priced)
        assert (answer.code, answer.err) == (0, "")
        assert says in " ".join(answer.out.split()), name
    out = {form: tmp_path / f"nasty.{form}" for form in formats(Look())}
    options = [part for form, path in out.items() for part in (f"--{form.replace('_', '-')}", path)]
    assert cli("report", tmp_path / "nasty", *priced, *options).code == 0
    assert "\x1b" not in cli("report", tmp_path / "nasty", *priced).out
    assert all("\x1b" not in path.read_text(encoding="utf-8") for path in out.values())
    assert "<img" not in re.sub(r"(?s)<script.*?</script>", "", out["html"].read_text(encoding="utf-8"))
    for form in ("csv", "layers_csv"):
        for row in csv.reader(io.StringIO(out[form].read_text(encoding="utf-8"))):
            assert not any(cell.startswith(tuple("=+@")) for cell in row)


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


def test_layers_are_cut_on_a_terminal_only(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped is whole; --top N cuts it, --top 0 never."""
    made.spikformer().save(tmp_path / "large.json")
    command = ("report", tmp_path / "large.json", "--hardware", "tianjic")
    piped = cli(*command).out
    assert "more)" not in piped
    assert "(90 more)" in cli(*command, "--top", 10).out
    monkeypatch.setattr(output, "watched", lambda: True)
    assert "  88 more layers stand in one row: --top 0 shows all\n" in cli(*command).out
    assert cli(*command, "--top", 0).out == piped
