"""The LaTeX tables: their structure without a TeX, and compiled where pdflatex is found."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from snnenergy.cost.records import Comparison, Range
from snnenergy.report import document, latex
from tests import test_report_records as made
from tests.conftest import ROOT

ALL = (made.digits, made.single, made.large, made.nasty, made.empty, made.many)


def test_numbers_are_siunitx_and_a_range_has_one_unit() -> None:
    text = latex.render(made.digits())
    assert r"\qty{513}{\micro\joule} & \qtyrange{411}{770}{\micro\joule}" in text
    assert r"$\geq$ \qty{1.23}{\micro\joule}\textsuperscript{*}" in text
    assert r"truenorth & not priced & -- & -- & -- \\" in text
    assert r"digits\_snn & \num{200} & \num{8} & \num{52800} & \num{0} & \num{637000} &" in text


@pytest.mark.parametrize("value", [6.235e-10, 1.005e-7, 2.675e-5, 9.995e-4, 8.345e2])
def test_a_range_of_one_value_shows_its_digits(value: float) -> None:
    ours = made.single()
    rows = tuple(dataclasses.replace(e, energy=Range(value, value, value)) for e in ours.estimates)
    text = latex.render(dataclasses.replace(ours, estimates=rows))
    assert re.search(r"\\qty\{([\d.]+)\}\{(\S*joule)\} & \\qtyrange\{\1\}\{\1\}\{\2\}", text)


def test_time_steps_and_samples_are_not_rounded() -> None:
    ecg = document.read(ROOT / "reports" / "ecg.json")
    assert r"srnn & \num{141} & \num{1301} & \num{664000}" in latex.render(ecg)


def test_more_rows_than_a_page_holds_are_broken_over_pages() -> None:
    assert latex.render(made.digits()).startswith(r"% needs \usepackage{booktabs} \usepackage{siunitx}")
    long = latex.render(made.many())
    assert long.startswith(r"% needs \usepackage{booktabs} \usepackage{longtable} \usepackage{siunitx}")
    assert r"\begin{longtable}" in long


def test_counts_alone_are_a_table() -> None:
    text = latex.render(Comparison({"net": made.digits_ann("net")}, ()))
    assert text.count(r"\begin{table}") == 1
    assert "Energy" not in text


COMMANDS = {"begin": 1, "end": 1, "caption": 1, "num": 1, "qty": 2, "qtyrange": 3, "textsuperscript": 1, "sisetup": 1}
"""What the tables use that takes arguments, and how many; `begin{tabular}` takes one more, its columns."""
BARE = {"centering", "toprule", "midrule", "bottomrule", "geq", "small", "medskip", "setlength", "tabcolsep", "percent"}
BARE |= {"begingroup", "endgroup", "endfirsthead", "endhead", "endlastfoot"}
BARE |= {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "textquotedbl"}
BARE |= {"second", "joule"} | {p.removeprefix("\\") for p in latex.PREFIXES.values() if p}


def _tokens(text: str) -> list[str]:
    """Commands, braces and ampersands of a LaTeX text, without comments and escaped signs."""
    text = re.sub(r"(?m)^%.*$", "", text)
    text = re.sub(r"\\\\|\\[{}$&#_%]", "", text)
    return re.findall(r"\\[A-Za-z]+|[{}]|&", text)


@pytest.mark.parametrize("build", ALL)
def test_the_structure_of_the_tables_is_sound(build: type) -> None:
    """No TeX here: braces and environments close in order, commands are known and have all their arguments."""
    text = latex.render(build())
    open_now: list[str] = []
    depth = 0
    for token in _tokens(text):
        depth += (token == "{") - (token == "}")
        assert depth >= 0
        assert not token.startswith("\\") or token[1:] in {*COMMANDS, *BARE}, token
    assert depth == 0
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        assert kind == "begin" or open_now.pop() == name
        open_now += [name] if kind == "begin" else []
    assert open_now == []
    for command, arguments in COMMANDS.items():
        group = r"\{(?:[^{}]|\\[{}]|\{[^{}]*\})*\}"
        assert len(re.findall(rf"\\{command}(?![a-z])", text)) == len(
            re.findall(rf"\\{command}(?:{group}){{{arguments}}}", text)
        )
    for columns, body in re.findall(r"(?s)\\begin\{(?:tabular|longtable)\}\{([lcr]+)\}(.*?)\\end", text):
        rows = [line for line in body.splitlines() if line.endswith(r"\\") and "caption" not in line]
        assert {_tokens(row).count("&") + 1 for row in rows} == {len(columns)}


PDFLATEX = shutil.which("pdflatex")
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\usepackage{longtable}
\usepackage{siunitx}
\begin{document}
%s
\end{document}
"""


def test_pdflatex_compiles_them_all(tmp_path: Path) -> None:
    """Where a TeX with siunitx 3 is installed: no error, and nothing of our own names sticks out of the page."""
    if PDFLATEX is None:
        pytest.skip("no pdflatex on this machine")
    (tmp_path / "probe.tex").write_text(DOCUMENT % r"\qty{1}{\joule}", encoding="utf-8")
    if _compiled(tmp_path, "probe").returncode:
        pytest.skip("this TeX has no booktabs, longtable or siunitx 3")
    bodies = {build.__name__: latex.render(build()) for build in ALL}
    bodies["ecg"] = latex.render(document.read(ROOT / "reports" / "ecg.json"))
    (tmp_path / "all.tex").write_text(DOCUMENT % "\\clearpage\n".join(bodies.values()), encoding="utf-8")
    ran = _compiled(tmp_path, "all")
    assert ran.returncode == 0, ran.stdout[-1500:]
    bodies.pop("nasty")  # names of a hundred characters without a space
    (tmp_path / "own.tex").write_text(DOCUMENT % "\\clearpage\n".join(bodies.values()), encoding="utf-8")
    _compiled(tmp_path, "own")  # a long table settles its widths in a second run
    assert "Overfull" not in _compiled(tmp_path, "own").stdout


def _compiled(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    assert PDFLATEX is not None
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", name]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="latin-1", timeout=50, check=False
    )
