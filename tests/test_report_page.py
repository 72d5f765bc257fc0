"""The JSON twin, the page that embeds it, the figures, and what is worked out for an SNN beside its ANN."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import html as stdlib_html
import json
import math
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from snnenergy.cost import compare, estimate
from snnenergy.cost.records import Comparison, Range
from snnenergy.counts import Counts
from snnenergy.errors import CountsError, UsageError
from snnenergy.hardware import load_hardware
from snnenergy.hardware.library import list_hardware
from snnenergy.report import (
    breakeven,
    charts,
    document,
    drawings,
    figures,
    html,
    pair_charts,
    quantities,
    roofline,
    sealed,
    sensitivity,
    summary,
    waterfall,
)
from snnenergy.shipped import shipped
from tests import test_report_records as made

FITTED = str(shipped("hardware_profiles") / "validation" / "cuda_machine.yaml")
"""A profile with rates and launches by class of operation, and a level that holds what a forward touches."""

ALL = (made.digits, made.single, made.large, made.nasty, made.empty, made.many)


# The JSON twin


@pytest.mark.parametrize("build", ALL)
def test_the_record_and_the_page_are_read_back_unchanged(build: type, tmp_path: Path) -> None:
    comparison = build()
    for name, text in (("r.json", document.to_json(comparison)), ("r.html", html.render(comparison))):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert document.read(tmp_path / name) == comparison


def _broken(**changes: object) -> str:
    return json.dumps(document.record(made.single()) | changes)


def _estimate(**changes: object) -> str:
    record = document.record(made.single())
    return json.dumps(record | {"estimates": [record["estimates"][0] | changes]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a report"),
        ("[]", "schema"),
        ("{}", "schema"),
        ("[" * 100_000, "not a report"),
        (_broken(schema_version=99), "schema_version 99"),
        (_broken(extra=1), "unknown field 'extra'"),
        (_broken(counts=[]), "report.counts: expected a dict"),
        (_broken(counts={"digits_snn": {"schema_version": 99}}), r"counts\['digits_snn'\]: Counts schema_version 99"),
        (_broken(notes=[1]), "notes"),
        (_broken(counts={}), "has no counts"),
        (_broken(estimates=document.record(made.single())["estimates"] * 2), "twice"),
        (_estimate(energy={"low": 2, "nominal": 1, "high": 3}), "low <= nominal <= high"),
        (_estimate(energy={"low": -1, "nominal": 1, "high": 3}), "low <= nominal <= high"),
        (_estimate(energy={"low": "1"}), "energy.low: expected float"),
        (_estimate(options={"a": 1}), "options: expected strings"),
        (_estimate(colour="red"), "unknown field 'colour'"),
        (_broken(verdict=0).replace('"verdict": 0', '"verdict": NaN'), "NaN"),
        ("<html></html>", "0 embedded records"),
        ('<script id="snnenergy-record" type="a/b">QUJD</script>', "damaged"),
        ('<script id="snnenergy-record" type="a/b">QUJ</script>', "damaged"),
        (2 * '<script id="snnenergy-record" type="a/b"></script>' + "<", "2 embedded records"),
        (_broken().replace('"counts": {', '"counts": {"digits_snn": {}, ', 1), "'digits_snn' stands twice"),
    ],
)
def test_what_is_no_report_is_refused_in_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CountsError, match=says) as caught:
        document.read(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_record_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_RECORD_BYTES", 1000)
    bomb = base64.b64encode(zlib.compress(b" " * 10**6)).decode()
    with pytest.raises(CountsError, match="unpacks to more than"):
        document.parse(f'<script id="snnenergy-record" type="a/b">{bomb}</script>')
    cut = base64.b64encode(zlib.compress(b"12345678")[:-4]).decode()
    with pytest.raises(CountsError, match="cut short"):
        document.parse(f'<script id="snnenergy-record" type="a/b">{cut}</script>')


def test_a_file_too_large_absent_or_binary_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, says in (("absent", "no such file"), ("binary", "not text"), (".", "cannot be read")):
        with pytest.raises(CountsError, match=says):
            document.read(tmp_path / name)
    monkeypatch.setattr(document, "MAX_FILE_BYTES", 2)
    with pytest.raises(CountsError, match="larger than"):
        document.read(tmp_path / "binary")


# The page


class _Page(HTMLParser):
    """Elements, their attributes, the text of scripts and styles, and the text a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag == self.cdata_elem:  # inside a script or a style, not behind it
            self.inline.append(({**attributes, "tag": tag}, data))
        self.words.append(data)

    @property
    def policy(self) -> str:
        (found,) = (a["content"] for t, a in self.elements if a.get("http-equiv") == "Content-Security-Policy")
        assert found is not None
        return found


