"""An output never takes the place of a file that the same command reads: not a model, an input, a report, nor a factory's source."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from snnenergy.errors import UsageError

OUTPUTS = ("json", "html", "markdown", "csv", "layers_csv", "latex", "format", "out")
"""Parameters of commands that name what is written; whatever file another one names is read."""
_READ_IN_FOLDERS = (".npy", ".npz", ".yaml")
"""What commands look for in a folder: arrays of a data set, hardware profiles."""


def check(arguments: Mapping[str, Any]) -> None:
    """UsageError before any work where an output of a command is one of its inputs."""
    written = [(name, text) for name in OUTPUTS for text in _texts(arguments.get(name))]
    forms = [
        ("format", part.partition("=")[2]) for name, text in written if name == "format" for part in text.split(",")
    ]
    read = [text for name, value in arguments.items() if name not in OUTPUTS for text in _texts(value)]
    refuse([*(pair for pair in written if pair[0] != "format"), *forms], read)


def refuse(written: Iterable[tuple[str, str | None]], read: Iterable[str | Path | None]) -> None:
    """UsageError where a target, (option, file), is a file that is read; `read`: as users name files, models and loaders."""
    there = [(option, Path(target)) for option, target in written if target and os.path.isfile(target)]
    if not there:
        return
    for text in (str(one) for one in read if one):
        for option, target in there:
            if any(_is(target, file) for file in _files(text)):
                raise UsageError(
                    f"--{option.replace('_', '-')} {target}: this command reads that file ({text}), and would overwrite it; "
                    "name another file"
                )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str | Path):
        yield str(value)


def _files(text: str) -> Iterator[Path]:
    """`FILE`, `NAME=FILE`, `FILE:array`, `chip.yaml@0.75 V`, a list of them, or the source of `pkg.mod:name`."""
    for part in dict.fromkeys((text, *text.split(","))):
        spec = part.rpartition(":")[0]
        names = (part, part.partition("=")[2], spec, part.rpartition("@")[0])
        yield from (Path(name) for name in names if name)
        for folder in ("", *sys.path) if spec else ():
            module = Path(folder, *spec.partition("=")[2 if "=" in spec else 0].split("."))
            yield from (module.with_name(f"{module.name}.py"), module / "__init__.py")


def _is(target: Path, file: Path) -> bool:
    """One file under whatever names; or a file of a folder that is searched for such."""
    try:
        if file.is_dir():
            return target.suffix in _READ_IN_FOLDERS and target.resolve().is_relative_to(file.resolve())
        return target.samefile(file)
    except (OSError, ValueError):  # no such file, or no name of one
        return False
