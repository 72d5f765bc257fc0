"""Small nets for the tests of the cost room: layers whose every event a reader can count."""

from __future__ import annotations

from typing import Any

import pytest

from snnenergy.counts import Counts

SPIKES: dict[str, Any] = {"magnitudes": [1.0], "positive": True, "zeros": True}
ANALOG: dict[str, Any] = {"many": True}
STEPS = 10


def linear(path: str, inputs: int, outputs: int, taps: int, *, steps: int = STEPS, **more: Any) -> dict[str, Any]:
    """A dense layer of one sample; `taps` are driven and effective, all weights being non-zero."""
    evidence = more.pop("evidence", SPIKES)
    stream = {
        "elements": inputs * steps,
        "nonzero": taps // outputs,
        "driven": taps,
        "effective": taps,
        "unit_taps": taps,
    }
    row = {
        "path": path,
        "role": "synaptic",
        "op": "linear",
        "dense_macs": inputs * outputs * steps,
        "weights": inputs * outputs,
        "weights_nonzero": inputs * outputs,
        "weight_bits": 8,
        "input_bits": 8,
        "fan_in": inputs,
        "fan_out": outputs,
        "output_elements": outputs * steps,
        "streams": [stream | {"evidence": evidence}],
    }
    return row | more


def lif(path: str, neurons: int, spikes: int, *, steps: int = STEPS, **more: Any) -> dict[str, Any]:
    row = {"path": path, "role": "neuron", "neuron_model": "LIF", "neurons": neurons, "updates": neurons * steps}
    return row | {"spikes_out": spikes, "state_words": 1, "output_elements": neurons * steps} | more


def net(**more: Any) -> Counts:
    """20 -> 30 -> 10 over ten steps: 40 input spikes drive 1,200 taps, 25 hidden spikes 250; 5 output spikes."""
    layers = [
        linear("fc1", 20, 30, 1200),
        lif("lif1", 30, 25, sources=["fc1"]),
        linear("fc2", 30, 10, 250, sources=["lif1"]),
        lif("lif2", 10, 5, sources=["fc2"]),
    ]
    return Counts.build("net", layers, time_steps=STEPS, **more)


def pj(value: float) -> Any:
    return pytest.approx(value * 1e-12, rel=1e-9)
