"""Budgets as they are written: places, units, strictness."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnenergy.errors import UsageError
from snnenergy.gate import metrics, places, settings
from tests.conftest import ROOT, Cli

FULL = """\
baseline = "base" # a comment
hardware = ["loihi", "h100"]

[models.net]
source = "net.pt2"
input_shape = [
  1, 10,
]
steps = 8

[models."dotted.name"]
factory = "pkg.mod:make"
weights = "w.safetensors"

[[budgets]]
match = { model = "net", chip = "loihi", layer = "conv*" }
metric = "energy"
max = "12 uJ"
max_increase = "2 %"
bound = "high"
level = "warn"
reason = '''
[[budgets]]
not a header'''

[[budgets]]
metric = "acs"
max = 5000

  [budgets.match]
  model = "dotted*"
"""


def read(folder: Path, text: str, name: str = settings.FILE) -> settings.Project:
    (folder / name).write_text(text, encoding="utf-8")
    return settings.read(folder / name)


def wrong(folder: Path, text: str, name: str = settings.FILE) -> str:
    with pytest.raises(UsageError) as raised:
        read(folder, text, name)
    return str(raised.value)


def test_a_full_file_is_read_with_the_lines_of_its_budgets(tmp_path: Path) -> None:
    project = read(tmp_path, FULL)
    assert tomllib.loads(FULL).keys() == {"baseline", "hardware", "models", "budgets"}
    assert [(p.budget.metric, p.place.line) for p in project.budgets] == [("energy", 15), ("acs", 26)]
    first = project.budgets[0].budget
    assert (first.max, first.max_increase) == (12e-6, settings.Increase(0.02, relative=True))
    assert (first.match.layer, first.bound, first.level) == ("conv*", "high", "warn")
    assert first.reason.startswith("[[budgets]]")
    assert project.place("models", "net", "steps").line == 9
    assert project.place("budgets", 1, "match", "model").line == 31
    assert project.settings.models["dotted.name"].weights == "w.safetensors"
    assert project.baseline == tmp_path / "base"


def test_the_same_in_pyproject_has_its_own_lines(tmp_path: Path) -> None:
    head = '[project]\nname = "x"\n\n[[budgets]]\nmetric = "not ours"\n\n'
    text = (
        head + '[tool.snnenergy]\nhardware = ["loihi"]\n\n[[tool.snnenergy.budgets]]\nmetric = "energy"\nmax = "1 J"\n'
    )
    project = read(tmp_path, text, "pyproject.toml")
    assert [(p.budget.metric, p.place.line) for p in project.budgets] == [("energy", 10)]
    assert settings.find(tmp_path) == tmp_path / "pyproject.toml"
    (tmp_path / settings.FILE).write_text("")
    with pytest.raises(UsageError, match="both"):
        settings.find(tmp_path)


def test_no_settings_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="snnenergy init"):
        settings.find(tmp_path)
    assert "no table" in wrong(tmp_path, "[project]\n", "pyproject.toml")


BUDGET = '[[budgets]]\nmetric = "energy"\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[[budgets]]\nmetric = "enrgy"\nmax = 1\n', 2, "did you mean 'energy'?"),
        (f'{BUDGET}mx = "1 uJ"\n', 3, "did you mean 'max'?"),
        (f'{BUDGET}max = "3 us"\n', 3, "\"12 uJ\", found '3 us'"),
        (f"{BUDGET}max = 3\n", 3, '"12 uJ", found 3'),
        (f'{BUDGET}max = "-3 uJ"\n', 3, "found '-3 uJ'"),
        (f"{BUDGET}max = nan\n", 3, "found nan"),
        (BUDGET, 1, "max, min or max_increase"),
        ("[[budgets]]\nmax = 3\n", 1, "'metric' is missing"),
        (f'baseline = "b"\n{BUDGET}max_increase = "2 J s"\n', 4, '"2 %" or'),
        (f'{BUDGET}max_increase = "2 %"\n', 3, "needs a baseline"),
        ('[[budgets]]\nmetric = "fits"\nmax = 1\n', 3, "takes no limit"),
        ('[[budgets]]\nmetric = "latency"\nmax = "1 s"\nmatch = { layer = "a" }\n', 1, "leave match.layer out"),
        ('[[budgets]]\nmetric = "acs"\nmax = 1\nmatch = { chip = "loihi" }\n', 1, "leave match.chip out"),
        ('[[budgets]]\nmetric = "acs"\nmax = 1\nmatch = { modle = "a" }\n', 4, "did you mean 'model'?"),
        ('[[budgets]]\nmetric = "acs"\nmax = 1\nlevel = "eror"\n', 4, "did you mean 'error'?"),
        ('[[budgets]]\nmetric = "sparsity"\nmin = "120 %"\n', 3, "found '120 %'"),
        ('[models.a]\nsource = "x"\ntrust = true\n', 3, "unknown key"),
        ('[models.a]\nsource = "x"\nfactory = "a:b"\n', 1, "a `source`, or a `factory`"),
        ('[models."../a"]\nsource = "x"\n', 1, "letters, digits"),
        ("[models.a]\nsource = 'x'\nsteps = 0\n", 3, "greater than or equal to 1"),
        ("budgets = 3\n", 1, "list"),
        ("hardware = [1]\n", 1, "string"),
        ("a = [\n", 1, "not TOML"),
    ],
)
def test_what_is_wrong_is_told_on_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    message = wrong(tmp_path, text)
    assert words in message
    assert f"{settings.FILE}:{line}:" in message or "not TOML" in message


def test_limits_by_hand() -> None:
    assert metrics.parse("1.5 nJ s", "J s") == 1.5e-9
    assert metrics.parse("50 k", "") == 50_000
    assert metrics.parse("12.5 %", "share") == 0.125
    assert metrics.parse(1, "share") == 1.0
    for text, unit in [
        ("1 s", "J s"),
        ("1 uJ", "s"),
        ("", ""),
        ("1 x", ""),
        (True, ""),
        (-1, ""),
        (None, "J"),
        ("1e999 J", "J"),
    ]:
        with pytest.raises(ValueError, match="expected"):
            metrics.parse(text, unit)


def test_increases_by_hand() -> None:
    assert settings.Increase(0.02, relative=True).limit(50.0) == 51.0
    assert settings.Increase(5.0, relative=False).limit(50.0) == 55.0
    made = settings.budget({"metric": "acs", "max_increase": "5 k"})
    assert made.max_increase == settings.Increase(5000.0, relative=False)
    with pytest.raises(UsageError, match="did you mean 'max_increase'"):
        settings.budget({"metric": "acs", "max_increse": "5 k"})


def test_the_schema_lists_every_metric_and_is_what_the_command_prints(cli: Cli) -> None:
    schema = settings.json_schema()
    assert schema["$defs"]["Budget"]["properties"]["metric"]["enum"] == list(metrics.METRICS)
    assert schema["$defs"]["Budget"]["additionalProperties"] is False
    assert json.loads(cli("init", "--schema").out) == schema
    assert json.loads((ROOT / "docs" / "snnenergy.schema.json").read_text(encoding="utf-8")) == schema


def test_the_documentation_names_every_metric_and_key() -> None:
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    for model in (settings.Settings, settings.Budget, settings.Match, settings.ModelTable):
        assert all(f"`{name}`" in text for name in model.model_fields), model
    assert all(f"`{name}`" in text for name in metrics.METRICS)


names = st.text("ab_-", min_size=1, max_size=4)


@given(st.lists(st.tuples(names, st.lists(names, min_size=1, max_size=3, unique=True)), min_size=1, max_size=4))
def test_every_key_of_a_generated_file_has_its_line(tables: list[tuple[str, list[str]]]) -> None:
    lines, expected = [], {}
    for i, (_, keys) in enumerate(tables):
        lines += ["", "[[t]]  # one more"]
        for key in keys:
            lines.append(f"  {key} = 1")
            expected["t", i, key] = len(lines)
    marks: dict[Any, Any] = places._marks("\n".join(lines))
    assert {path: mark.line for path, mark in marks.items() if len(path) == 3} == expected
