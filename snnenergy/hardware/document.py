"""YAML 1.2 documents with positions: read safely, validated with a pydantic model, every error as `file:line:col: key: ...`.

Hardware profiles, counting conventions and validation workloads are read through here.  A document is plain data: tags,
anchors, aliases (a bomb in a few lines), merge keys and duplicate keys are refused, and the size is capped.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from snnenergy.errors import LISTED, ProfileError, SnnEnergyError, near
from snnenergy.untrusted import regular

MAX_BYTES = 1 << 20
MAX_VALUES = 20_000
MAX_LINE = 100_000
MAX_DEPTH = 32

Path_ = tuple[str | int, ...]
"""Where a value sits in a document: keys and indices from the top."""


class Mark(NamedTuple):
    """A place in a file, counted from one."""

    line: int
    column: int


TOP = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a document: where (`file:line:col`), under which key, and what was expected and found."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key:.200}: {self.message}" if self.key else f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values with the place of each: `marks` of values, `keys` of the keys that name them."""

    path: str
    value: Any
    marks: Mapping[Path_, Mark] = field(default_factory=dict)
    keys: Mapping[Path_, Mark] = field(default_factory=dict)

    def finding(self, location: Iterable[str | int], message: str, *, key: bool = False) -> Finding:
        """A finding at the place of that value (or of its key), or of the nearest place that exists."""
        path: Path_ = ()
        for part in location:  # a location also names union members; those are no keys of the document
            if (*path, part) in self.marks:
                path = (*path, part)
        mark = self.keys.get(path) if key else None
        line, column = mark or self.marks.get(path, Mark(1, 1))
        return Finding(f"{self.path}:{line}:{column}", ".".join(map(str, path)), message)


class DocumentError(Exception):
    """What is wrong with the text itself; `read` turns it into the caller's error."""

    def __init__(self, message: str, mark: Mark = TOP, key: str = "") -> None:
        super().__init__(message)
        self.mark = mark
        self.key = key


def read(path: str | Path, *, error: type[SnnEnergyError] = ProfileError) -> Document:
    """Read one YAML document; raises `error` with `file:line:col` when it cannot be."""
    return parse(text_of(path, error=error), str(path), error=error)


def text_of(path: str | Path, *, error: type[SnnEnergyError] = ProfileError, errors: str = "strict") -> str:
    """The text of a document; raises `error` where it is none, no regular file, or too large."""
    target = Path(path)
    try:
        if regular(target).st_size > MAX_BYTES:
            raise error(f"{target}: larger than {MAX_BYTES >> 10} KiB, which no such file needs")
        return target.read_text(encoding="utf-8", errors=errors)
    except FileNotFoundError:
        raise error(f"{target}: no such file") from None
    except UnicodeDecodeError as cause:
        raise error(f"{target}: not UTF-8 text, so not YAML: byte {cause.start}") from None
    except OSError as cause:
        raise error(f"{target}: cannot be read: {cause.strerror}") from None


def parse(text: str, name: str, *, error: type[SnnEnergyError] = ProfileError) -> Document:
    """Parse the text of one YAML document called `name`."""
    if max(map(len, text.splitlines()), default=0) > MAX_LINE:
        raise error(f"{name}: a line of more than {MAX_LINE} characters")
    try:
        return _Builder(name).build(text)
    except DocumentError as cause:
        raise error(str(Finding(f"{name}:{cause.mark.line}:{cause.mark.column}", cause.key, str(cause)))) from None


class _Builder:
    """Plain values from the event stream of a YAML parser, with every place remembered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: dict[Path_, Mark] = {}
        self.keys: dict[Path_, Mark] = {}

    def build(self, text: str) -> Document:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            events = iter(YAML(typ="safe", pure=True).parse(text))
            value = self._document(events)
        except MarkedYAMLError as cause:
            place = cause.problem_mark or cause.context_mark
            mark = Mark(place.line + 1, place.column + 1) if place else Mark(1, 1)
            raise DocumentError(f"not YAML: {cause.problem or cause.context}", mark) from None
        except (YAMLError, RecursionError) as cause:
            raise DocumentError(f"not YAML: {str(cause).splitlines()[0]:.100}") from None
        return Document(self.name, value, self.marks, self.keys)

    def _document(self, events: Iterator[Any]) -> Any:
        kinds = ("StreamStartEvent", "DocumentStartEvent")
        for expected in kinds:
            if type(next(events)).__name__ != expected:
                raise DocumentError("the file is empty; expected keys and values")
        value = self._node(next(events), events, ())
        next(events)
        if type(next(events)).__name__ != "StreamEndEvent":
            raise DocumentError("more than one document in the file; expected one")
        return value

    def _node(self, event: Any, events: Iterator[Any], path: Path_) -> Any:
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        kind, name = type(event).__name__, ".".join(map(str, path))
        if kind == "AliasEvent" or event.anchor is not None:
            raise DocumentError("anchors and aliases are not accepted; write the value out", mark, name)
        if event.tag is not None:
            raise DocumentError(f"the tag {event.tag!s:.40} is not accepted; expected plain values", mark, name)
        if len(path) > MAX_DEPTH:
            raise DocumentError(f"nested deeper than {MAX_DEPTH}", mark, name)
        if len(self.marks) >= MAX_VALUES:
            raise DocumentError(f"more than {MAX_VALUES} values", mark, name)
        self.marks[path] = mark
        if kind == "ScalarEvent":
            return plain(event.value) if event.style is None else event.value
        if kind == "SequenceStartEvent":
            return list(self._items(events, path))
        return dict(self._pairs(events, path))

    def _items(self, events: Iterator[Any], path: Path_) -> Iterator[Any]:
        index = 0
        while type(event := next(events)).__name__ != "SequenceEndEvent":
            yield self._node(event, events, (*path, index))
            index += 1

    def _pairs(self, events: Iterator[Any], path: Path_) -> Iterator[tuple[str, Any]]:
        while type(event := next(events)).__name__ != "MappingEndEvent":
            mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
            if type(event).__name__ != "ScalarEvent" or event.anchor is not None or event.tag is not None:
                raise DocumentError("expected a plain word as key", mark, ".".join(map(str, path)))
            key: str = event.value
            if (*path, key) in self.keys:
                first = self.keys[(*path, key)]
                raise DocumentError(
                    f"key {key!r:.80} stands twice; first at line {first.line}", mark, ".".join(map(str, (*path, key)))
                )
            self.keys[(*path, key)] = mark
            yield key, self._node(next(events), events, (*path, key))


_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?\Z")


def plain(text: str) -> str | int | float | bool | None:
    """An unquoted YAML 1.2 scalar: `no` is a word, `1e-12` a number.

    >>> plain("no"), plain("1e-12"), plain("~"), plain("0.75 V")
    ('no', 1e-12, None, '0.75 V')
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


