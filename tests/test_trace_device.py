"""On an accelerator the same sums are made there, with one synchronisation per read; here the same code runs on CPU tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnenergy.trace.events import Fan
from snnenergy.trace.fanout import Axis, ConvShape, conv_effective_map, linear_effective_map, positions
from snnenergy.trace.sites import Site, read_product
from snnenergy.trace.streams import Tally

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


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_whom_a_pruned_weight_reaches_is_counted_where_it_lies(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = (nn.Conv2d(3, 4, 3) if kind == "conv" else nn.Linear(7, 5)).weight.detach()
    weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5] = 0

    def reached() -> list[list[int]]:
        made = conv_effective_map(weight, SHAPE) if kind == "conv" else linear_effective_map(weight.t())
        values: list[list[int]] = made.values.tolist()
        return values

    on_the_host = reached()
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    assert reached() == on_the_host


def test_products_that_wait_on_the_device_are_read_as_those_on_the_host() -> None:
    """Two forwards, the second of which does not count: what waits of it is dropped, what waits of the first is not."""
    a, b = torch.tensor([[[1.0, 0, 1], [0, 0, 1]]]), torch.tensor([[[2.0], [1], [0]]])

    def sites() -> tuple[Site, Site]:
        left, right = Site("p", "product"), Site("p", "product", operand="b")
        left.partner, right.partner = right, left
        for site in (left, right):
            site.begin(1)
        return left, right

    host, device = sites(), sites()
    read_product(*host, a, b)
    device[0]._pairs.append((a, b, 0, 1))  # as `read_product` leaves it where the values are not on the host
    for site in device:
        site.begin(2)
    device[0]._pairs.append((b.mT, a.mT, 0, 2))
    for site in device:
        site.drop()
    device[0].flush()
    for one, other in zip(host, device, strict=True):
        assert one.tallies[0].totals == other.tallies[0].totals
        assert one.tallies[0].evidence(neuron=False) == other.tallies[0].evidence(neuron=False)
    assert host[0].tallies[0].totals == (3, 1, 1)  # by hand: only the first column of a meets a non-zero in b


def test_a_model_that_moves_between_devices_in_one_context_is_read_on_both() -> None:
    """What waits on the device has other room than the buffer on the host: neither may use the other's."""
    site, fans, x = Site("p", "linear"), (Fan(3, 1),), torch.ones(200, 160)
    site.begin(1)
    site.take(x, fans)
    site._take_device(x, fans, 1)
    for _ in range(10):
        site.take(x, fans)
    site.flush()
    assert site.tallies[0].totals == (12 * 32_000, 3 * 12 * 32_000, 3 * 12 * 32_000)
