"""What a layer is (once per run) and what one forward of it costs whatever the values (once per plan)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter, index
from typing import Any

from snnenergy.errors import UsageError


@dataclass(slots=True)
class Work:
    """Value-free work of one path in one forward; additive."""

    dense_macs: int = 0
    valid_macs: int = 0
    adds: int = 0
    muls: int = 0
    compares: int = 0
    specials: int = 0
    output_elements: int = 0
    updates: int = 0
    calls: int = 0
    kernels: int = 0

    def add(self, other: Work, times: int = 1) -> None:
        for name in _WORK:
            amount = getattr(other, name)
            if amount:
                setattr(self, name, getattr(self, name) + times * amount)

    def copy(self) -> Work:
        return Work(*_values(self))


_WORK = tuple(f.name for f in fields(Work))
_values = attrgetter(*_WORK)


def stated(name: str, found: Any) -> dict[str, int]:
    """What a user's rule of operator `name` gave, by field of Work; what counts as an integer is one, as NumPy's do."""
    try:
        given = {"dense_macs": index(found)} if not isinstance(found, Mapping) else {k: index(found[k]) for k in found}
    except TypeError:
        given = {"": 0}
    if not given.keys() <= set(_WORK):
        raise UsageError(
            f"rules: the rule of {name} returned {found!r}; it may return dense MACs, an integer, or a mapping of "
            f"{', '.join(_WORK)} to integers"
        )
    return given


@dataclass(slots=True)
class Structure:
    """What a path is: learnt the first time it runs."""

    path: str
    role: str = "other"
    op: str = "elementwise"
    module_type: str = ""
    weights: dict[object, tuple[int, int]] = field(default_factory=dict)
    weight_bits: int = 0
    biases: dict[object, int] = field(default_factory=dict)
    input_bits: int = 0
    output_bits: int = 0
    fan_in: int = 0
    fan_out: int = 0
    geometry: dict[str, Any] = field(default_factory=dict)
    neuron_model: str | None = None
    foldable: bool = False
    sources: dict[str, None] = field(default_factory=dict)
