"""Conventions: each rule on counts a reader can add up, the shipped ones, rates that are assumed, and the lint."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnenergy.cost.convention_claims import Claim, check_claims, with_counts
from snnenergy.cost.convention_rates import RATE_SAMPLES, price_rates
from snnenergy.cost.convention_rules import Convention
from snnenergy.cost.conventions import apply, compare_all, list_conventions, load
from snnenergy.counts import Counts, Evidence
from snnenergy.errors import ProfileError, UsageError
from tests.conftest import ROOT, Cli

PRESETS = """horowitz_fp32 horowitz_int32 keras_spiking lava neurobench ours sew_resnet snn_toolbox spikformer
spikingformer syops tc_lif yin2020_31to1""".split()


def rule(energy: bool = True, **rules: Any) -> Convention:
    """A convention that charges events as accumulates and analog layers densely, changed by the given rules."""
    charges = {"spike": "ac", "ternary": "ac", "graded": "mac", "analog": "dense_mac"}
    prices = {"mac": "4 pJ", "ac": "1 pJ"} if energy else None
    return Convention.model_validate(
        {
            "schema_version": 1,
            "name": "test",
            "title": "",
            "summary": "",
            "sources": [],
            "rules": {"charges": charges} | rules,
            "energy": prices,
        }
    )


def snn() -> Counts:
    """Two samples of four steps: an analog 3x3 conv with padding (1,000 taps, 800 inside), then spikes at 1/4.

    Per inference the second layer sees 10 of 40 inputs spike, which drive 95 taps, 90 of them with a weight.
    """
    analog = {"domain": "analog", "elements": 100, "nonzero": 80, "driven": 1200, "effective": 1100}
    spikes = {"domain": "spike", "elements": 80, "nonzero": 20, "driven": 190, "effective": 180, "unit_taps": 190}
    shape = {"out_channels": 12, "groups": 1, "kernel": [3, 3], "stride": [2, 2]}
    conv = {"path": "conv", "role": "synaptic", "op": "conv", "dense_macs": 2000, "valid_macs": 1600, "bias": 4}
    conv |= {"output_elements": 160, "streams": [analog]}
    second = {"path": "second", "role": "synaptic", "op": "conv", "dense_macs": 800, "valid_macs": 720, "bias": 2}
    second |= {"output_elements": 16, "streams": [spikes], "geometry": shape}
    norm = {"path": "norm", "op": "elementwise", "module_type": "BatchNorm2d", "adds": 160, "muls": 160}
    relu = {"path": "relu", "op": "elementwise", "module_type": "ReLU", "compares": 160}
    lif = {"path": "lif", "role": "neuron", "neuron_model": "LIF", "neurons": 20, "updates": 160, "spikes_out": 20}
    return Counts.build("snn", [conv, norm, relu, lif, second], samples=2, time_steps=4)


@pytest.mark.parametrize(
    ("rules", "acs", "macs"),
    [
        ({}, 90, 800),
        ({"padding": "counted"}, 90, 1000),
        ({"zero_weights": "counted"}, 95, 800),
        ({"events": "rate"}, 360 / 4, 800),
        ({"events": "rate", "padding": "counted"}, 400 / 4, 1000),
        ({"events": "fanout"}, 10 * 12 * 9 / 4, 800),
        ({"first_layer": "once"}, 90, 200),
        ({"first_layer": "free"}, 90, 0),
        ({"bias": "layer"}, 90 + 8 / 4, 880),
        ({"bias": "layer", "events": "rate"}, (360 + 8) / 4, 880),
        ({"bias": "update"}, 90 + 88, 800),
        ({"norm": "macs"}, 90, 800 + 160),
        ({"elementwise": "macs"}, 90, 800 + 80),
        ({"neuron": {"default": {"macs_per_update": 1, "acs_per_spike": 2}}}, 90 + 20, 800 + 80),
        ({"neuron": {"LIF": {"acs_per_update": 1}, "default": {"macs_per_update": 9}}}, 90 + 80, 800),
    ],
)
def test_one_rule_at_a_time(rules: dict[str, Any], acs: float, macs: float) -> None:
    made = apply(snn(), rule(**rules))
    assert (made.acs, made.macs) == pytest.approx((acs, macs))
    assert made.energy_joules == pytest.approx((acs + 4 * macs) * 1e-12)
    assert sum(layer.energy_joules or 0 for layer in made.layers) == pytest.approx(made.energy_joules)


def test_two_operations_a_mac_and_no_price() -> None:
    made = apply(snn(), rule(energy=False, ops_per_mac=2))
    assert (made.ops, made.energy_joules) == (90 + 2 * 800, None)
    assert made.dense == 800 + 360


def test_an_ann_pays_for_its_first_layer_under_every_rule() -> None:
    layers = [layer for layer in snn().layers if layer.path == "conv"]
    ann = Counts.build("ann", layers, samples=2, time_steps=4)
    for first in ("every_step", "once", "free"):
        assert apply(ann, rule(first_layer=first)).macs == 800


def test_graded_values_four_ways() -> None:
    evidence = {"magnitudes": [1.0, 3.0], "positive": True, "zeros": True}
    graded = {"elements": 10, "nonzero": 4, "driven": 8, "effective": 6, "unit_taps": 14, "evidence": evidence}
    layer = {"path": "fc", "role": "synaptic", "dense_macs": 20, "valid_macs": 20, "streams": [graded]}
    counts = Counts.build("net", [layer])
    found = {}
    for charge in ("ac", "mac", "unit_acs", "dense_mac", "free"):
        made = apply(counts, rule(charges={"spike": "ac", "ternary": "ac", "graded": charge, "analog": "mac"}))
        found[charge] = (made.acs, made.macs)
    assert found == {"ac": (6, 0), "mac": (0, 6), "unit_acs": (14, 0), "dense_mac": (0, 20), "free": (0, 0)}


@pytest.mark.parametrize(("graded", "taps"), [(False, 1000 * 0.2), (True, 1000 * 0.4)])
def test_a_product_by_the_smaller_rate_or_by_the_spiking_side(graded: bool, taps: float) -> None:
    spikes = Evidence(magnitudes=(1.0,), positive=True, zeros=True)
    other = Evidence(magnitudes=(1.0, 2.0), positive=True, zeros=True) if graded else spikes
    layer = {"path": "qk", "role": "synaptic", "op": "matmul", "dense_macs": 1000, "valid_macs": 1000}
    made = Counts.build("net", [layer | {"streams": [{"elements": 100}, {"operand": "b", "elements": 100}]}]).layers[0]
    a, b = made.streams
    a = dataclasses.replace(a, nonzero=40, driven=70, effective=70, evidence=spikes, pair=other)
    b = dataclasses.replace(b, nonzero=20, evidence=other, pair=spikes)
    counts = Counts.build("net", [dataclasses.replace(made, streams=(a, b))])
    assert apply(counts, rule(attention="exact")).acs == 70
    assert apply(counts, rule(attention="min_rate")).acs == pytest.approx(taps)


def test_several_products_in_a_row_fall_back_to_events_and_say_so() -> None:
    spikes = Evidence(magnitudes=(1.0,), positive=True, zeros=True)
    layer = Counts.build("net", [{"path": "qk", "role": "synaptic", "dense_macs": 9, "valid_macs": 9}]).layers[0]
    half = [{"elements": 4, "nonzero": 1, "driven": 1, "effective": 1}, {"operand": "b", "elements": 4, "nonzero": 1}]
    streams = Counts.build("n", [{"path": "x", "role": "synaptic", "streams": half * 2}]).layers[0].streams
    both = tuple(dataclasses.replace(s, evidence=spikes, pair=spikes) for s in streams)
    made = apply(Counts.build("net", [dataclasses.replace(layer, streams=both)]), rule(attention="min_rate"))
    assert made.acs == 2
    assert "several products" in made.notes[0]


def test_a_cell_pays_for_its_gates_by_hidden_unit_and_step() -> None:
    analog = {"domain": "analog", "elements": 24, "nonzero": 24, "driven": 1920, "effective": 1920}
    lstm = {"path": "lstm", "role": "synaptic", "module_type": "LSTM", "dense_macs": 1920, "valid_macs": 1920}
    counts = Counts.build("net", [lstm | {"output_elements": 2 * 4 * 8 * 5, "streams": [analog]}], time_steps=5)
    assert apply(counts, rule(cells={"LSTM": 17})).macs == 1920 + 17 * 8 * 5


def test_outputs_without_neurons_are_neurons_where_the_rule_says_so() -> None:
    made = apply(snn(), load("keras_spiking"))
    by_path = {layer.path: layer.updates for layer in made.layers}
    assert (by_path["conv"], by_path["lif"], by_path["second"]) == (0, 80, 8)


def test_unknown_activity_is_said_and_charged_densely() -> None:
    bare = Counts.build("net", [{"path": "fc", "role": "synaptic", "dense_macs": 12, "valid_macs": 12}])
    made = apply(bare, "ours")
    assert made.macs == 12
    assert "no stream was recorded" in made.notes[0]
    with pytest.raises(UsageError, match="no sample"):
        apply(Counts("net"), "ours")


@pytest.mark.parametrize("shape", [{"kernel": [3]}, {"kernel": [3], "out_channels": 8}, {"kernel": [3], "stride": [1]}])
def test_the_reach_of_a_convolution_that_is_not_known_is_asked_for(shape: dict[str, Any]) -> None:
    spikes = {"domain": "spike", "elements": 8, "nonzero": 2, "driven": 4, "effective": 4}
    layer = {"path": "conv", "role": "synaptic", "op": "conv", "streams": [spikes], "geometry": shape}
    with pytest.raises(UsageError, match="conv: its geometry holds no out_channels, kernel and stride that agree"):
        apply(Counts.build("net", [layer]), "lava")


# The shipped conventions


def test_the_presets_are_there_and_ours_comes_first() -> None:
    found = list_conventions()
    assert sorted(c.name for c in found) == PRESETS
    assert found[0].name == "ours"
    assert all(c.summary and c.sources for c in found)
    for convention in found:
        for variant in convention.variants:
            assert load(f"{convention.name}:{variant}").name == f"{convention.name}:{variant}"


def test_ours_are_the_headline_numbers() -> None:
    counts, total = snn(), snn().total()
    made = apply(counts)
    assert (made.convention, made.acs * 2, made.macs * 2) == ("ours", total.acs, total.macs)


def test_names_and_files_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'spikformer'"):
        load("spikfomer")
    with pytest.raises(UsageError, match="no variant 'loihj'; did you mean 'loihi'"):
        load("keras_spiking:loihj")
    text = (ROOT / "conventions" / "ours.yaml").read_text(encoding="utf-8")
    own = tmp_path / "ours.yaml"
    for old, new, said in (
        ("graded: mac", "graded: maac", r"ours\.yaml:\d+:\d+: rules\.charges\.graded: .*did you mean 'mac'"),
        ("mac: 4.6 pJ", "mac: 4.6", r"energy\.mac: .*4\.6 pJ"),
        ("rules:", "rulez:", "did you mean 'rules'"),
        ("name: ours", "name: theirs", "expected 'ours'"),
    ):
        own.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ProfileError, match=said):
            load(own)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("variants: {x: {name: y}}", "variants.x.name: unknown key; expected one of energy, rules, title"),
        ("variants: {x: {title: 5}}", "variants.x.title: input should be a valid string"),
        ("variants: {x: {energy: 3 pJ}}", "variants.x.energy: expected keys and values, found '3 pJ'"),
        ("variants: {x: {rules: null}}", "variants.x.rules: expected keys and values, found null"),
        ("variants: {x: {rules: [1]}}", "variants.x.rules: expected keys and values, found [1]"),
        ("variants: {x: {rules: {padding: foo}}}", "variants.x.rules.padding: expected 'counted' or 'skipped'"),
        ("variants: {x: {rules: {charges: null}}}", "variants.x.rules.charges: expected keys and values, found null"),
        ("  cells: {LSTM: -17}", "rules.cells.LSTM: input should be greater than or equal to 0"),
        ("  cells: {LSTM: 1e999}", "rules.cells.LSTM: input should be a finite number"),
        ("  neuron: {LIF: {acs_per_spike: 1e999}}", "neuron.LIF.acs_per_spike: input should be a finite number"),
        ('  neuron: {LIF: {acs_per_spike: "3"}}', "neuron.LIF.acs_per_spike: input should be a valid number"),
        ("  neuron: {LIF: {macs_per_update: inf}}", "neuron.LIF.macs_per_update: input should be a valid number"),
    ],
)
def test_nonsense_is_refused_where_it_stands(tmp_path: Path, line: str, message: str) -> None:
    lines = (ROOT / "conventions" / "ours.yaml").read_text(encoding="utf-8").splitlines()
    at = lines.index("rules:") + 1 if line.startswith(" ") else len(lines)
    own = tmp_path / "ours.yaml"
    own.write_text("\n".join([*lines[:at], line, *lines[at:]]), encoding="utf-8")
    with pytest.raises(ProfileError, match=rf"ours\.yaml:{at + 1}:\d+: .*{re.escape(message)}"):
        load(own)


def test_a_variant_sets_what_it_names_and_keeps_the_rest() -> None:
    changed = rule(padding="counted", cells={"LSTM": 17}).model_dump() | {"energy": {"mac": "4 pJ", "ac": "1 pJ"}}
    variants = {"bias": {"rules": {"bias": "layer"}}, "bare": {"title": "Bare", "energy": None}}
    made = Convention.model_validate(changed | {"variants": variants})
    bias, bare = made.variant("bias"), made.variant("bare")
    assert bias == made.model_copy(
        update={"name": "test:bias", "rules": made.rules.model_copy(update={"bias": "layer"}), "variants": {}}
    )
    assert (bare.title, bare.energy, bare.rules) == ("Bare", None, made.rules)
    assert made.model_dump(mode="json")["variants"] == variants


def test_every_convention_beside_the_others() -> None:
    layers = [layer for layer in snn().layers if layer.path == "conv"]
    ann = Counts.build("ann", layers, samples=2)
    rows = {(row.convention, row.model): row for row in compare_all({"ann": ann, "snn": snn()})}
    assert len(rows) == 2 * len(PRESETS)
    fp32, int32 = rows["horowitz_fp32", "snn"], rows["horowitz_int32", "snn"]
    assert fp32.ratio == pytest.approx(1000 * 4.6 / (1000 * 4.6 + 95 * 0.9))
    assert int32.ratio == pytest.approx(1000 * 3.2 / (1000 * 3.2 + 95 * 0.1))
    assert rows["neurobench", "snn"].ratio is None


# Assumed rates


@given(rate=st.floats(0, 1))
def test_an_assumed_rate_is_dense_times_rate(rate: float) -> None:
    counts = price_rates(snn(), {"second": rate, "lif": 0.5})
    made = apply(counts, rule(events="rate"))
    assert made.acs == pytest.approx(360 * rate, abs=1e-3)
    assert made.macs == pytest.approx(800)
    assert counts["lif"].spikes_out == 40 * RATE_SAMPLES
    assert any("assumed" in note for note in made.notes)
    assert counts.conditions.synthetic


def test_a_rate_of_neurons_is_the_rate_of_the_layers_they_feed() -> None:
    layers = [dataclasses.replace(r, sources=("lif",)) if r.path == "second" else r for r in snn().layers]
    counts = price_rates(Counts.build("net", layers, samples=2, time_steps=4), {"lif": 0.125})
    assert apply(counts, rule(events="rate")).acs == pytest.approx(45)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"second": 1.5, "lif": 0.1}, "from 0 to 1"),
        ({"second": "x", "lif": 0.1}, "from 0 to 1"),
        ({"second": True, "lif": 0.1}, "from 0 to 1"),
        ({"second": float("nan"), "lif": 0.1}, "from 0 to 1"),
        ({"secnd": 0.1}, "did you mean 'second'"),
        ({"second": 0.1}, "'lif' is a neuron layer without a rate"),
        ({"second": (0.1, 0.2), "lif": 0.1}, "has 1 inputs; 2 rates"),
    ],
)
def test_rates_that_are_wrong(rates: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        price_rates(snn(), rates)


# Claims


def claim(model: str = "snn", kind: str = "snn", /, **fields: Any) -> Claim:
    return Claim.model_validate({"model": model, "kind": kind} | fields)


def rules_found(*table: Claim) -> list[str]:
    return [finding.rule for finding in check_claims(table)]


def test_a_rate_applied_twice() -> None:
    known = {"dense_macs": 1e6, "time_steps": 4, "rate": 0.25}
    assert rules_found(claim(acs=1e6, **known)) == []
    assert rules_found(claim(acs=0.25e6, **known)) == ["rate applied twice"]
    priced = {"acs": 1e6, "rate": 0.25, "ac": "0.9 pJ", "mac": "4.6 pJ", "macs": 1e5}
    assert rules_found(claim(energy="1.36 uJ", **priced)) == []
    assert rules_found(claim(energy="0.685 uJ", **priced)) == ["rate applied twice"]


def test_first_layer_once_against_every_step_in_a_published_table() -> None:
    prices = {"ac": "0.9 pJ", "mac": "4.6 pJ", "time_steps": 4}
    former = claim("8-512", acs=11.09e9, energy="11.577 mJ", first_layer_macs=86_704_128, **prices)
    sew = claim("SEW-34", acs=3.88e9, energy="4.035 mJ", first_layer_macs=118_013_952, **prices)
    narrow = claim("8-384", acs=6.82e9, energy="7.734 mJ", first_layer_macs=65_028_096, **prices)
    assert rules_found(former) == rules_found(sew) == []
    assert rules_found(former, sew) == ["first layer once against every step"]
    assert rules_found(narrow) == ["first layer of another size"]


def test_two_sides_that_differ() -> None:
    sizes = {"padded_macs": 1000, "valid_macs": 800}
    ann, spiking = claim("ann", "ann", dense_macs=1000, **sizes), claim(dense_macs=800, **sizes)
    assert rules_found(ann, ann) == []
    assert rules_found(ann, spiking) == ["padding on one side only"]
    fp, integer = claim("ann", "ann", mac="4.6 pJ"), claim(ac="0.1 pJ")
    assert rules_found(fp, claim(ac="0.9 pJ")) == []
    assert rules_found(fp, integer) == ["another precision on each side"]
    assert rules_found(claim("ann", "ann", format="fp32"), claim(format="int8")) == ["another precision on each side"]
    assert rules_found(claim("ann", "ann", memory=True), claim(memory=False)) == ["memory on one side only"]
    assert rules_found(claim("ann", "ann", batch=64), claim(batch=1)) == ["another batch on each side"]
    assert rules_found(claim("ann", "ann"), claim()) == []


def test_counts_fill_in_what_a_claim_leaves_out() -> None:
    (filled,) = with_counts([claim()], {"snn": snn()})
    assert (filled.padded_macs, filled.valid_macs, filled.time_steps) == (350, 290, 4)
    assert filled.first_layer_macs == 250


# The command line


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    snn().save(tmp_path / "snn.json")
    return tmp_path / "snn.json"


def test_conventions_are_listed_and_shown(cli: Cli) -> None:
    listed = cli("conventions", "list", "--json", "-")
    assert json.loads(listed.out)[0]["name"] == "ours"
    shown = cli("conventions", "show", "keras_spiking:loihi")
    assert shown.code == 0 and "2.71e-11 J" in shown.out
    assert cli("conventions", "show", "nobody").code == 2


def test_a_report_under_a_convention(cli: Cli, saved: Path) -> None:
    made = cli("report", saved, "--convention", "spikingformer", "--json", "-")
    (result,) = json.loads(made.out)["results"]
    assert (result["acs"], result["macs"]) == pytest.approx(((400 + 8) / 4, 1080))
    table = cli("report", saved, "--convention", "spikingformer")
    assert table.code == 0 and "as counted by spikingformer" in table.out
    for refused in (["--hardware", "loihi"], ["--html", "x.html"], ["--bits", "8"]):
        assert cli("report", saved, "--convention", "ours", *refused).code == 2


def test_all_conventions_side_by_side(cli: Cli, saved: Path) -> None:
    made = cli("compare", f"a={saved}", f"b={saved}", "--all-conventions", "--json", "-")
    rows = json.loads(made.out)["rows"]
    assert {row["ratio"] for row in rows} == {None, 1.0}
    assert cli("compare", saved, "--all-conventions").out.count("\n") > len(PRESETS)
    assert cli("compare", saved, "--all-conventions", "--convention", "ours").code == 2


def test_claims_are_checked_against_the_counts(cli: Cli, saved: Path, tmp_path: Path) -> None:
    claims = tmp_path / "claims.yaml"
    good = "schema_version: 1\nclaims:\n- {model: ann, kind: ann, dense_macs: 350, padded_macs: 350, valid_macs: 290}\n"
    claims.write_text(good + "- {model: snn, kind: snn, dense_macs: 350}\n", encoding="utf-8")
    assert cli("report", saved, "--hardware", "none", "--check-claims", claims).code == 0
    claims.write_text(good + "- {model: snn, kind: snn, dense_macs: 290}\n", encoding="utf-8")
    found = cli("report", saved, "--hardware", "none", "--check-claims", claims)
    assert found.code == 1 and "padding on one side only" in found.err
    claims.write_text("schema_version: 1\nclaims: [{model: a, kind: x}]\n", encoding="utf-8")
    assert cli("report", saved, "--hardware", "none", "--check-claims", claims).code == 2


def test_a_profile_with_assumed_rates(cli: Cli, tmp_path: Path) -> None:
    digits = ROOT / "examples" / "digits"
    structure = cli("profile", digits / "digits_snn.pt2", "--input", digits / "digits.npz", "--json", "-")
    layers = json.loads(structure.out)["layers"]
    rates = {row["path"]: 0.1 for row in layers if row.get("role") == "neuron"}
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(rates), encoding="utf-8")
    options = ["profile", digits / "digits_snn.pt2", "--input", digits / "digits.npz", "--rates", file]
    made = cli(*options, "--convention", "ours", "--json", "-")
    assert made.code == 0, made.err
    (result,) = json.loads(made.out)["results"]
    assert result["model"].endswith("(assumed rates)")
    assert any(note.startswith("assumed firing rates") for note in result["notes"])


def test_files_of_rates_that_are_wrong(tmp_path: Path) -> None:
    from snnenergy.cli.conventions import assumed

    file = tmp_path / "rates.json"
    with pytest.raises(UsageError, match="cannot be read"):
        assumed(snn(), file, None)
    for text, said in (("[]", "expected an object"), ("{", "not a JSON file"), ('{"nowhere": 0.1}', "no layer")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=said):
            assumed(snn(), file, None)
    file.write_text('{"second": 0.25, "lif": 0.5}', encoding="utf-8")
    assert assumed(snn(), file, None).model == "snn (assumed rates)"
