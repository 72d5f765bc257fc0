"""Spikes per neuron and per synapse in one inference, as the break-even literature counts them."""

from __future__ import annotations

import torch
from torch import nn

from snnenergy.cost.records import Comparison
from snnenergy.counts import Counts
from snnenergy.report import html, markdown, terminal
from snnenergy.trace import count
from tests.trace_nets import LIF, Steps


def by_hand() -> Counts:
    # 2 samples, T = 5, 4 inputs to 3 neurons: 12 synapses; 7 input spikes drive 21 of 120 taps; 6 spikes out
    return Counts.build(
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


def test_by_hand() -> None:
    counts = by_hand()
    fc, lif, analog = counts.layers
    assert counts.spikes_per_synapse(fc) == 21 / (2 * 12)
    assert counts.spikes_per_neuron(lif) == 6 / (2 * 3)
    assert counts.spikes_per_synapse(analog) is counts.spikes_per_neuron(fc) is counts.spikes_per_synapse(lif) is None
    table = counts.to_dataframe().set_index("path")
    assert table.loc["fc", "spikes_per_synapse"] == 0.875
    assert table.loc["lif", "spikes_per_neuron"] == 1


def test_the_published_limits_stand_beside_it_in_every_report() -> None:
    """With their DOIs; and not where no spike drives a synapse."""
    spiking = by_hand()
    plain = Counts.build("ann", [{"path": "fc", "role": "synaptic", "valid_macs": 6, "dense_macs": 6}])
    dois = ("10.3389/fnins.2021.651141", "10.1109/TETCI.2022.3214509", "10.48550/arXiv.2409.08290")
    for render in (terminal.render, markdown.render, html.render):
        shown, bare = (" ".join(render(Comparison({c.model: c}, ())).split()) for c in (spiking, plain))
        for words in ("1.72 (", "0.15 to 1.38 (", "5.7 to 6.4 % at T = 5 to 10 (", *(f"doi:{doi}" for doi in dois)):
            assert words in shown
            assert words not in bare
    assert "fc 0.875" in terminal.render_counts(spiking)
    page = html.render(Comparison({"net": spiking}, ()))
    assert all(f'href="https://doi.org/{doi}"' in page for doi in dois)


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
