"""Quantities, escapes and the formats that are text: terminal, Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import doctest
import io
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnenergy.cost import compare, estimate
from snnenergy.cost.records import Comparison, Estimate, Range
from snnenergy.counts import Coverage
from snnenergy.errors import UsageError
from snnenergy.hardware.library import list_hardware
from snnenergy.report import (
    charts,
    document,
    escape,
    html,
    latex,
    layers,
    markdown,
    page,
    published,
    quantities,
    summary,
    tables,
    terminal,
)
from tests import test_report_records as made
from tests.conftest import ROOT

ALL = (made.digits, made.single, made.large, made.nasty, made.empty, made.many)


# Quantities


@pytest.mark.parametrize("module", [quantities, escape, html])
def test_the_examples_in_the_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]  # a module, as parametrize hands it


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 J"),
        (1.0, "1 J"),
        (999.9e-9, "1 uJ"),
        (999.4e-9, "999 nJ"),
        (1234.0, "1.23 kJ"),
        (1e-26, "0.01 yJ"),
        (12.3e-12, "12.3 pJ"),
    ],
)
def test_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert quantities.quantity(value, "J") == text


@given(st.floats(min_value=1e-20, max_value=1e18))
def test_a_printed_quantity_is_within_half_a_percent(value: float) -> None:
    number, unit = quantities.quantity(value, "J").split()
    assert 1 <= float(number) < 1000
    exponent = {prefix: e for e, prefix in quantities.PREFIXES.items()}[unit[:-1]]
    assert math.isclose(float(number) * 10.0**exponent, value, rel_tol=0.0051)


def test_a_range_has_one_prefix_unless_its_ends_are_far_apart() -> None:
    assert quantities.interval(Range(0.9e-6, 1.23e-6, 1.6e-6), "J") == "[0.9, 1.6] uJ"
    assert quantities.interval(Range(1e-12, 1e-6, 2e-6), "J") == "[1 pJ, 2 uJ]"
    assert quantities.interval(None, "J") == "-"


@pytest.mark.parametrize("value", [6.235e-10, 1.005e-7, 2.675e-5, 9.995e-4, 8.345e2, 1.5e-25, 0.0])
def test_a_range_of_one_value_shows_its_digits(value: float) -> None:
    number, unit = quantities.quantity(value, "J").split()
    assert quantities.interval(Range(value, value, value), "J") == f"[{number}, {number}] {unit}"


def test_a_share_is_never_rounded_to_none_or_all() -> None:
    assert [quantities.percent(v) for v in (0.0, 0.0001, 0.99999, 1.0, None)] == [
        "0 %",
        "<0.1 %",
        ">99.9 %",
        "100 %",
        "-",
    ]


# Names that attack


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "  =1", "\t=1", "|calc", '"=1"', "＝1"])
def test_no_csv_cell_starts_like_a_formula(cell: str) -> None:
    assert escape.csv_cell(cell).startswith(("'", "\\"))


def test_numbers_in_a_csv_stay_numbers() -> None:
    assert "'" not in tables.csv(made.digits())


@given(st.text())
def test_every_escape_leaves_one_visible_line(text: str) -> None:
    for function in (
        escape.plain,
        escape.ascii_only,
        escape.csv_cell,
        escape.markdown,
        escape.markdown_code,
        escape.markup,
        escape.latex,
    ):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u200b-\u200f]", function(text))


@given(st.text(alphabet="`|a \\<"))
def test_a_code_span_cannot_be_left(text: str) -> None:
    span = escape.markdown_code(text)
    match = re.match("`+", span)
    assert match is not None
    fence = match.group()
    inner = span[len(fence) : -len(fence)]
    assert span.endswith(fence)
    assert fence not in re.findall("`+", inner)
    assert not re.search(r"(?<!\\)\|", inner)


@given(st.text(alphabet=r"\{}$&#_%~^a"))
def test_latex_has_no_live_character(text: str) -> None:
    dead = re.sub(r"\\text\w+\{\}|\\[{}$&#_%]", "", escape.latex(text))
    assert not re.search(r"[\\{}$&#_%~^]", dead)


@pytest.mark.parametrize("comparison", [made.nasty()])
def test_an_attacking_name_is_harmless_in_every_text(comparison: Comparison) -> None:
    assert "\x1b" not in terminal.render(comparison)
    prose = re.sub(r"(`+).*?\1", "", markdown.render(comparison))
    assert "<img" not in prose
    assert "@you" not in prose
    for row in csv.reader(io.StringIO(tables.layers_csv(comparison))):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
    assert "\\x1b" not in latex.render(comparison).replace(r"\textbackslash{}x1b", "")


# The terminal


@pytest.mark.parametrize("build", ALL)
@pytest.mark.parametrize("width", [60, 80, 132])
def test_the_plain_terminal_report_is_ascii_and_fits_its_width(build: type, width: int) -> None:
    text = terminal.render(build(), width=width)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= width


def test_colour_changes_nothing_but_colour_and_bars() -> None:
    coloured = terminal.render(made.digits(), color=True)
    assert "\x1b[" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured).replace("█", "#")
    assert [line.rstrip() for line in bare.splitlines()] == terminal.render(made.digits()).splitlines()


def test_the_first_line_is_the_verdict_and_says_that_all_was_counted() -> None:
    first = " ".join(terminal.render(made.digits()).split("\n\n")[0].split())
    assert first.startswith("digits_ann takes less energy than digits_snn on h100_sxm (9x, 9 to 9) and tianjic (1.3x")
    assert first.endswith("[all arithmetic counted]")


def test_what_was_not_counted_comes_before_the_verdict() -> None:
    assert terminal.render(made.nasty()).startswith("INCOMPLETE COUNT (")
    counts = replace(made.digits_snn(), coverage=Coverage(9, 10, 99, 100))
    line = summary.headline(Comparison({"net": counts}, (), verdict="v"))
    assert line == "INCOMPLETE COUNT (net: 90 % counted, 0 entries uncounted): v"
    assert "no layer was counted" in summary.headline(made.empty())


def test_the_grid_says_what_is_not_priced_partial_and_unfit() -> None:
    text = terminal.render(made.digits())
    assert re.search(r"truenorth +not priced +- +- +- +no fit", text)
    assert re.search(r"loihi +>= 1.23 uJ +\[0.986, 1.85\] uJ +8 ms +9.86 nJ s +3 chips", text)
    assert "truenorth: analog: not supported" in text


def test_a_long_verdict_is_cut_and_says_so() -> None:
    line = summary.headline(Comparison({}, (), verdict="; ".join(["one clause of many"] * 99)))
    assert len(line) < 500
    assert "all of it in the table" in line


def test_the_counts_alone_have_the_same_layers_and_no_joule() -> None:
    text = terminal.render_counts(made.digits_snn())
    assert re.search(r"conv2 +40k +- +590k +92.2%", text)
    assert "uJ" not in text
    assert text.isascii()


def test_depth_top_and_sort_keep_the_total() -> None:
    whole = terminal.render(made.large()).splitlines()
    for arguments in ({"depth": 1}, {"depth": 2, "sort": "energy"}, {"top": 5}, {"sort": "acs", "top": 3}):
        folded = terminal.render(made.large(), **arguments).splitlines()
        assert len(folded) < len(whole)
        assert [x for x in folded if x.startswith("total")] == [x for x in whole if x.startswith("total")]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"sort": "size"}, "sort by one of"), ({"top": 0}, "top must"), ({"depth": 0}, "depth must")],
)
def test_arguments_that_mean_nothing_are_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        terminal.render(made.digits(), **arguments)  # type: ignore[arg-type]  # wrong on purpose


# Rows that add up


@pytest.mark.parametrize("build", [made.digits, made.large])
@pytest.mark.parametrize("depth", [None, 1, 2])
def test_the_rows_of_an_estimate_add_up_to_its_energy(build: type, depth: int | None) -> None:
    comparison: Comparison = build()
    for e in comparison.estimates:
        if e.energy is None:
            continue
        rows = layers.arranged(layers.rows(comparison.counts[e.model], e.layers, e.breakdown, depth=depth), "energy", 3)
        assert math.isclose(sum(r.joules or 0.0 for r in rows), e.energy.nominal, rel_tol=1e-9)


def test_what_is_no_layers_has_its_own_row() -> None:
    comparison = made.digits()
    rows = layers.rows(
        comparison.counts["digits_snn"],
        comparison.of("digits_snn", "truenorth").layers,
        comparison.of("digits_snn", "truenorth").breakdown,
    )
    assert rows[-1].path == "(whole chip)"
    assert rows[-1].joules == pytest.approx(8 * 1e-3 * 0.064)


def test_silent_and_saturated_layers_are_named() -> None:
    assert [(r.path, r.activity) for r in layers.rows(made.digits_snn()) if r.activity] == [
        ("lif2", "silent"),
        ("lif3", "saturated"),
    ]


def test_a_brief_report_shows_the_twelve_layers_that_cost_most_and_loses_no_joule() -> None:
    whole, brief = terminal.render(made.large()), terminal.render(made.large(), brief=True)
    assert "\n  89 more layers stand in one row: --top 0 shows all\n" in brief
    assert "more layers" not in whole
    table = brief.split("Layers of spikformer")[1].split("\n\n")[0].splitlines()
    joules = [row for row in table if re.search(r"\d[a-z]?J +\S*%", row)]
    assert len(joules) == terminal.TOP + 2  # the others, and the total
    assert joules[-2].startswith("(89 more)")
    total = next(row for row in whole.splitlines() if row.startswith("total"))
    assert joules[-1].split() == total.split()
    assert joules[1].endswith("#" * terminal.BAR)  # bars are of single layers: the row of all the others scales none
    assert terminal.render(made.digits(), brief=True) == terminal.render(made.digits())
    assert "more layers" not in terminal.render(made.large(), brief=True, top=3)


def test_counts_without_a_chip_are_cut_by_their_operations() -> None:
    brief = terminal.render_counts(made.spikformer(), brief=True)
    table = brief.split("Layers of spikformer")[1].splitlines()
    assert table[2].startswith("patch_embed.proj")
    assert "  88 more layers stand in one row: --top 0 shows all" in table


def test_long_paths_break_at_their_dots_and_numbers_keep_their_units() -> None:
    lines = terminal.render(made.large()).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("block.10.attn. "))
    assert lines[at + 1] == "q_linear"
    for width in range(60, 81):
        text = terminal.render(made.digits(), width=width)
        assert not re.search(r"\d\n {2,4}(%|[munp]?[JsW]\b)", text)
        assert terminal.GLUE not in text
        assert max(map(len, text.splitlines())) <= width


# Tables


def test_neurons_that_never_or_always_fire_are_in_every_report() -> None:
    """Of the digits SNN, from its record: 1691 of the last layer's 200 x 10 neurons fire in no step of their image."""
    stored = document.read(ROOT / "reports" / "digits.json")
    layer = stored.counts["snn"]["lif3"]
    assert (layer.silent, layer.neurons, stored.counts["snn"].samples) == (1691, 10, 200)
    text = terminal.render(stored)
    assert "  silent neurons: lif3 84.5 %, " in text
    assert "  saturated neurons: lif2 " in text
    assert re.search(r"\| `lif3` \|.*\| 9.68 % \| 84.5 % \| 0.2 % \|", markdown.render(stored))
    kinds = {row["kind"] for row in charts.activity_rows(stored.counts["snn"])}
    assert kinds == set(charts.KINDS)
    assert "<td>84.5 %</td><td>0.2 %</td>" in html.render(stored)


