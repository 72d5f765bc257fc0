"""A profile inside another record (a report, a page): the keys and values of its file, quantities as text with a unit.

What is read back is untrusted and goes through the checks of a file.  Floats are written so that they read back to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from snnenergy.errors import ProfileError
from snnenergy.hardware.contradictions import contradictions
from snnenergy.hardware.document import MAX_DEPTH, TOP, Document, Path_, check
from snnenergy.hardware.figures import Figure, Strict
from snnenergy.hardware.memory import Point
from snnenergy.hardware.profile import Profile

_UNITS = {"op/s": "OP/s"}
"""Dimensions whose unit is spelled otherwise."""


def to_dict(chip: Profile) -> dict[str, Any]:
    """What was set in the chip's file, or chosen by its operating point, as plain JSON values."""
    return dict(_written(chip))


def _written(value: Any) -> Any:
    if isinstance(value, Strict):
        dimensions = _dimensions(value)
        present = [name for name in type(value).model_fields if name in value.model_fields_set]
        return {name: _text(getattr(value, name), dimensions.get(name)) for name in present}
    if isinstance(value, Mapping):
        return {str(name): _written(item) for name, item in value.items()}
    return [_written(item) for item in value] if isinstance(value, tuple | list) else value


def _dimensions(value: Strict) -> Mapping[str, str]:
    """Which fields are quantities, and of what."""
    if isinstance(value, Figure):
        return dict.fromkeys(("value", "low", "high"), value.dimension)
    return {"size": "bit", "energy": "J"} if isinstance(value, Point) else {}


def _text(value: Any, dimension: str | None) -> Any:
    return _written(value) if dimension is None else f"{value!r} {_UNITS.get(dimension, dimension)}"


def from_dict(value: object, where: str) -> Profile:
    """The profile again; ProfileError names the first thing that is wrong with it, and its place."""
    document = Document(where, value, dict.fromkeys(_places(value, ()), TOP))
    chip, found = check(document, Profile)
    if chip is not None:
        found = list(contradictions(document, chip, chip.name))
    if chip is None or found:
        place = f"{where}.{found[0].key}" if found[0].key else where
        raise ProfileError(f"{place}: {found[0].message}")
    return chip


def _places(value: object, path: Path_) -> Iterator[Path_]:
    """Where every value stands, as deep as a profile may go."""
    yield path
    children = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children if len(path) < MAX_DEPTH else ():
        yield from _places(child, (*path, key))
