"""Where an SNN stops winning against its ANN on one chip: closed form in time steps T and activity r, from the affine model.

    E_S(T, r) = c + T (a + b r)        a: energy of a time step no event changes (neuron updates, static power, dense layers)
                                       b: energy per unit of activity and time step (synaptic events, routing, time they take)
                                       c: what no step changes (filling the layers, once)
    r*(T) = ((E_A - c) / T - a) / b    the activity at which both cost the same;      T*(r) = (E_A - c) / (a + b r)

r is spikes per synapse and time step: driven, non-zero-weight taps of the spiking layers over their dense taps.
With the chip's profile, a, b and c come from three prices: the net as it is, in silence (T a + c), and at twice its steps.
Without it they come from the parts of its energy.  Assumed, and said beside every number: all layers' activity scales together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snnenergy.cost.price import again
from snnenergy.cost.records import Range
from snnenergy.report import activity

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate, LayerEstimate
    from snnenergy.counts import Counts, LayerCounts
    from snnenergy.hardware import Profile
    from snnenergy.report.summary import Pair

EVENT_PARTS = ("compute", "synaptic")
"""Of the layers that spikes drive; routing carries spikes wherever it stands."""
ASSUMPTION = (
    "Assumed: the energy of the SNN is c + T (a + b r), the activity r of all spiking layers scales together, everything that it "
    "computes in one step it computes in each, and the ANN stays as it is. a, b and c come from pricing the SNN again in silence and "
    "at twice its time steps; where the report holds no profile of the chip, from the parts of its energy."
)
NOISE = 1e-9
"""Share of an energy below which a difference of two of them is rounding."""


@dataclass(frozen=True, slots=True)
class Corner:
    """One end of the ranges: the ANN's joules; a and b of the SNN, joules per time step; and its c."""

    ann: float
    step: float
    event: float
    fixed: float = 0.0

    def energy(self, time_steps: float, rate: float) -> float:
        """SNN joules per inference."""
        return self.fixed + time_steps * (self.step + self.event * rate)

    def rate(self, time_steps: float) -> float:
        """r*(T); negative where the SNN loses even in silence, infinite where activity costs nothing."""
        left = (self.ann - self.fixed) / time_steps - self.step
        return left / self.event if self.event else math.copysign(math.inf, left)

    def time_steps(self, rate: float) -> float:
        per_step = self.step + self.event * rate
        return (self.ann - self.fixed) / per_step if per_step else math.inf


@dataclass(frozen=True, slots=True)
class Miss:
    """The largest share by which the line lies beside the nominal price, between silence and the activity `until`."""

    share: float
    until: float


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The current point (T, r) of an SNN, and its corners in the order low, nominal, high."""

    pair: Pair
    time_steps: int
    rate: float
    low: Corner
    nominal: Corner
    high: Corner

    def against(self, pair: Pair) -> BreakEven:
        """The same SNN on the same chip beside another ANN."""
        ends = (("low", self.low), ("nominal", self.nominal), ("high", self.high))
        low, nominal, high = (replace(corner, ann=_joules(pair.ann, end)) for end, corner in ends)
        return replace(self, pair=pair, low=low, nominal=nominal, high=high)

    def rate_at(self, time_steps: float) -> Range:
        return _ordered(*(c.rate(time_steps) for c in (self.low, self.nominal, self.high)))

    def time_steps_at(self, rate: float) -> Range:
        return _ordered(*(c.time_steps(rate) for c in (self.low, self.nominal, self.high)))


def _ordered(low: float, nominal: float, high: float) -> Range:
    return Range(min(low, nominal, high), nominal, max(low, nominal, high))


def solve(pair: Pair, snn: Counts, chip: Profile | None = None) -> BreakEven | None:
    """None where T is unknown or no layer is spiking: there is no axis to move along.

    chip: the profile that priced the pair, with which the SNN is priced again
    """
    rate = activity.rate(snn)
    if not snn.time_steps or not rate or pair.ann.energy is None or pair.snn.energy is None:
        return None
    ends = _priced(pair, snn, rate, chip) if chip is not None else None
    return BreakEven(pair, snn.time_steps, rate, *(ends or _of_parts(pair, snn, rate)))


def _priced(pair: Pair, snn: Counts, rate: float, chip: Profile) -> tuple[Corner, Corner, Corner] | None:
    """From three prices; None where today's arithmetic prices the net otherwise, or one of its variants not at all."""
    steps, options = snn.time_steps, pair.snn.options
    own, quiet, longer = (again(c, chip, options).energy for c in (snn, *activity.apart(snn)))
    if not steps or own is None or quiet is None or longer is None:
        return None
    if not math.isclose(own.nominal, _joules(pair.snn, "nominal"), rel_tol=NOISE):
        return None

    def corner(end: str) -> Corner:
        now, still, twice = (float(getattr(energy, end)) for energy in (own, quiet, longer))
        fixed, events = (change if abs(change) > NOISE * now else 0.0 for change in (2 * now - twice, now - still))
        return Corner(_joules(pair.ann, end), (now - events - fixed) / steps, events / rate / steps, fixed)

    return corner("low"), corner("nominal"), corner("high")


def missed(found: BreakEven, snn: Counts, chip: Profile) -> Miss | None:
    """How well the line stands for the price; None where the chip does not price the net at another activity.

    A chip that waits for its slowest core in every step, or reads a memory that spills, has no straight line.
    """
    level = found.rate_at(found.time_steps).nominal / found.rate
    factors = [f for f in (0.25, 0.5, 0.75, 2.0, level) if 0 < f <= activity.most(snn) and f != 1]
    shares = []
    for factor in factors:
        other = activity.scaled(snn, factor)
        energy = again(other, chip, found.pair.snn.options).energy
        if energy is None or not energy.nominal:
            return None
        shares.append(abs(found.nominal.energy(found.time_steps, activity.rate(other)) / energy.nominal - 1))
    return Miss(max(shares), found.rate * max(1.0, *factors))


def _of_parts(pair: Pair, snn: Counts, rate: float) -> tuple[Corner, Corner, Corner]:
    """Synaptic and compute energy of the spiking layers and all routing as events, everything else as T alone."""
    spiking = {layer.path: layer for layer in snn.layers if activity.is_spiking(layer)}
    driven = [e for e in pair.snn.layers if e.path in spiking and event_driven(spiking[e.path], e, snn.samples)]

    def corner(end: str) -> Corner:
        events = getattr(pair.snn.breakdown.routing, end)
        events += sum(getattr(getattr(e.breakdown, part), end) for e in driven for part in EVENT_PARTS)
        rest = _joules(pair.snn, end) - events
        assert snn.time_steps is not None  # `solve` checked it
        return Corner(_joules(pair.ann, end), rest / snn.time_steps, events / rate / snn.time_steps)

    return corner("low"), corner("nominal"), corner("high")


def _joules(estimate: Estimate, end: str) -> float:
    return float(getattr(estimate.energy, end))


def event_driven(layer: LayerCounts, estimate: LayerEstimate, samples: int) -> bool:
    """Whether the chip charged a spiking layer by its events: more or fewer of them than the layer has dense taps."""
    dense = layer.dense_macs / max(samples, 1)
    return bool(estimate.breakdown.synaptic) or bool(estimate.events and not math.isclose(estimate.events, dense))
