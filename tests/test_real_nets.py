"""Real nets with known answers (data beside the checkout, never needed by a user)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from snnenergy import counting

PILOTNET = Path(__file__).resolve().parents[2] / "shared" / "data" / "pilotnet_lif"
pytestmark = pytest.mark.skipif(not PILOTNET.is_dir(), reason="../shared/data/pilotnet_lif is not here")

CONVS = [
    # weights, source, stride and padding on (height, width), driven taps over 24 steps
    ("layer1", "input", (2, 2), (0, 0), 43_573_080),
    ("layer2", "conv_0", (2, 2), (0, 0), 12_704_184),
    ("layer3", "conv_1", (2, 2), (0, 0), 6_376_608),
    ("layer4", "conv_2", (2, 1), (1, 0), 5_880_064),
    ("layer5", "conv_3", (1, 1), (0, 0), 3_622_336),
]
DENSE = [
    ("layer7", "conv_4", 677_000),
    ("layer8", "fc_0", 11_300),
    ("layer9", "fc_1", 490),
    ("layer10", "fc_2", 8),
]


def _conv(weight: torch.Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride, padding, bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def test_pilotnet_drives_the_taps_its_recorded_spikes_say() -> None:
    weights, spikes = np.load(PILOTNET / "weights.npz"), np.load(PILOTNET / "spikes.npz")
    total = dense = 0
    for name, source, stride, padding, driven in CONVS:
        frames = torch.from_numpy(spikes[source].astype(np.float32)).permute(3, 2, 1, 0)  # (w, h, c, t) -> (t, c, h, w)
        layer = _conv(torch.from_numpy(weights[f"{name}_weight"].astype(np.float32)), stride, padding)
        with counting(layer) as rec, torch.no_grad():
            for frame in frames:
                layer(frame[None])
        (found,) = rec.counts().layers
        assert found.driven == driven, name
        assert found.domains == ("spike",)
        total, dense = total + found.driven, dense + found.dense_macs
    for name, source, driven in DENSE:
        events = torch.from_numpy(spikes[source].astype(np.float32))
        rows = events.reshape(-1, events.shape[-1]).t()
        weight = torch.from_numpy(weights[f"{name}_weight"].astype(np.float32)).reshape(-1, rows.shape[1])
        linear = nn.Linear(rows.shape[1], weight.shape[0], bias=False)
        linear.weight = nn.Parameter(weight)
        with counting(linear) as rec, torch.no_grad():
            linear(rows)
        (found,) = rec.counts().layers
        assert found.driven == driven, name
        total, dense = total + found.driven, dense + found.dense_macs
    assert total == 72_845_070
    assert dense == 349_201_296
