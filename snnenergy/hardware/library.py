"""Finding, reading and checking hardware profiles: shipped ones by name or alias, users' own by path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from snnenergy.errors import ProfileError, UnknownHardwareError, near
from snnenergy.hardware.contradictions import contradictions
from snnenergy.hardware.document import Document, Finding, check, read, sentence, text_of
from snnenergy.hardware.document import parse as parse_document
from snnenergy.hardware.profile import Profile
from snnenergy.shipped import shipped

StrPath = str | os.PathLike[str]


def load_hardware(name_or_path: StrPath, *, search: Iterable[StrPath] = ()) -> Profile:
    """One chip by name (`loihi`), alias (`h100`), both in small letters or capitals, or path (`my_chip.yaml`).

    search: folders of profiles looked through before the shipped ones.
    Raises UnknownHardwareError with the nearest names, ProfileError with `file:line:col` for a file that is wrong.
    """
    if _is_path(name_or_path):
        return _load(Path(name_or_path))
    name, files = str(name_or_path).lower(), list(_files(search))
    for file in files:
        if file.stem.lower() == name:
            return _load(file)
    for file in files:  # an alias: only files that hold the word at all are parsed
        if name in text_of(file, errors="replace").lower() and (chip := _load(file)).is_called(name):
            return chip
    known = {f.stem for f in files} | {a for f in files for a in _load(f).aliases}
    raise UnknownHardwareError(
        f"no hardware profile {str(name_or_path)!r}{near(name, known)} (`snnenergy hardware list` shows them all)"
    )


def list_hardware(search: Iterable[StrPath] = ()) -> tuple[Profile, ...]:
    """Every profile that can be loaded by name, in order of name."""
    chips: dict[str, Profile] = {}
    for file in _files(search):
        if file.stem not in chips:
            chips[file.stem] = _load(file)
    return tuple(chips[name] for name in sorted(chips))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a profile file as it is written (quantities are texts with a unit), for editors."""
    from snnenergy.hardware.schema import file_schema

    return file_schema(Profile)


def lint(path: StrPath) -> list[Finding]:
    """Everything that is wrong with a profile file; an empty list when it is sound.

    Raises ProfileError only where there is no document to look at: no such file, not YAML.
    """
    _, found = _checked(Path(path))
    return found


def _is_path(name: StrPath) -> bool:
    text = os.fspath(name)
    return not isinstance(name, str) or text.endswith((".yaml", ".yml")) or os.sep in text or "/" in text


def _files(search: Iterable[StrPath]) -> Iterator[Path]:
    for folder in (*map(Path, search), shipped("hardware_profiles")):
        if not folder.is_dir():
            raise ProfileError(f"{folder}: no such folder of hardware profiles")
        yield from sorted(folder.glob("*.yaml"))


def _load(path: Path) -> Profile:
    return _sound(*_checked(path))


def parse(text: str, path: StrPath) -> Profile:
    """The profile in a text that is to stand in a file of that path; ProfileError as for a file."""
    return _sound(*_examined(parse_document(text, os.fspath(path)), Path(path).stem))


def _sound(chip: Profile | None, found: list[Finding]) -> Profile:
    if chip is None or found:
        raise ProfileError(sentence(found))
    return chip


def _checked(path: Path) -> tuple[Profile | None, list[Finding]]:
    return _examined(read(path), path.stem)


def _examined(document: Document, stem: str) -> tuple[Profile | None, list[Finding]]:
    chip, found = check(document, Profile)
    if chip is not None:
        found = list(contradictions(document, chip, stem))
    return chip, found
