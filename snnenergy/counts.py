"""Counts: what one run of a model did, without a joule in it.

The artefact that crosses the wall between tracing (torch, no energy) and pricing (energy, no torch).  All numbers are
totals over the recorded samples, Python ints, exact; `per inference` is total / samples.  Merging is exact, commutative
and pure: merging the shards of a data set gives the Counts of the whole.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from snnenergy import whole
from snnenergy.errors import ActivityError, CountsError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
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
        if unit is None or own is None or own.unit is None or part.unit_taps is None:
            return None
        total += part.unit_taps * round(own.unit / unit)
    return total


@dataclass(frozen=True, slots=True)
class PerStep:
    """Totals per time step over all samples, each of length T; what a barrier-synchronised chip's latency needs."""

    effective: tuple[int, ...] = ()
    driven: tuple[int, ...] = ()
    spikes_out: tuple[int, ...] = ()

    def __add__(self, other: PerStep) -> PerStep:
        return PerStep(*(_add_steps(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)))


def _add_steps(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    if one and other and len(one) != len(other):
        raise CountsError(f"per-step counts of {len(one)} and of {len(other)} steps cannot be added")
    return tuple(x + y for x, y in zip(one, other, strict=True)) if one and other else one or other


ROLES = ("synaptic", "neuron", "other")
COPIES = "(copies)"
"""Path of the row for kernels that only move values: of this run, and not a layer of the model."""


@dataclass(frozen=True, slots=True)
class LayerCounts:
    """One layer: one entry per (path, call site); path is unique within a Counts.

    A leaf module's path is its name in the model.  Outside leaf modules a product with a parameter is `param:NAME`,
    a product of activations `MODULE::OP#i` (i: order of first appearance), elementwise arithmetic the module's own path.

    dense_macs: multiply-accumulates of the dense op, padding taps included (value-free; what fvcore reports)
    valid_macs: the same without taps that fall on zero padding
    streams: one per source segment of the input
    neuron_model, neurons (per sample), updates (neurons x steps, all samples), spikes_out, state_words (per neuron)
    silent, saturated: neurons, summed over the samples, that fired in no step and in every step of a sample; None: not known
    adds, muls, compares, specials: elementwise arithmetic (specials: exp, tanh, sqrt, division by a variable ...)
    weights, weights_nonzero: words; bias: bias words; *_bits: bits per element
    output_elements: total over all samples and steps
    fan_in, fan_out: dense synapses per output element, and per input element away from borders
    geometry: op-specific structure for the mapper (kernel, stride, padding, dilation, groups, input and output shape)
    foldable: a batch norm directly after a linear map, or a converted net's pool: a neighbour's weights can take it in
    calls, kernels: of this run, outside the laws of merging
    """

    path: str
    role: str = "other"
    op: str = ""
    module_type: str = ""
    sources: tuple[str, ...] = ()
    dense_macs: int = 0
    valid_macs: int = 0
    streams: tuple[Stream, ...] = ()
    neuron_model: str | None = None
    neurons: int = 0
    updates: int = 0
    spikes_out: int | None = None
    silent: int | None = None
    saturated: int | None = None
    state_words: int = 0
    adds: int = 0
    muls: int = 0
    compares: int = 0
    specials: int = 0
    weights: int = 0
    weights_nonzero: int = 0
    weight_bits: int = 0
    bias: int = 0
    output_elements: int = 0
    input_bits: int = 0
    output_bits: int = 0
    fan_in: int = 0
    fan_out: int = 0
    geometry: Mapping[str, Any] = field(default_factory=dict)
    foldable: bool = False
    per_step: PerStep | None = None
    calls: int = 0
    kernels: int = 0

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise CountsError(f"layer {self.path!r}: role must be one of {', '.join(ROLES)}, found {self.role!r}")

    @property
    def seen(self) -> bool:
        """Whether values were looked at; False: every figure of its streams but `elements` raises ActivityError."""
        return all(s.seen for s in self.streams)

    def _known(self) -> tuple[Stream, ...]:
        if not self.seen:
            raise ActivityError(f"layer {self.path}: {UNSEEN}")
        return self.streams

    # Effective taps, split by the domain of their stream: the field's headline numbers.
    @property
    def acs(self) -> int:
        return sum(s.effective for s in self._known() if s.is_ac)

    @property
    def macs(self) -> int:
        return sum(s.effective for s in self._known() if not s.is_ac)

    @property
    def graded_macs(self) -> int:
        """The part of `macs` whose values are integer multiples of one magnitude."""
        return sum(s.effective for s in self._known() if s.domain is Domain.GRADED)

    @property
    def graded_units(self) -> int:
        """Unit accumulates of the graded streams: a graded 3 is three."""
        return sum(s.unit_taps or 0 for s in self._known() if s.domain is Domain.GRADED)

    @property
    def driven(self) -> int:
        return sum(s.driven for s in self._known())

    @property
    def effective(self) -> int:
        return sum(s.effective for s in self._known())

    @property
    def elements(self) -> int:
        return sum(s.elements for s in self.streams)

    @property
    def nonzero(self) -> int:
        return sum(s.nonzero for s in self._known())

    @property
    def sparsity(self) -> float:
        """Share of zero input elements, 0 to 1."""
        return 1 - self.nonzero / self.elements if self.elements else 0.0

    @property
    def firing_rate(self) -> float | None:
        """Spikes per neuron update, or None where this is no neuron or its spikes were not seen."""
        return self.spikes_out / self.updates if self.spikes_out is not None and self.updates else None

    @property
    def domains(self) -> tuple[Domain, ...]:
        return tuple(dict.fromkeys(s.domain for s in self.streams))

    @property
    def parameters(self) -> int:
        return self.weights + self.bias

    def __add__(self, other: LayerCounts) -> LayerCounts:
        changes: dict[str, Any] = {}
        for name in _STRUCTURE:
            if getattr(self, name) != getattr(other, name):
                raise CountsError(
                    f"layer {self.path!r}: {name} is {getattr(self, name)!r} on one side and {getattr(other, name)!r} "
                    "on the other; these are not shards of one model"
                )
        for name in _ADDITIVE:
            changes[name] = getattr(self, name) + getattr(other, name)
        changes["sources"] = tuple(sorted({*self.sources, *other.sources}))
        changes["streams"] = _merge_streams(self, other)
        if self.spikes_out is not None or other.spikes_out is not None:
            changes["spikes_out"] = (self.spikes_out or 0) + (other.spikes_out or 0)
        for name in ("silent", "saturated"):
            parts = getattr(self, name), getattr(other, name)
            changes[name] = None if None in parts else sum(parts)
        if self.geometry != other.geometry:
            changes["geometry"] = {}  # it varied over the run: no single shape to map
        if self.per_step is None or other.per_step is None:
            changes["per_step"] = None
        else:
            changes["per_step"] = self.per_step + other.per_step
        return dataclasses.replace(self, **changes)


_STRUCTURE = (
    "path role op module_type neuron_model neurons state_words weights weights_nonzero weight_bits bias "
    "input_bits output_bits fan_in fan_out foldable"
).split()
_ADDITIVE = "dense_macs valid_macs updates adds muls compares specials output_elements calls kernels".split()


def _merge_streams(one: LayerCounts, other: LayerCounts) -> tuple[Stream, ...]:
    if [(s.source, s.operand) for s in one.streams] != [(s.source, s.operand) for s in other.streams]:
        raise CountsError(f"layer {one.path!r}: its streams differ between the two counts; recount one of them")
    return tuple(a + b for a, b in zip(one.streams, other.streams, strict=True))


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Arithmetic that has no rule, named: never a silent zero."""

    path: str
    op: str
    calls: int
    parameters: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of parameters and of arithmetic calls that were counted, 0 to 1."""

    parameters_counted: int = 0
    parameters_total: int = 0
    calls_counted: int = 0
    calls_total: int = 0

    @property
    def parameters(self) -> float:
        return self.parameters_counted / self.parameters_total if self.parameters_total else 1.0

    @property
    def calls(self) -> float:
        return self.calls_counted / self.calls_total if self.calls_total else 1.0

    @property
    def complete(self) -> bool:
        return self.parameters_counted == self.parameters_total and self.calls_counted == self.calls_total

    def __add__(self, other: Coverage) -> Coverage:
        """Calls add; parameters are the model's, so the smaller counted share stands."""
        return Coverage(
            min(self.parameters_counted, other.parameters_counted),
            max(self.parameters_total, other.parameters_total),
            self.calls_counted + other.calls_counted,
            self.calls_total + other.calls_total,
        )


_SHARD = re.compile(r"[1-9]\d{0,6}/[1-9]\d{0,6}")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What decides whether two Counts may be compared.

    inputs: order-independent digest of the samples (hex; digests of shards add modulo 2^128)
    seed: of synthetic inputs or encoders; rules: version of the counting rules
    synthetic: the inputs were made up, so activity means nothing
    partial: the run stopped before its data ended
    nonfinite: samples that held NaN or infinity; those values were counted as the non-zero values they are
    shards: which shards of the data set these are, such as `2/4`; empty: all of it
    assumed: the activity was not counted but assumed; says how, such as `firing rate 0.1`, empty where it was counted
    predicted: the counts are of a net that does not exist yet; says how they were made, empty where it was run
    """

    inputs: str = ""
    seed: int | None = None
    rules: int = 1
    synthetic: bool = False
    partial: bool = False
    nonfinite: int = 0
    shards: tuple[str, ...] = ()
    predicted: str = ""
    assumed: str = ""

    def __post_init__(self) -> None:
        for shard in self.shards:
            if not _SHARD.fullmatch(shard):
                raise CountsError(f"conditions.shards: expected I/N such as 2/8, found {shard!r:.40}")

    def __add__(self, other: Conditions) -> Conditions:
        for name, words in (
            ("rules", "counting rules"),
            ("seed", "seeds"),
            ("synthetic", "kinds of input (synthetic)"),
            ("predicted", "origins (predicted)"),
            ("assumed", "assumed activity"),
        ):
            a, b = getattr(self, name), getattr(other, name)
            if a != b:
                raise CountsError(f"cannot merge counts of different {words}: {a!r} and {b!r}; count both alike")
        total = (int(self.inputs or "0", 16) + int(other.inputs or "0", 16)) % (1 << 128)
        return dataclasses.replace(
            self,
            inputs=f"{total:032x}" if self.inputs or other.inputs else "",
            partial=self.partial or other.partial,
            nonfinite=self.nonfinite + other.nonfinite,
            shards=_merge_shards(self.shards, other.shards),
        )


def _merge_shards(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Both; empty once all are there.  A shard that is there twice would be counted twice."""
    if twice := sorted({*one} & {*other}):
        raise CountsError(f"cannot merge: shard {twice[0]} is on both sides; each may be there once")
    both = {*one, *other}
    totals = {shard.partition("/")[2] for shard in both}
    if len(totals) > 1:
        raise CountsError(f"cannot merge: shards of {' and of '.join(sorted(totals))} parts; cut the data set one way")
    if both and len(both) == int(totals.pop()):
        return ()
    return tuple(sorted(both, key=lambda shard: int(shard.partition("/")[0])))


@dataclass(frozen=True, slots=True)
class Answers:
    """What the model answered in the same forwards: samples that had a label, and those it answered right."""

    labelled: int = 0
    correct: int = 0

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, 0 to 1; None where no sample had a label."""
        return self.correct / self.labelled if self.labelled else None

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.labelled + other.labelled, self.correct + other.correct)


@dataclass(frozen=True, slots=True)
class Identity:
    """What changed, when a gate sees a change: digests (hex) of weights and structure, T, dtype, versions, notes."""

    weights: str = ""
    architecture: str = ""
    time_steps: int | None = None
    dtype: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all layers, of all samples; divide by `samples` for one inference."""

    samples: int
    acs: int
    macs: int
    graded_macs: int
    graded_units: int
    dense_macs: int
    dense_analog_macs: int
    valid_macs: int
    driven: int
    effective: int
    elements: int
    nonzero: int
    neurons: int
    updates: int
    spikes_out: int
    adds: int
    muls: int
    compares: int
    specials: int
    weights: int
    weights_nonzero: int
    kernels: int

    @property
    def sparsity(self) -> float:
        return 1 - self.nonzero / self.elements if self.elements else 0.0

    @property
    def firing_rate(self) -> float | None:
        return self.spikes_out / self.updates if self.updates else None

    def per_inference(self, name: str) -> float:
        value = getattr(self, name)
        return float(value) / self.samples if self.samples else float("nan")


@dataclass(frozen=True, slots=True)
class Counts:
    """The artefact: hardware-free, diffable, additive.  See the module docstring."""

    model: str = "model"
    samples: int = 0
    forwards: int = 0
    time_steps: int | None = None
    layers: tuple[LayerCounts, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()
    coverage: Coverage = Coverage()
    conditions: Conditions = Conditions()
    identity: Identity = Identity()
    answers: Answers = Answers()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for layer in self.layers:
            if layer.path in seen:
                raise CountsError(f"two layers have the path {layer.path!r}; paths are unique within a Counts")
            seen.add(layer.path)

    @property
    def empty(self) -> bool:
        """Nothing was counted: a shard that no sample fell to."""
        return not self.samples and not self.layers

    def __getitem__(self, path: str) -> LayerCounts:
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise KeyError(path)

    @property
    def seen(self) -> bool:
        """Whether values were looked at; False: counted from shapes, and `total()` raises ActivityError."""
        return all(layer.seen for layer in self.layers)

    @property
    def activity(self) -> str:
        """What the activity stands on, in words; empty where it was counted on data."""
        if not self.seen:
            return "not known, counted from shapes"
        if self.conditions.assumed:
            return f"assumed, {self.conditions.assumed}"
        return "of synthetic input, means nothing" if self.conditions.synthetic else ""

    def per_inference(self, name: str) -> float | None:
        """A figure of `Totals` for one inference; None where it needs values that nobody looked at."""
        if self.seen:
            return self.total().per_inference(name)
        if name in _OF_VALUES or not self.samples:
            return None
        return float(sum(getattr(layer, name) for layer in self.layers)) / self.samples

    @property
    def sparsity(self) -> float | None:
        """Share of input elements that were zero; None where none arrived or their values are not known."""
        return self.total().sparsity if self.seen and any(layer.elements for layer in self.layers) else None

    @property
    def firing_rate(self) -> float | None:
        """Spikes per neuron update; None without neurons, or where their spikes are not known."""
        return self.total().firing_rate if self.seen else None

    def total(self) -> Totals:
        """Sums over all layers; raises ActivityError where the counts are of shapes alone."""

        def add(name: str) -> int:
            return sum(getattr(layer, name) or 0 for layer in self.layers)

        names = [f.name for f in dataclasses.fields(Totals)]
        sums = {n: add(n) for n in names if n not in ("samples", "dense_analog_macs")}
        return Totals(samples=self.samples, dense_analog_macs=sum(map(_dense_analog, self.layers)), **sums)

    if TYPE_CHECKING:  # attached by snnenergy.trace, which knows torch.distributed

        def sync(self, /, *, timeout: float = ...) -> Counts:
            """`snnenergy.trace.ranks.sync`: the merge of all ranks' Counts, on every rank."""

    def merge(self, *others: Counts) -> Counts:
        """The Counts of all samples of all parts; raises CountsError when they are not shards of one model."""
        merged = self
        for other in others:
            merged = _merge(merged, other)
        return merged

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON; the file is whole or absent."""
        whole.write(path, self.to_json())

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=True, allow_nan=False) + "\n"

    def to_dict(self) -> dict[str, Any]:
        from snnenergy import counts_json

        document: dict[str, Any] = counts_json.encode(self)
        return document

    @classmethod
    def from_dict(cls, document: object) -> Self:
        from snnenergy import counts_json

        return counts_json.decode(cls, document)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a Counts JSON file; raises CountsError naming the file and the field."""
        from snnenergy import counts_json

        document = counts_json.read(Path(path))
        try:
            return cls.from_dict(document)
        except CountsError as error:
            raise CountsError(f"{path}: {error}") from error

    @classmethod
    def build(
        cls,
        model: str,
        layers: Iterable[LayerCounts | Mapping[str, Any]],
        *,
        samples: int = 1,
        time_steps: int | None = None,
        **fields: Any,
    ) -> Self:
        """Counts by hand or from structure, with the checks of the JSON reader.

        A layer is a LayerCounts or a mapping of its JSON fields, all optional but `path`; a stream may name its
        `domain`, which then stands as an override.

        >>> Counts.build("net", [
        ...     {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 12,
        ...      "streams": [{"domain": "spike", "driven": 5, "effective": 5}]},
        ...     {"path": "lif", "role": "neuron", "neuron_model": "LIF", "neurons": 4, "updates": 4, "spikes_out": 1},
        ... ]).total().acs
        5
        """
        from snnenergy import counts_json

        rows: Sequence[LayerCounts] = [
            layer if isinstance(layer, LayerCounts) else counts_json.layer(layer, f"layers[{i}]")
            for i, layer in enumerate(layers)
        ]
        if samples < 1:
            raise CountsError(f"samples must be at least 1, found {samples}")
        parameters = sum(layer.parameters for layer in rows)
        calls = sum(layer.calls for layer in rows)
        fields.setdefault("coverage", Coverage(parameters, parameters, calls, calls))
        return cls(model=model, samples=samples, time_steps=time_steps, layers=tuple(rows), **fields)

    def spikes_per_neuron(self, layer: LayerCounts) -> float | None:
        """Spikes of one neuron in one inference; None where this is no neuron or its spikes were not seen."""
        if layer.spikes_out is None or not layer.neurons or not self.samples:
            return None
        return layer.spikes_out / (layer.neurons * self.samples)

    def share_of_neurons(self, layer: LayerCounts, neurons: int | None) -> float | None:
        """Of a layer's neurons in one inference, `layer.silent` or `layer.saturated` of them: 0 to 1; None: not known."""
        total = layer.neurons * self.samples
        return None if neurons is None or not total else neurons / total

    def spikes_per_synapse(self, layer: LayerCounts) -> float | None:
        """Spikes that one synapse carries in one inference, over its T steps; None where the input is no spikes.

        driven taps / (samples x synapses), with valid taps = samples x T x synapses.  Published limits below which an
        SNN may win: 1.72 (doi:10.3389/fnins.2021.651141), 0.15 to 1.38 (doi:10.1109/TETCI.2022.3214509).
        """
        if not layer.valid_macs or not layer.streams or not layer.seen or not all(s.is_ac for s in layer.streams):
            return None
        return layer.driven * (self.time_steps or 1) / layer.valid_macs

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer, with the derived columns (acs, macs, sparsity, firing_rate, domains ...).

        `spikes_per_neuron` and `spikes_per_synapse` are per inference, all other figures totals over the samples.
        """
        import pandas as pd

        plain = [f.name for f in dataclasses.fields(LayerCounts) if f.name not in ("streams", "per_step", "geometry")]
        derived = "acs macs graded_macs graded_units driven effective elements nonzero sparsity firing_rate".split()
        rows = [
            {n: getattr(layer, n) for n in plain}
            | {n: getattr(layer, n) if layer.seen or n not in _OF_VALUES else None for n in derived}
            | {
                "domains": "+".join(layer.domains) if layer.seen else None,
                "spikes_per_neuron": self.spikes_per_neuron(layer),
                "spikes_per_synapse": self.spikes_per_synapse(layer),
                "silent_share": self.share_of_neurons(layer, layer.silent),
                "saturated_share": self.share_of_neurons(layer, layer.saturated),
            }
            for layer in self.layers
        ]
        return pd.DataFrame(rows)


_OF_VALUES = frozenset(
    "acs macs graded_macs graded_units dense_analog_macs driven effective nonzero sparsity spikes_out".split()
)
"""Figures that follow from the values that arrived."""


def _dense_analog(layer: LayerCounts) -> int:
    """Dense MACs of a layer unless its streams are all spikes (what papers charge an ANN); a mixed layer by elements."""
    if not layer.streams or not layer.dense_macs:
        return 0
    a = [s for s in layer.streams if s.operand == "a"]
    elements = sum(s.elements for s in a)
    analog = sum(s.elements for s in a if not s.is_ac)
    return layer.dense_macs * analog // elements if elements else 0


def _merge(one: Counts, other: Counts) -> Counts:
    if one.empty and not other.empty:
        one, other = other, one
    for name in ("weights", "architecture", "time_steps", "dtype"):
        a, b = getattr(one.identity, name), getattr(other.identity, name)
        if a != b and not (other.empty and name in ("architecture", "time_steps")):
            raise CountsError(f"cannot merge {one.model!r} with {other.model!r}: {name} is {a!r} and {b!r}")
    if one.time_steps != other.time_steps and not other.empty:
        raise CountsError(f"cannot merge counts of {one.time_steps} and of {other.time_steps} time steps")
    if one.model != other.model:
        raise CountsError(f"cannot merge counts of two models, {one.model!r} and {other.model!r}")
    if other.empty:
        return dataclasses.replace(one, conditions=one.conditions + other.conditions)
    theirs = {layer.path: layer for layer in other.layers}
    layers = [layer + theirs.pop(layer.path) if layer.path in theirs else layer for layer in one.layers]
    odd = {layer.path for layer in one.layers}.symmetric_difference(layer.path for layer in other.layers) - {COPIES}
    if odd:
        raise CountsError(f"cannot merge: layers {', '.join(sorted(odd)[:5])} ran on one side only")
    layers = sorted((*layers, *theirs.values()), key=lambda layer: layer.path == COPIES)
    return dataclasses.replace(
        one,
        samples=one.samples + other.samples,
        forwards=one.forwards + other.forwards,
        layers=tuple(layers),
        uncounted=_merge_uncounted(one.uncounted, other.uncounted),
        coverage=one.coverage + other.coverage,
        conditions=one.conditions + other.conditions,
        identity=dataclasses.replace(one.identity, notes=_merge_notes(one.identity.notes, other.identity.notes)),
        answers=one.answers + other.answers,
    )


_NUMBERED = (
    re.compile(r"(surveyed )(\d+)( of )(\d+)( forwards)"),
    re.compile(r"(T = \d+ steps, )(\d+)( samples \(.*\))"),
)
"""Notes that count; the numbers of shards add like everything else."""


def _merge_notes(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """Each note once, whoever was first; those that count are added."""
    kept: dict[tuple[str, ...], list[int]] = {}
    for note in (*one, *dict.fromkeys(other)):
        parts = next((m.groups() for m in (p.fullmatch(note) for p in _NUMBERED) if m), (note,))
        numbers = kept.setdefault(parts[::2], [0] * (len(parts) // 2))
        for i, number in enumerate(parts[1::2]):
            numbers[i] += int(number)
    return tuple(sorted(_woven(words, numbers) for words, numbers in kept.items()))


def _woven(words: Sequence[str], numbers: Sequence[int]) -> str:
    return words[0] + "".join(f"{n}{w}" for n, w in zip(numbers, words[1:], strict=True))


def _merge_uncounted(*ledgers: Iterable[Uncounted]) -> tuple[Uncounted, ...]:
    rows: dict[tuple[str, str, str], Uncounted] = {}
    for row in (r for ledger in ledgers for r in ledger):
        key = (row.path, row.op, row.reason)
        seen = rows.get(key)
        rows[key] = (
            row
            if seen is None
            else dataclasses.replace(row, calls=row.calls + seen.calls, parameters=max(row.parameters, seen.parameters))
        )
    return tuple(rows[key] for key in sorted(rows))
