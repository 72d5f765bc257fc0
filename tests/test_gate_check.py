"""Budgets judged, by hand: a spike through a weight is one addition of 0.1 pJ on the 45 nm integer datapath."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnenergy
from snnenergy import Counts
from snnenergy.counts import Conditions, Coverage, Identity, Uncounted
from snnenergy.errors import BudgetError, CoverageError, NotComparableError, UsageError
from snnenergy.gate.difference import between
from snnenergy.gate.verdict import State, Verdict
from tests.gate_nets import CHIP, budget, net, synapses

check = snnenergy.check


def only(verdict: Verdict) -> State:
    (outcome,) = verdict.outcomes
    return outcome.state


def test_energy_by_hand() -> None:
    joules = snnenergy.estimate(net(1000), CHIP).energy
    assert joules is not None
    assert joules.nominal == pytest.approx(1100 * 0.1e-12)  # 1000 in fc, 100 in out
    for limit, state in (("111 pJ", State.HELD), ("110.1 pJ", State.HELD), ("109.9 pJ", State.BROKEN)):
        assert only(check(net(1000), [budget("energy", chip=CHIP, max=limit)])) is state


def test_layers_are_held_by_their_sum() -> None:
    made = check(net(1000), [budget("acs", layer="*", max=1100), budget("acs", layer="f*", max=999)])
    assert [(o.after, o.state) for o in made.outcomes] == [(1100, State.HELD), (1000, State.BROKEN)]
    assert made.outcomes[1].words == "acs of f* of net: 1 k above max 999"
    assert made.exit_code == 1
    layer = check(net(1000), [budget("energy", chip=CHIP, layer="out", max="10.1 pJ")]).outcomes[0]
    assert layer.after == pytest.approx(10e-12)


@pytest.mark.parametrize(
    ("metric", "limits", "held"),
    [
        ("acs", {"max": 1100}, True),
        ("acs", {"max": 1099}, False),
        ("acs", {"min": 1101}, False),
        ("macs", {"max": 0}, True),
        ("dense_macs", {"max": "8 k"}, True),
        ("parameters", {"max": 199}, False),
        ("sparsity", {"min": "90 %"}, True),  # 10 of 100 inputs are not zero
        ("sparsity", {"min": 0.91}, False),
        ("coverage", {"min": 1}, True),
    ],
)
def test_every_count_by_hand(metric: str, limits: dict[str, Any], held: bool) -> None:
    assert check(net(1000), [budget(metric, **limits)]).passed is held


def test_spikes_per_neuron_by_hand() -> None:
    lif = {"path": "lif", "role": "neuron", "neuron_model": "LIF", "neurons": 10, "updates": 80, "spikes_out": 30}
    counts = Counts.build("net", [synapses("fc", 5), lif], samples=2, time_steps=4)
    made = check(counts, [budget("spikes_per_neuron", max=1.5), budget("spikes_per_neuron", max=1.49)])
    assert [(o.after, o.state) for o in made.outcomes] == [(1.5, State.HELD), (1.5, State.BROKEN)]
    assert only(check(net(), [budget("spikes_per_neuron", max=1)])) is State.BROKEN  # no neuron: not a pass


def test_fits_and_latency_of_a_chip() -> None:
    assert not check(net(), [budget("fits", chip="truenorth")]).passed  # 32-bit weights
    assert check(net(), [budget("latency", chip="truenorth", max="1 s")]).passed
    edp = check(net(), [budget("edp", chip="truenorth", max="1 nJ s")]).outcomes[0]
    estimate = snnenergy.estimate(net(), "truenorth")
    assert estimate.edp is not None
    assert edp.after == estimate.edp.nominal


def test_a_figure_nobody_knows_is_no_pass() -> None:
    made = check(net(), [budget("latency", chip=CHIP, max="1 s")])
    assert made.exit_code == 1
    assert "says nothing about it" in made.outcomes[0].words
    analog = Counts.build(
        "net", [synapses("fc", 5) | {"streams": [{"domain": "analog", "elements": 9, "effective": 9}]}]
    )
    made = check(analog, [budget("energy", chip="loihi", max="1 J")])
    assert made.exit_code == 1
    assert "cannot price it" in made.outcomes[0].words


def test_a_layer_that_is_no_longer_priced_is_no_gain() -> None:
    analog = synapses("out", 100) | {"streams": [{"domain": "analog", "elements": 9, "driven": 100, "effective": 100}]}
    head = Counts.build("net", [synapses("fc", 1000), analog], time_steps=1, conditions=Conditions(inputs="ab"))
    rule = [budget("energy", chip="loihi", max="1 J")]
    assert check(net(1000), rule, net(1000)).passed
    made = check(head, rule, net(1000))
    assert made.exit_code == 1
    assert "lower bound: out no longer priced" in made.outcomes[0].words
    alone = check(head, rule)
    assert alone.passed
    assert [n.kind for n in alone.notices] == ["lower bound"]


def test_bounds_are_of_the_chip_range() -> None:
    estimate = snnenergy.estimate(net(), "loihi")
    assert estimate.energy is not None
    rules = [budget("energy", chip="loihi", max="1 J", bound=b) for b in ("low", "nominal", "high")]
    values = [o.after for o in check(net(), rules).outcomes]
    assert values == [estimate.energy.low, estimate.energy.nominal, estimate.energy.high]


def test_levels() -> None:
    states = {"error": State.BROKEN, "warn": State.WARNED, "off": State.OFF}
    for level, state in states.items():
        made = check(net(), [budget("acs", max=1, level=level)])
        assert only(made) is state
        assert made.passed is (level != "error")


def test_increase_against_a_baseline() -> None:
    rule = [budget("acs", max_increase="2 %")]
    assert only(check(net(1022), rule, net(1000))) is State.HELD  # 1122 of 1100 * 1.02
    made = check(net(1023), rule, net(1000))
    assert only(made) is State.BROKEN
    assert made.outcomes[0].words == "acs of net: 1.12 k, +2.09 % from 1.1 k, more than max_increase 2 %"
    assert only(check(net(1050), [budget("acs", max_increase=50)], net(1000))) is State.HELD
    assert only(check(net(1051), [budget("acs", max_increase=50)], net(1000))) is State.BROKEN
    assert only(check(net(1000), [budget("acs", max_increase="0 %")], net(1000))) is State.HELD


def test_a_change_too_small_to_see_is_written_out() -> None:
    made = check(net(1_000_001), [budget("acs", max_increase="0 %")], net(1_000_000))
    assert "1000101, +0.0001 % from 1000100" in made.outcomes[0].words


def test_a_missing_baseline_is_5_and_a_broken_budget_comes_first() -> None:
    rule = budget("acs", max_increase="2 %")
    made = check(net(), [rule])
    assert (made.exit_code, only(made)) == (5, State.UNJUDGED)
    assert "no baseline" in made.sentence
    with pytest.raises(NotComparableError):
        made.require()
    assert check(net(), [rule, budget("acs", max=1)]).exit_code == 1
    assert check(net(), [budget("acs", max=5000)], {}).exit_code == 5  # a baseline is kept, but this model has none


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": "cd"}, {"seed": 3}, {"rules": 2}, {"synthetic": True}, {"predicted": "T = 4"}, {"assumed": "rate 0.1"},
        {"training": "SGD"},
    ],
)  # fmt: skip  # a table, read across
def test_other_conditions_are_not_comparable(other: dict[str, Any]) -> None:
    conditions = Conditions(**({"inputs": "ab"} | other))
    made = check(net(5, conditions=conditions), [budget("acs", max_increase="2 %")], net(1000))
    assert (made.exit_code, only(made)) == (5, State.UNJUDGED)


def test_a_changed_identity_is_gated_and_explained() -> None:
    made = check(net(1200, weights="w2"), [budget("energy", chip=CHIP, max_increase="2 %")], net(1000))
    assert made.exit_code == 1
    (model,) = made.models
    assert model.difference is not None
    assert model.difference.identity == ("weights: w1 -> w2",)
    (cause,) = model.causes
    assert cause.name == f"model on {CHIP}"
    assert cause.delta == pytest.approx(20e-12)
    assert model.grown == ["fc +20 pJ"]


def test_a_change_without_another_model_is_of_the_tool_or_unexplained() -> None:
    def of(acs: int, cpu: str) -> Counts:
        return net(acs, identity=Identity("w1", "a", 1, "float32", versions={"cpu": cpu}))

    tool = check(of(1001, "y"), [budget("acs", max=5000)], of(1000, "x")).models[0].difference
    assert tool is not None
    assert tool.cause == "tool"
    assert "cpu x -> y" in tool.origin
    odd = check(of(1001, "x"), [budget("acs", max=5000)], of(1000, "x")).models[0].difference
    assert odd is not None
    assert odd.origin.startswith("unexplained")


def test_a_suspicious_gain_warns() -> None:
    rule = [budget("acs", max_increase="2 %")]
    made = check(net(400), rule, net(1000))  # 500 of 1100
    assert made.passed
    assert [n.kind for n in made.notices] == ["suspicious"]
    assert check(net(460), rule, net(1000)).notices == ()  # 560 of 1100


def test_coverage_is_demanded() -> None:
    partly = net(coverage=Coverage(75, 100, 9, 10), uncounted=(Uncounted("head", "mylib::op", 1, 25, "no rule"),))
    made = check(partly, [budget("acs", max=5000)])
    assert made.exit_code == 4
    assert "head: mylib::op" in made.problems[0][1].words
    with pytest.raises(CoverageError):
        made.require()
    assert check(partly, [budget("acs", max=5000)], min_coverage=75).passed
    assert not check(partly, [budget("coverage", min="80 %")], min_coverage=0).passed


def test_accuracy_when_given() -> None:
    rule = [budget("accuracy", min="95 %")]
    assert check(net(), rule, accuracy={"net": 0.95}).passed
    assert not check(net(), rule, accuracy={"net": 0.94}).passed
    with pytest.raises(UsageError, match="--accuracy net=SHARE"):
        check(net(), rule)
    with pytest.raises(UsageError, match="no such model"):
        check(net(), rule, accuracy={"nett": 0.94})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (budget("acs", model="other*", max=1), "match.model 'other*' matches no model; there are net"),
        (budget("acs", layer="conv*", max=1), "match.layer 'conv*' matches no layer of net; there are fc, out"),
        (budget("energy", chip="lo*", max="1 J"), "match.chip 'lo*' matches no chip"),
        (budget("energy", max="1 J"), "match.chip '*' matches no chip"),
        (budget("energy", chip="lohi", max="1 J"), "did you mean 'loihi'"),
    ],
)
def test_a_budget_that_matches_nothing_is_an_error(rule: Any, words: str) -> None:
    with pytest.raises(snnenergy.SnnEnergyError, match=r"match|loihi") as raised:
        check(net(), [rule])
    assert words in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_layer_of_the_baseline_that_is_gone_is_broken() -> None:
    head = Counts.build("net", [synapses("renamed", 5), synapses("out", 5)], conditions=Conditions(inputs="ab"))
    made = check(head, [budget("acs", layer="fc", max=5000)], net())
    assert made.exit_code == 1
    assert "fc gone (removed or renamed)" in made.sentence


@pytest.mark.parametrize(("paths", "state"), [(("conv1", "conv2"), State.HELD), (("conv1", "block"), State.BROKEN)])
def test_a_layer_that_left_the_glob_is_broken(paths: tuple[str, str], state: State) -> None:
    base, head = (
        Counts.build("net", [synapses(path, 5) for path in names], conditions=Conditions(inputs="ab"))
        for names in (("conv1", "conv2"), paths)
    )
    made = check(head, [budget("acs", layer="conv*", max=5000, max_increase="2 %")], base)
    assert only(made) is state
    assert ("conv2 gone (removed or renamed)" in made.sentence + made.outcomes[0].words) is (state is State.BROKEN)


def test_counts_without_a_sample_are_refused() -> None:
    for baseline in (None, net()):
        with pytest.raises(UsageError, match="net: these counts hold no sample"):
            check(Counts("net"), [budget("acs", max=1)], baseline)
    made = check(net(), [budget("acs", max=5000)], Counts("net"))
    assert [(p.error.exit_code, p.words) for _, p in made.problems] == [
        (5, "not comparable: inputs of the base is '', of the head 'ab'; count both alike")
    ]
    plain = net(conditions=Conditions())
    made = check(plain, [budget("acs", max=5000)], Counts("net"))
    assert [(p.error.exit_code, p.words) for _, p in made.problems] == [(5, "not comparable: the base holds no sample")]


def shapes(acs: int = 1000) -> Counts:
    counts = net(acs, conditions=Conditions())
    layers = tuple(
        replace(la, dense_macs=acs, streams=tuple(replace(s, seen=False) for s in la.streams)) for la in counts.layers
    )
    return replace(counts, layers=layers)


def test_counts_of_shapes_are_held_to_what_shapes_tell() -> None:
    rule = budget("dense_macs", max_increase="2 %")
    assert only(check(shapes(), [rule], shapes())) is State.HELD
    grown = check(shapes(1021), [rule], shapes())
    assert only(grown) is State.BROKEN and grown.models[0].grown == ["fc +21", "out +21"]
    assert check(shapes(), [budget("dense_macs", max=1)]).models[0].grown
    unknown = check(shapes(), [budget("acs", max=5000)])
    assert only(unknown) is State.BROKEN
    assert unknown.outcomes[0].words == "acs of net: they are counted from shapes"


def test_a_budget_that_is_off_asks_for_nothing() -> None:
    made = check(net(), [budget("accuracy", min=0.9, level="off"), budget("acs", max=5000)])
    assert [o.state for o in made.outcomes] == [State.OFF, State.HELD]


def test_globs_and_aliases() -> None:
    counts = {"a1": net(10), "a2": net(20), "b": net(30)}
    made = check(
        counts, [budget("energy", model="a?", chip="t*", max="1 J")], hardware=["truenorth", "tianjic", "h100"]
    )
    assert [(o.model, o.chip) for o in made.outcomes] == [
        (m, c) for m in ("a1", "a2") for c in ("truenorth", "tianjic")
    ]
    assert check(net(), [budget("latency", chip="h100", max="1 s")]).outcomes[0].chip == "h100_sxm"


def test_several_models_and_a_folder_of_baselines(tmp_path: Path) -> None:
    net(1000, name="a").save(tmp_path / "a.json")
    heads = [net(1000, name="a"), net(10, name="b")]
    made = check(heads, [budget("acs", max=5000)], tmp_path)
    assert [(name, p.error.exit_code) for name, p in made.problems] == [("b", 5)]
    with pytest.raises(UsageError, match="same model name"):
        check([net(1), net(2)], [budget("acs", max=5000)])
    with pytest.raises(UsageError, match="one baseline for 2 models"):
        check(heads, [budget("acs", max=5000)], net())


def test_a_settings_file_brings_hardware_and_baseline(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    net(1000).save(tmp_path / "base" / "net.json")
    text = 'baseline = "base"\nhardware = ["loihi"]\n[[budgets]]\nmetric = "energy"\nmax_increase = "0 %"\n'
    (tmp_path / "snnenergy.toml").write_text(text)
    made = check(net(1001), tmp_path / "snnenergy.toml")
    assert made.outcomes[0].chip == "loihi"
    assert made.outcomes[0].placed.place.line == 3
    with pytest.raises(BudgetError, match="more than max_increase 0 %"):
        made.require()


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 100))
def test_an_increase_is_broken_exactly_above_its_limit(base: int, head: int, percent: int) -> None:
    made = check(net(head), [budget("acs", max_increase=f"{percent} %")], net(base))
    assert made.passed is (head + 100 <= (base + 100) * (1 + percent / 100))


@given(st.integers(1, 9), st.integers(0, 3000))
def test_a_verdict_does_not_depend_on_how_many_samples_ran(samples: int, acs: int) -> None:
    rules = [budget("acs", max=1500), budget("energy", chip=CHIP, max="150 pJ")]
    one, many = check(net(acs), rules), check(net(acs, samples=samples), rules)
    assert [o.state for o in one.outcomes] == [o.state for o in many.outcomes]
    assert [o.after for o in one.outcomes] == [pytest.approx(o.after) for o in many.outcomes]


def test_the_same_inputs_as_more_samples_are_not_comparable() -> None:
    # `samples = 800` in the settings would make every figure per inference a hundredth
    one = replace(net(1000), conditions=Conditions(inputs="a"), samples=8)
    with pytest.raises(NotComparableError, match="8 samples, the head the same ones as 800"):
        between(one, replace(one, samples=800))
    assert between(one, one).cause == ""


@pytest.mark.parametrize(
    ("change", "metric", "base", "head"),
    [
        ({"op": "PostPre", "phase": "learning", "synapse_updates": 10}, "synapse_updates", 0, 10),
        ({"op": "PostPre", "phase": "learning", "trace_updates": 10}, "trace_updates", 0, 10),
        ({"streams": [{"domain": "spike", "elements": 100, "driven": 20, "effective": 10}]}, "driven", 10, 20),
    ],
)
def test_every_kind_of_work_that_is_priced_is_compared(
    change: dict[str, Any], metric: str, base: int, head: int
) -> None:
    row = {"path": "fc", "streams": [{"domain": "spike", "elements": 100, "driven": 10, "effective": 10}]}
    seen = between(Counts.build("net", [row]), Counts.build("net", [row | change]))
    assert [(c.name, c.base, c.head) for c in seen.layers["fc"] if c.name == metric] == [(metric, base, head)]
    assert next(c for c in seen.totals if c.name == metric).head == head
