"""What each sample did: rows beside the Counts of all, and how energy is spread over them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnenergy
from snnenergy.cost.spread import spread, student_t
from snnenergy.counts import Counts
from snnenergy.load import Batch
from snnenergy.load.workload import Workload
from snnenergy.trace.dataset import Pass
from tests.conftest import Cli

torch.manual_seed(3)
SPIKES = (torch.rand(40, 4) > 0.6).float()
SPIKES[0] = 0
IMAGES = (torch.rand(5, 2, 6, 6) * 3).floor() / 2  # 0, 0.5 and 1: graded


class Steps(nn.Module):
    """Conv, leaky neurons over four steps, and a product of activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 3, 3, padding=1), nn.Linear(108, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = torch.zeros(len(x), 108)
        out = torch.zeros(len(x), 4)
        for _ in range(4):
            v = 0.8 * v + self.conv(x).flatten(1)
            fired = (v > 0.5).float()
            v = v - 0.5 * fired
            out = out + self.fc(fired)
        return out + (out[:, None] @ out[:, :, None])[:, 0]


class Early(nn.Module):
    """A second layer, several times, only where the first answer is unsure."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.a(x).relu()
        for _ in range(3 if x.sum() > 1.5 else 0):
            h = self.b(h).relu()
        out: torch.Tensor = self.out(h)
        return out


class Pooled(nn.Module):
    """An image of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc((self.conv(x) > 0.1).float().mean((2, 3)))
        return out


SIZES = [torch.rand(1, 1, n, n) for n in (8, 3, 3, 5, 8)]


def passed(net: nn.Module, x: torch.Tensor, each: str | None, size: int = 3) -> Pass:
    work = Workload("net", net.eval(), (), {}, "factory", False, None)
    with Pass(work, each=each) as one:
        for i, start in enumerate(range(0, len(x), size)):
            part = x[start : start + size]
            one.take(Batch((part,), {}, None, i, start, len(part)))
    return one


def values(counts: Counts) -> list[Any]:
    """What a sample did; `kernels` and `calls` are of a run."""
    return [
        (la.path, [(s.nonzero, s.driven, s.effective, s.elements) for s in la.streams], la.per_step, la.spikes_out,
         la.dense_macs, la.updates, la.adds)
        for la in counts.layers if la.path != "(copies)"
    ]  # fmt: skip  # fields, read across


@pytest.mark.parametrize(("net", "x"), [(nn.Linear(4, 3), SPIKES[:7]), (Steps(), IMAGES)])
def test_a_row_is_the_count_of_its_sample_alone(net: nn.Module, x: torch.Tensor) -> None:
    one = passed(net, x, "sample")
    assert one.rows is not None
    whole = one.counts()
    rows = list(one.rows.counts(whole))
    assert [values(row) for row in rows] == [values(snnenergy.count(net, x[i : i + 1])) for i in range(len(x))]
    for row, domains in ((row, [la.domains for la in row.layers]) for row in rows):
        assert row.samples == 1 and domains == [la.domains for la in whole.layers]  # of the run, and not of the sample
    units = [[s.unit_taps for la in row.layers for s in la.streams] for row in rows]
    assert [sum(column) for column in zip(*units, strict=True) if None not in column] == [
        s.unit_taps for la in whole.layers for s in la.streams if s.unit_taps is not None
    ]
    assert one.rows.columns(whole)["sample"].tolist() == list(range(len(x)))


@pytest.mark.parametrize(("net", "items"), [(Early(), [SPIKES[i : i + 1] for i in range(9)]), (Pooled(), SIZES)])
def test_a_row_has_the_work_of_its_own_forward(net: nn.Module, items: list[torch.Tensor]) -> None:
    work = Workload("net", net.eval(), (), {}, "factory", False, None)
    with Pass(work, each="sample") as one:
        for i, x in enumerate(items):
            one.take(Batch((x,), {}, None, i, i, 1))
    assert one.rows is not None
    whole = one.counts()
    rows = list(one.rows.counts(whole))
    alone = [snnenergy.count(net, x) for x in items]
    assert len({counts.total().dense_macs for counts in alone}) > 1
    assert [sorted(values(row)) for row in rows] == [sorted(values(counts)) for counts in alone]
    assert [sum(la.kernels for la in row.layers) for row in rows] == [
        sum(la.kernels for la in counts.layers) for counts in alone
    ]
    assert sum(row.total().dense_macs for row in rows) == whole.total().dense_macs
    chip = snnenergy.load_hardware("horowitz_fp32")
    joules = [snnenergy.estimate(counts, chip).energy for counts in (whole, *rows)]
    mean, *each = [found.nominal for found in joules if found is not None]
    assert statistics.fmean(each) == pytest.approx(mean, rel=1e-12)


def test_columns_by_hand() -> None:
    one = passed(nn.Linear(4, 3), SPIKES, "sample")
    assert one.rows is not None
    columns = one.rows.columns(one.counts())
    assert columns["acs"].tolist() == [int(n) * 3 for n in SPIKES.sum(1)]
    assert columns["macs"].tolist() == [0] * 40
    assert (
        columns["streams"].tolist() == ["(root)#0"] and columns["effective"][:, 0].tolist() == columns["acs"].tolist()
    )


def test_a_row_of_a_batch_where_samples_are_not_told_apart() -> None:
    one = passed(nn.Linear(4, 3), SPIKES, "forward", 16)
    assert one.rows is not None and one.rows.samples == [16, 16, 8]
    assert one.rows.columns(one.counts())["acs"].tolist() == [int(SPIKES[a : a + 16].sum()) * 3 for a in (0, 16, 32)]


def test_the_mean_of_the_samples_is_the_estimate_of_the_whole() -> None:
    from snnenergy.cost.price import dynamic_only

    one = passed(Steps(), IMAGES, "sample")
    assert one.rows is not None
    whole = one.counts()
    for name in ("horowitz_fp32", "loihi2", "tianjic"):
        chip = snnenergy.load_hardware(name)
        rows = [dynamic_only(row, chip).energy for row in one.rows.counts(whole)]
        total = dynamic_only(whole, chip).energy
        if total is not None:  # an affine chip: energy of the mean is the mean of energies
            assert statistics.fmean(r.nominal for r in rows if r) == pytest.approx(total.nominal, rel=0.02)


def test_a_spread_by_hand() -> None:
    found = spread("chip", [1.0, 2.0, 3.0, 6.0], [10, 11, 12, 13])
    half = student_t(0.975, 3) * statistics.stdev([1, 2, 3, 6]) / 2
    assert found.low is not None and found.high is not None
    assert found.mean == 3.0
    assert found.high - found.mean == pytest.approx(half)
    assert found.hardest == ((13, 6.0), (12, 3.0), (11, 2.0), (10, 1.0))
    assert found.quantiles["50 %"] == 2.5
    assert found.quantiles["25 %"] == 1.75
    assert spread("chip", [5.0], [0]).low is None
    batches = spread("chip", [1.0, 4.0], [0, 3], [3, 1])
    assert (batches.mean, batches.per) == (1.75, "batch")


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (29, 2.045), (999, 1.962)])
def test_students_t_as_in_the_tables(freedom: int, t: float) -> None:
    assert student_t(0.975, freedom) == pytest.approx(t, rel=0.0012)


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def make(**names: Any) -> None:
        module = ModuleType("user_rows")
        vars(module).update(net=lambda: nn.Linear(4, 3).eval(), **names)
        monkeypatch.setitem(sys.modules, "user_rows", module)

    return make


