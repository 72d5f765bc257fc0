"""Hand-made Counts and Estimates for the tests of the reports, and checks that they say what they should.

The pricing here is a toy with round constants (so that a reader can redo it by hand); it is not a chip.
"""

from __future__ import annotations

from typing import Any

from snnenergy.cost.records import ZERO, Breakdown, Comparison, Estimate, Fit, LayerEstimate, Range
from snnenergy.counts import Counts, Uncounted

SAMPLES = 200
CHIPS = ("h100_sxm", "truenorth", "loihi", "tianjic")


def _layer(path: str, dense: int, effective: int, domain: str, elements: int, nonzero: int) -> dict[str, Any]:
    stream = {"domain": domain, "elements": elements, "nonzero": nonzero, "driven": effective, "effective": effective}
    return {
        "path": path, "role": "synaptic", "op": "conv2d" if "conv" in path else "linear", "dense_macs": dense,
        "valid_macs": dense, "streams": [stream], "weights": 100, "weights_nonzero": 100, "calls": 1, "kernels": 1,
    }  # fmt: skip  # one record, read across


def _neuron(path: str, neurons: int, steps: int, spikes: int) -> dict[str, Any]:
    updates = neurons * steps * SAMPLES
    return {
        "path": path, "role": "neuron", "op": "lif", "neuron_model": "LIF", "neurons": neurons, "updates": updates,
        "spikes_out": spikes, "calls": steps, "adds": updates, "kernels": steps,
    }  # fmt: skip  # one record, read across


def digits_ann(name: str = "digits_ann") -> Counts:
    rows = [
        _layer("conv1", 4_608 * SAMPLES, 2_000 * SAMPLES, "graded", 64 * SAMPLES, 32 * SAMPLES),
        _layer("conv2", 73_728 * SAMPLES, 40_000 * SAMPLES, "analog", 512 * SAMPLES, 300 * SAMPLES),
        _layer("fc", 1_280 * SAMPLES, 700 * SAMPLES, "analog", 128 * SAMPLES, 70 * SAMPLES),
    ]
    return Counts.build(name, rows, samples=SAMPLES)


def digits_snn(name: str = "digits_snn", steps: int = 8) -> Counts:
    n = SAMPLES * steps
    rows = [
        _layer("conv1", 4_608 * n, 1_500 * n, "spike", 64 * n, 21 * n),
        _neuron("lif1", 512, steps, 40 * n),
        _layer("conv2", 73_728 * n, 5_000 * n, "spike", 512 * n, 40 * n),
        _neuron("lif2", 128, steps, 0),
        _layer("fc", 1_280 * n, 100 * n, "spike", 128 * n, 10 * n),
        _neuron("lif3", 10, steps, 10 * n),
    ]
    return Counts.build(name, rows, samples=SAMPLES, time_steps=steps)


def spikformer(blocks: int = 14, name: str = "spikformer") -> Counts:
    """100 layers in the shape of a spiking transformer: seven per block, and two outside."""
    rows: list[dict[str, Any]] = [_layer("patch_embed.proj", 10**9, 6 * 10**8, "analog", 10**7, 10**7)]
    for b in range(blocks):
        for i, part in enumerate(("attn.q_linear", "attn.k_linear", "attn.v_linear", "mlp.fc1_linear")):
            rows.append(_layer(f"block.{b}.{part}", 10**8, (i + 1) * 10**6 * (b + 1), "spike", 10**6, 10**5 * (i + 1)))
        for i, part in enumerate(("attn.q_lif", "attn.v_lif", "mlp.fc1_lif")):
            rows.append(_neuron(f"block.{b}.{part}", 10**4, 4, 10**5 * (i + 1)))
    rows.append(_layer("head", 10**6, 10**5, "spike", 10**4, 10**3))
    return Counts.build(name, rows, samples=SAMPLES, time_steps=4)


def around(nominal: float) -> Range:
    """A range of -20 % and +50 %."""
    return Range(0.8 * nominal, nominal, 1.5 * nominal)


def neuromorphic(
    counts: Counts, chip: str, *, synop: float = 20e-12, update: float = 80e-12, watts: float = 0.0
) -> Estimate:
    """20 pJ per effective tap, 80 pJ per neuron update, and static power over 1 ms per time step."""
    layers = []
    for layer in counts.layers:
        taps, updates = layer.effective / counts.samples, layer.updates / counts.samples
        parts = Breakdown(synaptic=around(taps * synop), neuron=around(updates * update))
        layers.append(LayerEstimate(layer.path, parts, charged="synop" if taps else "update", events=taps or updates))
    latency = around(1e-3 * (counts.time_steps or 1))
    total = sum((e.breakdown for e in layers), Breakdown()) + Breakdown(static=latency * watts)
    return Estimate(
        counts.model, chip, chip.title(), total.total, latency, tuple(layers), total, Fit(True, 12, 1, 0.1),
        caveats=("static power is charged over the whole latency",), band="within 9 % of one published run",
        latency_model="fixed_tick", sources=("Davies et al. 2018, doi:10.1109/MM.2018.112130359",),
        options={"convention": "default"},
    )  # fmt: skip  # one record, read across


