"""Time, memory and placement on paper: rooflines, barriers, cores, spills; and comparisons."""

from __future__ import annotations

from typing import Any

import pytest

from snnenergy.cost import Estimate, Range, compare, estimate
from snnenergy.cost.memory import interpolate
from snnenergy.cost.structure import populations
from snnenergy.counts import Conditions, Counts
from snnenergy.errors import UsageError
from snnenergy.hardware import load_hardware

SPIKES: dict[str, Any] = {"magnitudes": [1.0], "positive": True, "zeros": True}
ANALOG: dict[str, Any] = {"many": True}


def dense(path: str, inputs: int, outputs: int, *, samples: int = 1, kernels: int = 1, **more: Any) -> dict[str, Any]:
    stream: dict[str, Any] = {
        "elements": inputs * samples,
        "nonzero": inputs * samples,
        "driven": inputs * outputs * samples,
    }
    stream |= {"effective": inputs * outputs * samples, "unit_taps": None, "evidence": ANALOG}
    row = {
        "path": path,
        "role": "synaptic",
        "op": "linear",
        "dense_macs": inputs * outputs * samples,
        "weight_bits": 32,
        "weights": inputs * outputs,
        "weights_nonzero": inputs * outputs,
        "input_bits": 32,
        "calls": 1,
        "output_elements": outputs * samples,
        "fan_in": inputs,
        "fan_out": outputs,
        "kernels": kernels,
        "streams": [stream],
    }
    return row | more


def test_a_small_net_on_a_gpu_is_bound_by_its_launches() -> None:
    counts = Counts.build("ann", [dense("a", 100, 100), dense("b", 100, 10)], forwards=1)
    made = estimate(counts, "h100")
    assert made.verdict == "launch-bound"
    bits = (100 * 100 + 100 + 100) * 32 + (100 * 10 + 100 + 10) * 32
    busy = bits / 26.8e12  # both layers wait for memory
    assert made.latency is not None
    assert made.latency.nominal == pytest.approx(2 * 10e-6 + busy)
    assert made.breakdown.compute.nominal == pytest.approx(11_000 * 16.7e-12)
    assert made.breakdown.memory.nominal == pytest.approx(bits * 3.0e-12)
    assert made.breakdown.static.nominal == pytest.approx(140 * made.latency.nominal)
    assert made.options["batch"] == "1"


def test_a_large_net_is_bound_by_arithmetic_or_memory() -> None:
    wide = Counts.build("wide", [dense("a", 20_000, 20_000)], forwards=1)
    assert estimate(wide, "h100").verdict == "bandwidth-bound"
    made = estimate(wide, "h100", batch=4096)
    assert made.verdict == "compute-bound"
    assert made.latency is not None
    assert made.latency.nominal == pytest.approx(10e-6 + 4096 * 2 * 4e8 / 66.9e12, rel=1e-6)


def test_the_batch_shares_launches_and_weights() -> None:
    counts = Counts.build("ann", [dense("a", 100, 100, samples=50)], samples=50, forwards=1)
    one, fifty = estimate(counts, "h100"), estimate(counts, "h100", batch=50)
    assert one.caveats[0].startswith("at batch 50, as run: ")
    assert one.breakdown.static.nominal / fifty.breakdown.static.nominal == pytest.approx(50, rel=0.01)
    assert fifty.breakdown.compute == one.breakdown.compute
    moved = (100 * 100 / 50 + 200) * 32 * 3.0e-12
    assert fifty.breakdown.memory.nominal == pytest.approx(moved)


def test_kernels_that_were_not_recorded_are_assumed_aloud() -> None:
    counts = Counts.build("ann", [dense("a", 100, 100, kernels=0, calls=0)], time_steps=7)
    made = estimate(counts, "h100")
    assert made.latency is not None
    assert made.latency.nominal >= 7 * 10e-6
    assert any("kernel launches were not recorded" in line for line in made.caveats)


