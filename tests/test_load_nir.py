"""NIR graphs: a small one by hand, the other witness (the equations in NumPy), and files that attack the reader."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from snnenergy.errors import UnsafeModelError, UsageError
from snnenergy.load import inspect, load_model, nir_file, nir_graph
from snnenergy.load.workload import load
from snnenergy.trace.workload import count_workload
from tests.brute_force import linear
from tests.conftest import Cli
from tests.trace_nets import spikes

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
T, N, INPUTS, HIDDEN, OUT = 6, 2, 5, 4, 3
VALUES = np.random.default_rng(0)
W1 = (VALUES.random((HIDDEN, INPUTS)) * (VALUES.random((HIDDEN, INPUTS)) > 0.2)).astype(np.float32)
W2 = VALUES.random((OUT, HIDDEN)).astype(np.float32)
BIAS = np.array([0.5, 0, -0.5], dtype=np.float32)
Nodes = dict[str, dict[str, Any]]


def lif(**changes: Any) -> dict[str, Any]:
    """tau = 2 dt: half of the way to v_leak + r x in one step."""
    one = np.ones(HIDDEN, dtype=np.float32)
    values = {"tau": 2 * nir_graph.DT * one, "r": 2 * one, "v_leak": 0 * one, "v_threshold": one, "v_reset": 0 * one}
    return {"type": "LIF"} | values | changes


def nodes(**changes: dict[str, Any]) -> Nodes:
    plain: Nodes = {
        "input": {"type": "Input", "shape": np.array([INPUTS])},
        "fc1": {"type": "Linear", "weight": W1},
        "lif": lif(),
        "fc2": {"type": "Affine", "weight": W2, "bias": BIAS},
        "output": {"type": "Output", "shape": np.array([OUT])},
    }
    return plain | changes


CHAIN = (("input", "fc1"), ("fc1", "lif"), ("lif", "fc2"), ("fc2", "output"))


def write(path: Path, nodes: Nodes, edges: Any = CHAIN, tamper: Callable[[Any], None] | None = None) -> Path:
    """The layout of nir.write, made without nir, so that broken files can be made too."""
    with h5py.File(path, "w") as file:
        file.create_dataset("version", data="1.0")
        root = file.create_group("node")
        root.create_dataset("type", data="NIRGraph")
        folder = root.create_group("nodes")
        for name, values in nodes.items():
            group = folder.create_group(name)
            for key, value in values.items():
                group.create_dataset(key, data=value)
        root.create_dataset("edges", data=np.array(edges, dtype=h5py.string_dtype()))
        if tamper is not None:
            tamper(root)
    return path


def fired(x: Tensor) -> Tensor:
    """Spikes of the LIF layer, from the equation, in NumPy: v += (r x - v) / 2, a spike at v >= 1, then v = 0."""
    v = np.zeros((N, HIDDEN), dtype=np.float32)
    out = []
    for step in x.numpy():
        v = v + np.float32(0.5) * (0 - v + 2 * (step @ W1.T))
        s = v >= 1
        out.append(s.astype(np.float32))
        v = np.where(s, np.float32(0), v)
    return torch.from_numpy(np.stack(out))


def renamed(old: str, new: str) -> Nodes:
    return {new if name == old else name: values for name, values in nodes().items()}


def edges_of(old: str, new: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(new if end == old else end for end in edge) for edge in CHAIN)


def counted(path: Path, x: Tensor, **changes: Any) -> Any:
    np.save(path.with_suffix(".npy"), x.numpy())
    return count_workload(load(path, input=path.with_suffix(".npy"), **changes))


def test_a_small_graph_by_hand(tmp_path: Path) -> None:
    x = spikes(T, N, INPUTS)
    counts = counted(write(tmp_path / "net.nir", nodes()), x)
    s = fired(x)
    one, two = linear(x, torch.from_numpy(W1)), linear(s, torch.from_numpy(W2))
    assert (counts.time_steps, counts.samples, counts.model) == (T, N, "net")
    assert [(counts[p].dense_macs, counts[p].acs) for p in ("fc1", "fc2")] == [
        (one.dense, one.effective),
        (two.dense, two.effective),
    ]
    layer = counts["lif"]
    assert (layer.neuron_model, layer.neurons, layer.updates) == ("LIF", HIDDEN, T * N * HIDDEN)
    assert 0 < layer.spikes_out == int(s.sum())


def test_axes_are_those_of_the_format_whatever_their_sizes(tmp_path: Path) -> None:
    path = write(tmp_path / "net.nir", nodes())
    for steps, samples in ((1, 4), (2, 4), (4, 1)):
        counts = count_workload(load(path, input_shape=(steps, samples, INPUTS)))
        assert (counts.time_steps, counts.samples) == (steps, samples)


@pytest.mark.parametrize("name", ["inputs", "order", "paths", "source", "sink", "training", "forward", "a.b"])
def test_a_node_may_be_called_anything(name: str, tmp_path: Path) -> None:
    x = spikes(T, N, INPUTS)
    counts = counted(write(tmp_path / "net.nir", renamed("fc1", name), edges_of("fc1", name)), x)
    expected = linear(x, torch.from_numpy(W1)).effective
    assert {layer.path: layer.acs for layer in counts.layers}[f"{name}_" if name != "a.b" else "a_b"] == expected


def test_the_extension_says_nothing(tmp_path: Path) -> None:
    model = load_model(write(tmp_path / "net.pt", nodes()))
    assert model.kind == "nir"
    x = spikes(T, N, INPUTS)
    expected = fired(x) @ torch.from_numpy(W2.T) + torch.from_numpy(BIAS)
    assert torch.allclose(model.module(x), expected)  # the bias of an Affine node is there


def test_a_loop_carries_what_was_put_out_one_step_before(tmp_path: Path) -> None:
    again = (VALUES.random((HIDDEN, HIDDEN)) < 0.5).astype(np.float32)
    graph = nodes(back={"type": "Linear", "weight": again})
    edges = (*CHAIN, ("lif", "back"), ("back", "lif"))
    x = spikes(T, N, INPUTS)
    counts = counted(write(tmp_path / "net.nir", graph, edges), x)
    v, s = np.zeros((N, HIDDEN), dtype=np.float32), np.zeros((N, HIDDEN), dtype=np.float32)
    total = 0
    for t in range(T):
        current = x[t].numpy() @ W1.T + s @ again.T
        v = v + np.float32(0.5) * (0 - v + 2 * current)
        s = (v >= 1).astype(np.float32)
        v = np.where(s > 0, np.float32(0), v)
        total += int(s.sum())
    assert counts["lif"].spikes_out == total


def test_every_node_there_is(tmp_path: Path) -> None:
    one = np.ones((2, 2, 2), dtype=np.float32)
    kernel = np.ones((2, 1, 3, 3), dtype=np.float32)
    pool = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}
    conv = {"stride": np.array([1, 1]), "padding": np.array([1, 1]), "dilation": np.array([1, 1]), "groups": 1}
    tau, cuba = 10 * nir_graph.DT * one, {"w_in": one, "v_leak": 0 * one, "v_threshold": one, "r": one}
    graph: Nodes = {
        "in": {"type": "Input", "shape": np.array([1, 8, 8])},
        "conv": {"type": "Conv2d", "weight": kernel, "bias": np.zeros(2, dtype=np.float32)} | conv,
        "sum": {"type": "SumPool2d"} | pool,
        "mean": {"type": "AvgPool2d"} | pool,
        "scale": {"type": "Scale", "scale": one},
        "if": {"type": "IF", "r": one / nir_graph.DT, "v_threshold": one},
        "cuba": {"type": "CubaLIF", "tau_mem": tau, "tau_syn": tau} | cuba,
        "li": {"type": "LI", "tau": tau, "r": one, "v_leak": 0 * one},
        "threshold": {"type": "Threshold", "threshold": one},
        "flat": {"type": "Flatten", "start_dim": 0, "end_dim": -1},
        "fc": {"type": "Linear", "weight": np.ones((3, 8), dtype=np.float32)},
        "out": {"type": "Output", "shape": np.array([3])},
    }
    names = list(graph)
    path = write(tmp_path / "net.nir", graph, list(pairwise(names)))
    counts = counted(path, spikes(T, N, 1, 8, 8))
    assert {la.path: la.neuron_model for la in counts.layers if la.role == "neuron"} == {"if": "IF", "cuba": "CUBA"}
    assert (counts["conv"].dense_macs, counts["fc"].dense_macs) == (T * N * 2 * 64 * 9, T * N * 8 * 3)
    assert (counts.time_steps, counts.samples) == (T, N)


def test_a_graph_that_nir_itself_wrote(tmp_path: Path) -> None:
    nir = pytest.importorskip("nir", reason="nir is not installed")
    values = {k: v for k, v in lif().items() if k != "type"}
    graph = nir.NIRGraph.from_list(nir.Linear(W1), nir.LIF(**values), nir.Affine(W2, BIAS))
    nir.write(tmp_path / "net.nir", graph)
    x = spikes(T, N, INPUTS)
    expected = fired(x) @ torch.from_numpy(W2.T) + torch.from_numpy(BIAS)
    assert torch.allclose(load_model(tmp_path / "net.nir").module(x), expected)


def test_inspect_shows_it(tmp_path: Path, cli: Cli) -> None:
    path = write(tmp_path / "net.nir", nodes())
    seen = inspect(path)
    assert (seen.kind, seen.loadable) == ("nir", True)
    assert {row.path: row.type for row in seen.modules}["lif"] == "LIF"
    assert seen.parameters == W1.size + 5 * HIDDEN + W2.size + BIAS.size  # and no shape of an Input or Output
    assert seen.command is not None
    assert seen.command.endswith("--input-shape 16,1,5")
    done = cli("profile", path, "--input-shape", "16,1,5", "--hardware", "none")
    assert done.code == 0, done.err


def test_a_factory_does_not_go_with_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="brings its architecture"):
        load_model(write(tmp_path / "net.nir", nodes()), factory="os:getcwd")


# ---- files that are none, or attack the reader
def _replace(name: str, make: Callable[[Any], Any]) -> Callable[[Any], None]:
    def tamper(root: Any) -> None:
        del root[name]
        made = make(root)
        if made is not None:
            root[name] = made

    return tamper


def _huge(root: Any) -> None:
    del root["nodes/fc1/weight"]
    root.create_dataset("nodes/fc1/weight", shape=(2**16, 2**16), dtype="f4", chunks=(1024, 1024), compression="gzip")


def _elsewhere(root: Any) -> None:
    del root["nodes/fc1/weight"]
    raw = root.file.filename + ".raw"
    root.create_dataset("nodes/fc1/weight", shape=(HIDDEN, INPUTS), dtype="f4", external=[(raw, 0, 80)])


def _reference(root: Any) -> None:
    del root["nodes/fc1/weight"]
    root.create_dataset("nodes/fc1/weight", data=root["nodes/lif"].ref, dtype=h5py.ref_dtype)


def _compound(root: Any) -> None:
    del root["nodes/fc1/weight"]
    root.create_dataset("nodes/fc1/weight", data=np.zeros(3, dtype=[("a", "f4")]))


TAMPERS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a link to another file": (
        _replace("nodes/fc1", lambda r: h5py.ExternalLink("/etc/passwd", "/")),
        "somewhere else",
    ),
    "a link inside": (_replace("nodes/fc1", lambda r: h5py.SoftLink("/node/nodes/fc2")), "somewhere else"),
    "data in another file": (_elsewhere, "kept in another file"),
    "16 GiB declared": (_huge, "declares more than 1024 MiB"),
    "references": (_reference, "expected numbers or text"),
    "records": (_compound, "expected numbers or text"),
    "a graph that holds itself": (_replace("nodes/fc1", lambda r: r), "a graph of its own"),
    "no nodes": (_replace("nodes", lambda r: None), "holds no 'nodes'"),
    "no edges": (_replace("edges", lambda r: None), "holds no 'edges'"),
    "edges of numbers": (_replace("edges", lambda r: np.zeros((3, 2))), "edges have shape"),
    "a type that is a number": (_replace("nodes/fc1/type", lambda r: 5), "no single string"),
    "no weight": (_replace("nodes/fc1/weight", lambda r: None), "has no 'weight'"),
}


@pytest.mark.parametrize("name", TAMPERS)
def test_files_that_attack_the_reader(name: str, tmp_path: Path) -> None:
    tamper, words = TAMPERS[name]
    path = write(tmp_path / "net.nir", nodes(), tamper=tamper)
    with pytest.raises(UnsafeModelError, match=words):
        load_model(path)


CONV = {"type": "Conv1d", "weight": np.ones((2, 1, 3)), "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
UNFIT = {"stride": 0, "dilation": np.array([1, 1]), "padding": -1}
POOL = {"type": "AvgPool2d", "kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}


@pytest.mark.parametrize(
    ("graph", "edges", "words"),
    [
        (nodes(lif={"type": "Exec", "code": "import os"}), CHAIN, "is a 'Exec'; known are Linear"),
        (nodes(fc1={"type": "Linear", "weight": W1[0]}), CHAIN, "cannot be built"),
        (nodes(lif=lif(tau=np.ones(7, dtype=np.float32))), (*CHAIN, ("lif", "ghost")), "names 'ghost'"),
        (nodes(more={"type": "Input", "shape": np.array([5])}), CHAIN, "expected one Input node, found 2"),
        (nodes(), CHAIN[:-1], "no way leads from 'input' to 'output'"),
        (
            renamed("fc1", "l.1") | {"l_1": lif()},
            (*edges_of("fc1", "l.1"), ("l.1", "l_1")),
            "'l.1' and 'l_1' are both layer",
        ),
        (nodes(lif=lif(tau=np.ones(2, dtype=np.float32))), CHAIN, r"'lif' \(LIF\) cannot be built.* broadcast"),
        (nodes(lif=lif(tau=np.zeros(HIDDEN, dtype=np.float32))), CHAIN, "tau is not above 0"),
        (nodes(lif={"type": "Flatten", "start_dim": 0, "end_dim": 2}), CHAIN, "Dimension out of range"),
        *((nodes(lif=CONV | {name: value}), CHAIN, f"'lif' .*{name}") for name, value in UNFIT.items()),
        (nodes(lif=CONV | {"weight": W1}), CHAIN, "a weight of shape"),
        (nodes(lif=POOL | {"kernel_size": np.array([2, 0])}), CHAIN, "kernel_size"),
        (nodes(lif=POOL | {"padding": np.array([2, 2])}), CHAIN, "padding"),
    ],
)
def test_graphs_that_cannot_be_built(graph: Nodes, edges: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError, match=words):
        load_model(write(tmp_path / "net.nir", graph, edges))


def test_a_file_that_keeps_the_library_busy_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nir_file, "SECONDS", 0.01)
    with pytest.raises(UnsafeModelError, match=r"took more than 0\.01 s"):
        load_model(write(tmp_path / "net.nir", nodes()))


def test_a_graph_survives_the_way_back_from_the_child(tmp_path: Path) -> None:
    data = write(tmp_path / "net.nir", nodes(fc1={"type": "Linear", "weight": W1, "note": "same"})).read_bytes()
    here, there = nir_file.parse(data, "net.nir"), nir_file.read(data, "net.nir")
    assert here.edges == there.edges
    assert [(n.name, n.kind, list(n.values)) for n in here.nodes.values()] == [
        (n.name, n.kind, sorted(n.values, key=list(here.nodes[n.name].values).index)) for n in there.nodes.values()
    ]
    assert there.nodes["fc1"].values["note"] == "same"
    assert np.array_equal(there.nodes["fc1"].values["weight"], W1)


def test_mutated_files_raise_our_own_error_or_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tmp_path / "net.nir", nodes()).read_bytes()
    monkeypatch.setattr(nir_file, "SECONDS", 3)
    generator = np.random.default_rng(1)
    for i in range(12):
        data = bytearray(whole)
        for place in generator.integers(0, len(data), 6):
            data[place] ^= 1 << int(generator.integers(0, 8))
        (tmp_path / "bad.nir").write_bytes(data if i % 5 else data[: int(generator.integers(8, len(data)))])
        with suppress(UnsafeModelError):  # anything else would be ours
            load_model(tmp_path / "bad.nir")
