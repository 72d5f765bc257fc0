"""Published tables, computed again: every digit that is claimed, the page that shows them, and the recorded counts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from snnenergy.cost import published
from snnenergy.cost.conventions import apply
from snnenergy.counts import Counts
from tests.conftest import ROOT, Cli


@pytest.fixture(scope="module")
def rows() -> tuple[published.Row, ...]:
    return published.reproductions()


def test_every_row_is_within_its_tolerance(rows: tuple[published.Row, ...]) -> None:
    assert [f"{r.title}: {r.ours} {r.unit}" for r in rows if not r.passed] == []
    assert all(r.source and r.rule for r in rows)
    assert len(rows) >= 30


def test_the_page_is_what_is_computed(rows: tuple[published.Row, ...]) -> None:
    page = (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
    assert page == published.markdown(rows)


def test_a_digit_that_moves_is_seen(rows: tuple[published.Row, ...]) -> None:
    for row in rows:
        if row.high is None:
            moved = dataclasses.replace(row, ours=row.published + 1.01 * row.tolerance + 1e-9 * abs(row.published))
            assert not moved.passed, row.title
    interval = next(r for r in rows if r.high is not None)
    assert not dataclasses.replace(interval, ours=29.9).passed
    assert not dataclasses.replace(interval, ours=150.1).passed


def test_spikingformer_to_1e_8_millijoules() -> None:
    made = apply(published.counts_of("spikingformer_8_512"), "spikingformer")
    assert made.macs == 347_329_512 == 4 * 27 * 64 * 224 * 224 + 513_000
    assert made.acs == pytest.approx(6_517_540_941, abs=0.5)
    assert made.energy_joules == pytest.approx(7.46350260e-3, abs=1e-11)


def test_spikingformer_layers_are_those_of_the_log(shared: Path) -> None:
    log = json.loads((shared / "data" / "spikingformer" / "spikingformer_8_512.json").read_text(encoding="utf-8"))
    made = {row.path: row for row in apply(published.counts_of("spikingformer_8_512"), "spikingformer").layers}
    products = {path: row for path, row in made.items() if path.endswith(("kv", "q_kv"))}
    assert len(log["layers"]) == 54 == len(made) - len(products)
    for layer in log["layers"]:
        row = made[layer["name"].replace("block[", "block.").replace("]", "")]
        assert (row.acs, row.macs) == pytest.approx((layer["acs"], layer["macs"]), rel=1e-7), layer["name"]
    for block, (q, k, v) in enumerate(log["qkv_rates"]):
        pair = products[f"block.{block}.attn.kv"].acs + products[f"block.{block}.attn.q_kv"].acs
        assert pair == pytest.approx(4 * 8 * 14**2 * 64**2 * (min(k, v) + q), rel=1e-9)


def test_spikformer_rows_come_out_to_the_digit_with_a_first_layer_rounded_to_three(
    rows: tuple[published.Row, ...],
) -> None:
    """0.347 G and not 0.346816512 G: what the table must have been made from."""
    own = [r for r in rows if r.rule == "spikformer" and "own width" not in r.title]
    assert len(own) == 5
    for row in own:
        assert round(row.ours + 4.6 * (0.347 - 0.346816512), 3) == row.published


def test_tc_lif_by_hand() -> None:
    macs = 4 * (64 + 64 * 64) + 17 * 64 + 4 * (64 * 256 + 256 * 256) + 17 * 256 + 4 * 256 * 256 + 17 * 256
    assert apply(published.counts_of("tc_lif_lstm"), "tc_lif").energy_joules == pytest.approx(macs * 4.6e-12)
    acs = (64 * 64 + 64) * 0.219 + 64 * 256 * 0.219 + (256 * 256 + 256) * 0.145 + 256 * 256 * 0.145 + 256 * 0.004
    energy = (acs * 0.9 + (64 + 256 + 256) * 4.6) * 1e-12
    assert apply(published.counts_of("tc_lif_lif"), "tc_lif").energy_joules == pytest.approx(energy, rel=1e-6)


def test_the_ratio_on_real_ecg_by_hand() -> None:
    """Per step: LSTM 4 (4 36 + 36 36) + 17 36 + 36 6 MACs, against events at 1 and 42 neurons at 31."""
    counts = published.counts_of("srnn_ecg")
    rates = {path: counts[path].streams[0].nonzero / counts[path].streams[0].elements for path in ("i2h", "h2h", "h2o")}
    sent = sum(counts[path].spikes_out or 0 for path in ("hidden", "output")) / counts.samples / 1301
    spiking = 4 * 36 * rates["i2h"] + 36 * 36 * rates["h2h"] + 36 * 6 * rates["h2o"] + sent + 42 * 31
    lstm = 31 * (4 * (4 * 36 + 36 * 36) + 17 * 36 + 36 * 6)
    (row,) = (r for r in published.reproductions() if r.quantity == "energy ratio")
    assert row.ours == pytest.approx(lstm / spiking)
    assert 30 <= row.ours <= 150


def test_recorded_ecg_counts_are_the_recording(shared: Path) -> None:
    """Events and spikes again by the net alone; then its counts, by the engine, on some recordings and on all."""
    import torch

    import snnenergy
    from tests.srnn_ecg import ROLES, SRNN, recordings

    folder = shared / "data" / "ecg_qtdb"
    net, (x, labels) = SRNN(folder / "srnn_36_weights.npz").eval(), recordings(folder)
    sent: dict[str, float] = {"hidden": 0.0, "output": 0.0}

    def counting(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, out: sent.update({name: sent[name] + out[1].sum().item()})

    hooks = [net.get_submodule(name).register_forward_hook(counting(name)) for name in ("hidden", "output")]
    with torch.no_grad():
        membranes = net(x)
    for hook in hooks:
        hook.remove()
    shipped = published.counts_of("srnn_ecg")
    assert {name: shipped[name].spikes_out for name in sent} == sent
    assert shipped["i2h"].streams[0].nonzero == int((x != 0).sum())
    assert shipped["h2o"].streams[0].driven == 6 * int(sent["hidden"])
    right = (membranes[:, 10:].argmax(-1) == labels[:, 10:]).float().mean().item()
    assert right == pytest.approx(0.8545, abs=2e-3)  # what its authors print
    updates = sum(shipped[name].updates for name in sent)
    assert sum(sent.values()) / updates == pytest.approx(0.2906, abs=2e-3)
    with torch.no_grad():
        counted = snnenergy.count(net, x, time_axis=1, roles=ROLES)
    for name in ("i2h", "h2h", "h2o", "hidden", "output"):
        fields = ("dense_macs", "streams", "updates", "spikes_out")
        assert all(getattr(counted[name], f) == getattr(shipped[name], f) for f in fields), name


def test_shipped_counts_are_whole(root: Path) -> None:
    file = root / "conventions" / "published" / "srnn_ecg.json"
    raw = json.loads(file.read_text(encoding="utf-8"))
    assert Counts.from_dict(raw).to_dict() == raw


def test_the_neurobench_harness_agrees_with_its_preset() -> None:
    """An outside witness, where it is installed: effective operations of a small net, counted by both."""
    harness = pytest.importorskip("neurobench.metrics.utils.layers", reason="the NeuroBench harness is not installed")
    import torch

    import snnenergy

    torch.manual_seed(0)
    layer = torch.nn.Conv1d(3, 4, 3, padding=1)
    for x in ((torch.rand(2, 3, 10) < 0.3).float(), torch.relu(torch.randn(2, 3, 10))):
        made = apply(snnenergy.count(layer, x), "neurobench")
        theirs, spiking = harness.single_layer_MACs(x, layer)
        assert (made.acs if spiking else made.macs) == pytest.approx(float(theirs) / 2)


def test_the_command_writes_the_page(cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert cli("conventions", "reproduce", "--markdown", page).code == 0
    assert page.read_text(encoding="utf-8") == (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
