"""On an accelerator the same sums are made there, with one synchronisation per read; here the same code runs on CPU tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnenergy.trace.fanout import Axis, ConvShape, conv_effective_map, positions
from snnenergy.trace.streams import Fan, Tally

SHAPE = ConvShape(3, 4, 1, (Axis(6, 3, 3, 2, 1, 1, False, (0, 6)), Axis(5, 5, 3, 1, 1, 1, False, (0, 5))))


def _values(kind: str) -> Tensor:
    g = torch.Generator().manual_seed(0)
    spikes = (torch.rand(4, 3, 6, 5, generator=g) < 0.3).float()
    return {
        "spike": spikes,
        "scaled": spikes * 0.25,
        "ternary": spikes * torch.sign(torch.randn(4, 3, 6, 5, generator=g)),
        "graded": spikes * torch.randint(1, 5, (4, 3, 6, 5), generator=g),
        "analog": spikes * torch.randn(4, 3, 6, 5, generator=g),
        "nothing": torch.zeros(4, 3, 6, 5),
    }[kind]


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("kind", ["spike", "scaled", "ternary", "graded", "analog", "nothing"])
def test_reading_on_the_device_equals_reading_on_the_host(kind: str, pruned: bool) -> None:
    weight = nn.Conv2d(3, 4, 3).weight.detach()
    weight[:, 1] *= not pruned
    effective = conv_effective_map(weight, SHAPE) if pruned else None
    fan = Fan(SHAPE.reached, positions(SHAPE), effective)
    host, device = Tally(), Tally()
    lines = _values(kind).reshape(4, 3, 30)
    for slots in ([0, 1], [2, 3], [0, 1]):
        part = lines[: len(slots)]
        host.read(part.numpy(), slots, 1, fan)
        device.read(part, slots, 1, fan)
    assert device.totals == host.totals
    assert device.elements == host.elements
    assert device.evidence(neuron=False) == host.evidence(neuron=False)
    assert device.value_taps == pytest.approx(host.value_taps, rel=1e-12)
    np.testing.assert_array_equal(device.rows[1], host.rows[1])
