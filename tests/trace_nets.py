"""Small models for the tests of the counting engine, and what of their Counts must be equal where the values are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnenergy.counts import Counts, LayerCounts, Stream
from snnenergy.trace import count, counting

RUN_ONLY = ("calls", "kernels")
"""Figures of one run on one backend, outside the laws."""


class Functional(nn.Module):
    """A forward in one expression: `Functional(lambda m, x: x @ m.w, w=...)`."""

    def __init__(self, body: Callable[..., Any], **parameters: Tensor) -> None:
        super().__init__()
        self.body = body
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, *inputs: Any) -> Any:
        return self.body(self, *inputs)


class LIF(nn.Module):
    """A leaky neuron of one step with hard reset; every value stays dyadic when the input's are."""

    def __init__(self, threshold: float = 1.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        v = x if self.v is None else 0.5 * self.v + x
        spikes = (v >= self.threshold).to(x.dtype)
        self.v = v * (1 - spikes)
        return spikes


class Steps(nn.Module):
    """Runs `net` once per step of x [T, N, ...], from a state at rest."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        for module in self.net.modules():
            if isinstance(module, LIF):
                module.v = None
        return torch.stack([self.net(x[t]) for t in range(x.shape[0])]).sum(0)


def spikes(*shape: int, p: float = 0.3, seed: int = 0) -> Tensor:
    """0/1 values, ones with probability p."""
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < p).float()


def analog(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dyadic(*shape: int, seed: int = 0) -> Tensor:
    """Multiples of 1/4 between -1 and 1: sums of their products are exact in any order, also in half precision."""
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)) / 4


def make_dyadic(model: nn.Module, seed: int = 0) -> nn.Module:
    """All parameters become multiples of 1/4; batch norms scale by 1 and shift by 1/4."""
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(dyadic(*p.shape, seed=seed + i))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eps = 0.0
                for t, value in (
                    (module.weight, 1),
                    (module.bias, 0.25),
                    (module.running_mean, 0.5),
                    (module.running_var, 1),
                ):
                    assert t is not None
                    t.fill_(value)
    return model.eval()


def conv_net() -> Any:
    """1 x 8 x 8 -> 10: an even convolution, a norm, a pool, a linear layer."""
    return make_dyadic(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 10),
        )
    )


def spiking_net() -> Any:
    """T x N x 1 x 6 x 6 -> N x 5: two synaptic layers with two neurons, three quarters of all weights non-zero."""
    return make_dyadic(
        Steps(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), LIF(), nn.Flatten(), nn.Linear(108, 5), LIF())), seed=3
    )


def dense(model: nn.Module, *inputs: Any, **options: Any) -> int:
    """Dense MACs of one forward, of which nothing was left out."""
    counts = count(model, *inputs, **options)
    assert counts.uncounted == ()
    assert counts.coverage.complete
    return counts.total().dense_macs


def acs_and_macs(model: nn.Module, *inputs: Any, **options: Any) -> tuple[int, int]:
    total = count(model, *inputs, **options).total()
    return total.acs, total.macs


def streams(model: nn.Module, *inputs: Any, **options: Any) -> tuple[Stream, ...]:
    """Streams of the only synaptic layer."""
    (layer,) = synaptic(count(model, *inputs, **options))
    return layer.streams


def synaptic(counts: Counts) -> list[LayerCounts]:
    return [layer for layer in counts.layers if layer.role == "synaptic"]


def figures(counts: Counts) -> dict[str, Any]:
    """Everything that the laws speak of: all of the Counts but this run's calls and kernels and its notes."""
    rows = {layer.path: dataclasses.asdict(layer) for layer in counts.layers if layer.path != "(copies)"}
    for row in rows.values():
        for name in RUN_ONLY:
            del row[name]
    shares = (counts.coverage.parameters_counted, counts.coverage.parameters_total, counts.coverage.complete)
    ledger = [(u.path, u.op, u.parameters) for u in counts.uncounted]
    return {
        "samples": counts.samples,
        "time_steps": counts.time_steps,
        "layers": rows,
        "coverage": shares,
        "uncounted": ledger,
        "inputs": counts.conditions.inputs,
    }


def surveyed(counts: Counts) -> tuple[int, int]:
    """k and n of the note `surveyed k of n forwards`."""
    words = next(note for note in counts.identity.notes if note.startswith("surveyed")).split()
    return int(words[1]), int(words[3])


def repeated(model: nn.Module, n: int, *inputs: Any, survey: str = "auto") -> Counts:
    """n equal forwards in one open context."""
    with counting(model, survey=survey) as rec:
        for _ in range(n):
            model(*inputs)
    return rec.counts()
