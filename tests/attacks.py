"""Crafted model files.  Every one tries to leave a canary file behind; a loader that lets it has run what the file holds."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits"


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.how = (function, arguments)

    def __reduce__(self) -> Any:
        return self.how


def sings(canary: Path) -> Calls:
    """An object whose unpickling writes the canary."""
    return Calls(os.system, f"touch '{canary}'")


def evaluates(canary: Path) -> Calls:
    return Calls(builtins.eval, f"open({str(canary)!r}, 'w').close()")


def reaches(canary: Path) -> Calls:
    """`getattr(__import__('os'), 'system')(...)`, with no name of `os` in the pickle."""
    call = pickle.dumps(f"touch '{canary}'", 2)[2:-1]
    module = b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(X\x02\x00\x00\x00ostRX\x06\x00\x00\x00systemtR"
    return Calls(pickle.loads, b"\x80\x02" + module + b"(" + call + b"tR.")


def torch_bytes(value: Any, *, legacy: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def members_of(data: bytes) -> dict[str, bytes]:
    """Members without the root folder and without what torch's writer adds by itself."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        named = {n.split("/", 1)[1]: file.read(n) for n in file.namelist()}
    return {n: c for n, c in named.items() if n != "version" and not n.startswith(".data/")}


def archive(members: dict[str, bytes]) -> bytes:
    """A zip as torch writes it."""
    out = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(out)
    for name, content in members.items():
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return out.getvalue()


def plain_zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip as Python writes it, names as given."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def with_pickle(body: bytes, **members: bytes) -> bytes:
    """A torch.save archive whose data.pkl is `body`."""
    return archive({"data.pkl": body, "byteorder": b"little", **members})


def pt2(edit: Callable[[dict[str, Any]], None] | None = None, members: dict[str, bytes] | None = None) -> bytes:
    """A good exported program, its JSON edited in place, members replaced or added."""
    held = members_of((DIGITS / "digits_ann.pt2").read_bytes())
    if edit is not None:
        document = json.loads(held["models/model.json"])
        edit(document)
        held["models/model.json"] = json.dumps(document).encode()
    return archive(held | (members or {}))


def everywhere(document: Any, change: Callable[[dict[str, Any]], None]) -> None:
    """Apply `change` to every object of a JSON document."""
    todo = [document]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            change(item)
        todo += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
