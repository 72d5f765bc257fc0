"""`snnenergy inspect`: what a file holds, without running anything from it."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snnenergy.errors import UnsafeModelError, UsageError
from snnenergy.load import files, models, safetensors
from snnenergy.load.allowed import judge
from snnenergy.load.archive import Archive, open_archive
from snnenergy.load.factory import is_factory
from snnenergy.load.files import Kind
from snnenergy.load.graph_summary import GraphSummary, summarise
from snnenergy.load.pickled_tree import ModuleRow, grouped, rows_of
from snnenergy.load.pickles import Walk
from snnenergy.load.torchfile import walk_archive, walk_legacy


@dataclass(frozen=True)
class GlobalRow:
    """A name the pickle would import, the ways it would use it, and what is known of it: allowed, unknown, dangerous."""

    name: str
    uses: tuple[str, ...]
    verdict: str


@dataclass(frozen=True)
class Inspection:
    """What a file holds.  Names are as the file spells them: escape them before they are shown.

    size_bytes, declared_bytes: of the file, and of what its members or tensors declare
    modules: the module tree (or the groups of weights) with the shapes of their tensors
    problems: why it would be refused; notes: what a reader must know; command: what would profile it
    """

    path: str
    kind: str
    size_bytes: int
    declared_bytes: int
    globals: tuple[GlobalRow, ...] = ()
    modules: tuple[ModuleRow, ...] = ()
    graph: GraphSummary | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str | None = None

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.modules)

    @property
    def loadable(self) -> bool:
        """Whether `profile` would load it without --trust."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        derived = {"parameters": self.parameters, "loadable": self.loadable}
        plain: dict[str, Any] = dataclasses.asdict(self) | derived
        for row, made in zip(plain["modules"], self.modules, strict=True):
            row["parameters"] = made.parameters
        return plain


@dataclass
class _Found:
    """What one reader found, gathered while it reads."""

    declared: int = 0
    globals: list[GlobalRow] = field(default_factory=list)
    modules: tuple[ModuleRow, ...] = ()
    graph: GraphSummary | None = None
    notes: list[str] = field(default_factory=list)
    options: str = ""


def inspect(path: str | Path) -> Inspection:
    """Look into a model file; what would be refused is told in `problems`.  UsageError where there is no such file.

    Whether it would be refused is asked of the reader that `profile` uses; what is shown comes from the file alone, so a file
    that is refused is shown as far as it can be read.
    """
    if is_factory(str(path)):
        raise UsageError(f"{path}: a function, and no file to look into; `snnenergy profile {path}` runs what it makes")
    path = Path(path)
    data = files.read_model(path)
    found, problems, kind = _Found(declared=len(data)), [], Kind.OTHER
    try:
        archive = open_archive(data, str(path)) if files.is_zip(data) else None
        kind = models.sniff(data, archive)
        if archive is not None:
            found.declared = sum(map(len, archive.members.values()))
        with suppress(UnsafeModelError):
            _SHOWN[kind](data, archive, str(path), found)
        with suppress(UsageError):  # weights without an architecture: `profile` asks for the factory
            found.notes.extend(models.read(models.Source(path, data, kind, archive)).notes)
    except UnsafeModelError as error:
        problems.append(str(error))
    command = None if problems else f"snnenergy profile {shlex.quote(str(path))}{found.options}"
    return Inspection(
        str(path),
        str(kind),
        len(data),
        found.declared,
        tuple(found.globals),
        found.modules,
        found.graph,
        tuple(problems),
        tuple(found.notes),
        command,
    )


def _note_globals(walked: Walk, found: _Found) -> None:
    rows = [
        GlobalRow(str(target), tuple(sorted(uses)), str(judge(target, uses))) for target, uses in walked.uses.items()
    ]
    found.globals.extend(sorted(rows, key=lambda r: (r.verdict == "allowed", r.name)))


def _torch(data: bytes, archive: Archive | None, where: str, found: _Found) -> None:
    walked = walk_archive(archive) if archive is not None else walk_legacy(data, where)
    _note_globals(walked, found)
    found.modules = rows_of(walked.value)
    whole = bool(found.modules and found.modules[0].type)
    shape = _shape_to_try(found.modules)
    found.options = f" --input-shape {shape}" if whole else f" --factory pkg.mod:fn --input-shape {shape}"


