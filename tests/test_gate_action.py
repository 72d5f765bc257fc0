"""action.yml and the workflow templates: their steps run through bash, and nothing from outside becomes part of a script."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.gate_nets import net

TEMPLATES = sorted((ROOT / "docs" / "workflows").glob("*.yml"))
FILES = [ROOT / "action.yml", *TEMPLATES]
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
BUDGETS = '[[budgets]]\nmetric = "acs"\nmax = 1150\n'

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def document(file: Path) -> Any:
    return YAML(typ="safe").load(file.read_text(encoding="utf-8"))


def steps(file: Path) -> list[dict[str, Any]]:
    read = document(file)
    if "runs" in read:
        return list(read["runs"]["steps"])
    return [step for job in read["jobs"].values() for step in job["steps"]]


def test_there_are_an_action_and_two_templates() -> None:
    assert [f.name for f in FILES] == ["action.yml", "energy-comment.yml", "energy.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_no_script_holds_an_expression(file: Path) -> None:
    for step in steps(file):
        assert "${{" not in step.get("run", ""), step["name"]
        assert "github-script" not in step.get("uses", "")


def test_rights_are_as_small_as_they_can_be() -> None:
    gate, comment = document(ROOT / "docs/workflows/energy.yml"), document(ROOT / "docs/workflows/energy-comment.yml")
    assert gate["permissions"] == {"contents": "read"}
    assert list(gate["on"]) == ["pull_request"]  # never pull_request_target
    assert "secrets." not in (ROOT / "docs/workflows/energy.yml").read_text()
    assert comment["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert list(comment["on"]) == ["workflow_run"]
    used = [step["uses"] for step in steps(ROOT / "docs/workflows/energy-comment.yml") if "uses" in step]
    assert [u.partition("@")[0] for u in used] == ["actions/download-artifact"]  # nothing is checked out
    assert all("permissions" not in job for read in (gate, comment) for job in read["jobs"].values())


class Runner:
    """What the platform does for a composite action: inputs, variables, files for outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outputs = folder / "outputs"
        self.action = document(ROOT / "action.yml")
        binaries = folder / "bin"
        binaries.mkdir()
        (binaries / "python").symlink_to(sys.executable)
        site = os.path.dirname(os.path.dirname(pytest.__file__))
        self.env = {
            "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT}:{site}", "HOME": str(folder),
            "GITHUB_OUTPUT": str(self.outputs), "GITHUB_STEP_SUMMARY": str(folder / "summary"),
            "GITHUB_WORKSPACE": str(folder / "repository"), "GITHUB_ACTIONS": "true", "OMP_NUM_THREADS": "1",
        }  # fmt: skip  # a table, read across
        (folder / "repository").mkdir()

    def run(self, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """One step by name, with every input at its default unless it is given."""
        (step,) = [s for s in self.action["runs"]["steps"] if s["name"] == name]
        given = {key: str(value["default"]) for key, value in self.action["inputs"].items()}
        assert {key.replace("_", "-") for key in inputs} <= set(given)
        given |= {key.replace("_", "-"): value for key, value in inputs.items()}
        known = {"github.action_path": str(ROOT), **{f"inputs.{key}": value for key, value in given.items()}}
        env = {key: EXPRESSION.sub(lambda m: known[m[1]], text) for key, text in step["env"].items()}
        self.outputs.write_text("")
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env=self.env | env, cwd=self.folder / "repository", capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip  # a command line, read across

    @property
    def said(self) -> dict[str, str]:
        """The step's outputs."""
        lines = self.outputs.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    made = Runner(tmp_path)
    (tmp_path / "repository" / "snnenergy.toml").write_text(BUDGETS)
    net(1000).save(tmp_path / "repository" / "net.json")
    return made


def test_check_passes_and_leaves_its_reports(runner: Runner, tmp_path: Path) -> None:
    done = runner.run("Check", counts="net.json\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert runner.said["exit-code"] == "0"
    assert runner.said["verdict"].startswith("passed: 1 budget holds")
    reports = Path(runner.said["report-directory"])
    assert reports == tmp_path / "repository" / "energy-report"
    assert {f.name for f in reports.iterdir()} == {"verdict.json", "verdict.md", "verdict.xml"}
    assert (tmp_path / "summary").read_text() == (reports / "verdict.md").read_text()
    assert set(document(ROOT / "action.yml")["outputs"]) == set(runner.said)


def test_check_fails_with_annotations(runner: Runner, tmp_path: Path) -> None:
    net(1100).save(tmp_path / "repository" / "net.json")
    done = runner.run("Check", counts="net.json")
    assert done.returncode == 1
    assert "::error file=snnenergy.toml,line=1,title=energy budget::acs of net: 1.2 k above max 1.15 k" in done.stdout
    assert runner.said["verdict"].startswith("FAILED: 1 of 1 budget broken")


def test_what_leaves_no_verdict_still_has_outputs(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "repository" / "energy-report").mkdir()
    (tmp_path / "repository" / "energy-report" / "verdict.json").write_text(
        json.dumps({"verdict": "passed: committed"})
    )
    done = runner.run("Check", counts="net.json", config="absent.toml")
    assert done.returncode == 2
    assert runner.said["verdict"] == "no verdict: exit code 2, see the log"


EVIL = "$(touch owned) `touch owned`; touch owned #' \" && touch owned"


@pytest.mark.parametrize(
    "inputs", [{k: EVIL} for k in ("config", "base_ref", "counts", "models", "min_coverage", "report_directory")]
)
def test_no_input_is_run(runner: Runner, tmp_path: Path, inputs: dict[str, str]) -> None:
    done = runner.run("Check", **({"counts": "net.json"} | inputs))
    assert not list(tmp_path.rglob("owned"))
    assert done.returncode == (0 if "report_directory" in inputs else 2), done.stderr


def test_an_input_is_no_option(runner: Runner, tmp_path: Path) -> None:
    done = runner.run("Check", counts="--update-baseline")
    assert done.returncode == 2
    assert "--update-baseline: no such file" in done.stderr


def test_code_beside_the_budgets_is_not_imported(runner: Runner, tmp_path: Path) -> None:
    for name in ("json", "pydantic", "snnenergy", "typer"):
        (tmp_path / "repository" / f"{name}.py").write_text("open('owned', 'w'); raise SystemExit(0)")
    done = runner.run("Check", counts="net.json")
    assert done.returncode == 0
    assert runner.said["verdict"].startswith("passed")
    assert not list(tmp_path.rglob("owned"))


def test_install_uses_pip_and_can_be_left_out(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "bin" / "python").unlink()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/pip"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    assert runner.run("Install", install="false").returncode == 0
    assert not (tmp_path / "pip").exists()
    assert runner.run("Install").returncode == 0
    asked = (tmp_path / "pip").read_text().splitlines()
    assert asked == ["-P", "-m", "pip", "install", "--quiet", "-c", f"{ROOT}/constraints.txt", str(ROOT)]


GH = """\
#!/bin/bash
printf '%s\\n' "$*" >> "$LOG"
case "$*" in
  *"--method GET"*pulls*) printf '%s' "$PULL" ;;
  *"--paginate"*comments*) printf '%s' "$OLD" ;;
  *"body=@comment.md"*) cp comment.md "$POSTED" ;;
esac
"""


def comment(folder: Path, text: str | None, pull: str = "7", old: str = "") -> tuple[list[str], str | None, int]:
    """Runs the comment step with a stand-in for `gh`: its calls, what was posted, the exit code."""
    (step,) = [s for s in steps(ROOT / "docs/workflows/energy-comment.yml") if s.get("name") == "Comment"]
    (folder / "gh").write_text(GH)
    (folder / "gh").chmod(0o755)
    (folder / "energy-report").mkdir(exist_ok=True)
    if text is not None:
        (folder / "energy-report" / "verdict.md").write_text(text)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "LOG": str(folder / "log"), "POSTED": str(folder / "posted")}
    env |= dict.fromkeys(step["env"], "x") | {"REPOSITORY": "o/r", "HEAD": "o:$(touch owned)", "HEAD_SHA": "abc"}
    env |= {"PULL": pull, "OLD": old, "RUN_URL": "https://example.org/run"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip  # a command line, read across
    calls = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    posted = (folder / "posted").read_text() if (folder / "posted").exists() else None
    assert not list(folder.rglob("owned"))
    return calls, posted, done.returncode


def test_the_comment_is_posted_once_and_then_edited(tmp_path: Path) -> None:
    calls, posted, code = comment(tmp_path, "**passed**\n")
    assert code == 0
    assert posted is not None
    assert posted.startswith("<!-- snnenergy-gate -->\n**passed**\n")
    assert calls[-1].startswith("api --method POST repos/o/r/issues/7/comments")
    calls, _, code = comment(tmp_path, "**failed**\n", old="99")
    assert code == 0
    assert calls[-1].startswith("api --method PATCH repos/o/r/issues/comments/99")


def test_a_comment_has_a_size_and_a_place_that_the_artifact_does_not_choose(tmp_path: Path) -> None:
    calls, posted, code = comment(tmp_path, "x" * 200_000)
    assert code == 0
    assert posted is not None
    assert len(posted) < 65_536
    assert "head=o:$(touch owned)" in calls[0]
    for kwargs in ({"text": None}, {"text": "x", "pull": ""}):
        inner = tmp_path / str(len(kwargs))
        inner.mkdir()
        assert comment(inner, **kwargs)[1:] == (None, 0)
