"""Exported programs (.pt2): every member checked, the archive written anew without anything that could run, then loaded.

`torch.export.load` of torch 2.13 would run what a crafted file holds in five places: sample inputs, pickled weights and
constants (each falls back to, or starts with, plain unpickling), custom objects, symbolic sizes and guards (evaluated as
Python), and argument names (they become source).  Here the pickles are read under weights_only and saved again, the JSON is
copied through a table of rules, custom objects and compiled code are refused, and torch sees only the copy.
"""

from __future__ import annotations

import io
import json
import logging
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.errors import UnsafeModelError
from snnenergy.load.archive import Archive, open_archive
from snnenergy.load.files import quoted
from snnenergy.load.pt2_schema import clean_payload, clean_program
from snnenergy.load.torchfile import MAX_REPEATED, load_archive

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
TABLES = {WEIGHTS: "data/weights/model_weights_config.json", CONSTANTS: "data/constants/model_constants_config.json"}
MAX_EXAMPLES, MAX_EXAMPLE_DEPTH = 10_000, 20
_FIXED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
_KNOWN = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt|data/weights/(weight_\d+|model_weights_config\.json)|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)|archive_format|archive_version|byteorder|version|"
    r"\.data/(version|serialization_id)|\.format_version|\.storage_alignment|extra/.+"
)
_REFUSED = (
    (re.compile(r".*\.(so|dll|dylib|o|cpp|cubin|py|pyc)$|data/aotinductor/.*"), "compiled code or source"),
    (re.compile(r"data/constants/(custom_obj_|opaque_obj_).*"), "a custom object, which is unpickled on load"),
    (
        re.compile(r"data/(weights|constants)/model\.pt"),
        "weights in the pickled format of older torch; export it again",
    ),
    (re.compile(r"models/.*"), "a second program; expected one, named model"),
)


@dataclass(frozen=True)
class Checked:
    """A .pt2 whose every part passed: the clean program, and the members torch will see."""

    where: str
    program: Mapping[str, Any]
    members: Mapping[str, bytes]
    examples: tuple[tuple[Any, ...], dict[str, Any]] | None


def check_archive(archive: Archive) -> Checked:
    """Check a .pt2 whole; UnsafeModelError names the member or the field that is refused."""
    where, members = archive.where, archive.members
    if "serialized_exported_program.json" in members:
        raise UnsafeModelError(
            f"{where}: exported by torch 2.7 or older, in a format that is unpickled; export it again"
        )
    for member in members:
        _check_member(member, where)
    for member, expected in _FIXED.items():
        if members.get(member, expected) != expected:
            raise UnsafeModelError(f"{where}: {member} is {members[member]!r:.40}, expected {expected!r}")
    if MODEL not in members:
        raise UnsafeModelError(f"{where}: holds no {MODEL}: a damaged .pt2")
    clean = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
    program = clean_program(members[MODEL], where)
    _check_version(program, where)
    clean[MODEL] = json.dumps(program).encode()
    for folder in (WEIGHTS, CONSTANTS):
        clean |= _tensors(archive, folder)
    examples = _examples(members.get(SAMPLES, b""), where)
    clean[SAMPLES] = b"" if examples is None else _saved(examples)
    return Checked(where, program, clean, examples)


def load_checked(checked: Checked, archive: Archive) -> ExportedProgram:
    """The exported program, loaded by torch from the clean copy."""
    import torch

    try:
        with _quiet():
            program = torch.export.load(archive.rewritten(checked.members))
    except Exception as error:  # torch raises anything on a damaged program; all of it means: unreadable
        raise UnsafeModelError(f"{checked.where}: torch cannot rebuild the program: {quoted(error)}") from error
    return program


