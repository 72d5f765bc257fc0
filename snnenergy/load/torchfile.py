"""Files of torch.save: checked as a pickle first, written anew, and only then loaded, always with weights_only=True."""

from __future__ import annotations

import importlib
import io
import math
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from snnenergy.errors import UnsafeModelError, UsageError
from snnenergy.load.allowed import BUILT, CALLED, STORED, Verdict, dangerous, judge
from snnenergy.load.archive import Archive
from snnenergy.load.files import said
from snnenergy.load.pickles import Global, Made, Storage, Walk, walk

if TYPE_CHECKING:
    import torch

_ITEM_BYTES = {
    "DoubleStorage": 8,
    "LongStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "FloatStorage": 4,
    "IntStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
}
MAX_PICKLE_BYTES = 256 * 1024**2
MAX_MODULES, MAX_DEPTH = 100_000, 100
MAX_REPEATED = 2**20
"""Elements a tensor may have beyond those of its storage: a buffer saved expanded, but no bomb."""
_KEEP_FUNCTIONS = {"snntorch": "snnTorch", "norse": "Norse"}
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, the keys of its storages


def load_archive(archive: Archive, allow_classes: Sequence[str] = ()) -> Any:
    """What a zip of torch.save holds, on the CPU; UnsafeModelError names every global that stands in the way."""
    walked = walk_archive(archive)
    check_archive(archive, walked, allow_classes)
    return _torch_load(archive.rewritten(), walked, archive.where, allow_classes)


def walk_archive(archive: Archive) -> Walk:
    """The walk of the pickle in a zip of torch.save."""
    data = archive.members["data.pkl"]
    if len(data) > MAX_PICKLE_BYTES:
        raise UnsafeModelError(
            f"{archive.where}: a pickle of {len(data) >> 20} MiB; torch.save keeps weights outside it"
        )
    return walk(data, archive.where)


def check_archive(archive: Archive, walked: Walk, allow_classes: Sequence[str] = ()) -> None:
    """Refuse what the pickle names, and storages and tensors that declare more than the archive holds."""
    check_globals(walked, archive.where, allow_classes)
    for pid in walked.storages:
        declared = _declared_bytes(pid, archive.where)
        key = pid[2] if isinstance(pid, tuple) else None
        held = len(archive.members.get(f"data/{key}", b""))
        if declared > held:
            raise UnsafeModelError(
                f"{archive.where}: storage {key!r:.40} declares {declared} bytes and the archive holds {held}"
            )
    _check_tensors(walked, archive.where)


def load_legacy(data: bytes, where: str, allow_classes: Sequence[str] = ()) -> Any:
    """What a file of torch.save before 1.6 holds (five pickles, then raw storages)."""
    walked = walk_legacy(data, where)
    check_legacy(data, walked, where, allow_classes)
    return _torch_load(io.BytesIO(data), walked, where, allow_classes)


def walk_legacy(data: bytes, where: str) -> Walk:
    """The walk of the object among the five pickles, with the globals of all of them."""
    start, walks = 0, []
    for _ in range(_LEGACY_PICKLES):
        walks.append(walk(data, where, start))
        start = walks[-1].end
    model = walks[3]
    model.end = start  # where the raw storages begin
    for other in walks:
        for target, uses in other.uses.items():
            model.uses.setdefault(target, set()).update(uses)
    return model


def check_legacy(data: bytes, walked: Walk, where: str, allow_classes: Sequence[str] = ()) -> None:
    """The same refusals for a file whose storages stand at its end."""
    check_globals(walked, where, allow_classes)
    if any(isinstance(pid, tuple) and pid[:1] == ("module",) for pid in walked.storages):
        raise UnsafeModelError(
            f"{where}: a whole module in the format before torch 1.6, which has no safe loader: save `model.state_dict()`"
        )
    by_key = {repr(pid[2:3])[:200]: _declared_bytes(pid, where) for pid in walked.storages if isinstance(pid, tuple)}
    declared = sum(by_key.values()) + 8 * len(by_key)  # each behind a count of 8 bytes
    if declared > len(data) - walked.end:
        raise UnsafeModelError(f"{where}: its storages declare {declared} bytes, the file has {len(data) - walked.end}")
    _check_tensors(walked, where)


def check_globals(walked: Walk, where: str, allow_classes: Sequence[str] = ()) -> None:
    """Refuse a pickle that names what is on no list, or uses a listed name in another way than its list allows."""
    extra = frozenset(allow_classes)
    verdicts = {target: judge(target, uses, extra) for target, uses in walked.uses.items()}
    bad = [t for t, v in verdicts.items() if v is Verdict.DANGEROUS]
    unknown = [t for t, v in verdicts.items() if v is Verdict.UNKNOWN]
    if bad:
        raise UnsafeModelError(
            f"{where}: refused: the pickle would import {_names(bad)}, which can run code; do not load this file anywhere"
            f"{_framework_hint(bad, walked)}"
        )
    if unknown:
        raise UnsafeModelError(
            f"{where}: refused: the pickle names {_names(unknown)}, not on the list of classes known to be safe. Save "
            "`model.state_dict()` and pass --factory pkg.mod:fn, or export a .pt2; if you trust the module that defines a "
            "class, --allow-class pkg.Cls imports it"
        )
    _check_states(walked, where)
    _check_backends(walked, where)


def _names(targets: Sequence[Global]) -> str:
    shown = ", ".join(repr(str(t))[:80] for t in targets[:4])
    return shown + (f" and {len(targets) - 4} more" if len(targets) > 4 else "")


