"""What several test files need: the repository, the command line in this process and in a fresh one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

Fresh = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell's background job ignores Ctrl-C, and so would what it starts: the tests that press it need it heard."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data beside the repository; a test that wants it is skipped where it is not there."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference data beside the repository (../shared) is not here")
    return folder


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    """Runs Python code in a new interpreter that sees this checkout and nothing of this process."""

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(  # noqa: PLW1510  # the caller looks at the exit code
            [sys.executable, "-c", code, *arguments],
            env=env | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command in this process: `cli("hardware", "list").out`."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Answer:
        from snnenergy.cli import main

        monkeypatch.setattr(sys, "argv", ["snnenergy", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return Answer(left.value.code if isinstance(left.value.code, int) else 0, captured.out, captured.err)

    return run
