"""What a calibration runs: chains of one kind of layer at several sizes, each of one class of operations.

A chain has many layers, so that what one forward costs as a whole (waiting for the device at its end) is a small part of it.
No probe is a network of the validation in docs/validation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from snnenergy.hardware.profile import OpClass

LAYERS = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """A chain of layers, and the shape of one sample's input: `batch` of them are stacked on `axis`."""

    kind: OpClass
    name: str
    layer: Callable[[], nn.Module]
    back: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int = 1
    axis: int = 0

    def chain(self) -> nn.Module:
        """The layers, there and back again in turns, so that they fit each other."""
        return nn.Sequential(*((self.layer, self.back)[i % 2]() for i in range(LAYERS))).eval()

    def input(self, batch: int) -> Tensor:
        return torch.randn(*self.shape[: self.axis], batch, *self.shape[self.axis :])


class Leaky(nn.Module):
    """A spiking neuron in plain operators, from rest: v = v / 2 + x; a spike and a reset by subtraction where v >= 1."""

    def forward(self, x: Tensor) -> Tensor:
        v = 0.5 * torch.zeros_like(x) + x
        spikes = (v >= 1.0).to(x.dtype)
        return v - spikes


class LastOf(nn.Module):
    """The sequence that a recurrent layer returns."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[0]
        return out


# in, out, rows
MATMULS = {
    "cpu": ((32, 32, 1), (128, 128, 1), (512, 256, 1), (1024, 1024, 1), (2048, 2048, 1), (64, 64, 16), (256, 256, 16),
            (1024, 512, 16), (96, 96, 64), (128, 512, 64), (512, 512, 256)),
    "cuda": ((64, 64, 1), (512, 512, 1), (2048, 2048, 1), (4096, 4096, 1), (256, 256, 64), (1024, 1024, 64),
             (4096, 4096, 64), (512, 2048, 512), (4096, 4096, 2048), (4096, 4096, 8192)),
}  # fmt: skip  # one row a line
# channels in, out, kernel, image, batch
CONVS = {
    "cpu": ((4, 8, 3, 8, 1), (16, 16, 3, 16, 1), (3, 24, 3, 32, 1), (24, 24, 3, 32, 1), (96, 96, 3, 16, 1), (192, 192, 3, 8, 1),
            (384, 384, 3, 4, 1), (48, 96, 1, 16, 1), (24, 24, 3, 32, 16), (96, 96, 3, 16, 16), (384, 384, 3, 4, 16)),
    "cuda": ((8, 8, 3, 8, 1), (3, 64, 3, 32, 1), (64, 64, 3, 32, 1), (256, 256, 3, 14, 1), (512, 512, 3, 7, 1),
             (64, 64, 3, 32, 64), (128, 256, 1, 28, 64), (96, 96, 3, 56, 64), (256, 256, 3, 28, 64), (512, 512, 3, 7, 64)),
}  # fmt: skip  # one row a line
# features, hidden, steps, batch
RECURRENT = {
    "cpu": ((32, 32, 20, 1), (64, 192, 30, 1), (192, 384, 20, 1), (64, 64, 30, 16), (192, 256, 20, 16)),
    "cuda": ((64, 64, 20, 1), (256, 256, 50, 1), (256, 1024, 20, 1), (256, 256, 50, 64), (512, 1024, 20, 64)),
}
# channels, image, batch of elementwise arithmetic
MAPS = {
    "cpu": ((8, 4, 1), (32, 16, 1), (96, 32, 1), (48, 16, 16)),
    "cuda": ((16, 8, 1), (64, 32, 1), (128, 56, 16), (256, 56, 64)),
}


@cache
def probes(device: str) -> tuple[Probe, ...]:
    """The probes for a kind of device (`cpu` or `cuda`): elementwise first, what the others contain too."""
    return tuple(_probes(device))


def _probes(device: str) -> Iterator[Probe]:
    for c, image, batch in MAPS[device]:
        for name, layer in _maps(c, image):
            yield Probe("elementwise", f"{name}, {batch}x{c}x{image}x{image}", layer, layer, (c, image, image), batch)
    for i, o, rows in MATMULS[device]:
        yield Probe("matmul", f"linear {i} to {o}, {rows} rows", _linear(i, o), _linear(o, i), (i,), rows)
    for i, o, k, image, batch in CONVS[device]:
        name = f"{k}x{k} convolution {i} to {o}, {batch}x{image}x{image}"
        yield Probe("conv", name, _conv(i, o, k), _conv(o, i, k), (i, image, image), batch)
    for i, h, steps, batch in RECURRENT[device]:
        name = f"LSTM {i} to {h}, {steps} steps, batch {batch}"
        yield Probe("recurrent", name, _lstm(i, h), _lstm(h, i), (steps, i), batch, 1)


def _linear(i: int, o: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(i, o)


def _conv(i: int, o: int, k: int) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(i, o, k, padding=k // 2, bias=False)


def _lstm(i: int, h: int) -> Callable[[], nn.Module]:
    return lambda: LastOf(nn.LSTM(i, h))


def _maps(c: int, image: int) -> tuple[tuple[str, Callable[[], nn.Module]], ...]:
    return (
        ("batch norm", lambda: nn.BatchNorm2d(c)),
        ("layer norm", lambda: nn.LayerNorm(image)),
        ("ReLU", nn.ReLU),
        ("sigmoid", nn.Sigmoid),
        ("max pool", lambda: nn.MaxPool2d(3, 1, 1)),
        ("LIF", Leaky),
    )
