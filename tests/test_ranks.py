"""Several processes count one data set: gloo on 2 and 3 ranks, uneven shards, and ranks that fail."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import snnenergy
from snnenergy.counts import Counts
from snnenergy.load import Cut, DataOptions, load_dataset
from snnenergy.trace.dataset import Pass
from tests.conftest import ROOT, Cli

USER_CODE = """
import os, time, torch
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
x = (torch.rand(11, 2, 6, 6) > 0.7).float()
x[8:] *= 0.5  # the last batch makes the stream of two magnitudes: no shard alone sees the union
y = torch.arange(11) % 4
loader = DataLoader(TensorDataset(x, y), batch_size=3)

def net():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(108, 4))

def dying():
    yield x[:3], y[:3]
    if os.environ["RANK"] == "1":
        os._exit(9)
    yield x[3:6], y[3:6]

def raising():
    yield x[:3], y[:3]
    if os.environ["RANK"] == "1":
        raise OSError("disk went away")
    yield x[3:6], y[3:6]
"""

Results = list[tuple[int, str, str]]


def ranks(folder: Path, size: int, *command: str) -> Results:
    """(exit code, stdout, stderr) of each of `size` processes with the variables that torchrun sets."""
    (folder / "user_code.py").write_text(USER_CODE, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {"PYTHONPATH": f"{ROOT}:{folder}"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(size)
    ]
    found = [process.communicate(timeout=90) for process in started]
    return [(p.returncode, out, err) for p, (out, err) in zip(started, found, strict=True)]


def plain(counts: Counts) -> Counts:
    """How many forwards were surveyed is of a process, and not of the data."""
    return dataclasses.replace(counts, identity=dataclasses.replace(counts.identity, notes=()))


def profile(*options: str) -> tuple[str, ...]:
    return ("-m", "snnenergy", "profile", "user_code:net", "--hardware", "none", "--rank-timeout", "60", *options)


@pytest.mark.parametrize(("size", "limit"), [(2, 11), (3, 5)])  # shards of 6 and 5 samples; of 3, 2 and none
def test_ranks_together_count_what_one_process_counts(
    size: int, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = profile("--data", "user_code:loader", "--limit", str(limit), "--json", "all.json")
    done = ranks(tmp_path, size, *command)
    assert [code for code, _, _ in done] == [0] * size, done
    assert [f"{limit} samples" in out for _, out, _ in done] == [True] + [False] * (size - 1)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "user_code", raising=False)
    work, batches = load_dataset("user_code:net", DataOptions("user_code:loader", cut=Cut(limit)))
    with Pass(work) as one:
        for batch in batches:
            one.take(batch)
    assert plain(Counts.load(tmp_path / "all.json")) == plain(one.counts())
    assert one.counts()["0"].streams[0].domain == ("graded" if limit == 11 else "spike")


@pytest.mark.parametrize(("loader", "said"), [("dying", "did not all bring"), ("raising", "rank 1 of 2")])
def test_a_rank_that_fails_leaves_no_smaller_number(loader: str, said: str, tmp_path: Path) -> None:
    first, second = ranks(tmp_path, 2, *profile("--data", f"user_code:{loader}", "--json", "all.json"))
    assert (first[0], second[0]) == (2, 9 if loader == "dying" else 2)
    assert "rank 0 of 2: the other ranks did not all bring their counts" in first[2]
    assert said in first[2] + second[2] and "Traceback" not in first[2] + second[2]
    assert not (tmp_path / "all.json").exists() and not first[1]


def test_sync_in_a_program_of_ones_own(tmp_path: Path) -> None:
    program = """
import dataclasses, sys, torch, torch.distributed as dist, snnenergy, user_code
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
part = user_code.x[: 4 * rank + 1]  # 1 and 5 samples
own = snnenergy.count(user_code.net(), part, name="net")
large = dataclasses.replace(own, layers=tuple(dataclasses.replace(la, dense_macs=2**70 + rank) for la in own.layers))
total = large.sync(timeout=60)
assert total.samples == 6 and total.layers[0].dense_macs == 2**71 + 1
assert total == snnenergy.Counts.from_dict(total.to_dict())
try:
    dataclasses.replace(own, model=f"net {rank}").sync(timeout=60)
except snnenergy.CountsError as error:
    print(error)
dist.destroy_process_group()
"""
    for code, out, err in ranks(tmp_path, 2, "-c", program):
        assert code == 0, err
        assert out == "cannot merge counts of two models, 'net 0' and 'net 1'\n"


def test_alone_there_is_nothing_to_wait_for() -> None:
    counts = snnenergy.count(torch.nn.Linear(2, 2), torch.ones(1, 2))
    assert counts.sync() is counts


def test_ranks_are_shards_already(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = cli("profile", "user_code:net", "--data", "user_code:loader", "--shard", "1/2")
    assert found.code == 2 and "which are shards already" in found.err
