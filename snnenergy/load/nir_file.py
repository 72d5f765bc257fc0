"""The HDF5 file of a NIR graph as plain arrays and strings: an untrusted file, so nothing but numbers and names is read.

Refused: links out of the file, data kept elsewhere, virtual data, filters that would load a plug-in, types other than
numbers and strings, and more than the caps below.  The layout is that of `nir.write`: node/nodes/NAME/FIELD, node/edges.

The HDF5 library itself is no safe parser (a damaged string heap keeps it busy for ever), so it runs in a child process
with a limit of time and memory, which hands back an .npz that is read without pickle.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnenergy.errors import UnsafeModelError
from snnenergy.load.files import quoted

MAX_NODES = 10_000
MAX_EDGES = 100_000
MAX_FIELDS = 64
MAX_BYTES = 1024**3
"""Declared bytes of all arrays of one graph together."""
MAX_NAME = 256
GIVEN, MADE, REFUSED = "graph.nir", "graph.npz", "refused.txt"
SECONDS = 60
"""Time the child may take."""
MEMORY = 6 * MAX_BYTES
"""Address space of the child, bytes."""
_FILTERS = frozenset((1, 2, 3, 32000))  # deflate, shuffle, checksum, lzf: what nir.write makes, all built in
_UNUSED = ("metadata", "input_type", "output_type")


@dataclass(frozen=True)
class NirNode:
    """One node: its NIR type, and its parameters as NumPy arrays (scalars as 0-d arrays) or strings."""

    name: str
    kind: str
    values: dict[str, Any]


@dataclass(frozen=True)
class NirGraph:
    """Nodes by name, and directed edges between them."""

    nodes: dict[str, NirNode]
    edges: tuple[tuple[str, str], ...]


def read(data: bytes, where: str) -> NirGraph:
    """The graph of a NIR file, parsed in a child process; UnsafeModelError where it is none, or holds what none needs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / GIVEN).write_bytes(data)
        left = _run_child(folder, where)
        if (folder / REFUSED).is_file():
            raise UnsafeModelError((folder / REFUSED).read_text(encoding="utf-8"))
        if left or not (folder / MADE).is_file():
            raise UnsafeModelError(f"{where}: NIR: the HDF5 library broke down on it ({left})")
        return _unpacked((folder / MADE).read_bytes())


def _run_child(folder: Path, where: str) -> int:
    """The child's exit status."""
    search = os.pathsep.join(p for p in sys.path if p)
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", "snnenergy.load.nir_file", str(folder), where],
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": search},
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise UnsafeModelError(f"{where}: NIR: reading it took more than {SECONDS:g} s; stopped") from error


def packed(graph: NirGraph) -> bytes:
    """The graph as an .npz: arrays by number, and which is which as JSON."""
    import numpy as np

    arrays: list[Any] = []
    rows = []
    for node in graph.nodes.values():
        texts = {key: value for key, value in node.values.items() if isinstance(value, str)}
        places = {}
        for key, value in node.values.items():
            if key not in texts:
                places[key] = len(arrays)
                arrays.append(value)
        rows.append([node.name, node.kind, texts, places])
    index = np.frombuffer(json.dumps([rows, graph.edges]).encode(), dtype=np.uint8)
    out = io.BytesIO()
    np.savez(out, index, *arrays)
    return out.getvalue()


def _unpacked(content: bytes) -> NirGraph:
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        rows, edges = json.loads(held["arr_0"].tobytes())
        nodes = {
            name: NirNode(name, kind, texts | {key: held[f"arr_{place + 1}"] for key, place in places.items()})
            for name, kind, texts, places in rows
        }
    return NirGraph(nodes, tuple((start, end) for start, end in edges))


def parse(data: bytes, where: str) -> NirGraph:
    """The same in this process: a damaged file may keep it busy for ever, or end it."""
    try:
        import h5py
    except ImportError as error:
        raise UnsafeModelError(
            f'{where}: reading a NIR file needs h5py: pip install "snnenergy[nir]"; or export a .pt2'
        ) from error
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _Reader(where).graph(file)
    except UnsafeModelError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ValueError ...: all mean unreadable
        raise UnsafeModelError(f"{where}: no readable NIR graph: {quoted(error)}") from error


