"""`check`, `diff` and `init` as commands: where results go, what they start with, and the example models."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snnenergy import Counts
from snnenergy.cli.delivery import Look, formats
from snnenergy.cost import compare
from snnenergy.counts import Conditions
from tests.conftest import ROOT, Cli, Fresh
from tests.gate_nets import CHIP, net
from tests.test_cli import IMPORTED, loaded

DIGITS = ROOT / "examples" / "digits"
BUDGETS = f"""\
baseline = "base"
hardware = ["{CHIP}"]

[[budgets]]
metric = "energy"
max_increase = "2 %"

[[budgets]]
metric = "acs"
max = 1150
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with budgets, the Counts `net.json`, and their baseline; the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snnenergy.toml").write_text(BUDGETS)
    (tmp_path / "base").mkdir()
    for folder in (tmp_path, tmp_path / "base"):
        net(1000).save(folder / "net.json")
    return tmp_path


def test_pass_and_fail(project: Path, cli: Cli) -> None:
    answer = cli("check", "net.json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("passed: 2 budgets hold; the tightest: energy of net")
    net(1060).save(project / "net.json")
    answer = cli("check", "net.json")
    assert answer.code == 1
    assert answer.out.startswith("FAILED: 2 of 2 budgets broken: energy of net on")
    assert "grew: fc +6 pJ" in answer.out


def test_every_format_at_once(project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    (project / "summary.md").write_text("before\n")
    answer = cli("check", "net.json", "--format", "text,github,json=v.json", "--format", "markdown=v.md,junit=v.xml")
    assert answer.code == 0
    assert answer.out.splitlines()[0].startswith("passed")
    assert answer.out.splitlines()[-1].startswith("::notice")
    assert json.loads((project / "v.json").read_text())["passed"] is True
    assert (project / "summary.md").read_text() == "before\n" + (project / "v.md").read_text()
    assert (project / "v.xml").read_text().startswith("<?xml")
    assert json.loads(cli("check", "net.json", "--json", "-").out)["exit_code"] == 0


def test_a_verdict_never_replaces_budgets_or_baseline(project: Path, cli: Cli) -> None:
    for file in ("snnenergy.toml", "base/net.json"):
        answer = cli("check", "net.json", "--format", f"json={file}")
        assert answer.code == 2 and "this command reads that file" in answer.err


def test_a_step_summary_is_written_only_for_github(project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    assert cli("check", "net.json").code == 0
    assert not (project / "summary.md").exists()


def test_a_step_summary_that_cannot_be_written_is_told_before_any_work(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "absent" / "summary.md"))
    answer = cli("check", "net.json", "--format", "github,json=v.json")
    assert (answer.code, answer.out) == (2, "")
    assert "summary.md: cannot be written" in answer.err
    assert not (project / "v.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "json=v,junit=v"), "two outputs would write it, --format json=v and --format junit=v"),
        (("--format", "jsn=a"), "did you mean 'json'"),
        (("--format", "json,markdown"), "all go to stdout"),
        (("--format", "json=no/v.json"), "the folder does not exist"),
        (("--config", "absent.toml"), "no such file"),
        (("--model", "other"), "no model to check"),
        (("--accuracy", "net=2"), "--accuracy"),
        (("--update-baseline", "--base-ref", "x"), "give one of them"),
    ],
)
def test_wrong_usage_is_2(project: Path, cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    answer = cli("check", "net.json", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err


@pytest.mark.parametrize("command", ["check", "init"])
def test_help_names_the_table_of_pyproject(command: str, cli: Cli) -> None:
    assert "or [tool.snnenergy] of pyproject.toml" in " ".join(cli(command, "--help").out.replace("│", " ").split())


def test_update_writes_the_baseline_and_only_a_whole_one(project: Path, cli: Cli) -> None:
    from snnenergy.counts import Coverage

    net(1140).save(project / "net.json")
    assert cli("check", "net.json").code == 1
    answer = cli("check", "net.json", "--update-baseline")
    assert answer.code == 1  # 1240 of at most 1150
    assert "baseline written: base/net.json" in answer.err
    assert Counts.load(project / "base" / "net.json") == net(1140)
    net(1, coverage=Coverage(1, 2, 1, 1)).save(project / "net.json")
    assert cli("check", "net.json", "--update-baseline").code == 4
    assert Counts.load(project / "base" / "net.json") == net(1140)


def test_a_baseline_that_cannot_be_written_is_told_before_any_work(project: Path, cli: Cli) -> None:
    (project / "snnenergy.toml").write_text(BUDGETS.replace('"base"', '"net.json/base"'))
    answer = cli("check", "no-such-counts.json", "--update-baseline")
    assert answer.code == 2
    assert "net.json/base: cannot be written: Not a directory" in answer.err


def test_a_baseline_is_written_only_after_everything_was_judged(project: Path, cli: Cli) -> None:
    (project / "snnenergy.toml").write_text(BUDGETS + '[[budgets]]\nmetric = "accuracy"\nmin = 0.5\n')
    net(1140).save(project / "net.json")
    assert cli("check", "net.json", "--update-baseline").code == 2
    assert Counts.load(project / "base" / "net.json") == net(1000)


def test_a_missing_baseline_is_5_and_one_without_a_model_is_told(project: Path, cli: Cli) -> None:
    (project / "base" / "net.json").rename(project / "base" / "old.json")
    answer = cli("check", "net.json")
    assert answer.code == 5
    assert "write one with `snnenergy check --update-baseline`" in answer.out
    assert "baseline old.json: its model was removed or renamed" in answer.out


def test_names_models_and_globs(project: Path, cli: Cli) -> None:
    net(1000, name="other").save(project / "base" / "other.json")
    assert cli("check", "net.json", "other=net.json").code == 0
    answer = cli("check", "net.json", "other=net.json", "--model", "n*", "--json", "-")
    assert {b["model"] for b in json.loads(answer.out)["budgets"]} == {"net"}
    assert "two models are called 'net'" in cli("check", "net.json", "net.json").err


def test_steps_that_the_settings_promise_must_be_run(project: Path, cli: Cli) -> None:
    text = BUDGETS + '\n[models.net]\nsource = "net.json"\nsteps = 4\n'
    (project / "snnenergy.toml").write_text(text)
    answer = cli("check")
    assert answer.code == 2
    assert "snnenergy.toml:14:1: models.net.steps" in answer.err or "snnenergy.toml:14" in answer.err
    assert "ran 1 time steps, not 4" in answer.err


def test_check_and_diff_of_stored_counts_load_no_torch(project: Path, fresh: Fresh) -> None:
    for arguments in (["check", "net.json"], ["diff", "base/net.json", "net.json", "--hardware", "loihi"]):
        done = fresh(IMPORTED, *arguments)
        assert done.returncode == 0, done.stderr
        assert not loaded(done.stderr) & {"torch", "pandas", "pint", "altair", "vl_convert", "fvcore", "jinja2"}


def test_a_hundred_models_take_less_than_three_times_what_one_takes(project: Path) -> None:
    """The SNN of the digits example a hundred times over, every one changed, each against its own baseline."""
    whole = json.loads((DIGITS / "baseline" / "digits_snn.json").read_text(encoding="utf-8"))
    for i in range(100):
        whole["model"] = f"m{i:03}"
        (project / "base" / f"m{i:03}.json").write_text(json.dumps(whole))
        whole["layers"][0]["adds"] = i + 1
        (project / f"m{i:03}.json").write_text(json.dumps(whole))
    (project / "snnenergy.toml").write_text(BUDGETS.replace(CHIP, "loihi").replace("1150", '"50 k"'))

    arguments = ("check", "--format", "text,markdown=v.md")

    def seconds(models: int) -> float:
        """Of one core: what else runs on the machine does not count."""
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "snnenergy", *arguments, *(f"m{i:03}.json" for i in range(models))],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stdout[:500] + done.stderr
        assert done.stdout.startswith(f"passed: {2 * models} budgets hold")
        return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime

    one, hundred = zip(*((seconds(1), seconds(100)) for _ in range(3)), strict=True)
    assert min(hundred) < 3 * min(one), (one, hundred)


# diff


def test_diff_shows_removed_and_added_models(project: Path, cli: Cli) -> None:
    for name, models in (("before", ("a", "b")), ("after", ("b", "c"))):
        for model in models:
            net(1000 if name == "before" else 1100, name=model).save(project / f"{name}-{model}.json")
        files = [f"{name}-{model}.json" for model in models]
        assert cli("report", *files, "--hardware", "loihi", "--json", f"{name}.json").code == 0
    answer = cli("diff", "before.json", "after.json")
    assert answer.code == 0
    assert "removed: a\n" in answer.out
    assert "added: c\n" in answer.out
    record = json.loads(cli("diff", "before.json", "after.json", "--json", "-").out)
    assert (list(record["models"]), record["removed"], record["added"]) == (["b"], ["a"], ["c"])


def test_diff_with_budgets_has_their_exit_code(project: Path, cli: Cli) -> None:
    net(1040).save(project / "net.json")
    assert cli("diff", "base/net.json", "net.json").code == 0
    answer = cli("diff", "base/net.json", "net.json", "--budgets", "snnenergy.toml")
    assert answer.code == 1
    assert answer.out.startswith("FAILED: 1 of 2 budgets broken")
    for acs, code in ((1000, 5), (2000, 1)):
        net(acs, conditions=Conditions(inputs="cd")).save(project / "net.json")
        answer = cli("diff", "base/net.json", "net.json", "--budgets", "snnenergy.toml")
        assert answer.code == code
        assert "not comparable: inputs of the base is 'ab', of the head 'cd'" in answer.out + answer.err
    assert answer.out.startswith("FAILED: 1 of 2 budgets broken: acs of net 2.1 k. not comparable:")


def test_diff_tells_a_changed_profile_from_a_changed_model(project: Path, cli: Cli) -> None:
    source = (
        (ROOT / "hardware_profiles" / f"{CHIP}.yaml").read_text(encoding="utf-8").replace(f"name: {CHIP}", "name: own")
    )
    (project / "own.yaml").write_text(source)
    assert cli("report", "base/net.json", "--hardware", "own.yaml", "--json", "before.json").code == 0
    (project / "own.yaml").write_text(source.replace("0.1 pJ", "0.2 pJ"))
    net(1100, weights="w2").save(project / "net.json")
    answer = cli("diff", "before.json", "net.json", "--hardware", "own.yaml", "--json", "-")
    found = {row["name"]: (row["base"], row["head"]) for row in json.loads(answer.out)["models"]["net"]["causes"]}
    assert found["hardware profile own"] == (pytest.approx(110e-12), pytest.approx(220e-12))
    assert found["model on own"] == (pytest.approx(220e-12), pytest.approx(240e-12))


PROFILE = (
    (ROOT / "hardware_profiles" / f"{CHIP}.yaml").read_text(encoding="utf-8").replace(f"name: {CHIP}", "name: own")
)


def profiled(project: Path, name: str, acs: int, picojoules: str = "0.1", **changes: str) -> dict[str, Any]:
    """What `profile --json` writes, of a net with 100 accumulates more on a chip where one costs that; and the file."""
    (project / "own.yaml").write_text(PROFILE.replace("0.1 pJ", f"{picojoules} pJ"))
    counts = net(acs, weights=changes.get("weights", "w1"))
    text = formats(Look(), alone=True)["json"](compare({"net": counts}, ["own.yaml"]))
    (project / f"{name}.json").write_text(text)
    record: dict[str, Any] = json.loads(text)
    return record


def causes(cli: Cli, *arguments: object) -> dict[str, tuple[float, float]]:
    """Cause: (picojoules before, after)."""
    answer = cli("diff", *arguments, "--json", "-")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)["models"]["net"]["causes"]
    return {row["name"]: (round(row["base"] * 1e12, 9), round(row["head"] * 1e12, 9)) for row in rows}


def test_diff_of_two_profiled_files_splits_model_profile_and_tool(project: Path, cli: Cli) -> None:
    """1,100 accumulates at 0.1 pJ are 110 pJ; at 0.2 pJ 220; and 1,200 of those 240."""
    record = profiled(project, "base", 1000)
    profiled(project, "model", 1100, weights="w2")
    profiled(project, "dearer", 1000, "0.2")
    profiled(project, "both", 1100, "0.2", weights="w2")
    assert causes(cli, "base.json", "base.json") == {}
    assert causes(cli, "base.json", "model.json") == {"model on own": (110, 120)}
    assert causes(cli, "base.json", "dearer.json") == {"hardware profile own": (110, 220)}
    record["estimates"][0]["energy"] = {
        "low": 1e-10,
        "nominal": 1e-10,
        "high": 1e-10,
    }  # an older snnenergy priced otherwise
    (project / "older.json").write_text(json.dumps(record))
    assert causes(cli, "older.json", "base.json") == {"tool (pricing) on own": (100, 110)}
    assert causes(cli, "older.json", "both.json") == {
        "tool (pricing) on own": (100, 110),
        "hardware profile own": (110, 220),
        "model on own": (220, 240),
    }
    assert (
        causes(cli, "base.json", "dearer.json", "--hardware", CHIP) == {}
    )  # today's chips, which neither was priced on


def test_diff_of_a_file_that_kept_no_profile_says_what_it_cannot_tell(project: Path, cli: Cli) -> None:
    record = profiled(project, "base", 1000)
    del record["profiles"]
    (project / "old.json").write_text(json.dumps(record))
    profiled(project, "dearer", 1000, "0.2")
    assert causes(cli, "old.json", "dearer.json") == {"hardware profile own or tool": (110, 220)}
    answer = cli("diff", "old.json", "dearer.json")
    assert "note: old.json: holds prices on own without the profiles (an older snnenergy wrote it)" in answer.err
    assert Counts.load(project / "old.json") == Counts.load(project / "base.json") == net(1000)


def test_diff_refuses_a_damaged_price(project: Path, cli: Cli) -> None:
    for name, value in (("estimates", {}), ("estimates", [{"energy": 1}]), ("profiles", [1])):
        (project / "bad.json").write_text(json.dumps(profiled(project, "base", 1000) | {name: value}))
        answer = cli("diff", "bad.json", "base.json")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"snnenergy: error: bad.json: report.{name}")


