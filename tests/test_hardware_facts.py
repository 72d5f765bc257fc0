"""Figures of the profiles against the collection of published facts, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snnenergy.hardware import load_hardware

ROOT = Path(__file__).parents[1]

FACTS = [
    ("truenorth", "energy.synop", "truenorth.e_synaptic_event_marginal"),
    ("truenorth", "power.static", "truenorth.p_static"),
    ("truenorth", "latency.tick", "truenorth.tick"),
    ("truenorth", "capacity.cores", "truenorth.cores"),
    ("truenorth", "capacity.neurons_per_core", "truenorth.neurons_per_core"),
    ("truenorth", "capacity.fan_in", "truenorth.axons_per_core"),
    ("loihi", "energy.synop", "loihi.e_synop"),
    ("loihi", "energy.neuron_access", "loihi.e_neuron_inactive"),
    ("loihi", "energy.message", "loihi.e_spike_within_tile"),
    ("loihi", "energy.synapse_update", "loihi.e_stdp_update"),
    ("loihi", "latency.synapse_update", "loihi.t_stdp_update"),
    ("loihi", "energy.hop_ew", "loihi.e_hop_ew"),
    ("loihi", "energy.hop_ns", "loihi.e_hop_ns"),
    ("loihi", "latency.synop", "loihi.t_synop"),
    ("loihi", "latency.neuron_access", "loihi.t_neuron_inactive"),
    ("loihi", "latency.message", "loihi.t_spike_within_tile"),
    ("loihi", "power.static", "loihi.p_static_per_chip"),
    ("loihi", "power.host", "loihi.p_x86_per_chip"),
    ("loihi", "capacity.cores", "loihi.cores"),
    ("loihi", "capacity.neurons_per_core", "loihi.compartments_per_core"),
    ("loihi", "capacity.fan_in", "loihi.in_axons_per_core"),
    ("loihi", "capacity.axons_out_per_core", "loihi.out_axons_per_core"),
    ("loihi", "capacity.synapse_memory_per_core", "loihi.synapse_memory_per_core_bits"),
    ("loihi_sanafe", "energy.synop", "loihi_sanafe.e_synapse_dense"),
    ("loihi_sanafe", "energy.synop_conv", "loihi_sanafe.e_synapse_conv"),
    ("loihi_sanafe", "energy.neuron_access", "loihi_sanafe.e_access_neuron"),
    ("loihi_sanafe", "energy.neuron_update", "loihi_sanafe.e_update_neuron"),
    ("loihi_sanafe", "energy.spike", "loihi_sanafe.e_spike_out"),
    ("loihi_sanafe", "energy.message", "loihi_sanafe.e_message_out"),
    ("loihi_sanafe", "energy.hop_ew", "loihi_sanafe.e_hop_ew"),
    ("loihi_sanafe", "energy.hop_ns", "loihi_sanafe.e_hop_ns"),
    ("loihi_sanafe", "latency.synop", "loihi_sanafe.t_synapse_dense"),
    ("loihi_sanafe", "latency.synop_conv", "loihi_sanafe.t_synapse_conv"),
    ("loihi_sanafe", "latency.neuron_access", "loihi_sanafe.t_access_neuron"),
    ("loihi_sanafe", "latency.neuron_update", "loihi_sanafe.t_update_neuron"),
    ("loihi_sanafe", "latency.spike", "loihi_sanafe.t_spike_out"),
    ("loihi2", "power.static", "loihi2.p_static_chip"),
    ("loihi2", "capacity.neurons_per_core", "loihi2.neurons_per_core_max"),
    ("loihi2", "capacity.cores", "loihi2.cores"),
    ("loihi2", "latency.synop", "loihi2.t_synop_bottleneck"),
    ("loihi2", "latency.sync.0.time", "loihi2.t_step_floor"),
    ("tianjic", "energy.synop", "tianjic.e_sop"),
    ("tianjic", "capacity.cores", "tianjic.cores"),
    ("tianjic", "capacity.fan_in", "tianjic.fan_in_per_core"),
    ("h100_sxm", "arithmetic.0.peak", "h100_sxm.fp32"),
    ("h100_sxm", "arithmetic.1.peak", "h100_sxm.fp16"),
    ("h100_sxm", "arithmetic.2.peak", "h100_sxm.int8"),
    ("h100_sxm", "memory.levels.0.bandwidth", "h100_sxm.bw"),
    ("h100_sxm", "memory.levels.0.per_bit", "dram.hbm3"),
    ("h100_sxm", "power.peak", "h100_sxm.tdp"),
    ("a100_sxm", "arithmetic.1.peak", "a100_sxm80.fp32"),
    ("a100_sxm", "arithmetic.2.peak", "a100_sxm80.fp16"),
    ("a100_sxm", "arithmetic.3.peak", "a100_sxm80.int8"),
    ("a100_sxm", "memory.levels.0.bandwidth", "a100_sxm80.bw"),
    ("a100_sxm", "power.peak", "a100_sxm80.tdp"),
    ("v100_sxm", "arithmetic.1.peak", "v100_sxm.fp32"),
    ("v100_sxm", "arithmetic.2.peak", "v100_sxm.fp16_tc"),
    ("v100_sxm", "power.static", "v100.p_idle"),
    ("v100_sxm", "memory.levels.0.per_bit", "dram.hbm2"),
    ("horowitz_fp32", "arithmetic.0.mac", "asic45.mac_fp32"),
    ("horowitz_fp32", "arithmetic.0.add", "asic45.add_fp32"),
    ("horowitz_fp32", "arithmetic.0.mul", "asic45.mul_fp32"),
    ("horowitz_int32", "arithmetic.0.add", "asic45.add_int32"),
    ("horowitz_int32", "arithmetic.0.mul", "asic45.mul_int32"),
    ("horowitz_int32", "arithmetic.1.add", "asic45.add_int8"),
    ("horowitz_int32", "arithmetic.1.mul", "asic45.mul_int8"),
    ("lemaire2022", "memory.levels.1.access", "asic45.dram_32b"),
    ("horowitz_int8", "arithmetic.0.add", "asic45.add_int8"),
    ("horowitz_int8", "arithmetic.0.mul", "asic45.mul_int8"),
    ("h100_pcie", "arithmetic.0.peak", "h100_pcie.fp32"),
    ("h100_pcie", "arithmetic.1.peak", "h100_pcie.fp16"),
    ("h100_pcie", "arithmetic.2.peak", "h100_pcie.int8"),
    ("h100_pcie", "memory.levels.0.bandwidth", "h100_pcie.bw"),
    ("jetson_xavier_nx", "arithmetic.1.peak", "jetson_xavier_nx.int8"),
    ("jetson_nano", "arithmetic.1.peak", "jetson_nano.fp16"),
    ("jetson_nano", "memory.levels.0.bandwidth", "jetson_nano.bw"),
    ("cpu_i7_4960x", "power.peak", "cpu_tdp.i7-4960X"),
    ("northpole", "power.peak", "northpole.p_resnet50_int8"),
    ("odin", "energy.synop", "odin.e_sop_incremental"),
    ("odin", "capacity.neurons_per_core", "odin.neurons"),
    ("brainscales2", "capacity.neurons_per_core", "brainscales2.neurons"),
    ("sne", "energy.synop", "sne.e_sop"),
    ("speck", "power.static", "speck.p_resting"),
    ("speck", "capacity.weight_bits", "speck.weight_bits"),
    ("xylo", "power.static", "xylo.p_audio3_idle_snn"),
    ("xylo", "capacity.weight_bits", "xylo.weight_bits"),
    ("spinnaker", "power.static", "spinnaker_spin3.p_idle"),
]
ROUNDED = [
    ("spinnaker", "energy.synop", "spinnaker_spin3.e_transmission_random"),
    ("spinnaker", "energy.spike", "spinnaker_spin3.e_spike"),
    ("spinnaker_spinn5", "power.static", "spinnaker_spin5.p_idle"),
    ("spinnaker_spinn5", "energy.synop", "spinnaker_spin5.e_transmission_random"),
    ("spinnaker_spinn5", "energy.spike", "spinnaker_spin5.e_spike"),
    ("spikey", "energy.synop", "spikey.e_transmission_random"),
    ("spikey", "energy.spike", "spikey.e_spike"),
    ("genn_rtx2070", "energy.synop", "genn_gpu_rtx2070.e_transmission_random"),
    ("genn_rtx2070", "energy.neuron_access", "genn_gpu_rtx2070.e_neuron_ms"),
    ("genn_rtx2070", "energy.spike", "genn_gpu_rtx2070.e_spike"),
]
"""Facts printed to three digits, of which a profile holds more."""
HALVED = [
    ("jetson_agx_orin", 275, "jetson_agx_orin_64.int8_sparse"),
    ("jetson_orin_nx", 100, "jetson_orin_nx_16.int8_sparse"),
    ("jetson_orin_nano", 40, "jetson_orin_nano_8.int8_sparse"),
]
"""Sparse TOPS of the advertisement, never used as dense."""
UNITS = {
    "pJ": 1e-12,
    "uJ": 1e-6,
    "pJ/bit": 1e-12,
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "W": 1.0,
    "mW": 1e-3,
    "uW": 1e-6,
    "nJ": 1e-9,
    "count": 1.0,
    "bits": 1.0,
    "TFLOP/s": 1e12,
    "TOPS": 1e12,
    "GB/s": 8e9,
}


@pytest.fixture(scope="module")
def facts() -> dict[str, dict[str, Any]]:
    file = ROOT.parent / "shared" / "facts" / "hardware.yaml"
    if not file.is_file():
        pytest.skip("the collection of published facts does not lie beside this checkout")
    from ruamel.yaml import YAML

    rows = YAML(typ="safe", pure=True).load(file)["facts"]
    return {row["id"]: row for row in rows}


def test_figures_equal_the_published_facts_and_none_is_a_recollection(facts: dict[str, dict[str, Any]]) -> None:
    for name, place, fact in FACTS:
        figure, row = load_hardware(name).figures()[place], facts[fact]
        assert row["status"] != "RECALLED", fact
        assert figure.value == pytest.approx(row["value"] * UNITS[row["unit"]], rel=1e-12), fact


def test_figures_of_more_digits_and_halves_of_sparse_rates(facts: dict[str, dict[str, Any]]) -> None:
    for name, place, fact in ROUNDED:
        row = facts[fact]
        assert load_hardware(name).figures()[place].value == pytest.approx(row["value"] * UNITS[row["unit"]], rel=5e-3)
    for name, sparse, fact in HALVED:
        value = facts[fact]["value"]
        assert sparse in (value if isinstance(value, list) else [value])
        assert load_hardware(name).figures()["arithmetic.1.peak"].value == pytest.approx(sparse / 2 * 1e12)
