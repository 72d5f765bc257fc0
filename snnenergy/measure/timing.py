"""How long one run takes: warm, repeated until the median is known to a stated precision."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Run = Callable[[], object]

CONFIDENCE = 0.95
PRECISION = 0.02
"""The confidence interval of the median is to reach no farther than this share of it to either side."""
LEAST = 15
PATIENCE_S = 6.0
"""After so long, the runs made are enough, and the interval says how well they tell the median."""
WARM_RUNS, WARM_S = 3, 0.2


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run: the median, and the interval that holds it with 95 % confidence; whether it is narrow enough."""

    median: float
    low: float
    high: float
    runs: int

    @property
    def precise(self) -> bool:
        return max(self.high - self.median, self.median - self.low) <= PRECISION * self.median


def timed(run: Run, wait: Run, before: Run | None = None, *, patience: float = PATIENCE_S) -> Timing:
    """The time of `run`, from an idle device to an idle device.

    wait: returns when the device has nothing left to do; before: called ahead of each run, and not timed
    """
    warm(run, wait, before)
    seconds: list[float] = []
    began = time.perf_counter()
    while True:
        if before is not None:
            before()
        wait()
        start = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - start)
        if len(seconds) >= LEAST and (time.perf_counter() - began > patience or _enough(seconds)):
            return median_interval(seconds)


def warm(run: Run, wait: Run, before: Run | None = None) -> None:
    """The first runs choose kernels, take memory and fill caches."""
    began, runs = time.perf_counter(), 0
    while runs < WARM_RUNS or time.perf_counter() - began < WARM_S:
        if before is not None:
            before()
        run()
        wait()
        runs += 1


def _enough(seconds: list[float]) -> bool:
    n = len(seconds)
    return n & (n - 1) == 0 and n >= 2 * LEAST and median_interval(seconds).precise  # a sort at 32, 64, 128 ... only


def median_interval(seconds: list[float]) -> Timing:
    """The median with its 95 % interval from order statistics, which asks nothing of the distribution.

    The ranks n/2 -+ 1.96 sqrt(n)/2 enclose the median of any continuous distribution in about 95 of 100 samples.

    >>> median_interval([float(n) for n in range(1, 101)])
    Timing(median=50.5, low=40.0, high=61.0, runs=100)
    """
    ordered, n = sorted(seconds), len(seconds)
    reach = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(n) / 2
    low = max(0, math.floor(n / 2 - reach) - 1)
    high = min(n - 1, math.ceil(n / 2 + reach))
    return Timing(statistics.median(ordered), ordered[low], ordered[high], n)
