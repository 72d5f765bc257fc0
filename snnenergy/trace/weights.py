"""What is known of weights while they stay as they are: how many are not zero, and whom each input element reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnenergy.trace.arrays import host, nonzeros
from snnenergy.trace.events import Fan, Map
from snnenergy.trace.sites import Fans, Site, segment_fans
from snnenergy.trace.tensors import standing, valueless


class Seen(NamedTuple):
    """A weight as it was: where it is, what it was there (None: it is computed, or nobody is trusted), its non-zero words."""

    place: Any
    state: object
    nonzero: int


class Weights:
    """What is known of each parameter while its place and version stay; of any other weight nothing is.

    trusts: False, every weight is looked at each time, as an edit through `.data` leaves no version behind
    """

    def __init__(self, *, trusts: bool = True) -> None:
        self.learnt: frozenset[str] = frozenset()
        self._trusts = trusts
        self._seen: dict[Any, Seen] = {}  # by place
        self._pruned: dict[
            tuple[Any, int], tuple[object, Fan, Fan]
        ] = {}  # by place and id of the dense fan: state, both fans
        self._fans: dict[tuple[int, int], tuple[Fan, Fans]] = {}  # by ids of site and fan

    def fans(self, site: Site, fan: Fan, *, keep: bool) -> Fans:
        """A fan cut into the segments of a site, the same object for the same fan where it is kept."""
        if not keep:
            return segment_fans(fan, site.segments, site.kind)
        found = self._fans.get((id(site), id(fan)))
        if found is None:
            found = self._fans[id(site), id(fan)] = fan, segment_fans(fan, site.segments, site.kind)
        return found[1]

    def of(self, w: Tensor, name: str | None, renewed: int = 0) -> Seen:
        """How many words of a weight are not zero, and under which state that holds.

        name: of the parameter it is; the state is None where it is none, or learns: a rule may write past its version
        renewed: how often another tensor took that name, which may lie where the one before did
        """
        if name is None or name in self.learnt:
            return Seen(None, None, _nonzero(w))
        place = (name, w.storage_offset(), w.shape, w.stride())
        state = (*standing(w), renewed) if self._trusts else None
        found = self._seen.get(place)
        if found is None or state is None or found.state != state:
            found = self._seen[place] = Seen(place, state, _nonzero(w))
        return found

    def nonzero(self) -> dict[str, int]:
        """Words that are not zero, of the parameters that were looked at, by name."""
        return {place[0]: seen.nonzero for place, seen in self._seen.items()}

    def effective(self, seen: Seen, dense: Fan, make: Callable[[], Map]) -> Fan:
        """The fan of a weight with zeros, which is `dense` without them; make: its map."""
        if seen.state is None:
            return replace(dense, effective=make())
        key = (seen.place, id(dense))
        state, _, fan = self._pruned.get(key, (None, dense, None))
        if fan is None or state != seen.state:
            self._forget(fan)
            fan = replace(dense, effective=make())
            self._pruned[key] = seen.state, dense, fan
        return fan

    def _forget(self, fan: Fan | None) -> None:
        """The weight has changed: nothing will be read by its fan again."""
        for key in [key for key in self._fans if key[1] == id(fan)]:
            del self._fans[key]


def _nonzero(w: Tensor) -> int:
    if valueless(w):
        return w.numel()  # nobody knows: none is taken as zero, and the Counts say so
    return nonzeros(host(w)) if w.device.type == "cpu" else int(torch.count_nonzero(w))