def dense(counts: Counts, chip: str = "h100_sxm", *, mac: float = 0.7e-12, watts: float = 80.0) -> Estimate:
    """0.7 pJ per dense MAC, and static power over 5 us per kernel."""
    layers, kernels = [], sum(layer.kernels for layer in counts.layers)
    for layer in counts.layers:
        macs = layer.dense_macs / counts.samples
        layers.append(
            LayerEstimate(layer.path, Breakdown(compute=around(macs * mac)), charged="dense_mac", events=macs)
        )
    latency = around(5e-6 * kernels)
    total = sum((e.breakdown for e in layers), Breakdown()) + Breakdown(static=latency * watts)
    return Estimate(
        counts.model, chip, "NVIDIA H100 SXM", total.total, latency, tuple(layers), total, Fit(None),
        caveats=("launch-bound: the network is too small for this chip",), latency_model="roofline",
        sources=("https://doi.org/10.1234/h100(x)",),
    )  # fmt: skip  # one record, read across


def refused(counts: Counts, chip: str, why: str = "analog: not supported") -> Estimate:
    return Estimate(counts.model, chip, chip.title(), None, None, fit=Fit(False, problems=(why,)), verdict=why)


def partial(counts: Counts, chip: str) -> Estimate:
    """The first layer is not priced: the total is a lower bound."""
    whole = neuromorphic(counts, chip)
    first = LayerEstimate(whole.layers[0].path, Breakdown(), charged="graded: not supported", priced=False)
    layers = (first, *whole.layers[1:])
    total = sum((e.breakdown for e in layers), Breakdown())
    return Estimate(
        counts.model, chip, chip.title(), total.total, whole.latency, layers, total, Fit(True, 4000, 3, 0.97),
        caveats=(f"{first.path}: graded values need an encoder; not priced",), partial=True, latency_model="barrier",
    )  # fmt: skip  # one record, read across


def digits() -> Comparison:
    ann, snn = digits_ann(), digits_snn()
    estimates = (
        dense(ann), refused(ann, "truenorth"), refused(ann, "loihi"), neuromorphic(ann, "tianjic", synop=2e-12),
        dense(snn), neuromorphic(snn, "truenorth", watts=0.064), partial(snn, "loihi"), neuromorphic(snn, "tianjic", synop=2e-12, update=1e-12),
    )  # fmt: skip  # one row per model
    return Comparison({"digits_ann": ann, "digits_snn": snn}, estimates)


def single() -> Comparison:
    snn = digits_snn()
    return Comparison({"digits_snn": snn}, (neuromorphic(snn, "loihi"),))


def large() -> Comparison:
    model = spikformer()
    return Comparison({"spikformer": model}, (dense(model), neuromorphic(model, "loihi", watts=0.03)))


def many(models: int = 10, chips: int = 10, blocks: int = 1) -> Comparison:
    counts = {f"m{i}": spikformer(blocks, f"m{i}") if i else digits_ann("m0") for i in range(models)}
    rows = tuple(neuromorphic(c, f"chip{j}", synop=(j + 1) * 1e-12) for c in counts.values() for j in range(chips))
    return Comparison(counts, rows)


NASTY = "</script><img src=x onerror=alert(1)>=cmd|'/C calc'!A0 \x1b[31m_{%$} `a` @you"


def nasty() -> Comparison:
    """Every name is an attack, and something was not counted."""
    rows = [{"path": f"=1+1{NASTY}", "role": "synaptic", "op": NASTY, "dense_macs": 10}]
    counts = Counts.build(NASTY, rows, uncounted=(Uncounted(NASTY, NASTY, 2, 7, NASTY),))
    chip = f"chip {NASTY}"
    estimate = Estimate(
        NASTY, chip, NASTY, around(1e-6), None, (LayerEstimate(f"=1+1{NASTY}", Breakdown(synaptic=around(1e-6))),),
        Breakdown(synaptic=around(1e-6)), caveats=(NASTY,), verdict=NASTY, sources=(NASTY,), options={NASTY: NASTY},
    )  # fmt: skip  # one record, read across
    return Comparison({NASTY: counts}, (estimate,), verdict=NASTY, notes=(NASTY,))


def empty() -> Comparison:
    """A model in which nothing was counted."""
    counts = Counts.build("empty", [])
    return Comparison({"empty": counts}, (Estimate("empty", "loihi", "Loihi", ZERO, None),))


def test_the_large_model_has_a_hundred_layers() -> None:
    assert len(spikformer().layers) == 100


def test_a_priced_total_is_the_sum_of_its_layers_and_static() -> None:
    estimate = neuromorphic(digits_snn(), "truenorth", watts=0.064)
    # 8 steps of 6600 taps at 20 pJ, of 650 neurons at 80 pJ, and of 1 ms at 64 mW
    expected = 8 * (6600 * 20e-12 + 650 * 80e-12 + 1e-3 * 0.064)
    assert estimate.energy is not None
    assert abs(estimate.energy.nominal / expected - 1) < 1e-12
