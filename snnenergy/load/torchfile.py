"""Files of torch.save: checked as a pickle first, written anew, and only then loaded, always with weights_only=True."""

from __future__ import annotations

import importlib
import io
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from snnenergy.errors import UnsafeModelError, UsageError
from snnenergy.load.allowed import BUILT, STORED, dangerous
from snnenergy.load.archive import Archive
from snnenergy.load.factory import to_install
from snnenergy.load.files import quoted
from snnenergy.load.pickles import Global, Storage, Walk, walk
from snnenergy.load.refusals import check_attributes, check_globals

_ITEM_BYTES = {
    f"torch.{kind}Storage": size
    for size, kinds in {
        1: "Byte Char Bool",
        2: "Half BFloat16 Short",
        4: "Float Int",
        8: "Double Long ComplexFloat",
        16: "ComplexDouble",
    }.items()
    for kind in kinds.split()
} | {"torch.storage.UntypedStorage": 1}
MAX_KEY = 100
MAX_PICKLE_BYTES = 256 * 1024**2
MAX_REPEATED = 2**20
"""Elements the tensors of a file may have beyond those of their storages: buffers saved expanded, but no bomb."""
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, the keys of its storages


def load_archive(archive: Archive, allow_classes: Sequence[str] = ()) -> Any:
    """What a zip of torch.save holds, on the CPU; UnsafeModelError names every global that stands in the way."""
    walked = walk_archive(archive)
    check_archive(archive, walked, allow_classes)
    return _torch_load(archive.rewritten(), walked, archive.where, allow_classes)


def walk_archive(archive: Archive) -> Walk:
    """The walk of the pickle in a zip of torch.save."""
    data = archive.members.get("data.pkl")
    if data is None:
        raise UnsafeModelError(f"{archive.where}: expected what torch.save writes, found a zip of kind {archive.kind}")
    if len(data) > MAX_PICKLE_BYTES:
        raise UnsafeModelError(
            f"{archive.where}: a pickle of {len(data) >> 20} MiB; torch.save keeps weights outside it"
        )
    return walk(data, archive.where)


def check_archive(archive: Archive, walked: Walk, allow_classes: Sequence[str] = ()) -> None:
    """Refuse what the pickle names, and storages and tensors that declare more than the archive holds."""
    check_globals(walked, archive.where, allow_classes)
    for key, size in _sizes(walked, archive.where).items():
        held = len(archive.members.get(f"data/{key}", b""))
        if size > held:
            raise UnsafeModelError(
                f"{archive.where}: storage {key!r} declares {size} bytes and the archive holds {held}"
            )
    _check_tensors(walked, archive.where)


def load_legacy(data: bytes, where: str, allow_classes: Sequence[str] = ()) -> Any:
    """What a file of torch.save before 1.6 holds (five pickles, then raw storages)."""
    walked = walk_legacy(data, where)
    check_legacy(data, walked, where, allow_classes)
    return _torch_load(io.BytesIO(data), walked, where, allow_classes)


def walk_legacy(data: bytes, where: str) -> Walk:
    """The walk of the object among the five pickles, with the globals, calls and storages of all of them: all are loaded."""
    start, walks = 0, []
    for _ in range(_LEGACY_PICKLES):
        walks.append(walk(data, where, start))
        start = walks[-1].end
    model = walks[3]
    model.end = start  # where the raw storages begin
    for other in (w for w in walks if w is not model):
        for target, uses in other.uses.items():
            model.uses.setdefault(target, set()).update(uses)
        model.made.extend(other.made)
        model.storages.extend(other.storages)
    return model


def check_legacy(data: bytes, walked: Walk, where: str, allow_classes: Sequence[str] = ()) -> None:
    """The same refusals for a file whose storages stand at its end."""
    check_globals(walked, where, allow_classes)
    if any(isinstance(pid, tuple) and pid[:1] == ("module",) for pid in walked.storages):
        raise UnsafeModelError(
            f"{where}: a whole module in the format before torch 1.6, which has no safe loader: save `model.state_dict()`"
        )
    by_key = _sizes(walked, where)
    declared = sum(by_key.values()) + 8 * len(by_key)  # each behind a count of 8 bytes
    if declared > len(data) - walked.end:
        raise UnsafeModelError(f"{where}: its storages declare {declared} bytes, the file has {len(data) - walked.end}")
    _check_tensors(walked, where)


