"""Streams: what values arrived at a layer from one source, and the evidence that their domain is derived from."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from snnenergy.errors import ActivityError, CountsError

MAX_MAGNITUDES = 64
"""More distinct magnitudes than this and a stream is analog; nobody's spikes have so many sizes."""
UNSEEN = (
    "its activity is not known: it was counted from shapes (--meta); assume rates with --assume-rate or --rates, "
    "or count it on data"
)
MAX_MULTIPLE = 256
"""Largest k for which values k s with fractional s are still called graded (an average pool of 16 x 16 spikes)."""
MULTIPLE_TOLERANCE = 4e-7
"""Relative slack of k = value / s: about three float32 roundings (1/9 of an average pool is not exact)."""


class Domain(StrEnum):
    """What kind of values a stream carries; a member equals its string."""

    SPIKE = "spike"
    TERNARY = "ternary"
    GRADED = "graded"
    ANALOG = "analog"


_AC_DOMAINS = (Domain.SPIKE, Domain.TERNARY)


@lru_cache(maxsize=4096)
def _unit(magnitudes: tuple[float, ...]) -> float | None:
    """As `Evidence.unit`; a model's streams are asked for it many times, and the search is long where there is none."""
    if len(magnitudes) == 1:
        return magnitudes[0]
    if all(m.is_integer() for m in magnitudes):
        return float(math.gcd(*(int(m) for m in magnitudes)))
    largest = magnitudes[-1]
    for k in range(2, MAX_MULTIPLE + 1):
        ratios = [m * k / largest for m in magnitudes]
        if all(abs(r - round(r)) <= MULTIPLE_TOLERANCE * k and round(r) >= 1 for r in ratios):
            return largest / k
    return None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of a stream's values over the whole run; mergeable, and enough to derive the domain.

    magnitudes: distinct non-zero |values|, ascending; empty when there were none, or when `many` is set
    many: more than 64 distinct magnitudes (or a NaN or infinity) were seen
    positive, negative: signs seen (both False once `many`: they no longer decide anything)
    zeros: a zero was seen
    neuron: the values come straight from a spiking neuron
    """

    magnitudes: tuple[float, ...] = ()
    many: bool = False
    positive: bool = False
    negative: bool = False
    zeros: bool = False
    neuron: bool = False

    def __post_init__(self) -> None:
        if self.many or len(self.magnitudes) > MAX_MAGNITUDES or not all(map(math.isfinite, self.magnitudes)):
            for name, value in (("magnitudes", ()), ("many", True), ("positive", False), ("negative", False)):
                object.__setattr__(self, name, value)

    def __or__(self, other: Evidence) -> Evidence:
        return Evidence(
            magnitudes=tuple(sorted({*self.magnitudes, *other.magnitudes})),
            many=self.many or other.many,
            positive=self.positive or other.positive,
            negative=self.negative or other.negative,
            zeros=self.zeros or other.zeros,
            neuron=self.neuron and other.neuron,
        )

    @property
    def unit(self) -> float | None:
        """The s of which every magnitude is an integer multiple k s, or None: there is none, or nothing was seen.

        s = 1 whatever the integers; otherwise the largest s that keeps every k at most 256.  A subset of commensurable
        values is commensurable, so a merge can lose a unit and never find one.
        """
        return None if self.many or not self.magnitudes else _unit(self.magnitudes)

    @property
    def domain(self) -> Domain:
        if self.many:
            return Domain.ANALOG
        if not self.magnitudes:
            return Domain.SPIKE  # nothing but zeros: no event, whatever they would have been
        if len(self.magnitudes) == 1:
            one_sign = self.positive != self.negative
            if one_sign and (self.magnitudes[0] == 1.0 or self.zeros or self.neuron):
                return Domain.SPIKE
            return Domain.TERNARY if self.negative else Domain.ANALOG
        return Domain.ANALOG if self.unit is None else Domain.GRADED


def _pair_domain(a: Domain, b: Domain) -> Domain:
    """A product of two activations: spike-gated if either side is, else graded if either is, else analog."""
    for domain in (Domain.SPIKE, Domain.TERNARY, Domain.GRADED):
        if domain in (a, b):
            return domain
    return Domain.ANALOG


@dataclass(frozen=True, slots=True)
class Stream:
    """What arrived at one operand of a layer from one source, over the whole run.

    source: path of the producer, a segment's name, or None
    operand: `a`, or `b` for the second activation of a product of activations (its taps stand on `a`)
    elements, nonzero: input elements seen; those not zero (events)
    driven: in-range taps driven by a non-zero input; effective: those whose weight is non-zero too
    unit_taps: driven taps weighted by |value| / s; None where the values have no unit s
    evidence, pair: what was seen of this operand, and of the other one of a product of activations
    override: the domain the user named, if any
    seen: values were looked at; False: only `elements` and `operand` are known, and the other figures stand for nothing
    """

    source: str | None = None
    operand: str = "a"
    elements: int = 0
    nonzero: int = 0
    driven: int = 0
    effective: int = 0
    unit_taps: int | None = 0
    evidence: Evidence = Evidence()
    pair: Evidence | None = None
    override: Domain | None = None
    seen: bool = True

    @property
    def domain(self) -> Domain:
        """Raises ActivityError where no value was looked at."""
        if self.override is not None:
            return self.override
        if not self.seen:
            raise ActivityError(UNSEEN)
        if self.pair is not None:
            return _pair_domain(self.evidence.domain, self.pair.domain)
        return self.evidence.domain

    @property
    def is_ac(self) -> bool:
        """Whether its taps are accumulates (spike, ternary) and not multiply-accumulates."""
        return self.domain in _AC_DOMAINS

    @property
    def sparsity(self) -> float:
        """Share of elements that were zero, 0 to 1; 0 where nothing arrived."""
        if not self.seen:
            raise ActivityError(UNSEEN)
        return 1 - self.nonzero / self.elements if self.elements else 0.0

    def __add__(self, other: Stream) -> Stream:
        if self.override != other.override:
            raise CountsError(f"stream {self.source!r}: domain overridden as {self.override} and as {other.override}")
        evidence = self.evidence | other.evidence
        pair = self.pair | other.pair if self.pair is not None and other.pair is not None else self.pair or other.pair
        if not (self.seen and other.seen):
            return dataclasses.replace(
                self, elements=self.elements + other.elements, unit_taps=None, seen=False, pair=pair
            )
        merged = dataclasses.replace(
            self,
            elements=self.elements + other.elements,
            nonzero=self.nonzero + other.nonzero,
            driven=self.driven + other.driven,
            effective=self.effective + other.effective,
            evidence=evidence,
            pair=pair,
        )
        return dataclasses.replace(merged, unit_taps=_merged_units(self, other, merged))


def weighted_by(stream: Stream) -> Evidence | None:
    """Whose values weigh the unit taps of a stream: its own, or the graded side of a product; None: each tap is one."""
    if stream.pair is None:
        return stream.evidence
    if stream.domain in _AC_DOMAINS:
        return None
    return stream.evidence if stream.evidence.domain is Domain.GRADED else stream.pair


def _merged_units(one: Stream, other: Stream, merged: Stream) -> int | None:
    if merged.operand == "b":
        return 0
    scale = weighted_by(merged)
    if scale is None:
        return merged.driven
    unit = scale.unit
    if not scale.magnitudes and not scale.many:
        return 0
    total = 0
    for part in (one, other):
        own = weighted_by(part)
        if part.driven == 0 and not part.unit_taps:
            continue
        if own is None:  # its taps weighed one each; of the side that weighs now it may have seen one size alone
            side = part.evidence if scale is merged.evidence else part.pair
            own = side if side is not None and len(side.magnitudes) == 1 else None
        taps = part.driven if weighted_by(part) is None else part.unit_taps
        if unit is None or own is None or own.unit is None or taps is None:
            return None
        total += taps * round(own.unit / unit)
    return total
