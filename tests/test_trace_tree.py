"""One walk over a model's modules against torch's own: names, order, what stands there twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from snnenergy.trace.tree import buffers_of, modules_of, parameters_of, place_of, plain_tensors_of
from tests.trace_nets import conv_net, spiking_net

traced: Any = torch.jit.trace


def shared() -> nn.Module:
    """A layer under three names, a parameter and a buffer of two owners, a child and a bias that are None."""
    layer = nn.Linear(3, 3)
    inner = nn.Sequential(layer, nn.BatchNorm1d(3))
    model = nn.Sequential(nn.ModuleDict({"a": inner, "b": layer}), inner, nn.Linear(3, 3, bias=False))
    model.register_module("none", None)
    model.add_module("tied", nn.Linear(3, 3))
    tied: Any = model.get_submodule("tied")
    tied.weight = layer.weight
    tied.register_buffer("mean", inner[1].running_mean)
    return model


def scripted() -> nn.Module:
    made = traced(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval(), torch.zeros(2, 3))
    return nn.Sequential(made, nn.ReLU())


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("make", [conv_net, spiking_net, shared, scripted, nn.Identity, lambda: nn.LSTM(2, 3, 2)])
def test_the_walk_is_torchs(make: Callable[[], nn.Module]) -> None:
    model = make()
    modules = modules_of(model)
    for ours, theirs in (
        (modules, model.named_modules()),
        (parameters_of(modules), model.named_parameters()),
        (buffers_of(modules), model.named_buffers()),
    ):
        wanted: list[tuple[str, Any]] = list(theirs)
        assert [name for name, _ in ours] == [name for name, _ in wanted]
        assert all(one is other for (_, one), (_, other) in zip(ours, wanted, strict=True))


class Holding(nn.Module):
    """Tensors that torch does not know: an attribute, a list, a dict; one is a view of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.plain = torch.zeros(2)
        self.several = [torch.zeros(3), None, torch.zeros(4)]
        self.named = {"a": torch.zeros(5), 7: torch.zeros(6)}
        self._hidden = [torch.zeros(7)]


def test_what_modules_hold_as_plain_attributes_and_where() -> None:
    model = nn.Sequential(Holding())
    found = dict(plain_tensors_of(modules_of(model)))
    sizes = {name: t.numel() for name, t in found.items()}
    assert sizes == {"0.plain": 2, "0.several.0": 3, "0.several.2": 4, "0.named.a": 5, "0.named.7": 6}
    modules = dict(model.named_modules())
    for name, t in (*found.items(), *model.named_parameters()):
        place = place_of(name, modules.get)
        assert place is not None and place.holds(t) and not place.holds(torch.zeros(2))
    held: Any = model[0]
    places = {name: place_of(name, modules.get) for name in found}
    held.several[0], held.named = torch.zeros(3), {}
    kept = {name for name, place in places.items() if place is not None and place.holds(found[name])}
    assert kept == {"0.plain", "0.several.2"}
    assert place_of("0.several.nothing.0", modules.get) is None and place_of("0.nothing", modules.get) is None
