"""One layer's counts: its products, its neurons, its arithmetic; totals over the recorded samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snnenergy.counts_stream import UNSEEN, Domain, Stream
from snnenergy.errors import ActivityError, CountsError


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
PHASES = ("forward", "grad_input", "grad_weight", "optimizer")
"""Of a training step; Counts of inference have the first only."""
LEARNING = "learning"
"""Phase of a row that holds what a local learning rule (STDP and its relatives) did beside the forward pass."""
LEARNING_OFF = "learning was off"
"""How a note begins that names rules which never ran."""
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
    phase: of a training step; the rows of a layer's other phases stand beside it, their path ends in it (`fc1@grad_weight`),
    and `weights` are words they read, no parameters of their own
    saved_bytes: what the forward keeps for the backward pass, over all steps
    synapse_updates, trace_updates: of a local learning rule, in a row of its own (`fc1@learning`, `op` names the rule):
    each spike updates every synapse out of, or into, its neuron; neurons x steps whose spike trace the rule reads.  The
    row's arithmetic is what the tensor code did for it, and `weights` are the synapses' words
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
    phase: str = "forward"
    saved_bytes: int = 0
    synapse_updates: int = 0
    trace_updates: int = 0

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise CountsError(f"layer {self.path!r}: role must be one of {', '.join(ROLES)}, found {self.role!r}")
        if self.phase not in (phases := (*PHASES, LEARNING)):
            raise CountsError(f"layer {self.path!r}: phase must be one of {', '.join(phases)}, found {self.phase!r}")

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
    def graded_units(self) -> int | None:
        """Unit accumulates of the graded streams: a graded 3 is three; None where one's values have no known unit."""
        units = [s.unit_taps for s in self._known() if s.domain is Domain.GRADED]
        return None if None in units else sum(filter(None, units))

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
    def watched_updates(self) -> int:
        """Updates of neurons whose spikes were seen: what a firing rate stands on."""
        return 0 if self.spikes_out is None else self.updates

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
        for name in ("spikes_out", "silent", "saturated"):
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
    "input_bits output_bits fan_in fan_out foldable phase"
).split()
_ADDITIVE = (
    "dense_macs valid_macs updates adds muls compares specials output_elements calls kernels saved_bytes "
    "synapse_updates trace_updates"
).split()


def _merge_streams(one: LayerCounts, other: LayerCounts) -> tuple[Stream, ...]:
    if [(s.source, s.operand) for s in one.streams] != [(s.source, s.operand) for s in other.streams]:
        raise CountsError(f"layer {one.path!r}: its streams differ between the two counts; recount one of them")
    return tuple(a + b for a, b in zip(one.streams, other.streams, strict=True))
