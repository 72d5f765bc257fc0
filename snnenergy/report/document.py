"""The report as JSON, and back: the twin every other format is made from.

A page embeds the same document, compressed, so that the page alone can be read again.  What is read is untrusted: sizes are
capped before and after decompression, fields are checked one by one, sums are not trusted but the records are plain values.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from snnenergy import counts_json, untrusted
from snnenergy.cost.records import PARTS, Comparison, Estimate, Range
from snnenergy.counts import Counts
from snnenergy.errors import CountsError, ProfileError
from snnenergy.hardware import stored as profiles

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from snnenergy.hardware import Profile

SCHEMA = "snnenergy.report"
SCHEMA_VERSION = 1
MAX_FILE_BYTES = 64 * 2**20
MAX_RECORD_BYTES = 128 * 2**20
ELEMENT = "snnenergy-record"
_EMBEDDED = re.compile(rf'<script id="{ELEMENT}" type="[\w/+.-]+">([A-Za-z0-9+/=\s]*)</script>')

T = TypeVar("T")


def record(comparison: Comparison) -> dict[str, Any]:
    """Plain JSON values: the Counts and profiles whole, every estimate with its layers; SI units, per inference."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "units": {"energy": "J", "latency": "s", "per": "inference"},
        "verdict": comparison.verdict,
        "notes": list(comparison.notes),
        "counts": {name: counts.to_dict() for name, counts in comparison.counts.items()},
        "estimates": [counts_json.encode(e) for e in comparison.estimates],
        "profiles": [profiles.to_dict(chip) for chip in comparison.profiles],
        "accuracy": dict(comparison.accuracy),
    }


def to_json(comparison: Comparison) -> str:
    return json.dumps(record(comparison), indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def embed(comparison: Comparison) -> str:
    """The document compressed, as base64: what stands in a page's record element."""
    text = json.dumps(record(comparison), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode("ascii"), 9)).decode("ascii")


def read(path: str | os.PathLike[str]) -> Comparison:
    """The Comparison of a report JSON, or of a page that embeds one; CountsError says what is wrong with the file."""
    file = Path(path)
    try:
        if untrusted.regular(file).st_size > MAX_FILE_BYTES:
            raise CountsError(f"{file}: larger than {MAX_FILE_BYTES // 2**20} MiB; this is no report")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CountsError(f"{file}: no such file") from error
    except OSError as error:
        raise CountsError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CountsError(f"{file}: not text; expected a report's JSON or HTML") from error
    try:
        return parse(text)
    except CountsError as error:
        raise CountsError(f"{file}: {error}") from error