def _sizes(walked: Walk, where: str) -> dict[str, int]:
    """Bytes of every storage by key; one of two sizes would be made in the first and read in the other."""
    sizes: dict[str, int] = {}
    for pid in walked.storages:
        key, size = _declared(pid, where)
        if sizes.setdefault(key, size) != size:
            raise UnsafeModelError(f"{where}: storage {key!r} is declared with two sizes")
    return sizes


def _declared(pid: object, where: str) -> tuple[str, int]:
    """(key, bytes) of a storage, from ("storage", type, key, location, elements)."""
    if isinstance(pid, tuple) and len(pid) in (5, 6):
        _, kind, key, location, elements = pid[:5]
        size = _ITEM_BYTES.get(str(kind)) if isinstance(kind, Global) else None
        named = isinstance(key, str) and len(key) <= MAX_KEY and isinstance(location, str)
        if named and size is not None and type(elements) is int and 0 <= elements < 2**48:
            return str(key), elements * size
    raise UnsafeModelError(f"{where}: a storage is described in a way torch.save never does")


def _check_tensors(walked: Walk, where: str) -> None:
    """A tensor may not reach outside its storage, nor all of them repeat theirs without end (strides of zero)."""
    repeated = 0
    for made in walked.made:
        if not (isinstance(made.callee, Global) and made.callee.name.startswith("_rebuild_tensor")):
            continue
        args = made.args if isinstance(made.args, tuple) else ()
        storage = args[0].pid if args and isinstance(args[0], Storage) else None
        if len(args) < 4 or not isinstance(storage, tuple) or not _are_counts(args[1:2], args[2], args[3]):
            raise UnsafeModelError(f"{where}: a tensor is described in a way torch.save never does")
        held, (offset, size, stride) = storage[4], args[1:4]
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if math.prod(size) and last >= held:
            raise UnsafeModelError(
                f"{where}: a tensor of shape {size!r:.80} reaches outside its storage of {held} elements"
            )
        repeated += max(0, math.prod(size) - held)
        if repeated > MAX_REPEATED:
            raise UnsafeModelError(f"{where}: a tensor of shape {size!r:.80} repeats a storage of {held} elements")


def _are_counts(*groups: object) -> bool:
    """Whether all are tuples of non-negative integers, sizes as many as strides."""
    tuples = [g for g in groups if isinstance(g, tuple)]
    numbers = [n for g in tuples for n in g]
    return (
        len(tuples) == len(groups)
        and all(type(n) is int and 0 <= n < 2**48 for n in numbers)
        and len(tuples[-1]) == len(tuples[-2])
    )


def _torch_load(stream: io.BytesIO, walked: Walk, where: str, allow_classes: Sequence[str]) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the frameworks imported, and about pickles of other versions
            classes = _resolved(walked.uses, where, allow_classes)
            check_attributes(walked, classes, where)
            with torch.serialization.safe_globals([(found, name) for name, found in classes.items()]):
                return torch.load(stream, map_location="cpu", weights_only=True)
    except UnsafeModelError:
        raise
    except Exception as error:  # torch raises anything on damaged content; all of it means: unreadable
        raise UnsafeModelError(f"{where}: torch cannot read it: {quoted(error)}") from error


def _resolved(named: Iterable[Global], where: str, allow_classes: Sequence[str]) -> dict[str, Any]:
    """What the file names beyond torch's own list, by name; only its modules are imported."""
    wanted = [str(t) for t in named if str(t) in BUILT or str(t) in STORED or str(t) in allow_classes]
    known = [n for n in wanted if not n.startswith("torch.") or n.startswith(("torch.nn", "torch._C"))]
    return {name: resolve(name, where) for name in known}


def resolve(name: str, where: str) -> Any:
    """Import the module of a dotted name that is on a list, and return the object."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # an installed framework may fail in any way, such as a torchvision of another torch
        raise UnsafeModelError(
            f"{where}: names {name}, which cannot be imported here: {quoted(error)}{to_install(error)}"
        ) from error


def check_allow_classes(names: Sequence[str]) -> None:
    """--allow-class takes importable classes, and none that reaches code or files whatever the user trusts."""
    for name in names:
        module, _, attribute = name.rpartition(".")
        if not module or dangerous(Global(module, attribute)):
            raise UsageError(f"--allow-class {name}: expected a class of your own such as pkg.module.Net")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"--allow-class {name}: cannot be imported: {error}") from error
        if not isinstance(found, type):
            raise UsageError(f"--allow-class {name}: names {type(found).__name__}, not a class")
