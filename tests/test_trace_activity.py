"""Silent and saturated neurons: by hand, then against every spike that plain hooks saw in every framework."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnenergy.counts import Counts, LayerCounts
from snnenergy.trace import count, counting, region
from tests import frameworks_matrix as matrix
from tests.framework_nets import CASES, SLAYER, Case, N, T, package
from tests.trace_nets import figures

frameworks = pytest.mark.filterwarnings("ignore")  # the frameworks' own, while they are imported and run


class FiringNode(nn.Module):
    """Fires where its input is positive: what it does is what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).float()


class Looped(nn.Module):
    """One call a step; a layer reads the spikes (`linked`), or none does."""

    def __init__(self, linked: bool) -> None:
        super().__init__()
        self.neuron, self.fc, self.linked = FiringNode(), nn.Linear(4, 1), linked

    def forward(self, x: Tensor) -> list[Tensor]:
        fired = [self.neuron(step) for step in x]
        return [self.fc(s if self.linked else 0.5 * s + 1) for s in fired]


class AtOnce(Looped):
    """All steps in one call."""

    def forward(self, x: Tensor) -> Any:
        fired = self.neuron(x)
        return self.fc(fired if self.linked else 0.5 * fired + 1)


# T = 3 steps, 2 samples, 4 neurons: in sample 0 one neuron never fires and one always; in sample 1 three never
PATTERN = torch.tensor(
    [
        [[0, 1, 0, 1], [0, 0, 0, 1]],
        [[0, 1, 1, 0], [0, 0, 0, 0]],
        [[0, 1, 0, 0], [0, 0, 0, 1]],
    ],
    dtype=torch.float32,
)
ROLES = {"neuron": "IF"}


def pair(counts: Counts, path: str = "neuron") -> tuple[int | None, int | None]:
    return counts[path].silent, counts[path].saturated


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("build", [Looped, AtOnce])
def test_by_hand(build: Any, linked: bool) -> None:
    axis = 0 if build is AtOnce else None
    with torch.no_grad():
        counts = count(build(linked), PATTERN, roles=ROLES, time_axis=axis)
    assert pair(counts) == (1 + 3, 1)
    assert counts.share_of_neurons(counts["neuron"], counts["neuron"].silent) == 4 / (4 * 2)
    table = counts.to_dataframe().set_index("path")
    assert (table.loc["neuron", "silent_share"], table.loc["neuron", "saturated_share"]) == (0.5, 0.125)


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("build", [Looped, AtOnce])
def test_many_forwards_add_whatever_is_watched(build: Any, linked: bool) -> None:
    """Forwards 3, 5, 6, 7 are watched; each of its own, and the last with other neurons silent than the first."""
    model, axis = build(linked), 0 if build is AtOnce else None
    inputs = [PATTERN.roll(i, -1) * (i != 4) for i in range(7)]
    alone = [count(model, x, roles=ROLES, time_axis=axis) for x in inputs]
    with torch.no_grad(), counting(model, roles=ROLES, time_axis=axis) as rec:
        for x in inputs:
            model(x)
        assert pair(rec.counts()) == pair(rec.counts())  # read while open
    whole = alone[0].merge(*alone[1:])
    assert pair(rec.counts()) == pair(whole) == (4 * 6 + 8, 6)
    assert figures(rec.counts()) == figures(whole)


def test_a_forward_that_fails_leaves_nothing() -> None:
    class Fails(Looped):
        fail = False

        def forward(self, x: Tensor) -> list[Tensor]:
            out = super().forward(x)
            if self.fail:
                raise RuntimeError("no")
            return out

    model = Fails(linked=True)
    with torch.no_grad(), counting(model, roles=ROLES) as rec:
        for i in range(7):
            model.fail = i in (2, 4)
            try:
                model(PATTERN)
            except RuntimeError:
                assert model.fail
    assert pair(rec.counts()) == (4 * 5, 5)


def test_steps_that_cannot_be_told_apart_are_not_known() -> None:
    """A neuron that two layers share runs twice a step: which of its calls is whose is not known."""

    class Shared(Looped):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.fc(self.neuron(step)) + self.neuron(step).sum() for step in x]

    with torch.no_grad():
        counts = count(Shared(True), PATTERN, roles=ROLES, time_axis=0)
    assert pair(counts) == (None, None)


def test_one_unknown_part_makes_the_sum_unknown() -> None:
    known, unknown = (LayerCounts("n", role="neuron", neurons=2, updates=2, silent=s) for s in (1, None))
    assert (known + known).silent == 2
    assert (known + unknown).silent is (unknown + known).silent is None


def test_large_layers_in_pieces() -> None:
    """More elements than are packed, or copied, at a time."""
    x = (torch.rand(3, 2, 1 << 18, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    model = nn.Sequential(FiringNode())
    expected = (int((x.sum(0) == 0).sum()), int((x.sum(0) == 3).sum()))
    with torch.no_grad(), counting(model, roles={"0": "IF"}, time_axis=0) as rec:
        for _ in range(3):
            model(x)
    assert pair(rec.counts(), "0") == (3 * expected[0], 3 * expected[1])


def test_a_named_region() -> None:
    class Regional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = torch.zeros(())
            for step in x:
                with region("fire", role="IF"):
                    s = (step > 0).float()
                total = total + s.sum()
            return total

    model = Regional()
    with torch.no_grad(), counting(model) as rec:
        for _ in range(3):
            model(PATTERN)
    assert pair(rec.counts(), "fire") == (12, 3)


@frameworks
@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_every_framework(case: Case) -> None:
    try:
        package(case.package)
    except ImportError:
        pytest.skip(f"{case.package} is not installed")
    _, fired, counts = matrix.witness(case)
    for path, (model, neurons) in case.neurons.items():
        if model == "LI":  # no spikes
            assert pair(counts, path) == (None, None)
            continue
        spikes = fired[path] != 0
        if case.package == SLAYER:
            steps = spikes.movedim(-1, 0)
        else:
            by_sample = "(N" in case.source  # squeezed or not
            steps = spikes.reshape(N, T, -1).transpose(0, 1) if by_sample else spikes.reshape(T, N, -1)
        ever, always = steps.any(0), steps.all(0)
        assert pair(counts, path) == (neurons * N - int(ever.sum()), int(always.sum()))
