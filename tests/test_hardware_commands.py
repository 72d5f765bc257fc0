"""`snnenergy hardware`: list with evidence and filters, BibTeX, a new profile, and the walk of docs/hardware.md."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from snnenergy.cost import validate
from snnenergy.hardware import bibtex, lint, list_hardware, load_hardware, skeleton
from snnenergy.hardware.gaps import gaps
from tests.conftest import ROOT, Cli


def rows(out: str) -> dict[str, list[str]]:
    return {line.split()[0]: re.split(r"  +", line) for line in out.splitlines()[1:]}


def test_the_list_says_how_well_each_chip_is_known(cli: Cli) -> None:
    listed = rows(cli("hardware", "list").out)
    assert set(listed) == {chip.name for chip in list_hardware()}
    assert listed["loihi"] == ["loihi", "14 nm", "neuromorphic", "validated 0.85 to 1.11, 6 measurements"]
    assert listed["jetson_agx_orin"][3] == "validated 0.43 to 0.43, 1 measurement"
    assert listed["odin"][3] == "sourced"  # its two rows were part of what was published together
    assert listed["h100_pcie"][3] == "proxy"
    assert listed["akida"][3] == "unpublished"


def test_filters_leave_what_they_name(cli: Cli) -> None:
    jetsons = {"jetson_orin_nano", "jetson_xavier_nx", "jetson_nano"}
    assert set(rows(cli("hardware", "list", "--kind", "processor", "--evidence", "proxy").out)) >= jetsons
    assert set(rows(cli("hardware", "list", "--kind", "datapath", "--node", "7 nm").out)) == {
        f"jouppi_{format_}" for format_ in ("int8", "int32", "fp16", "fp32")
    }
    assert set(rows(cli("hardware", "list", "--node", "12 NM").out)) == {"northpole", "v100_sxm"}
    made = json.loads(cli("hardware", "list", "--evidence", "validated", "--json", "-").out)
    assert {chip["name"] for chip in made} == {c.name for c in list_hardware() if validate.band(c) != "unvalidated"}
    answer = cli("hardware", "list", "--kind", "quantum")
    assert answer.code == 2
    assert "expected one of neuromorphic, processor, datapath" in answer.err


def test_every_source_is_cited_under_its_key(cli: Cli) -> None:
    out = cli("hardware", "show", "odin", "--cite").out
    assert re.findall(r"@(\w+){(\w+),", out) == [("article", "frenkel2019"), ("misc", "odindoc")]
    assert "doi = {10.1109/TBCAS.2018.2880425}" in out
    for chip in list_hardware():
        text = bibtex.render(chip)
        assert re.findall(r"@\w+{(\w+),", text) == list(chip.sources)
        assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
        assert not re.search(r"(?<!\\)[&%$#]", re.sub(r"(url|doi) = .*", "", text))


def test_what_is_shown_of_a_file_fits_the_terminal_and_cannot_steer_it(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "my_chip.yaml"
    file.write_text(
        skeleton.render("my_chip").replace("title: Power of my chip", r'title: "\e[2Jgone"'), encoding="utf-8"
    )
    for options in ((), ("--cite",)):
        shown = cli("hardware", "show", file, *options)
        assert shown.code == 0
        assert "gone" in shown.out
        assert "\x1b" not in shown.out
    for chip in list_hardware():
        lines = cli("hardware", "show", chip.name).out.splitlines()
        assert max(len(line) for line in lines if " http" not in line) <= 80, chip.name


def test_a_new_profile_is_sound_and_never_overwrites(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "my_chip.yaml"
    assert cli("hardware", "init", file).code == 0
    assert lint(file) == []
    assert file.read_text(encoding="utf-8") == skeleton.render("my_chip")
    file.write_text("mine")
    assert cli("hardware", "init", file).code == 2
    assert file.read_text() == "mine"
    assert cli("hardware", "init", file, "--force").code == 0
    for wrong in ("My-Chip.yaml", "chip.toml"):
        assert cli("hardware", "init", tmp_path / wrong).code == 2
        assert not (tmp_path / wrong).exists()
    assert cli("hardware", "init", tmp_path / "absent" / "chip.yaml").code == 2


def test_every_gap_of_every_chip_is_explained() -> None:
    for chip in list_hardware():
        told = dict(gaps(chip))
        assert set(chip.unknown) <= set(told)
        assert all(told.values())
        assert ("latency" in told) == (chip.latency.model == "none")


def test_the_walk_of_the_page_can_be_walked(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8").split("## A chip of your own")[1]
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "reports" / "digits.json", tmp_path)
    answers: dict[str, Any] = {}
    for kind, text in re.findall(r"```(console|diff)\n(.*?)```", walk, re.DOTALL):
        lines = text.splitlines()
        if kind == "console":
            for line in lines:
                answers[line] = cli(*shlex.split(line.removeprefix("$ snnenergy ")))
                assert answers[line].code == 0, line
            continue
        file = tmp_path / "my_chip.yaml"
        profile = file.read_text(encoding="utf-8")
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("-"):
                assert profile.count(line[1:] + "\n") == 1, line
                new = following[1:] + "\n" if following.startswith("+") else ""
                profile = profile.replace(line[1:] + "\n", new)
        file.write_text(profile, encoding="utf-8")
    chip = load_hardware(tmp_path / "my_chip.yaml")
    assert chip.figures()["energy.synop"].value == pytest.approx(12.5e-12)
    assert "gap: energy.neuron_access" in answers["$ snnenergy hardware lint my_chip.yaml"].out
    assert "gap: power.static" not in answers["$ snnenergy hardware lint my_chip.yaml"].out
    report = answers["$ snnenergy report digits.json --hardware my_chip.yaml"].out
    assert "30.6 uJ" in report
    assert "@misc{mine," in answers["$ snnenergy hardware show my_chip.yaml --cite"].out
