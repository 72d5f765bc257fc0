"""The second witness: an independent reference and its development cases, beside the repository.

Every model and every single layer, in total and layer by layer under its name, and step by step where the reference has
steps; after one forward, and after three in one open context.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from snnenergy.counts import Counts
from snnenergy.trace import count, counting

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "conformance"
LAYERS = (
    "plain grouped depthwise strided dilated same circular pointwise t_plain t_grouped t_dilated c1 c3 lin3d".split()
)
MODELS = """ann_resnet18 vgg_torch vgg_snntorch vgg_sj_single vgg_sj_multi vgg_norse vgg_sinabs spikformer_block srnn_alif
pruned_ann pruned_snn conv_edges_spike conv_edges_analog bindsnet_mlp""".split()
CASES = MODELS + [f"edge_{layer}_{kind}" for layer in LAYERS for kind in ("spike", "analog")]
OPEN = 3
# the frameworks' own warnings while they are imported and run, and the reference's about even kernels
pytestmark = pytest.mark.filterwarnings("ignore")

Truth = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def room() -> Iterator[Any]:
    """The modules `cases` (with `edges`) and `reference`, imported from where they lie."""
    if not (FOLDER / "reference.py").is_file():
        pytest.skip("the conformance cases beside the repository (../shared/conformance) are not here")
    sys.path.insert(0, str(FOLDER))
    try:
        importlib.import_module("env_shims").quiet()
        for name in ("cases", "edges", "reference"):
            importlib.import_module(name)
        yield sys.modules
    finally:
        sys.path.remove(str(FOLDER))


def built(room: Any, name: str) -> tuple[Any, torch.nn.Module, tuple[Any, ...]]:
    case = room["cases"].CASES[name]
    if case.framework != "torch":
        pytest.importorskip(case.framework, reason=f"{case.framework} is not installed", exc_type=ImportError)
    model, inputs = case.build()
    return case, model, inputs


def compare(counts: Counts, truth: Truth, times: int) -> None:
    mine = {
        layer.path: {"dense": layer.dense_macs, "acs": layer.acs, "macs": layer.macs}
        for layer in counts.layers
        if layer.dense_macs
    }
    assert mine == {path: {k: times * row[k] for k in ("dense", "acs", "macs")} for path, row in truth.items()}
    total = counts.total()
    for ours, theirs in (
        ("dense_macs", "dense"),
        ("acs", "acs"),
        ("macs", "macs"),
        ("effective", "eff"),
        ("valid_macs", "dense_inrange"),
    ):
        assert getattr(total, ours) == times * sum(row[theirs] for row in truth.values())


def compare_steps(counts: Counts, truth: Truth, times: int) -> None:
    for path, row in truth.items():
        if row["steps"] is None or len(row["steps"]) < 2:
            continue
        steps = counts[path].per_step
        assert steps is not None, path
        assert (path, list(steps.effective)) == (path, [times * n for n in row["steps"]])


def compare_streams(counts: Counts, truth: Truth, times: int) -> None:
    """Elements and events, of what has one operand; and accumulates where a value of k means k spikes."""
    for path, row in truth.items():
        streams = counts[path].streams
        if any(s.pair is not None for s in streams):
            continue
        assert (path, counts[path].elements, counts[path].nonzero) == (
            path,
            times * row["numel_in"],
            times * row["nnz_in"],
        )
        if row["events"] is not None and counts[path].driven == counts[path].effective:
            assert (path, sum(s.unit_taps or 0 for s in streams)) == (path, times * row["events"])


@pytest.mark.parametrize("name", CASES)
def test_case(room: Any, name: str) -> None:
    case, model, inputs = built(room, name)
    truth = room["reference"].reference(model, inputs, T=case.T, layout=case.layout, spike_channels=case.spike_channels)
    with torch.no_grad():
        once = count(model, *inputs, spike_channels=case.spike_channels)
        with counting(model, spike_channels=case.spike_channels) as rec:
            for _ in range(OPEN):
                model(*inputs)
    assert [
        row for row in once.uncounted if row.op != "uncalled"
    ] == []  # BindsNET keeps bounds of weights as parameters
    assert once.coverage.complete
    for counts, times in ((once, 1), (rec.counts(), OPEN)):
        assert counts.forwards == times
        compare(counts, truth, times)
        compare_steps(counts, truth, times)
        compare_streams(counts, truth, times)


def test_every_case_beside_the_repository_is_tested(room: Any) -> None:
    assert sorted(room["cases"].CASES) == sorted(CASES)