Model = TypeVar("Model", bound=BaseModel)


def validate(document: Document, model: type[Model], *, error: type[SnnEnergyError] = ProfileError) -> Model:
    """The document as that model; raises `error` with one line per finding, the first twelve of them."""
    made, found = check(document, model)
    if made is None:
        raise error(sentence(found))
    return made


def sentence(found: list[Finding]) -> str:
    """Findings as one message of at most a screen."""
    lines = [str(f) for f in found[:12]]
    return "\n".join([*lines, f"... and {len(found) - 12} more"] if len(found) > 12 else lines)


def check(document: Document, model: type[Model]) -> tuple[Model | None, list[Finding]]:
    """The document as that model, or None and everything that is wrong with it, in the order of the file."""
    if not isinstance(document.value, dict):
        return None, [document.finding((), f"expected keys and values, found {document.value!r:.40}")]
    try:
        return model.model_validate(document.value), []
    except ValidationError as cause:
        raw = [dict(e) for e in cause.errors(include_url=False)]
        found = [_finding(document, model, e) for e in raw if not _follows(e, raw)]
        return None, list(_listed_once(sorted(dict.fromkeys(found), key=_place)))


def _follows(error: dict[str, Any], others: list[dict[str, Any]]) -> bool:
    """A list counts as too short when its items are wrong; those are told, this is not."""
    size = len(error["loc"])
    return error["type"] == "too_short" and any(o["loc"][:size] == error["loc"] for o in others if o is not error)


def _listed_once(found: Iterable[Finding]) -> Iterator[Finding]:
    """The findings; where the same words could have stood at several places, they are listed at the first."""
    told = set()
    for finding in found:
        message, _, words = finding.message.partition(LISTED)
        yield replace(finding, message=message) if words in told else finding
        told.add(words)


def _place(finding: Finding) -> tuple[int, int]:
    _, line, column = finding.where.rsplit(":", 2)
    return int(line), int(column)


def _finding(document: Document, model: type[BaseModel], raw: dict[str, Any]) -> Finding:
    location, kind, found = raw["loc"], raw["type"], raw["input"]
    if kind == "extra_forbidden":
        return document.finding(
            location, f"unknown key{near(str(location[-1]), _fields(model, location[:-1]))}", key=True
        )
    if kind == "missing":
        return document.finding(location[:-1], f"the key {location[-1]!r} is missing")
    if kind in ("literal_error", "union_tag_invalid"):
        expected = raw["ctx"].get("expected") or raw["ctx"]["expected_tags"]
        words = re.findall(r"'([^']*)'", expected)
        given = raw["ctx"].get("tag", found)
        return document.finding(location, f"expected {expected}, found {given!r:.40}{near(str(given), words)}")
    if kind in ("model_type", "dict_type"):
        return document.finding(
            location, f"expected keys and values, found {'null' if found is None else repr(found)[:40]}"
        )
    message = raw["msg"].removeprefix("Value error, ")
    if kind != "value_error":
        message = f"{message[:1].lower()}{message[1:]}, found {'null' if found is None else repr(found)[:40]}"
    return document.finding(location, message)


def _fields(model: type[BaseModel], location: Iterable[str | int]) -> set[str]:
    """The keys that the model accepts at a location."""
    models = [model]
    for part in location:
        inner = [f.annotation for m in models for name, f in m.model_fields.items() if name == part]
        if inner:  # else an index, the key of a free mapping or the name of a union member: still the same models
            models = [m for annotation in inner for m in _models(annotation)]
        elif isinstance(part, str):
            models = [m for m in models if part in _tags(m)] or models
    return {name for m in models for name in m.model_fields}


def _tags(model: type[BaseModel]) -> set[Any]:
    """The values of a model's own discriminator, if it has one."""
    return {t for f in model.model_fields.values() for t in typing.get_args(f.annotation) if isinstance(t, str)}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in typing.get_args(annotation) for m in _models(a)]