def test_the_csv_has_one_row_per_model_and_chip_and_nothing_for_the_unknown() -> None:
    rows = list(csv.DictReader(io.StringIO(tables.csv(made.digits()))))
    assert [(r["model"], r["hardware"]) for r in rows][:2] == [("digits_ann", "h100_sxm"), ("digits_ann", "truenorth")]
    assert rows[1]["energy_nominal_J"] == rows[1]["latency_low_s"] == ""
    assert float(rows[5]["energy_nominal_J"]) == made.digits().estimates[5].energy.nominal  # type: ignore[union-attr]  # priced
    assert rows[6]["partial"] == "true"


def test_a_frame_has_the_rows_of_the_csv() -> None:
    frame = tables.frame(made.digits())
    assert len(frame) == 8
    assert frame["energy_nominal_J"].isna().sum() == 2
    assert frame.loc[5, "energy_nominal_J"] == pytest.approx(513.472e-6)


def test_the_layers_of_the_csv_add_up() -> None:
    comparison = made.digits()
    for e in comparison.estimates:
        if e.energy is not None:
            rows = [
                r
                for r in csv.DictReader(io.StringIO(tables.layers_csv(comparison)))
                if (r["model"], r["hardware"]) == (e.model, e.hardware)
            ]
            assert sum(float(r["energy_nominal_J"] or 0) for r in rows) == pytest.approx(e.energy.nominal)


