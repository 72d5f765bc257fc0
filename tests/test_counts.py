"""Counts: what they derive, how they merge, how they are written and read."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnenergy.counts import (
    Conditions,
    Counts,
    Coverage,
    Domain,
    Evidence,
    Identity,
    LayerCounts,
    PerStep,
    Stream,
    Uncounted,
)
from snnenergy.errors import CountsError
from snnenergy.report import layers

drawn = settings(max_examples=60, deadline=None, derandomize=True, database=None)


# ---- evidence and domain
def seen(*values: float, neuron: bool = False) -> Evidence:
    """Evidence of a handful of values."""
    sizes = sorted({float(abs(v)) for v in values if v})
    return Evidence(tuple(sizes), False, any(v > 0 for v in values), any(v < 0 for v in values), 0 in values, neuron)


@pytest.mark.parametrize(
    ("values", "domain"),
    [
        ((), "spike"),
        ((0,), "spike"),
        ((0, 1), "spike"),
        ((1,), "spike"),
        ((-1,), "spike"),
        ((0, 0.37), "spike"),
        ((0.37,), "analog"),
        ((-1, 1), "ternary"),
        ((-0.5, 0, 0.5), "ternary"),
        ((0, 1, 2), "graded"),
        ((0, 0.25, 0.75), "graded"),
        ((-2, 4), "graded"),
        ((1 / 9, 2 / 9, 8 / 9), "graded"),
        ((0.1, 0.3, 0.7), "graded"),
        ((1, 0.6180339887), "analog"),
        ((1, 3.14159265), "analog"),
    ],
)
def test_domain_of_values(values: tuple[float, ...], domain: str) -> None:
    assert seen(*values).domain == domain


def test_a_constant_is_a_spike_only_if_a_neuron_made_it() -> None:
    assert seen(0.5).domain == "analog"
    assert seen(0.5, neuron=True).domain == "spike"
    assert seen(0.5, 1.5, neuron=True).domain == "graded"  # whatever the producer


def test_unit_of_magnitudes() -> None:
    assert seen(0, 6, 4).unit == 2
    assert seen(0, 0.37).unit == 0.37
    assert seen(0.25, 0.75).unit == 0.25
    assert seen(1 / 9, 4 / 9).unit == pytest.approx(1 / 9)
    assert seen().unit is None
    assert seen(1, 2**0.5).unit is None


def test_too_many_magnitudes_are_forgotten() -> None:
    many = Evidence(tuple(float(i) for i in range(1, 66)), positive=True)
    assert many == Evidence(many=True)
    assert many.domain == "analog"
    assert Evidence((1.0, float("inf"))).many
    assert Evidence((float("nan"),)).many


def test_evidence_of_two_halves_is_evidence_of_the_whole() -> None:
    assert seen(0, 1) | seen(2) == seen(0, 1, 2)
    assert seen(0.5) | seen(0) == seen(0, 0.5)
    assert (seen(0.5) | seen(0)).domain == "spike"
    assert (seen(1) | seen(-1)).domain == "ternary"
    assert (seen(0.5, neuron=True) | seen(0.5)).domain == "analog"
    full = Evidence(tuple(float(i) for i in range(1, 65)), positive=True)
    assert (full | seen(65)).many


# ---- headline numbers of a net by hand
def small() -> Counts:
    return Counts.build(
        "net",
        [
            {
                "path": "conv",
                "role": "synaptic",
                "op": "conv",
                "dense_macs": 100,
                "valid_macs": 80,
                "weights": 9,
                "bias": 1,
                "streams": [{"elements": 40, "nonzero": 30, "driven": 70, "effective": 60, "evidence": {"many": True}}],
            },
            {
                "path": "lif",
                "role": "neuron",
                "neuron_model": "LIF",
                "neurons": 8,
                "updates": 16,
                "spikes_out": 4,
                "adds": 16,
            },
            {
                "path": "fc",
                "role": "synaptic",
                "op": "linear",
                "dense_macs": 50,
                "valid_macs": 50,
                "weights": 50,
                "streams": [
                    {"source": "lif", "elements": 16, "nonzero": 4, "driven": 20, "effective": 18, "domain": "spike"},
                    {
                        "source": "skip",
                        "elements": 4,
                        "nonzero": 2,
                        "driven": 10,
                        "effective": 9,
                        "unit_taps": 25,
                        "domain": "graded",
                    },
                ],
            },
        ],
        samples=2,
        time_steps=1,
    )


def test_totals_by_hand() -> None:
    total = small().total()
    assert (total.acs, total.macs, total.graded_macs, total.graded_units) == (18, 60 + 9, 9, 25)
    assert (total.dense_macs, total.valid_macs, total.driven, total.effective) == (150, 130, 100, 87)
    assert total.dense_analog_macs == 100 + 50 * 4 // 20
    assert (total.elements, total.nonzero, total.sparsity) == (60, 36, 1 - 36 / 60)
    assert (total.updates, total.spikes_out, total.firing_rate) == (16, 4, 0.25)
    assert total.per_inference("dense_macs") == 75
    assert total.weights == 59


def test_what_nobody_saw_is_in_no_rate_and_no_sum() -> None:
    counts = small()
    lif = counts["lif"]
    readout = dataclasses.replace(lif, path="readout", neuron_model="LI", spikes_out=None)
    both = dataclasses.replace(counts, layers=(*counts.layers, readout))
    total = both.total()
    assert (total.updates, total.watched_updates, total.spikes_out) == (2 * lif.updates, lif.updates, lif.spikes_out)
    assert both.firing_rate == total.firing_rate == counts.firing_rate
    assert dataclasses.replace(counts, layers=(readout,)).firing_rate is None
    assert (lif + dataclasses.replace(lif, spikes_out=None)).spikes_out is None
    assert layers.summed(layers.rows(both)).rate == counts.firing_rate


def test_graded_values_that_lost_their_unit_have_no_unit_accumulates() -> None:
    counts = small()
    spikes, graded = counts["fc"].streams
    fc = dataclasses.replace(counts["fc"], streams=(spikes, dataclasses.replace(graded, unit_taps=None)))
    changed = dataclasses.replace(counts, layers=tuple(fc if la.path == "fc" else la for la in counts.layers))
    assert (fc.graded_units, changed.total().graded_units) == (None, None)
    assert math.isnan(changed.total().per_inference("graded_units"))
    assert changed.per_inference("graded_units") is None


def test_layers_by_path() -> None:
    counts = small()
    assert counts["fc"].domains == ("spike", "graded")
    assert counts["fc"].acs == 18
    assert counts["lif"].firing_rate == 0.25
    assert counts["conv"].firing_rate is None
    with pytest.raises(KeyError):
        counts["nothing"]


def test_a_dataframe_has_a_row_a_layer() -> None:
    table = small().to_dataframe()
    assert list(table["path"]) == ["conv", "lif", "fc"]
    assert list(table["acs"]) == [0, 0, 18]
    assert list(table["domains"]) == ["analog", "", "spike+graded"]


def test_shares_of_coverage() -> None:
    assert Coverage().parameters == Coverage().calls == 1.0
    share = Coverage(3, 4, 1, 2)
    assert (share.parameters, share.calls, share.complete) == (0.75, 0.5, False)
    assert share + Coverage(4, 4, 2, 2) == Coverage(3, 4, 3, 4)


# ---- merging by hand
def test_merging_adds() -> None:
    one = small()
    two = one.merge(one)
    assert two.samples == 4
    assert two["fc"].dense_macs == 100
    assert two["fc"].streams[0].effective == 36
    assert two["fc"].weights == 50
    assert two["lif"].neurons == 8
    assert two["lif"].spikes_out == 8
    assert one == small()  # and changes neither


def test_merging_rescales_unit_taps_to_the_common_unit() -> None:
    def stream(evidence: Evidence, driven: int, units: int | None) -> Stream:
        return Stream(elements=9, nonzero=2, driven=driven, effective=driven, unit_taps=units, evidence=evidence)

    halves = stream(seen(0, 0.5), 10, 10)  # ten taps of one half
    wholes = stream(seen(0, 1.0), 6, 6)  # six taps of one: twelve halves
    assert (halves + wholes).unit_taps == 10 + 2 * 6
    assert (halves + wholes).domain == "graded"
    analog = stream(Evidence(many=True), 7, None)
    assert (halves + analog).unit_taps is None
    empty = stream(Evidence(zeros=True), 0, 0)
    assert (halves + empty).unit_taps == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "two models"),
        ({"time_steps": 4}, "time steps"),
        ({"identity": Identity(weights="abc")}, "weights"),
        ({"identity": Identity(architecture="abc")}, "architecture"),
        ({"identity": Identity(dtype="bfloat16")}, "dtype"),
        ({"conditions": Conditions(seed=3)}, "seeds"),
        ({"conditions": Conditions(rules=2)}, "rules"),
        ({"layers": ()}, "one side only"),
    ],
)
def test_what_are_no_shards_of_one_model_does_not_merge(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CountsError, match=message):
        small().merge(dataclasses.replace(small(), **change))
    with pytest.raises(CountsError, match=message):
        dataclasses.replace(small(), **change).merge(small())


@pytest.mark.parametrize("inputs", ["0x1f", "ghij", " 1f", "1_f"])
def test_a_digest_is_hexadecimal(inputs: str) -> None:
    with pytest.raises(CountsError, match=r"conditions\.inputs: expected hexadecimal digits, found"):
        Counts.from_dict({**small().to_dict(), "conditions": {"inputs": inputs}})


@pytest.mark.parametrize("field", ["role", "weights", "fan_in", "neuron_model", "weight_bits"])
def test_layers_of_different_structure_do_not_merge(field: str) -> None:
    one = LayerCounts("a", role="synaptic")
    change: dict[str, Any] = {field: {"role": "neuron", "neuron_model": "IF"}.get(field, 7)}
    other = dataclasses.replace(one, **change)
    with pytest.raises(CountsError, match=field):
        one + other


def test_streams_of_different_sources_do_not_merge() -> None:
    one = LayerCounts("a", role="synaptic", streams=(Stream(source="x"),))
    other = LayerCounts("a", role="synaptic", streams=(Stream(source="y"),))
    with pytest.raises(CountsError, match="streams differ"):
        one + other


def test_a_path_stands_once() -> None:
    with pytest.raises(CountsError, match="two layers have the path 'a'"):
        Counts(layers=(LayerCounts("a"), LayerCounts("a")))


def test_a_role_is_one_of_three() -> None:
    with pytest.raises(CountsError, match="role must be one of"):
        LayerCounts("a", role="dense")


# ---- the laws of merging, on drawn counts
small_numbers = st.integers(0, 10**12)
magnitudes = st.lists(st.sampled_from((0.25, 0.5, 1.0, 2.0, 3.0, 0.37)), max_size=3, unique=True)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    sizes = tuple(sorted(draw(magnitudes)))
    positive = draw(st.booleans())
    negative = draw(st.booleans()) if positive else bool(sizes)
    return Evidence(
        sizes,
        draw(st.booleans()) and not sizes,
        positive and bool(sizes),
        negative and bool(sizes),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@st.composite
def streams_of(draw: st.DrawFn, source: str | None) -> Stream:
    """A stream as the engine could have seen it: its unit taps follow from its values."""
    evidence = draw(evidences())
    driven = draw(st.integers(1, 10**9)) if evidence.magnitudes or evidence.many else 0
    unit = evidence.unit
    units: int | None = 0 if not driven else None
    if driven and unit is not None:
        units = driven if len(evidence.magnitudes) == 1 else draw(st.integers(driven, 4 * driven))
    return Stream(source, "a", draw(small_numbers), draw(small_numbers), driven, driven // 2, units, evidence)


@st.composite
def counts_of_one_model(draw: st.DrawFn) -> Counts:
    numbers: dict[str, Any] = {
        name: draw(small_numbers)
        for name in "dense_macs valid_macs adds muls compares specials output_elements".split()
    }
    steps = draw(st.none() | st.just(None) | st.tuples(small_numbers, small_numbers))
    layers = (
        LayerCounts(
            "fc",
            role="synaptic",
            op="linear",
            weights=12,
            weight_bits=32,
            **numbers,
            sources=tuple(draw(st.sampled_from(((), ("x",), ("x", "y"))))),
            streams=(draw(streams_of("x")), draw(streams_of(None))),
            geometry=draw(st.sampled_from(({}, {"inputs": 4}))),
            per_step=PerStep(steps, steps) if steps is not None else None,
            calls=draw(small_numbers),
        ),
        LayerCounts(
            "lif",
            role="neuron",
            neuron_model="LIF",
            neurons=3,
            updates=draw(small_numbers),
            spikes_out=draw(st.none() | small_numbers),
        ),
    )
    ledger = tuple(
        Uncounted("fc", op, draw(st.integers(0, 5)), draw(st.integers(0, 5)), "no rule")
        for op in draw(st.lists(st.sampled_from(("a::x", "a::y")), unique=True))
    )
    return Counts(
        "net",
        draw(st.integers(1, 50)),
        draw(st.integers(1, 50)),
        2,
        layers,
        tuple(sorted(ledger, key=lambda u: u.op)),
        Coverage(
            *sorted(draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))),
            *sorted(draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))),
        ),
        Conditions(inputs=f"{draw(st.integers(0, 2**128 - 1)):032x}", partial=draw(st.booleans())),
        Identity(weights="w", architecture="a", time_steps=2, dtype="float32"),
    )


@drawn
@given(counts_of_one_model(), counts_of_one_model())
def test_merging_is_commutative(one: Counts, other: Counts) -> None:
    assert one.merge(other) == other.merge(one)


@drawn
@given(counts_of_one_model(), counts_of_one_model(), counts_of_one_model())
def test_merging_is_associative(a: Counts, b: Counts, c: Counts) -> None:
    left, right, flat = a.merge(b).merge(c), a.merge(b.merge(c)), a.merge(b, c)
    assert left == flat
    assert left == right


@drawn
@given(counts_of_one_model(), counts_of_one_model())
def test_merging_is_pure_and_adds(one: Counts, other: Counts) -> None:
    before = one.to_json(), other.to_json()
    merged = one.merge(other)
    assert (one.to_json(), other.to_json()) == before
    for name in ("dense_macs", "adds", "updates", "driven", "effective", "elements"):
        assert getattr(merged.total(), name) == getattr(one.total(), name) + getattr(other.total(), name)
    assert merged.samples == one.samples + other.samples
    assert one.merge() == one


@drawn
@given(counts_of_one_model())
def test_json_brings_back_exactly_what_was_written(counts: Counts) -> None:
    text = counts.to_json()
    assert Counts.from_dict(json.loads(text)) == counts
    assert Counts.from_dict(json.loads(text)).to_json() == text


# ---- the file
def test_save_and_load(tmp_path: Path) -> None:
    counts = small()
    counts.save(tmp_path / "net.json")
    assert Counts.load(tmp_path / "net.json") == counts
    assert [p.name for p in tmp_path.iterdir()] == ["net.json"]
    counts.merge(counts).save(tmp_path / "net.json")
    assert Counts.load(tmp_path / "net.json").samples == 4


def test_json_begins_with_its_version_and_is_plain_ascii() -> None:
    text = Counts.build("réseau", [{"path": "fc"}]).to_json()
    assert next(iter(json.loads(text))) == "schema_version"
    assert text.isascii()
    assert text.endswith("}\n")


def test_json_names_what_follows_from_the_rest() -> None:
    document = json.loads(small().to_json())
    assert document["layers"][2]["streams"][0]["domain"] == "spike"
    assert document["coverage"] == {"parameters": 1.0, "calls": 1.0, **document["coverage"]}


def test_numbers_beyond_float_precision_survive() -> None:
    big = 2**80 + 1
    counts = Counts.build("net", [{"path": "fc", "role": "synaptic", "dense_macs": big}])
    assert Counts.from_dict(json.loads(counts.to_json())).total().dense_macs == big


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"speed": 1}, "unknown field 'speed'"),
    "unknown field of a layer": ({"layers": [{"path": "a", "macs": 3}]}, r"layers\[0\]: unknown field 'macs'"),
    "no path": ({"layers": [{"role": "other"}]}, r"layers\[0\].*path"),
    "negative": ({"layers": [{"path": "a", "dense_macs": -1}]}, "cannot be negative, found -1"),
    "a float for a count": ({"samples": 1.5}, "samples: expected int, found 1.5"),
    "a bool for a count": ({"samples": True}, "samples: expected int, found True"),
    "a string for a count": ({"samples": "3"}, "samples: expected int"),
    "an object for a list": ({"layers": {}}, "layers: expected a list, found an object"),
    "a list for an object": ({"coverage": []}, "coverage: expected an object, found a list"),
    "null for a number": ({"samples": None}, "samples: expected int, found null"),
    "no such domain": (
        {"layers": [{"path": "a", "streams": [{"domain": "event"}]}]},
        "expected spike, ternary, graded or analog",
    ),
    "no such override": (
        {"layers": [{"path": "a", "streams": [{"override": "event"}]}]},
        "expected spike, ternary, graded or analog",
    ),
    "a domain against its evidence": (
        {"layers": [{"path": "a", "streams": [{"domain": "spike", "evidence": {"many": True}}]}]},
        "says spike, but its evidence says analog",
    ),
    "no such role": ({"layers": [{"path": "a", "role": "dense"}]}, "role must be one of"),
    "a path twice": ({"layers": [{"path": "a"}, {"path": "a"}]}, "two layers have the path"),
    "400 digits": ({"layers": [{"path": "a", "weights": 10**400}]}, r"weights: larger than 1e\+30"),
    "400 digits in a step": (
        {"layers": [{"path": "a", "per_step": {"driven": [10**400]}}]},
        r"driven\[0\]: larger than",
    ),
    **{
        f"geometry {shape}": ({"layers": [{"path": "a", "geometry": shape}]}, rf"layers\[0\]\.geometry\.{message}")
        for shape, message in (
            ({"synapses": "x"}, "synapses: expected int, found 'x'"),
            ({"outputs": [1]}, "outputs: expected int, found a list"),
            ({"kernel": 3}, "kernel: expected a list, found 3"),
            ({"kernel": [3.0, 3]}, r"kernel\[0\]: expected int, found 3.0"),
            ({"stride": [1, 0]}, "stride: expected 1 or more, found 0"),
            ({"groups": 0}, "groups: expected 1 or more, found 0"),
            ({"padding": [-1]}, r"padding\[0\]: a count cannot be negative"),
        )
    },
    "a key of no geometry": (
        {"layers": [{"path": "a", "geometry": {"kernels": [3]}}]},
        r"layers\[0\]\.geometry: unknown field 'kernels'",
    ),
    "another version": ({"schema_version": 99}, "schema_version 99"),
    "a string for a version": ({"schema_version": "1"}, "schema_version '1'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_document_is_refused_with_the_place(name: str, tmp_path: Path) -> None:
    change, message = WRONG[name]
    document = {"schema_version": 1, **change}
    with pytest.raises(CountsError, match=message):
        Counts.from_dict(document)
    path = tmp_path / "net.json"
    path.write_text(json.dumps(document))
    with pytest.raises(CountsError, match=r"net\.json") as raised:
        Counts.load(path)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '{"a": NaN}',
        '{"schema_version": 1, "samples": Infinity}',
        "[" * 100_000,
        "\x00",
        "{}",
    ],
)
def test_what_is_no_counts_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(CountsError, match=r"net\.json"):
        Counts.load(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CountsError, match="no such file"):
        Counts.load(tmp_path / "net.json")
    with pytest.raises(CountsError, match="cannot be read"):
        Counts.load(tmp_path)


def test_a_file_of_binary_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(CountsError, match=r"net\.json"):
        Counts.load(path)


# ---- by hand
def test_build_checks_like_the_reader() -> None:
    with pytest.raises(CountsError, match=r"layers\[0\]: unknown field"):
        Counts.build("net", [{"path": "fc", "speed": 3}])
    with pytest.raises(CountsError, match="samples must be at least 1"):
        Counts.build("net", [], samples=0)


def test_a_domain_given_by_hand_stands_as_an_override() -> None:
    (stream,) = Counts.build("net", [{"path": "fc", "streams": [{"domain": "graded", "effective": 3}]}])["fc"].streams
    assert (stream.override, stream.domain) == (Domain.GRADED, "graded")


def test_counts_cannot_be_changed() -> None:
    counts = small()
    with pytest.raises(dataclasses.FrozenInstanceError):
        counts.samples = 3  # type: ignore[misc]  # what is tested
