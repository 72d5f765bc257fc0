"""What counts stand on: what was left out, under which conditions they were taken, of which model, with which answers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from snnenergy.errors import CountsError


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


_HEX = re.compile(r"[0-9a-fA-F]*")
_SHARD = re.compile(r"[1-9]\d{0,6}/[1-9]\d{0,6}")
ALIKE = {
    "rules": "counting rules",
    "seed": "seeds",
    "synthetic": "kinds of input (synthetic)",
    "predicted": "origins (predicted)",
    "assumed": "assumed activity",
    "training": "kinds of run (training)",
}
"""Conditions that must agree before counts are added or compared, each in words."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What decides whether two Counts may be compared.

    inputs: order-independent digest of the samples (hex; digests of shards add modulo 2^128)
    seed: of synthetic inputs or encoders; rules: version of the counting rules
    synthetic: the inputs were made up, so activity means nothing
    partial: the run stopped before its data ended
    nonfinite: samples that held NaN or infinity; those values were counted as the non-zero values they are
    shards: which shards of the data set these are, such as `2/4`; empty: all of it
    training: the counts are of training steps; says the optimizer and the loss, empty where they are of inference
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
    training: str = ""

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.inputs):
            raise CountsError(f"conditions.inputs: expected hexadecimal digits, found {self.inputs!r:.40}")
        for shard in self.shards:
            if not _SHARD.fullmatch(shard):
                raise CountsError(f"conditions.shards: expected I/N such as 2/8, found {shard!r:.40}")

    def __add__(self, other: Conditions) -> Conditions:
        for name, words in ALIKE.items():
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
    """Both; empty once all are there.  A shard that is there twice would be counted twice, also as part of all of them."""
    if bool(one) != bool(other):
        part = (one or other)[0]
        raise CountsError(
            f"cannot merge: shard {part} on one side, and on the other no shard: a whole data set may hold it"
        )
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


_NUMBERED = (
    re.compile(r"(surveyed )(\d+)( of )(\d+)( forwards)"),
    re.compile(r"(T = \d+ steps, )(\d+)( samples \(.*\))"),
)
"""Notes that count; the numbers of shards add like everything else."""


def merge_notes(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
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


def merge_uncounted(*ledgers: Iterable[Uncounted]) -> tuple[Uncounted, ...]:
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
