"""The committed reports: their sums added again, and made again from their own records."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from reports import make
from snnenergy.cost import published
from snnenergy.cost.records import Comparison
from snnenergy.counts import Counts, LayerCounts
from snnenergy.report import document, page, quantities, stories, summary, waterfall
from tests.conftest import ROOT, Cli

HERE = Path(make.__file__).parent
NAMES = tuple(make.REPORTS)
DYNAMIC = ("compute", "synaptic", "neuron", "routing", "memory")
MAX_BYTES = 1_500_000


def text(file: str) -> str:
    return (HERE / file).read_text(encoding="utf-8")


@cache
def stored(name: str) -> Comparison:
    return document.read(HERE / f"{name}.json")


def test_the_folder_holds_what_is_made_and_nothing_large() -> None:
    files = {f.name for f in HERE.iterdir() if f.is_file()}
    assert files == {"make.py", "README.md", *(f"{n}.{kind}" for n in NAMES for kind in ("json", "html", "md"))}
    assert all((HERE / f).stat().st_size < MAX_BYTES for f in files)


SAMPLES, STEPS = 141, 1301
"""Of the ECG recordings."""


# Sums


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", ["low", "nominal", "high"])
def test_the_energies_of_layers_and_parts_add_to_the_totals(name: str, end: str) -> None:
    """From the file itself: layers to parts, parts to the total, at each end of the range."""
    rows = [row for row in json.loads(text(f"{name}.json"))["estimates"] if row["energy"] is not None]
    assert len(rows) >= 6
    for row in rows:
        parts: Mapping[str, Any] = row["breakdown"]
        held = {part: parts[part][end] if part in parts else 0.0 for part in (*DYNAMIC, "static")}
        assert math.isclose(sum(held.values()), row["energy"][end], rel_tol=1e-12)
        for part in DYNAMIC:
            layers = math.fsum(layer["breakdown"].get(part, {}).get(end, 0.0) for layer in row["layers"])
            assert layers == pytest.approx(held[part], rel=1e-9), (row["model"], row["hardware"], part)


@pytest.mark.parametrize("name", NAMES)
def test_the_counts_of_layers_add_to_what_the_text_and_the_page_show(name: str) -> None:
    document_ = json.loads(text(f"{name}.json"))
    for model, counts in document_["counts"].items():
        streams = [s for layer in counts["layers"] for s in layer.get("streams", ())]
        sums = {"acs": 0.0, "macs": 0.0, "dense": sum(layer.get("dense_macs", 0) for layer in counts["layers"])}
        for stream in streams:
            sums["acs" if stream["domain"] in ("spike", "ternary") else "macs"] += stream.get("effective", 0)
        acs, macs, dense = (quantities.count(total / counts["samples"]) for total in sums.values())
        assert f"| `{model}` | {acs} | {macs} | {dense} |" in text(f"{name}.md")
        assert f"{acs} ACs, {macs} MACs ({dense} dense)" in text(f"{name}.html")


def test_the_time_steps_of_the_recordings_add_to_the_whole() -> None:
    counts = stored("ecg").counts["srnn"]
    for path in ("i2h", "h2h", "h2o"):
        steps = counts[path].per_step
        assert steps is not None
        assert (len(steps.effective), sum(steps.effective)) == (STEPS, counts[path].effective)
    for path in ("hidden", "output"):
        steps = counts[path].per_step
        assert steps is not None
        assert (len(steps.spikes_out), sum(steps.spikes_out)) == (STEPS, counts[path].spikes_out)


# Stale or not


@pytest.mark.parametrize("name", NAMES)
def test_priced_and_written_again_the_record_and_the_text_are_the_same(name: str) -> None:
    """Fails when a profile, a price, a sentence or a format changed since `python reports/make.py` ran."""
    again = make.rendered(name, make.priced(name, stored(name).counts))
    assert again[f"{name}.json"] == text(f"{name}.json"), f"stale: {make.COMMAND}"
    assert again[f"{name}.md"] == text(f"{name}.md"), f"stale: {make.COMMAND}"


@pytest.mark.parametrize("name", NAMES)
def test_the_page_holds_the_record_and_is_what_it_renders_to(name: str) -> None:
    assert document.parse(text(f"{name}.html")) == stored(name)
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for package in ("altair", "vl-convert-python"):
        if version(package) != pinned[package]:
            pytest.skip(f"{package} {version(package)} draws here, {pinned[package]} drew the committed page")
    page_again = make.rendered(name, stored(name))[f"{name}.html"]
    assert without_record(page_again) == without_record(text(f"{name}.html")), f"stale: {make.COMMAND}"


def without_record(text: str) -> str:
    """The page but for its compressed record, whose bytes depend on the zlib that made them."""
    page, found = re.subn(rf'(<script id="{document.ELEMENT}"[^>]*>)[^<]*', r"\1", text)
    assert found == 1
    return page


@pytest.mark.parametrize("name", NAMES)
def test_the_record_holds_what_is_counted_today(name: str) -> None:
    """All that does not hang on the last bit of a value: a change in the tracer is seen in the record, too."""
    if name == "ecg" and not make.ECG.is_dir():
        pytest.skip("the ECG recordings are not beside this checkout")
    for model, counts in make.REPORTS[name].counts().items():
        assert list(map(structure, counts.layers)) == list(map(structure, stored(name).counts[model].layers))


def structure(layer: LayerCounts) -> tuple[object, ...]:
    of = (layer.path, layer.role, layer.op, layer.neuron_model, layer.sources)
    return *of, layer.neurons, layer.updates, layer.dense_macs, layer.valid_macs, layer.adds, layer.kernels


def test_a_report_that_is_stale_is_seen() -> None:
    old = stored("digits")
    estimate = old.estimates[0]
    assert estimate.energy is not None
    moved = replace(estimate, energy=estimate.energy * 1.0001)
    other = make.rendered("digits", replace(old, estimates=(moved, *old.estimates[1:])))
    assert other["digits.json"] != text("digits.json")
    assert without_record(make.rendered("digits", replace(old, notes=()))["digits.html"]) != without_record(
        text("digits.html")
    )


def test_the_digits_report_is_the_demo(cli: Cli, tmp_path: Path) -> None:
    """The same counts and estimates, whatever versions count here."""
    assert cli("demo", "--out", tmp_path).code == 0
    made = document.read(tmp_path / "snnenergy-report.json")
    assert made.estimates == stored("digits").estimates
    for name, counts in made.counts.items():
        assert counts.layers == stored("digits").counts[name].layers
        assert counts.conditions == stored("digits").counts[name].conditions


# The ECG comparison by hand


def test_the_srnn_is_the_published_net_on_its_recordings() -> None:
    ours, shipped = stored("ecg").counts["srnn"], published.counts_of("srnn_ecg")
    assert [replace(layer, per_step=None) for layer in ours.layers] == [
        replace(layer, per_step=None) for layer in shipped.layers
    ]
    assert ours.conditions == shipped.conditions


def test_the_lstm_by_hand() -> None:
    """4-36-6: four gates of 4 + 36 inputs, 36 wide, and a readout; the same recordings; its state is zero in the first step alone."""
    counts: Counts = stored("ecg").counts["lstm"]
    lstm, readout = counts["lstm"], counts["h2o"]
    srnn = stored("ecg").counts["srnn"]
    assert (counts.samples, counts.time_steps) == (SAMPLES, STEPS)
    assert counts.conditions.inputs == srnn.conditions.inputs
    assert lstm.dense_macs == SAMPLES * STEPS * 4 * 36 * (4 + 36)
    assert readout.dense_macs == SAMPLES * STEPS * 36 * 6
    inputs, state = lstm.streams
    assert inputs.nonzero == srnn["i2h"].streams[0].nonzero
    assert inputs.driven == inputs.nonzero * 4 * 36
    assert state.elements - state.nonzero == SAMPLES * 36
    assert _weights(lstm) + _weights(readout) == 4 * 36 * (4 + 36 + 2) + 36 * 6 + 6


def _weights(layer: LayerCounts) -> int:
    return layer.weights + layer.bias


def test_two_nets_of_as_many_steps_have_no_extra_ones() -> None:
    comparison = stored("ecg")
    for pair in summary.pairs(comparison):
        labels = {s.label for s in waterfall.steps(pair, comparison.counts["lstm"], comparison.counts["srnn"])}
        assert "extra time steps" not in labels


def test_a_net_that_wins_at_any_activity_is_told_so() -> None:
    says = {row["name"]: row["even"] for row in page.pairs(stories.stories(stored("ecg")))}
    words = says["srnn against lstm on tianjic"].replace("\N{NO-BREAK SPACE}", " ")
    assert words.startswith("At T = 1301 the SNN wins even if every synapse were driven in every step")


def test_without_the_recordings_the_counts_of_the_record_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(make, "ECG", tmp_path / "absent")
    assert make.ecg() == stored("ecg").counts
