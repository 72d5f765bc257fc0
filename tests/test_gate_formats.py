"""A verdict in the formats of CI: sizes, escapes, lines."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import snnenergy
from snnenergy import Counts
from snnenergy.counts import Conditions
from snnenergy.gate import formats, markdown, settings
from snnenergy.gate.markdown import MARKER, MAX_CHARACTERS
from snnenergy.gate.settings import Place, Placed
from snnenergy.gate.verdict import Verdict
from tests.gate_nets import CHIP, budget, net, synapses

EVIL = "fc`|<b>\n@all ::error::x%0A\x1b[31m&amp; [a](http://b) ]]>"


def judged(*budgets: object, head: Counts | None = None, base: Counts | None = None) -> Verdict:
    from snnenergy.gate.gating import verdict
    from snnenergy.hardware import load_hardware

    placed = [Placed(settings.budget(b), Place("dir,1/snn:energy.toml", 7 + i)) for i, b in enumerate(budgets)]  # type: ignore[arg-type]  # fields
    bases = None if base is None else {"net": base}
    return verdict({"net": head or net(1200)}, placed, bases, {CHIP: load_hardware(CHIP)}, accuracy={})


BROKEN = budget("acs", max_increase="2 %", reason="100 % sure: a,b")


def test_github_annotates_the_line_of_the_budget() -> None:
    lines = formats.github(judged(BROKEN, budget("acs", max=9, level="warn"), base=net(1000))).splitlines()
    assert lines[0] == (
        "::error file=dir%2C1/snn%3Aenergy.toml,line=7,title=energy budget::acs of net: 1.3 k, +18.2 %25 from 1.1 k, "
        "more than max_increase 2 %25%0Agrew: fc +20 pJ%0Awhy: 100 %25 sure: a,b"
    )
    assert lines[1].startswith("::warning file=dir%2C1/snn%3Aenergy.toml,line=8,")
    assert lines[-1].startswith("::notice title=energy gate::FAILED: 1 of 2 budgets broken")


def test_github_paths_are_from_the_root_of_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert formats._shown("snnenergy.toml") == "sub/snnenergy.toml"


def evil() -> Verdict:
    layers = [synapses(EVIL, 2000), synapses("out", 1)]
    return judged(BROKEN, head=Counts.build(EVIL, layers, conditions=Conditions(inputs="ab")), base=net(1000))


def test_names_from_a_model_file_stay_text_in_every_format() -> None:
    verdict = evil()
    commands = formats.github(verdict).splitlines()
    assert len(commands) == 2  # one budget, one verdict: no line of the layer's name
    assert all(line.startswith(("::error file=", "::notice title=")) for line in commands)
    for form in (formats.text, markdown.render, formats.github, formats.junit):
        assert "\x1b" not in form(verdict)
    page = markdown.render(verdict)
    assert "<b>" in page
    assert "<b>" not in re.sub(r"``.*?``", "", page)  # only inside code spans
    assert "\n@all" not in page
    ElementTree.fromstring(formats.junit(verdict))
    assert json.loads(formats.json(verdict))["models"]["net"]["layers"][0]["name"] == EVIL


def test_junit_counts_what_it_holds() -> None:
    rules = (BROKEN, budget("acs", max=9, level="off"), budget("energy", chip=CHIP, max="1 J"))
    suites = ElementTree.fromstring(formats.junit(judged(*rules, base=net(1000))))
    cases = list(suites.iter("testcase"))
    assert (suites.get("tests"), suites.get("failures"), suites.get("skipped"), suites.get("errors")) == (
        "4",
        "1",
        "1",
        "0",
    )
    assert len(cases) == 4
    (failure,) = suites.iter("failure")
    assert failure.text is not None
    assert "layers that grew: fc +20 pJ" in failure.text
    missing = ElementTree.fromstring(formats.junit(judged(BROKEN)))
    assert (missing.get("errors"), missing.get("failures"), missing.get("skipped")) == ("1", "0", "1")


def test_json_says_everything_and_re_adds() -> None:
    record = json.loads(formats.json(judged(BROKEN, budget("energy", chip=CHIP, max="1 J"), base=net(1000))))
    assert (record["passed"], record["exit_code"]) == (False, 1)
    broken, held = record["budgets"]
    assert (broken["before"], broken["after"], broken["state"]) == (1100, 1300, "broken")
    layers = record["models"]["net"]["layers"]
    assert sum(row["head"] - row["base"] for row in layers) == pytest.approx(held["after"] - held["before"])
    assert broken["where"] == "dir,1/snn:energy.toml:7"


def test_markdown_puts_the_verdict_first_and_provenance_last() -> None:
    page = markdown.render(judged(BROKEN, base=net(1000)))
    blocks = page.split("\n\n")
    assert blocks[0] == MARKER
    assert blocks[1].startswith("**FAILED: 1 of 1 budget broken: acs of net")
    assert blocks[2].startswith("| budget | before | now | change | limit | used |")
    assert "| `acs of net` | 1.1 k | 1.3 k | +18.2 % | 1.12 k | 115.9 % | **broken** |" in blocks[2]
    assert blocks[3].splitlines()[:2] == [
        "### Why",
        "- *broken*: acs of net: 1.3 k, +18.2 % from 1.1 k, more than max\\_increase 2 % (kept because: 100 % sure: a,b)",
    ]
    assert "<details><summary>Layers of net by size of change" in page
    assert blocks[-1].startswith("- snnenergy")


def test_markdown_of_much_too_much_stays_a_comment() -> None:
    heads, bases = {}, {}
    for i in range(120):
        name = f"model{i:03}-" + "x" * 80
        rows = [synapses(f"layer{j:03}." + "y" * 90, 100 + i + j) for j in range(40)]
        heads[name] = Counts.build(name, rows, conditions=Conditions(inputs="ab"))
        bases[name] = Counts.build(name, [synapses(r["path"], 99) for r in rows], conditions=Conditions(inputs="ab"))
    verdict = snnenergy.check(heads, [budget("acs", max_increase="1 %"), budget("acs", max=1)], bases)
    page = markdown.render(verdict)
    assert 30_000 < len(page) <= MAX_CHARACTERS
    assert "more budgets, all less used" in page
    assert "more sections did not fit here" in page
    assert page.count("<details>") == page.count("</details>")
    assert len(formats.github(verdict).splitlines()) == formats.MAX_ANNOTATIONS + 2
