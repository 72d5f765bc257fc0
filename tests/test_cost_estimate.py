"""Energy on paper: small nets whose every joule a reader can add up, on every kind of chip."""

from __future__ import annotations

from typing import Any

import pytest

from snnenergy.cost import Range, compare, estimate
from snnenergy.counts import Counts
from snnenergy.errors import UsageError
from snnenergy.hardware import load_hardware
from tests.cost_nets import ANALOG, SPIKES, STEPS, lif, linear, net, pj


def test_loihi_by_hand() -> None:
    made = estimate(net(), "loihi")
    parts = made.breakdown
    assert parts.synaptic.nominal == pj((1200 + 250) * 23.6)
    assert parts.synaptic.high == pj((1200 + 250) * 35.5)
    assert parts.neuron.nominal == pj(40 * STEPS * 52 + 40 * STEPS * 29)
    assert parts.neuron.low == pj(40 * STEPS * 51.2)
    assert parts.routing.nominal == pj(25 * 1.7)  # hidden spikes to the one core of the next layer, same tile
    # Eleven steps: ten and one for the second layer.  The slower core each step is fc1's.
    step = (120 * 3.5 + 30 * 8.4 + 2.5 * 2.1) * 1e-9
    assert made.latency is not None
    assert made.latency.nominal == pytest.approx(10 * step + 11 * 113e-9)
    assert parts.static.nominal == pytest.approx(104.4e-3 * made.latency.nominal)
    assert parts.host.nominal == pytest.approx(65e-3 * made.latency.nominal)
    assert made.energy == parts.total
    assert made.energy.nominal == pytest.approx(parts.dynamic.nominal + parts.static.nominal)
    assert (made.fit.cores, made.fit.chips, made.fit.fits, made.verdict) == (2, 1, True, "fits 2 cores")
    assert not made.partial
    assert sum(row.energy.nominal for row in made.layers) == pytest.approx(parts.dynamic.nominal)


def test_the_other_loihi_by_hand() -> None:
    parts = estimate(net(), "loihi_sanafe").breakdown
    assert parts.synaptic.nominal == pj(1450 * 35.5)
    assert parts.neuron.nominal == pj(400 * 51.2 + 400 * 21.6 + 30 * 69.3)
    assert parts.routing.nominal == pj(25 * 111)


def test_convolution_synapses_have_their_own_price() -> None:
    layers = [linear("conv", 20, 30, 1200, op="conv2d"), lif("lif", 30, 0)]
    parts = estimate(Counts.build("net", layers, time_steps=STEPS), "loihi_sanafe").breakdown
    assert parts.synaptic.nominal == pj(1200 * 24.0)


def test_truenorth_is_static_power_and_events() -> None:
    made = estimate(net(), "truenorth")
    assert made.latency == Range(11e-3, 11e-3, 11e-3)
    assert made.breakdown.synaptic.nominal == pj(1450 * 2.297)
    assert made.breakdown.static.nominal == pytest.approx(64.43e-3 * 11e-3)
    assert made.breakdown.neuron.nominal == 0
    assert any("energy.neuron_update: not published" in line for line in made.caveats)
    together = estimate(net(), "truenorth", pipeline=True)
    assert together.latency == Range(10e-3, 10e-3, 10e-3)
    assert together.breakdown.synaptic == made.breakdown.synaptic


def test_operating_points() -> None:
    slow, fast = estimate(net(), "truenorth"), estimate(net(), "truenorth", operating_point="tick 200 us")
    assert fast.latency is not None
    assert slow.latency is not None
    assert fast.latency.nominal == pytest.approx(slow.latency.nominal / 5)
    low = estimate(net(), "truenorth", operating_point="0.70 V")
    assert low.breakdown.static.nominal == pytest.approx(42e-3 * 11e-3)
    assert low.options == {"operating_point": "0.70 V"}
    assert low.band == "unvalidated at this operating point"
    assert estimate(net(), load_hardware("truenorth").at("0.70 V")) == low  # the other way to say it
    with pytest.raises(UsageError, match=r"no operating point '0.75V'; did you mean '0.75 V'"):
        estimate(net(), "truenorth", operating_point="0.75V")


