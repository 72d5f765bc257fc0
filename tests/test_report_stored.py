"""A report alone: it holds the profiles it was priced with, so that it is read, priced again and compared from nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snnenergy.cost import compare
from snnenergy.cost.records import Comparison
from snnenergy.counts import Answers
from snnenergy.errors import CountsError
from snnenergy.hardware import Profile, list_hardware, load_hardware, stored
from snnenergy.report import document, html
from tests import test_report_records as made
from tests.conftest import Cli

CHIP = """schema_version: 1
name: mine
title: My chip
family: neuromorphic
node: 28 nm
summary: Spikes only.
sources:
  bench: {title: Bench notes}
charges: {spike: synop, ternary: unsupported, graded: unsupported, analog: unsupported}
energy:
  synop: {value: 10 pJ, low: 8 pJ, high: 14 pJ, source: bench, how: measured}
latency: {model: none}
"""
TAPS = 8 * (1500 + 5000 + 100)
"""Effective taps of the SNN, per inference."""


# The profile as a record


@pytest.mark.parametrize("chip", list_hardware(), ids=lambda chip: chip.name)
def test_a_profile_is_written_and_read_back_to_the_bit(chip: Profile) -> None:
    for point in (None, *chip.operating_points):
        held = chip.at(point)
        text = json.dumps(stored.to_dict(held))
        again = stored.from_dict(json.loads(text), "record")
        assert (again, again.figures(), again.operating_point) == (held, held.figures(), held.operating_point)
        assert stored.to_dict(again) == json.loads(text)


def test_a_figure_is_written_with_its_unit_and_no_more_than_its_file_says() -> None:
    synop = stored.to_dict(load_hardware("loihi"))["energy"]["synop"]
    assert synop["value"] == "2.36e-11 J"
    assert "low" not in stored.to_dict(load_hardware("tianjic"))["energy"]["synop"]


def _record(**changes: Any) -> str:
    """A report on Loihi, one key of whose profile was changed."""
    record = document.record(compare({"snn": made.digits_snn()}, ["loihi"]))
    record["profiles"][0] |= changes
    return json.dumps(record)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"energy": {"synop": {"value": "23.6", "source": "davies2018", "how": "measured"}}}, "energy.synop.value: expected a quantity"),
        ({"sources": {}}, "no such source"),
        ({"unknown": {"energy.synop": "x"}}, "named unknown, but no figure of that name is null"),
        ({"extra": 1}, "profiles[0].extra: unknown key"),
        ({"name": "../x"}, "profiles[0].name"),
    ],
)  # fmt: skip  # a table, read across
def test_a_profile_in_a_record_has_the_checks_of_a_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CountsError) as caught:
        document.parse(_record(**changes))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"profiles": {}}, "report.profiles: expected a list"),
        ({"profiles": [1]}, "report.profiles[0]: expected keys and values, found 1"),
        ({"accuracy": {"nobody": 0.5}}, "report.accuracy['nobody']"),
        ({"accuracy": {"snn": 1.5}}, "report.accuracy['snn']"),
        ({"accuracy": {"snn": True}}, "report.accuracy['snn']"),
    ],
)
def test_what_stands_beside_the_estimates_is_checked(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CountsError) as caught:
        document.parse(json.dumps(json.loads(_record()) | changes))
    assert says in str(caught.value)


def test_two_profiles_of_one_name_are_refused() -> None:
    record = json.loads(_record())
    with pytest.raises(CountsError, match="'loihi' stands there twice"):
        document.parse(json.dumps(record | {"profiles": record["profiles"] * 2}))


def test_a_report_from_before_profiles_were_kept_is_read() -> None:
    record = json.loads(_record())
    del record["profiles"], record["accuracy"]
    assert document.parse(json.dumps(record)).profiles == ()


def test_profiles_and_accuracies_come_back_from_the_page() -> None:
    models = {"ann": made.digits_ann("ann"), "snn": made.digits_snn("snn")}
    chips = [load_hardware("truenorth").at("0.75 V"), load_hardware("h100")]
    comparison = compare(models, chips, accuracy={"ann": 0.97, "snn": 0.96})
    assert document.parse(html.render(comparison)) == comparison
    assert comparison.profiles[0].operating_point == "0.75 V"


# From the page alone: the chip's file is gone


@pytest.fixture
def pages(cli: Cli, tmp_path: Path) -> tuple[Path, Path]:
    """The same counts on the user's own chip at 10 pJ and at 12 pJ, beside two shipped ones; then the file is deleted."""
    for net in (made.digits_ann("ann"), made.digits_snn("snn")):
        net.save(tmp_path / net.model)
    chip = tmp_path / "mine.yaml"
    written = []
    for picojoules in (10, 12):
        chip.write_text(CHIP.replace("10 pJ", f"{picojoules} pJ"), encoding="utf-8")
        written.append(tmp_path / f"{picojoules}.html")
        done = cli(
            "report", tmp_path / "ann", tmp_path / "snn", "--hardware", f"{chip},tianjic,h100", "--html", written[-1],
            "--accuracy", "snn=0.5",
        )  # fmt: skip  # one command
        assert done.code == 0
    chip.unlink()
    return written[0], written[1]


