"""Every kind of model file, sniffed from content; factories; --allow-class and --trust; the stateful-export warning."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from snnenergy import Counts
from snnenergy.cost.records import Comparison
from snnenergy.errors import SnnEnergyError, UnsafeModelError, UsageError
from snnenergy.load import inspect, load, load_model
from snnenergy.report.document import to_json
from tests.attacks import DIGITS, Calls, archive, members_of, pt2, torch_bytes
from tests.conftest import ROOT

FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
    def forward(self, x):
        return self.fc(x)

def net():
    return Net()

def net_and_inputs():
    return Net(), torch.ones(4, 3)

def broken():
    raise RuntimeError("no weights today")

def nothing():
    return None
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's own, with a module in it, as current directory."""
    (tmp_path / "mine_nets.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_nets", raising=False)
    return tmp_path


def test_importing_the_room_is_cheap(fresh: Callable[..., object]) -> None:
    done = fresh("import sys, snnenergy.load; assert not {'torch', 'numpy', 'yaml', 'ruamel'} & set(sys.modules)")
    assert getattr(done, "returncode", None) == 0, done


def test_the_extension_says_nothing(tmp_path: Path) -> None:
    for name, kind in (("digits_ann.pt2", "pt2"), ("digits_ann_model.pt", "module")):
        disguised = tmp_path / "model.safetensors"
        disguised.write_bytes((DIGITS / name).read_bytes())
        assert load_model(disguised).kind == kind


@pytest.mark.parametrize("name", ["modèle #1.pt", "スパイク.pt", "a&b's.pt"])
def test_a_file_may_be_called_anything(name: str, tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / name)  # the folder inside is called like the file
    assert load_model(tmp_path / name).kind == "module"


def test_a_factory_alone(project: Path) -> None:
    path = list(sys.path)
    model = load_model("mine_nets:net")
    assert (model.kind, model.name, model.module.training) == ("factory", "net", False)
    assert sys.path == path
    work = load("mine_nets:net_and_inputs")
    assert work.inputs[0].shape == (4, 3)


