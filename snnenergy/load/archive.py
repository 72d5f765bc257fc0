"""Zip archives as torch writes them: members stored, under one root folder.  Checked whole before anything looks inside.

Compressed members are TorchScript's source, which nobody here reads: they are named and never unpacked, because a member may
unpack to far more than it declares.

A checked archive is written anew before torch sees it: two readers of a crafted zip may find different members in it
(duplicate names, a local header that contradicts the directory), and a check of one would say nothing about the other.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from snnenergy.errors import UnsafeModelError
from snnenergy.load.files import Kind, quoted

MAX_MEMBERS = 100_000
_SOURCE = re.compile(r"[^/]+/code/.+")  # TorchScript compresses its source, and nothing else is ever compressed
_PART = re.compile(r"[A-Za-z0-9_.@=+ ,()\[\]-]+")
_ROOT = re.compile(r"[^\x00-\x1f\x7f-\x9f\\:]+")  # torch.save calls it like the file, whatever the user calls that


@dataclass(frozen=True)
class Archive:
    """The members of a checked archive by name, the root folder taken off."""

    where: str
    root: str
    members: Mapping[str, bytes] = field(repr=False)

    @property
    def kind(self) -> Kind:
        names = self.members
        if names.get("archive_format") == b"pt2" or "serialized_exported_program.json" in names:
            return Kind.PT2
        if "constants.pkl" in names or any(n.startswith("code/") for n in names):
            return Kind.TORCHSCRIPT
        return Kind.TORCH if "data.pkl" in names else Kind.OTHER

    def rewritten(self, members: Mapping[str, bytes] | None = None) -> io.BytesIO:
        """These members (by default all) as a fresh archive, written by torch's own writer."""
        import torch

        out = io.BytesIO()
        writer = torch._C.PyTorchFileWriter(out)
        for name, content in (self.members if members is None else members).items():
            if name != "version" and not name.startswith(".data/"):  # the writer adds its own
                writer.write_record(name, content, len(content))
        writer.write_end_of_file()
        out.seek(0)
        return out


def open_archive(data: bytes, where: str) -> Archive:
    """The members of a zip, or UnsafeModelError: nothing is unpacked before every declared size was checked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            infos = file.infolist()
            if any(i.filename.endswith(".npy") for i in infos):
                raise UnsafeModelError(f"{where}: expected a model file, found arrays of NumPy: pass it as --input")
            _check(infos, len(data), where)
            contents = {i.filename: b"" if i.compress_type else file.read(i) for i in infos}
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OverflowError,
    ) as error:
        raise UnsafeModelError(f"{where}: damaged or cut short: {quoted(error)}; copy or download it again") from error
    root = _root(list(contents), where)
    cut = len(root) + 1 if root else 0
    return Archive(where, root, {name[cut:]: content for name, content in contents.items()})


def _check(infos: list[zipfile.ZipInfo], size: int, where: str) -> None:
    if len(infos) > MAX_MEMBERS:
        raise UnsafeModelError(f"{where}: {len(infos)} members; a model has no more than {MAX_MEMBERS}")
    for info in infos:
        _check_member(info, where)
    name, times = Counter(i.filename for i in infos).most_common(1)[0] if infos else ("", 1)
    if times > 1:
        raise UnsafeModelError(
            f"{where}: two members are named {name!r:.80}; readers would disagree about which one counts"
        )
    declared = sum(i.file_size for i in infos if i.compress_type == zipfile.ZIP_STORED)
    if declared > size:
        raise UnsafeModelError(
            f"{where}: its members declare {declared} bytes, more than the {size} of the file: a zip bomb"
        )


def _check_member(info: zipfile.ZipInfo, where: str) -> None:
    name = info.filename
    if info.flag_bits & 0x1:
        raise UnsafeModelError(f"{where}: member {name!r:.80} is encrypted with a password; save it without one")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UnsafeModelError(f"{where}: member {name!r:.80} is a symbolic link")
    root, *parts = name.split("/") if "/" in name else ("root", name)
    sound = _ROOT.fullmatch(root) and all(_PART.fullmatch(p) for p in parts)
    if name.endswith("/") or not sound or any(p in (".", "..") for p in (root, *parts)):
        raise UnsafeModelError(f"{where}: member {name!r:.80} has a name that leads outside, or no model has")
    source = _SOURCE.fullmatch(name) is not None and info.compress_type == zipfile.ZIP_DEFLATED
    if info.compress_type != zipfile.ZIP_STORED and not source:
        raise UnsafeModelError(
            f"{where}: member {name!r:.80} is compressed ({info.file_size} bytes declared in {info.compress_size}); torch "
            "writes members uncompressed: save the model anew with torch.save or torch.export.save"
        )


def _root(names: list[str], where: str) -> str:
    """The one folder all members lie in; "" for archives of the oldest exports, which have none."""
    roots = {n.split("/")[0] for n in names}
    if len(roots) == 1 and all("/" in n for n in names):
        return roots.pop()
    if names and not any("/" in n and not n.startswith("extra_files/") for n in names):
        return ""
    raise UnsafeModelError(f"{where}: a zip, but no model: members {', '.join(map(repr, sorted(names)[:4]))}")
