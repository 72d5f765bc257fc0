"""One surveyed forward: the module that is running, what was read where, and what it all came to."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from snnenergy.frameworks import TimeLayout
from snnenergy.trace.activity import Hearing
from snnenergy.trace.sites import Fans, Site
from snnenergy.trace.structure import Work
from snnenergy.trace.tags import Tag
from snnenergy.trace.tensors import transformed


@dataclass(slots=True)
class Frame:
    """A module (or region) being executed.  leaf: it has no children, so its products carry its own name."""

    path: str
    type_name: str
    leaf: bool
    module: nn.Module | None = None
    neuron: str | None = None
    argument: Tensor | None = None
    reads: list[Read] = field(default_factory=list)
    spikes: Tensor | None = None
    derived: bool = (
        False  # it was given a weight that had been computed: a listener woken for one operator does not know that
    )
    work: Work | None = None  # of its elementwise arithmetic; found when first needed
    tag: Tag | None = None

    def again(self, neuron: str | None, argument: Tensor | None) -> Frame:
        """Itself, for another call of the same module; a neuron's arithmetic goes where it went before."""
        if neuron is None or neuron != self.neuron:
            self.neuron, self.work, self.tag = neuron, None, None
        self.argument, self.spikes = argument, None
        return self

    @property
    def owner(self) -> str:
        """Path of the row that its arithmetic goes to: the neuron around it, or its own."""
        return self.neuron if self.neuron is not None else self.path


@dataclass(slots=True)
class Read:
    """One contraction of a frame: what was read and how it could be read from the module's own input."""

    site: Site
    x: Tensor
    fans: Fans
    weight: Tensor
    made_of: tuple[Tensor, ...]  # the parameters that the weight was computed from
    versions: tuple[tuple[int, int], ...]  # and places of those, when they were read
    steady: bool  # the weight is one parameter, which stays what it is while its version does

    def is_input(self, x: Tensor) -> bool:
        """Is what was read `x` itself, as it came?"""
        if transformed(x):
            return False
        if self.x.data_ptr() != x.data_ptr() or self.x.numel() != x.numel():
            return False
        if self.site.kind == "conv":
            if self.x.shape == x.shape:
                return self.x.stride() == x.stride()
            # steps and samples folded into one axis, or a batch axis of one added
            same = self.x.shape[1:] == x.shape[1 - self.x.dim() :]
        else:
            same = self.x.shape[-1:] == x.shape[-1:]
        return same and x.is_contiguous() and self.x.is_contiguous()  # a transposed square has the shape and place, too


@dataclass
class Lost:
    """Arithmetic without a rule."""

    calls: int = 0
    parameters: dict[str, int] = field(default_factory=dict)
    reason: str = ""


@dataclass(slots=True)
class Firing:
    """The calls of one neuron in one forward.

    index: which of its outputs are the spikes, if that is known; heard: which elements fired
    asked: shapes of its input that were asked about time
    """

    work: Work
    index: int | None
    site: Site | None = None
    heard: Hearing | None = None
    calls: int = 0
    asked: list[torch.Size] = field(default_factory=list)


@dataclass(slots=True)
class Forward:
    """What one surveyed forward did."""

    work: dict[str, Work] = field(default_factory=dict)
    lost: dict[tuple[str, str], Lost] = field(default_factory=dict)
    arithmetic_calls: int = 0
    reads: int = 0
    contracting: set[tuple[object, int]] = field(default_factory=set)  # (operator, id of the leaf that called it, or 0)
    used: set[str] = field(default_factory=set)
    products: dict[str, int] = field(default_factory=dict)  # of fused attention, per path
    input_selects: dict[int, int] = field(default_factory=dict)
    unbatched: bool = False
    stated: TimeLayout | None = None
    conv_rows: int | None = None  # rows of the first convolution of the forward
    linear_rows: int | None = None  # of its first linear layer
    neuron_rows: int | None = None  # of what its first neuron module read
    outside: bool = False  # a contraction that no leaf hook can see
    # (address, size) -> neuron, call, whether its elements lie in order
    spiking: dict[tuple[int, int], tuple[str, int, bool]] = field(default_factory=dict)
    fired: dict[str, Firing] = field(default_factory=dict)  # by neuron
    regions: list[str | None] = field(default_factory=list)  # named regions left, in order; None: it made no spikes
    links: dict[str, list[tuple[int, Site]]] = field(default_factory=dict)
    derived: bool = False  # a weight that no name belongs to was used outside hooked leaves