COMMAND = ("profile", "user_rows:net", "--data", "user_rows:loader", "--hardware", "horowitz_fp32,loihi")


def test_columns_beside_the_counts(code: Callable[..., None], cli: Cli, tmp_path: Path) -> None:
    code(loader=[SPIKES[:25], SPIKES[25:]])
    done = cli(*COMMAND, "--per-sample", "--json", tmp_path / "c.json")
    assert done.code == 0
    assert "Spread over 40 samples" in done.out and "hardest on horowitz_fp32: sample at" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    columns, counts = _columns(tmp_path / "c.npz"), Counts.load(tmp_path / "c.json")
    assert (columns["acs"].sum(), columns["correct"].tolist()) == (counts.total().acs, [-1] * 40)
    (fp32, _) = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["spread"]
    assert fp32["mean"] == pytest.approx(columns["joules_horowitz_fp32"].mean())
    assert fp32["hardest"][0][0] == int(columns["joules_horowitz_fp32"].argmax())


def _columns(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


def test_a_stream_that_turns_out_graded_is_priced_so_from_the_first_sample(
    code: Callable[..., None], cli: Cli, tmp_path: Path
) -> None:
    late = SPIKES.clone()
    late[-1, 0] = 0.5
    code(loader=[late[:20], late[20:]])
    assert cli(*COMMAND, "--per-sample", "--json", tmp_path / "c.json").code == 0
    columns = _columns(tmp_path / "c.npz")
    assert (int(columns["acs"].sum()), int(columns["macs"].sum())) == (0, int((late != 0).sum()) * 3)


def test_a_run_stops_when_the_mean_is_known(code: Callable[..., None], cli: Cli, tmp_path: Path) -> None:
    many = SPIKES[1:].repeat(30, 1)
    code(loader=[many[i : i + 10] for i in range(0, len(many), 10)])
    done = cli(*COMMAND, "--until-ci", "10%", "--json", tmp_path / "c.json")
    assert done.code == 0
    counts = Counts.load(tmp_path / "c.json")
    assert 30 <= counts.samples < 1170 and not counts.conditions.partial
    found = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["spread"]
    assert all((s["high"] - s["low"]) / 2 <= 0.1 * s["mean"] for s in found)
    assert any(note.startswith(f"stopped after {counts.samples} samples") for note in counts.identity.notes)


def test_where_samples_are_not_told_apart_it_looks_at_batches(
    code: Callable[..., None], cli: Cli, tmp_path: Path
) -> None:
    many = SPIKES[1:].repeat(20, 1)
    code(loader=[many[i : i + 10] for i in range(0, len(many), 10)])
    done = cli(*COMMAND, "--samples", "10", "--until-ci", "5%", "--json", tmp_path / "c.json")
    assert done.code == 0 and "looks at the means of batches" in done.err and "Spread over 30 batches" in done.out
    assert Counts.load(tmp_path / "c.json").samples == 300
    refused = cli(*COMMAND, "--samples", "10", "--per-sample", "--json", tmp_path / "c.json")
    assert refused.code == 2 and "cannot be run one by one" in refused.err


def test_options_of_samples_that_do_not_go_together(code: Callable[..., None], cli: Cli, tmp_path: Path) -> None:
    code(loader=[SPIKES])
    for options, said in (
        (("--per-sample",), "goes with --json FILE"),
        (("--per-sample", "--json", tmp_path / "c.npz"), "two outputs would write it, --json and --per-sample"),
        (("--until-ci", "5"), "expected a share such as 1%"),
        (("--until-ci", "1%", "--resume", "--json", tmp_path / "c.json"), "cannot be priced again"),
    ):
        found = cli(*COMMAND, *options)
        assert found.code == 2 and said in " ".join(found.err.split())


def test_a_batch_that_cannot_be_cut_is_told(code: Callable[..., None], cli: Cli, tmp_path: Path) -> None:
    class Folded(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(x.reshape(-1, 2, 4), torch.ones(3, 4)).sum(1)

    code(loader=[SPIKES[:8]])
    counts = snnenergy.count(Folded(), SPIKES[:8])
    assert counts.samples == 8
    vars(sys.modules["user_rows"])["net"] = Folded
    done = cli(*COMMAND, "--per-sample", "--json", tmp_path / "c.json")
    assert done.code == 2 and "forward raised" in done.err