@pytest.fixture(scope="module")
def parsed() -> _Page:
    return _Page(html.render(dataclasses.replace(made.digits(), accuracy={"digits_ann": 0.97, "digits_snn": 0.96})))


def test_every_script_and_style_of_the_page_is_named_by_its_hash(parsed: _Page) -> None:
    run = [(a, text) for a, text in parsed.inline if a["tag"] == "style" or "type" not in a]
    assert len(run) == 3
    for _, text in run:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in parsed.policy
    assert "default-src 'none'" in parsed.policy
    assert "unsafe" not in parsed.policy


def test_the_page_asks_nothing_of_a_network(parsed: _Page) -> None:
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "style", "srcset", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        if "href" in attributes:
            assert re.match(r"#|https://", attributes["href"] or "")


def test_every_control_has_a_label_and_every_figure_a_caption(parsed: _Page) -> None:
    labelled = {a.get("for") for t, a in parsed.elements if t == "label"}
    controls = {a.get("id") for t, a in parsed.elements if t in ("select", "input")}
    assert controls
    assert controls <= labelled
    ids = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("aria-labelledby") in ids for t, a in parsed.elements if t in ("figure", "section"))


def test_every_number_of_the_grid_is_on_the_page(parsed: _Page) -> None:
    words = " ".join(parsed.words)
    for e in made.digits().estimates:
        assert summary.energy(e, micro="µ") in words
        assert e.hardware in words


@pytest.mark.parametrize("build", ALL)
def test_a_page_is_under_the_limit_and_bundles_once(build: type) -> None:
    text = html.render(build())
    assert len(text.encode()) < 1_500_000
    assert text.count("window.vegaEmbed=") == 1


def test_the_charts_library_is_the_same_whether_a_process_beside_makes_it_or_none_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = sealed._bundle()
    assert sealed.prepared() is not None
    with monkeypatch.context() as no_process:
        no_process.setattr(sys, "executable", "")
        assert sealed.prepared.__wrapped__() is None
        no_process.setattr(sealed, "prepared", lambda: None)
        assert sealed._bundle.__wrapped__() == beside
    failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"], stdout=subprocess.PIPE)
    monkeypatch.setattr(sealed, "prepared", lambda: failing)
    assert sealed._bundle.__wrapped__() == beside


