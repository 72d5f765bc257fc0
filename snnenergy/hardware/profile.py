"""The hardware profile: what one chip's events cost, how long they take, and what fits; one YAML file per chip."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, StrictInt, StringConstraints, field_validator

from snnenergy.hardware.figures import Count, Energy, Figure, Power, Rate, Size, Strict, Text, Time, rising
from snnenergy.hardware.memory import Memory

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=40)]


class Source(Strict):
    """Where figures come from: a paper by its DOI, anything else by its address or a note."""

    title: Text
    authors: str = ""
    year: StrictInt | None = None
    venue: str = ""
    doi: str | None = None
    url: str | None = None
    note: str = ""


Charge = Literal["synop", "ann_op", "dense_mac", "mac", "add", "unit_adds", "unsupported"]


class Charges(Strict):
    """How the chip runs each of the four domains.

    synop: one synaptic event per tap with a non-zero input; `synapses: nonzero` where zero weights are not stored
    ann_op, dense_mac: every multiply-accumulate of the dense operation
    mac, add: taps whose input and weight are both non-zero; unit_adds: a graded 3 is three adds
    unsupported: it needs an encoder or a host
    """

    spike: Charge
    ternary: Charge
    graded: Charge
    analog: Charge
    synapses: Literal["nonzero", "all"] = "nonzero"
    note: str = ""


class Events(Strict):
    """Joules per event.

    synop: one synaptic event; synop_conv: the same in a convolution, where the chip stores it otherwise
    neuron_access: each mapped neuron each time step; neuron_update: added when it is updated; spike: when it fires
    synapse_update: one synapse changed by the chip's learning engine
    message: per spike and destination core; hop_ew, hop_ns: per tile crossed; ann_op: one MAC of the analog mode
    """

    synop: Energy | None = None
    synop_conv: Energy | None = None
    neuron_access: Energy | None = None
    neuron_update: Energy | None = None
    spike: Energy | None = None
    synapse_update: Energy | None = None
    message: Energy | None = None
    hop_ew: Energy | None = None
    hop_ns: Energy | None = None
    ann_op: Energy | None = None


OpClass = Literal["matmul", "conv", "recurrent", "elementwise"]
"""What a processor runs at a rate of its own: products, convolutions, fused recurrent layers, and everything else."""


class Rates(Strict):
    """Operations per second that each class was seen to achieve."""

    matmul: Rate | None = None
    conv: Rate | None = None
    recurrent: Rate | None = None
    elementwise: Rate | None = None


class Launches(Strict):
    """Overhead of one kernel of each class."""

    matmul: Time | None = None
    conv: Time | None = None
    recurrent: Time | None = None
    elementwise: Time | None = None


class Arithmetic(Strict):
    """Joules per operation of one number format, and its peak rate.

    rates: in place of the peak, where they are known
    """

    bits: StrictInt = Field(gt=0, le=128)
    format: Text
    mac: Energy | None
    add: Energy | None = None
    mul: Energy | None = None
    peak: Rate | None = None
    rates: Rates = Rates()


class Supply(Strict):
    """Power of one chip: `static` while it runs; `host` of the processors it needs; `peak` as the maker states it.

    idle: while it has nothing to do; what `snnenergy measure` subtracts, never charged

    resolvable: dynamic power below this was not resolved from the meter's drift on silicon
    """

    static: Power | None = None
    idle: Power | None = None
    host: Power | None = None
    peak: Power | None = None
    resolvable: Power | None = None


class Roofline(Strict):
    """Launch overhead per kernel, then the longer of work / peak rate and bits / bandwidth.

    launches: in place of `launch`, where they are known
    """

    model: Literal["roofline"]
    launch: Time | None
    launches: Launches = Launches()


class FixedTick(Strict):
    """A time step lasts one tick, whatever happens in it."""

    model: Literal["fixed_tick"]
    tick: Time


class FixedPhase(Strict):
    """Every core computes one layer's step in one phase of fixed length."""

    model: Literal["fixed_phase"]
    phase: Time


class Sync(Strict):
    """Time of the barrier over that many tiles."""

    tiles: StrictInt = Field(gt=0)
    time: Time


class Barrier(Strict):
    """A time step lasts as long as its slowest core, then a barrier over the tiles in use."""

    model: Literal["barrier"]
    synop: Time
    synop_conv: Time | None = None
    neuron_access: Time | None = None
    neuron_update: Time | None = None
    spike: Time | None = None
    synapse_update: Time | None = None
    message: Time | None = None
    sync: tuple[Sync, ...] = Field(min_length=1, strict=False)

    @field_validator("sync")
    @classmethod
    def _in_order(cls, sync: tuple[Sync, ...]) -> tuple[Sync, ...]:
        rising((row.tiles for row in sync), "tiles")
        return sync


class NoLatency(Strict):
    """Energy only."""

    model: Literal["none"]


