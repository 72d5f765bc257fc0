"""The HDF5 file of a NIR graph as plain arrays and strings: an untrusted file, so nothing but numbers and names is read.

Refused: links out of the file, data kept elsewhere, virtual data, filters that would load a plug-in, types other than
numbers and strings, and more than the caps below.  The layout is that of `nir.write`: node/nodes/NAME/FIELD, node/edges.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from snnenergy.errors import UnsafeModelError
from snnenergy.load.files import said

MAX_NODES = 10_000
MAX_EDGES = 100_000
MAX_FIELDS = 64
MAX_BYTES = 1024**3
"""Declared bytes of all arrays of one graph together."""
MAX_NAME = 256
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
    """The graph of a NIR file; UnsafeModelError where it is not one, or holds what a graph does not need."""
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
        raise UnsafeModelError(f"{where}: no readable NIR graph: {said(error)}") from error


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
