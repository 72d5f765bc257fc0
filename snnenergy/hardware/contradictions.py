"""What no single value of a profile shows: names, sources, unknowns and figures that do not fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from snnenergy.errors import near
from snnenergy.hardware.document import Document, Finding, Path_
from snnenergy.hardware.profile import OperatingPoint, Profile


def contradictions(document: Document, chip: Profile, stem: str) -> Iterator[Finding]:
    """Each of them where it stands; those of an operating point only where the chip as such has none."""
    if chip.name != stem:
        yield document.finding(("name",), f"expected {stem!r}, the name of the file, found {chip.name!r}")
    yield from _sources(document, chip)
    yield from _unknowns(document, chip)
    own = dict.fromkeys(_lacking(chip))
    for key, words in own:
        yield document.finding(key, words)
    for name, point in chip.operating_points.items():
        here = ("operating_points", name)
        for key, words in (*_idle(chip, name, point), *_lacking(chip.changed(point))):
            if (key, words) not in own:
                yield document.finding((*here, *key), words, key=not key)


def _lacking(chip: Profile) -> Iterator[tuple[Path_, str]]:
    """What would cost nothing, or take no time, because a figure is not there; the places and the reasons."""
    yield from _unpriced(chip)
    yield from _untimed(chip)
    yield from _unread(chip)


def _unread(chip: Profile) -> Iterator[tuple[Path_, str]]:
    """Memory levels whose accesses no figure prices, and a law that one of them does not have."""
    if chip.memory is None:
        return
    law, levels = chip.memory.law, chip.memory.levels
    for i, level in enumerate(levels):
        at = ("memory", "levels", i)
        if level.laws and law is None:
            yield (*at, "laws"), f"`memory.law` names none of them{near('', level.laws)}"
        elif level.laws and law not in level.laws:
            yield ("memory", "law"), f"no such law in {level.name}{near(str(law), level.laws)}"
        priced = level.laws or level.access or level.per_bit
        excused = any(f"memory.levels.{i}.{name}" in chip.unknown for name in ("access", "per_bit"))
        if chip.memory.dataflow == "per_event" and not priced and not excused:
            yield at, "every event is charged its accesses: expected `access` with its `width`, `laws` or `per_bit`"
    if law is not None and not any(level.laws for level in levels):
        yield ("memory", "law"), "no level has `laws`"


def _idle(chip: Profile, name: str, point: OperatingPoint) -> Iterator[tuple[Path_, str]]:
    """A point that does not do what its note says."""
    applied = name == chip.operating_point
    if applied and chip.changed(point) != chip:
        yield (), "the profile's own operating point has this name; its figures are those outside of `operating_points`"
    if point.model_fields_set <= {"note"}:
        yield (), "replaces nothing"
    if point.synop is not None and point.synop_conv is None and chip.energy.synop_conv is not None:
        yield (
            ("synop",),
            "convolutions are charged `synop_conv`, which this point leaves as it is; expected it here too",
        )
    if point.memory_law is not None and chip.memory is None:
        yield ("memory_law",), "there is no `memory`"
    if point.tick is not None and (point.latency or chip.latency).model != "fixed_tick" and not applied:
        yield ("tick",), f"the model of time is {(point.latency or chip.latency).model}, which has no tick"


def _sources(document: Document, chip: Profile) -> Iterator[Finding]:
    """Every `source:` of the document must be one of `sources:`; a note may cite others of them."""
    for path in document.marks:
        if path and path[-1] in ("source", "node_source") and (name := _value(document, path)) not in chip.sources:
            yield document.finding(path, f"no such source {name!r}{near(str(name), chip.sources)}")


def _unknowns(document: Document, chip: Profile) -> Iterator[Finding]:
    """A figure that is null is named under `unknown`, and the other way round."""
    nulls = {
        ".".join(map(str, p)): p for p in document.marks if p and _value(document, p) is None and p[0] != "sources"
    }
    for name, path in nulls.items():
        if name not in chip.unknown:
            yield document.finding(
                path, f"null, but not named under `unknown`; add `{name}: what that does to an estimate`"
            )
    for name in chip.unknown:
        if name not in nulls:
            yield document.finding(("unknown", name), "named unknown, but no figure of that name is null", key=True)


def _unpriced(chip: Profile) -> Iterator[tuple[Path_, str]]:
    """Charges that no figure prices, and that are not named unknown either."""
    charges = {getattr(chip.charges, d) for d in ("spike", "ternary", "graded", "analog")}
    for event in ("synop", "ann_op"):
        if event in charges and getattr(chip.energy, event) is None and f"energy.{event}" not in chip.unknown:
            yield ("energy",), f"`charges` names {event}, but energy.{event} is missing"
    if charges & {"dense_mac", "mac", "add", "unit_adds"} and not chip.arithmetic:
        yield ("charges",), "`charges` names arithmetic, but there is no `arithmetic` section"
    if chip.memory is not None and chip.memory.dataflow == "per_event" and not chip.arithmetic:
        yield ("memory",), "addresses are computed for every event, but there is no `arithmetic` section"


def _untimed(chip: Profile) -> Iterator[tuple[Path_, str]]:
    """What a model of time needs from other sections; without it a part of the time would be zero."""
    if chip.latency.model == "roofline":
        if not chip.arithmetic:
            yield ("latency",), "a roofline needs an `arithmetic` section with a `peak`"
        for i, row in enumerate(chip.arithmetic):
            if row.peak is None and f"arithmetic.{i}.peak" not in chip.unknown:
                yield ("arithmetic", i), "a roofline needs `peak`, the operations per second of this format"
        if chip.memory is None or chip.memory.levels[-1].bandwidth is None:
            yield ("memory",), "a roofline needs a memory whose last level has a `bandwidth`"
    if chip.latency.model == "barrier" and (chip.capacity is None or chip.capacity.cores is None):
        yield ("latency",), "a barrier needs `capacity.cores`, over which the work is spread"


def _value(document: Document, path: Iterable[str | int]) -> Any:
    value = document.value
    for part in path:
        value = value[part]
    return value