def test_a_comparison_without_chips_still_has_a_row_per_model() -> None:
    rows = list(csv.DictReader(io.StringIO(tables.csv(Comparison({"a": made.digits_ann("a")}, ())))))
    assert [(r["model"], r["energy_nominal_J"], r["macs"]) for r in rows] == [("a", "", "42700.0")]


def test_markdown_tables_are_rectangular() -> None:
    for build in ALL:
        for block in markdown.render(build()).split("\n\n"):
            if block.startswith("| "):
                assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_markdown_names_every_chip_of_a_layer_table() -> None:
    page = markdown.render(made.digits())
    assert "| `lif1` | - | - | - | - | 7.81 % | - | - | 0.625 | - | 0 J | 328 nJ | 328 nJ | 4.1 nJ |" in page
    assert published.limits() in page
    assert "1.72 (Davidson, Furber 2021, doi:10.3389/fnins.2021.651141), 0.15 to 1.38 (Dampfhoffer" in page


# Does it fit


def _cells(e: Estimate) -> list[str]:
    """The cell `fit` of one estimate in the terminal (which may fold it), the Markdown and the page."""
    comparison = Comparison({e.model: made.digits_snn(e.model)}, (e,))
    drawn = terminal.render(comparison, width=132)
    row = next(line for line in drawn.splitlines() if line.startswith(e.hardware))
    rest = drawn[drawn.index(row) + len(row) :].split("\nin short")[0].split("\n\n")[0]
    columns = next(line for line in markdown.render(comparison).splitlines() if line.startswith("| `"))
    place = [cell.strip() for cell in columns.split(" | ")][6]
    return [f"{row} {' '.join(rest.split())}".strip(), place, str(page.grid_row(comparison, e)["fit"])]


