"""A lint for tables that compare ANNs with SNNs: the known ways they go wrong, where the numbers given imply them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from snnenergy.cost.convention_charge import Charger
from snnenergy.cost.convention_rules import Joules
from snnenergy.counts import Counts
from snnenergy.hardware.document import read, validate
from snnenergy.hardware.figures import Strict

NEAR = 0.005
"""Relative room of printed numbers: three digits."""
INTEGER_AC = 0.5e-12
"""Joules: at 45 nm an fp32 addition costs 0.9 pJ, an int32 one 0.1 pJ, an int8 one 0.03 pJ."""


class Claim(Strict):
    """One row of a table as it is printed; whatever is not known stays out.

    acs, macs: operations per inference; dense_macs: of all layers, one step; rate: mean firing rate, 0 to 1
    first_layer_macs: of the first layer, one step; padded_macs, valid_macs: what dense_macs is with and without padding
    ac, mac: price of one; memory: whether memory accesses are in the energy
    """

    model: str
    kind: Literal["ann", "snn"]
    acs: float | None = Field(None, ge=0)
    macs: float | None = Field(None, ge=0)
    dense_macs: float | None = Field(None, gt=0)
    padded_macs: float | None = Field(None, gt=0)
    valid_macs: float | None = Field(None, gt=0)
    first_layer_macs: float | None = Field(None, gt=0)
    time_steps: int | None = Field(None, ge=1)
    rate: float | None = Field(None, gt=0, lt=1)
    energy: Joules | None = None
    ac: Joules | None = None
    mac: Joules | None = None
    format: str | None = None
    batch: int | None = Field(None, ge=1)
    memory: bool | None = None


class ClaimTable(Strict):
    """A file of claims."""

    schema_version: Literal[1]
    claims: tuple[Claim, ...] = Field(strict=False, min_length=1)


@dataclass(frozen=True, slots=True)
class ClaimFinding:
    """One mistake that the numbers imply: which, on which rows, and in words with the numbers."""

    rule: str
    models: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {', '.join(self.models)}: {self.message}"


def read_claims(path: Path) -> tuple[Claim, ...]:
    """The rows of a claims file; ProfileError with `file:line:col` where it is wrong."""
    return validate(read(path), ClaimTable).claims


def with_counts(claims: Iterable[Claim], models: Mapping[str, Counts]) -> tuple[Claim, ...]:
    """The claims, what they leave out filled in from the counts of the model of that name."""
    return tuple(_filled(c, models[c.model]) if c.model in models else c for c in claims)


def _filled(claim: Claim, counts: Counts) -> Claim:
    from snnenergy.cost.conventions import load

    steps, each = counts.time_steps or 1, counts.samples * (counts.time_steps or 1)
    synaptic = [layer for layer in counts.layers if layer.role == "synaptic"]
    first = Charger(counts, load("ours")).first
    known: dict[str, float | int] = {
        "padded_macs": sum(layer.dense_macs for layer in synaptic) / each,
        "valid_macs": sum(layer.valid_macs for layer in synaptic) / each,
        "first_layer_macs": sum(layer.dense_macs for layer in synaptic if layer.path in first) / each,
        "time_steps": steps,
    }
    return claim.model_copy(update={k: v for k, v in known.items() if v and getattr(claim, k) is None})


def check_claims(table: Sequence[Claim]) -> tuple[ClaimFinding, ...]:
    """What is wrong with a table, in the order of the checks; nothing where the numbers do not say so."""
    return tuple(finding for check in CHECKS for finding in check(table))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= NEAR * max(abs(one), abs(other))


def _rate_twice(table: Sequence[Claim]) -> Iterator[ClaimFinding]:
    for row in table:
        if row.rate is None or row.acs is None:
            continue
        if row.dense_macs is not None and row.time_steps is not None:
            once = row.dense_macs * row.time_steps * row.rate
            if _near(row.acs, once * row.rate) and not _near(row.acs, once):
                words = f"{row.acs:,.6g} ACs are dense x T x rate x rate; once would be {once:,.6g}"
                yield ClaimFinding("rate applied twice", (row.model,), words)
                continue
        if row.energy is not None and row.ac is not None:
            rest = row.energy - (row.macs or 0) * (row.mac or 0)
            if _near(rest, row.acs * row.ac * row.rate) and not _near(rest, row.acs * row.ac):
                words = f"the energy prices {row.acs * row.rate:,.6g} ACs, rate x the {row.acs:,.6g} that are given"
                yield ClaimFinding("rate applied twice", (row.model,), words)


def _first_layer(table: Sequence[Claim]) -> Iterator[ClaimFinding]:
    once, every = [], []
    for row in table:
        implied = _implied_macs(row)
        if implied is None or row.first_layer_macs is None or (row.time_steps or 1) == 1:
            continue
        steps = row.time_steps or 1
        if _near(implied, row.first_layer_macs):
            once.append(row.model)
        elif _near(implied, steps * row.first_layer_macs):
            every.append(row.model)
        else:
            words = (
                f"{implied:,.6g} MACs stand beside its ACs, neither its first layer once ({row.first_layer_macs:,.6g}) "
                f"nor at each of {steps} steps ({steps * row.first_layer_macs:,.6g})"
            )
            yield ClaimFinding("first layer of another size", (row.model,), words)
    if once and every:
        words = f"charged once for {', '.join(once)}, at every step for {', '.join(every)}"
        yield ClaimFinding("first layer once against every step", (*once, *every), words)


def _implied_macs(row: Claim) -> float | None:
    """The MACs of a spiking row: given, or what is left of its energy after its ACs."""
    if row.kind != "snn":
        return None
    if row.macs is not None:
        return row.macs
    if row.energy is None or row.acs is None or row.ac is None or not row.mac:
        return None
    return (row.energy - row.acs * row.ac) / row.mac


def _padding(table: Sequence[Claim]) -> Iterator[ClaimFinding]:
    sides: dict[str, list[str]] = {"with padding": [], "without padding": []}
    for row in table:
        if row.dense_macs is None or row.padded_macs is None or row.valid_macs is None:
            continue
        if abs(row.padded_macs - row.valid_macs) <= 2 * NEAR * row.padded_macs:
            continue  # three printed digits cannot tell them apart
        for words, value in (("with padding", row.padded_macs), ("without padding", row.valid_macs)):
            if _near(row.dense_macs, value):
                sides[words].append(row.model)
    yield from _split("padding on one side only", sides)


def _precision(table: Sequence[Claim]) -> Iterator[ClaimFinding]:
    sides: dict[str, list[str]] = {}
    for row in table:
        kind = row.format or _priced_as(row)
        if kind:
            sides.setdefault(kind, []).append(row.model)
    kinds = {row.kind for row in table if row.format or _priced_as(row)}
    if len(kinds) == 2:
        yield from _split("another precision on each side", sides)


def _priced_as(row: Claim) -> str | None:
    """Floating point or integer, from the price of an addition or of a MAC at 45 nm."""
    if row.ac is not None:
        return "an integer price" if row.ac < INTEGER_AC else "a floating-point price"
    if row.mac is not None:
        return "an integer price" if row.mac < 4e-12 else "a floating-point price"
    return None


def _memory(table: Sequence[Claim]) -> Iterator[ClaimFinding]:
    sides: dict[str, list[str]] = {}
    for row in table:
        if row.memory is not None:
            sides.setdefault("with memory" if row.memory else "without memory", []).append(row.model)
    yield from _split("memory on one side only", sides)


def _batch(table: Sequence[Claim]) -> Iterator[ClaimFinding]:
    sides: dict[str, list[str]] = {}
    for row in table:
        if row.batch is not None:
            sides.setdefault(f"batch {row.batch}", []).append(row.model)
    yield from _split("another batch on each side", sides)


def _split(rule: str, sides: Mapping[str, Sequence[str]]) -> Iterator[ClaimFinding]:
    """A finding where rows stand on more than one side."""
    taken = {words: models for words, models in sides.items() if models}
    if len(taken) > 1:
        words = "; ".join(f"{words}: {', '.join(models)}" for words, models in taken.items())
        yield ClaimFinding(rule, tuple(m for models in taken.values() for m in models), words)


CHECKS: tuple[Callable[[Sequence[Claim]], Iterator[ClaimFinding]], ...] = (
    _rate_twice,
    _first_layer,
    _padding,
    _precision,
    _memory,
    _batch,
)
"""Every known mistake, one function each."""
