"""Documentation is run: README and docs, their code and what they say it prints; doctests; links; and no loose ends."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

import snnenergy
from tests.conftest import ROOT
from tests.test_cli import commands

BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<file>\S+))?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
OTHERS = ("benchmarks/README.md", "reports/README.md", "examples/*/README.md", "docs/*.md")
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(page for glob in OTHERS for page in ROOT.glob(glob))])


def place(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run_blocks(page: Path) -> int:
    """Runs a page's Python blocks in one namespace; a text block after one is what it prints.  How many ran."""
    names: dict[str, object] = {"__name__": "docs"}
    printed = ""
    ran = 0
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        kind, file, code = block["kind"], block["file"], block["code"]
        if file:
            Path(file).write_text(code, encoding="utf-8")
        elif kind == "python":
            line = page.read_text(encoding="utf-8")[: block.start()].count("\n") + 1
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * line + code, str(page), "exec"), names)
            printed = out.getvalue()
            ran += 1
        elif kind == "text":
            assert printed == code, page
    return ran


@pytest.mark.parametrize("page", [p for p in PAGES if "```python" in p.read_text(encoding="utf-8")], ids=place)
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_blocks(page) > 0


def test_a_block_that_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(6 * 7)\n```\n\n```text\n43\n```\n")
    with pytest.raises(AssertionError):
        run_blocks(page)


def test_the_readme_shows_its_example_by_line_25() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "```text" in lines[:23]
    (example,) = [m["code"] for m in BLOCK.finditer("\n".join(lines[:25])) if m["kind"] == "python"]
    assert len([line for line in example.splitlines() if line.strip()]) == 6


def test_the_readme_says_both_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -c constraints.txt -e . && snnenergy demo\n" in text
    assert "pip install -c constraints.txt -e '.[dev]' && pytest\n" in text
    assert "virtual environment" in text


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_commands_that_a_page_shows_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"(?:^    |^\$ |`)(snnenergy [a-z][^`\n#]*)", text, re.MULTILINE)
    known = {name: {option for parameter in one.params for option in parameter.opts} for name, one in commands()}
    for line in lines:
        words = shlex.split(line)[1:]
        for name in called(words):
            assert name in known, f"{place(page)}: {line}"
            assert {word for word in words if word.startswith("--")} <= known[name], f"{place(page)}: {line}"


def called(words: Sequence[str]) -> list[str]:
    """The commands of a line, such as `hardware list|show FILE`: a group's by both its words."""
    if words[0] not in ("hardware", "conventions"):
        return [words[0]]
    return [f"{words[0]} {name}" for name in words[1].split("|")] if len(words) > 1 else []


def test_the_readme_counts_the_published_conventions() -> None:
    from snnenergy.cost.conventions import list_conventions

    assert len([one for one in list_conventions() if one.name != "ours"]) == 12
    assert "sets twelve published\ncounting rules beside ours" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if "://" not in target:
            assert (page.parent / name).exists(), target
            assert not anchor or anchor in anchors(page.parent / name if name else page), target


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def modules() -> list[str]:
    found = pkgutil.walk_packages(snnenergy.__path__, "snnenergy.")
    return [m.name for m in found if m.name != "snnenergy.__main__"]


def test_doctests() -> None:
    ran = 0
    for name in modules():
        results = doctest.testmod(importlib.import_module(name))
        assert results.failed == 0, name
        ran += results.attempted
    assert ran > 0


def test_the_changelog_names_every_command() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    spans = [words for span in re.findall(r"`(?:snnenergy )?([^`]+)`", text) if (words := span.split())]
    named = {n for words in spans for n in called(words)}
    assert not {name for name, _ in commands()} - named


def test_the_design_page_names_every_room_and_exit_code() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    package = ROOT / "snnenergy"
    rooms = {f"`{p.parent.name}/`" for p in package.glob("*/__init__.py")}
    rooms |= {f"`{p.name}`" for p in package.glob("*.py") if not p.name.startswith("__")}
    assert not {room for room in rooms if room not in text}
    for code in (0, 1, 2, 3, 4, 5, 70, 130):
        assert f"| {code} |" in text
