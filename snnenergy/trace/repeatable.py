"""Counts that come out the same, byte for byte: one thread, seeded generators, and both written into the Counts."""

from __future__ import annotations

import dataclasses
import platform
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnenergy.trace.dataset import Pass
from snnenergy.trace.workload import count_workload

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.load.batches import Batch
    from snnenergy.load.workload import Workload


def count_repeatably(
    work: Workload,
    batches: Iterable[Batch] | None = None,
    *,
    time_axis: int | None = None,
    samples: int | None = None,
    roles: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Counts:
    """`count_workload`, or a whole pass over the batches of a data set, on one thread with every generator at `seed`.

    The seed is a condition of the Counts only where the model draws from a generator: then another seed is another run.
    Threads and the CPU's instruction set are recorded among the versions: kernels of another one may round otherwise, and a
    value at a threshold may flip.
    """

    def run() -> Counts:
        if batches is None:
            return count_workload(work, time_axis=time_axis, samples=samples, roles=roles)
        with Pass(work, time_axis=time_axis, samples=samples, roles=roles) as one:
            for batch in batches:
                one.take(batch)
        return one.counts()

    return _recorded(run, seed)


def count_call(model: torch.nn.Module, *inputs: Any, seed: int = 0, **options: Any) -> Counts:
    """`snnenergy.count` in the same way, without gradients; options as there."""
    from snnenergy.trace import count

    with torch.no_grad():
        return _recorded(lambda: count(model, *inputs, **options), seed)


def _recorded(run: Callable[[], Counts], seed: int) -> Counts:
    with _one_thread(), _seeded(seed):
        before = _generators()
        counts = run()
        drawn = _generators() != before
    cpu = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    versions = {**counts.identity.versions, "threads": "1", "cpu": cpu}
    conditions = counts.conditions
    if drawn and conditions.seed is None:
        conditions = dataclasses.replace(conditions, seed=seed)
    return dataclasses.replace(
        counts, conditions=conditions, identity=dataclasses.replace(counts.identity, versions=versions)
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's, NumPy's and torch's generators at the seed, and afterwards as they were."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  # models use it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the generator that encoders draw from is the global one
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # as above
        torch.set_rng_state(cpu)


def _generators() -> str:
    """What the three generators would draw next."""
    return repr((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))  # noqa: NPY002  # as above