def test_weights_beyond_the_memory_do_not_fit() -> None:
    counts = Counts.build("llm", [dense("a", 200_000, 200_000)], forwards=1)
    made = estimate(counts, "h100")
    assert made.fit.fits is False
    assert made.fit.problems == ("weights of 160 GB > 80 GB of HBM3",)
    assert estimate(counts, "h100", bits=8).fit.fits
    phases = [dense("a", 100_000, 100_000), dense("a@optimizer", 100_000, 100_000, phase="optimizer")]
    step = Counts.build("step", phases, forwards=1, conditions=Conditions(training="adam"))
    assert estimate(step, "h100").fit.utilisation == pytest.approx(
        40 / 80
    )  # a row of another phase reads the same weights


def spiking(path: str, inputs: int, outputs: int, steps: int, **more: Any) -> dict[str, Any]:
    stream = {"elements": inputs * steps, "nonzero": steps, "driven": outputs * steps, "effective": outputs * steps}
    row = {
        "path": path,
        "role": "synaptic",
        "op": "linear",
        "weights": inputs * outputs,
        "weights_nonzero": inputs * outputs,
        "weight_bits": 8,
        "fan_in": inputs,
        "fan_out": outputs,
        "dense_macs": inputs * outputs * steps,
        "output_elements": outputs * steps,
        "streams": [stream | {"evidence": SPIKES}],
    }
    return row | more


def lif(path: str, neurons: int, steps: int, spikes: int = 0, **more: Any) -> dict[str, Any]:
    row = {"path": path, "role": "neuron", "neuron_model": "LIF", "neurons": neurons, "updates": neurons * steps}
    return row | {"spikes_out": spikes} | more