Latency = Annotated[Roofline | FixedTick | FixedPhase | Barrier | NoLatency, Field(discriminator="model")]


class Capacity(Strict):
    """What one chip holds; a limit that is not published is null and not checked."""

    cores: Count | None = None
    neurons_per_core: Count | None = None
    fan_in: Count | None = None
    axons_out_per_core: Count | None = None
    synapse_memory_per_core: Size | None = None
    weight_bits: Count | None = None
    cores_per_tile: Count | None = None
    tile_columns: Count | None = None


class Supports(Strict):
    """Capabilities beyond the domains: neuron models by name (null: any, it is programmable), what bias needs, and who says so."""

    neuron_models: tuple[str, ...] | None = Field(default=None, strict=False)
    bias: str = ""
    source: str | None = None


class OperatingPoint(Strict):
    """Another published voltage, frequency, tick or memory law: what it replaces."""

    note: Text
    synop: Energy | None = None
    synop_conv: Energy | None = None
    static: Power | None = None
    tick: Time | None = None
    latency: Latency | None = None
    memory_law: str | None = None


class Reported(Strict):
    """A published figure that is never charged, and why."""

    quantity: Text
    value: Text
    source: str
    note: Text


class Residual(Strict):
    """How well one class of operations was fitted: predicted / measured of its probes."""

    probes: StrictInt = Field(gt=0)
    median: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    worst: Text


class Calibration(Strict):
    """The machine that a fitted profile was measured on, and how well it was met."""

    machine: Text
    device: Literal["cpu", "cuda"]
    threads: StrictInt = Field(gt=0)
    versions: dict[str, Text]
    meter: Text
    residuals: dict[str, Residual]


class Profile(Strict):
    """One chip.  `unknown` maps each figure that is null because it is unpublished to what that does to an estimate.

    node_source: key of the source that states the node; none where the node is not known
    """

    schema_version: Literal[1]
    name: Name
    title: Text
    aliases: tuple[Name, ...] = Field(default=(), strict=False)
    family: Literal["neuromorphic", "processor", "datapath"]
    node: Text
    node_source: str | None = None
    summary: Text
    sources: dict[str, Source]
    charges: Charges
    energy: Events = Events()
    arithmetic: tuple[Arithmetic, ...] = Field(default=(), strict=False)
    power: Supply = Supply()
    memory: Memory | None = None
    latency: Latency
    capacity: Capacity | None = None
    supports: Supports = Supports()
    operating_point: str = "default"
    operating_points: dict[str, OperatingPoint] = Field(default_factory=dict)
    reported: tuple[Reported, ...] = Field(default=(), strict=False)
    assumptions: tuple[str, ...] = Field(default=(), strict=False)
    calibration: Calibration | None = None
    unknown: dict[str, Text] = Field(default_factory=dict)

    def __hash__(self) -> int:
        """Equal profiles have equal names; the fields themselves hold dictionaries, which have no hash."""
        return hash((self.name, self.operating_point))

    def is_called(self, name: str) -> bool:
        """Whether that is its name or an alias, in small letters or capitals."""
        return name.lower() in (self.name.lower(), *(alias.lower() for alias in self.aliases))

    def at(self, name: str | None) -> Self:
        """The chip at another of its operating points; KeyError when it has none of that name."""
        if name is None or name == self.operating_point:
            return self
        return self.changed(self.operating_points[name]).model_copy(update={"operating_point": name})

    def changed(self, point: OperatingPoint) -> Self:
        """The chip with what that point replaces."""
        latency = point.latency or self.latency
        parts: dict[str, Strict | None] = {
            "energy": _with(self.energy, synop=point.synop, synop_conv=point.synop_conv),
            "power": _with(self.power, static=point.static),
            "latency": _with(latency, tick=point.tick),
            "memory": self.memory and _with(self.memory, law=point.memory_law),
        }
        return self.model_copy(update={name: part for name, part in parts.items() if part is not getattr(self, name)})

    def figures(self) -> dict[str, Figure | Count]:
        """Every figure of the profile by its dotted place in the file."""
        return dict(_walk(self, ""))


S = TypeVar("S", bound=Strict)


def _with(part: S, **changes: object) -> S:
    """A part of a chip with those of the changes that are made; the part itself where there are none."""
    made = {name: value for name, value in changes.items() if value is not None}
    return part.model_copy(update=made) if made else part


def _walk(value: object, place: str) -> list[tuple[str, Figure | Count]]:
    if isinstance(value, Figure | Count):
        return [(place, value)]
    children: list[tuple[str, object]] = []
    if isinstance(value, Strict):
        children = [(name, getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, dict):
        children = [(str(name), child) for name, child in value.items()]
    elif isinstance(value, tuple):
        children = [(str(i), child) for i, child in enumerate(value)]
    return [row for name, child in children for row in _walk(child, f"{place}.{name}".lstrip("."))]