def _bundling() -> set[str]:
    """Processes that make the charts' library."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"javascript_bundle" in file.read_bytes():
                found.add(file.parent.name)
    return found


def test_nothing_is_left_running_where_a_page_was_wanted_and_could_not_be_made(tmp_path: Path) -> None:
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system has no /proc to look at processes in")
    before = _bundling()
    command = [sys.executable, "-m", "snnenergy", "report", "missing.json", "--html", "page.html"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert _bundling() <= before
    assert (ran.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "missing.json" in ran.stderr
    assert len(ran.stderr.splitlines()) < 5


def test_a_page_that_would_be_too_large_leaves_the_layers_out_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = html.render(made.many())
    monkeypatch.setattr(html, "MAX_BYTES", len(whole) - 1)
    cut = html.render(made.many())
    assert len(cut) < len(whole)
    assert "in the JSON report only" in cut
    assert document.parse(cut).counts == made.many().counts
    monkeypatch.setattr(html, "MAX_BYTES", len(cut) - 1)
    bare = html.render(made.many())
    assert len(bare) < len(cut)
    assert "everything about single layers, and the parts of each energy, are in the JSON report only" in bare
    assert document.parse(bare).counts == made.many().counts


def test_ten_large_models_on_ten_chips_with_their_profiles_stay_under_the_limit() -> None:
    chips = list_hardware()[:10]
    nets = [made.spikformer(14, f"m{i}") if i % 2 else made.digits_ann(f"m{i}") for i in range(10)]
    text = html.render(compare({net.model: net for net in nets}, chips))
    assert len(text.encode()) < 1_500_000
    assert "in the JSON report only, and the rooflines" in text


def test_hundreds_of_rows_stay_under_the_limit_and_name_what_they_leave_out() -> None:
    nets = [made.spikformer(1, f"m{i}") if i % 2 else made.digits_ann(f"m{i}") for i in range(20)]
    comparison = compare({net.model: net for net in nets}, list_hardware())
    text = html.render(comparison)
    assert len(text.encode()) < 1_500_000
    assert text.count("<td>100 %</td>") >= len(comparison.estimates) > 600
    assert re.search(r"\d+ more pairs are not shown here", text)


def test_names_on_the_page_are_text_and_nothing_else() -> None:
    text = html.render(made.nasty())
    parsed = _Page(text)
    assert "img" not in {tag for tag, _ in parsed.elements}
    assert text.count("</script>") == 4
    assert "\x1b" not in text
    assert stdlib_html.escape("</script><img src=x onerror=alert(1)>") in text


def test_a_fragment_for_notebooks_has_the_grid_and_no_script() -> None:
    text = html.fragment(made.nasty())
    assert text.count("<tr") == 2
    assert "<script" not in text
    assert "<img" not in text


def test_a_notebook_shows_the_fragment_and_gives_a_frame() -> None:
    comparison = made.digits()
    assert comparison._repr_html_() == html.fragment(comparison)
    frame = comparison.to_dataframe()
    assert list(zip(frame["model"], frame["hardware"], strict=True)) == [
        (e.model, e.hardware) for e in comparison.estimates
    ]
    assert list(frame["energy_nominal_J"].dropna()) == [e.energy.nominal for e in comparison.estimates if e.energy]


def test_only_dois_and_https_become_links() -> None:
    assert sealed.links("javascript:alert(1) http://a.b") == [("javascript:alert(1) http://a.b", None)]
    assert sealed.links("(see https://a.b/c(d).)") == [
        ("(see ", None),
        ("https://a.b/c(d)", "https://a.b/c(d)"),
        (".)", None),
    ]


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OFFLINE = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split()


def _drawn(text: str, folder: Path) -> str:
    """The page's elements as a browser leaves them; fails on any word on the console."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    file = folder / "page.html"
    file.write_text(text, encoding="utf-8")
    command = [CHROMIUM, "--headless", *OFFLINE, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=6000"]
    command += ["--enable-logging=stderr", "--v=0", "--dump-dom", file.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)
    if ran.returncode:
        pytest.skip(f"Chromium does not start here: {ran.stderr[-200:]}")
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
    return ran.stdout


@pytest.mark.parametrize(("name", "charts"), [("digits", 7), ("nasty", 3), ("empty", 0)])
def test_the_page_draws_in_a_browser_without_a_word_on_its_console(name: str, charts: int, tmp_path: Path) -> None:
    drawn = _drawn(html.render(getattr(made, name)()), tmp_path)
    assert len(re.findall(r'<svg [^>]*class="marks"', drawn)) == charts


def _moved(text: str, **sliders: int) -> str:
    """The page with a reader's hand added: sliders moved once everything is drawn (without the policy, which forbids it)."""
    moves = "".join(
        f'{{const s = document.getElementById("slide-{name}"); s.value = "{value}"; s.oninput();}}'
        for name, value in sliders.items()
    )
    open_page = re.sub(r"<meta http-equiv=[^>]*>", "", text)
    before, _, after = open_page.rpartition("</body>")  # the bundle holds one of its own, as a string
    return f"{before}<script>{moves}</script></body>{after}"


def test_the_sliders_answer_what_the_closed_form_says(tmp_path: Path) -> None:
    pair, _, snn = _pair("tianjic")
    found = breakeven.solve(pair, snn)
    assert found is not None
    drawn = _drawn(_moved(html.render(made.digits()), T=4), tmp_path)
    joules = found.nominal.energy(4, found.rate)
    words = f"SNN {quantities.quantity(joules, 'J')} ["
    assert words in drawn
    assert f"{joules / found.nominal.ann:.3g}× [" in drawn
    assert "the SNN wins." in drawn


def test_width_and_batch_can_be_chosen_where_the_chip_cares(tmp_path: Path) -> None:
    chip = load_hardware("h100_sxm")
    comparison = compare({"digits_ann": made.digits_ann(), "digits_snn": made.digits_snn()}, [chip])
    drawn = _drawn(_moved(html.render(comparison), bits=2, batch=3), tmp_path)
    (pair,) = summary.pairs(comparison)
    ends = [estimate(comparison.counts[e.model], chip, bits=8, batch=64) for e in (pair.ann, pair.snn)]
    found = breakeven.solve(summary.Pair(chip.name, *ends), comparison.counts["digits_snn"])
    assert found is not None
    assert f"SNN {quantities.quantity(found.nominal.energy(8, found.rate), 'J', micro='µ')} [" in drawn
    assert re.search(r'id="out-bits"[^>]*>8<', drawn)
    assert re.search(r'id="out-batch"[^>]*>64<', drawn)


# Figures


@pytest.mark.parametrize(("format", "magic"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("pdf", b"%PDF-")])
def test_a_figure_of_each_kind(format: str, magic: bytes) -> None:  # noqa: A002  # the name of render's own argument
    made_figures = figures.render(made.single(), format)
    assert list(made_figures) == [
        f"{n}.{format}" for n in ("energy", "parts", "activity-digits_snn", "layers-digits_snn-loihi")
    ]
    assert all(content.startswith(magic) for content in made_figures.values())


@pytest.mark.parametrize("build", ALL)
def test_every_chart_is_valid_vega_lite(build: type) -> None:
    """Figures and pages are drawn without asking."""
    for name, chart in figures.drawn(build()).items():
        assert chart.to_dict()["$schema"], name


def test_figure_names_are_harmless_and_unique() -> None:
    counts = [made.digits_snn(name) for name in ("../a", "..\\a", "a")]
    names = figures.drawn(Comparison({c.model: c for c in counts}, ()))
    assert list(names) == ["activity-a", "activity-a-2", "activity-a-3"]


def test_names_in_a_figure_are_text() -> None:
    for content in figures.render(made.nasty(), "svg").values():
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(content).iter()}
        assert tags <= {"svg", "g", "path", "text", "line", "rect", "defs", "clipPath", "title", "desc", "style"}
        assert b"\x1b" not in content