def _estimates(cli: Cli, *arguments: object) -> Comparison:
    done = cli("report", *arguments, "--json", "-")
    assert done.code == 0, done.err
    return document.parse(done.out)


def _joules(comparison: Comparison, chip: str) -> float:
    energy = comparison.of("snn", chip).energy
    assert energy is not None
    return energy.nominal


def test_a_page_is_priced_again_on_its_own_chips(cli: Cli, pages: tuple[Path, Path]) -> None:
    ten, twelve = pages
    for page, picojoules in ((ten, 10), (twelve, 12)):
        as_it_was, anew, named = (
            _estimates(cli, page, *more) for more in ((), ("--pipeline",), ("--hardware", "mine,tianjic"))
        )
        for comparison in (as_it_was, anew, named):
            assert _joules(comparison, "mine") == pytest.approx(TAPS * picojoules * 1e-12)
            assert comparison.accuracy == {"snn": 0.5}
        assert (as_it_was.hardware, anew.hardware, named.hardware) == (
            ("mine", "tianjic", "h100_sxm"), ("mine", "tianjic", "h100_sxm"), ("mine", "tianjic"),
        )  # fmt: skip  # in pairs


def test_two_pages_of_one_chip_that_differs_ask_which(cli: Cli, pages: tuple[Path, Path]) -> None:
    ten, twelve = pages
    assert cli("report", ten, twelve).err.startswith("snnenergy: error: two models are called 'ann'")
    one = pages[0].parent / "one.json"
    assert cli("report", f"old={pages[0].parent / 'snn'}", "--hardware", "tianjic", "--json", one).code == 0
    both = _estimates(cli, one, ten)
    assert (both.models, both.hardware) == (("old", "ann", "snn"), ("tianjic", "mine", "h100_sxm"))
    record = json.loads(one.read_text())
    record["profiles"][0]["energy"]["synop"]["value"] = "1 pJ"
    one.write_text(json.dumps(record))
    assert "tianjic: the reports hold two profiles of that name" in cli("report", one, ten).err
    assert _estimates(cli, one, ten, "--hardware", "tianjic").hardware == ("tianjic",)


def test_a_renamed_model_of_a_report_keeps_its_prices(cli: Cli, tmp_path: Path) -> None:
    made.digits_snn("snn").save(tmp_path / "snn")
    cli("report", tmp_path / "snn", "--hardware", "tianjic", "--json", tmp_path / "r.json", "--accuracy", "snn=0.9")
    named = _estimates(cli, f"mine={tmp_path / 'r.json'}")
    assert (named.models, named.accuracy, [e.model for e in named.estimates]) == (("mine",), {"mine": 0.9}, ["mine"])


def test_diff_of_two_pages_names_the_figure_that_moved(cli: Cli, pages: tuple[Path, Path]) -> None:
    done = cli("diff", *pages)
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    was, now = f"{TAPS * 10e-3:.0f}", f"{TAPS * 12e-3:.0f}"  # nJ: 528 and 634
    assert ["energy", "on", "mine", now, "nJ", now, "nJ", "0"] in lines
    assert ["hardware", "profile", "mine", was, "nJ", now, "nJ", "+20", "%"] in lines
    assert ["energy.synop", "10", "pJ", "12", "pJ", "+20", "%"] in lines
    assert "figures of tianjic" not in done.out


def test_diff_of_pages_priced_under_other_options_says_so(cli: Cli, pages: tuple[Path, Path]) -> None:
    ten, _ = pages
    assert cli("report", ten, "--bits", 8, "--batch", 4, "--html", ten.parent / "narrow.html").code == 0
    done = cli("diff", ten, ten.parent / "narrow.html", "--json", "-")
    found = json.loads(done.out)
    assert found["profiles"] == {}
    names = [row["name"] for row in found["models"]["ann"]["causes"]]
    assert names == ["pricing options h100_sxm"]
    same = json.loads(cli("diff", ten, ten, "--json", "-").out)
    assert [row for model in same["models"].values() for row in model["causes"]] == []


def test_the_accuracy_of_stored_counts_is_the_reports(cli: Cli, tmp_path: Path) -> None:
    """Three of four labels were right; what the user says stands over it."""
    replace(made.digits_snn("snn"), answers=Answers(labelled=4, correct=3)).save(tmp_path / "snn.json")
    command = ("report", tmp_path / "snn.json", "--hardware", "loihi", "--json", "-")
    assert json.loads(cli(*command).out)["accuracy"] == {"snn": 0.75}
    assert json.loads(cli(*command, "--accuracy", "snn=0.9").out)["accuracy"] == {"snn": 0.9}