def test_a_net_whose_weights_alone_are_too_wide_fits_once_quantised() -> None:
    for chip, says in (("loihi", "3 cores at 9 bits"), ("truenorth", "20 cores at 9 bits")):
        counts = document.read(ROOT / "reports" / "digits.json").counts["snn"]
        made_here = replace(estimate(counts, chip), model="snn")
        drawn, markdown_cell, page_cell = _cells(made_here)
        assert made_here.fit.fits is False
        assert made_here.verdict == summary.fit(made_here) == markdown_cell == page_cell == says
        assert drawn.endswith(says)
        narrow = estimate(counts, chip, bits=9)
        assert narrow.fit.fits
        assert summary.fit(narrow) == says.removesuffix(" at 9 bits")


def test_no_chip_says_fit_in_one_cell_and_no_fit_in_another() -> None:
    nets = [
        *document.read(ROOT / "reports" / "digits.json").counts.values(),
        made.spikformer(),
        made.empty().counts["empty"],
    ]
    nets += document.read(ROOT / "reports" / "ecg.json").counts.values()
    for counts in nets:
        for chip in list_hardware():
            e = estimate(counts, chip)
            cell = summary.fit(e)
            if e.verdict.startswith("does not fit"):
                assert cell == "no fit"
            elif re.search("cores? at|fits|needs", e.verdict):
                assert cell in e.verdict, (counts.model, chip.name, cell, e.verdict)
            elif e.verdict == "fit unknown":
                assert cell == "-"