def test_an_unknown_figure_format_is_refused() -> None:
    with pytest.raises(UsageError, match="png, svg, pdf"):
        figures.render(made.single(), "gif")


# An SNN beside its ANN


def _pair(chip: str) -> tuple[summary.Pair, Any, Any]:
    comparison = made.digits()
    (pair,) = (p for p in summary.pairs(comparison) if p.chip == chip)
    return pair, comparison.counts["digits_ann"], comparison.counts["digits_snn"]


def test_pairs_need_both_sides_priced_in_full() -> None:
    assert [p.chip for p in summary.pairs(made.digits())] == ["h100_sxm", "tianjic"]


@pytest.mark.parametrize("chip", ["h100_sxm", "tianjic"])
def test_a_waterfall_goes_from_one_total_to_the_other(chip: str) -> None:
    pair, ann, snn = _pair(chip)
    first, *changes, last = waterfall.steps(pair, ann, snn)
    assert first.end == changes[0].start
    assert math.isclose(changes[-1].end, last.end, rel_tol=1e-9)
    assert all(a.end == b.start for a, b in pairwise(changes))


def test_the_steps_of_a_waterfall_by_hand() -> None:
    pair, ann, snn = _pair("tianjic")
    # 2 pJ per event on both sides: ANN 42 700 events; SNN 79 616 dense taps per step, 8 steps, 52 800 events
    expected = {
        "network shape": 2e-12 * (79_616 - 42_700),
        "extra time steps": 2e-12 * 79_616 * 7,
        "sparsity": 2e-12 * (52_800 - 8 * 79_616),
        "neuron energy": 1e-12 * 650 * 8,
    }
    found = {s.label: s.joules for s in waterfall.steps(pair, ann, snn) if not s.total and abs(s.joules) > 1e-20}
    assert found == pytest.approx(expected)


