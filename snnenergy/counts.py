"""Counts: what one run of a model did, without a joule in it.

The artefact that crosses the wall between tracing (torch, no energy) and pricing (energy, no torch).  All numbers are
totals over the recorded samples, Python ints, exact; `per inference` is total / samples.  Merging is exact, commutative
and pure: merging the shards of a data set gives the Counts of the whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from snnenergy import whole
from snnenergy.counts_layer import COPIES, LEARNING, LEARNING_OFF, PHASES, ROLES, LayerCounts, PerStep
from snnenergy.counts_stream import MAX_MAGNITUDES, Domain, Evidence, Stream, weighted_by
from snnenergy.counts_terms import Answers, Conditions, Coverage, Identity, Uncounted, merge_notes, merge_uncounted
from snnenergy.errors import CountsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COPIES",
    "LEARNING",
    "LEARNING_OFF",
    "MAX_MAGNITUDES",
    "PHASES",
    "ROLES",
    "SCHEMA_VERSION",
    "Answers",
    "Conditions",
    "Counts",
    "Coverage",
    "Domain",
    "Evidence",
    "Identity",
    "LayerCounts",
    "PerStep",
    "Stream",
    "Totals",
    "Uncounted",
    "weighted_by",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all layers, of all samples; divide by `samples` for one inference.

    spikes_out, watched_updates: of the neurons whose spikes were seen; graded_units: None where a layer's are not known
    """

    samples: int
    acs: int
    macs: int
    graded_macs: int
    graded_units: int | None
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
    watched_updates: int
    adds: int
    muls: int
    compares: int
    specials: int
    weights: int
    weights_nonzero: int
    kernels: int
    synapse_updates: int
    trace_updates: int

    @property
    def sparsity(self) -> float:
        return 1 - self.nonzero / self.elements if self.elements else 0.0

    @property
    def firing_rate(self) -> float | None:
        return self.spikes_out / self.watched_updates if self.watched_updates else None

    def per_inference(self, name: str) -> float:
        value = getattr(self, name)
        return float(value) / self.samples if self.samples and value is not None else float("nan")


@dataclass(frozen=True, slots=True)
class Counts:
    """The artefact: hardware-free, diffable, additive.  See the module docstring."""

    model: str = "model"
    samples: int = 0
    forwards: int = 0
    time_steps: int | None = None
    layers: tuple[LayerCounts, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    conditions: Conditions = field(default_factory=Conditions)
    identity: Identity = field(default_factory=Identity)
    answers: Answers = field(default_factory=Answers)
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
        """A figure of `Totals` for one inference; None where nothing ran, or it needs values that nobody looked at."""
        if not self.samples or (name in _OF_VALUES and not self.seen):
            return None
        if self.seen:
            total = self.total()
            return None if getattr(total, name) is None else total.per_inference(name)
        return float(sum(getattr(layer, name) for layer in self.layers)) / self.samples

    @property
    def sparsity(self) -> float | None:
        """Share of input elements that were zero; None where none arrived or their values are not known."""
        return self.total().sparsity if self.seen and any(layer.elements for layer in self.layers) else None

    @property
    def firing_rate(self) -> float | None:
        """Spikes per neuron update, of the neurons whose spikes are known; None where there are none."""
        return self.total().firing_rate if self.seen else None

    @property
    def forward(self) -> tuple[LayerCounts, ...]:
        """The rows of the forward pass: all of them, unless these are counts of training."""
        return tuple(layer for layer in self.layers if layer.phase == "forward")

    @property
    def learning(self) -> tuple[LayerCounts, ...]:
        """The rows of local learning rules; none where nothing learnt that way."""
        return tuple(layer for layer in self.layers if layer.phase == LEARNING)

    def total(self) -> Totals:
        """Sums over all layers; raises ActivityError where the counts are of shapes alone."""

        def add(name: str) -> int:
            rows = self.layers if name not in ("weights", "weights_nonzero") else self.forward
            return sum(getattr(layer, name) or 0 for layer in rows)

        names = [f.name for f in dataclasses.fields(Totals)]
        sums: dict[str, Any] = {n: add(n) for n in names if n not in ("samples", "dense_analog_macs")}
        if any(layer.graded_units is None for layer in self.layers):
            sums["graded_units"] = None
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
        uncounted=merge_uncounted(one.uncounted, other.uncounted),
        coverage=one.coverage + other.coverage,
        conditions=one.conditions + other.conditions,
        identity=dataclasses.replace(one.identity, notes=merge_notes(one.identity.notes, other.identity.notes)),
        answers=one.answers + other.answers,
    )
