"""A figure: one published number with its range, conditions, source and how it is known; SI floats inside."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from snnenergy.hardware import quantity

How = Literal["measured", "fitted", "simulated", "datasheet", "published", "derived", "proxy"]
"""How a number is known.

measured: on silicon; fitted: to measurements; simulated: before silicon; datasheet: stated by the maker
published: printed without saying how; derived: arithmetic on the figures its note names; proxy: of something else
"""


Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class Strict(BaseModel):
    """No unknown keys, no conversions, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Known(Strict):
    """Where a number comes from."""

    conditions: str = ""
    source: str
    how: How
    note: str = ""


class Count(Known):
    """A whole number: cores, neurons, bits of a weight."""

    value: StrictInt = Field(gt=0)


class Figure(Known):
    """A quantity in SI units; `low` and `high` are the value itself where no spread is published.

    In a file each is a text with its unit, such as "23.6 pJ".
    """

    dimension: ClassVar[str] = "J"

    value: float = Field(ge=0)
    low: float = Field(default=-1.0, ge=0, validate_default=False)
    high: float = Field(default=-1.0, ge=0, validate_default=False)

    @field_validator("value", "low", "high", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> float:
        return quantity.parse(value, cls.dimension)

    @field_validator("low")
    @classmethod
    def _below(cls, low: float, given: ValidationInfo) -> float:
        value = given.data.get("value")
        if value is not None and low > value:
            raise ValueError(f"low is above value: {low:g} > {value:g} {cls.dimension}")
        return low

    @field_validator("high")
    @classmethod
    def _above(cls, high: float, given: ValidationInfo) -> float:
        value = given.data.get("value")
        if value is not None and high < value:
            raise ValueError(f"high is below value: {high:g} < {value:g} {cls.dimension}")
        return high

    @model_validator(mode="after")
    def _filled(self) -> Self:
        for name in ("low", "high"):
            if name not in self.model_fields_set:
                object.__setattr__(self, name, self.value)
        return self

    @property
    def spread(self) -> bool:
        """Whether a range is given."""
        return self.low < self.high


class Energy(Figure):
    """Joules per event."""


class Time(Figure):
    """Seconds."""

    dimension: ClassVar[str] = "s"


class Power(Figure):
    """Watts."""

    dimension: ClassVar[str] = "W"


class Divisor(Figure):
    """A quantity that work is divided by: above zero."""

    value: float = Field(gt=0)
    low: float = Field(default=-1.0, gt=0, validate_default=False)


class Rate(Divisor):
    """Operations per second; a multiply-accumulate is two."""

    dimension: ClassVar[str] = "op/s"


class Bandwidth(Divisor):
    """Bits per second."""

    dimension: ClassVar[str] = "bit/s"


class Size(Divisor):
    """Bits of memory."""

    dimension: ClassVar[str] = "bit"


class BitEnergy(Figure):
    """Joules per bit moved."""

    dimension: ClassVar[str] = "J/bit"


def rising(values: Iterable[float], name: str) -> None:
    """ValueError where one is not above the one before: what lies between two is read on the line through them."""
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"expected rows in rising order of `{name}`, each once")
