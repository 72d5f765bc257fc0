"""The difference of two Counts of one model, per inference: totals, layers, identity, and what it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.counts_terms import ALIKE
from snnenergy.errors import ActivityError, NotComparableError

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

METRICS = (
    "acs macs dense_macs driven updates spikes_out adds muls compares specials synapse_updates trace_updates"
).split()
"""Totals over samples, shown per inference; of the whole and of each layer."""
STRUCTURE = ("weights", "weights_nonzero", "neurons")
"""Of the model itself: the same for every inference."""
IDENTITY = ("weights", "architecture", "time_steps", "dtype")
DIGITS = 12
"""Of a digest that are shown."""
MODEL, TOOL, PROFILE, UNEXPLAINED = "model", "tool", "hardware profile", "unexplained"
"""What a change can come from."""


@dataclass(frozen=True, slots=True)
class Change:
    """One number before and after; None where the layer, or the price, is on one side only."""

    name: str
    base: float | None
    head: float | None
    unit: str = ""

    @property
    def delta(self) -> float | None:
        return None if self.base is None or self.head is None else self.head - self.base

    @property
    def share(self) -> float | None:
        """Change relative to the base; None where that is 0 or missing."""
        return self.delta / self.base if self.delta is not None and self.base else None


@dataclass(frozen=True, slots=True)
class Difference:
    """totals: one row a metric, changed or not; layers: changed ones only, by path; identity: what else changed."""

    base: str
    head: str
    totals: tuple[Change, ...]
    layers: dict[str, tuple[Change, ...]]
    identity: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    cause: str = ""

    @property
    def origin(self) -> str:
        """What the counts differ by, in words."""
        if not self.cause:
            return "same counts"
        if self.cause == UNEXPLAINED:
            return "unexplained: same weights, structure and versions; the model is random, or a CPU flipped values"
        if self.cause == TOOL:
            return f"tool: same weights and structure; {', '.join(self.versions)} (may flip values at a threshold)"
        return f"model, and perhaps tool: {', '.join(self.versions)}" if self.versions else "model"


def between(base: Counts, head: Counts) -> Difference:
    """Raises NotComparableError where the two ran on other inputs or samples, or under conditions that are not `ALIKE`."""
    for name in (*ALIKE, "inputs"):
        a, b = getattr(base.conditions, name), getattr(head.conditions, name)
        if a != b:
            raise NotComparableError(
                f"not comparable: {name} of the base is {a!r}, of the head {b!r}; count both alike"
            )
    if not (base.samples and head.samples):
        raise NotComparableError(f"not comparable: the {'head' if base.samples else 'base'} holds no sample")
    if base.conditions.inputs and base.samples != head.samples:
        raise NotComparableError(
            f"not comparable: the base takes its inputs as {base.samples} samples, the head the same ones as {head.samples}, "
            "and costs are per sample; count both alike"
        )
    identity, versions = tuple(_identity(base, head)), tuple(_versions(base, head))
    totals, layers = tuple(_totals(base, head)), _layers(base, head)
    return Difference(
        base=base.model,
        head=head.model,
        totals=totals,
        layers=layers,
        identity=identity,
        versions=versions,
        cause=_cause(base, identity, versions) if base.layers != head.layers else "",
    )


def _cause(base: Counts, identity: tuple[str, ...], versions: tuple[str, ...]) -> str:
    """Another model where its identity changed, or is unknown; else another tool; else nobody can say."""
    if identity or not base.identity.weights:
        return MODEL
    return TOOL if versions else UNEXPLAINED


def _versions(base: Counts, head: Counts) -> Iterator[str]:
    """What counted: packages, interpreter, CPU."""
    a, b = base.identity.versions, head.identity.versions
    for name in sorted({*a, *b}):
        if a.get(name) != b.get(name):
            yield f"{name} {a.get(name, 'unknown')} -> {b.get(name, 'unknown')}"


def _totals(base: Counts, head: Counts) -> Iterator[Change]:
    for name in METRICS:
        yield Change(name, base.per_inference(name), head.per_inference(name))
    for name in STRUCTURE:
        rows = (side.layers if name == "neurons" else side.forward for side in (base, head))
        yield Change(name, *(sum(getattr(layer, name) for layer in layers) for layers in rows))


def _layers(base: Counts, head: Counts) -> dict[str, tuple[Change, ...]]:
    sides = [{layer.path: (layer, counts.samples) for layer in counts.layers} for counts in (base, head)]
    found = {}
    for path in dict.fromkeys((*sides[0], *sides[1])):
        rows = [Change(name, _of(sides[0].get(path), name), _of(sides[1].get(path), name)) for name in METRICS]
        if changed := tuple(row for row in rows if row.base != row.head):
            found[path] = changed
    return found


def _of(layer: tuple[Any, int] | None, name: str) -> float | None:
    if layer is None:
        return None
    counted, samples = layer
    try:
        value = getattr(counted, name)
    except ActivityError:
        return None
    return None if value is None else value / samples


def figures(base: Profile, head: Profile) -> Iterator[Change]:
    """The figures of one chip that differ, end by end."""
    sides = [dict(_ends(chip)) for chip in (base, head)]
    for name in dict.fromkeys((*sides[0], *sides[1])):
        (before, unit), (after, other) = (side.get(name, (None, "")) for side in sides)
        if before != after:
            yield Change(name, before, after, unit or other)


def _ends(chip: Profile) -> Iterator[tuple[str, tuple[float, str]]]:
    for place, figure in chip.figures().items():
        yield place, (figure.value, getattr(figure, "dimension", ""))
        for end in ("low", "high"):
            if hasattr(figure, end):
                yield f"{place} ({end})", (getattr(figure, end), getattr(figure, "dimension", ""))


def _identity(base: Counts, head: Counts) -> Iterator[str]:
    for name in IDENTITY:
        a, b = getattr(base.identity, name), getattr(head.identity, name)
        if a != b:
            short = (str(x)[:DIGITS] for x in (a, b))
            yield f"{name}: {' -> '.join(short)}"
    for path in sorted({layer.path for layer in base.layers} ^ {layer.path for layer in head.layers}):
        side = "removed" if any(layer.path == path for layer in base.layers) else "added"
        yield f"layer {path}: {side}"