@pytest.mark.parametrize("nested", [None, "state_dict", "module."])
def test_weights_with_a_factory(nested: str | None, project: Path) -> None:
    weights = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
    value: object = weights
    if nested == "state_dict":
        value = {"epoch": 3, "state_dict": weights}
    elif nested == "module.":
        value = {f"module.{k}": v for k, v in weights.items()}
    for legacy in (False, True):
        (project / "w.pt").write_bytes(torch_bytes(value, legacy=legacy))
        model = load_model("w.pt", factory="mine_nets:net")
        assert model.kind == "state_dict"
        assert torch.equal(model.module(torch.ones(1, 3)), torch.full((1, 2), 3.0))
        assert len(model.notes) == (0 if nested is None else 1)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("mine_nets:missing", "missing"),
        ("no_such_module:net", "no_such_module"),
        ("mine_nets:broken", "no weights today"),
        ("mine_nets:nothing", "NoneType"),
        ("mine_nets", "pkg.mod:function"),
    ],
)
def test_factories_that_do_not_work(factory: str, words: str, project: Path) -> None:
    (project / "w.pt").write_bytes(torch_bytes({"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}))
    with pytest.raises(UsageError, match=words):
        load_model("w.pt", factory=factory)


def test_weights_that_do_not_fit_or_lack_a_factory(project: Path) -> None:
    (project / "w.pt").write_bytes(torch_bytes({"fc.weight": torch.ones(5, 5)}))
    with pytest.raises(
        UsageError, match=r"does not fit .*mine_nets:net.* Missing key.*fc\.bias.*size mismatch for fc\.weight"
    ):
        load_model("w.pt", factory="mine_nets:net")
    with pytest.raises(UsageError, match="--factory"):
        load_model("w.pt")
    with pytest.raises(UsageError, match="leave --factory"):
        load_model(DIGITS / "digits_ann.pt2", factory="mine_nets:net")


def test_allow_class_adds_one_class_for_one_call(project: Path) -> None:
    sys.path.insert(0, str(project))
    try:
        import mine_nets  # type: ignore[import-not-found]  # written by the fixture

        (project / "net.pt").write_bytes(torch_bytes(mine_nets.Net()))
    finally:
        sys.path.remove(str(project))
    with pytest.raises(UnsafeModelError, match=r"mine_nets\.Net"):
        load_model("net.pt")
    assert load_model("net.pt", allow_classes=["mine_nets.Net"]).kind == "module"
    with pytest.raises(UnsafeModelError, match=r"mine_nets\.Net"):
        load_model("net.pt")


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "Net", "mine_nets.net", "mine_nets.Missing", "nowhere.Net"]
)
def test_what_allow_class_does_not_take(name: str, project: Path) -> None:
    with pytest.raises(UsageError, match="--allow-class"):
        load_model(DIGITS / "digits_ann_model.pt", allow_classes=[name])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # TorchScript is deprecated; files of it remain
def test_torchscript_only_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = io.BytesIO()
    module = torch.jit.ScriptModule()
    module.define("def forward(self, x: Tensor) -> Tensor:\n    torch.save(x, 'canary')\n    return x\n")
    torch.jit.save(module, out)
    Path("model.pt").write_bytes(out.getvalue())
    with pytest.raises(UnsafeModelError, match="--trust"):
        load_model("model.pt")
    seen = inspect("model.pt")
    assert (seen.kind, seen.loadable, seen.command) == ("torchscript", False, None)
    model = load_model("model.pt", trust=True)
    assert model.kind == "torchscript"
    assert "your rights" in model.notes[0]
    assert not Path("canary").exists()  # it writes when it runs, not when it is loaded
    model.module(torch.zeros(1))
    assert Path("canary").exists()


def test_a_load_that_kills_its_process_ends_in_the_child(project: Path) -> None:
    Path("model.pt").write_bytes(pickle.dumps(Calls(os._exit, 7)))
    with pytest.raises(UnsafeModelError, match="bare pickle"):
        load_model("model.pt")
    with pytest.raises(UnsafeModelError, match=r"child process failed \(7\)"):
        load_model("model.pt", trust=True)


def test_hooks_are_the_authors_code_and_need_trust(project: Path) -> None:
    code = """
import torch
from torch import nn
net = nn.Sequential(nn.Linear(3, 2))
net.register_forward_hook(nn.ReLU())
torch.save(net, "net.pt")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(UnsafeModelError, match="has hooks"):
        load_model("net.pt")
    assert load_model("net.pt", trust=True).kind == "module"


def test_trust_is_per_call(project: Path) -> None:
    command = "import mine_nets, torch; torch.save(mine_nets.Net(), 'net.pt')"
    subprocess.run([sys.executable, "-c", command], check=True)
    model = load_model("net.pt", trust=True)
    assert model.kind == "module"
    assert "your rights" in model.notes[0]
    with pytest.raises(UnsafeModelError, match=r"mine_nets\.Net"):
        load_model("net.pt")


def test_weights_saved_on_a_gpu(project: Path) -> None:
    members = members_of(torch_bytes({"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}))
    on_gpu = members["data.pkl"].replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert on_gpu != members["data.pkl"]
    Path("w.pt").write_bytes(archive(members | {"data.pkl": on_gpu}))
    model = load_model("w.pt", factory="mine_nets:net")
    assert {p.device.type for p in model.module.parameters()} == {"cpu"}


def test_a_program_of_another_torch(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(pt2(lambda d: d["schema_version"].update(major=3)))
    with pytest.raises(UnsafeModelError, match="schema version"):
        load_model(tmp_path / "net.pt2")


@pytest.mark.filterwarnings("ignore")  # SpikingJelly and what it imports
def test_neurons_of_a_framework_load_as_a_whole_module(tmp_path: Path) -> None:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
    layer = pytest.importorskip("spikingjelly.activation_based.layer", exc_type=ImportError)
    net = nn.Sequential(layer.Linear(3, 4), neuron.LIFNode(), layer.Linear(4, 2), neuron.IFNode())
    (tmp_path / "net.pt").write_bytes(torch_bytes(net))
    assert {g.verdict for g in inspect(tmp_path / "net.pt").globals} == {"allowed"}
    assert [r.type for r in inspect(tmp_path / "net.pt").modules][1:6:2] == ["Linear", "Sigmoid", "IFNode"]
    x = torch.rand(2, 3)
    assert torch.equal(load_model(tmp_path / "net.pt").module(x), net.eval()(x))


class Leaky(nn.Module):
    """One step of a leaky neuron, its membrane handed in and out, or kept as a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.mem = torch.zeros(1)

    def forward(self, x: Tensor, mem: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mem = 0.9 * (self.mem if mem is None else mem) + x
        spike = (mem > 1).to(x.dtype)
        return spike, mem - spike


class Step(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.lif = Leaky()

    def forward(self, x: Tensor) -> Tensor:
        spike: Tensor = self.lif(self.fc(x))[0]
        return spike


class StateIn(Step):
    def forward(self, x: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # takes the state
        return self.lif(self.fc(x), mem)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class Loop(Step):
    def forward(self, x: Tensor) -> Tensor:
        mem, total = torch.zeros(4), torch.zeros(4)
        for frame in x:
            spike, mem = self.lif(self.fc(frame), mem)
            total = total + spike
        return total


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)


@pytest.mark.parametrize(
    ("net", "inputs", "warned"),
    [
        (Step(), (torch.rand(2, 3),), True),
        (StateIn(), (torch.rand(2, 3), torch.zeros(2, 4)), False),
        (Loop(), (torch.rand(5, 2, 3),), False),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2)), (torch.rand(2, 3),), False),
        (nn.Sequential(nn.Linear(3, 4), Gate()), (torch.rand(2, 3),), False),
    ],
    ids=["one step", "state as input", "loop", "no neurons", "a gate"],
)
def test_a_single_step_export_is_warned_of(
    net: nn.Module, inputs: tuple[Tensor, ...], warned: bool, tmp_path: Path
) -> None:
    torch.export.save(torch.export.export(net.eval(), inputs), tmp_path / "net.pt2")
    notes = load_model(tmp_path / "net.pt2").notes
    assert any("starts from the same state" in n for n in notes) is warned
    assert any("starts from the same state" in n for n in inspect(tmp_path / "net.pt2").notes) is warned