class _Reader:
    """Reads one file and adds up what it declares."""

    def __init__(self, where: str) -> None:
        self.where, self.left = where, MAX_BYTES

    def graph(self, file: Any) -> NirGraph:
        root = self.member(file, "node")
        if self.text(self.member(root, "type")) != "NIRGraph":
            raise self.refused("its top node is no NIRGraph")
        folder = self.member(root, "nodes")
        if len(folder) > MAX_NODES:
            raise self.refused(f"{len(folder)} nodes; at most {MAX_NODES} are read")
        nodes = {name: self.node(name, self.member(folder, name)) for name in map(str, folder)}
        edges = tuple(self.edges(self.member(root, "edges")))
        lost = next((end for edge in edges for end in edge if end not in nodes), None)
        if lost is not None:
            raise self.refused(f"an edge names {lost!r:.60}, which is no node")
        return NirGraph(nodes, edges)

    def refused(self, why: str) -> UnsafeModelError:
        return UnsafeModelError(f"{self.where}: NIR: {why}")

    def member(self, group: Any, name: str) -> Any:
        """A member by a link inside this file."""
        import h5py

        if not isinstance(group, h5py.Group) or name not in group:
            raise self.refused(f"holds no {name!r:.60} where a graph has one")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise self.refused(f"{name!r:.60} is a link to somewhere else")
        return group[name]

    def node(self, name: str, group: Any) -> NirNode:
        import h5py

        if not name or len(name) > MAX_NAME:
            raise self.refused(f"a node's name has {len(name)} characters; 1 to {MAX_NAME} are read")
        kind = self.text(self.member(group, "type"))
        if kind == "NIRGraph":
            raise self.refused(f"node {name!r:.60} is a graph of its own; flatten the graph before writing it")
        if len(group) > MAX_FIELDS:
            raise self.refused(f"node {name!r:.60} has {len(group)} fields")
        values = {}
        for key in group:
            held = self.member(group, key)
            if key != "type" and key not in _UNUSED and isinstance(held, h5py.Dataset):
                values[key] = self.value(held)
        return NirNode(name, kind, values)

    def value(self, held: Any) -> Any:
        import numpy as np

        self.check(held)
        return self.text(held) if held.dtype.kind in "OS" else np.array(held[()])

    def text(self, held: Any) -> str:
        self.check(held)
        if held.dtype.kind not in "OS" or held.shape != ():
            raise self.refused(f"{held.name!r:.60} is no single string")
        raw = held[()]
        return raw.decode("utf-8") if isinstance(raw, bytes) else str(raw)

    def edges(self, held: Any) -> Iterator[tuple[str, str]]:
        """Row by row: many rows may point at one long string."""
        self.check(held)
        if held.dtype.kind not in "OS" or len(held.shape) != 2 or held.shape[1] != 2 or len(held) > MAX_EDGES:
            raise self.refused(f"edges have shape {held.shape!r:.60}; expected at most {MAX_EDGES} pairs of names")
        for i in range(len(held)):
            start, end = (raw.decode("utf-8") if isinstance(raw, bytes) else str(raw) for raw in held[i])
            if max(len(start), len(end)) > MAX_NAME:
                raise self.refused(f"an edge's name has more than {MAX_NAME} characters")
            yield start, end

    def check(self, held: Any) -> None:
        """Raises where reading this would reach outside the file, load code, or take more than is left."""
        import h5py

        if not isinstance(held, h5py.Dataset) or held.shape is None:
            raise self.refused("a group or nothing where a value is expected")
        text = h5py.check_string_dtype(held.dtype) is not None
        if not (text or held.dtype.kind in "biuf"):
            raise self.refused(f"{held.name!r:.60} holds {held.dtype!s:.40}; expected numbers or text")
        filters = held.id.get_create_plist()
        codes = {filters.get_filter(i)[0] for i in range(filters.get_nfilters())}
        if held.is_virtual or held.external or not codes <= _FILTERS:
            raise self.refused(f"{held.name!r:.60} is kept in another file, or packed in a way that is not built in")
        self.left -= held.size * held.dtype.itemsize
        if self.left < 0:
            raise self.refused(f"declares more than {MAX_BYTES // 1024**2} MiB")


def _child(folder: Path, where: str) -> None:
    """From the file given in a folder to an .npz there, or to a refusal in words."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # no such limit on this system: the time limit is left
        pass
    try:
        (folder / MADE).write_bytes(packed(parse((folder / GIVEN).read_bytes(), where)))
    except UnsafeModelError as error:
        (folder / REFUSED).write_text(str(error), encoding="utf-8")


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2])
