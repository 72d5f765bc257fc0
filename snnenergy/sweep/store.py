"""A folder of Counts, one file for each digest, written whole; beside them what failed, which is tried again.

Names are digests, so stores merge by being read together, or by copying their files into one folder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snnenergy import counts_json, whole
from snnenergy.counts import Counts
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = ".failed.json"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a point has no counts: the sentence a command would have ended with, and its exit code."""

    message: str
    exit_code: int = 2


@dataclass(frozen=True, slots=True)
class Store:
    """Folders that are read, in order; the first is written to."""

    folders: tuple[Path, ...]

    @classmethod
    def opened(cls, folders: Sequence[Path]) -> Store:
        """Makes the first folder where it is not there; UsageError where one is no folder."""
        first, *others = folders
        try:
            first.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{first}: cannot be made a store of counts: {error.strerror}") from error
        for folder in others:
            if not folder.is_dir():
                raise UsageError(f"{folder}: no such store; it is a folder that an earlier `snnenergy sweep` wrote")
        return cls(tuple(folders))

    def counts(self, digest: str) -> Counts | None:
        """The counts of a digest; None where they are not there, CountsError where the file is damaged."""
        for folder in self.folders:
            if (file := folder / f"{digest}.json").exists():
                return Counts.load(file)
        return None

    def failure(self, digest: str) -> Failure | None:
        """Why the point failed when it was last tried."""
        for folder in self.folders:
            if (file := folder / f"{digest}{FAILED}").exists():
                return counts_json.plain_record(Failure, counts_json.read(file), str(file))
        return None


def put(folder: Path, digest: str, outcome: Counts | Failure) -> Failure | None:
    """Writes counts, which take the failure of an earlier run away, or a failure; returns it, or that nothing can be written."""
    failed = folder / f"{digest}{FAILED}"
    try:
        if isinstance(outcome, Failure):
            whole.write(failed, json.dumps(asdict(outcome), indent=1) + "\n")
            return outcome
        outcome.save(folder / f"{digest}.json")
        failed.unlink(missing_ok=True)
    except OSError as error:
        return Failure(f"{folder}: cannot be written: {error.strerror}")
    return None