def test_tianjic_runs_each_layer_in_its_mode() -> None:
    layers = [
        linear("fc1", 20, 30, 5000, evidence=ANALOG),
        lif("lif1", 30, 25),
        linear("fc2", 30, 10, 250),
        lif("lif2", 10, 5),
    ]
    made = estimate(Counts.build("net", layers, time_steps=STEPS), "tianjic")
    assert made.breakdown.compute.nominal == pj(20 * 30 * STEPS * 1.5625)  # every MAC of the dense layer
    assert made.breakdown.synaptic.nominal == pj(250 * 1.54)
    assert made.latency is not None
    assert made.latency.nominal == pytest.approx(11 * 16.8e-6)
    assert made.band == "unvalidated"
    assert any(line.startswith("power.static: not published") for line in made.caveats)


def test_zero_weights_cost_only_where_they_are_stored() -> None:
    layers = [linear("fc", 20, 30, 1200), lif("lif", 30, 0)]
    layers[0]["streams"][0]["effective"] = 300
    counts = Counts.build("sparse", layers, time_steps=STEPS)
    assert estimate(counts, "loihi").breakdown.synaptic.nominal == pj(300 * 23.6)
    assert estimate(counts, "tianjic").breakdown.synaptic.nominal == pj(1200 * 1.54)


def test_the_datapath_charges_by_domain() -> None:
    graded = {"magnitudes": [1.0, 2.0, 3.0], "positive": True, "zeros": True}
    streams = [
        {"source": "s", "elements": 9, "driven": 100, "effective": 90, "unit_taps": 100, "evidence": SPIKES},
        {"source": "g", "elements": 9, "driven": 50, "effective": 50, "unit_taps": 110, "evidence": graded},
        {"source": "a", "elements": 9, "driven": 40, "effective": 30, "unit_taps": None, "evidence": ANALOG},
    ]
    fc = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 400, "weight_bits": 32, "streams": streams}
    made = estimate(Counts.build("mixed", [fc]), "horowitz_fp32")
    assert made.energy is not None
    assert made.energy.nominal == pj((90 + 110) * 0.9 + 30 * 4.6)
    assert made.latency is None
    assert made.edp is None
    assert {"memory is excluded: arithmetic only", "MAC/AC = 5.1 (fp32)"} <= set(made.caveats)
    made = estimate(Counts.build("mixed", [fc]), "horowitz_int32")
    assert made.energy is not None
    assert made.energy.nominal == pj((90 + 110) * 0.1 + 30 * 3.2)


def test_segments_share_a_dense_layer_to_the_last_tap() -> None:
    streams = [
        {"source": s, "elements": 1, "nonzero": 1, "driven": 33, "effective": 33, "evidence": ANALOG} for s in "abc"
    ]
    fc = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 100, "weight_bits": 32, "streams": streams}
    assert estimate(Counts.build("cat", [fc]), "h100").layers[0].events == pytest.approx(100)


def test_width_decides_the_price() -> None:
    fc = linear("fc", 20, 30, 600, steps=1, evidence=ANALOG, weight_bits=32)
    counts = Counts.build("ann", [fc])
    assert estimate(counts, "horowitz_fp32").breakdown.compute.nominal == pj(600 * 4.6)
    narrow = estimate(counts, "horowitz_fp32", bits=8)
    assert narrow.breakdown.compute.nominal == pj(600 * 0.23)
    assert "MAC/AC = 7.7 (int8)" in narrow.caveats
    wider = estimate(counts, "horowitz_fp32", bits=16)
    assert wider.breakdown.compute.nominal == pj(600 * 4.6)
    assert "16-bit arithmetic is not published; priced as fp32" in wider.caveats
    assert estimate(counts, "h100_sxm", bits=8).breakdown.compute.nominal == pj(600 * 0.566)


def test_functional_neurons_and_foldable_norms_on_a_datapath() -> None:
    layers = [
        linear("fc", 20, 30, 600, steps=1, weight_bits=32),
        {"path": "bn", "role": "other", "adds": 30, "muls": 30, "foldable": True, "sources": ["fc"]},
        lif("lif", 30, 3, steps=1, adds=30, muls=30, compares=30, specials=7, sources=["bn"]),
    ]
    made = estimate(Counts.build("net", layers), "horowitz_fp32")
    assert made.breakdown.compute.nominal == pj(600 * 0.9)
    assert made.breakdown.neuron.nominal == pj(30 * 0.9 + 30 * 3.7 + 30 * 0.9)
    assert any(line.startswith("special functions") and "7 per inference" in line for line in made.caveats)


@pytest.mark.parametrize(
    ("models", "found"),
    [
        ({"ann": object()}, "ann: expected Counts, found object; snnenergy.count"),
        ([3], "models: expected .* found list"),
    ],
)
def test_what_is_not_counted_cannot_be_compared(models: Any, found: str) -> None:
    with pytest.raises(UsageError, match=found):
        compare(models, ["loihi"])