def test_a_dense_chip_gains_nothing_from_sparsity() -> None:
    pair, ann, snn = _pair("h100_sxm")
    steps = {s.label: s.joules for s in waterfall.steps(pair, ann, snn)}
    assert steps.get("sparsity", 0.0) == pytest.approx(0.0, abs=1e-18)


def test_break_even_by_hand() -> None:
    pair, _, snn = _pair("tianjic")
    found = breakeven.solve(pair, snn)
    assert found is not None
    assert found.rate == pytest.approx(6_600 / 79_616)  # driven taps of a step over its dense taps
    # 42 700 x 2 pJ = T (650 x 1 pJ + 79 616 r x 2 pJ)
    assert found.rate_at(8).nominal == pytest.approx((42_700 * 2 / 8 - 650) / (79_616 * 2))
    assert found.time_steps_at(found.rate).nominal == pytest.approx(42_700 * 2 / (650 + 6_600 * 2))


@pytest.mark.parametrize("chip", ["h100_sxm", "tianjic"])
def test_at_break_even_both_cost_the_same_and_the_current_point_is_the_estimate(chip: str) -> None:
    pair, _, snn = _pair(chip)
    found = breakeven.solve(pair, snn)
    assert found is not None
    assert pair.snn.energy is not None
    for corner, end in ((found.low, "low"), (found.nominal, "nominal"), (found.high, "high")):
        assert math.isclose(corner.energy(found.time_steps, found.rate), getattr(pair.snn.energy, end), rel_tol=1e-9)
        assert math.isclose(corner.energy(corner.time_steps(found.rate), found.rate), corner.ann, rel_tol=1e-9)
        if corner.event:
            assert math.isclose(corner.energy(5, corner.rate(5)), corner.ann, rel_tol=1e-9)


@pytest.mark.parametrize(("own", "last"), [(1, 4), (8, 32), (16, 64), (40, 64), (64, 64), (65, 260), (1301, 5204)])
def test_a_break_even_curve_reaches_beyond_the_nets_own_steps(own: int, last: int) -> None:
    pair, _, snn = _pair("tianjic")
    found = breakeven.solve(pair, snn)
    assert found is not None
    steps = pair_charts.time_steps(own)
    assert (steps[0], steps[-1]) == (1, last)
    assert own in steps
    assert len(steps) <= 65


def test_activity_does_not_matter_to_a_chip_that_charges_dense_work() -> None:
    pair, _, snn = _pair("h100_sxm")
    found = breakeven.solve(pair, snn)
    assert found is not None
    assert found.nominal.event == 0
    assert found.rate_at(8).nominal == -math.inf  # nine times the ANN's energy, and silence would not help


