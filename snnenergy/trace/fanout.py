"""Who is reached: for each input element, how many taps it drives, as maps cached per layer shape and weight mask.

Driven taps of a whole input are then one product of its non-zero mask with the map.  In a convolution the map separates:
input position i of one axis meets kernel offset k when an output position o exists with

    i = o stride - padding + k dilation        (transposed: o = i stride - padding + k dilation)

so an axis is a 0/1 matrix [positions, kernel], and padding taps, strides, dilation and crops are exact by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnenergy.trace.arrays import Rows, host, nonzero_columns
from snnenergy.trace.events import Fan, Map


class Axis(NamedTuple):
    """One spatial axis of a convolution: sizes in elements; `real` is the part of the input that is not zero padding."""

    size: int
    out: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    transposed: bool
    real: tuple[int, int]


@lru_cache(maxsize=4096)
def reach(axis: Axis) -> NDArray[np.int64]:
    """0/1 matrix [size, kernel]: does input position i drive an existing output through kernel offset k?"""
    i = np.arange(axis.size)[:, None]
    shift = np.arange(axis.kernel)[None, :] * axis.dilation
    if axis.transposed:
        o = i * axis.stride - axis.padding + shift
        hit = (o >= 0) & (o < axis.out)
    else:
        scaled = i + axis.padding - shift
        hit = (scaled % axis.stride == 0) & (scaled >= 0) & (scaled // axis.stride < axis.out)
    inside = (i >= axis.real[0]) & (i < axis.real[1])
    return (hit & inside).astype(np.int64)


@dataclass(frozen=True)
class ConvShape:
    """A convolution seen from its input [n, cin, *sizes]; every input channel reaches `reached` output channels."""

    cin: int
    cout: int
    groups: int
    axes: tuple[Axis, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.cin, self.cout, self.groups, self.axes))

    @cached_property
    def reached(self) -> int:
        return self.cout // self.groups

    @cached_property
    def kernel(self) -> int:
        return math.prod(a.kernel for a in self.axes)

    @property
    def transposed(self) -> bool:
        return self.axes[0].transposed

    @cached_property
    def outputs(self) -> int:
        """Output elements per sample."""
        return self.cout * math.prod(a.out for a in self.axes)

    @cached_property
    def dense_macs(self) -> int:
        """Per sample, padding taps included: outputs x fan-in; transposed: inputs x fan-out, cropped ones included."""
        if self.transposed:
            return math.prod(a.size for a in self.axes) * self.cin * self.reached * self.kernel
        return math.prod(a.out for a in self.axes) * self.cout * (self.cin // self.groups) * self.kernel

    @cached_property
    def valid_macs(self) -> int:
        """Per sample, only taps between a real input and an existing output."""
        return self.cin * self.reached * math.prod(int(reach(a).sum()) for a in self.axes)

    @cached_property
    def geometry(self) -> dict[str, Any]:
        size, out, kernel, stride, padding, dilation, _, _ = map(list, zip(*self.axes, strict=True))
        return {
            "in_channels": self.cin,
            "out_channels": self.cout,
            "groups": self.groups,
            "input": size,
            "output": out,
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
        }

    @cached_property
    def fan_in(self) -> int:
        return (self.cin // self.groups) * self.kernel

    @cached_property
    def fan_out(self) -> int:
        """Largest number of taps one input element drives."""
        return self.reached * math.prod(int(reach(a).sum(1).max(initial=0)) for a in self.axes)


@lru_cache(maxsize=512)
def positions(shape: ConvShape) -> Map | int:
    """Kernel offsets that each input position meets, or one int where all are equal."""
    counts = np.ones((1,), dtype=np.int64)
    for axis in shape.axes:
        counts = np.outer(counts, reach(axis).sum(1)).reshape(-1)
    if counts.size and (counts == counts[0]).all():
        return int(counts[0])
    return Map(counts.astype(np.int32))


@lru_cache(maxsize=512)
def conv_fan(shape: ConvShape) -> Fan:
    """Of a convolution without zero weights."""
    return Fan(shape.reached, positions(shape))


@lru_cache(maxsize=512)
def linear_fan(outputs: int) -> Fan:
    """Of a linear layer without zero weights."""
    return Fan(outputs, 1)


def conv_mask_counts(weight: Tensor, shape: ConvShape) -> Rows:
    """Non-zero weights that read input channel c through offset k: [cin, offsets]."""
    # [cout, cin / groups, *kernel], transposed [cin, cout / groups, *kernel]: summed over the outputs
    lines = shape.cin if shape.transposed else shape.groups
    return _nonzero(weight.reshape(lines, shape.reached, -1)).reshape(shape.cin, -1)


def conv_effective_map(weight: Tensor, shape: ConvShape) -> Map:
    """Non-zero weights that each input element meets: [cin, positions]."""
    fan, places = conv_mask_counts(weight, shape), 1
    for axis in reversed(shape.axes):  # [cin, k1, k2] -> [cin, k1, size2] -> [cin, size1, size2]
        fan = np.matmul(reach(axis).astype(np.float64), fan.reshape(-1, axis.kernel, places))
        places *= axis.size
    return Map(fan.reshape(shape.cin, -1).astype(np.int32))


def linear_effective_map(weight: Tensor) -> Map:
    """Non-zero weights [k, n] of each input feature: [1, k]."""
    return Map(_nonzero(weight.t().unsqueeze(0)).astype(np.int32))


def _nonzero(weight: Tensor) -> Rows:
    """[B, m, k] -> [B, k]: how many over m are not zero.  An accelerator's weights stay there."""
    if weight.is_cpu:
        return nonzero_columns(host(weight))
    counts: Rows = (weight != 0).sum(1).cpu().to(torch.float64).numpy()
    return counts
