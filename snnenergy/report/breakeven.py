"""Where an SNN stops winning against its ANN on one chip: closed form in time steps T and activity r, from the affine model.

    E_S(T, r) = T (a + b r)      a: energy of a time step no event changes (neuron updates, static power, memory, dense layers)
                                 b: energy per unit of activity and time step (synaptic events and their routing)
    r*(T) = (E_A / T - a) / b    the activity at which both cost the same;      T*(r) = E_A / (a + b r)

r is spikes per synapse and time step: driven, non-zero-weight taps of the spiking layers over their dense taps.
Assumed, and said beside every number: all layers' activity scales together, and everything but events grows with T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.cost.records import Range

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate, LayerEstimate
    from snnenergy.counts import Counts, LayerCounts
    from snnenergy.report.summary import Pair

EVENT_PARTS = ("compute", "synaptic")
"""Of the layers that spikes drive; routing carries spikes wherever it stands."""
ASSUMPTION = (
    "Assumed: the activity of all spiking layers scales together; their synaptic and compute energy, and all routing, is proportional to "
    "it and to T; neuron, memory and static energy and layers priced as dense grow with T alone; the ANN stays as it is."
)
THRESHOLDS = (
    ("Davidson, Furber 2021", "10.3389/fnins.2021.651141", 1.72, 1.72),
    ("Dampfhoffer et al. 2023", "10.1109/TETCI.2022.3214509", 0.15, 1.38),
)
"""Published break-evens, as spikes per synapse and inference (low, high), so r T; each under its own hardware assumptions."""
RATE_THRESHOLDS = (("Yan et al. 2024", "10.48550/arXiv.2409.08290", 0.064, 5, 10),)
"""Published break-evens as an activity r that holds for T from and to."""


@dataclass(frozen=True, slots=True)
class Corner:
    """One end of the ranges: the ANN's joules, and a and b of the SNN, joules per time step."""

    ann: float
    step: float
    event: float

    def energy(self, time_steps: float, rate: float) -> float:
        """SNN joules per inference."""
        return time_steps * (self.step + self.event * rate)

    def rate(self, time_steps: float) -> float:
        """r*(T); negative where the SNN loses even in silence, infinite where activity costs nothing."""
        left = self.ann / time_steps - self.step
        return left / self.event if self.event else math.copysign(math.inf, left)

    def time_steps(self, rate: float) -> float:
        per_step = self.step + self.event * rate
        return self.ann / per_step if per_step else math.inf


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The current point (T, r) of an SNN, and its corners in the order low, nominal, high."""

    pair: Pair
    time_steps: int
    rate: float
    low: Corner
    nominal: Corner
    high: Corner

    def rate_at(self, time_steps: float) -> Range:
        return _ordered(*(c.rate(time_steps) for c in (self.low, self.nominal, self.high)))

    def time_steps_at(self, rate: float) -> Range:
        return _ordered(*(c.time_steps(rate) for c in (self.low, self.nominal, self.high)))


def _ordered(low: float, nominal: float, high: float) -> Range:
    return Range(min(low, nominal, high), nominal, max(low, nominal, high))


def solve(pair: Pair, snn: Counts) -> BreakEven | None:
    """None where T is unknown or no layer is spiking: there is no axis to move along."""
    spiking = {layer.path: layer for layer in snn.layers if layer.streams and all(s.is_ac for s in layer.streams)}
    dense = sum(layer.dense_macs for layer in spiking.values())
    rate = sum(layer.effective for layer in spiking.values()) / dense if dense else 0.0
    if not snn.time_steps or not rate or pair.ann.energy is None or pair.snn.energy is None:
        return None
    driven = [e for e in pair.snn.layers if e.path in spiking and event_driven(spiking[e.path], e, snn.samples)]

    def corner(end: str) -> Corner:
        events = getattr(pair.snn.breakdown.routing, end)
        events += sum(getattr(getattr(e.breakdown, part), end) for e in driven for part in EVENT_PARTS)
        rest = _joules(pair.snn, end) - events
        assert snn.time_steps is not None  # checked above
        return Corner(_joules(pair.ann, end), rest / snn.time_steps, events / rate / snn.time_steps)

    return BreakEven(pair, snn.time_steps, rate, corner("low"), corner("nominal"), corner("high"))


def _joules(estimate: Estimate, end: str) -> float:
    return float(getattr(estimate.energy, end))


def event_driven(layer: LayerCounts, estimate: LayerEstimate, samples: int) -> bool:
    """Whether the chip charged a spiking layer by its events: more or fewer of them than the layer has dense taps."""
    dense = layer.dense_macs / max(samples, 1)
    return bool(estimate.breakdown.synaptic) or bool(estimate.events and not math.isclose(estimate.events, dense))
