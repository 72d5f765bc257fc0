"""Thresholds, number formats and time steps of a sweep: what is set is set, in every framework, and what cannot be is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnenergy.counts import Counts
from snnenergy.errors import InputError, UsageError
from snnenergy.load import shapes
from snnenergy.trace import count
from snnenergy.trace.variants import Variant
from tests.framework_nets import CASES, Case, N
from tests.test_frameworks import installed
from tests.trace_nets import LIF, spikes

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own, while they are imported and run

MODULES = [
    case
    for case in CASES
    if case.package not in ("bindsnet", "torch") and {model for model, _ in case.neurons.values()} - {"LI", "GLIF"}
]


def fired(net: nn.Module, *inputs: Any) -> int:
    with torch.no_grad():
        return count(net, *inputs, samples=N).total().spikes_out


@pytest.mark.parametrize("case", MODULES, ids=str)
def test_neurons_obey_the_threshold_they_are_given(case: Case) -> None:
    installed(case.package)
    seen = []
    for threshold in (0.3, 1e9, None):  # the model's own last: nothing of the others may be left in the framework
        net, x = case.net()
        Variant(threshold=threshold).change(net)
        seen.append(fired(net, x))
    low, high, own = seen
    assert low != own
    assert own > high
    assert high == 0 or "EIF" in case.name  # an exponential membrane passes every threshold, at infinity


def test_an_adaptive_neuron_adapts_from_the_threshold_it_is_given() -> None:
    installed("sinabs")
    from sinabs.layers import ALIF

    x = torch.full((N, 12, 5), 0.4)
    seen = []
    for threshold in (0.5, 1.0, 1e9):
        net = nn.Sequential(ALIF(tau_mem=20.0, tau_adapt=10.0, norm_input=False))
        Variant(threshold=threshold).change(net)
        seen.append(fired(net, x))
    assert seen[0] > seen[1] > seen[2] == 0


def test_a_threshold_that_is_learned_as_a_logit_is_not_taken_for_one() -> None:
    (case,) = [case for case in CASES if case.name == "conv, gated LIF"]
    installed(case.package)
    net, _ = case.net()
    with pytest.raises(UsageError, match=r"thresholds: body\.1: no attribute that is known"):
        Variant(threshold=1.0).change(net)


class Hard(nn.Module):
    """A neuron whose threshold stands in its code."""

    def forward(self, x: Tensor) -> Tensor:
        return (x >= 1).to(x.dtype)


class HardLIF(Hard):
    pass


class WrappedLIF(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = LIF()

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)


def test_what_cannot_be_set_is_an_error_that_names_the_layer() -> None:
    with pytest.raises(UsageError, match="no spiking neuron was recognised"):
        Variant(threshold=1.0).change(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    with pytest.raises(UsageError, match=r"thresholds: body\.1: no attribute that is known"):
        Variant(threshold=1.0).change(nn.ModuleDict({"body": nn.Sequential(nn.Linear(2, 2), HardLIF())}))
    wrapped = WrappedLIF()
    Variant(threshold=0.25).change(wrapped)
    assert wrapped.inner.threshold == 0.25


def first(net: nn.Sequential) -> nn.Linear:
    layer = net[0]
    assert isinstance(layer, nn.Linear)
    return layer


def net_of(*weights: list[float]) -> nn.Sequential:
    layer = nn.Linear(len(weights[0]), len(weights), bias=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        layer.bias.fill_(0.013)
    return nn.Sequential(layer)


def test_int8_rounds_weights_to_the_nearest_of_255_and_is_priced_at_8_bits() -> None:
    net = net_of([1.27, 0.014], [-0.006, -0.0049])
    variant = Variant(precision="int8")
    variant.change(net)
    assert torch.allclose(first(net).weight, torch.tensor([[1.27, 0.01], [-0.01, 0.0]]), atol=1e-7)
    assert first(net).bias.tolist() == pytest.approx([0.013, 0.013])
    counts = variant.stated(count(net, torch.ones(3, 2)))
    (layer,) = counts.layers
    assert (layer.weight_bits, layer.input_bits, layer.output_bits) == (8, 8, 8)
    assert (layer.weights_nonzero, counts.total().acs) == (3, 3 * 3)  # one weight became zero
    assert any(note.startswith("weights rounded to 8 bits") for note in counts.identity.notes)


@pytest.mark.parametrize(("name", "bits"), [("fp32", 32), ("fp16", 16), ("bf16", 16)])
def test_a_cast_is_of_model_and_input(name: str, bits: int) -> None:
    net, variant = net_of([0.5, 0.25]), Variant(precision=name)
    variant.change(net)
    (x,), _ = variant.inputs((torch.ones(1, 2, dtype=torch.float64),))
    (layer,) = variant.stated(count(net, x)).layers
    assert (layer.weight_bits, layer.input_bits) == (bits, bits)


def test_a_cast_moves_values_across_the_threshold() -> None:
    seen = {}
    for name in ("fp32", "bf16"):
        net = nn.Sequential(nn.Linear(1, 1, bias=False), LIF())
        nn.init.constant_(first(net).weight, 0.9999)  # 1.0 in bfloat16
        variant = Variant(threshold=1.0, precision=name)
        variant.change(net)
        (x,), _ = variant.inputs((torch.ones(N, 1),))
        seen[name] = fired(net, x)
    assert seen == {"fp32": 0, "bf16": N}


def test_shapes_are_stated_and_not_rounded() -> None:
    net, mode = net_of([0.5, 0.25]), shapes.mode()
    shapes.place(mode, net)
    variant = Variant(precision="int8")
    variant.change(net)
    with mode, torch.no_grad():
        counts: Counts = variant.stated(count(net, *shapes.only(mode, (torch.ones(1, 2),))))
    assert (counts.layers[0].weight_bits, counts.seen) == (8, False)


def test_shapes_that_are_cast_stay_tied() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    net, mode = nn.Sequential(first, second), shapes.mode()
    shapes.place(mode, net)
    Variant(precision="bf16").change(net)
    assert first.weight is second.weight
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}


def test_the_first_steps_of_an_input() -> None:
    x, other = spikes(6, 2, 3), torch.ones(2)
    (cut, kept), named = Variant(steps=4, time_axis=0).inputs((x, other), {"again": x, "mask": None})
    assert torch.equal(cut, x[:4])
    assert kept is other
    assert torch.equal(named["again"], x[:4])
    assert named["mask"] is None
    with pytest.raises(InputError, match="steps 9: the input has 6 along its time axis 0"):
        Variant(steps=9).inputs((x,))
    with pytest.raises(InputError, match="no input has an axis 3"):
        Variant(steps=2, time_axis=3).inputs((x,))


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    net = net_of([0.5, 0.25])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    Variant().change(net)
    x = torch.ones(1, 2)
    assert Variant().inputs((x,))[0][0] is x
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    counts = count(net, x)
    assert Variant().stated(counts) == counts
