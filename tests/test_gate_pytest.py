"""The pytest plugin, in pytest runs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT, Fresh

FILE = """\
import pytest, torch

SMALL, WIDE = ([torch.nn.Linear(10, n, bias=False), torch.nn.ReLU(), torch.nn.Linear(n, 2, bias=False)] for n in (4, 40))

def net(layers):
    torch.manual_seed(0)
    return torch.nn.Sequential(*layers)

X = torch.linspace(1, 2, 10)[None].sqrt()

@pytest.mark.energy_budget(hardware="horowitz_fp32", max="1 nJ")
def test_within(energy):
    counts = energy(net(SMALL), X)
    assert counts["0"].macs == 40

@pytest.mark.energy_budget(metric="dense_macs", max_increase="2 %")
def test_grows(energy):
    import os
    energy(net(WIDE if os.environ.get("WIDE") else SMALL), X)

@pytest.mark.energy_budget(hardware="horowitz_fp32", max="1 nJ")
def test_nothing(energy):
    pass

@pytest.mark.energy_budget(hardware="horowitz_fp32", max="1 nJ")
def test_no_fixture():
    pass

@pytest.mark.energy_budget(hardwre="loihi", max="1 nJ")
def test_typo(energy):
    energy(net(SMALL), X)

@pytest.mark.energy_budget(hardware="horowitz_fp32", max="3 nanojoule")
def test_unit(energy):
    energy(net(SMALL), X)

@pytest.mark.energy_budget(metric="dense_macs", max=100)
def test_two_models(energy):
    energy(net(SMALL), X, name="a")
    energy(net(WIDE), X, name="b")

@pytest.mark.energy_budget(metric="dense_macs", max=100)
def test_twice(energy):
    energy(net(SMALL), X)
    energy(net(SMALL), X)

def test_without_a_mark(energy):
    assert energy(net(SMALL), X).total().dense_macs == 48
"""


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    env |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "snnenergy.pytest_plugin", "--strict-markers", "-W", "error"]
    return subprocess.run(
        [*command, *arguments],
        env=env | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plugin")
    (made / "test_nets.py").write_text(FILE)
    return made


def test_every_way_a_marked_test_ends(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 1
    out = done.stdout
    for failed in ("grows", "nothing", "no_fixture", "typo", "unit", "two_models", "twice"):
        assert f"FAILED test_nets.py::test_{failed} " in out, out
    assert "7 failed, 2 passed" in out
    assert "pytest --energy-update-baseline` and commit it" in out
    assert out.count("marked energy_budget, but nothing was counted") >= 2
    assert "unknown word 'hardwre'; did you mean 'hardware'?" in out
    assert "'3 nanojoule'" in out
    assert "dense_macs of b: 480 above max 100" in out
    assert "energy() was called twice for 'model'" in out
    assert "Traceback" not in out
    assert "energy budgets: 3 of 5 hold; FAILED: not comparable" in out


def test_a_baseline_is_written_kept_and_held(folder: Path) -> None:
    only = ["-k", "grows or within"]
    done = run(folder, *only, "--energy-update-baseline")
    assert done.returncode == 0, done.stdout
    assert "energy budgets: 2 of 2 hold" in done.stdout
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert written == ["energy_baseline/test_nets/test_grows.json", "energy_baseline/test_nets/test_within.json"]
    before = (folder / written[0]).read_bytes()
    assert run(folder, *only).returncode == 0
    grown = run(folder, *only, WIDE="1")
    assert grown.returncode == 1
    assert "dense_macs of model: 480, +900 % from 48, more than max_increase 2 %" in grown.stdout
    assert "layers that grew:\n  0 +360\n  2 +" in grown.stdout
    assert "changed: weights:" in grown.stdout
    assert (folder / written[0]).read_bytes() == before


NAMED = """\
import pytest, torch

@pytest.mark.energy_budget(metric="dense_macs", max_increase="2 %")
@pytest.mark.parametrize("width", [4, 8, 16, 32, 64], ids=["a/b", "a b", "a_b", "x" * 260, "x" * 261])
def test_named(energy, width):
    energy(torch.nn.Linear(10, width), torch.ones(1, 10))
    energy(torch.nn.Linear(10, width + 1), torch.ones(1, 10), name="../up")
"""


def test_every_test_has_a_baseline_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_named.py").write_text(NAMED)
    assert run(tmp_path, "--energy-update-baseline").returncode == 0
    files = list((tmp_path / "energy_baseline" / "test_named").iterdir())
    assert len(files) == 10 == len(list(tmp_path.rglob("*.json")))
    assert tmp_path / "energy_baseline" / "test_named" / "test_named[a_b].json" in files
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout


def test_start_up_imports_neither_torch_nor_our_rooms(fresh: Fresh, tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("import sys\ndef test_a():\n    assert 'torch' not in sys.modules\n")
    code = "import sys, pytest\ncode = pytest.main(['-q', '-p', 'snnenergy.pytest_plugin', 'test_a.py'])\n"
    code += "heavy = ('torch', 'pydantic', 'numpy', 'snnenergy.gate', 'snnenergy.cost', 'snnenergy.hardware')\n"
    code += "print('LOADED', *(m for m in heavy if m in sys.modules)); sys.exit(code)"
    done = fresh(code, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_pytest_finds_the_plugin_by_itself() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert points == {"snnenergy": "snnenergy.pytest_plugin"}