def parse(text: str) -> Comparison:
    """The Comparison in the text of a report, JSON or HTML."""
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        text = _extract(text)
    try:
        document = untrusted.json(text, _once)
    except (ValueError, RecursionError) as error:
        raise CountsError(f"not a report: {str(error)[:200]}") from error
    return _comparison(document)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; JSON lets a name stand twice, and would keep the last: two models of one name."""
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"the name {twice!r:.80} stands twice in one object")
    return made


PRICE = ("estimates", "profiles")
"""What the JSON of one model holds beside its Counts, in the form of a report."""


def priced(document: object) -> tuple[tuple[Estimate, ...], tuple[Profile, ...]]:
    """What stands beside Counts: their estimates, and the profiles of those; older files hold no profiles, baselines neither."""
    if not isinstance(document, dict):
        raise CountsError("expected an object")
    rows = _typed(document, "estimates", list) if "estimates" in document else []
    return tuple(_estimate(i, row) for i, row in enumerate(rows)), _profiles(document)


def _extract(page: str) -> str:
    found = _EMBEDDED.findall(page)
    if len(found) != 1:
        raise CountsError(f"a page with {len(found)} embedded records; expected one, as `snnenergy` writes it")
    try:
        packed = base64.b64decode("".join(found[0].split()), validate=True)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed, MAX_RECORD_BYTES)
        if unpacker.unconsumed_tail:
            raise CountsError(f"the embedded record unpacks to more than {MAX_RECORD_BYTES // 2**20} MiB")
        if not unpacker.eof:
            raise CountsError("the embedded record is cut short")
        return data.decode("utf-8")
    except (binascii.Error, zlib.error, UnicodeDecodeError) as error:
        raise CountsError(f"the embedded record is damaged: {error}") from error


_FIELDS = ("schema", "schema_version", "units", "verdict", "notes", "counts", "estimates", "profiles", "accuracy")


def _comparison(document: object) -> Comparison:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise CountsError(f"not a report: expected an object whose schema is {SCHEMA!r}")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise CountsError(
            f"report schema_version {document.get('schema_version')!r}: this version of snnenergy reads {SCHEMA_VERSION}"
        )
    if unknown := sorted(set(document) - set(_FIELDS)):
        raise CountsError(f"report: unknown field {unknown[0]!r:.80}")
    counts = {name: _counts(name, value) for name, value in _typed(document, "counts", dict).items()}
    estimates = tuple(_estimate(i, value) for i, value in enumerate(_typed(document, "estimates", list)))
    _check_rows(counts, estimates)
    notes = _typed(document, "notes", list)
    if not all(isinstance(note, str) for note in notes):
        raise CountsError("report.notes: expected a list of strings")
    verdict, chips, shares = _typed(document, "verdict", str), _profiles(document), _accuracy(document, counts)
    return Comparison(counts, estimates, verdict, tuple(notes), chips, shares)


def _profiles(document: Mapping[str, object]) -> tuple[Profile, ...]:
    """Of the chips that priced it; a report written before they were kept has none."""
    rows = _typed(document, "profiles", list) if "profiles" in document else []
    try:
        chips = tuple(profiles.from_dict(row, f"report.profiles[{i}]") for i, row in enumerate(rows))
    except ProfileError as error:
        raise CountsError(str(error)) from error
    names = [chip.name for chip in chips]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CountsError(f"report.profiles: {twice!r} stands there twice")
    return chips


def _accuracy(document: Mapping[str, object], counts: Mapping[str, Counts]) -> dict[str, float]:
    shares = _typed(document, "accuracy", dict) if "accuracy" in document else {}
    for model, share in shares.items():
        if model not in counts or isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise CountsError(f"report.accuracy[{model!r}]: expected a share from 0 to 1 of a model of this report")
    return {model: float(share) for model, share in shares.items()}


def _typed(document: Mapping[str, object], name: str, kind: type[T]) -> T:
    value = document.get(name)
    if not isinstance(value, kind):
        raise CountsError(f"report.{name}: expected a {kind.__name__}, found {type(value).__name__}")
    return value


def _counts(name: str, value: object) -> Counts:
    try:
        return Counts.from_dict(value)
    except CountsError as error:
        raise CountsError(f"report.counts[{name!r}]: {error}") from error


def _estimate(i: int, value: object) -> Estimate:
    where = f"report.estimates[{i}]"
    estimate = counts_json.plain_record(Estimate, value, where)
    options: Mapping[Any, Any] = estimate.options  # what the file held, whatever the field's type says
    if not all(isinstance(item, str) for pair in options.items() for item in pair):
        raise CountsError(f"{where}.options: expected strings")
    for label, found in _ranges(estimate):
        if found is not None and not _ordered(found):
            raise CountsError(
                f"{where}.{label}: expected 0 <= low <= nominal <= high, found {dataclasses.astuple(found)}"
            )
    return estimate


def _ordered(value: Range) -> bool:
    """Corners are summed one by one, so the last bit may stand the other way round."""
    slack = 1e-12 * value.high
    return 0 <= value.low <= value.nominal + slack and value.nominal <= value.high + slack < math.inf


def _ranges(estimate: Estimate) -> list[tuple[str, Range | None]]:
    found: list[tuple[str, Range | None]] = [("energy", estimate.energy), ("latency", estimate.latency)]
    found += [(f"breakdown.{p}", getattr(estimate.breakdown, p)) for p in PARTS]
    return found + [
        (f"layers: {layer.path}: {p}", getattr(layer.breakdown, p)) for layer in estimate.layers for p in PARTS
    ]


def _check_rows(counts: Mapping[str, Counts], estimates: tuple[Estimate, ...]) -> None:
    seen: set[tuple[str, str]] = set()
    for e in estimates:
        if e.model not in counts:
            raise CountsError(f"report.estimates: model {e.model!r} has no counts in this report")
        if (e.model, e.hardware) in seen:
            raise CountsError(f"report.estimates: {e.model!r} on {e.hardware!r} stands there twice")
        seen.add((e.model, e.hardware))
