"""The committed baseline: a folder with the Counts of each model, `<model>.json`; counts only, never a price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from snnenergy import whole
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from snnenergy.counts import Counts

SUFFIX = ".json"


def file_of(folder: Path, model: str) -> Path:
    """Where the baseline of a model lies; UsageError for a name that is no file name."""
    from snnenergy.gate.settings import check_name

    try:
        check_name(model)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return folder / f"{model}{SUFFIX}"


def read(folder: Path, models: Iterable[str]) -> dict[str, Counts]:
    """The baselines that are there; CountsError for one that cannot be read."""
    from snnenergy.counts import Counts

    files = {model: file_of(folder, model) for model in models}
    return {model: Counts.load(file) for model, file in files.items() if file.is_file()}


def strays(folder: Path, models: Iterable[str]) -> list[Path]:
    """Baselines of models that are no more."""
    known = {file_of(folder, model).name for model in models}
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if file.name not in known)


def write(folder: Path, counted: Mapping[str, Counts]) -> list[Path]:
    """Writes the Counts of each model, each file whole or not at all."""
    files = {file_of(folder, model): counts for model, counts in counted.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, counts in files.items():
            whole.write(file, counts.to_json())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
    return list(files)
