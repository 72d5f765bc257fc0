"""What a sound profile does not know, and what that does to an estimate."""

from __future__ import annotations

from collections.abc import Iterator

from snnenergy.hardware.profile import Profile

FREE = "moving weights and values costs nothing apart from the energy of an operation"


def gaps(chip: Profile) -> Iterator[tuple[str, str]]:
    """Place of every gap and its effect: first what the file names as unknown, then what it leaves out."""
    yield from chip.unknown.items()
    if chip.latency.model == "none":
        yield "latency", "no model of time: no latency, and static power is not charged"
    if chip.power.static is None and "power.static" not in chip.unknown:
        yield "power.static", "left out: only events are charged"
    if chip.family == "neuromorphic" and chip.capacity is None:
        yield "capacity", "left out: whether a net fits is not checked"
    if chip.family == "processor" and chip.memory is None:
        yield "memory", f"left out: {FREE}"
    if chip.memory is not None and chip.memory.dataflow == "streamed":
        last, level = len(chip.memory.levels) - 1, chip.memory.levels[-1]
        place = f"memory.levels.{last}.per_bit"
        if level.per_bit is None and place not in chip.unknown:
            ignored = "; `access` and `laws` are for a memory read per event" if level.access or level.laws else ""
            yield place, f"left out: {FREE}{ignored}"
    for place, figure in chip.figures().items():
        if figure.how == "proxy":
            yield place, f"a proxy: {figure.note or figure.conditions}"
