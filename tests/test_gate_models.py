"""Models that `check` and `init` run themselves: on one input, on a data set, with labels, with an encoding."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from snnenergy import Counts
from snnenergy.trace.answers import right
from tests.conftest import Cli

X = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
Y = np.array([0, 1, 2, 2])
"""The net gives back its input, so three of four answers are right."""
MODULE = """
import numpy as np
import torch


def net():
    layer = torch.nn.Linear(3, 3, bias=False)
    torch.nn.init.eye_(layer.weight)
    return layer


def batches():
    held = np.load("labelled.npz")
    for i in range(4):
        yield held["x"][i : i + 1], held["y"][i : i + 1]
"""
ACCURACY = """
[[budgets]]
metric = "accuracy"
min = "{}"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of a net and its loader, and its input with and without labels; the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "gated_net", raising=False)
    (tmp_path / "gated_net.py").write_text(MODULE)
    np.savez(tmp_path / "labelled.npz", x=X, y=Y)
    np.savez(tmp_path / "plain.npz", x=X)
    return tmp_path


def settings(folder: Path, table: str, budgets: str) -> None:
    (folder / "snnenergy.toml").write_text(f'[models.net]\nsource = "gated_net:net"\n{table}\n{budgets}')


@pytest.mark.parametrize(
    "table",
    [
        'input = "labelled.npz"',
        'data = "labelled.npz"',
        'data = "labelled.npz:x"\nbatch_size = 3',
        'data = "gated_net:batches"',
    ],
)
def test_labels_make_an_accuracy_that_budgets_hold(project: Path, cli: Cli, table: str) -> None:
    settings(project, table, ACCURACY.format("75 %"))
    held = cli("check")
    assert (held.code, held.out.splitlines()[0]) == (0, "passed: 1 budget holds")
    settings(project, table, ACCURACY.format("76 %"))
    broken = cli("check")
    assert broken.code == 1
    assert "broken: accuracy of net: 75 % below min 76 %" in broken.out


def test_what_somebody_measured_stands_over_the_labels(project: Path, cli: Cli) -> None:
    settings(project, 'input = "labelled.npz"', ACCURACY.format("76 %"))
    assert cli("check", "--accuracy", "net=0.9").code == 0


def test_an_accuracy_without_labels_is_asked_for(project: Path, cli: Cli) -> None:
    settings(project, 'input = "plain.npz"', ACCURACY.format("75 %"))
    answer = cli("check")
    assert (answer.code, answer.out) == (2, "")
    assert "snnenergy.toml:5: accuracy of net is not known: nothing it ran on has labels" in answer.err


def test_a_limited_data_set_is_its_first_samples(project: Path, cli: Cli) -> None:
    settings(project, 'data = "labelled.npz"\nlimit = 3', ACCURACY.format("100 %"))
    assert cli("check").code == 0


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('input = "plain.npz"\ndata = "plain.npz"', "`input` and `data`: give one of them"),
        ("limit = 3", "`batch_size` and `limit` go with `data`"),
        ('encode = "rate"\ninput = "plain.npz"', "`encode` needs `steps`"),
        ('data = "absent.npz"', "--data absent.npz: no such file or folder"),
        ('data = "labelled.npz"\nlimit = 0', "greater than or equal to 1"),
    ],
)
def test_tables_that_cannot_be_run(project: Path, cli: Cli, table: str, words: str) -> None:
    settings(project, table, ACCURACY.format("75 %"))
    answer = cli("check")
    assert (answer.code, answer.out) == (2, "")
    assert words in " ".join(answer.err.split())


def test_init_writes_down_how_the_model_is_read(project: Path, cli: Cli) -> None:
    options = ("--encode", "rate", "--steps", 4, "--time-axis", 0, "--seed", 7, "--neuron", "gate.1=LIF")
    (project / "gated_net.py").write_text(MODULE + GATED)
    answer = cli("init", "gated_net:gated", "--input", "labelled.npz", *options, "--hardware", "loihi")
    assert answer.code == 0, answer.err
    table = tomllib.loads((project / "snnenergy.toml").read_text())["models"]["gated"]
    assert table == {
        "source": "gated_net:gated", "input": "labelled.npz", "encode": "rate", "steps": 4, "time_axis": 0, "seed": 7,
        "neurons": {"gate.1": "LIF"},
    }  # fmt: skip  # as the file has it
    counts = Counts.load(project / "energy-baseline" / "gated.json")
    assert (counts.time_steps, counts["gate.1"].neuron_model, counts.conditions.seed) == (4, "LIF", 7)
    assert cli("check").code == 0  # the file says all of it: the same counts again


