"""What cannot be priced is said, what does not fit is named, and laws that hold on every chip."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnenergy.cost import Range, compare, conventions, estimate
from snnenergy.counts import Conditions, Counts, Uncounted
from snnenergy.errors import BudgetError, UsageError
from snnenergy.hardware import Profile, load_hardware
from tests.cost_nets import ANALOG, SPIKES, STEPS, lif, linear, net, pj


def test_an_ann_on_a_spiking_chip_is_refused_in_words() -> None:
    layers = [
        linear("conv1", 64, 16, 500, steps=1, evidence=ANALOG, op="conv2d"),
        {"path": "relu", "role": "other", "compares": 16, "sources": ["conv1"]},
        linear("fc", 16, 10, 100, steps=1, evidence=ANALOG, sources=["relu"]),
    ]
    for chip in ("truenorth", "loihi", "loihi_sanafe", "loihi2"):
        made = estimate(Counts.build("ann", layers), chip)
        assert made.energy is None
        assert made.latency is None
        assert made.partial
        assert made.verdict == "analog: not supported"
        assert made.caveats[0] == (
            "analog: not supported (layers conv1, fc): needs an encoder or a host; not priced, the total is partial"
        )
        assert made.fit.fits is False


def test_the_farthest_domain_from_spikes_gives_the_verdict() -> None:
    graded = {"magnitudes": [1.0, 2.0], "positive": True, "zeros": True}
    layers = [linear("a", 20, 30, 600, steps=1, evidence=graded), linear("b", 30, 10, 300, steps=1, evidence=ANALOG)]
    made = estimate(Counts.build("ann", layers), "loihi")
    assert made.verdict == "analog: not supported"
    assert made.caveats[0].startswith("analog: not supported (layer b)")
    assert made.caveats[1].startswith("graded: not supported (layer a)")
    assert estimate(Counts.build("ann", layers), "loihi2").verdict == "partial: analog in 1 of 2 layers"


def test_an_analog_first_layer_leaves_the_rest_priced() -> None:
    layers = [
        linear("conv1", 20, 30, 900, evidence=ANALOG),
        lif("lif1", 30, 25),
        linear("fc2", 30, 10, 250),
        lif("lif2", 10, 5),
    ]
    made = estimate(Counts.build("snn", layers, time_steps=STEPS), "loihi")
    assert made.caveats[0].startswith("analog: not supported (layer conv1): needs an encoder or a host")
    assert made.partial
    assert made.verdict == "partial: analog in 1 of 2 layers"
    assert made.breakdown.synaptic.nominal == pj(250 * 23.6)
    assert made.breakdown.neuron.nominal == pj(400 * 81)


def test_graded_spikes_need_loihi_2() -> None:
    graded = {"magnitudes": [1.0, 2.0], "positive": True, "zeros": True}
    layers = [linear("fc", 20, 30, 600, evidence=graded), lif("lif", 30, 5)]
    counts = Counts.build("net", layers, time_steps=STEPS)
    assert estimate(counts, "loihi").verdict == "graded: not supported"
    assert "layer fc: graded input is not supported" in estimate(counts, "loihi").fit.problems
    assert estimate(counts, "loihi2").breakdown.synaptic.nominal == pj(600 * 23.6)


def test_a_product_of_activations_is_no_synapse() -> None:
    pair = linear("attention::matmul#0", 20, 30, 600, op="matmul", weight_bits=32)
    pair["streams"][0]["pair"] = SPIKES
    counts = Counts.build("attention", [pair], time_steps=STEPS)
    assert estimate(counts, "loihi").verdict == "product of activations: not supported"
    assert estimate(counts, "horowitz_fp32").breakdown.compute.nominal == pj(600 * 0.9)


def test_no_neuron_behind_a_layer_is_charged_and_said() -> None:
    made = estimate(Counts.build("net", [linear("fc", 20, 30, 1200)], time_steps=STEPS), "loihi")
    assert made.breakdown.neuron.nominal == pj(30 * STEPS * 81)
    assert "no neuron recognised behind layer fc: one neuron per output element and step is charged" in made.caveats


def test_what_was_not_recorded_is_never_a_silent_zero() -> None:
    bare = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 600}
    made = estimate(Counts.build("net", [bare]), "loihi")
    assert made.partial
    assert "no stream was recorded (layer fc)" in made.caveats[0]
    uncounted = net(uncounted=())
    assert not estimate(uncounted, "loihi").partial
    holed = net(uncounted=(Uncounted("odd", "aten.fancy", 3),))
    assert estimate(holed, "loihi").partial
    assert any("uncounted arithmetic, layer odd (aten.fancy)" in line for line in estimate(holed, "loihi").caveats)


@pytest.mark.parametrize(
    ("chip", "model", "layer", "said"),
    [
        ("loihi", "LIF", 1, True),  # sends messages on
        ("loihi", "LIF", 3, False),  # nobody listens
        ("loihi_sanafe", "LIF", 3, True),  # a spike has a price of its own
        ("loihi_sanafe", "LI", 3, False),  # never spikes
        ("lemaire2022", "LIF", 3, True),  # writes its spikes
        ("truenorth", "LIF", 1, False),
    ],
)
def test_spikes_that_nobody_saw_are_not_priced_as_none(chip: str, model: str, layer: int, said: bool) -> None:
    layers = list(net().layers)
    row = layers[layer] = dataclasses.replace(layers[layer], spikes_out=None, neuron_model=model)
    made = estimate(Counts.build("net", layers, time_steps=STEPS), chip)
    line = f"the spikes of layer {row.path} were not seen: what they cost is not priced, the total is partial"
    assert (line in made.caveats, made.partial, made.verdict == "partial: spikes not seen") == (said, said, said)


def test_an_inference_is_the_total_over_the_samples() -> None:
    one = net()
    four = one.merge(one, one, one)
    for chip in ("loihi", "truenorth", "tianjic", "horowitz_fp32", "lemaire2022"):
        left, right = estimate(one, chip), estimate(four, chip)
        assert right.energy is not None
        assert left.energy is not None
        assert right.energy.nominal == pytest.approx(left.energy.nominal, rel=1e-12)
        assert right.fit == left.fit


@pytest.mark.parametrize(
    "chip", ["truenorth", "loihi", "loihi_sanafe", "loihi2", "tianjic", "h100_sxm", "horowitz_fp32", "lemaire2022"]
)
def test_every_range_is_ordered_and_layers_add_up(chip: str) -> None:
    made = estimate(net(), chip)
    assert made.energy is not None
    assert 0 < made.energy.low <= made.energy.nominal <= made.energy.high
    for part in made.breakdown.nonzero().values():
        assert part.low <= part.nominal <= part.high
    if made.latency is not None:
        assert 0 < made.latency.low <= made.latency.nominal <= made.latency.high
    layers = sum(row.breakdown.dynamic.nominal for row in made.layers)
    assert layers == pytest.approx(made.breakdown.dynamic.nominal)


def test_bad_options() -> None:
    with pytest.raises(UsageError, match="bits must be 1 to 128, found 0"):
        estimate(net(), "loihi", bits=0)
    with pytest.raises(UsageError, match="batch must be at least 1, found 0"):
        estimate(net(), "h100", batch=0)
    with pytest.raises(UsageError, match="no sample"):
        estimate(Counts(model="empty"), "loihi")
    assert any("batch has no meaning" in line for line in estimate(net(), "loihi", batch=4).caveats)
    assert estimate(net(), "loihi", batch=4).energy == estimate(net(), "loihi").energy


def test_a_training_step_is_no_inference() -> None:
    phases = [linear("fc", 20, 30, 600, steps=1), linear("fc@grad_weight", 20, 30, 600, steps=1, phase="grad_weight")]
    step = Counts.build("step", phases, forwards=1, conditions=Conditions(training="sgd"))
    for refused, said in (
        (lambda: estimate(step, "h100", batch=7), "training steps of 1 samples"),
        (lambda: estimate(step, "h100", pipeline=True), "they do not overlap"),
        (lambda: compare({"net": net(), "step": step}, ["h100"]), "counts of training and of inference in one report"),
        (lambda: conventions.apply(step, "ours"), "conventions count an inference"),
    ):
        with pytest.raises(UsageError, match=said):
            refused()
    huge = dataclasses.replace(step.layers[0], weights=10**12)
    with pytest.raises(BudgetError, match="step does not fit"):
        estimate(dataclasses.replace(step, layers=(huge, step.layers[1])), "h100", strict_fit=True)


def test_dynamic_energy_below_the_meter_is_said() -> None:
    quiet = Counts.build("quiet", [linear("fc", 2, 2, 2), lif("lif", 2, 1)], time_steps=STEPS)
    made = estimate(quiet, "loihi2")
    assert any("not resolvable on silicon" in line for line in made.caveats)


def test_an_unpublished_price_is_refused_not_zero() -> None:
    chip = load_hardware("loihi")
    blind = chip.model_copy(update={"energy": chip.energy.model_copy(update={"synop": None})})
    made = estimate(net(), blind)
    assert made.energy is None
    assert made.partial
    assert made.caveats[0] == "energy.synop is not published (layers fc1, fc2): not priced, the total is partial"
    assert made.verdict == "energy.synop: not published"


@pytest.mark.parametrize("chip", ["akida", "brainscales2", "speck", "xylo"])
def test_a_silent_net_is_refused_where_a_busy_one_is(chip: str) -> None:
    silent = Counts.build("silent", [linear("fc", 20, 30, 0), lif("lif", 30, 0)], time_steps=STEPS)
    made = estimate(silent, chip)
    assert (made.energy, made.partial, made.verdict) == (None, True, "energy.synop: not published")


@pytest.mark.parametrize(("bits", "said"), [(16, None), (24, "24-bit arithmetic is not published; priced as fp32")])
def test_a_product_of_activations_has_the_width_of_its_values(bits: int, said: str | None) -> None:
    pair = linear("q::matmul#0", 20, 30, 600, op="matmul", weight_bits=0, input_bits=bits, evidence=ANALOG)
    pair["streams"][0]["pair"] = ANALOG
    lines = estimate(Counts.build("attention", [pair]), "h100").caveats
    assert [line for line in lines if "is not published; priced as" in line] == ([said] if said else [])


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from(["loihi", "truenorth", "tianjic", "horowitz_int32", "lemaire2022"]),
)
@settings(max_examples=40, deadline=None)
def test_more_events_never_cost_less(few: int, more: int, chip: str) -> None:
    def energy(taps: int) -> Range:
        made = estimate(Counts.build("n", [linear("fc", 20, 30, taps), lif("lif", 30, 5)], time_steps=STEPS), chip)
        assert made.energy is not None
        return made.energy

    one, two = energy(few), energy(few + more)
    assert one.low <= two.low
    assert one.nominal <= two.nominal
    assert one.high <= two.high


def test_strict_fit_is_an_error() -> None:
    wide = Counts.build("wide", [linear("fc", 1152, 10, 5000), lif("lif", 10, 5)], time_steps=STEPS)
    with pytest.raises(BudgetError, match="layer fc: fan-in 1,152 > 256") as raised:
        estimate(wide, "truenorth", strict_fit=True)
    assert raised.value.exit_code == 1
    assert estimate(wide, "loihi", strict_fit=True).fit.fits


def test_a_users_own_profile_is_priced_by_its_own_figures() -> None:
    chip = load_hardware("loihi")
    twice = chip.energy.synop.model_copy(update={"value": 47.2e-12, "high": 71e-12}) if chip.energy.synop else None
    mine: Profile = chip.model_copy(update={"energy": chip.energy.model_copy(update={"synop": twice})})
    assert estimate(net(), mine).breakdown.synaptic.nominal == pj(1450 * 47.2)
    assert estimate(net(), mine).band != estimate(net(), chip).band  # the band follows the figures too


@pytest.mark.parametrize("chip", ["akida", "brainscales2", "speck", "xylo"])
def test_a_chip_without_an_energy_per_event_is_refused_in_words(chip: str) -> None:
    made = estimate(net(), chip)
    assert made.energy is None
    assert made.verdict == "energy.synop: not published"
    assert any("refused" in line for line in made.caveats)


def test_a_table_without_a_multiply_prices_spikes_only() -> None:
    spikes = estimate(net(), "horowitz_int16")
    assert spikes.energy is not None
    assert spikes.energy.nominal == pj((1200 + 250) * 0.05)
    assert not spikes.partial
    scaled = lif("lif1", 30, 25, sources=["fc1"], muls=300)
    mixed = Counts.build("mixed", [linear("fc1", 20, 30, 1200), scaled], time_steps=STEPS)
    told = estimate(mixed, "horowitz_int16")
    assert told.partial
    assert told.verdict == "partial: arithmetic.mul not published"
