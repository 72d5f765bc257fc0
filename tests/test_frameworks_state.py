"""Neurons named by hand, neuron models as a table, and state that a previous call left behind."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnenergy.errors import UsageError
from snnenergy.frameworks import neurons
from snnenergy.load import Workload
from snnenergy.trace import count, counting
from snnenergy.trace.rest import STATE_LEFT
from snnenergy.trace.workload import count_workload
from tests.conftest import Cli
from tests.framework_nets import Loop, package, weighted
from tests.trace_nets import LIF, spikes

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own, while they are imported and run
T, N, INPUTS, HIDDEN, OUT = 5, 3, 6, 4, 2


def workload(module: nn.Module, x: Tensor) -> Workload:
    return Workload("net", module.eval(), (x,), {}, "factory", synthetic=False, seed=None)


# ---- state left over
def _spikingjelly() -> Any:
    return package("spikingjelly.activation_based.neuron").LIFNode()


def _snntorch() -> Any:
    return package("snntorch").Leaky(beta=0.9, init_hidden=True)


def _sinabs() -> Any:
    return package("sinabs.layers").IAFSqueeze(batch_size=1)


FRAMEWORKS: dict[str, Callable[[], Any]] = {
    "spikingjelly": _spikingjelly,
    "snntorch": _snntorch,
    "sinabs": _sinabs,
}


@pytest.fixture(params=FRAMEWORKS)
def neuron(request: pytest.FixtureRequest) -> Any:
    try:
        return FRAMEWORKS[request.param]()
    except ImportError:
        pytest.skip(f"{request.param} is not installed")


def net_of(neuron: nn.Module) -> nn.Module:
    """A net that never resets its neuron."""
    return weighted(Loop(nn.Sequential(nn.Linear(INPUTS, HIDDEN), neuron, nn.Linear(HIDDEN, OUT))), 0.5)


def test_left_state_is_reset_the_frameworks_own_way(neuron: nn.Module) -> None:
    net, x = net_of(neuron), spikes(T, 1, INPUTS, seed=3)
    fresh = count_workload(workload(net, x))
    assert not any(STATE_LEFT in note for note in fresh.identity.notes)
    again = count_workload(workload(net, x))
    assert f"{STATE_LEFT} was reset: body.1" in again.identity.notes
    assert again["body.1"].spikes_out == fresh["body.1"].spikes_out
    assert again["body.2"].effective == fresh["body.2"].effective


def test_left_state_changes_the_counts_where_it_is_not_reset(neuron: nn.Module) -> None:
    """The reason for it: the same net counted with `count`, which never touches a user's model."""
    net, x = net_of(neuron), spikes(T, 1, INPUTS, seed=3)
    with torch.no_grad():
        found = {count(net, x)["body.1"].spikes_out for _ in range(6)}
    assert len(found) > 1


def test_count_names_left_state_and_leaves_it(neuron: nn.Module) -> None:
    net, x = net_of(neuron), torch.ones(T, 1, INPUTS)
    with torch.no_grad():
        assert not any(note.startswith(STATE_LEFT) for note in count(net, x).identity.notes)
        before = {name: value.clone() for name, value in held(neuron).items()}
        with counting(net) as rec:
            assert {name: v.tolist() for name, v in held(neuron).items()} == {n: v.tolist() for n, v in before.items()}
            net(x)
    (note,) = [n for n in rec.counts().identity.notes if n.startswith(STATE_LEFT)]
    assert "at the first step: body.1; reset it before" in note


def test_state_that_forward_resets_is_no_state_left() -> None:
    class Resets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = LIF()

        def forward(self, x: Tensor) -> Tensor:
            self.lif.v = None
            return torch.stack([self.lif(step) for step in x])

    net, x = Resets(), torch.ones(T, N, INPUTS) / 4
    with counting(net, survey="always") as rec:
        net(x)
        net(x)
    assert not any(note.startswith(STATE_LEFT) for note in rec.counts().identity.notes)