def test_cores_by_neurons_by_memory_and_by_axons() -> None:
    by_neurons = Counts.build("n", [spiking("a", 10, 3000, 1), lif("x", 3000, 1)])
    assert estimate(by_neurons, "loihi").fit.cores == 3  # 3,000 / 1,024
    by_memory = Counts.build("m", [spiking("a", 4000, 1000, 1), lif("x", 1000, 1)])
    assert estimate(by_memory, "loihi").fit.cores == 31  # 32,000,000 bits / 1,048,576
    pair = [spiking("a", 10, 900, 1), lif("x", 900, 1), spiking("b", 900, 8192, 1), lif("y", 8192, 1)]
    made = estimate(Counts.build("o", pair), "loihi")
    targets = -(-900 * 8192 * 8 // 1048576)  # 57 cores hold b's weights
    assert made.fit.cores == targets + -(-900 * targets // 4096)  # and each of a's spikes has one axon to each of them


def test_cores_that_axons_add_are_reached_too() -> None:
    def core(path: str, inputs: int, outputs: int, sources: list[str]) -> list[dict[str, Any]]:
        w = spiking(f"to {path}", inputs, outputs, 1, sources=sources, weight_bits=1)
        return [w, lif(path, outputs, 1, spikes=300, sources=[w["path"]])]

    layers = [*core("p", 100, 100, ["(input)"]), *core("q", 100, 1000, ["p"]), *core("r", 1000, 20_000, ["q"])]
    made = estimate(Counts.build("n", layers), "loihi_sanafe")
    # r: 20,000 neurons on 20 cores; each of q's 1,000 has an axon to each of them: 20,000 / 4,096 is 5 cores, and p reaches them all
    assert made.fit.cores == 1 + 5 + 20
    assert {row.path: row.cores for row in made.layers}["q"] == 5
    messages = estimate(Counts.build("n", layers[:4]), "loihi_sanafe").breakdown.routing.nominal
    assert messages == pytest.approx(300 * 111e-12)
    assert {r.path: r.breakdown.routing.nominal for r in made.layers}["p"] >= 5 * messages


def test_a_population_that_reaches_itself_settles_or_does_not_fit() -> None:
    def ring(neurons: int) -> Estimate:
        loop = spiking("w", neurons, neurons, 1, weight_bits=1, sources=["x"])
        return estimate(Counts.build("n", [loop, lif("x", neurons, 1, sources=["w"])]), "loihi")

    assert ring(3000).fit.cores == 9  # by the memory of its synapses, and 3,000 axons from each
    for neurons in (4097, 5000):
        assert f"layer x: {neurons:,} axons out of a core > 4,096" in ring(neurons).fit.problems


def test_a_convolution_is_packed_in_patches() -> None:
    geometry = {"in_channels": 4, "out_channels": 8, "groups": 1, "input": [8, 8], "output": [8, 8], "kernel": [3, 3]}
    geometry |= {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
    conv = spiking("conv", 36, 512, 1, op="conv2d", fan_out=72, fan_in=36, geometry=geometry)
    counts = Counts.build("n", [conv, lif("x", 512, 1)])
    # 256 axons: patches of 6 x 6 outputs read 8 x 8 x 4 inputs, 288 neurons on 2 cores, 4 patches: 8 cores.
    # Patches of 4 x 4 read 6 x 6 x 4 = 144 inputs, 128 neurons on 1 core, 4 patches: 4 cores, the fewest.
    assert estimate(counts, "truenorth").fit.cores == 4
    depthwise = conv | {"geometry": geometry | {"in_channels": 8, "groups": 8}, "fan_in": 9}
    # Each channel alone: 4 x 4 patches read 36 inputs, 16 neurons; 7 of 8 groups share a core. 8 x 8: 100 inputs, 64 neurons,
    # 2 groups a core, 4 cores.
    assert estimate(Counts.build("n", [depthwise, lif("x", 512, 1)]), "truenorth").fit.cores == 4
    odd: dict[str, Any]
    for odd in ({"kernel": []}, {"in_channels": 1, "groups": 2, "output": [10**9]}, {"output": [10**12, 10**12]}):
        broken = conv | {"geometry": geometry | odd}
        assert (estimate(Counts.build("n", [broken, lif("x", 512, 1)]), "truenorth").fit.cores or 0) >= 2


def test_more_cores_than_a_chip_has() -> None:
    made = estimate(Counts.build("big", [spiking("a", 10, 200_000, 1), lif("x", 200_000, 1)]), "loihi")
    assert (made.fit.cores, made.fit.chips, made.verdict) == (196, 2, "needs 2 chips")
    assert made.latency is not None
    assert made.breakdown.static.nominal == pytest.approx(2 * 104.4e-3 * made.latency.nominal)
    assert "needs 2 chips; traffic between chips is not modelled" in made.caveats


def test_every_reason_not_to_fit_is_named() -> None:
    layers = [spiking("a", 1152, 10, 1, weight_bits=16), lif("x", 10, 1, neuron_model="Izhikevich")]
    made = estimate(Counts.build("n", layers), "truenorth")
    assert made.fit.problems == (
        "layer a: fan-in 1,152 > 256",
        "layer x: neuron model Izhikevich is not among IF, LIF, PLIF",
        "layer a: weights of 16 bits > 9",
    )
    assert made.verdict == "does not fit: fan-in 1,152 > 256"


def test_wide_weights_fit_once_they_are_quantised() -> None:
    counts = Counts.build("n", [spiking("a", 100, 10, 1, weight_bits=32), lif("x", 10, 1)])
    made = estimate(counts, "loihi")
    assert made.fit.fits is False
    assert made.verdict == "1 core at 9 bits"
    assert any("priced as quantised to 9 bits, which was not tried" in line for line in made.caveats)
    assert estimate(counts, "loihi", bits=8).verdict == "fits 1 core"


def test_a_spike_is_one_message_per_destination_core() -> None:
    layers = [spiking("a", 10, 10, 1), lif("x", 10, 1, spikes=7), spiking("b", 10, 3000, 1), lif("y", 3000, 1)]
    made = estimate(Counts.build("n", layers), "loihi_sanafe")
    # Dense onto 3 cores of 1,000 neurons each: 1 + 2,999 / 1,000, at most 3.  Cores 1 to 3: the first tile, no hop.
    assert made.breakdown.routing.nominal == pytest.approx(7 * 3 * 111e-12)
    layers[2] |= {"op": "conv2d", "fan_out": 101}  # a patch: 1 + 100 / 1,000 cores
    made = estimate(Counts.build("n", layers), "loihi_sanafe")
    assert made.breakdown.routing.nominal == pytest.approx(7 * 1.1 * 111e-12)


def test_hops_cross_tiles() -> None:
    layers = [
        spiking("a", 10, 16 * 1024, 1),
        lif("x", 16 * 1024, 1, spikes=5),
        spiking("b", 10, 10, 1),
        lif("y", 10, 1),
    ]
    made = estimate(Counts.build("n", layers), "loihi")
    # x lies on cores 0 to 15, its middle on tile 2; y on core 16, tile 4: two tiles east.
    assert made.breakdown.routing.nominal == pytest.approx(5 * (1.7 + 2 * 3.0) * 1e-12)


def test_the_slowest_core_sets_each_step() -> None:
    a = spiking("a", 10, 10, 2, per_step={"effective": [100, 0], "driven": [100, 0]})
    b = spiking("b", 10, 10, 2, per_step={"effective": [0, 60], "driven": [0, 60]})
    counts = Counts.build("n", [a, lif("x", 10, 2), b, lif("y", 10, 2)], time_steps=2)
    made = estimate(counts, "loihi", pipeline=True)
    step = 10 * 8.4
    assert made.latency is not None
    assert made.latency.nominal == pytest.approx(((100 * 3.5 + step) + (60 * 3.5 + step) + 2 * 113) * 1e-9)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (None, None, "events per step were not recorded;"),
        ([], [1], "events per step were not recorded;"),  # a list of another length is none
        ([30, 50], [1], "events per step of layer b were not recorded;"),
        ([30, 50], [5, 5], ""),
    ],
)
def test_a_step_that_was_not_recorded_is_a_mean_and_says_so(a: Any, b: Any, said: str) -> None:
    layers = [
        row | {"per_step": None if steps is None else {"effective": steps, "driven": steps}}
        for row, steps in ((spiking("a", 10, 10, 2), a), (spiking("b", 10, 10, 2), b))
    ]
    layers = [layers[0], lif("x", 10, 2), layers[1], lif("y", 10, 2)]
    lines = [
        line for line in estimate(Counts.build("n", layers, time_steps=2), "loihi").caveats if "lower bound" in line
    ]
    expected = [f"latency: {said} every step is taken as the mean, so a lower bound"] if said else []
    assert lines == expected


@pytest.mark.parametrize("model", ["barrier", "roofline"])
@pytest.mark.parametrize("streams", [[{"elements": 10, "driven": 90_000, "effective": 90_000, "evidence": ANALOG}], []])
def test_a_layer_that_the_chip_does_not_run_takes_none_of_its_time(model: str, streams: list[dict[str, Any]]) -> None:
    chip = load_hardware("loihi")
    if model == "roofline":
        chip = load_hardware("h100").model_copy(update={"charges": chip.charges, "energy": chip.energy})
    steps = {"effective": [90_000, 0], "driven": [90_000, 0]}
    first = spiking("a", 10, 10, 2, dense_macs=90_000, streams=streams, per_step=steps)
    rest = [lif("x", 10, 2), spiking("b", 10, 10, 2), lif("y", 10, 2)]
    made, without = (
        estimate(Counts.build("n", layers, time_steps=2), chip, pipeline=True) for layers in ([first, *rest], rest)
    )
    assert made.partial
    assert made.latency is not None
    assert made.latency == without.latency
    assert made.breakdown.static == without.breakdown.static
    assert "latency: without layer a, which this chip is not known to run" in made.caveats


def test_a_memory_law_keeps_the_range_of_its_figures() -> None:
    chip = load_hardware("lemaire2022")
    assert chip.memory is not None
    near, law = chip.memory.levels[0], chip.memory.levels[0].laws["regression"]
    assert law.base is not None
    wide = law.model_copy(update={"base": law.base.model_copy(update={"low": 1e-12, "high": 50e-12})})
    levels = (near.model_copy(update={"laws": {"regression": wide}}), *chip.memory.levels[1:])
    mine = chip.model_copy(update={"memory": chip.memory.model_copy(update={"levels": levels, "law": "regression"})})
    fc = dense("fc", 64, 32)
    narrow, told = (estimate(Counts.build("ann", [fc]), c).breakdown.memory for c in (chip, mine))
    accesses = 64 * 32 + 64 + 32
    assert told.nominal == narrow.nominal
    assert told.low == pytest.approx(told.nominal - accesses * (13.2 - 1) * 1e-12)
    assert told.high == pytest.approx(told.nominal + accesses * (50 - 13.2) * 1e-12)


def test_lemaire_memory_by_hand() -> None:
    fc = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 64 * 32, "weights": 2048, "weight_bits": 32}
    fc |= {"input_bits": 32, "output_elements": 32, "bias": 32}
    fc |= {"streams": [{"elements": 64, "nonzero": 64, "driven": 2048, "effective": 2048, "evidence": ANALOG}]}
    made = estimate(Counts.build("ann", [fc]), "lemaire2022")

    def access(words: int) -> float:
        return 13.2 + 1.09e-5 * words * 32

    reads = 2048 * access(2048) + 64 * access(64) + 32 * access(32) + 32 * access(32)
    addresses = (64 + 32 + 2048) * 0.1
    assert made.breakdown.memory.nominal == pytest.approx((reads + addresses) * 1e-12)
    assert made.breakdown.compute.nominal == pytest.approx(2048 * 3.2e-12)
    other = estimate(Counts.build("ann", [fc]), "lemaire2022", operating_point="interpolation")
    assert other.breakdown.memory.nominal == pytest.approx(((2048 + 64 + 32 + 32) * 10 + addresses) * 1e-12)
    assert made.breakdown.memory.low == pytest.approx(other.breakdown.memory.nominal)
    assert "memory law: interpolation" in other.caveats


