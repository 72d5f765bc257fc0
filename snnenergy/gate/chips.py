"""The chips a set of budgets needs, and the estimates on them, each worked out once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from snnenergy.errors import UsageError
from snnenergy.hardware import Profile, load_hardware

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts
    from snnenergy.gate.settings import Placed

Chips = Mapping[str, Profile]
"""Profiles by the words the settings use: names, aliases and paths."""


def is_glob(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def is_file(word: str) -> bool:
    """Whether a chip is a profile of the project's own."""
    return word.endswith((".yaml", ".yml")) or "/" in word or os.sep in word


def needed(hardware: Iterable[str], budgets: Iterable[Placed]) -> list[str]:
    """The chips that are named, in order: the list, then those that only a budget names."""
    plain = [p.budget.match.chip for p in budgets if p.budget.row.chip and not is_glob(p.budget.match.chip)]
    return list(dict.fromkeys([*hardware, *plain]))


def load(words: Iterable[str], folder: Path) -> dict[str, Profile]:
    """Paths are relative to the folder of the settings."""
    return {word: load_hardware(folder / word if is_file(word) else word) for word in words}


def matches(placed: Placed, word: str, chip: Profile) -> bool:
    """Whether a budget holds on a chip, by the word of the settings or by its name."""
    wanted = placed.budget.match.chip
    return word == wanted or fnmatchcase(word, wanted) or fnmatchcase(chip.name, wanted)


def matching(placed: Placed, chips: Chips) -> list[Profile | None]:
    """The chips of a budget: [None] where its metric needs none; UsageError where it matches none."""
    if not placed.budget.row.chip:
        return [None]
    wanted = placed.budget.match.chip
    found = {chip.name: chip for word, chip in chips.items() if matches(placed, word, chip)}
    if not found:
        there = f"there are {', '.join(chips)}" if chips else 'name one in match.chip, or list `hardware = ["loihi"]`'
        raise UsageError(f"{placed.place}: match.chip {wanted!r} matches no chip; {there}")
    return list(found.values())


class Prices:
    """Estimates of counts on chips; asked twice, worked out once.

    options: how inferences run, by chip, as the options of an estimate say it
    """

    def __init__(self, options: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._options = options or {}
        self._made: dict[tuple[int, int], tuple[Counts, Profile, Estimate]] = {}

    def of(self, counts: Counts, chip: Profile) -> Estimate:
        key = (id(counts), id(chip))
        if key not in self._made:
            self._made[key] = (counts, chip, self._priced(counts, chip))  # held, so that no id is used again
        return self._made[key][2]

    def _priced(self, counts: Counts, chip: Profile) -> Estimate:
        from snnenergy.cost.price import again  # without the validated band, which no budget reads

        return again(counts, chip, self._options.get(chip.name, {}))
