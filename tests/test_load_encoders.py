"""Static inputs as steps, and events as frames: small cases by hand, laws, data outside its range, and the options."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnenergy.counts import Counts
from snnenergy.errors import InputError
from snnenergy.load.encoders import Encoding, encode, frames
from snnenergy.load.inputs import load_inputs
from tests.conftest import Cli

X = torch.tensor([[0.0, 0.25, 0.5, 1.0]])  # one sample of four values


def test_direct_repeats() -> None:
    assert torch.equal(encode(X, Encoding("direct", 3)), torch.stack([X, X, X]))


def test_latency_by_hand() -> None:
    # T = 5: step (1 - x) 4 = 3, 2, 0 of 0.25, 0.5, 1; nothing for 0
    steps = encode(X, Encoding("latency", 5))
    assert [steps[:, 0, i].nonzero().flatten().tolist() for i in range(4)] == [[], [3], [2], [0]]


def test_delta_by_hand() -> None:
    steps = encode(torch.tensor([[0.05, 0.1, -0.5]]), Encoding("delta", 3))
    assert steps.tolist() == [[[0, 1, -1]], [[0, 0, 0]], [[0, 0, 0]]]


def test_rate_means_probability_and_keeps_its_seed() -> None:
    steps = encode(X, Encoding("rate", 4000, seed=1))
    assert set(steps.flatten().tolist()) == {0.0, 1.0}
    # 4000 draws: a standard deviation of at most 0.008
    assert torch.allclose(steps.mean(0), X, atol=0.04)
    assert torch.equal(steps, encode(X, Encoding("rate", 4000, seed=1)))
    assert not torch.equal(steps, encode(X, Encoding("rate", 4000, seed=2)))
    assert steps[:, 0, 0].sum() == 0 and steps[:, 0, 3].sum() == 4000


def test_time_goes_where_it_is_wanted() -> None:
    assert encode(X, Encoding("direct", 3, axis=1)).shape == (1, 3, 4)
    assert encode(X, Encoding("direct", 3, axis=2)).shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("x", "how", "words"),
    [
        (X * 255, ("rate", 2), "takes values from 0 to 1, found 0 to 255; scale the input"),
        (-X, ("latency", 2), "found -1 to"),
        (X / 0, ("direct", 2), "NaN or infinity"),
        (X.long(), ("rate", 2), "the model takes torch.int64"),
        (X, ("rate", 2, 0, 3), "--time-axis 3: an encoded input has 3 axes; use 0 to 2"),
        (X, ("direct", 2**30), "use fewer steps"),
    ],
)
def test_data_outside_its_range(x: torch.Tensor, how: tuple[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        encode(x, Encoding(*how))


@pytest.mark.parametrize(
    ("coding", "steps", "words"), [("phase", 2, "expected one of direct"), ("rate", 0, "at least 1")]
)
def test_codings_that_are_none(coding: str, steps: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Encoding(coding, steps)


# ---- events
EVENTS: dict[str, Any] = {
    "x": np.array([0, 1, 1, 2]),
    "y": np.array([0, 0, 0, 1]),
    "t": np.array([1000, 1009, 1005, 1010]),  # in no order
    "p": np.array([1, 0, 0, 1]),
}


def test_events_by_hand(tmp_path: Path) -> None:
    np.savez(tmp_path / "events.npz", **EVENTS)
    (x,) = (inputs := load_inputs(tmp_path / "events.npz", event_bin=10)).values
    assert x.shape == (2, 1, 2, 2, 3)  # T, N, polarity, height, width
    # within 10 of the first: one event up at (0, 0), two down at (1, 0); in the second bin one up at (2, 1)
    assert {tuple(i): float(x[tuple(i)]) for i in x.nonzero().tolist()} == {
        (0, 0, 1, 0, 0): 1.0,
        (0, 0, 0, 0, 1): 2.0,
        (1, 0, 1, 1, 2): 1.0,
    }
    assert inputs.notes == (
        "4 events as 2 frames of 10 each (event counts, T x 1 x 2 x 2 x 3, from the largest coordinates)",
    )


@pytest.mark.parametrize(
    ("steps", "words"), [(1, "the first 1 of them, 1 events later"), (4, "2 empty ones after them")]
)
def test_a_number_of_frames(tmp_path: Path, steps: int, words: str) -> None:
    np.savez(tmp_path / "events.npz", **EVENTS)
    own = load_inputs(tmp_path / "events.npz", event_bin=10).values[0]
    inputs = load_inputs(tmp_path / "events.npz", event_bin=10, frames_of_events=steps)
    (x,) = inputs.values
    assert len(x) == steps
    assert torch.equal(x[:2], own[:steps])
    assert not x[2:].any()
    assert words in inputs.notes[0]


def test_no_event_is_lost_whatever_the_bin() -> None:
    columns = {key: torch.from_numpy(value) for key, value in EVENTS.items()}
    for width in (0.5, 1, 3, 10, 1e6):
        assert frames(columns, width, "file")[0].sum() == 4


@pytest.mark.parametrize(
    ("change", "width", "words"),
    [
        ({"p": np.array([0, 1, 2, 0])}, 10, "p must be 0 and 1"),
        ({"x": np.array([0, 1, -1, 2])}, 10, "x runs from -1 to 2"),
        ({"width": np.array(2)}, 10, "a sensor of width 2 has 0 to 1"),
        ({"x": np.array([0.5, 1, 1, 2])}, 10, "x must be integers"),
        ({"t": np.array([0, np.nan, 1, 2])}, 10, "t holds NaN"),
        ({"t": np.array([0, 2**40, 1, 2])}, 1, "use a wider --event-bin"),
        ({"t": np.array([0, 1])}, 10, "is for events"),
        ({}, 0, "expected a positive duration"),
        ({}, None, "holds events .*; pass --event-bin"),
    ],
)
def test_events_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], width: float | None, words: str) -> None:
    np.savez(tmp_path / "events.npz", **(EVENTS | change))
    with pytest.raises(InputError, match=words):
        load_inputs(tmp_path / "events.npz", event_bin=width)


def test_p_may_be_plus_and_minus_one() -> None:
    columns = {key: torch.from_numpy(value) for key, value in EVENTS.items()}
    signed = columns | {"p": columns["p"] * 2 - 1}
    assert torch.equal(frames(columns, 10, "file")[0], frames(signed, 10, "file")[0])


# ---- the command line
@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`encoded_net:build`, one linear layer, and its images: `images.npy`, 2 samples of 4 values."""
    (tmp_path / "encoded_net.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(4, 3, bias=False)\n"
    )
    np.save(tmp_path / "images.npy", np.array([[0, 0.25, 0.5, 1], [1, 1, 0, 0]], dtype=np.float32))
    monkeypatch.chdir(tmp_path)
    yield "encoded_net:build"
    sys.modules.pop("encoded_net", None)