def module_of(program: ExportedProgram, where: str) -> Any:
    """The program as a module (a GraphModule whose nodes keep `nn_module_stack`)."""
    try:
        with _quiet():
            return program.module()
    except Exception as error:  # torch generates code from the checked program; a damaged one fails anyhow
        raise UnsafeModelError(f"{where}: torch cannot build the module: {quoted(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Neither torch's warnings nor its log lines: they quote what the file holds, and our error says what matters."""
    loggers = [
        logging.getLogger(n)
        for n in ("torch.export", "torch._export.serde.serialize", "torch.export.pt2_archive._package")
    ]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _check_version(program: Mapping[str, Any], where: str) -> None:
    from torch._export.serde.schema import SCHEMA_VERSION

    major = program["schema_version"].get("major")
    if major != SCHEMA_VERSION[0]:
        by = program.get("torch_version", "another version")
        raise UnsafeModelError(
            f"{where}: exported by torch {by}, schema version {major}; the installed torch reads {SCHEMA_VERSION[0]}: "
            "export it again with this torch"
        )


def _check_member(member: str, where: str) -> None:
    if _KNOWN.fullmatch(member):
        return
    for pattern, words in _REFUSED:
        if pattern.fullmatch(member):
            raise UnsafeModelError(f"{where}: refused: member {member!r:.80} is {words}")
    raise UnsafeModelError(f"{where}: refused: member {member!r:.80} is not one torch.export.save writes")


def _tensors(archive: Archive, folder: str) -> dict[str, bytes]:
    """The table of a folder and the raw tensors it names, each no larger than its member."""
    where, table = archive.where, TABLES[folder]
    if table not in archive.members:
        raise UnsafeModelError(f"{where}: holds no {table}: a damaged .pt2")
    config = clean_payload(archive.members[table], where)
    out = {table: json.dumps(config).encode()}
    for name, entry in config.get("config", {}).items():
        member = folder + str(entry.get("path_name"))
        if entry.get("use_pickle") is not False:
            raise UnsafeModelError(f"{where}: refused: {name!r:.80} is pickled; torch would run what the pickle holds")
        if member not in archive.members or entry.get("tensor_meta") is None:
            raise UnsafeModelError(f"{where}: {name!r:.80} names {member!r:.80}, which the archive does not hold")
        sizes = [size.get("as_int", 0) for size in entry["tensor_meta"]["sizes"]]
        if math.prod(sizes) > len(archive.members[member]) + MAX_REPEATED:
            raise UnsafeModelError(
                f"{where}: {name!r:.80} of size {sizes!r:.80} repeats the {len(archive.members[member])} bytes it has"
            )
        out[member] = archive.members[member]
    return out


def _examples(content: bytes, where: str) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The example inputs, read under weights_only: (args, kwargs) of tensors and plain values."""
    if not content:
        return None
    inner = f"{where}: sample_inputs"
    value = load_archive(open_archive(content, inner))
    if not (
        isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], tuple) and isinstance(value[1], dict)
    ):
        raise UnsafeModelError(f"{inner}: expected (args, kwargs), found {type(value).__name__}")
    _check_plain(value, inner)
    return value


def _check_plain(value: object, where: str) -> None:
    """Only tensors and plain values, in plain containers, none of which holds itself: torch would walk it for ever."""
    import torch

    plain = (torch.Tensor, torch.dtype, torch.device, int, float, complex, str, type(None))
    todo, left = [(value, 0)], MAX_EXAMPLES
    while todo:
        item, depth = todo.pop()
        left -= 1
        if left < 0 or depth > MAX_EXAMPLE_DEPTH:
            raise UnsafeModelError(
                f"{where}: more than {MAX_EXAMPLES} values, or nested deeper than {MAX_EXAMPLE_DEPTH}"
            )
        if isinstance(item, dict) and all(isinstance(key, str | int) for key in item):
            todo += [(part, depth + 1) for part in item.values()]
        elif isinstance(item, tuple | list):
            todo += [(part, depth + 1) for part in item]
        elif not isinstance(item, plain):
            raise UnsafeModelError(f"{where}: expected tensors and plain values, found {type(item).__name__}")


def _saved(value: object) -> bytes:
    import torch

    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()
