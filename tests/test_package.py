"""What is shipped: the wheel runs the demo in an empty folder; the metadata says what the project says elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SHIPPED_DIGITS = {"digits_ann.pt2", "digits_snn.pt2", "digits.npz", "digits.json"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    for needed in ("build", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install -c constraints.txt -e '.[dev]'")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True, text=True, timeout=60, check=False, cwd=out,
    )  # fmt: skip  # a command line, read across
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked: what pip puts on the path."""
    (wheel,) = built.glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_the_wheel_holds_the_package_and_what_it_needs(installed: Path) -> None:
    package = installed / "snnenergy"
    source = ROOT / "snnenergy"
    files = {f.relative_to(source) for f in source.rglob("*") if f.is_file() and "__pycache__" not in f.parts}
    files = {f for f in files if f.suffix != ".pyc"}
    assert files <= {f.relative_to(package) for f in package.rglob("*") if f.is_file()}
    profiles = {f.relative_to(ROOT) for f in (ROOT / "hardware_profiles").rglob("*") if f.is_file()}
    assert profiles <= {f.relative_to(package / "_data") for f in (package / "_data").rglob("*") if f.is_file()}
    assert {f.name for f in (package / "_data" / "examples" / "digits").iterdir()} == SHIPPED_DIGITS
    assert {f.name for f in installed.iterdir() if not f.name.endswith(".dist-info")} == {"snnenergy"}
    assert (package / "py.typed").is_file()


def test_the_sdist_holds_what_a_developer_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "constraints.txt", ".ci/run", "docs/design.md"}
    wanted |= {"tests/test_package.py", "examples/digits/train.py", "hardware_profiles/loihi.yaml", "pyproject.toml"}
    assert wanted <= names
    assert not {name for name in names if name.startswith((".venv", ".git/", "out/")) or name.endswith(".pyc")}


def test_the_demo_runs_from_the_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    env |= {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import snnenergy; print(snnenergy.__file__)"],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip  # a command line, read across
    assert Path(where.stdout.strip()) == installed / "snnenergy" / "__init__.py"
    done = subprocess.run(
        [sys.executable, "-m", "snnenergy", "demo"],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip  # a command line, read across
    assert done.returncode == 0, done.stderr
    assert {f.name for f in tmp_path.iterdir()} == {"snnenergy-report.json", "snnenergy-report.html"}
    assert str(ROOT) not in done.stdout + (tmp_path / "snnenergy-report.json").read_text(encoding="utf-8")


def test_the_entry_point_is_the_command(installed: Path) -> None:
    (points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "snnenergy = snnenergy.cli:main" in points.read_text()


def test_one_version_everywhere() -> None:
    import snnenergy

    version = project()["project"]["version"]
    assert snnenergy.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonical(line.partition("==")[0]) for line in lines if line and not line.startswith("#")}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines if line and not line.startswith("#"))
    table = project()["project"]
    wanted = [*table["dependencies"], *table["optional-dependencies"]["dev"]]
    assert {canonical(re.split(r"[<>=!~ ;\[]", text)[0]) for text in wanted} <= pinned


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert project()["project"]["license"] == "Apache-2.0"