@pytest.mark.filterwarnings("ignore")  # snnTorch and what it imports
def test_a_single_step_of_snntorch_is_warned_of(tmp_path: Path) -> None:
    snntorch = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    neuron = snntorch.Leaky(beta=0.9, init_hidden=True)
    net = nn.Sequential(nn.Linear(8, 16), neuron).eval()
    x = 2 * torch.rand(1, 8)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "net.pt2")
    neuron.reset_mem()
    eager = [int(net(x).sum()) for _ in range(6)]
    model = load_model(tmp_path / "net.pt2")
    exported = [int(model.module(x).sum()) for _ in range(6)]
    assert len(set(exported)) == 1  # the state is gone ...
    assert len(set(eager)) > 1  # ... that the eager net has
    assert any("starts from the same state" in n for n in model.notes)


def test_the_state_it_warns_of_is_really_lost(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Step().eval(), (torch.rand(2, 3),)), tmp_path / "net.pt2")
    module = load_model(tmp_path / "net.pt2").module
    x = torch.full((2, 3), 0.3)
    assert all(torch.equal(module(x), module(x)) for _ in range(5))


def test_an_export_in_training_mode_is_told(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout())
    torch.export.save(torch.export.export(net.train(), (torch.rand(2, 3),)), tmp_path / "net.pt2")
    assert "training mode" in load_model(tmp_path / "net.pt2").notes[0]


def test_inspecting_shows_layers_and_dense_macs() -> None:
    ann, snn = inspect(DIGITS / "digits_ann.pt2"), inspect(DIGITS / "digits_snn.pt2")
    assert ann.graph is not None
    assert snn.graph is not None
    assert ann.graph.dense_macs == 8 * 8 * 12 * 9 + 4 * 4 * 16 * 12 * 9 + 256 * 10 == 37_120
    assert snn.graph.dense_macs == 8 * 37_120
    assert ann.graph.inputs == {"input": (None, 1, 8, 8)}
    assert [(r.path, r.type, r.parameters) for r in ann.modules if r.parameters] == [
        ("conv1", "Conv2d", 12 * 9),
        ("conv2", "Conv2d", 16 * 12 * 9),
        ("fc", "Linear", 2560),
    ]
    assert ann.to_dict()["graph"]["dense_macs"] == 37_120
    assert ann.command == f"snnenergy profile {DIGITS / 'digits_ann.pt2'}"