def _framework_hint(bad: Sequence[Global], walked: Walk) -> str:
    """What to do with a file that names nothing bad but the `getattr` by which a neuron keeps its surrogate."""
    found = next((name for name in _KEEP_FUNCTIONS if any(t.module.startswith(f"{name}.") for t in walked.uses)), None)
    if found is None or any(t.name != "getattr" for t in bad):
        return ""
    return f". {_KEEP_FUNCTIONS[found]} neurons keep their surrogate as a function: save `model.state_dict()` and pass --factory pkg.mod:fn"


def _declared_bytes(pid: object, where: str) -> int:
    if not (isinstance(pid, tuple) and len(pid) >= 5 and isinstance(pid[4], int)):
        raise UnsafeModelError(f"{where}: a storage is described in a way torch.save never does")
    kind = pid[1].name if isinstance(pid[1], Global) else ""
    if pid[4] < 0:
        raise UnsafeModelError(f"{where}: a storage of {pid[4]} elements")
    return int(pid[4]) * _ITEM_BYTES.get(kind, 1)


def _check_tensors(walked: Walk, where: str) -> None:
    """A tensor may not reach outside its storage, nor repeat a small one without end (a stride of zero)."""
    for made in walked.made:
        if not (isinstance(made.callee, Global) and made.callee.name.startswith("_rebuild_tensor")):
            continue
        args = made.args if isinstance(made.args, tuple) else ()
        storage = args[0].pid if args and isinstance(args[0], Storage) else None
        held = storage[4] if isinstance(storage, tuple) and len(storage) > 4 else None
        if len(args) < 4 or not isinstance(held, int) or not _are_counts(args[1:2], args[2], args[3]):
            raise UnsafeModelError(f"{where}: a tensor is described in a way torch.save never does")
        offset, size, stride = args[1:4]
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if math.prod(size) and last >= held:
            raise UnsafeModelError(
                f"{where}: a tensor of shape {size!r:.80} reaches outside its storage of {held} elements"
            )
        if math.prod(size) > held + MAX_REPEATED:
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
            with _safe_globals(walked.uses, where, allow_classes):
                return torch.load(stream, map_location="cpu", weights_only=True)
    except UnsafeModelError:
        raise
    except Exception as error:  # torch raises anything on damaged content; all of it means: unreadable
        raise UnsafeModelError(f"{where}: torch cannot read it: {said(error)}") from error


def _safe_globals(named: Iterable[Global], where: str, allow_classes: Sequence[str]) -> AbstractContextManager[None]:
    """The classes the file names, made known to torch's own weights_only check; only their modules are imported."""
    import torch

    wanted = [str(t) for t in named if str(t) in BUILT or str(t) in STORED or str(t) in allow_classes]
    known = [n for n in wanted if not n.startswith("torch.") or n.startswith(("torch.nn", "torch._C"))]
    return torch.serialization.safe_globals([(resolve(name, where), name) for name in known])


def resolve(name: str, where: str) -> Any:
    """Import the module of a dotted name that is on a list, and return the object."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnsafeModelError(f"{where}: names {name}, which cannot be imported here: {said(error)}") from error


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


def _check_states(walked: Walk, where: str) -> None:
    """State is a dict, and only built classes and OrderedDict have one: a tensor would be set to another storage by it."""
    for made in walked.made:
        name = str(made.callee)
        if made.state is None or (name not in BUILT and name not in CALLED):  # the rest was named by --allow-class
            continue
        called = name in CALLED and not made.of("collections.OrderedDict")
        if called or not (isinstance(made.state, Made) and made.state.of("builtins.dict")):
            raise UnsafeModelError(f"{where}: refused: {name} is given its state in a way torch.save never does")


def _check_backends(walked: Walk, where: str) -> None:
    """A SpikingJelly neuron whose `backend` is not torch compiles kernels from strings among its attributes.

    Every dict of the file is looked at: the neuron finds its attributes in more of them than its own state.
    """
    if not any(target.module.startswith("spikingjelly.") for target in walked.uses):
        return
    for made in walked.made:
        for key, value in made.items:
            if key in ("backend", "_backend") and value != "torch":
                raise UnsafeModelError(f"{where}: a neuron with backend {value!r:.40}; save it with backend='torch'")


def check_tree(root: torch.nn.Module, where: str) -> None:
    """Whether a rebuilt module is one: a tree of modules and tensors, no hooks.

    Its state came from the file.  Torch walks a tree without looking back, so a module that holds itself, or holds one
    child by many paths, would keep it busy for ever.
    """
    import torch

    holds = {"_modules": torch.nn.Module, "_parameters": torch.Tensor, "_buffers": torch.Tensor}
    todo, seen = [(root, 0)], 0
    while todo:
        (module, depth), seen = todo.pop(), seen + 1
        fields = vars(module)
        tables = {name: fields.get(name) for name in holds}
        sound = isinstance(fields.get("training"), bool) and all(
            isinstance(table, dict) and all(isinstance(v, holds[name] | None) for v in table.values())
            for name, table in tables.items()
        )
        if not sound or any(fields.get(name) != {} for name in ("_forward_hooks", "_forward_pre_hooks")):
            raise UnsafeModelError(f"{where}: a {type(module).__name__} among its modules is incomplete, or has hooks")
        if depth > MAX_DEPTH or seen > MAX_MODULES:
            raise UnsafeModelError(f"{where}: its modules hold each other, or are more than {MAX_MODULES}")
        todo += [(child, depth + 1) for child in fields["_modules"].values() if child is not None]
