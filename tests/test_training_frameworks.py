"""A training step of a net in every SNN framework: driven taps against masks that torch's own gradient kernels multiply.

The gradient of a weight is a sum over the taps it takes part in; of masks in place of values it is the number of those whose
operands are both not zero.  Inputs and gradients are caught by hooks in a second, uncounted step.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import grad

import snnenergy
from snnenergy.trace.aside import as_it_was
from tests.framework_nets import CASES, SLAYER, Case

pytestmark = pytest.mark.filterwarnings("ignore")  # frameworks' own, on import


def witness(net: nn.Module, x: Tensor) -> dict[str, int]:
    """Taps by row: driven ones of every `@grad_weight`, effective ones of every `@grad_input`."""
    found: dict[str, int] = {}

    def note(row: str, taps: Tensor) -> None:
        found[row] = found.get(row, 0) + round(float(taps.sum()))

    def weigh(name: str, layer: Any, given: Tensor, g: Tensor) -> None:
        a, b, w = (mask.detach().ne(0).double() for mask in (given, g, layer.weight))
        if isinstance(layer, nn.Linear):
            b = b.reshape(-1, b.shape[-1])
            note(f"{name}@grad_weight", b.T @ a.reshape(-1, a.shape[-1]))
            back = b @ w
        else:
            a, b = (t.reshape(-1, *t.shape[-3:]) for t in (a, b))
            how = (layer.stride, layer.padding, layer.dilation, layer.groups)
            note(f"{name}@grad_weight", grad.conv2d_weight(a, layer.weight.shape, b, *how))  # type: ignore[no-untyped-call]  # torch's own
            back = grad.conv2d_input(a.shape, w, b, *how)  # type: ignore[no-untyped-call]  # the same
        if given.requires_grad:
            note(f"{name}@grad_input", back)

    def hooked(name: str, layer: nn.Module) -> Any:
        def watch(_: Any, args: tuple[Tensor, ...], out: Tensor) -> None:
            if out.requires_grad:
                out.register_hook(lambda g: weigh(name, layer, args[0], g))  # type: ignore[no-untyped-call]  # torch's own

        return layer.register_forward_hook(watch)

    handles = [hooked(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    with as_it_was(net):
        out = net.train()(x)
        first = next(t for t in (out if isinstance(out, tuple | list) else (out,)) if isinstance(t, Tensor))
        first.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.run is None and case.package != SLAYER],
    ids=lambda case: f"{case.package}: {case.name}",
)
def test_driven_taps(case: Case) -> None:
    torch.manual_seed(0)
    try:
        net, x = case.build()
    except ImportError:
        pytest.skip(f"{case.package} is not installed")
    net.requires_grad_(requires_grad=True)
    counts = snnenergy.count_training(net, x)
    assert counts.uncounted == ()
    rows = {layer.path: layer for layer in counts.layers if layer.dense_macs}
    expected = witness(net, x)
    assert expected
    assert {path: rows[path].effective for path in expected} == expected
    leaves = {n for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    assert {path for path in rows if "@" in path and path.partition("@")[0] in leaves} == set(expected)