def test_inspecting_a_whole_module_lists_its_globals() -> None:
    seen = inspect(DIGITS / "digits_ann_model.pt")
    assert {g.verdict for g in seen.globals} == {"allowed"}
    assert [r.type for r in seen.modules] == ["Sequential", "Conv2d", "ReLU", "Conv2d", "ReLU", "Flatten", "Linear"]
    assert seen.parameters == 4396
    assert seen.to_dict()["loadable"] is True


@pytest.mark.parametrize(
    ("op", "inputs", "macs"),
    [
        (nn.Conv1d(4, 6, 3, groups=2), (torch.rand(1, 4, 10),), 6 * 8 * 2 * 3),
        (nn.ConvTranspose2d(2, 3, 3, stride=2), (torch.rand(1, 2, 4, 4),), 2 * 16 * 3 * 9),
        (nn.Linear(5, 7), (torch.rand(2, 3, 5),), 2 * 3 * 5 * 7),
    ],
)
def test_dense_macs_by_hand(op: nn.Module, inputs: tuple[Tensor, ...], macs: int, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(op.eval(), inputs), tmp_path / "op.pt2")
    graph = inspect(tmp_path / "op.pt2").graph
    assert graph is not None
    assert graph.dense_macs == macs


def test_a_contraction_without_a_rule_is_named(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("ij,kj->ik", x, x)

    torch.export.save(torch.export.export(Sum(), (torch.rand(2, 3),)), tmp_path / "op.pt2")
    graph = inspect(tmp_path / "op.pt2").graph
    assert graph is not None
    assert graph.uncounted == ("aten.einsum.default",)


@pytest.mark.skipif(not DIGITS.is_dir(), reason="the digits example is not here")
def test_a_file_beside_the_model_does_not_stand_in_for_a_library(tmp_path: Path) -> None:
    """A pull request may bring a `sympy.py`; torch imports sympy while it loads an exported program."""
    canary = tmp_path / "canary"
    (tmp_path / "sympy.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    script = f"from snnenergy.load import load_model; load_model({str(DIGITS / 'digits_snn.pt2')!r})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # the tests may run from a checkout that is not installed
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not canary.exists()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nets.py", "found text; a function that makes the model is named nets:function"),
        ("nets.py:make", "A function is named by its module: nets:make."),
        ("kit/nets.py:make", "no such model file; a function that makes the model is named kit.nets:make"),
        ("nets", "nets: no such model file; a function that makes the model is named nets:function"),
        ("gone.pt2", "gone.pt2: no such model file"),
        ("counts.json", "found stored Counts or a report: `snnenergy report` shows them"),
        ("report.json", "found stored Counts or a report: `snnenergy report` shows them"),
        ("gone.py", "gone.py: no such model file"),
        ("kit/../nets.py", "found text; a function that makes the model is named nets:function"),
        ("nets:mak", "module 'nets' has no attribute 'mak'\n  It is perhaps make."),
        ("kit.net:make", "No module named 'kit.net'\n  It is perhaps kit.nets."),
    ],
)
def test_code_that_is_named_wrongly(named: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kit").mkdir()
    for file in ("nets.py", "kit/__init__.py", "kit/nets.py"):
        (tmp_path / file).write_text("def make():\n    return None\n")
    counts = Counts.build("net", [])
    counts.save(tmp_path / "counts.json")
    (tmp_path / "report.json").write_text(to_json(Comparison({"net": counts}, ())))
    with pytest.raises(SnnEnergyError) as error:
        load(named)
    for module in ("nets", "kit", "kit.nets"):
        sys.modules.pop(module, None)
    assert str(error.value).endswith(said)


def test_code_of_another_folder_is_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit").mkdir()
    monkeypatch.chdir(tmp_path / "kit")
    for file in (tmp_path / "nets.py", tmp_path / "kit" / "nets.py"):
        file.write_text("def make():\n    return None\n")
    with pytest.raises(UnsafeModelError, match=r"is named nets:function, where .* is the current folder$"):
        load(tmp_path / "nets.py")
    with pytest.raises(UnsafeModelError, match=r"is named nets:function$"):
        load(tmp_path / "kit" / "nets.py")
    with pytest.raises(UsageError, match=r"nets:make: a function, and no file .*`snnenergy profile nets:make`"):
        inspect("nets:make")