def held(neuron: Any) -> dict[str, Tensor]:
    state = vars(neuron) | neuron._buffers | getattr(neuron, "_memories", {})
    return {name: v for name, v in state.items() if isinstance(v, Tensor) and v.numel()}


def test_left_state_of_a_plain_neuron_is_named() -> None:
    net, x = net_of(LIF()), spikes(T, N, INPUTS)
    assert not any(STATE_LEFT in note for note in count_workload(workload(net, x)).identity.notes)
    (note,) = [n for n in count_workload(workload(net, x)).identity.notes if STATE_LEFT in n]
    assert "body.1" in note and "in the factory" in note


# ---- neurons named by hand
class Gate(nn.Module):
    """A neuron whose class says nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return (x >= 1).to(x.dtype)


def unnamed() -> nn.Module:
    return weighted(Loop(nn.Sequential(nn.Linear(INPUTS, HIDDEN), Gate(), nn.Linear(HIDDEN, OUT))), 0.8)


def test_a_neuron_named_by_hand() -> None:
    x = spikes(T, N, INPUTS)
    assert count_workload(workload(unnamed(), x))["body.1"].role == "other"
    layer = count_workload(workload(unnamed(), x), roles={"body.1": "LIF"})["body.1"]
    assert (layer.role, layer.neuron_model, layer.state_words) == ("neuron", "LIF", 1)
    assert (layer.neurons, layer.updates) == (HIDDEN, T * N * HIDDEN)
    assert layer.spikes_out


@pytest.mark.parametrize(
    ("roles", "words"),
    [({"body.one": "LIF"}, "no module is called 'body.one'; the nearest: body"), ({"body.1": "LFI"}, "use one of IF")],
)
def test_a_neuron_named_wrongly(roles: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        count_workload(workload(unnamed(), spikes(T, N, INPUTS)), roles=roles)


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`unnamed_net:build`, a module in the current directory."""
    (tmp_path / "unnamed_net.py").write_text(
        "import torch\n"
        "class Gate(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return (x >= 0).float()\n"
        "def build():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(6, 4), Gate(), torch.nn.Linear(4, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    yield "unnamed_net:build"
    sys.modules.pop("unnamed_net", None)


def test_the_neuron_option(cli: Cli, factory: str, tmp_path: Path) -> None:
    from snnenergy.counts import Counts

    options = ("--input-shape", "3,6", "--hardware", "none", "--json", tmp_path / "out.json")
    done = cli("profile", factory, "--neuron", "1=LIF", *options)
    assert done.code == 0, done.err
    assert Counts.load(tmp_path / "out.json")["1"].neuron_model == "LIF"
    for wrong, words in (("1", "expected PATH=MODEL"), ("7=LIF", "no module is called '7'"), ("1=X", "use one of")):
        bad = cli("profile", factory, "--neuron", wrong, "--input-shape", "3,6", "--hardware", "none")
        assert bad.code == 2
        assert words in bad.err


@pytest.mark.parametrize(
    ("package_name", "words"),
    [
        ("snntorch", r"pip install 'snnenergy\[snntorch\]'"),
        ("lava", "pip install --no-deps --ignore-requires-python lava-dl lava-nc"),
        ("nowhere_to_be_found", "Install it for .*, or run from the folder that holds nowhere_to_be_found"),
    ],
)
def test_a_framework_that_is_not_installed(
    package_name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    (tmp_path / "needs_it.py").write_text(f"def build():\n    import {package_name}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package_name, None)
    monkeypatch.delitem(sys.modules, "needs_it", raising=False)
    done = cli("profile", "needs_it:build", "--input-shape", "3,6")
    assert done.code == 2
    assert re.search(words, done.err), done.err


# ---- neuron models
@torch.library.custom_op("snnenergy_tests::hidden_lif", mutates_args=())
def hidden_lif(x: Tensor) -> Tensor:
    """A neuron in a kernel of its own."""
    return (x >= 1).to(x.dtype)


class KernelLIF(nn.Module):
    """Its class says what it is; its arithmetic cannot be seen."""

    def forward(self, x: Tensor) -> Any:
        return torch.ops.snnenergy_tests.hidden_lif(x)


def test_a_neuron_in_a_kernel_of_its_own_costs_what_its_model_does() -> None:
    net = weighted(Loop(nn.Sequential(nn.Linear(INPUTS, HIDDEN), KernelLIF(), nn.Linear(HIDDEN, OUT))), 0.8)
    counts = count(net, spikes(T, N, INPUTS))
    layer, updates = counts["body.1"], T * N * HIDDEN
    assert (layer.updates, layer.neuron_model) == (updates, "LIF")
    assert (layer.adds, layer.muls, layer.compares) == (2 * updates, 2 * updates, updates)
    assert any(u.op == "snnenergy_tests::hidden_lif" for u in counts.uncounted)  # still named: it was not seen


@pytest.mark.parametrize("model", [name for name, row in neurons.NEURONS.items() if row.update is not None])
def test_an_update_is_its_equation(model: str) -> None:
    """Signs, products, comparisons and specials of the printed equation, re-counted by hand of each part."""
    expected = {
        # (adds, muls, compares, specials), the reset s theta: one multiplication, one addition
        "IF": (1 + 1, 0 + 1, 1, 0),
        "LIF": (1 + 1, 1 + 1, 1, 0),
        "PLIF": (1 + 1, 1 + 1, 1, 0),
        "LI": (1, 1, 0, 0),
        "ternary IF": (1 + 1 + 1, 0 + 1, 2, 0),
        "ternary LIF": (1 + 1 + 1, 1 + 1, 2, 0),
        "QIF": (2 + 1 + 1 + 1, 2 + 1, 1, 0),
        "EIF": (2 + 2 + 1 + 1, 3 + 1, 1, 1),
        "CUBA": (1 + 1 + 1, 1 + 1 + 1, 1, 0),
        "alpha": (1 + 1 + 1 + 1, 1 + 1 + 1 + 1, 1, 0),
        "ALIF": (1 + 1 + 1 + 1, 1 + 1 + 2 + 1, 1, 0),
        "AdEx": (2 + 3 + 1 + 3 + 2, 3 + 3 + 1, 1, 1),
        "Izhikevich": (4 + 1 + 2 + 2 + 1, 3 + 2 + 1 + 1, 1, 0),
        "GLIF": (4, 1 + 1 + 2 + 1, 1, 0),
        "KLIF": (1 + 1, 2 + 1, 2, 0),
        "Hodgkin-Huxley": (6 + 3 * 3 + 7, 11 + 3 * 3 + 11, 1, 6 + 3),
    }
    update = neurons.update(model)
    assert update is not None
    assert (update.adds, update.muls, update.compares, update.specials) == expected[model]


def test_izhikevichs_own_count() -> None:
    """13 operations per 1 ms step, reset apart (Izhikevich 2004, doi:10.1109/TNN.2004.832719)."""
    update = neurons.update("Izhikevich")
    assert update is not None
    reset_adds, reset_muls = 3, 2  # v += s (c - v); u += s d
    assert update.adds - reset_adds + update.muls - reset_muls + update.compares == 13


def test_every_neuron_an_adapter_names_has_a_row_or_no_state_said() -> None:
    from snnenergy.frameworks import bindsnet, lava, norse, plain, sinabs, snntorch, spikingjelly

    tables = (
        bindsnet.NEURONS,
        lava.NEURONS,
        norse.NEURONS,
        plain.NAMES,
        sinabs.NEURONS,
        snntorch.NEURONS,
        spikingjelly.NEURONS,
    )
    named = {model for table in tables for model in table.values()}
    assert named - set(neurons.NEURONS) == {
        *("spiking", "PSN", "McCulloch-Pitts", "few spikes"),  # no state, or not known
        *("adaptive RF", "sigma-delta"),  # no equation was checked at its source
    }
