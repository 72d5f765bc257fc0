"""The shipped profiles: sound, sourced, equal to the published facts; and what a wrong profile is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from snnenergy.cost import estimate as price
from snnenergy.cost import validate
from snnenergy.counts import Counts
from snnenergy.errors import ProfileError, UnknownHardwareError
from snnenergy.hardware import json_schema, lint, list_hardware, load_hardware, sheet
from snnenergy.hardware.document import read
from snnenergy.hardware.figures import Figure
from snnenergy.hardware.gaps import gaps
from snnenergy.report import document
from snnenergy.shipped import shipped

ROOT = Path(__file__).parents[1]
FILES = sorted(shipped("hardware_profiles").glob("*.yaml"))
NAMES = [f.stem for f in FILES]
WANTED = {
    *("truenorth", "loihi", "loihi_sanafe", "loihi2", "tianjic", "h100_sxm", "a100_sxm", "v100_sxm"),
    *("horowitz_fp32", "horowitz_fp16", "horowitz_int32", "horowitz_int16", "horowitz_int8", "lemaire2022"),
    *("h100_pcie", "jetson_agx_orin", "jetson_orin_nx", "jetson_orin_nano", "jetson_xavier_nx", "jetson_nano"),
    *("cpu_i7_4960x", "stm32u575", "ndp120", "northpole"),
    *("spinnaker", "spinnaker_spinn5", "spinnaker2", "brainscales2", "odin", "speck", "xylo", "akida", "sne"),
    *("jouppi_int8", "jouppi_int32", "jouppi_fp16", "jouppi_fp32", "genn_rtx2070", "spikey"),
}


@cache
def demo() -> Mapping[str, Counts]:
    return document.read(ROOT / "reports" / "digits.json").counts


def test_every_profile_of_the_project_ships() -> None:
    assert set(NAMES) == WANTED
    assert [chip.name for chip in list_hardware()] == sorted(NAMES)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_shipped_profiles_are_sound(file: Path) -> None:
    assert lint(file) == []
    chip = load_hardware(file)
    assert chip == load_hardware(chip.name)
    assert all(load_hardware(alias) == chip for alias in chip.aliases)
    for place, figure in chip.figures().items():
        assert figure.source in chip.sources, place
        if isinstance(figure, Figure):
            assert figure.low <= figure.value <= figure.high, place
        if figure.how in ("derived", "proxy"):
            assert figure.note or figure.conditions, f"{place}: what was it made from?"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_node_and_neurons_of_a_shipped_profile_name_their_source(file: Path) -> None:
    chip = load_hardware(file)
    assert (chip.node == "unknown") == (chip.node_source is None)
    assert chip.node_source in (None, *chip.sources)
    known = chip.supports.neuron_models is not None or chip.supports.bias
    assert chip.supports.source in chip.sources or not known


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["ann", "snn"])
def test_every_chip_prices_the_demo_or_says_in_words_what_is_missing(name: str, model: str) -> None:
    estimate = price(demo()[model], name)
    if estimate.energy is None or estimate.partial:
        assert estimate.verdict
        assert any("not published" in c or "not supported" in c for c in estimate.caveats), estimate.caveats
    else:
        assert 0 < estimate.energy.low <= estimate.energy.nominal <= estimate.energy.high
    assert set(load_hardware(name).unknown) <= {c.split(": ")[0] for c in estimate.caveats}


def test_no_two_profiles_share_a_name() -> None:
    names = [n for chip in list_hardware() for n in (chip.name, *chip.aliases)]
    assert len(names) == len(set(names))


def test_derived_figures_follow_from_their_parts() -> None:
    loihi, tianjic, h100 = (load_hardware(n).figures() for n in ("loihi", "tianjic", "h100_sxm"))
    assert loihi["energy.neuron_update"].value == pytest.approx(81e-12 - 52e-12)
    assert tianjic["energy.ann_op"].value == pytest.approx(2 / 1.28e12)
    assert tianjic["energy.synop"].value == pytest.approx(1 / 649e9, rel=1e-3)
    assert tianjic["latency.phase"].value == pytest.approx(5050 / 300e6, rel=3e-3)
    for i, tera in enumerate((66.9, 989.4, 1978.9)):
        assert h100[f"arithmetic.{i}.mac"].value == pytest.approx(2 * (700 - 140) / tera / 1e12, rel=3e-3)


def test_peaks_and_bounds_follow_from_what_their_notes_name() -> None:
    cpu = load_hardware("cpu_i7_4960x").figures()
    assert cpu["arithmetic.0.peak"].value == pytest.approx(6 * 3.6e9 * 16)
    assert cpu["arithmetic.0.mac"].value == pytest.approx(2 * 130 / (6 * 3.6e9 * 16), rel=1e-3)
    for name, cores, clock in (
        ("jetson_agx_orin", 2048, 1.3e9),
        ("jetson_orin_nano", 1024, 625e6),
        ("jetson_nano", 128, 921e6),
    ):
        chip = load_hardware(name).figures()
        assert chip["arithmetic.0.peak"].value == pytest.approx(2 * cores * clock, rel=1e-3)
        left = load_hardware(name).figures()["power.peak"].value - chip["power.static"].value
        for i in (0, 1):
            assert chip[f"arithmetic.{i}.mac"].value == pytest.approx(
                2 * left / chip[f"arithmetic.{i}.peak"].value, rel=2e-3
            )
    xavier = load_hardware("jetson_xavier_nx").figures()["memory.levels.0.bandwidth"]
    assert xavier.value == pytest.approx(128 * 1.6e9 * 2)
    for bits, mac, add in (("int8", 0.077, 0.007), ("int32", 1.51, 0.03), ("fp16", 0.5, 0.16), ("fp32", 1.69, 0.38)):
        row = load_hardware(f"jouppi_{bits}").figures()
        assert row["arithmetic.0.mac"].value == pytest.approx(mac * 1e-12)
        assert row["arithmetic.0.mac"].value == pytest.approx(row["arithmetic.0.mul"].value + add * 1e-12)


GOOD = (shipped("hardware_profiles") / "loihi.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  static: {value: 104.4 mW",
            "  statik: {value: 104.4 mW",
            "power.statik: unknown key; did you mean 'static'?",
        ),
        (
            "value: 104.4 mW,",
            "value: 104.4 mJ,",
            'power.static.value: expected a quantity such as "104 mW", found "104.4 mJ", which is in J',
        ),
        ("value: 23.6 pJ", "value: 1e-12", 'energy.synop.value: expected a quantity such as "23.6 pJ", found 1e-12'),
        ("value: 23.6 pJ", "value: 23.6", 'energy.synop.value: expected a quantity such as "23.6 pJ", found 23.6'),
        ("high: 35.5 pJ", "high: 12 pJ", "energy.synop.high: high is below value"),
        ("value: 52 pJ, low: 51.2 pJ", "value: 52 pJ, low: 53 pJ", "energy.neuron_access.low: low is above value"),
        ("{value: 104.4 mW, source: frady2020, ", "{value: 104.4 mW, ", "power.static: the key 'source' is missing"),
        (
            "{value: 104.4 mW, source: frady2020, ",
            "{value: 104.4 mW, source: fradi2020, ",
            "no such source 'fradi2020'; did you mean 'frady2020'?",
        ),
        (
            "{value: 104.4 mW, source: frady2020, how: measured",
            "{value: 104.4 mW, source: frady2020, how: guessed",
            "expected 'measured', ",
        ),
        ("  spike: synop", "  spike: synops", "charges.spike: expected 'synop', "),
        ("  model: barrier", "  model: barier", "did you mean 'barrier'?"),
        ("name: loihi\n", "name: lohi\n", "name: expected 'loihi', the name of the file"),
        ("  analog: unsupported\n", "", "charges: the key 'analog' is missing"),
        (
            "  hop_ew: {value: 3.0 pJ, source: davies2018, how: simulated}",
            "  hop_ew: null",
            "energy.hop_ew: null, but not named under `unknown`",
        ),
        (
            "assumptions:",
            "unknown: {energy.spike: why}\nassumptions:",
            "named unknown, but no figure of that name is null",
        ),
        (
            "value: 4096, source: nengoloihi",
            "value: 4096.5, source: nengoloihi",
            "capacity.fan_in.value: input should be a valid integer, found 4096.5",
        ),
        ("value: 23.6 pJ", "value: -23.6 pJ", "energy.synop.value: input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_profile_is_told_where_and_what(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) >= 1
    file = tmp_path / "loihi.yaml"
    text = GOOD.replace(old, new, 1)
    file.write_text(text, encoding="utf-8")
    changed = next(i for i, (a, b) in enumerate(zip(GOOD.splitlines(), text.splitlines(), strict=False), 1) if a != b)
    with pytest.raises(ProfileError) as raised:
        load_hardware(file)
    assert message in str(raised.value)
    assert [str(f) for f in lint(file)] == str(raised.value).splitlines()
    line = int(str(raised.value).split(":")[1])
    assert abs(line - changed) <= 12, f"line {line} is far from the change at line {changed}"
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "h100_sxm",
            "    peak: {value: 1978.9",
            "    add: {value: 1978.9 pJ, source: lightning, how: proxy}\n    mul: {value: 1978.9",
            "expected a quantity",
        ),
        (
            "v100_sxm",
            "    peak: {value: 125 TFLOP/s, source: lightning, how: datasheet, conditions: tensor cores}\n",
            "",
            "a roofline needs `peak`",
        ),
        (
            "v100_sxm",
            "      bandwidth: {value: 900 GB/s, source: lightning, how: datasheet}\n",
            "",
            "last level has a `bandwidth`",
        ),
        (
            "loihi",
            "  cores: {value: 128, source: davies2018, how: datasheet}\n",
            "",
            "a barrier needs `capacity.cores`",
        ),
        ("lemaire2022", "  law: regression", "  law: regresion", "no such law in SRAM; did you mean 'regression'?"),
    ],
)
def test_a_profile_that_would_leave_something_out_is_refused(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    text = (shipped("hardware_profiles") / f"{name}.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / f"{name}.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(message in str(finding) for finding in lint(tmp_path / f"{name}.yaml"))


def fig(value: str | int, **more: str) -> dict[str, Any]:
    return {"value": value, **more, "source": "m", "how": "measured"}


def small(**sections: Any) -> str:
    """A sound profile of a few figures, one section a line, with some of its sections exchanged."""
    chip = {
        "schema_version": 1,
        "name": "small",
        "title": "A chip of a few figures",
        "family": "neuromorphic",
        "node": "unknown",
        "summary": "For tests.",
        "sources": {"m": {"title": "bench"}},
        "charges": dict.fromkeys(("spike", "ternary", "graded", "analog"), "synop"),
        "energy": {"synop": fig("10 pJ")},
        "latency": {"model": "fixed_tick", "tick": fig("1 ms")},
    } | sections
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in chip.items())


def memory(*levels: dict[str, Any], law: str | None = "a", dataflow: str = "per_event") -> dict[str, Any]:
    named = [{"name": f"L{i}", **level} for i, level in enumerate(levels)]
    return row() | {"memory": {"dataflow": dataflow, "levels": named, **({"law": law} if law else {})}}


def law(*points: tuple[str, str], **more: Any) -> dict[str, Any]:
    rows = [{"size": size, "energy": energy} for size, energy in points]
    return {"source": "m", **({"points": rows} if rows else {}), **more}


LAW = law(("1 B", "1 pJ"), ("1 KiB", "2 pJ"))
SYNC = {"tiles": 1, "time": fig("1 ns")}


def row(**figures: Any) -> dict[str, Any]:
    return {"arithmetic": [{"bits": 32, "format": "fp32", "mac": fig("1 pJ"), "add": fig("1 pJ"), **figures}]}


def barrier(*sync: dict[str, Any], **capacity: Any) -> dict[str, Any]:
    model = {"model": "barrier", "synop": fig("1 ns"), "sync": list(sync or (SYNC,))}
    return {"latency": model, "capacity": {"cores": fig(4), **capacity}}


def point(name: str = "slow", **changes: Any) -> dict[str, Any]:
    return {"operating_points": {name: {"note": "slower", **changes}}}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"energy": {"synop": fig("10 pJ", low="-1 pJ")}},
            "energy.synop.low: input should be greater than or equal to 0",
        ),
        (row(peak=fig("0 OP/s")), "arithmetic.0.peak.value: input should be greater than 0"),
        (row(peak=fig("1 OP/s", low="0 OP/s")), "arithmetic.0.peak.low: input should be greater than 0"),
        (memory({"laws": {"a": LAW}, "bandwidth": fig("0 B/s")}), "bandwidth.value: input should be greater than 0"),
        (memory({"laws": {"a": LAW}, "capacity": fig("0 B")}), "capacity.value: input should be greater than 0"),
        *(
            (barrier(**{name: fig(0)}), f"capacity.{name}.value: input should be greater than 0")
            for name in ("cores", "neurons_per_core", "axons_out_per_core", "cores_per_tile", "fan_in", "weight_bits")
        ),
        (barrier(synapse_memory_per_core=fig("0 B")), "synapse_memory_per_core.value: input should be greater than 0"),
        (barrier(SYNC, SYNC), "latency.sync: expected rows in rising order of `tiles`, each once"),
        (barrier(SYNC | {"tiles": 8}, SYNC), "latency.sync: expected rows in rising order of `tiles`, each once"),
        (memory({"laws": {"a": law(*2 * [("1 B", "1 pJ")])}}), "a.points: expected rows in rising order of `size`"),
        (memory({"laws": {"a": law(("1 B", "-1 pJ"))}}), "points.0.energy: input should be greater than or equal to 0"),
        (memory({"laws": {"a": law(("0 B", "1 pJ"))}}), "points.0.size: input should be greater than 0"),
        (memory({"laws": {"a": law()}}), "memory.levels.0.laws.a: expected `base` and `per_bit`, or `points`"),
        (memory({"laws": {"a": law(base=fig("1 pJ"))}}), "laws.a: expected `base` and `per_bit`, or `points`"),
        (
            memory({"laws": {"a": LAW}}, law=None),
            "memory.levels.0.laws: `memory.law` names none of them; expected one of a",
        ),
        (memory({"laws": {"a": LAW}}, {"laws": {"b": LAW}}), "memory.law: no such law in L1; expected one of b"),
        (memory({"per_bit": fig("1 pJ/bit")}), "memory.law: no level has `laws`"),
        (memory({}, law=None), "memory.levels.0: every event is charged its accesses: expected `access`"),
        (memory({"access": fig("1 pJ")}, law=None), "memory.levels.0: `access` is the energy of so many bits"),
        (memory({"laws": {"a": LAW}}) | {"arithmetic": []}, "memory: addresses are computed for every event"),
        (
            {"latency": {"model": "roofline", "launch": fig("1 us")}}
            | memory({"bandwidth": fig("1 GB/s")}, law=None, dataflow="streamed")
            | {"arithmetic": []},
            "latency: a roofline needs an `arithmetic` section",
        ),
        (point(), "operating_points.slow: replaces nothing"),
        (
            point("default", static=fig("3 mW")),
            "operating_points.default: the profile's own operating point has this name",
        ),
        (
            point(tick=fig("2 ms")) | {"latency": {"model": "none"}},
            "operating_points.slow.tick: the model of time is none, which has no tick",
        ),
        (
            point(synop=fig("1 pJ")) | {"energy": {"synop": fig("2 pJ"), "synop_conv": fig("3 pJ")}},
            "operating_points.slow.synop: convolutions are charged `synop_conv`",
        ),
        (point(memory_law="b"), "operating_points.slow.memory_law: there is no `memory`"),
        (point(memory_law="b") | memory({"laws": {"a": LAW}}), "operating_points.slow: no such law in L0"),
        (point(latency=barrier()["latency"]), "operating_points.slow.latency: a barrier needs `capacity.cores`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_profile_that_no_net_could_be_priced_on_is_refused(
    tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(small(**sections), encoding="utf-8")
    assert [message in str(finding) for finding in lint(file)] == [True]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"family": "processor"},
        {"family": "datapath"},
        row(add=fig("0 pJ")) | {"charges": dict.fromkeys(("spike", "ternary", "graded", "analog"), "add")},
        barrier(SYNC, SYNC | {"tiles": 4}),
        memory({"laws": {"a": LAW}}, {"width": 32, "access": fig("640 pJ")}, {"per_bit": fig("1 pJ/bit")}),
        point(synop=fig("1 pJ"), synop_conv=fig("1 pJ")),
        point("default", synop=fig("10 pJ")),
    ],
)
def test_a_sound_profile_prices_at_every_point(tmp_path: Path, sections: dict[str, Any]) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(small(**sections), encoding="utf-8")
    assert lint(file) == []
    for name in (None, *load_hardware(file).operating_points):
        assert price(demo()["snn"], file, operating_point=name).energy is not None


def test_a_point_with_its_own_model_of_time_keeps_it() -> None:
    chip = load_hardware("truenorth")
    fast, slow = (
        chip.operating_points["tick 200 us"].model_copy(update={"latency": given}) for given in (None, chip.latency)
    )
    assert chip.changed(fast) == chip.changed(slow)


def test_a_streamed_memory_without_an_energy_is_a_gap(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    level = {"width": 32, "access": fig("640 pJ")}
    file.write_text(small(**memory(level, law=None, dataflow="streamed")), encoding="utf-8")
    assert (
        "`access` and `laws` are for a memory read per event"
        in dict(gaps(load_hardware(file)))["memory.levels.0.per_bit"]
    )


def test_profiles_are_found_beside_the_code_and_inside_a_wheel(tmp_path: Path) -> None:
    assert shipped("hardware_profiles") == ROOT / "hardware_profiles"
    package = tmp_path / "site" / "snnenergy"
    (package / "_data" / "hardware_profiles").mkdir(parents=True)
    (package / "shipped.py").write_text((ROOT / "snnenergy" / "shipped.py").read_text(encoding="utf-8"))
    (package / "__init__.py").write_text("")
    code = "from snnenergy.shipped import shipped; print(shipped('hardware_profiles'))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, cwd=package.parent, capture_output=True, text=True)
    assert ran.stdout.strip() == str(package / "_data" / "hardware_profiles")


def test_names_aliases_paths_and_search(tmp_path: Path) -> None:
    assert load_hardware("h100").name == "h100_sxm"
    with pytest.raises(UnknownHardwareError, match="no hardware profile 'lohi'; did you mean 'loihi'"):
        load_hardware("lohi")
    for capitals, name in (
        ("H100", "h100_sxm"),
        ("A100", load_hardware("a100").name),
        ("LOIHI", "loihi"),
        ("Loihi", "loihi"),
    ):
        assert load_hardware(capitals).name == name
    with pytest.raises(UnknownHardwareError, match="no hardware profile 'LOHI'; did you mean 'loihi'"):
        load_hardware("LOHI")
    mine = tmp_path / "my_chip.yaml"
    mine.write_text(
        GOOD.replace("name: loihi\n", "name: my_chip\n").replace("aliases: [loihi1, loihi_davies]", "aliases: [mine]")
    )
    assert load_hardware(mine).name == "my_chip"
    assert load_hardware(str(mine)).name == "my_chip"
    assert load_hardware("my_chip", search=[tmp_path]).name == "my_chip"
    assert load_hardware("mine", search=[tmp_path]).name == "my_chip"
    assert "my_chip" in [chip.name for chip in list_hardware([tmp_path])]
    with pytest.raises(ProfileError, match="no such folder"):
        load_hardware("mine", search=[tmp_path / "absent"])
    with pytest.raises(ProfileError, match="no such file"):
        load_hardware(tmp_path / "absent.yaml")


def test_the_schema_describes_files_as_they_are_written() -> None:
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    energy = schema["$defs"]["Energy"]
    assert energy["properties"]["value"]["type"] == "string"
    assert energy["properties"]["value"]["examples"] == ["23.6 pJ"]
    assert set(energy["required"]) == {"value", "source", "how"}
    assert energy["additionalProperties"] is False
    assert set(schema["required"]) >= {"name", "charges", "latency", "sources"}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_shipped_profiles_follow_the_schema(file: Path) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json_schema())
    value = read(file).value
    assert list(validator.iter_errors(value)) == []
    for wrong in (value | {"nmae": "x"}, value | {"power": {"static": {"value": 1.0, "source": "a", "how": "fitted"}}}):
        assert list(validator.iter_errors(wrong))


def test_the_page_of_chips_is_what_the_profiles_say() -> None:
    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    assert page == sheet.markdown(list_hardware(), validate.band)


def test_reading_a_profile_imports_neither_torch_nor_the_units_library() -> None:
    code = (
        "import sys; from snnenergy.hardware import load_hardware; load_hardware('h100');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'pint', 'pandas', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
