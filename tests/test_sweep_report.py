"""What a sweep shows: the front by hand, every unknown named, assumed activity labelled everywhere, a page that nothing gets into."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from snnenergy.hardware import load_hardware
from snnenergy.report import sweep as report
from snnenergy.report import sweep_page
from snnenergy.sweep.points import Point, Task
from snnenergy.sweep.results import Row, Sweep, priced
from snnenergy.sweep.store import Failure
from tests import test_report_page as pages
from tests.test_report_records import digits_snn

EVIL = "</script><img src=x onerror=alert(1)>"


def point(**values: Any) -> Point:
    return Point("net", values, Task("nets:make"), "0" * 31 + str(len(values)))


def row(joules: float, accuracy: float | None, **more: Any) -> Row:
    """A row of a toy chip; its width tells it from others."""
    from snnenergy.cost.records import Range

    facts: dict[str, Any] = {
        "model": "net", "values": {"width": 1}, "digest": "0" * 32, "hardware": "chip",
        "energy": Range(joules / 2, joules, 2 * joules), "latency": None, "partial": False, "fits": None, "at_bits": None,
        "cores": None, "chips": None, "accuracy": accuracy, "samples": 3, "time_steps": 4, "acs": 1.0, "macs": 0.0,
        "dense_macs": 2.0, "spikes": 0.5, "sparsity": 0.25, "firing_rate": 0.1, "covered": 1.0, "activity": "",
        "verdict": "", "caveats": (),
    }  # fmt: skip  # one record, read across
    return Row(**facts | more)


def sweep_of(*rows: Row, **more: Any) -> Sweep:
    return Sweep(len(rows), rows, hardware=("chip",), axes=("width",), bands={"chip": "unvalidated"}, **more)


def test_rows_are_the_estimates_and_the_front_is_found_by_hand() -> None:
    loihi, h100 = load_hardware("loihi"), load_hardware("h100_sxm")
    nets = [(point(steps=t), digits_snn("net", t)) for t in (8, 2, 4)]
    rows = priced(nets, [loihi, h100])
    assert [(r.hardware, r.values["steps"]) for r in rows] == [
        (chip, steps) for chip in ("loihi", "h100_sxm") for steps in (2, 4, 8)
    ]
    from snnenergy.cost import estimate

    for found, counts in zip(rows[:3], (digits_snn("net", t) for t in (2, 4, 8)), strict=True):
        made = estimate(counts, loihi)
        assert (found.energy, found.latency, found.cores) == (made.energy, made.latency, made.fit.cores)
    assert [r.fronts for r in rows[:3]] == [("latency", "cores"), (), ()]  # two steps cost least of everything


def test_what_is_a_bound_or_does_not_fit_lies_on_no_front() -> None:
    from snnenergy.sweep.results import _marked

    rows = _marked([
        row(1.0, 0.9, partial=True), row(2.0, 0.9, fits=False), row(3.0, 0.8, fits=False, at_bits=8), row(4.0, 0.9),
        row(5.0, 0.85), row(6.0, None),
    ])  # fmt: skip  # a table
    assert [bool(r.fronts) for r in rows] == [False, False, True, True, False, False]


def test_the_best_come_first_and_unknowns_are_named() -> None:
    made = sweep_of(
        row(4e-6, 0.9, fronts=("accuracy",), values={"width": 8}),
        row(2e-6, 0.5, partial=True, values={"width": 2}, cores=3, fits=True),
        dataclasses.replace(row(1, 0.1), energy=None, verdict="graded: not supported", fits=False),
    )
    (table,) = report.tables(made, 10)
    text = report.drawn(table, 80)
    lines = text.splitlines()
    assert lines[0].split() == ["width", "energy", "[low,", "high]", "accuracy", "cores"]
    assert re.fullmatch(r"\*  8 +4 \[2, 8\] uJ +90 % +-", lines[1])
    assert re.fullmatch(r" +2 +>= 2 \[1, 4\] uJ +50 % +3", lines[2])
    assert re.fullmatch(r" +1 +graded: not supported +10 % +no fit", lines[3])
    assert "net" in table.title and "1 of 3" not in table.title
    assert report.tables(made, 1)[0].title.startswith("chip, net; 1 of 3 rows")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_lines_are_no_wider_than_the_screen_and_nothing_is_lost(width: int) -> None:
    values: dict[str, Any] = {
        "width": 128,
        "depth": 12,
        "steps": 16,
        "encode": "latency",
        "threshold": 0.75,
        "precision": "int8",
    }
    other = {"width": 256, "depth": 24, "steps": 32, "encode": "rate", "threshold": 1.5, "precision": "fp32"}
    made = Sweep(
        2,
        (row(1.2e-6, 0.912, values=values, cores=128, fits=True), row(1.3e-6, 0.9, values=other)),
        hardware=("chip",),
        axes=tuple(values),
    )
    text = report.drawn(report.tables(made, 10)[0], width)
    assert max(map(len, text.splitlines())) <= width
    assert "latency" in text
    assert "128" in text and "1.2 [0.6, 2.4] uJ" in text


def test_csv_and_json_hold_every_row_and_say_what_is_not_known() -> None:
    failed = Failure("its forward raised", 2)
    made = sweep_of(row(1e-6, None, latency=None), failures=((point(width=2), failed),), missing=(point(width=3),))
    (line,) = csv.DictReader(io.StringIO(report.csv(made)))
    assert (line["energy_nominal_J"], line["accuracy"], line["latency_low_s"]) == ("1e-06", "", "")
    assert (line["width"], line["activity"], line["front_accuracy"]) == ("1", "counted on data", "false")
    record = json.loads(json.dumps(report.record(made), allow_nan=False))
    assert record["rows"][0]["energy"] == {"low": 5e-7, "nominal": 1e-6, "high": 2e-6}
    assert record["failures"] == [
        {"point": "net width=2", "digest": "0" * 31 + "1", "message": "its forward raised", "exit_code": 2}
    ]
    assert record["missing"] == [{"point": "net width=3", "digest": "0" * 31 + "1"}]
    made = dataclasses.replace(made, points=3)
    assert report.headline(made) == "1 of 3 points counted, on chip; 1 FAILED; 1 not counted yet"


def test_the_first_line_says_what_the_numbers_stand_on() -> None:
    made = sweep_of(row(1, None, activity="assumed, every neuron fires at a rate of 0.1"), row(1, None, covered=0.5))
    assert report.headline(made) == (
        "2 of 2 points counted, on chip; ACTIVITY assumed, every neuron fires at a rate of 0.1; "
        "INCOMPLETE COUNT of 1 points"
    )
    several = sweep_of(row(1, None, activity="assumed, a rate of 0.1"), row(1, None, activity="assumed, a rate of 0.2"))
    assert report.headline(several).endswith("ACTIVITY assumed, in 2 ways (row by row in --csv)")


def test_remarks_are_counted_and_every_chip_says_how_it_is_validated() -> None:
    made = sweep_of(row(1, 0.5, caveats=("a", "b")), row(2, 0.5, caveats=("a",)))
    assert report.remarks(made, "chip") == [("a", 2), ("b", 1)]
    assert report.standing(made) == ["chip: unvalidated", "2 remarks stand beside these rows: --html, --csv or --json"]
    page = " ".join(pages._Page(sweep_page.render(made, "sweep.yaml")).words)
    assert "unvalidated" in page
    assert "(1 of 2 rows)" in page


def test_without_a_chip_the_counts_are_shown() -> None:
    rows = priced([(point(steps=t), digits_snn("net", t)) for t in (8, 2)], [])
    made = Sweep(2, tuple(rows), axes=("steps",))
    (table,) = report.tables(made, 10)
    assert table.head == ("", "T", "ACs", "MACs", "dense", "rate", "accuracy")
    assert [line[:3] for line in table.rows] == [("", "2", "13.2 k"), ("", "8", "52.8 k")]  # T (1,500 + 5,000 + 100)
    assert report.headline(made) == "2 of 2 points counted, on no chip"
    assert "No chip was asked for" in sweep_page.render(made, "sweep.yaml")


# The page


def nasty() -> Sweep:
    rows = [
        row(j * 1e-6, a, values={EVIL: EVIL, "steps": j}, model=EVIL, fronts=("accuracy",))
        for j, a in ((1, 0.5), (2, 0.9))
    ]
    failed = ((Point(EVIL, {}, Task(EVIL), "0" * 32), Failure(EVIL)),)
    return Sweep(3, tuple(rows), failed, hardware=("chip",), axes=(EVIL, "steps"), bands={"chip": EVIL})


def test_the_page_is_sealed_and_labelled() -> None:
    text = sweep_page.render(nasty(), EVIL)
    parsed = pages._Page(text)
    pages.test_every_script_and_style_of_the_page_is_named_by_its_hash(parsed)
    pages.test_the_page_asks_nothing_of_a_network(parsed)
    pages.test_every_control_has_a_label_and_every_figure_a_caption(parsed)
    assert "img" not in {tag for tag, _ in parsed.elements}
    assert text.count("</script>") == 3
    assert report.headline(nasty()) in " ".join(parsed.words)


def test_ten_thousand_points_stay_under_the_limit_and_say_what_is_left_out() -> None:
    rows = [
        row(i * 1e-9, i / 10_000, values={"width": i, "encode": "latency", "threshold": 0.5}, verdict="x" * 20)
        for i in range(1, 10_000)
    ]
    text = sweep_page.render(sweep_of(*rows), "sweep.yaml")
    assert len(text.encode()) < 1_500_000
    (chip,) = json.loads(text.partition('type="application/json">')[2].partition("</script>")[0])["chips"]
    assert chip["left"] > 1000
    assert len(chip["rows"]) + chip["left"] == len(rows)


def drawn_rows(text: str) -> int:
    (body,) = re.findall(r'<tbody id="rows">(.*?)</tbody>', text, re.DOTALL)
    return len(re.findall(r"<tr[ >]", body))


def test_the_page_draws_and_filters_in_a_browser(tmp_path: Path) -> None:
    rows = priced([(point(steps=t), digits_snn("net", t)) for t in (2, 4, 8)], [load_hardware("loihi")])
    made = Sweep(3, tuple(rows), hardware=("loihi",), axes=("steps",), bands={"loihi": "x"})
    text = sweep_page.render(made, "sweep.yaml")
    drawn = pages._drawn(text, tmp_path)
    assert len(re.findall(r'<svg [^>]*class="marks"', drawn)) == 1
    assert drawn_rows(drawn) == 3
    moves = '{const f = document.getElementById("filter"); f.value = "steps=4"; f.dispatchEvent(new Event("input"));}'
    before, _, after = re.sub(r"<meta http-equiv=[^>]*>", "", text).rpartition("</body>")
    filtered = pages._drawn(f"{before}<script>{moves}</script></body>{after}", tmp_path)
    assert drawn_rows(filtered) == 1
    assert "1 of 3 rows, 0 of them on the front" in filtered
