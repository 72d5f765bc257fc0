"""Spikes per neuron and per synapse in one inference, as the break-even literature counts them."""

from __future__ import annotations

import torch
from torch import nn

from snnenergy.counts import Counts
from snnenergy.trace import count
from tests.trace_nets import LIF, Steps


def test_by_hand() -> None:
    # 2 samples, T = 5, 4 inputs to 3 neurons: 12 synapses; 7 input spikes drive 21 of 120 taps; 6 spikes out
    counts = Counts.build(
        "net",
        [
            {
                "path": "fc",
                "role": "synaptic",
                "valid_macs": 120,
                "streams": [{"domain": "spike", "driven": 21, "effective": 20}],
            },
            {"path": "lif", "role": "neuron", "neurons": 3, "updates": 30, "spikes_out": 6},
            {
                "path": "analog",
                "role": "synaptic",
                "valid_macs": 6,
                "streams": [{"domain": "analog", "driven": 6, "effective": 6}],
            },
        ],
        samples=2,
        time_steps=5,
    )
    fc, lif, analog = counts.layers
    assert counts.spikes_per_synapse(fc) == 21 / (2 * 12)
    assert counts.spikes_per_neuron(lif) == 6 / (2 * 3)
    assert counts.spikes_per_synapse(analog) is counts.spikes_per_neuron(fc) is counts.spikes_per_synapse(lif) is None
    table = counts.to_dataframe().set_index("path")
    assert table.loc["fc", "spikes_per_synapse"] == 0.875
    assert table.loc["lif", "spikes_per_neuron"] == 1


def test_a_synapse_that_always_spikes_carries_t_spikes() -> None:
    steps = 7
    net = Steps(nn.Sequential(nn.Linear(4, 3), LIF(), nn.Linear(3, 2)))
    with torch.no_grad():
        net.net[0].weight.fill_(1.0)  # type: ignore[index]  # a Sequential
        counts = count(net, torch.ones(steps, 2, 4))
    first, lif, last = (counts[path] for path in ("net.0", "net.1", "net.2"))
    assert counts.spikes_per_synapse(first) == steps
    # every neuron sees what the others see, so a synapse carries what its neuron fires
    assert counts.spikes_per_synapse(last) == counts.spikes_per_neuron(lif)
