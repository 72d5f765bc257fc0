"""What a counting convention is: rules and prices as data, read from one YAML file each and applied to stored Counts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, field_serializer

from snnenergy.counts import Domain
from snnenergy.hardware import quantity
from snnenergy.hardware.figures import Strict


def _joules(value: object) -> object:
    if value is None:
        return value
    try:
        return quantity.parse(value, "J")
    except ValueError:
        raise ValueError(f'expected an energy such as "4.6 pJ", found {value!r:.40}') from None


def _not_negative(value: float) -> float:
    if value < 0:
        raise ValueError("an energy cannot be negative")
    return value


Joules = Annotated[
    float, BeforeValidator(_joules), AfterValidator(_not_negative), PlainSerializer(float, return_type=float)
]


Charge = Literal["ac", "mac", "dense_mac", "unit_acs", "free"]
"""How the taps of one kind of stream are charged.

ac, mac: taps with an event, as accumulates or as multiply-accumulates; dense_mac: every tap, event or not;
unit_acs: a graded 3 is three accumulates; free: not at all
"""


class Charges(Strict):
    """One charge for each of the four domains."""

    spike: Charge
    ternary: Charge
    graded: Charge
    analog: Charge

    def of(self, domain: Domain) -> Charge:
        charge: Charge = getattr(self, str(domain))
        return charge


Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Operations; a mean, so it need not be whole."""


class NeuronRule(Strict):
    """What a neuron costs beside its synapses: per update (neuron and time step) and per spike that it sends."""

    macs_per_update: Number = 0.0
    acs_per_update: Number = 0.0
    acs_per_spike: Number = 0.0


class Rules(Strict):
    """The rules of a convention; every one has a default in words: exact taps, nothing but synapses.

    events: how the taps of events are found: `exact` (taps an event really drives), `rate` (dense taps x share of
        non-zero inputs) or `fanout` (events x output channels x kernel / stride, borders ignored)
    padding: whether taps that fall on zero padding belong to dense and rated taps
    zero_weights: whether an exact tap on a zero weight counts
    first_layer: of a spiking net, where its input is no spike: every step, once (the same frame each step), or free
    attention: products of two activations by their events, or (`min_rate`) dense x the smaller of both rates, and
        dense x the rate of the spiking side where only one is spiking
    bias: free; or `layer`: one more tap per output element, charged like the layer's own; or `update`: one AC per
        output element and step
    norm: free or one MAC per element-wise operation; elementwise: the same for activations, pools and residual adds
    neuron: by neuron model, `default` for the rest
    neurons: `recognised`, or `outputs`: output elements without a recognised neuron behind them are neurons too
    cells: MACs of a gated cell's gates and states, per hidden unit and step, by module type without `Cell`
    ops_per_mac: 1, or 2 where a MAC is a multiplication and an addition
    """

    charges: Charges
    events: Literal["exact", "rate", "fanout"] = "exact"
    padding: Literal["counted", "skipped"] = "skipped"
    zero_weights: Literal["counted", "skipped"] = "skipped"
    first_layer: Literal["every_step", "once", "free"] = "every_step"
    attention: Literal["exact", "min_rate"] = "exact"
    bias: Literal["free", "layer", "update"] = "free"
    norm: Literal["free", "macs"] = "free"
    elementwise: Literal["free", "macs"] = "free"
    neuron: dict[str, NeuronRule] = Field(default_factory=dict)
    neurons: Literal["recognised", "outputs"] = "recognised"
    cells: dict[str, Number] = Field(default_factory=dict)
    ops_per_mac: Literal[1, 2] = 1


class Prices(Strict):
    """Joules per operation; `neuron`: per update, where a convention prices neurons and not their operations."""

    mac: Joules
    ac: Joules
    neuron: Joules = 0.0


class Reference(Strict):
    """Where a convention is written down."""

    title: str
    authors: str = ""
    year: int | None = None
    doi: str | None = None
    url: str | None = None
    note: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.authors, self.title, str(self.year or ""), self.doi or self.url)))


class Change(Rules):
    """The rules that a variant sets; the others stay as the convention has them."""

    charges: Charges = Charges(spike="ac", ternary="ac", graded="mac", analog="mac")  # a default is never read


class Variant(Strict):
    """Changes to a convention under a further name; `energy: null`: it counts and does not price."""

    title: str = ""
    rules: Change = Change()
    energy: Prices | None = None


class Convention(Strict):
    """A counting convention: who counts so, by which rules, at which prices.

    energy: null where the convention counts and does not price
    variants: changes to rules and energy under further names, asked for as `name:variant`
    """

    schema_version: Literal[1]
    name: str
    title: str
    summary: str
    sources: tuple[Reference, ...] = Field(strict=False)
    rules: Rules
    energy: Prices | None
    variants: dict[str, Variant] = Field(default_factory=dict)
    notes: tuple[str, ...] = Field((), strict=False)

    @field_serializer("variants")
    def _as_set(self, variants: dict[str, Variant]) -> dict[str, Any]:
        return {name: variant.model_dump(mode="json", exclude_unset=True) for name, variant in variants.items()}

    def variant(self, name: str) -> Convention:
        """The convention with that variant's changes, called `name:variant`."""
        change = self.variants[name]
        rules = {field: getattr(change.rules, field) for field in change.rules.model_fields_set}
        parts = {field: getattr(change, field) for field in change.model_fields_set}
        parts |= {"name": f"{self.name}:{name}", "rules": self.rules.model_copy(update=rules), "variants": {}}
        return self.model_copy(update=parts)
