"""The wall: who may import what, who may print, and how a check may be suppressed."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Fresh

PACKAGE = ROOT / "snnenergy"
NO_TORCH = (
    "counts",
    "counts_json",
    "counts_layer",
    "counts_stream",
    "counts_terms",
    "samples",
    "errors",
    "whole",
    "untrusted",
    "hardware",
    "cost",
    "report",
    "gate",
    "cli",
    "sweep",
    "shipped",
    "pytest_plugin",
)
NO_JOULE = ("trace", "load", "frameworks")
DOWNSTREAM = {
    "counts": ("hardware", "cost", "report", "gate", "sweep", "cli"),
    "hardware": ("cost", "report", "gate", "sweep", "cli"),
    "cost": ("report", "gate", "sweep", "cli"),
    "report": ("gate", "cli"),
    "gate": ("sweep", "cli"),
    "sweep": ("gate", "cli"),
}
"""What no file of a room names: doors open one way."""
SHOWN = {"cost/records.py": {"snnenergy.report", "snnenergy.report.tables", "snnenergy.report.html"}}
"""A Comparison shows itself in a notebook (`to_dataframe`, `_repr_html_`): these two methods open the next door."""
HEAVY = ("torch", "pandas", "pint", "altair", "vl_convert", "fvcore", "jinja2", "ruamel", "pydantic")

IMPORT_ALL = """
import importlib, json, pkgutil, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BANNED:
            raise ImportError("the wall: " + name)
sys.meta_path.insert(0, Wall())
import snnenergy
names = []
for room in ROOMS:
    module = importlib.import_module("snnenergy." + room)
    names.append(module.__name__)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        importlib.import_module(found.name)
        names.append(found.name)
print(json.dumps(names))
"""


def rooms(names: tuple[str, ...]) -> list[str]:
    """Those of the names that are a module, or a package with code in it."""
    return [n for n in names if (PACKAGE / f"{n}.py").is_file() or (PACKAGE / n / "__init__.py").is_file()]


def import_all(fresh: Fresh, wanted: list[str], banned: tuple[str, ...]) -> list[str]:
    done = fresh(f"ROOMS, BANNED = {wanted!r}, {banned!r}\n{IMPORT_ALL}")
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout)
    return names


def test_the_energy_side_imports_without_torch(fresh: Fresh) -> None:
    names = import_all(fresh, rooms(NO_TORCH), ("torch",))
    assert {"snnenergy.counts", "snnenergy.cost.records", "snnenergy.report.document"} <= set(names)


def test_the_torch_side_imports_without_yaml_or_the_energy_side(fresh: Fresh) -> None:
    banned = ("yaml", "ruamel", "pint")
    names = import_all(fresh, rooms(NO_JOULE), banned)
    assert all(name.split(".")[1] in NO_JOULE for name in names)


def test_the_wall_itself_stops_an_import(fresh: Fresh) -> None:
    done = fresh(f"ROOMS, BANNED = ['counts'], ('json',)\n{IMPORT_ALL.replace('importlib, json,', 'importlib,')}")
    assert done.returncode == 1
    assert "the wall: json" in done.stderr


def sources(*names: str) -> Iterator[Path]:
    for name in names or ("",):
        file = PACKAGE / f"{name}.py"
        yield from [file] if name and file.is_file() else sorted((PACKAGE / name).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Dotted names a file imports, anywhere in it, TYPE_CHECKING blocks included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def naming(files: Iterable[Path], wrong: tuple[str, ...]) -> dict[str, set[str]]:
    """Which of the files import one of the wrong packages, and which."""
    found = {}
    for file in files:
        if names := {n for n in imported(file) if any(n == w or n.startswith(f"{w}.") for w in wrong)}:
            found[file.relative_to(PACKAGE).as_posix()] = names
    return found


def test_no_file_of_the_energy_side_names_torch() -> None:
    assert naming(sources(*NO_TORCH), ("torch",)) == {}
    assert naming(sources("trace"), ("torch",)) != {}


def test_no_file_of_the_torch_side_names_the_energy_side() -> None:
    wrong = ("snnenergy.hardware", "snnenergy.cost", "snnenergy.report", "snnenergy.gate", "yaml", "ruamel", "pint")
    assert naming(sources(*NO_JOULE), wrong) == {}


@pytest.mark.parametrize(("room", "wrong"), DOWNSTREAM.items())
def test_doors_open_downstream_only(room: str, wrong: tuple[str, ...]) -> None:
    files = sorted({*sources(room), *(PACKAGE.glob(f"{room}_*.py"))})
    found = naming(files, tuple(f"snnenergy.{name}" for name in wrong))
    assert found == {name: shown for name, shown in SHOWN.items() if name.startswith(f"{room}/")}


def prints(text: str) -> list[int]:
    """Lines that print or write to a standard stream."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input")
        stream = isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "stdin") and _is_sys(node.value)
        if isinstance(node, ast.expr) and (call or stream):
            lines.append(node.lineno)
    return lines


def _is_sys(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "sys"


def test_the_search_for_prints_finds_them() -> None:
    assert prints("import sys\nprint(1)\nsys.stderr.write('x')\nblueprint(2)\n") == [2, 3]


def test_only_the_command_line_prints() -> None:
    for file in sources():
        if "cli" not in file.relative_to(PACKAGE).parts:
            assert prints(file.read_text(encoding="utf-8")) == [], file


SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma|fmt:\s*(off|skip)|nosec)\b[^#]*(?P<reason>#.*)?")


def test_every_suppression_carries_its_reason() -> None:
    bare = []
    for folder in ("snnenergy", "tests", "examples", "reports", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            tokens = tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline)
            for token in tokens:
                if token.type == tokenize.COMMENT and (found := SUPPRESSION.match(token.string)):
                    reason = found["reason"]
                    bare += [] if reason and len(reason) > 4 else [f"{file.relative_to(ROOT)}:{token.start[0]}"]
    assert bare == []


def test_import_snnenergy_is_light(fresh: Fresh) -> None:
    done = fresh("import sys, snnenergy; print(*(m for m in sys.argv[1:] if m in sys.modules))", *HEAVY)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_every_public_name_resolves_and_no_other() -> None:
    import snnenergy

    for name in snnenergy.__all__:
        assert getattr(snnenergy, name).__name__ == name
        assert name in dir(snnenergy)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = snnenergy.nothing
