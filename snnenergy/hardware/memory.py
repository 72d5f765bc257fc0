"""The memory of a chip: levels, what an access costs by size, and how operands move."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, StrictInt, field_validator, model_validator

from snnenergy.hardware import quantity
from snnenergy.hardware.figures import Bandwidth, BitEnergy, Energy, Size, Strict, Text, rising


class Point(Strict):
    """One published access energy of a memory of one size."""

    size: float = Field(gt=0)
    energy: float = Field(ge=0)

    @field_validator("size", mode="before")
    @classmethod
    def _size(cls, value: object) -> float:
        return quantity.parse(value, "bit")

    @field_validator("energy", mode="before")
    @classmethod
    def _energy(cls, value: object) -> float:
        return quantity.parse(value, "J")


class Law(Strict):
    """Energy per access by memory size: a line (base + per_bit x bits), or straight lines between points."""

    base: Energy | None = None
    per_bit: BitEnergy | None = None
    points: tuple[Point, ...] = Field(default=(), strict=False)
    source: str
    note: str = ""

    @field_validator("points")
    @classmethod
    def _in_order(cls, points: tuple[Point, ...]) -> tuple[Point, ...]:
        rising((p.size for p in points), "size")
        return points

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        line = [figure is not None for figure in (self.base, self.per_bit)]
        if any(line) != all(line) or any(line) == bool(self.points):
            raise ValueError("expected `base` and `per_bit`, or `points`")
        return self


class Level(Strict):
    """One memory level: capacity, and either energy per access (`width` bits), a law by size, or energy per bit."""

    name: Text
    capacity: Size | None = None
    width: StrictInt | None = Field(default=None, gt=0)
    access: Energy | None = None
    laws: dict[str, Law] = Field(default_factory=dict)
    per_bit: BitEnergy | None = None
    bandwidth: Bandwidth | None = None

    @model_validator(mode="after")
    def _of_some_width(self) -> Self:
        if self.access is not None and self.width is None:
            raise ValueError("`access` is the energy of so many bits: expected `width` beside it")
        return self


class Memory(Strict):
    """Levels from the nearest to the farthest, and how operands move.

    streamed: each call reads its weights and inputs and writes its outputs once (a batch shares the weights)
    per_event: every operation reads its operands, nothing is reused
    """

    dataflow: Literal["streamed", "per_event"]
    levels: tuple[Level, ...] = Field(min_length=1, strict=False)
    law: str | None = None
