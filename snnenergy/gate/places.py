"""Lines of a TOML file: tomllib says what a key holds and not where it stands, and an annotation needs the line.

A scan for table headers and keys, line by line.  It only ever says where something is, never what: a place that it finds is
used only if the parsed document has such a key, and a key it missed takes the line of the table around it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snnenergy.errors import UsageError
from snnenergy.hardware.document import Document, Mark, Path_
from snnenergy.untrusted import regular

MAX_BYTES = 1 << 20
MAX_DOTS = 200
_BARE = r"[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*'"
_DOTTED = rf"(?:{_BARE})(?:\s*\.\s*(?:{_BARE}))*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"(\s*)({_DOTTED})\s*=")
_PART = re.compile(_BARE)
_QUOTES = re.compile(r'"""|\'\'\'')


def read(path: Path, table: tuple[str, ...] = (), *, shown: str | None = None) -> Document | None:
    """The document of a TOML file below `table`, with a line for every key; None where the file has no such table.

    shown: the name that errors give the file.  Raises UsageError with `file:line` for what is no TOML.
    """
    name = shown or str(path)
    text = _text(path, name)
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MAX_DOTS:  # a key of thousands of parts: every prefix of it would be kept
            raise UsageError(f"{name}:{number}: a line with more than {MAX_DOTS} dots")
    try:
        value: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        place = f"{name}:{found[1]}:{found[2]}" if found else name
        raise UsageError(f"{place}: not TOML: {str(error).partition(' (at ')[0]}") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists a hundred deep
        raise UsageError(f"{name}: not TOML that settings need: {str(error)[:80]}") from None
    for part in table:
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    marks = {
        path[len(table) :]: mark
        for path, mark in _marks(text).items()
        if path[: len(table)] == table and _holds(value, path[len(table) :])
    }
    return Document(name, value, {(): Mark(1, 1), **marks}, marks)


def _text(path: Path, name: str) -> str:
    try:
        if regular(path).st_size > MAX_BYTES:
            raise UsageError(f"{name}: larger than {MAX_BYTES >> 10} KiB, which no such file needs")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{name}: no such file; `snnenergy init MODEL` writes a first one") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 text: byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None


def _marks(text: str) -> dict[Path_, Mark]:
    """The first place of every table header and key; an array of tables is counted from zero."""
    marks: dict[Path_, Mark] = {}
    sizes: dict[Path_, int] = {}
    table: Path_ = ()
    for number, line in _lines_of_their_own(text):
        if header := _HEADER.match(line):
            table = _resolved(_parts(header[2]), sizes, append=header[1] == "[[")
            for size in range(1, len(table) + 1):
                marks.setdefault(table[:size], Mark(number, 1))
        elif key := _KEY.match(line):
            path = table
            for part in _parts(key[2]):
                path = (*path, part)
                marks.setdefault(path, Mark(number, len(key[1]) + 1))
    return marks


def _lines_of_their_own(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that do not lie inside a multi-line string."""
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not quote:
            yield number, line
        for found in _QUOTES.findall(line):
            if not quote:
                quote = found
            elif found == quote:
                quote = ""


def _parts(dotted: str) -> list[str]:
    return [part[1:-1] if part[0] in "\"'" else part for part in _PART.findall(dotted)]


def _resolved(parts: list[str], sizes: dict[Path_, int], *, append: bool) -> Path_:
    """The path of a header: a name that is an array of tables means its last element."""
    path: Path_ = ()
    for i, part in enumerate(parts):
        path = (*path, part)
        if append and i == len(parts) - 1:
            sizes[path] = sizes.get(path, 0) + 1
        if path in sizes:
            path = (*path, sizes[path] - 1)
    return path


def _holds(value: Any, path: Path_) -> bool:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
