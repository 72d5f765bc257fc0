"""What a budget can hold: one row a metric, with its unit and how it is read from counts and an estimate."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from snnenergy.cost.records import PARTS, Breakdown, Range
from snnenergy.hardware import quantity

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts, LayerCounts

Layers = Collection[str] | None
"""Paths of the layers that are looked at; None: the whole model."""


@dataclass(frozen=True, slots=True)
class Side:
    """One model as it stands: its counts, its estimate on the chip in question, its accuracy if somebody gave it."""

    counts: Counts
    estimate: Estimate | None = None
    accuracy: float | None = None

    def rows(self, layers: Layers) -> list[LayerCounts]:
        return [row for row in self.counts.layers if layers is None or row.path in layers]

    def per_inference(self, name: str, layers: Layers) -> float:
        return sum(getattr(row, name) or 0 for row in self.rows(layers)) / self.counts.samples


Read = Callable[[Side, Layers], Range | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """unit: J, s, J s; `` for a number of things, `share` for 0 to 1, `yes` for true or false.

    chip: it needs an estimate; layered: it can be asked of some layers; based: it can be read from a baseline's counts
    """

    unit: str
    read: Read
    chip: bool = False
    layered: bool = False
    based: bool = True


def _exactly(value: float | None) -> Range | None:
    return None if value is None else Range(value, value, value)


def _breakdown(side: Side, layers: Layers) -> Breakdown | None:
    assert side.estimate is not None  # metrics of a chip are read only with one
    if side.estimate.energy is None:
        return None
    if layers is None:
        return side.estimate.breakdown
    return sum((row.breakdown for row in side.estimate.layers if row.path in layers), Breakdown())


def _energy(part: str) -> Read:
    def read(side: Side, layers: Layers) -> Range | None:
        parts = _breakdown(side, layers)
        found: Range | None = None if parts is None else getattr(parts, part)
        return found

    return read


def _of_estimate(name: str) -> Read:
    def read(side: Side, layers: Layers) -> Range | None:
        found: Range | None = getattr(side.estimate, name)
        return found

    return read


def _fits(side: Side, layers: Layers) -> Range | None:
    assert side.estimate is not None
    return _exactly(None if side.estimate.fit.fits is None else float(side.estimate.fit.fits))


def _cores(side: Side, layers: Layers) -> Range | None:
    assert side.estimate is not None
    return _exactly(side.estimate.fit.cores)


def _counted(name: str) -> Read:
    return lambda side, layers: _exactly(side.per_inference(name, layers))


def _spikes_per_neuron(side: Side, layers: Layers) -> Range | None:
    """Spikes of one inference over the neurons whose spikes were seen."""
    rows = [row for row in side.rows(layers) if row.spikes_out is not None and row.neurons]
    neurons = sum(row.neurons for row in rows)
    spikes = sum(row.spikes_out or 0 for row in rows)
    return _exactly(spikes / side.counts.samples / neurons if neurons else None)


def _sparsity(side: Side, layers: Layers) -> Range | None:
    elements = sum(row.elements for row in side.rows(layers))
    nonzero = sum(row.nonzero for row in side.rows(layers))
    return _exactly(1 - nonzero / elements if elements else None)


def _parameters(side: Side, layers: Layers) -> Range | None:
    if layers is None:
        return _exactly(side.counts.coverage.parameters_total)
    return _exactly(sum(row.parameters for row in side.rows(layers)))


def _coverage(side: Side, layers: Layers) -> Range | None:
    return _exactly(min(side.counts.coverage.parameters, side.counts.coverage.calls))


METRICS: dict[str, Metric] = {
    "energy": Metric("J", _energy("total"), chip=True, layered=True),
    **{f"energy.{part}": Metric("J", _energy(part), chip=True, layered=True) for part in (*PARTS, "dynamic")},
    "latency": Metric("s", _of_estimate("latency"), chip=True),
    "edp": Metric("J s", _of_estimate("edp"), chip=True),
    "cores": Metric("", _cores, chip=True),
    "fits": Metric("yes", _fits, chip=True),
    "acs": Metric("", _counted("acs"), layered=True),
    "macs": Metric("", _counted("macs"), layered=True),
    "dense_macs": Metric("", _counted("dense_macs"), layered=True),
    "spikes_per_neuron": Metric("", _spikes_per_neuron, layered=True),
    "sparsity": Metric("share", _sparsity, layered=True),
    "parameters": Metric("", _parameters, layered=True),
    "coverage": Metric("share", _coverage),
    "accuracy": Metric("share", lambda side, layers: _exactly(side.accuracy), based=False),
}
"""Per inference, all of them; energies without the host's share, which is `energy.host`."""

_NUMBER = re.compile(r"\s*(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*([kMGT]?)\s*\Z")
_SHARE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*%\s*\Z")
_THOUSANDS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_EXAMPLE = {"J": "12 uJ", "s": "3.5 ms", "J s": "1.9 nJ s", "": "50 k", "share": "80 %"}


def parse(value: object, unit: str) -> float:
    """A limit as it is written, in SI; ValueError says what was expected and found.

    >>> parse("12 uJ", "J"), parse("1.5 nJ s", "J s"), parse("50 k", ""), parse(1200, ""), parse("80 %", "share")
    (1.2e-05, 1.5e-09, 50000.0, 1200.0, 0.8)
    """
    try:
        found = _text(value, unit) if isinstance(value, str) and len(value) <= 64 else _number(value, unit)
        if found is not None and found < float("inf"):
            return found
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"expected {_expected(unit)}, found {f'{value!r:.40}'}")


def _number(value: object, unit: str) -> float | None:
    """A bare number is a number of things or a share, never a quantity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    most = {"": float("inf"), "share": 1}.get(unit)
    return float(value) if most is not None and 0 <= value <= most else None


def _text(text: str, unit: str) -> float | None:
    if unit == "share":
        share = _SHARE.match(text)
        return float(Fraction(share[1]) / 100) if share and Fraction(share[1]) <= 100 else None
    if unit == "":
        number = _NUMBER.match(text)
        return float(Fraction(number[1] + (number[2] or "")) * _THOUSANDS[number[3]]) if number else None
    return _quantity(text, unit) if unit in ("J", "s", "J s") else None


def _expected(unit: str) -> str:
    plain = {"": " or a number", "share": " or a number from 0 to 1"}.get(unit, "")
    return f'something such as "{_EXAMPLE[unit]}"{plain}'


def _quantity(text: str, unit: str) -> float:
    if unit == "J s":
        energy, space, second = text.rstrip().rpartition(" ")
        if not space or second != "s":
            raise ValueError(text)
        text, unit = energy, "J"
    value = quantity.parse(text, unit)
    if value < 0:
        raise ValueError(text)
    return value


def show(value: float | None, unit: str) -> str:
    """A value as people read it.

    >>> show(1.2e-05, "J"), show(0.8, "share"), show(47600, ""), show(1.0, "yes"), show(None, "J")
    ('12 uJ', '80 %', '47.6 k', 'yes', '-')
    """
    from snnenergy.report import quantities as q

    if value is None:
        return q.NONE
    if unit == "yes":
        return "yes" if value else "no"
    if unit == "share":
        return f"{100 * value:.4g} %"
    return q.quantity(value, unit) if unit else q.count(value)
