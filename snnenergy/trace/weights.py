"""What is known of weights while they stay as they are: how many are not zero, and whom each input element reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnenergy.trace.fanout import ConvShape
from snnenergy.trace.lineage import Lineage, version
from snnenergy.trace.sites import Fans, Site, segment_fans
from snnenergy.trace.streams import Array, Fan, host


class Weights:
    """Caches keyed by a parameter's place and version; a weight that is no parameter is looked at each time."""

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage
        self._known: dict[object, Any] = {}
        self._fans: dict[object, Fans] = {}

    def fans(self, site: Site, key: object, make: Callable[[], Fan], *, keep: bool = True) -> Fans:
        if not keep:
            return segment_fans(make(), site.segments, site.kind)
        full = (id(site), key)
        found = self._fans.get(full)
        if found is None:
            found = self._fans[full] = segment_fans(make(), site.segments, site.kind)
        return found

    def nonzero(self, w: Tensor) -> int:
        key = self._weight_key(w)
        found = self._known.get(key) if key is not None else None
        if found is None:
            found = int(np.count_nonzero(host(w) != 0)) if w.device.type == "cpu" else int(torch.count_nonzero(w))
            if key is not None:
                self._known[key] = found
        count: int = found
        return count

    def effective_map(self, w: Tensor, shape: ConvShape | None, make: Callable[[], Array]) -> Array:
        key = self._weight_key(w)
        if key is None:
            return make()
        found = self._known.get((key, shape))
        if found is None:
            found = self._known[(key, shape)] = make()
        kept: Array = found
        return kept

    def _weight_key(self, w: Tensor) -> object:
        name = self._lineage.name_of(w)
        if name is None:
            return None
        return (name, w.storage_offset(), tuple(w.shape), w.stride(), version(w), w.data_ptr())