def profiled(cli: Cli, factory: str, *options: object) -> Counts:
    done = cli("profile", factory, "--hardware", "none", "--json", "out.json", *options)
    assert done.code == 0, done.err
    return Counts.load("out.json")


def test_an_encoded_input_is_counted(cli: Cli, factory: str) -> None:
    counts = profiled(cli, factory, "--input", "images.npy", "--encode", "latency", "--steps", 5)
    (layer,) = counts.layers
    assert (counts.time_steps, counts.samples) == (5, 2)
    assert (layer.acs, layer.macs, layer.dense_macs) == (5 * 3, 0, 5 * 2 * 4 * 3)  # five values speak, once each
    assert "input encoded by latency coding, T = 5 on axis 0" in counts.identity.notes
    assert counts.conditions.seed is None


def test_the_seed_of_rate_coding_is_recorded(cli: Cli, factory: str) -> None:
    rate = ("--input", "images.npy", "--encode", "rate", "--steps", 8, "--seed")
    one, two = (profiled(cli, factory, *rate, seed) for seed in (3, 4))
    assert (one.conditions.seed, two.conditions.seed) == (3, 4)
    assert one.conditions.inputs != two.conditions.inputs
    assert profiled(cli, factory, *rate, 3).conditions == one.conditions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--encode", "rate"), "pass --steps T"),
        (("--steps", 4), "goes with --encode"),
        (("--encode", "rate", "--steps", 4, "--input-shape", "1,4"), "takes values from 0 to 1"),
        (("--event-bin", 5, "--input-shape", "1,4"), "goes with --input FILE"),
        (("--event-bin", 5, "--input", "images.npy"), "is for events"),
    ],
)
def test_options_that_do_not_go_together(cli: Cli, factory: str, options: tuple[object, ...], words: str) -> None:
    given = options if "--input-shape" in options or "--input" in options else (*options, "--input", "images.npy")
    done = cli("profile", factory, "--hardware", "none", *given)
    assert done.code == 2
    assert words in " ".join(done.err.split())
