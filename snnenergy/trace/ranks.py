"""Many processes, one answer: every rank's Counts are exchanged and added as Python integers, the same sum on every rank.

An all-reduce whose operator is `Counts.merge`: exact whatever the size of a count, with the domains of the union.  It runs
over gloo, in a group of its own where the caller's is another, so it needs no accelerator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from snnenergy.counts import Counts
from snnenergy.errors import RankError, said
from snnenergy.trace.device import known

TIMEOUT_SECONDS = 1800.0
"""How long ranks that are done wait for those that are not."""


@dataclass(frozen=True, slots=True)
class World:
    """Processes that were launched together: the number of this one, from 0, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this rank writes the results; the others write nothing."""
        return self.rank == 0


def sync(counts: Counts, /, *, timeout: float = TIMEOUT_SECONDS) -> Counts:
    """The Counts of the samples of all ranks, on every rank; `counts` itself where torch.distributed is not initialised.

    timeout: seconds to wait for the last rank.  RankError where one is gone or late, CountsError where ranks counted
    different models or the same shard: never a smaller number.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return counts
    first, *others = (Counts.from_dict(part) for part in gathered(counts.to_dict(), timeout=timeout))
    return first.merge(*others)


def gathered(value: Any, *, timeout: float = TIMEOUT_SECONDS) -> list[Any]:
    """What each rank brings (plain values), by rank, on every rank; RankError where one does not come."""
    wait = timedelta(seconds=timeout)
    found: list[Any] = [None] * dist.get_world_size()
    try:
        own = None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo", timeout=wait)
        dist.monitored_barrier(own, timeout=wait)  # names the rank that does not come
        dist.all_gather_object(found, value, group=own)
        if own is not None:
            dist.destroy_process_group(own)
    except RuntimeError as error:
        raise RankError(
            f"rank {dist.get_rank()} of {dist.get_world_size()}: the other ranks did not all bring their counts within "
            f"{timeout:g} s, so there is no total; look for the first error of another rank. ({said(error)})"
        ) from error
    return found


def launched() -> World:
    """The processes that torchrun, or another launcher with its variables, started together."""
    try:
        return World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    except (KeyError, ValueError):
        return World()


def local_device(device: str | None) -> str | None:
    """`cuda` as this process's own card; UsageError where there is no such device."""
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    return None if own is None else str(known(own))


@contextmanager
def joined(world: World, timeout: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """Within, the processes of `world` can exchange values."""
    if world.size == 1 or dist.is_initialized():
        yield
        return
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))
    except (RuntimeError, ValueError) as error:
        raise RankError(
            f"rank {world.rank} of {world.size}: the ranks do not find each other: {said(error)}"
        ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()