def test_one_constant_with_a_range_moves_the_verdict_and_shared_ends_cancel() -> None:
    pair, _, _ = _pair("tianjic")
    swings = sensitivity.of_parts(pair)
    assert [s.part for s in swings] == ["neuron", "synaptic"]
    # neuron energy of the SNN from 0.8 to 1.5 of 5.2 nJ, over the ANN's 85.4 nJ, which spends none
    ends = (105.6 + 0.8 * 5.2, 110.8, 105.6 + 1.5 * 5.2)
    assert dataclasses.astuple(swings[0].ratio) == pytest.approx([end / 85.4 for end in ends])
    assert not swings[0].flips


def test_the_roof_by_hand_and_no_layer_above_it() -> None:
    chip = load_hardware("h100_sxm")
    found = roofline.roof(made.digits_ann(), chip, "ann")
    assert found is not None
    assert [p.path for p in found.points] == ["conv1", "conv2", "fc"]
    assert [p.operations for p in found.points] == [2 * 4_608, 2 * 73_728, 2 * 1_280]
    assert found.attainable(found.peak / found.bandwidth) == pytest.approx(found.peak)
    assert found.attainable(1.0) == found.bandwidth
    assert all(0 < p.reached < found.attainable(p.intensity) for p in found.points)
    assert roofline.roof(made.digits_ann(), load_hardware("loihi"), "ann") is None
    held = dataclasses.replace(made.digits(), profiles=(chip, load_hardware("a100_sxm")))
    assert list(drawings.roofs(held)) == ["h100_sxm"]


@pytest.mark.parametrize("name", ["h100_sxm", FITTED], ids=["peak", "fitted"])
def test_a_layer_stands_at_the_rate_of_the_latency_model(name: str) -> None:
    chip = load_hardware(name)
    stream = {"elements": 10**6, "nonzero": 10**6, "driven": 10**9, "effective": 10**9, "evidence": {"many": True}}
    conv = {
        "path": "conv",
        "role": "synaptic",
        "op": "convolution",
        "dense_macs": 10**9,
        "adds": 10**6,
        "streams": [stream],
    }
    conv |= {"weights": 10**5, "weight_bits": 32, "input_bits": 32, "output_elements": 10**6, "kernels": 1, "calls": 1}
    counts = Counts.build("one", [conv], forwards=1)
    found, latency = roofline.roof(counts, chip, "one"), estimate(counts, chip).latency
    assert found is not None
    assert latency is not None
    assert found.points[0].reached == pytest.approx((2 * 10**9 + 10**6) / latency.nominal)
    assert found.points[0].reached < found.attainable(found.points[0].intensity)


def test_a_swing_through_one_turns_the_verdict() -> None:
    assert sensitivity.Swing("static", Range(0.9, 0.95, 1.1)).flips
    assert not sensitivity.Swing("static", Range(1.0, 1.1, 1.2)).flips


def test_names_keep_both_ends_beside_a_chart_and_short_ones_stand_whole_in_a_table() -> None:
    label = charts.energy(made.many(), charts.PAGE).to_dict()["layer"][0]["encoding"]["y"]["axis"]["labelExpr"]
    assert label == "truncate(datum.label, containerSize()[0] > 700 ? 52 : 26, 'center')"
    assert sealed.name_class("jetson_orin_nano") == "name whole"
    assert sealed.name_class("x" * 23) == "name"
    assert 'class="name whole">chip9</td>' in html.render(made.many(2, 10))


def test_names_in_energy_against_accuracy_do_not_run_into_each_other() -> None:
    """Ten models of one accuracy and one energy: one name; twice the energy and a decade on: another each."""
    rows = [{"who": f"model{i}", "joules": 1e-6, "accuracy": 0.5} for i in range(10)]
    assert charts._apart(rows, (-6, -3), (0.4, 0.6), 240) == rows[:1]
    far = [rows[0], rows[1] | {"joules": 1e-5}, rows[2] | {"accuracy": 0.55}]
    assert charts._apart(far, (-6, -3), (0.4, 0.6), 240) == far
