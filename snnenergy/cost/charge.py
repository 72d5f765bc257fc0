"""What each layer's events cost: the table of charges, neurons, and elementwise arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snnenergy.cost.records import ZERO, Breakdown, Range
from snnenergy.cost.run import Run, is_convolution, span
from snnenergy.counts import LEARNING, LayerCounts, Stream
from snnenergy.hardware.figures import Energy
from snnenergy.hardware.profile import Profile

Taps = Callable[[Stream, LayerCounts, bool], float | None]


def _stored(stream: Stream, _layer: LayerCounts, nonzero_only: bool) -> int:
    return stream.effective if nonzero_only else stream.driven


def _units(stream: Stream, _layer: LayerCounts, _nonzero_only: bool) -> int | None:
    return stream.unit_taps


def _dense(stream: Stream, layer: LayerCounts, _nonzero_only: bool) -> float:
    """The stream's share of the dense operation, by its elements."""
    own = [s for s in layer.streams if s.operand == "a"]
    elements = sum(s.elements for s in own)
    return layer.dense_macs * stream.elements / elements if elements else layer.dense_macs / len(own)


@dataclass(frozen=True, slots=True)
class Charge:
    """How one charge counts: which taps, at which price, in which part of the breakdown."""

    taps: Taps
    price: str
    part: str
    words: str


CHARGES: dict[str, Charge] = {
    "synop": Charge(_stored, "synop", "synaptic", "synaptic events"),
    "ann_op": Charge(_dense, "ann_op", "compute", "dense MACs, analog mode"),
    "dense_mac": Charge(_dense, "mac", "compute", "dense MACs"),
    "mac": Charge(_stored, "mac", "compute", "MACs"),
    "add": Charge(_stored, "add", "compute", "accumulates"),
    "unit_adds": Charge(_units, "add", "compute", "unit accumulates"),
}
"""Every charge of a profile but `unsupported`, which prices nothing and says so."""


PRODUCT = "product of activations"
SYNAPSE_UPDATE = "energy.synapse_update"
NOTHING = Breakdown()


@dataclass(frozen=True, slots=True)
class Priced:
    """What one layer cost: joules per inference, in words, and what could not be priced.

    unsupported: domains the chip does not run; missing: figures that are not published and were needed
    unrecorded: no stream was recorded, so nothing says what its taps carry; specials: functions without a price
    """

    breakdown: Breakdown = NOTHING
    words: tuple[str, ...] = ()
    events: float = 0.0
    unsupported: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unrecorded: bool = False
    specials: float = 0.0
    host_arithmetic: float = 0.0

    @property
    def runs(self) -> bool:
        """Whether the chip is known to run the layer: what it runs takes time, whatever is published of its energy."""
        return not (self.unsupported or self.unrecorded)

    @property
    def priced(self) -> bool:
        return self.runs and not self.missing

    def __add__(self, other: Priced) -> Priced:
        return Priced(
            self.breakdown + other.breakdown,
            self.words + other.words,
            self.events + other.events,
            tuple(dict.fromkeys(self.unsupported + other.unsupported)),
            tuple(dict.fromkeys(self.missing + other.missing)),
            self.unrecorded or other.unrecorded,
            self.specials + other.specials,
            self.host_arithmetic + other.host_arithmetic,
        )


def layer_energy(run: Run, layer: LayerCounts) -> Priced:
    """One layer's events on the chip, without routing, memory and static power."""
    if layer.phase == LEARNING:
        return _learning(run, layer)
    return sum(
        (_stream(run, layer, s) for s in layer.streams if s.operand == "a"), _opening(run, layer)
    ) + _elementwise(run, layer)


def _learning(run: Run, layer: LayerCounts) -> Priced:
    """A local rule: by the update where the chip learns so, as the arithmetic it is where it computes, else not at all."""
    if run.chip.family != "neuromorphic":
        return _elementwise(run, layer)
    price, count = run.chip.energy.synapse_update, run.per(layer.synapse_updates)
    if price is None:
        return Priced(missing=(SYNAPSE_UPDATE,))
    return Priced(Breakdown(synaptic=span(price) * count), (f"synapse updates ({layer.op})",), count)


def _opening(run: Run, layer: LayerCounts) -> Priced:
    if layer.role == "synaptic" and not layer.streams and layer.dense_macs:
        return _stream(run, layer, Stream()) if is_dense(run.chip) else Priced(unrecorded=True)
    return Priced()


def is_dense(chip: Profile) -> bool:
    """Whether the chip does the whole dense operation whatever arrives."""
    return {chip.charges.spike, chip.charges.ternary, chip.charges.graded, chip.charges.analog} == {"dense_mac"}


