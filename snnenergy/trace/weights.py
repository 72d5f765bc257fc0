"""What is known of weights while they stay as they are: how many are not zero, and whom each input element reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from snnenergy.trace.arrays import host, nonzeros
from snnenergy.trace.events import Fan, Map
from snnenergy.trace.lineage import address, valueless, version
from snnenergy.trace.sites import Fans, Site, segment_fans


class Seen(NamedTuple):
    """A weight as it was: its key (place, shape and version; None for one that is computed) and its non-zero words."""

    key: object
    nonzero: int


class Weights:
    """Caches keyed by a parameter's place and version; a weight that is no parameter, or that learns, is looked at each time."""

    def __init__(self) -> None:
        self.learnt: frozenset[str] = frozenset()
        self._seen: dict[object, Seen] = {}
        # by id of a fan, which is kept beside what was made of it
        self._pruned: dict[tuple[object, int], tuple[Fan, Fan]] = {}
        self._fans: dict[tuple[int, int], tuple[Fan, Fans]] = {}

    def fans(self, site: Site, fan: Fan, *, keep: bool) -> Fans:
        """A fan cut into the segments of a site, the same object for the same fan where it is kept."""
        if not keep:
            return segment_fans(fan, site.segments, site.kind)
        found = self._fans.get((id(site), id(fan)))
        if found is None:
            found = self._fans[id(site), id(fan)] = fan, segment_fans(fan, site.segments, site.kind)
        return found[1]

    def of(self, w: Tensor, name: str | None) -> Seen:
        """How many words of a weight are not zero, and the key under which that holds.

        name: of the parameter it is; the key is None where it is none, or learns: a rule may write past its version
        """
        if name is None or name in self.learnt:
            return Seen(None, _nonzero(w))
        key = (name, w.storage_offset(), w.shape, w.stride(), version(w), address(w))
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = Seen(key, _nonzero(w))
        return found

    def nonzero(self) -> dict[str, int]:
        """Words that are not zero, of the parameters that were looked at, by name."""
        return {seen.key[0]: seen.nonzero for seen in self._seen.values() if isinstance(seen.key, tuple)}

    def effective(self, seen: Seen, dense: Fan, make: Callable[[], Map]) -> Fan:
        """The fan of a weight with zeros, which is `dense` without them; make: its map."""
        if seen.key is None:
            return replace(dense, effective=make())
        found = self._pruned.get((seen.key, id(dense)))
        if found is None:
            found = self._pruned[seen.key, id(dense)] = dense, replace(dense, effective=make())
        return found[1]


def _nonzero(w: Tensor) -> int:
    if valueless(w):
        return w.numel()  # nobody knows: none is taken as zero, and the Counts say so
    return nonzeros(host(w)) if w.device.type == "cpu" else int(torch.count_nonzero(w))
