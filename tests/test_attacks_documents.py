"""The parsers beside the model loaders: Counts JSON and hardware profiles, given documents meant to hurt."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from snnenergy.counts import Counts
from snnenergy.errors import CountsError, ProfileError
from tests.conftest import ROOT, Cli

HEAD = '{"schema_version": 1, "model": "m", "samples": '


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 100_000,
        HEAD + "1e400}",
        HEAD + "NaN}",
        HEAD + "-1}",
        HEAD + "9" * 10_000 + "}",
        HEAD + '"1"}',
        '{"schema_version": 1, "__class__": "os.system"}',
        '{"schema_version": 1e400}',
        "",
        "\x1b[2J",
    ],
    ids=["lists", "objects", "1e400", "NaN", "negative", "digits", "text", "a class", "version", "empty", "escape"],
)
def test_counts_documents(text: str, tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text(text)
    started = time.monotonic()
    with pytest.raises(CountsError) as caught:
        Counts.load(tmp_path / "counts.json")
    assert time.monotonic() - started < 5
    assert "\x1b" not in str(caught.value)


ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        ALIASES,
        "a: &a [*a]\n",
        "[" * 100_000,
        "!!python/object/apply:os.system ['touch canary']\n",
        "a: !!python/name:os.system\n",
        "identity: 1e400\n",
        "",
        "\x00\x01",
        "a: " + "x" * 10_000_000,
        "- 1\n" * 200_000,
        "!" * 1_000_000,
    ],
    ids=[
        "alias bomb",
        "itself",
        "nested",
        "python object",
        "python name",
        "1e400",
        "empty",
        "binary",
        "long",
        "many",
        "tag",
    ],
)
def test_profile_documents(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snnenergy.hardware import load_hardware

    monkeypatch.chdir(tmp_path)
    (tmp_path / "chip.yaml").write_text(text)
    started = time.monotonic()
    with pytest.raises(ProfileError) as caught:
        load_hardware(tmp_path / "chip.yaml")
    assert time.monotonic() - started < 10
    assert len(str(caught.value)) < 5000
    assert [p.name for p in tmp_path.iterdir()] == ["chip.yaml"]


@pytest.mark.parametrize("lies", ["/dev/zero", "a pipe", "large"])
def test_what_lies_in_a_folder_of_profiles(lies: str, tmp_path: Path) -> None:
    """A name that no file has is looked for among the aliases of all."""
    from snnenergy.hardware import load_hardware

    file = tmp_path / "chip.yaml"
    if lies == "a pipe":
        os.mkfifo(file)
    elif lies == "large":
        file.write_bytes(bytes(10_000_000))
    else:
        file.symlink_to(lies)
    with pytest.raises(ProfileError, match=r"chip\.yaml: "):
        load_hardware("nothing", search=[tmp_path])


@pytest.mark.parametrize("command", ["inspect", "report", "merge", "hardware lint", "hardware show", "check --config"])
def test_no_command_shows_a_terminal_what_a_file_says(command: str, tmp_path: Path, cli: Cli) -> None:
    """Escapes in the file's name and in its text, to commands that only look."""
    file = tmp_path / "a\x1b[2J\u202e.yaml"
    file.write_text('"\\e[2Jkey": 1\n"\u202e": 2\n')
    answer = cli(*command.split(), str(file))
    assert answer.code in (2, 3)
    shown = answer.out + answer.err
    assert shown
    assert not {"\x1b", "\u202e"} & set(shown)


def test_a_target_whose_links_lead_in_a_circle(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    answer = cli("report", str(ROOT / "reports" / "digits.json"), "--json", str(tmp_path / "loop"))
    assert answer.code == 2
    assert "circle" in answer.err


def test_an_empty_name(cli: Cli) -> None:
    answer = cli("init", "")
    assert answer.code == 2
    assert "needs a MODEL" in answer.err
