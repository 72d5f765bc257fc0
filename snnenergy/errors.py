"""Every error a user can meet, as one tree; the command line turns each into one sentence and its exit code.

SnnEnergyError                  base; never raised itself
├── UsageError            2     arguments, configuration, inputs that do not fit, the model's forward raised
│   ├── InputError        2     an input file or shape that cannot be used
│   ├── ForwardError      2     the model's own forward raised; the cause is chained
│   ├── TimeAxisError     2     time axis or sample axis cannot be known; says what to pass
│   ├── ActivityError    2     the counts are of shapes, and what was asked needs the values that arrived
│   ├── CountsError       2     a Counts file that is not one, or parts that do not add up
│   ├── RankError         2     a process of a distributed run is gone or late: there is no total
│   └── ProfileError      2     a hardware profile: file:line:col: key: what was found, what was expected
│       └── UnknownHardwareError 2   no such chip; says the nearest names
├── UnsafeModelError      3     a model file refused: unsafe or unreadable
├── BudgetError           1     a budget is broken or a strict fit failed
├── CoverageError         4     less was counted than was demanded
└── NotComparableError    5     baseline missing, or counts of different conditions
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar


class SnnEnergyError(Exception):
    """Base of the tree: the message says where, what was found, what to do."""

    exit_code: ClassVar[int] = 2


class UsageError(SnnEnergyError):
    """Arguments, configuration or inputs that do not fit."""


class InputError(UsageError):
    """An input file or an input shape that cannot be used."""


class ForwardError(UsageError):
    """The model's own forward raised; `__cause__` holds what it raised."""


class TimeAxisError(UsageError):
    """Which axis is time, or how many samples ran, cannot be known; the message says what to pass."""


class ActivityError(UsageError):
    """Counts made from shapes alone were asked what only values can tell; the message says how to assume rates."""


class CountsError(UsageError):
    """A Counts file that is not one, or counts that do not belong together."""


class RankError(UsageError):
    """A process of a distributed run failed, is gone or came too late: there is no total."""


class ProfileError(UsageError):
    """A hardware profile that cannot be read: `file:line:col: key: expected ..., found ...`."""


class UnknownHardwareError(ProfileError):
    """No hardware profile of that name."""


class UnsafeModelError(SnnEnergyError):
    """A model file that is unsafe to load, or unreadable."""

    exit_code = 3


class BudgetError(SnnEnergyError):
    """A budget is broken, or a strict fit failed."""

    exit_code = 1


class CoverageError(SnnEnergyError):
    """Less of the model was counted than was demanded."""

    exit_code = 4


class NotComparableError(SnnEnergyError):
    """The baseline is missing, or the two sides ran under different conditions."""

    exit_code = 5


def said(error: BaseException, most: int = 300) -> str:
    """What an exception says, on one line of at most so many characters."""
    return " ".join(str(error).split())[:most]


def few(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


LISTED = "; expected one of "
"""What stands before a list of known words."""


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known word is close, else the known words, else nothing."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"{LISTED}{', '.join(words)}" if 0 < len(words) <= 24 else ""
