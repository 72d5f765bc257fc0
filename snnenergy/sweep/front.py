"""The Pareto front of two costs."""

from __future__ import annotations

from collections.abc import Sequence


def front(costs: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of them no other beats: none is as small in both and smaller in one.  Equal ones stand together.

    >>> front([(1, 5), (2, 3), (3, 3), (4, 1), (1, 5)])
    [True, True, False, True, True]
    """
    kept = set[tuple[float, float]]()
    least = float("inf")
    for first, second in sorted(set(costs)):  # by the first cost: each must do better in the second than all before it
        if second < least:
            kept.add((first, second))
            least = second
    return [cost in kept for cost in costs]
