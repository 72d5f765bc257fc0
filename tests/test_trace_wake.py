"""Single operators heard at the dispatcher: only those asked for, only while asked, and watched forwards equal surveyed ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnenergy.trace import count, counting
from snnenergy.trace.wake import listening

BMM = torch.ops.aten.bmm.default
X = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, op: Any, args: Any, kwargs: Any) -> Any:
        self.calls.append((op, tuple(args[0].shape)))
        return op(*args, **kwargs)


def test_only_the_operator_asked_for_and_only_while_it_is_open() -> None:
    heard = Heard()
    with listening([BMM], heard):
        torch.relu(X + 1)
        inside = X @ X
    assert heard.calls == [(BMM, (2, 3, 3))]
    assert torch.equal(X @ X, inside)
    assert len(heard.calls) == 1


def test_an_error_inside_leaves_nothing_on() -> None:
    heard = Heard()
    with pytest.raises(RuntimeError, match="inside"), listening([BMM], heard):
        raise RuntimeError("inside")
    with pytest.raises(RuntimeError, match="size"), listening([BMM], heard):
        torch.bmm(X, X[:, :2])
    assert len(heard.calls) == 1
    torch.bmm(X, X)
    assert len(heard.calls) == 1


def test_listeners_nest_and_gradients_pass() -> None:
    outer, inner = Heard(), Heard()
    x = X.clone().requires_grad_()
    with listening([BMM], outer):
        with listening([BMM], inner):
            torch.autograd.backward(torch.bmm(x, x).sum())
        torch.bmm(x, x)
    assert (len(outer.calls), len(inner.calls)) == (
        outer.calls.count(outer.calls[0]),
        inner.calls.count(inner.calls[0]),
    )
    assert len(outer.calls) > len(inner.calls) >= 1
    assert x.grad is not None


class Mixed(nn.Module):
    """The same operator (addmm) inside a hooked leaf and outside every leaf, beside a product of activations."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.weight = nn.Linear(4, 4), nn.Parameter(torch.eye(4))
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.fc(x))
        y = F.linear(y, self.weight, self.bias)
        y = torch.relu(self.fc(y))
        return (y @ y.T) @ F.linear(y, self.weight)


@pytest.mark.parametrize("mode", ["no_grad", "inference", "grad", "autocast"])
def test_watched_through_operators_equals_surveyed(mode: str) -> None:
    torch.manual_seed(1)
    model = Mixed()
    inputs = [torch.randn(5, 4) for _ in range(7)]
    contexts: dict[str, Any] = {
        "no_grad": torch.no_grad(),
        "inference": torch.inference_mode(),
        "grad": torch.enable_grad(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
    }
    with contexts[mode]:
        with counting(model) as rec:
            outs = [model(x) for x in inputs]
        alone = [model(x) for x in inputs]
        first, *others = [count(model, x) for x in inputs]
    assert all(torch.equal(a, b) for a, b in zip(outs, alone, strict=True))
    watched = rec.counts()
    if mode != "autocast":  # casts come after an operator is heard: every forward is surveyed
        assert "surveyed 3 of 7 forwards" in watched.identity.notes
    expected = first.merge(*others)
    assert [la.streams for la in watched.layers] == [la.streams for la in expected.layers]
    assert [la.dense_macs for la in watched.layers] == [la.dense_macs for la in expected.layers]
    assert not watched.uncounted


@pytest.mark.filterwarnings("ignore")  # TorchScript says on every call that it is deprecated
def test_a_scripted_part_is_heard_too() -> None:
    """No Python runs inside it, so a function mode would hear nothing."""
    scripted = torch.jit.script(Product())
    heard = Heard()
    with torch.no_grad(), listening([BMM], heard):
        scripted(X)
    assert heard.calls == [(BMM, (2, 3, 3))]


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x, x) + 1


class Mapped(nn.Module):
    """x (N, L, F) through torch.vmap over its samples: a leaf, a function of a weight, a product of activations."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.layer = how, nn.Linear(6, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor
        if self.how == "leaf":
            out = torch.vmap(self.layer)(x)
        elif self.how == "function":
            out = torch.vmap(lambda row: F.linear(row, self.layer.weight))(x) + 0 * self.layer(x)
        else:
            out = torch.vmap(lambda row: row @ row.T)(x)
        return out


@pytest.mark.parametrize(
    ("how", "dense"), [("leaf", 3 * 5 * 6 * 4), ("function", 2 * 3 * 5 * 6 * 4), ("product", 3 * 5 * 6 * 5)]
)
def test_what_torch_func_maps_over_samples_is_counted_for_all_of_them(how: str, dense: int) -> None:
    """A module or listener is given one sample there: forwards after the first are surveyed, not watched."""
    x = (torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    model = Mapped(how).eval()
    one = count(model, x)
    assert one.total().dense_macs == dense
    if how == "leaf":
        assert one.total().acs == 4 * int(x.sum())
    with counting(model) as recorder:
        for _ in range(5):
            model(x)
    five = recorder.counts().total()
    assert (five.dense_macs, five.acs, five.macs) == (5 * dense, 5 * one.total().acs, 5 * one.total().macs)