def test_the_two_sram_laws_differ_by_39_percent_at_8_kib() -> None:
    regression = 13.2 + 1.09e-5 * 8 * 8192
    assert regression / 10 == pytest.approx(1.39, abs=0.005)
    points = [(65536.0, 10.0), (262144.0, 20.0), (8388608.0, 100.0)]
    assert interpolate(points, 65536) == 10
    assert interpolate(points, 163840) == 15
    assert interpolate(points, 1) == 10
    assert interpolate(points, 1e12) == 100


def test_a_tensor_that_overflows_spills_and_says_so() -> None:
    big = dense("fc", 1000, 1000)  # 4 MB of weights
    made = estimate(Counts.build("ann", [big]), "lemaire2022")
    assert any(line.startswith("too large for SRAM: fc: weights (3,906 KiB) in DRAM") for line in made.caveats)
    assert made.breakdown.memory.nominal > 1_000_000 * 640e-12


def test_populations_follow_sources_and_fall_back_to_order() -> None:
    named = Counts.build(
        "n",
        [
            spiking("a", 4, 4, 1),
            {"path": "pool", "role": "other", "sources": ["a"]},
            lif("x", 4, 1, sources=["pool", "rec"]),
            spiking("rec", 4, 4, 1, sources=["x"]),
            spiking("out", 4, 2, 1, sources=["x"]),
        ],
    )
    x, out = populations(named)
    assert (x.path, [w.path for w in x.synaptic], x.inputs) == ("x", ["a", "rec"], ("x",))
    assert (out.path, out.neuron, out.neurons, out.inputs, out.depth) == ("out", None, 2, ("x",), 2)
    bare = Counts.build(  # and an elementwise layer that names none
        "n",
        [
            spiking("a", 4, 4, 1, sources=["(input)"]),
            {"path": "relu", "role": "other", "compares": 4},
            spiking("b", 4, 4, 1, sources=["relu"]),
        ],
    )
    assert [(p.path, p.inputs, p.depth) for p in populations(bare)] == [("a", (), 1), ("b", ("a",), 2)]
    half = Counts.build(  # a tracer that names the sources of products but not those of neurons
        "n",
        [
            spiking("a", 4, 4, 1, sources=["(input)"]),
            lif("x", 4, 1),
            spiking("head", 4, 2, 1, sources=["x"]),
            spiking("b", 4, 4, 1, sources=["x"]),
            lif("y", 4, 1),
        ],
    )
    assert [(p.path, [w.path for w in p.synaptic], p.inputs) for p in populations(half)] == [
        ("x", ["a"], ()),
        ("head", ["head"], ("x",)),
        ("y", ["b"], ("x",)),
    ]
    functional = Counts.build(  # the model's own forward adds up what drives both of its neurons
        "n",
        [
            spiking("a", 4, 4, 1, sources=["(input)"]),
            spiking("r", 4, 4, 1, sources=["x"]),
            {"path": "(root)", "role": "other", "adds": 8, "sources": ["a", "r"]},
            lif("x", 4, 1, sources=["(root)"]),
            spiking("b", 4, 4, 1, sources=["x"]),
            spiking("s", 4, 4, 1, sources=["y"]),
            lif("y", 4, 1, sources=["(root)"]),
        ],
    )
    assert [(p.path, [w.path for w in p.synaptic], p.inputs) for p in populations(functional)] == [
        ("x", ["a", "r"], ("x",)),
        ("y", ["b", "s"], ("x", "y")),
    ]
    plain = Counts.build("n", [spiking("a", 4, 4, 1), lif("x", 4, 1), spiking("b", 4, 4, 1), lif("y", 4, 1)])
    assert [(p.path, p.inputs) for p in populations(plain)] == [("x", ()), ("y", ("x",))]


