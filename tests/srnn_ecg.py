"""A published spiking recurrent net on real ECG, rebuilt from its weights: what the shipped counts were recorded from.

Network and weights: Yin, Corradi, Bohte 2020 (arXiv 2005.11633).  Membranes start from a seeded random draw, like the
authors'; the spikes start at zero and not from the same draw, so that every step is binary: that is 1 step of 1,301.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

THRESHOLD, MEMBRANE_DECAY, ADAPTATION = 0.01, math.exp(-1 / 20), 1.8


class Adaptive(nn.Module):
    """v <- a v + (1 - a) I - B s; s = [v > B]; B = 0.01 + beta b; b <- r b + (1 - r) s, with r = exp(-1 / tau)."""

    def __init__(self, tau: Tensor, beta: float) -> None:
        super().__init__()
        self.register_buffer("decay", torch.exp(-1 / tau))
        self.decay: Tensor
        self.beta = beta

    def forward(self, current: Tensor, state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        v, s, b = state
        b = self.decay * b + (1 - self.decay) * s
        threshold = THRESHOLD + self.beta * b
        v = MEMBRANE_DECAY * v + (1 - MEMBRANE_DECAY) * current - threshold * s
        return v, (v > threshold).float(), b


class SRNN(nn.Module):
    """4 inputs, 36 LIF neurons that feed each other, 6 adaptive output neurons; [samples, steps, 4] in, membranes out."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        stored = {name: torch.from_numpy(array).float() for name, array in np.load(weights).items()}
        self.i2h, self.h2h, self.h2o = nn.Linear(4, 36), nn.Linear(36, 36), nn.Linear(36, 6)
        with torch.no_grad():
            for name in ("i2h", "h2h", "h2o"):
                layer = getattr(self, name)
                layer.weight.copy_(stored[f"{name}.weight"])
                layer.bias.copy_(stored[f"{name}.bias"])
        self.hidden = Adaptive(stored["tau_adp_h"], 0.0)
        self.output = Adaptive(stored["tau_adp_o"], ADAPTATION)

    def forward(self, x: Tensor) -> Tensor:
        hidden, output = self._rest(len(x), 36), self._rest(len(x), 6)
        membranes = []
        for step in range(x.shape[1]):
            current = self.i2h(x[:, step]) + self.h2h(hidden[1])
            hidden = self.hidden(current, hidden)
            output = self.output(self.h2o(hidden[1]), output)
            membranes.append(output[0])
        return torch.stack(membranes, dim=1)

    @staticmethod
    def _rest(samples: int, neurons: int) -> tuple[Tensor, Tensor, Tensor]:
        draw = torch.rand(samples, neurons, generator=torch.Generator().manual_seed(0))
        return draw, torch.zeros(samples, neurons), torch.full((samples, neurons), 0.01)


ROLES = {"hidden": "LIF", "output": "ALIF"}


def recordings(folder: Path, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Inputs [recordings, 1301, 4] in {-1, 0, 1} and labels [recordings, 1301]."""
    stored = np.load(folder / "qtdb_test.npz")
    return torch.from_numpy(stored["x"][:count]).float(), torch.from_numpy(stored["y"][:count]).long()


class LSTM(nn.Module):
    """What the SRNN is compared with: 4 inputs, 36 LSTM units, 6 outputs; nobody trained it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.h2o = nn.LSTM(4, 36, batch_first=True), nn.Linear(36, 6)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(x)
        made: Tensor = self.h2o(hidden.contiguous())
        return made