@pytest.mark.parametrize("steps", [2, 4])
def test_a_recording_is_gated_in_as_many_frames_as_it_is_given(project: Path, cli: Cli, steps: int) -> None:
    (project / "gated_net.py").write_text(MODULE + GATED.replace("net()", "torch.nn.Flatten(2)"))
    np.savez(
        project / "events.npz", x=[0, 1, 1, 2], y=[0, 1, 1, 0], t=[0, 9, 12, 21], p=[0, 1, 1, 0]
    )  # three bins of 10
    options = ("--input", "events.npz", "--event-bin", 10, "--steps", steps, "--hardware", "loihi")
    answer = cli("init", "gated_net:gated", *options)
    assert answer.code == 0, answer.err
    assert Counts.load(project / "energy-baseline" / "gated.json").time_steps == steps
    assert cli("check").code == 0


@pytest.mark.parametrize("name", ["é", "n et", "𝒳", "a\x7fb\tc", "plain-1_b"])
def test_what_init_writes_can_be_read(name: str) -> None:
    from snnenergy.gate import starter

    text = starter.render(Counts(name, samples=1), {"neurons": {name: "LIF"}, "source": f"{name}.pt2"}, {})
    assert tomllib.loads(text)["models"] == {name: {"neurons": {name: "LIF"}, "source": f"{name}.pt2"}}


def test_init_replaces_nothing_unasked(project: Path, cli: Cli) -> None:
    command = ("init", "gated_net:net", "--input", "plain.npz", "--hardware", "h100")
    assert cli(*command).code == 0
    held = (project / "energy-baseline" / "net.json").read_bytes()
    other = (*command[:3], "labelled.npz", *command[4:], "--config", "other.toml")
    refused = cli(*other, "--seed", 3)
    assert refused.code == 2
    assert "energy-baseline/net.json: is the baseline of another gate; pass another --name, or --force" in refused.err
    assert not (project / "other.toml").exists()
    assert (project / "energy-baseline" / "net.json").read_bytes() == held
    assert cli(*other, "--name", "two").code == cli(*other, "--force").code == 0


GATED = """

class Threshold(torch.nn.Module):
    def forward(self, x):
        return (x >= 1).to(x.dtype)


class Gated(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = torch.nn.Sequential(net(), Threshold())

    def forward(self, steps):
        return sum(self.gate(x) for x in steps)


def gated():
    return Gated()
"""


def test_init_holds_todays_accuracy_less_a_point(project: Path, cli: Cli) -> None:
    assert cli("init", "gated_net:net", "--input", "labelled.npz", "--hardware", "h100").code == 0
    budgets = tomllib.loads((project / "snnenergy.toml").read_text())["budgets"]
    assert budgets[-1] == {"metric": "accuracy", "min": "74 %"}


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0, 1, 2, 2], [True, True, True, False]),
        ([[0], [1], [2], [2]], [True, True, True, False]),
        ([0.0, 1.0, 2.0, 2.0], [True, True, True, False]),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], [True, True, True, False]),
        ([[0.7, 0.2, 0.1], [0, 1, 0], [0, 0, 1], [0, 0.4, 0.6]], [True, True, True, False]),
        ([0.5, 1.0, 2.0, 2.0], None),  # targets of a regression name no class
        ([[0.3, -1.0, 0.2]] * 4, None),
        ([0, 1, 2], None),
    ],
)
def test_labels_are_classes_or_shares_of_them(labels: list[object], found: list[bool] | None) -> None:
    made = right(torch.from_numpy(X), torch.tensor(labels), None)
    assert (None if made is None else made.tolist()) == found