def _unseen(run: Run, layer: LayerCounts, stream: Stream) -> Priced:
    """A stream of which only the shape is known: a dense chip does the same whatever it carries."""
    if not is_dense(run.chip):
        return Priced(unrecorded=True)
    price = price_of(run, layer, "mac")
    if price is None:
        return Priced(missing=("arithmetic.mac",))
    count = run.per(_dense(stream, layer, False))
    words = f"dense MACs ({run.arithmetic(layer).format})" if run.chip.arithmetic else "dense MACs"
    return Priced(Breakdown(compute=span(price) * count), (words,), count)


def _stream(run: Run, layer: LayerCounts, stream: Stream) -> Priced:
    if not stream.seen and stream.override is None:
        return _unseen(run, layer, stream)
    name = getattr(run.chip.charges, stream.domain)
    if stream.pair is not None and run.chip.family == "neuromorphic":
        return Priced(unsupported=(PRODUCT,))  # a synapse holds a weight, not another activation
    empty = not (layer.dense_macs or stream.driven or stream.elements)
    if name == "unsupported":
        return Priced(unsupported=() if empty else (str(stream.domain),))
    rule = CHARGES[name]
    row = layer if layer.streams else _with_stream(layer, stream)
    taps = rule.taps(stream, row, run.chip.charges.synapses == "nonzero")
    if taps is None:  # graded values that lost their unit in a merge
        rule, taps = CHARGES["mac"], stream.effective
    price = price_of(run, layer, rule.price)
    if price is None:
        section = "arithmetic" if rule.price in ("mac", "add") else "energy"
        return Priced(missing=() if empty else (f"{section}.{rule.price}",))  # refused, also where nothing arrived
    count = run.per(taps)
    suffix = f" ({run.arithmetic(layer).format})" if rule.part == "compute" and run.chip.arithmetic else ""
    return Priced(Breakdown(**{rule.part: span(price) * count}), (f"{stream.domain}: {rule.words}{suffix}",), count)


def _with_stream(layer: LayerCounts, stream: Stream) -> LayerCounts:
    import dataclasses

    return dataclasses.replace(layer, streams=(stream,))


def price_of(run: Run, layer: LayerCounts, name: str) -> Energy | None:
    """The figure that prices one event of this layer: its number format's, or its way of storing synapses."""
    if name in ("mac", "add"):
        figure: Energy | None = getattr(run.arithmetic(layer), name)
        return figure
    events = run.chip.energy
    if name == "synop" and is_convolution(layer) and events.synop_conv is not None:
        return events.synop_conv
    chosen: Energy | None = getattr(events, name)
    return chosen


def neuron_energy(run: Run, *, neurons: int, updates: float, spikes: float) -> Breakdown:
    """Access of every neuron in every step, updates and spikes on top (per inference)."""
    events = run.chip.energy
    access = max(neurons * run.steps, updates)
    parts = (span(events.neuron_access) * access, span(events.neuron_update) * updates, span(events.spike) * spikes)
    return Breakdown(neuron=sum(parts, ZERO))


def _elementwise(run: Run, layer: LayerCounts) -> Priced:
    """Additions, products, comparisons and special functions outside of the products of a layer."""
    total = layer.adds + layer.muls + layer.compares + layer.specials
    if not total:
        return Priced()
    if not run.chip.arithmetic:  # its neurons run their own arithmetic; anything else is the host's
        return Priced() if layer.role != "other" or layer.foldable else Priced(host_arithmetic=run.per(total))
    if layer.foldable and run.chip.family == "datapath":
        return Priced(words=("folded into the weights before it",))
    part = "neuron" if layer.role == "neuron" else "compute"
    energy, specials = _arithmetic_energy(run, layer)
    missing = () if energy is not None else _unpriced(run, layer)
    return Priced(Breakdown(**{part: energy or ZERO}), ("elementwise arithmetic",), missing=missing, specials=specials)


def _unpriced(run: Run, layer: LayerCounts) -> tuple[str, ...]:
    """Figures that this layer's elementwise arithmetic needs and the profile lacks."""
    figures = run.arithmetic(layer)
    needed = {"add": layer.adds + layer.compares, "mul": layer.muls}
    return tuple(f"arithmetic.{name}" for name, times in needed.items() if times and getattr(figures, name) is None)


def _arithmetic_energy(run: Run, layer: LayerCounts) -> tuple[Range | None, float]:
    """Joules of elementwise arithmetic, and special functions left without a price."""
    figures = run.arithmetic(layer)
    if figures.add is None and figures.mac is not None and run.chip.family == "processor":
        operations = layer.adds + layer.muls + layer.compares + layer.specials
        return span(figures.mac) * (run.per(operations) / 2), 0.0  # a MAC is two operations
    if _unpriced(run, layer):
        return None, 0.0
    energy = span(figures.add) * run.per(layer.adds + layer.compares) + span(figures.mul) * run.per(layer.muls)
    return energy, run.per(layer.specials)