# Verdicts and remarks


def test_models_run_on_other_samples_are_named() -> None:
    one, other = made.digits_ann(), replace(made.digits_snn(), samples=100)
    notes = summary.mismatches(Comparison({"a": one, "b": other}, ()))
    assert notes == ["the models ran with different samples (a: 200, b: 100); compare with care"]


def test_models_of_other_counting_rules_or_inputs_are_named() -> None:
    one, other = made.digits_ann(), made.digits_snn()
    ruled = replace(other, conditions=replace(other.conditions, rules=7))
    notes = summary.mismatches(Comparison({"a": one, "b": ruled}, ()))
    assert notes == ["the models ran with different counting rules (a: 1, b: 7); compare with care"]
    a, b = (replace(c, conditions=replace(c.conditions, inputs=d)) for c, d in ((one, "0" * 32), (other, "f" * 32)))
    (note,) = summary.mismatches(Comparison({"a": a, "b": b}, ()))
    assert "different input digests (a: 00000000, b: ffffffff)" in note
    assert summary.mismatches(Comparison({"a": a, "b": replace(b, conditions=a.conditions)}, ())) == []


def test_a_model_in_which_nothing_was_counted_is_no_side_of_a_ratio() -> None:
    both = compare({"empty": made.empty().counts["empty"], "net": made.digits_snn("net")}, ["loihi", "h100_sxm"])
    assert both.verdict.startswith(
        "no chip prices both empty and net in full; not comparable on loihi and h100_sxm (empty:"
    )
    for text in (terminal.render(both), markdown.render(both), html.render(both), tables.csv(both), latex.render(both)):
        shown = re.sub(r"(?s)<script.*?</script>", "", text)
        assert "empty: no layer was counted" in shown or "," in shown.splitlines()[0]
        assert not re.search(r"\b(inf|nan)x?\b", shown, re.IGNORECASE)


def test_one_remark_of_many_estimates_is_one_line() -> None:
    rows = summary.remarks(made.digits())
    assert rows[0] == ("digits_ann, digits_snn on h100_sxm", "launch-bound: the network is too small for this chip")
    assert len(rows) == len({what for _, what in rows})


TEN_CHIPS = "a100_sxm,h100_sxm,horowitz_fp32,horowitz_int32,lemaire2022,loihi,loihi2,loihi_sanafe,tianjic,truenorth"


def test_ten_models_on_ten_chips_from_their_files_take_under_two_seconds_and_no_heavy_import(tmp_path: Path) -> None:
    """The whole command in a fresh interpreter: nine nets of 100 layers and a small one, priced, and written as text."""
    nets = [made.digits_ann("m0"), *(made.spikformer(14, f"m{i}") for i in range(1, 10))]
    files = [tmp_path / f"{net.model}.json" for net in nets]
    for file, net in zip(files, nets, strict=True):
        net.save(file)
    script = (
        "import sys, time; start = time.process_time()\n"
        "from snnenergy.cli import app; app(standalone_mode=False)\n"
        "heavy = {'torch', 'pandas', 'altair', 'vl_convert', 'jinja2', 'pint'} & set(sys.modules)\n"
        "print(time.process_time() - start, sorted(heavy), file=sys.stderr)"
    )
    texts = [f"--{form}={tmp_path / form}" for form in ("markdown", "csv", "layers-csv", "latex")]
    command = [sys.executable, "-c", script, "report", *map(str, files), "--hardware", TEN_CHIPS]
    for more, seconds in (([], 2), (texts, 3)):
        ran = subprocess.run([*command, *more], capture_output=True, text=True, check=True, timeout=60)
        taken, heavy = ran.stderr.split(maxsplit=1)
        assert heavy.strip() == "[]"
        assert (
            float(taken) < seconds * 2
        )  # of one core: what else runs does not count; a slow machine is allowed twice the goal
        assert ran.stdout.count("\nLayers of m") == 10
