"""Large nets in plain PyTorch, as factories for `snnenergy profile --meta`: a decoder of 7 B parameters, a spiking transformer.

Sizes of the decoder are those of a common 7 B one: 32 layers of width 4096, 32 heads, 11008 hidden units, 32000 words.
The spiking transformer has the size of Spikformer-8-768: 8 blocks of width 768, for T = 4 and images of 224 x 224.
Each is written for its shapes: nothing is trained, and the decoder's positions are not encoded.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DecoderBlock(nn.Module):
    """Attention and a gated feed-forward layer, each after a norm.  x [N, S, D] -> [N, S, D]"""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, s, d = x.shape
        y = self.norm1(x)
        q, k, v = (f(y).view(n, s, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(n, s, d))
        y = self.norm2(x)
        out: Tensor = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return out


class Decoder(nn.Module):
    """Words [N, S] -> scores [N, S, words]."""

    def __init__(self, layers: int, width: int, heads: int, hidden: int, words: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(DecoderBlock(width, heads, hidden) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x)
        for block in self.blocks:
            y = block(y)
        out: Tensor = self.head(self.norm(y))
        return out


def decoder_7b() -> Decoder:
    """6,738,415,616 parameters: 2 x 32000 x 4096 + 32 (4 x 4096^2 + 3 x 4096 x 11008 + 2 x 4096) + 4096."""
    return Decoder(32, 4096, 32, 11008, 32000)


def decoder_small() -> Decoder:
    """The same net where it fits a laptop."""
    return Decoder(2, 64, 4, 172, 100)


class LIFNode(nn.Module):
    """A leaky neuron over x [T, ...]: v <- v + (x - v) / 2, a spike and v = 0 at v >= 1."""

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0])
        out = []
        for step in x:
            v = v + (step - v) / 2
            spikes = (v >= 1.0).to(x.dtype)
            v = v * (1 - spikes)
            out.append(spikes)
        return torch.stack(out)


class ConvNorm(nn.Module):
    """A convolution, a batch norm and optionally a pool, over T x N images at once.  x [T, N, C, H, W]"""

    def __init__(self, cin: int, cout: int, kernel: int, *, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(cout)
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.norm(self.conv(x.flatten(0, 1))))
        out: Tensor = y.view(*x.shape[:2], *y.shape[1:])
        return out


class LinearNorm(nn.Module):
    """A linear layer on every token, and a batch norm.  x [T, N, S, C]"""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(cin, cout), nn.BatchNorm1d(cout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x.flatten(0, 1))
        out: Tensor = self.norm(y.transpose(1, 2)).transpose(1, 2).reshape(*x.shape[:3], -1)
        return out


class SpikingBlock(nn.Module):
    """Spiking self-attention without softmax (q k^T v), then two spiking layers.  x [T, N, S, D]"""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (LinearNorm(width, width) for _ in range(4))
        self.q_lif, self.k_lif, self.v_lif, self.a_lif, self.o_lif = (LIFNode() for _ in range(5))
        self.fc1, self.fc2 = LinearNorm(width, 4 * width), LinearNorm(4 * width, width)
        self.lif1, self.lif2 = LIFNode(), LIFNode()

    def forward(self, x: Tensor) -> Tensor:
        t, n, s, d = x.shape
        parts = ((self.q, self.q_lif), (self.k, self.k_lif), (self.v, self.v_lif))
        q, k, v = (lif(f(x)).view(t, n, s, self.heads, -1).transpose(2, 3) for f, lif in parts)
        y = ((q @ k.transpose(-2, -1)) @ v) * 0.125
        x = x + self.o_lif(self.o(self.a_lif(y.transpose(2, 3).reshape(t, n, s, d))))
        out: Tensor = x + self.lif2(self.fc2(self.lif1(self.fc1(x))))
        return out


class SpikingTransformer(nn.Module):
    """Images at each step [T, N, 3, H, W] -> scores [N, classes]."""

    def __init__(self, width: int, blocks: int, heads: int, classes: int) -> None:
        super().__init__()
        widths = (3, width // 8, width // 4, width // 2, width)
        self.patches = nn.ModuleList(ConvNorm(a, b, 3, pool=True) for a, b in pairwise(widths))
        self.lifs = nn.ModuleList(LIFNode() for _ in range(4))
        self.position, self.position_lif = ConvNorm(width, width, 3), LIFNode()
        self.blocks = nn.ModuleList(SpikingBlock(width, heads) for _ in range(blocks))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for patch, lif in zip(self.patches, self.lifs, strict=True):
            y = lif(patch(y))
        y = y + self.position_lif(self.position(y))
        y = y.flatten(3).transpose(2, 3)
        for block in self.blocks:
            y = block(y)
        out: Tensor = self.head(y.mean(2)).mean(0)
        return out


def spikformer_8_768() -> SpikingTransformer:
    """66 M parameters."""
    torch.manual_seed(0)
    return SpikingTransformer(768, 8, 12, 1000)


def spikformer_small() -> SpikingTransformer:
    """The same net on small images."""
    torch.manual_seed(0)
    return SpikingTransformer(32, 2, 4, 10)
