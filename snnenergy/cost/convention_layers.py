"""Layers written down by their structure alone, as published architectures are: a line of YAML becomes one LayerCounts."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from snnenergy.cost.convention_charge import GATES
from snnenergy.cost.convention_rates import SPIKES, Rate
from snnenergy.counts import Evidence, LayerCounts, Stream
from snnenergy.hardware.figures import Strict

ANALOG = Evidence(many=True)
GRADED = Evidence(magnitudes=(1.0, 2.0), positive=True, zeros=True)


class Layer(Strict):
    """What every line has: its path, its rate (see `price_rates`), and bytes it stores that are no parameters."""

    path: str
    rate: float | list[float | None] | None = None
    steps: int | None = Field(None, ge=1)
    buffer_bytes: int = 0

    def given(self) -> Rate | None:
        return tuple(self.rate) if isinstance(self.rate, list) else self.rate

    def counts(self, steps: int) -> LayerCounts:
        """One inference of so many time steps (or of the layer's own)."""
        raise NotImplementedError


class Linear(Layer):
    """inputs -> outputs, at each step."""

    kind: Literal["linear"]
    inputs: int
    outputs: int
    bias: bool = False

    def counts(self, steps: int) -> LayerCounts:
        taps = self.inputs * self.outputs
        geometry = {"inputs": self.inputs, "outputs": self.outputs}
        return _synaptic(
            self, "linear", self.steps or steps, self.inputs, self.outputs, taps, taps, taps, self.bias, geometry
        )


class Conv(Layer):
    """channels [in, out] over an input of that size; kernel, stride and padding per dimension."""

    kind: Literal["conv"]
    channels: tuple[int, int] = Field(strict=False)
    input: tuple[int, ...] = Field(strict=False)
    kernel: tuple[int, ...] = Field(strict=False)
    stride: tuple[int, ...] = Field((), strict=False)
    padding: tuple[int, ...] = Field((), strict=False)
    bias: bool = False

    def counts(self, steps: int) -> LayerCounts:
        stride = self.stride or (1,) * len(self.kernel)
        padding = self.padding or (0,) * len(self.kernel)
        dims = list(zip(self.input, self.kernel, stride, padding, strict=True))
        output = [(n + 2 * p - k) // s + 1 for n, k, s, p in dims]
        inside = [_taps_inside(m, *dim) for m, dim in zip(output, dims, strict=True)]
        both = self.channels[0] * self.channels[1]
        weights = both * math.prod(self.kernel)
        geometry = {
            "in_channels": self.channels[0],
            "out_channels": self.channels[1],
            "groups": 1,
            "input": list(self.input),
            "output": output,
            "kernel": list(self.kernel),
            "stride": list(stride),
            "padding": list(padding),
        }
        inputs, outputs = self.channels[0] * math.prod(self.input), self.channels[1] * math.prod(output)
        dense, valid = weights * math.prod(output), both * math.prod(inside)
        return _synaptic(self, "conv", self.steps or steps, inputs, outputs, dense, valid, weights, self.bias, geometry)


class Product(Layer):
    """A product of two activations, [batch, m, k] @ [batch, k, n] at each step; `b` graded: a sum of spikes."""

    kind: Literal["product"]
    batch: int
    m: int
    k: int
    n: int
    graded: bool = False

    def counts(self, steps: int) -> LayerCounts:
        times = self.batch * (self.steps or steps)
        right = GRADED if self.graded else SPIKES
        taps = times * self.m * self.k * self.n
        a = Stream(elements=times * self.m * self.k, evidence=SPIKES, pair=right)
        b = Stream(operand="b", elements=times * self.k * self.n, evidence=right, pair=SPIKES)
        return LayerCounts(
            self.path,
            "synaptic",
            "matmul",
            dense_macs=taps,
            valid_macs=taps,
            streams=(a, b),
            output_elements=times * self.m * self.n,
        )


class Cell(Layer):
    """A recurrent cell: gates x (inputs + hidden) x hidden taps at each step, and two bias vectors."""

    kind: Literal["cell"]
    cell: Literal["LSTM", "GRU", "RNN"]
    inputs: int
    hidden: int
    recurrent: bool = True

    def counts(self, steps: int) -> LayerCounts:
        times, gates = self.steps or steps, GATES[self.cell]
        width = self.inputs + self.hidden * self.recurrent
        weights = gates * self.hidden * width
        stream = _stream(times * width, times * weights, ANALOG)
        return LayerCounts(
            self.path,
            "synaptic",
            "rnn",
            self.cell,
            dense_macs=times * weights,
            valid_macs=times * weights,
            streams=(stream,),
            weights=weights,
            weights_nonzero=weights,
            weight_bits=32,
            bias=2 * gates * self.hidden,
            output_elements=2 * times * gates * self.hidden,
        )


class Neuron(Layer):
    """Neurons, updated at each step."""

    kind: Literal["neuron"]
    neurons: int
    model: str = "LIF"

    def counts(self, steps: int) -> LayerCounts:
        updates = self.neurons * (self.steps or steps)
        return LayerCounts(
            self.path,
            "neuron",
            neuron_model=self.model,
            neurons=self.neurons,
            updates=updates,
        )


class Norm(Layer):
    """A batch norm with scale and shift; two element-wise operations per element."""

    kind: Literal["norm"]
    channels: int
    elements: int

    def counts(self, steps: int) -> LayerCounts:
        elements = self.elements * (self.steps or steps)
        return LayerCounts(
            self.path,
            "other",
            "elementwise",
            "BatchNorm",
            adds=elements,
            muls=elements,
            weights=self.channels,
            weights_nonzero=self.channels,
            weight_bits=32,
            bias=self.channels,
        )


class Accumulates(Layer):
    """A published total of accumulates, where a table gives no layers."""

    kind: Literal["accumulates"]
    acs: int

    def counts(self, steps: int) -> LayerCounts:  # a total of all steps
        return LayerCounts(
            self.path,
            "synaptic",
            "total",
            dense_macs=self.acs,
            valid_macs=self.acs,
            streams=(_stream(self.acs, self.acs, SPIKES),),
        )


class Multiplies(Layer):
    """A published total of multiply-accumulates, where a table gives no layers."""

    kind: Literal["multiplies"]
    macs: int

    def counts(self, steps: int) -> LayerCounts:  # a total of all steps
        return LayerCounts(
            self.path,
            "synaptic",
            "total",
            dense_macs=self.macs,
            valid_macs=self.macs,
            streams=(_stream(self.macs, self.macs, ANALOG),),
        )


AnyLayer = Annotated[
    Linear | Conv | Product | Cell | Neuron | Norm | Accumulates | Multiplies, Field(discriminator="kind")
]


def _taps_inside(outputs: int, size: int, kernel: int, stride: int, padding: int) -> int:
    """Taps along one dimension that do not fall on padding."""
    return sum(0 <= o * stride + i - padding < size for o in range(outputs) for i in range(kernel))


def _stream(elements: int, taps: int, evidence: Evidence) -> Stream:
    units = taps if evidence is SPIKES else None
    return Stream(elements=elements, nonzero=elements, driven=taps, effective=taps, unit_taps=units, evidence=evidence)


def _synaptic(
    layer: Layer,
    op: str,
    steps: int,
    inputs: int,
    outputs: int,
    dense: int,
    valid: int,
    weights: int,
    bias: bool,
    geometry: dict[str, Any],
) -> LayerCounts:
    """A layer with weights, fed with analog values until it is given a rate; sizes are those of one step."""
    module = {"linear": "Linear", "conv": f"Conv{len(geometry.get('kernel', ()))}d"}[op]
    per_channel = geometry.get("out_channels", outputs)
    return LayerCounts(
        layer.path,
        "synaptic",
        op,
        module,
        dense_macs=dense * steps,
        valid_macs=valid * steps,
        streams=(_stream(inputs * steps, valid * steps, ANALOG),),
        weights=weights,
        weights_nonzero=weights,
        weight_bits=32,
        bias=per_channel if bias else 0,
        output_elements=outputs * steps,
        geometry=geometry,
    )
