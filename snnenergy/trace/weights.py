"""What is known of weights while they stay as they are: how many are not zero, and whom each input element reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from snnenergy.trace.arrays import host, nonzeros
from snnenergy.trace.events import Fan, Map
from snnenergy.trace.fanout import ConvShape
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
        self._maps: dict[object, Map] = {}
        self._fans: dict[object, Fans] = {}

    def fans(self, site: Site, key: object, make: Callable[[], Fan], *, keep: bool = True) -> Fans:
        if not keep:
            return segment_fans(make(), site.segments, site.kind)
        full = (id(site), key)
        found = self._fans.get(full)
        if found is None:
            found = self._fans[full] = segment_fans(make(), site.segments, site.kind)
        return found

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

    def effective_map(self, seen: Seen, shape: ConvShape | None, make: Callable[[], Map]) -> Map:
        if seen.key is None:
            return make()
        found = self._maps.get((seen.key, shape))
        if found is None:
            found = self._maps[(seen.key, shape)] = make()
        return found


def _nonzero(w: Tensor) -> int:
    if valueless(w):
        return w.numel()  # nobody knows: none is taken as zero, and the Counts say so
    return nonzeros(host(w)) if w.device.type == "cpu" else int(torch.count_nonzero(w))
