"""One layer's counts under a convention's rules: accumulates, multiply-accumulates and neuron updates of all samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snnenergy.cost.convention_rules import Charge, Convention, NeuronRule, Rules
from snnenergy.cost.structure import populations, upstream
from snnenergy.counts import LEARNING, Counts, LayerCounts, Stream
from snnenergy.errors import UsageError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Gate vectors of a recurrent cell; its row holds two products (input and hidden), so twice as many output elements."""
_NOTHING = NeuronRule()


@dataclass(frozen=True, slots=True)
class Ops:
    """Operations of some part; floats, because rates and shares are."""

    acs: float = 0.0
    macs: float = 0.0
    updates: float = 0.0
    notes: tuple[str, ...] = ()

    def __add__(self, other: Ops) -> Ops:
        notes = tuple(dict.fromkeys((*self.notes, *other.notes)))
        return Ops(self.acs + other.acs, self.macs + other.macs, self.updates + other.updates, notes)

    def __mul__(self, factor: float) -> Ops:
        return Ops(self.acs * factor, self.macs * factor, self.updates * factor, self.notes)


def total(parts: Iterable[Ops]) -> Ops:
    return sum(parts, Ops())


class Charger:
    """The rules of a convention on the layers of one Counts."""

    def __init__(self, counts: Counts, convention: Convention) -> None:
        self.counts = counts
        self.rules: Rules = convention.rules
        rows = {layer.path: layer for layer in counts.layers}
        before = upstream(rows)
        self.first = {p for p, layer in rows.items() if layer.role == "synaptic" and not set(before[p]) - {p}}
        self.spiking = any(layer.role == "neuron" or layer.acs for layer in counts.layers)
        self.outputs = dict(self._outputs()) if self.rules.neurons == "outputs" else {}

    def layer(self, layer: LayerCounts) -> Ops:
        """What that layer is charged, of all samples."""
        if layer.phase == LEARNING:
            return Ops(notes=(f"{layer.path}: local learning is left out; conventions count inference",))
        if layer.role == "neuron":
            return self._neuron(layer)
        if layer.role == "other":
            return self._elementwise(layer)
        return self._synaptic(layer) + self._cell(layer) + Ops(updates=self.outputs.get(layer.path, 0))

    def dense(self, layer: LayerCounts) -> float:
        """Dense taps under the padding rule, with the bias where it is a tap of the layer."""
        bias = layer.output_elements if layer.bias and self.rules.bias == "layer" else 0
        return (layer.dense_macs if self.rules.padding == "counted" else layer.valid_macs) + bias

    def _outputs(self) -> Iterator[tuple[str, int]]:
        """Updates of populations without a recognised neuron: one per output element."""
        for population in populations(self.counts):
            if population.neuron is None:
                yield population.path, self.counts[population.path].output_elements

    def _synaptic(self, layer: LayerCounts) -> Ops:
        inputs = [s for s in layer.streams if s.operand == "a"]
        elements = sum(s.elements for s in inputs)
        if not inputs and layer.dense_macs:
            return Ops(macs=self.dense(layer), notes=(f"{layer.path}: no stream was recorded; charged densely",))
        parts = [self._stream(layer, s, s.elements / elements if elements else 1 / len(inputs)) for s in inputs]
        bias = Ops(acs=layer.output_elements) if layer.bias and self.rules.bias == "update" else Ops()
        return total(parts) + bias

    def _stream(self, layer: LayerCounts, stream: Stream, share: float) -> Ops:
        """One source segment; `share` of the layer's dense taps, by its elements."""
        ops = self._charged(layer, stream, share, self.rules.charges.of(stream.domain))
        if layer.path not in self.first or stream.is_ac or not self.spiking:
            return ops
        if self.rules.first_layer == "once":
            return ops * (1 / (self.counts.time_steps or 1))
        return Ops() if self.rules.first_layer == "free" else ops

    def _charged(self, layer: LayerCounts, stream: Stream, share: float, charge: Charge) -> Ops:
        if charge == "free":
            return Ops()
        if charge == "dense_mac":
            return Ops(macs=self.dense(layer) * share)
        if charge == "unit_acs":
            if stream.unit_taps is None:
                return Ops(macs=stream.driven, notes=(f"{layer.path}: no unit; its events are charged as MACs",))
            return Ops(acs=stream.unit_taps)
        taps, notes = self._taps(layer, stream, share)
        return Ops(acs=taps, notes=notes) if charge == "ac" else Ops(macs=taps, notes=notes)

    def _taps(self, layer: LayerCounts, stream: Stream, share: float) -> tuple[float, tuple[str, ...]]:
        exact = stream.effective if self.rules.zero_weights == "skipped" else stream.driven
        if stream.pair is not None and self.rules.attention == "min_rate":
            return self._product(layer, stream, exact)
        if self.rules.events == "rate":
            return self.dense(layer) * share * _rate(stream), ()
        if self.rules.events == "fanout":
            return stream.nonzero * fanout(layer), ()
        bias = layer.output_elements * share * _rate(stream) if layer.bias and self.rules.bias == "layer" else 0
        return exact + bias, ()

    def _product(self, layer: LayerCounts, a: Stream, exact: int) -> tuple[float, tuple[str, ...]]:
        """A product of activations: dense x the smaller rate, or x the rate of the one side that spikes."""
        at = layer.streams.index(a)
        b = layer.streams[at + 1] if at + 1 < len(layer.streams) else None
        if b is None or len([s for s in layer.streams if s.operand == "a"]) > 1:
            return exact, (f"{layer.path}: holds several products; their exact events stand for the rate rule",)
        rates = [_rate(s) for s in (a, b) if s.override is not None or s.evidence.domain in ("spike", "ternary")]
        return self.dense(layer) * min(rates or [1.0]), ()

    def _neuron(self, layer: LayerCounts) -> Ops:
        rule = self.rules.neuron.get(layer.neuron_model or "") or self.rules.neuron.get("default", _NOTHING)
        spikes = layer.spikes_out or 0
        missing = (
            (f"{layer.path}: its spikes were not seen",) if rule.acs_per_spike and layer.spikes_out is None else ()
        )
        acs = rule.acs_per_update * layer.updates + rule.acs_per_spike * spikes
        return Ops(acs, rule.macs_per_update * layer.updates, layer.updates, missing)

    def _elementwise(self, layer: LayerCounts) -> Ops:
        rule = self.rules.norm if "Norm" in layer.module_type else self.rules.elementwise
        operations = layer.adds + layer.muls + layer.compares + layer.specials
        return Ops(macs=operations) if rule == "macs" else Ops()

    def _cell(self, layer: LayerCounts) -> Ops:
        """Gates and states of a recurrent cell."""
        kind = layer.module_type.removesuffix("Cell")
        if kind not in GATES or not (each := self.rules.cells.get(kind, 0.0)):
            return Ops()
        return Ops(macs=each * layer.output_elements / (2 * GATES[kind]))


def _rate(stream: Stream) -> float:
    return stream.nonzero / stream.elements if stream.elements else 0.0


def fanout(layer: LayerCounts) -> float:
    """Synapses of one input event away from borders: output channels per group x kernel / stride; or outputs.

    Raises UsageError where a convolution's geometry is unknown.
    """
    shape = layer.geometry
    if "kernel" not in shape:
        return float(shape.get("outputs") or layer.fan_out)
    try:
        reach: float = shape["out_channels"] / shape.get("groups", 1)
        for kernel, stride in zip(shape["kernel"], shape["stride"], strict=True):
            reach *= kernel / stride
    except (KeyError, ValueError) as error:
        raise UsageError(f"{layer.path}: its geometry holds no out_channels, kernel and stride that agree") from error
    return reach
