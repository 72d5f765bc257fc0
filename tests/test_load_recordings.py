"""`--data pkg:factory` that returns recordings of events, as tonic's data sets: one sample each, frames of a stated bin."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from snnenergy.counts import Counts
from snnenergy.load import Cut, DataOptions, load_dataset
from snnenergy.trace.dataset import Pass
from tests.conftest import Cli

FIELDS = [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")]
EVENTS = np.array([(0, 0, 0, 1), (1, 0, 4, 0), (1, 0, 9, 0), (2, 1, 10, 1), (2, 1, 35, 1)], dtype=FIELDS)


class Recordings:
    """Shaped as a data set of tonic: by place, of no class of torch, with the size of its sensor."""

    sensor_size = (3, 2, 2)

    def __init__(self, items: list[Any]) -> None:
        self.items, self.fetched = items, list[int]()

    def __getitem__(self, i: int) -> Any:
        self.fetched.append(i)
        return self.items[i]

    def __len__(self) -> int:
        return len(self.items)


class Net(nn.Module):
    """T x N x 2 x 2 x 3 -> one number a step; every weight is one."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 2, bias=False)
        nn.init.ones_(self.fc.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(x.flatten(2)).sum(0)
        return out


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made: Any = ModuleType("recordings_here")
    made.net = Net
    made.items = Recordings([(EVENTS, 0), (EVENTS[:3], 1), (EVENTS[2:], 0)])
    made.build = lambda: made.items
    sys.modules["recordings_here"] = made
    yield made
    del sys.modules["recordings_here"]


def counted(data: DataOptions, event_bin: float, steps: int | None = None) -> Counts:
    work, batches = load_dataset("recordings_here:net", data, event_bin=event_bin, steps=steps)
    with Pass(work) as one:
        for batch in batches:
            one.take(batch)
    return one.counts()


def test_by_hand(module: Any) -> None:
    counts = counted(DataOptions("recordings_here:build"), 10, steps=3)
    # bins of 10: recordings of 4, 1 and 3 steps (the last starts at t = 9), cut and filled to 3; 12 inputs, 2 outputs
    assert (counts.samples, counts.time_steps) == (3, 3)
    fc = counts["fc"]
    assert fc.dense_macs == 24 * 3 * 3
    # places with events: 2 + 1 + 0, then 2, then 2 + 0 + 1 (t = 9 and 10 in one bin)
    assert fc.driven == 2 * (3 + 2 + 3)
    assert fc.domains == ("graded",)  # two events at one place in one bin
    assert counts.answers.labelled == 3
    assert any("events as frames of 10 each" in note for note in counts.identity.notes)
    assert any("T = 3: later events left out" in note for note in counts.identity.notes)


def test_a_shard_fetches_its_own_recordings_only(module: Any) -> None:
    parts = [counted(DataOptions("recordings_here:build", cut=Cut(shard=i, shards=2)), 10, steps=3) for i in range(2)]
    assert module.items.fetched == [0, 2, 1]
    whole = counted(DataOptions("recordings_here:build"), 10, steps=3)
    merged = parts[0].merge(parts[1])
    assert (merged.samples, merged["fc"].driven) == (whole.samples, whole["fc"].driven)


@pytest.mark.parametrize(
    ("items", "event_bin", "words"),
    [
        ([(EVENTS, 0)], None, "holds events .x, y, t, p.; pass --event-bin"),
        ([(np.ones(3), 0)], "10", "recording 0: --event-bin is for events: a structured array"),
        ([(EVENTS[:0], 0)], "10", "recording 0: holds no events"),
        ([(np.array([(9, 0, 0, 1)], dtype=FIELDS), 0)], "10", "a sensor of width 3 has 0 to 2"),
        ([(EVENTS, 0)], "0", "expected a positive duration"),
        ([(EVENTS, 0), (EVENTS[:1], 0)], "10", "inferences of 1 and of 4 time steps .* events: --steps T"),
        (iter([EVENTS]), "10", "--event-bin is for a data set of recordings; found a list_iterator"),
    ],
)
def test_recordings_that_cannot_be_read(
    cli: Cli, module: Any, items: Any, event_bin: str | None, words: str, tmp_path: Path
) -> None:
    module.items = Recordings(items) if isinstance(items, list) else items
    options = ("--event-bin", event_bin) if event_bin is not None else ()
    done = cli("profile", "recordings_here:net", "--data", "recordings_here:build", *options, "--hardware", "none")
    assert done.code == 2
    assert re.search(words, " ".join(done.err.split())), done.err


def test_the_frames_of_tonic(module: Any) -> None:
    """A second witness: tonic's own ToFrame, on a data set of its own base class."""
    tonic = pytest.importorskip("tonic", reason="tonic is not installed")

    class Data(tonic.dataset.Dataset):  # type: ignore[misc, name-defined]  # tonic has no types
        sensor_size = (3, 2, 2)

        def __getitem__(self, i: int) -> Any:
            return EVENTS, 0

        def __len__(self) -> int:
            return 1

    module.items = Data(save_to="unused")
    own = tonic.transforms.ToFrame(sensor_size=(3, 2, 2), time_window=10, include_incomplete=True)(EVENTS)
    counts = counted(DataOptions("recordings_here:build"), 10)
    assert counts["fc"].driven == 2 * int((own != 0).sum())
    assert counts["fc"].dense_macs == 24 * len(own)