def test_a_comparison_keeps_both_sides_at_one_corner() -> None:
    few = Counts.build("few", [spiking("a", 10, 10, 5), lif("x", 10, 5)], time_steps=5)
    many = few.merge(few)
    both = compare({"one": few, "two": many}, ["loihi", "truenorth"])
    ratio = both.of("two", "loihi").energy / both.of("one", "loihi").energy  # type: ignore[operator]  # both are priced
    assert ratio == Range(1.0, 1.0, 1.0)  # the same inference; a ratio across corners would spread
    assert both.verdict == "one and two are not told apart on loihi (1x, 1 to 1) and truenorth (1x, 1 to 1)"
    assert [(e.model, e.hardware) for e in both.estimates] == [
        ("one", "loihi"),
        ("one", "truenorth"),
        ("two", "loihi"),
        ("two", "truenorth"),
    ]


def test_a_comparison_names_what_it_cannot_compare() -> None:
    snn = Counts.build("snn", [spiking("a", 10, 10, 5), lif("x", 10, 5)], time_steps=5)
    ann = Counts.build("ann", [dense("a", 10, 10)], forwards=1)
    both = compare({"ann": ann, "snn": snn}, ["h100", "loihi", "horowitz_int32"])
    assert "not comparable on loihi (ann: analog: not supported)" in both.verdict
    assert "horowitz_int32: MAC/AC = 32.0 (int32)" in both.notes
    assert any("weights differ in width (ann 32, snn 8 bits)" in line for line in both.notes)
    assert not any("weights differ" in line for line in compare({"ann": ann, "snn": snn}, ["h100"], bits=8).notes)
    assert compare({"ann": ann}, ["h100", "h100_sxm"]).hardware == ("h100_sxm",)
    assert "loihi analog: not supported" in compare({"ann": ann}, ["loihi"]).verdict
    with pytest.raises(UsageError, match="at least one model"):
        compare({}, ["h100"])