# The example models


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", **environment}
    return subprocess.run(
        [sys.executable, "-m", "snnenergy", *arguments],
        env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip  # a command line, read across


SNN = '[models.snn]\nsource = "{0}/digits_snn.pt2"\ninput = "{0}/digits.npz"\n'


def test_counts_are_the_same_bytes_twice_and_under_another_hash_seed(tmp_path: Path) -> None:
    head = 'baseline = "{}"\n[[budgets]]\nmetric = "acs"\nmax = "1 M"\n'
    written = []
    for i, seed in enumerate(("0", "0", "4711")):
        (tmp_path / "snnenergy.toml").write_text(head.format(f"b{i}") + SNN.format(DIGITS))
        done = run(tmp_path, "check", "--update-baseline", PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stdout + done.stderr
        written.append((tmp_path / f"b{i}" / "snn.json").read_bytes())
    assert written[0] == written[1] == written[2]
    versions = json.loads(written[0])["identity"]["versions"]
    assert versions["threads"] == "1"
    assert versions["cpu"]


def test_the_example_models_hold_the_projects_own_budgets() -> None:
    done = run(ROOT, "check", "--json", "-")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(done.stdout)
    assert {b["model"] for b in record["budgets"]} == {"digits_ann", "digits_snn"}
    assert not [n for n in record["notices"] if n["kind"] != "lower bound"]
    assert "\nsnnenergy check" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_baselines_of_the_examples_name_no_machine() -> None:
    for file in (DIGITS / "baseline").glob("*.json"):
        assert not re.search(r"/(home|root|tmp|work|Users)\b", file.read_text(encoding="utf-8")), file


# The documentation, as a new user would follow it


def test_the_five_commands_of_the_documentation_print_what_it_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    script = re.search(r"```python make_model\.py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    console = re.search(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert script is not None
    assert console is not None
    (tmp_path / "make_model.py").write_text(script[1], encoding="utf-8")
    made = subprocess.run(
        [sys.executable, "make_model.py", "16"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    steps = [
        (part.partition("\n")[0], part.partition("\n")[2])
        for part in re.split(r"^\$ ", console[1], flags=re.MULTILINE)[1:]
    ]
    commands = [command for command, _ in steps if not command.startswith("echo")]
    assert len(commands) == 5
    codes: list[int] = []
    for command, printed in steps:
        if command == "echo $?":
            assert printed.strip() == str(codes[-1])
            continue
        words = shlex.split(command)
        start = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "snnenergy"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        done = subprocess.run(
            [*start, *words[1:]], env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        codes.append(done.returncode)
        assert done.stdout == printed, f"{command}\n{done.stdout}{done.stderr}"
    assert codes == [0, 0, 1, 0, 0]
