"""The benchmark scripts run and tell the truth about what they measured; no test looks at how long anything took."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import snnenergy
from benchmarks import accelerator, conformance, overhead, scale
from tests.conftest import ROOT


def tiny() -> tuple[nn.Module, Tensor]:
    return overhead.Steps(nn.Sequential(nn.Linear(4, 3), overhead.LIF()), 2), torch.ones(1, 4)


def row(net: str, bare: float, opened: float, once: float) -> overhead.Row:
    return overhead.Row(net, bare, opened, once, None, 1.26, 5)


def test_a_net_is_measured() -> None:
    found = overhead.measure("tiny", tiny, runs=2)
    assert (found.net, found.runs) == ("tiny", 2)
    assert min(found.bare_ms, found.open_ratio, found.once_ratio) > 0
    assert (found.open_mib is None) == (found.once_mib is None)
    assert (found.open_mib is not None) == (sys.platform == "linux")


def test_runs_are_taken_in_turns() -> None:
    order: list[str] = []
    times = overhead.interleaved((lambda: order.append("a"), lambda: order.append("b")), 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [len(column) for column in times] == [3, 3]


def test_patience_ends_a_slow_net_but_not_before_the_fewest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "PATIENCE_S", 0.0)
    assert [len(column) for column in overhead.interleaved((lambda: None,), 50)] == [overhead.FEWEST]


def test_geometric_means_by_hand() -> None:
    rows = [row("a", 1, 2, 8), row("b", 99, 8, 2), row("c", 100, 1.5, 3)]
    found = overhead.means(rows)
    assert found["small"] == {"open": pytest.approx(4), "once": pytest.approx(4)}
    assert found["large"] == {"open": pytest.approx(1.5), "once": pytest.approx(3)}
    assert overhead.means(rows[:2])["large"] == {"open": None, "once": None}


def test_the_table_shows_every_net_and_what_is_not_known() -> None:
    text = overhead.table([row("a", 1, 2, 8), row("c", 100, 1.5, 3)])
    assert text.startswith(f"snnenergy {snnenergy.__version__}, torch {torch.__version__}")
    assert "| a | 1.0 | x2.00 | x8.00 | - | 1.3 |" in text
    assert "| geometric mean, below 100 ms | | x2.00 | x8.00 | | |" in text
    assert "| geometric mean, 100 ms and more | | x1.50 | x3.00 | | |" in text


@pytest.mark.parametrize("net", [n for n in overhead.NETS if not n.endswith("b16")])
def test_every_small_net_runs_and_is_counted_whole(net: str) -> None:
    torch.manual_seed(0)
    model, x = overhead.NETS[net]()
    with torch.no_grad():
        counts = snnenergy.count(model.eval(), x)
        first, again = model(x), model(x)
    assert torch.equal(first, again)  # a net keeps no state from forward to forward
    assert counts.coverage.complete
    assert counts.total().dense_macs > 0


def test_the_spiking_net_spikes_and_the_pruned_one_is_pruned() -> None:
    torch.manual_seed(0)
    spiking, x = overhead.NETS["spiking_vgg"]()
    with torch.no_grad():
        total = snnenergy.count(spiking.eval(), x).total()
    assert 0 < total.acs < total.dense_macs / 2
    pruned, x = overhead.NETS["pruned_conv"]()
    with torch.no_grad():
        total = snnenergy.count(pruned.eval(), x).total()
    assert total.weights_nonzero == pytest.approx(total.weights / 10, rel=0.1)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "NETS", {"tiny": tiny})
    threads = torch.get_num_threads()
    overhead.main(["--runs", "1", "--json", str(tmp_path / "out.json")])
    assert "| tiny |" in capsys.readouterr().out
    (net,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["nets"]
    assert net["net"] == "tiny"
    overhead.main(["tiny", "--runs", "1", "--json", "-"])
    means = json.loads(capsys.readouterr().out)["geometric_means"]
    assert math.isfinite(means["small"]["open"])
    assert torch.get_num_threads() == threads


def test_what_an_accelerator_does_is_a_table_or_a_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(accelerator, "NETS", {"tiny": tiny})
    monkeypatch.setattr(accelerator, "RUNS", 2)
    accelerator.main(["cpu"])
    assert "| tiny | " in capsys.readouterr().out
    accelerator.main(["cpu", "--json", "-"])
    record = json.loads(capsys.readouterr().out)
    assert (record["same_counts"], [net["net"] for net in record["nets"]]) == (True, ["tiny"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["no_such_net"], ["--runs", "0"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        overhead.main(arguments)
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


# Conformance: the comparison itself, against a layer counted by hand; the cases are in test_conformance.py


TRUTH = {"(root)": {"dense": 12, "acs": 6, "macs": 0, "steps": None}}


def counted(values: list[float], forwards: int = 1) -> snnenergy.Counts:
    layer = nn.Linear(4, 3, bias=False)
    with torch.no_grad(), snnenergy.counting(layer) as rec:
        for _ in range(forwards):
            layer(torch.tensor([values], dtype=torch.float32))
    return rec.counts()


def test_what_is_exact_and_what_is_not() -> None:
    assert conformance.compare(counted([0, 1, 0, 1]), TRUTH, 1) == []
    assert conformance.compare(counted([0, 1, 0, 1], 3), TRUTH, 3) == []
    assert conformance.compare(counted([0, 1, 1, 1]), TRUTH, 1) == ["(root): acs 9 for 6"]
    assert conformance.compare(counted([0, 1, 0, 1]), {**TRUTH, "fc": TRUTH["(root)"]}, 1) == ["fc: no such layer"]
    stepped = {"(root)": TRUTH["(root)"] | {"steps": [3, 3]}}
    assert conformance.compare(counted([0, 1, 0, 1]), stepped, 1) == ["(root): steps"]


def test_the_conformance_table_counts_what_is_exact() -> None:
    rows = [
        conformance.Row("a", 1234, 5, 6, 1, 0, ()),
        conformance.Row("b", 1, 1, 1, 1, 1, ("count: fc: acs 9 for 6",)),
        conformance.Row("c", 0, 0, 0, 0, 0, (), missing="no such framework"),
    ]
    text = conformance.table(rows)
    assert "| a | 1,234 | 5 | 6 | 1 |  | exact |" in text
    assert "| b | 1 | 1 | 1 | 1 | 1 | count: fc: acs 9 for 6 |" in text
    assert "not run: no such framework" in text
    assert text.endswith("\n1 of 3 cases exact\n")


def test_without_the_reference_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conformance, "FOLDER", tmp_path)
    assert conformance.main([]) == 2
    assert "nothing to compare with" in capsys.readouterr().err


def test_both_tables_stand_in_the_page_with_their_versions() -> None:
    page = (ROOT / "docs" / "counting.md").read_text(encoding="utf-8")
    assert page.count(f"snnenergy {snnenergy.__version__}, torch ") == 2
    assert not [net for net in overhead.NETS if f"| {net} |" not in page]
    assert "of 42 cases exact" in page


def test_scale_counts_every_sample_it_times(tmp_path: Path) -> None:
    file = scale.images(tmp_path, 70)
    seconds, samples = scale.counted(str(file), 70)
    assert samples == 70 and seconds > 0
    with pytest.raises(SystemExit, match="no table 'rank'; there are data, ranks, layers"):
        scale.main(["rank"])