def _shape_to_try(rows: tuple[ModuleRow, ...]) -> str:
    """From the first weight: [O, I/groups, *kernel] takes 1,I,32,32; [O, I] takes 1,I."""
    for row in rows:
        weight = row.shapes.get("weight", ())
        if len(weight) > 2:
            return ",".join(map(str, (1, weight[1], *(32,) * (len(weight) - 2))))
        if len(weight) == 2:
            return f"1,{weight[1]}"
    return "1,3,32,32"


def _pt2(data: bytes, archive: Archive | None, where: str, found: _Found) -> None:
    from snnenergy.load import pt2

    assert archive is not None  # only an archive is sniffed as pt2
    checked = pt2.check_archive(archive)
    found.graph = summarise(checked.program)
    found.modules = _layers(checked, found.graph)
    shapes = [",".join(str(n or 1) for n in shape) for shape in found.graph.inputs.values()]
    found.options = "" if checked.examples is not None else f" --input-shape {shapes[0] if shapes else '1,3,32,32'}"


def _layers(checked: Any, graph: GraphSummary) -> tuple[ModuleRow, ...]:
    import json

    from snnenergy.load.pt2 import TABLES

    shapes: dict[str, tuple[int, ...]] = {}
    for table in TABLES.values():
        for name, entry in json.loads(checked.members[table]).get("config", {}).items():
            shapes[name] = tuple(s.get("as_int", 0) for s in entry["tensor_meta"]["sizes"])
    held = {row.path: row for row in grouped(shapes)}
    rows = [
        ModuleRow(path, kind.rpartition(".")[2], held.pop(path).shapes if path in held else {})
        for path, kind in graph.layers.items()
    ]
    return (*rows, *held.values())


def _safetensors(data: bytes, archive: Archive | None, where: str, found: _Found) -> None:
    entries = safetensors.header(data, where)
    found.declared = sum(math.prod(e["shape"]) * safetensors.item_bytes(e["dtype"]) for e in entries.values())
    found.modules = grouped({name: tuple(entry["shape"]) for name, entry in entries.items()})
    found.options = f" --factory pkg.mod:fn --input-shape {_shape_to_try(found.modules)}"


def _torchscript(data: bytes, archive: Archive | None, where: str, found: _Found) -> None:
    assert archive is not None  # only an archive is sniffed as TorchScript
    sources = [name for name in archive.members if name.startswith("code/") and name.endswith(".py")]
    found.notes.append(f"TorchScript: {len(sources)} source files; a program that may write files")


def _pickle(data: bytes, archive: Archive | None, where: str, found: _Found) -> None:
    from snnenergy.load.pickles import walk

    _note_globals(walk(data, where), found)


def _nir(data: bytes, archive: Archive | None, where: str, found: _Found) -> None:
    from snnenergy.load import nir_file, nir_graph

    graph = nir_file.read(data, where)
    held = {name: node.values for name, node in graph.nodes.items()}
    arrays = {name: {k: v for k, v in values.items() if hasattr(v, "nbytes")} for name, values in held.items()}
    found.declared = sum(v.nbytes for values in arrays.values() for v in values.values())
    found.modules = tuple(
        ModuleRow(name, node.kind, {k: tuple(v.shape) for k, v in arrays[name].items() if k not in nir_graph.STRUCTURE})
        for name, node in graph.nodes.items()
    )
    shape = ",".join(map(str, ("16", "1", *nir_graph.input_shape(graph, where))))
    found.options = f" --input-shape {shape}"


def _nothing(data: bytes, archive: Archive | None, where: str, found: _Found) -> None:
    """A file of no kind known here is named by its refusal alone."""


_SHOWN: dict[Kind, Callable[[bytes, Archive | None, str, _Found], None]] = {
    Kind.TORCH: _torch,
    Kind.LEGACY: _torch,
    Kind.PT2: _pt2,
    Kind.SAFETENSORS: _safetensors,
    Kind.TORCHSCRIPT: _torchscript,
    Kind.PICKLE: _pickle,
    Kind.NIR: _nir,
    Kind.OTHER: _nothing,
}
