"""The records a cost model returns: ranges, per-layer energies, fit, caveats; and comparisons of many of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile


@dataclass(frozen=True, slots=True)
class Range:
    """low <= nominal <= high, in SI units.  Constants are shared between layers, so corners add linearly."""

    low: float
    nominal: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.nominal + other.nominal, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.nominal * factor, self.high * factor)

    __rmul__ = __mul__

    def __truediv__(self, other: Range) -> Range:
        """Ratio of two estimates, both at the same corner; then ordered."""
        corners = sorted(
            a / b if b else float("inf")
            for a, b in ((self.low, other.low), (self.nominal, other.nominal), (self.high, other.high))
        )
        nominal = self.nominal / other.nominal if other.nominal else float("inf")
        return Range(corners[0], nominal, corners[-1])

    def __bool__(self) -> bool:
        return bool(self.low or self.nominal or self.high)


ZERO = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds until the result (`latency`), seconds the chip is held (`occupied`), and what bounds it, in words."""

    latency: Range
    occupied: Range
    bound: str = ""
    notes: tuple[str, ...] = ()


PARTS = ("compute", "synaptic", "neuron", "routing", "memory", "static", "host")
"""The parts of an energy, in the order they are shown; `compute` is a dense processor's arithmetic."""
_values = attrgetter(*PARTS)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Energy by part, joules per inference."""

    compute: Range = ZERO
    synaptic: Range = ZERO
    neuron: Range = ZERO
    routing: Range = ZERO
    memory: Range = ZERO
    static: Range = ZERO
    host: Range = ZERO

    @property
    def total(self) -> Range:
        """Everything but the host: the host's share is its own line."""
        return sum((getattr(self, p) for p in PARTS if p != "host"), ZERO)

    @property
    def dynamic(self) -> Range:
        return sum((getattr(self, p) for p in PARTS if p not in ("static", "host")), ZERO)

    def __add__(self, other: Breakdown) -> Breakdown:
        return Breakdown(*map(_sum, _values(self), _values(other)))

    def nonzero(self) -> dict[str, Range]:
        return {p: getattr(self, p) for p in PARTS if getattr(self, p)}


def _sum(a: Range, b: Range) -> Range:
    """Most parts of most layers are nothing, and an estimate adds tens of thousands of them."""
    return a if b is ZERO else b if a is ZERO else a + b


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """One layer on one chip: joules per inference; `charged` says how its events were priced, or why they were not."""

    path: str
    breakdown: Breakdown
    charged: str = ""
    priced: bool = True
    events: float = 0.0
    cores: int | None = None

    @property
    def energy(self) -> Range:
        return self.breakdown.total


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a network fits a chip: `fits` is None where the profile has no capacity section.

    at_bits: the width of the chip's weights, where nothing but wider weights is in the way
    """

    fits: bool | None = None
    cores: int | None = None
    chips: int | None = None
    utilisation: float | None = None
    problems: tuple[str, ...] = ()
    at_bits: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model on one chip, per inference: joules, seconds, fit, and what a reader must know.

    energy: Range in J, without the host's share; None where the profile cannot price the model at all
    latency: Range in s; None where the chip has no latency model
    partial: some layers could not be priced (named in caveats); the total is then a lower bound
    band: the chip's validated band in words, or "unvalidated"
    """

    model: str
    hardware: str
    title: str
    energy: Range | None
    latency: Range | None
    layers: tuple[LayerEstimate, ...] = ()
    breakdown: Breakdown = Breakdown()
    fit: Fit = Fit()
    caveats: tuple[str, ...] = ()
    verdict: str = ""
    partial: bool = False
    band: str = "unvalidated"
    latency_model: str = "none"
    sources: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)

    @property
    def edp(self) -> Range | None:
        """Energy-delay product, J s."""
        if self.energy is None or self.latency is None:
            return None
        e, t = self.energy, self.latency
        return Range(e.low * t.low, e.nominal * t.nominal, e.high * t.high)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one model took on the machine that was at hand, beside the Estimate of that machine's profile.

    time: seconds of one batch: the median, between the ends of its 95 % interval; runs: how many were timed
    joules, net_joules: per inference, as the meter saw it and with the idle power subtracted; None where none was read
    idle_watts, window: power at rest, and seconds over which energy was read; meter: which counter, or why there is none
    """

    model: str
    machine: str
    device: str
    batch: int
    time: Range
    runs: int
    precise: bool
    meter: str
    joules: float | None = None
    net_joules: float | None = None
    idle_watts: float | None = None
    window: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models x chips.  `estimates` in row order: model by model, chip by chip; `verdict` is the first line of a report.

    profiles: of the chips, as they priced the estimates; accuracy: share of right answers (0 to 1) of models where known
    """

    counts: dict[str, Counts]
    estimates: tuple[Estimate, ...]
    verdict: str = ""
    notes: tuple[str, ...] = ()
    profiles: tuple[Profile, ...] = ()
    accuracy: Mapping[str, float] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.counts)

    @property
    def hardware(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(e.hardware for e in self.estimates))

    def of(self, model: str, hardware: str) -> Estimate:
        for estimate in self.estimates:
            if (estimate.model, estimate.hardware) == (model, hardware):
                return estimate
        raise KeyError((model, hardware))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per model and chip, per inference, SI units in the column names; what is unknown is missing, never 0."""
        from snnenergy.report import tables

        return tables.frame(self)

    def _repr_html_(self) -> str:
        from snnenergy.report import html

        return html.fragment(self)
