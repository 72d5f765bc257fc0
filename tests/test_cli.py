"""The command line: exit codes, what goes where, what it starts with, stored Counts."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from snnenergy import Counts, errors
from snnenergy.cli import app, overwriting
from snnenergy.cli import options as o
from snnenergy.cli.output import STDOUT, check, width, write
from snnenergy.cli.runner import command
from snnenergy.cli.stored import is_stored
from tests.conftest import ROOT, Cli, Fresh

HEAVY = ("torch", "pandas", "pint", "altair", "vl_convert", "fvcore")


def counts(model: str = "net", *, effective: int = 40, samples: int = 2, **fields: Any) -> Counts:
    """A spiking linear layer, 10 inputs to 10 outputs, and its ten neurons."""
    spikes = {"domain": "spike", "elements": 20, "nonzero": 5, "driven": 50, "effective": effective}
    fc = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 200, "valid_macs": 200, "streams": [spikes]}
    fc |= {"weights": 100, "weights_nonzero": 80, "weight_bits": 8, "fan_in": 10, "fan_out": 10, "output_elements": 20}
    lif = {"path": "lif", "role": "neuron", "neuron_model": "LIF", "neurons": 10, "updates": 20, "spikes_out": 3}
    return Counts.build(model, [fc, lif], samples=samples, time_steps=1, **fields)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """A Counts file: `saved("a", effective=30)`."""

    def save(model: str = "net", **fields: Any) -> Path:
        path = tmp_path / f"{model}.json"
        counts(model, **fields).save(path)
        return path

    return save


# Errors and exit codes


ERRORS = [
    (errors.UsageError, 2),
    (errors.InputError, 2),
    (errors.ForwardError, 2),
    (errors.TimeAxisError, 2),
    (errors.ActivityError, 2),
    (errors.CountsError, 2),
    (errors.ProfileError, 2),
    (errors.UnknownHardwareError, 2),
    (errors.RankError, 2),
    (errors.UnsafeModelError, 3),
    (errors.BudgetError, 1),
    (errors.CoverageError, 4),
    (errors.NotComparableError, 5),
]


def run_failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *arguments: str) -> int:
    """Exit code of a command that raises."""
    small = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

    def fails() -> None:
        raise error

    command(small, fails)
    monkeypatch.setattr(sys, "argv", ["snnenergy", *arguments])
    with pytest.raises(SystemExit) as left:
        small()
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(("kind", "code"), ERRORS)
def test_every_error_has_its_exit_code_and_no_traceback(
    kind: type[errors.SnnEnergyError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing(monkeypatch, kind("file:1:2: what was found")) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "snnenergy: error: file:1:2: what was found\n"


def test_the_table_of_errors_is_complete() -> None:
    kinds = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.SnnEnergyError)}
    assert {kind for kind, _ in ERRORS} == kinds - {errors.SnnEnergyError}


def test_our_own_bug_is_70_and_says_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing(monkeypatch, KeyError("x")) == 70
    err = capsys.readouterr().err
    assert "a bug in snnenergy" in err
    assert "--debug" in err
    assert "issue tracker" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 10


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_failing(monkeypatch, KeyError("x"), "--debug") == 70
    assert "Traceback" in capsys.readouterr().err
    assert run_failing(monkeypatch, errors.UsageError("y"), "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_control_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_failing(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "snnenergy: interrupted\n"


def test_control_c_of_a_real_process_is_130_and_writes_nothing(tmp_path: Path) -> None:
    code = "import snnenergy.counts as c, time, sys\nc.Counts.load = lambda *a: (print('in', flush=True), time.sleep(30))\n"
    code += "from snnenergy.cli import main; main()"
    counts().save(tmp_path / "a.json")
    arguments = ["report", str(tmp_path / "a.json"), "--json", str(tmp_path / "out.json")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (130, "snnenergy: interrupted\n")
    assert not (tmp_path / "out.json").exists()


def test_a_long_error_is_one_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_failing(monkeypatch, errors.UsageError("\n".join(f"line {i}" for i in range(1000))))
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 21
    assert err[-1].strip() == "... and 980 lines more"


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_failing(monkeypatch, errors.UsageError("layer \x1b[2Jfc\rx"))
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("nonsense",), ("report",), ("report", "--nonsense"), ("hardware", "show")])
def test_wrong_usage_is_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    answer = cli(*arguments)
    assert answer.code == 2
    assert answer.out == ""


def test_a_closed_stdout_is_no_pass_and_no_traceback(saved: Callable[..., Path]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "snnenergy", "report", str(saved())],
        cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip  # a command line, read across
    os.close(write_end)
    assert (done.returncode, done.stderr) == (2, "")


def piped(redirection: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command through a shell, its stdout or stderr redirected so."""
    line = shlex.join([sys.executable, "-m", "snnenergy", *map(str, arguments)])
    return subprocess.run(
        ["sh", "-c", f"{line} {redirection}"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip  # a command line, read across


def test_a_stdout_that_is_not_there_is_no_pass_and_no_bug(saved: Callable[..., Path], tmp_path: Path) -> None:
    for options in ((), ("--json", "-"), ("--json", tmp_path / "out.json")):
        done = piped(">&-", "report", saved(), "--hardware", "none", *options)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.startswith(b"snnenergy: error: stdout is closed")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
@pytest.mark.parametrize("options", [(), ("--json", "-")])
def test_a_full_stdout_is_told_and_no_bug(options: tuple[str, ...]) -> None:
    done = piped(">/dev/full", "hardware", "list", *options)
    assert done.returncode == 2
    assert done.stderr == b"snnenergy: error: stdout: cannot be written: No space left on device\n"


def test_what_is_told_on_a_closed_stderr_is_no_result(tmp_path: Path) -> None:
    done = piped("2>&-", "report", tmp_path / "none.json")
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_terminal_of_ascii_gets_the_table_in_ascii_and_a_document_as_in_a_file(saved: Callable[..., Path]) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    file = saved("µ-net")
    for form in ("markdown", "html"):
        done = piped("", "report", file, "--hardware", "h100", f"--{form}", "-", **plain)
        assert done.returncode == 0, done.stderr
        assert "µ-net" in done.stdout.decode("utf-8")
    done = piped("", "report", file, "--hardware", "h100", **plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and b"u-net" in done.stdout


# Shape of the command line


def commands(of: typer.Typer = app) -> Iterator[tuple[str, Any]]:
    group: Any = typer.main.get_command(of)
    for name, one in group.commands.items():
        yield from ((f"{name} {n}", c) for n, c in one.commands.items()) if hasattr(one, "commands") else [(name, one)]


def test_every_command_has_json_and_debug_and_a_line_of_help() -> None:
    seen = dict(commands())
    assert {"profile", "compare", "report", "demo", "merge", "diff", "hardware list", "hardware lint"} <= set(seen)
    for name, one in seen.items():
        options = {text for parameter in one.params for text in parameter.opts}
        assert {"--json", "--debug"} <= options, name
        assert one.help, name


def test_help_flows_and_has_no_line_breaks_of_the_source() -> None:
    texts = [one.help for _, one in commands()] + [typer.main.get_command(app).help]
    assert len(texts) > 20
    assert not [text for text in texts if "\n" in text.replace("\n\n", " ")]


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("profile", "h100_sxm, truenorth, loihi, tianjic; of stored reports, those they hold"),
        ("report", "h100_sxm, truenorth, loihi, tianjic; of stored reports, those they hold"),
        ("demo", "h100_sxm, truenorth, loihi, tianjic"),
        ("payback", "h100_sxm, truenorth, loihi, tianjic"),
        ("init", "loihi"),
        ("diff", "those that HEAD holds, else BASE"),
    ],
)
def test_every_command_says_which_chips_are_its_own(name: str, default: str) -> None:
    (option,) = (one for one in dict(commands())[name].params if one.name == "hardware")
    assert option.help.endswith(f" Default: {default}.")
    assert ("`none` counts only" in option.help) is (name != "payback")


def test_an_option_means_the_same_everywhere() -> None:
    meaning: dict[str, set[str]] = {}
    for _, one in commands():
        for parameter in one.params:
            if parameter.param_type_name == "option" and parameter.name in (
                "input",
                "factory",
                "trust",
                "html",
                "min_coverage",
            ):
                meaning.setdefault(parameter.name, set()).add(parameter.help)
    assert meaning
    assert all(len(helps) == 1 for helps in meaning.values())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["profile", "--help"], ["hardware", "--help"]])
def test_help_loads_nothing_heavy(fresh: Fresh, arguments: list[str]) -> None:
    done = fresh(IMPORTED, *arguments)
    assert done.returncode == 0, done.stderr
    assert loaded(done.stderr) & {*HEAVY, "pydantic", "ruamel", "jinja2", "numpy"} <= {
        "pydantic"
    }  # Typer may use pydantic


IMPORTED = """
import sys
from snnenergy.cli import main
try:
    main()
finally:
    print("LOADED", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def loaded(err: str) -> set[str]:
    """Top-level packages that a fresh interpreter had loaded."""
    return set(err.rpartition("LOADED")[2].split())


def test_report_of_stored_counts_loads_no_torch(fresh: Fresh, saved: Callable[..., Path], tmp_path: Path) -> None:
    a, b = saved("a"), saved("b", effective=30)
    done = fresh(
        IMPORTED,
        "report",
        str(a),
        str(b),
        "--json",
        "out.json",
        "--csv",
        "out.csv",
        "--markdown",
        "out.md",
        "--latex",
        "out.tex",
    )
    assert done.returncode == 0, done.stderr
    assert not loaded(done.stderr) & {"torch", "pandas", "altair", "vl_convert", "fvcore"}
    assert {f.name for f in tmp_path.iterdir()} >= {"out.json", "out.csv", "out.md", "out.tex"}


@pytest.mark.parametrize(
    "arguments", [["hardware", "list"], ["hardware", "show", "loihi"], ["hardware", "schema"], ["validate"]]
)
def test_other_commands_load_no_torch(fresh: Fresh, arguments: list[str]) -> None:
    done = fresh(IMPORTED, *arguments)
    assert done.returncode == 0, done.stderr
    assert not loaded(done.stderr) & {"torch", "pandas", "altair", "vl_convert", "fvcore"}


def test_module_and_version(fresh: Fresh) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "snnenergy", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "snnenergy 0.1.0\n"


# Where results go


def test_json_on_stdout_is_json_alone(cli: Cli, saved: Callable[..., Path]) -> None:
    answer = cli("report", saved("a"), "--hardware", "loihi", "--json", "-")
    assert answer.code == 0
    assert json.loads(answer.out)["estimates"][0]["hardware"] == "loihi"


def test_two_documents_cannot_share_stdout(cli: Cli, saved: Callable[..., Path]) -> None:
    answer = cli("report", saved("a"), "--json", "-", "--csv", "-")
    assert (answer.code, answer.out) == (2, "")
    assert "--json and --csv" in answer.err


def test_targets_are_checked_before_any_work(cli: Cli, tmp_path: Path) -> None:
    for target in (tmp_path / "no" / "out.json", tmp_path, tmp_path / ("long" * 99)):
        answer = cli("profile", "no-such-model.pt2", "--json", target)
        assert answer.code == 2
        assert str(target) in answer.err
    assert "two outputs" in cli("report", "x", "--json", tmp_path / "a", "--csv", tmp_path / "a").err


def test_check_keeps_what_was_given(tmp_path: Path) -> None:
    assert check({"json": STDOUT, "csv": None, "html": str(tmp_path / "a")}) == {
        "json": STDOUT,
        "html": str(tmp_path / "a"),
    }


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    write(str(target), "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(errors.UsageError, match="No space left"):
        write(str(target), "new")
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "old"


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("kept.json")
    for text in ("first", "second"):  # nothing is there yet, then something is
        write(str(tmp_path / "link"), text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "kept.json").read_text() == text
    assert sorted(f.name for f in tmp_path.iterdir()) == ["kept.json", "link"]


def test_a_pipe_is_written_to_and_not_replaced(cli: Cli, saved: Callable[..., Path], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for target in (pipe, tmp_path / "link"):
        reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
        assert cli("report", saved(), "--hardware", "none", "--json", target).code == 0
        assert pipe.is_fifo()
        assert json.loads(reader.communicate(timeout=20)[0])["counts"]


def test_an_output_never_replaces_what_the_command_reads(
    cli: Cli, saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two, chip = saved("a"), saved("b"), tmp_path / "chip.yaml"
    chip.write_text("name: chip")
    (tmp_path / "same.json").hardlink_to(one)
    (tmp_path / "link.json").symlink_to("a.json")
    (tmp_path / "pkg").mkdir()
    for source in ("pkg/nets.py", "pkg/__init__.py", "m.pt2", "i.npy", "rows/x.npy"):
        Path(source).parent.mkdir(exist_ok=True)
        Path(source).write_text("of the user")
    np = ("--input", "i.npy")
    for arguments in (
        ("profile", "m.pt2", "--json", "m.pt2"),
        ("profile", "m.pt2", *np, "--json", "./i.npy"),
        ("profile", "m.pt2", "--input", "i.npy:x", "--markdown", tmp_path / "i.npy"),
        ("profile", "pkg.nets:make", "--csv", "pkg/nets.py"),
        ("profile", "pkg:make", "--csv", "pkg/__init__.py"),
        ("profile", "m.pt2", "--factory", "pkg.nets:make", "--html", "pkg/nets.py"),
        ("profile", "m.pt2", "--data", "rows", "--latex", "rows/x.npy"),
        ("profile", "m.pt2", "--data", "rows/x.npz", "--layers-csv", "m.pt2"),
        ("profile", "m.pt2", "--hardware", f"loihi,{chip}", "--json", chip),
        ("compare", one, "it=m.pt2", "--json", "m.pt2"),
        ("report", one, two, "--json", "link.json"),
        ("report", "same.json", "--html", one),
        ("merge", one, two, "--json", two),
        ("diff", one, two, "--json", one),
        ("check", one, "--format", f"text,junit={one}"),
        ("measure", "m.pt2", "--json", "m.pt2"),
        ("init", "m.pt2", "--config", "m.pt2", "--force"),
    ):
        answer = cli(*arguments)
        assert (answer.code, answer.out) == (2, ""), arguments
        assert "this command reads that file" in answer.err and "name another file" in answer.err
    assert (tmp_path / "m.pt2").read_text() == "of the user"
    assert Counts.load(one).model == "a"
    assert cli("report", one, "--hardware", "none", "--json", "new.json").code == 0
    assert cli("report", one, "--hardware", "none", "--json", "new.json").code == 0  # an older output is replaced


def test_every_option_that_writes_a_file_is_known_as_one() -> None:
    for name, found in commands():
        for option in found.params:
            if option.metavar == "FILE|-":
                assert option.name in overwriting.OUTPUTS, (name, option.name)


def test_the_table_is_80_columns_of_plain_text_when_piped(cli: Cli, saved: Callable[..., Path]) -> None:
    answer = cli("report", saved("a"), saved("b" * 70))
    assert answer.code == 0
    assert "\x1b" not in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
    assert width() == 80


# Options


def test_chips_are_named_once_and_in_order() -> None:
    assert o.chips(None) == ("h100_sxm", "truenorth", "loihi", "tianjic")
    assert o.chips(["loihi, h100", "loihi"]) == ("loihi", "h100")
    assert o.chips(["none"]) == ()
    for wrong in (["none,loihi"], [","], [""]):
        with pytest.raises(errors.UsageError, match="--hardware"):
            o.chips(wrong)


def test_an_option_holds_for_all_models_or_one_each() -> None:
    once = o.Reading(input=["a.npz"], seed=7)
    assert [once.of(i, 2)["input"] for i in (0, 1)] == ["a.npz", "a.npz"]
    each = o.Reading(input_shape=["1,3,8,8", "2x4"])
    assert [each.of(i, 2)["input_shape"] for i in (0, 1)] == [(1, 3, 8, 8), (2, 4)]
    with pytest.raises(errors.UsageError, match="2 times for 3"):
        each.of(0, 3)
    with pytest.raises(errors.UsageError, match="give one of them"):
        o.Reading(input=["a"], input_shape=["1"]).of(0, 1)


@pytest.mark.parametrize("text", ["", "1,", "0,3", "-1", "a", "1.5", "1;3"])
def test_a_wrong_shape_is_an_error(text: str) -> None:
    with pytest.raises(errors.UsageError, match="--input-shape"):
        o.Reading(input_shape=[text]).of(0, 1)


# Stored Counts


def test_models_and_stored_files_are_told_apart_by_content(tmp_path: Path) -> None:
    samples = {
        b'{"schema_version": 1}': True,
        b"\xef\xbb\xbf <html>": True,
        b"PK\x03\x04\x00": False,
        b"\x80\x02}": False,
    }
    samples |= {b"{\x00\x00\x00\x00\x00\x00\x00{}": False, b"": False}  # a safetensors header of 123 bytes; nothing
    for i, (content, stored) in enumerate(samples.items()):
        (tmp_path / str(i)).write_bytes(content)
        assert is_stored(tmp_path / str(i)) is stored, content
    assert not is_stored(tmp_path / "absent")


def test_report_without_hardware_only_counts(cli: Cli, saved: Callable[..., Path]) -> None:
    answer = cli("report", saved("a"), "--hardware", "none", "--json", "-")
    assert json.loads(answer.out)["estimates"] == []
    assert "20 ACs" in cli("report", saved("a"), "--hardware", "none").out  # 40 effective taps, 2 samples


def test_a_report_is_read_again_as_it_was(cli: Cli, saved: Callable[..., Path], tmp_path: Path) -> None:
    first = cli("report", saved("a"), saved("b"), "--hardware", "loihi", "--json", tmp_path / "r.json")
    assert cli("report", tmp_path / "r.json").out == first.out
    again = cli("report", tmp_path / "r.json", "--hardware", "tianjic", "--json", "-")
    assert {e["hardware"] for e in json.loads(again.out)["estimates"]} == {"tianjic"}


def test_models_of_one_name_must_be_named_apart(cli: Cli, saved: Callable[..., Path]) -> None:
    a = saved("a")
    assert "two models are called 'a'" in cli("report", a, a).err
    answer = cli("report", f"one={a}", f"two={a}", "--hardware", "loihi", "--json", "-")
    assert list(json.loads(answer.out)["counts"]) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "not a Counts JSON file"),
        ('{"schema_version": 99}', "schema_version 99"),
        ('{"schema_version": 1, "layers": 3}', "expected a list"),
        ('{"schema": "snnenergy.report", "schema_version": 1}', "report"),
        ("PK", "neither Counts nor a report"),
    ],
)
def test_a_file_that_is_no_counts_is_one_error(cli: Cli, tmp_path: Path, content: str, found: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    answer = cli("report", file, "--json", tmp_path / "out.json")
    assert (answer.code, answer.out) == (2, "")
    assert str(file) in answer.err
    assert found in answer.err
    assert not (tmp_path / "out.json").exists()


def test_a_chip_of_a_report_is_found_in_capitals_too(cli: Cli, saved: Callable[..., Path], tmp_path: Path) -> None:
    from snnenergy.hardware import load_hardware

    chip = load_hardware("tianjic").model_copy(update={"name": "of_the_lab", "aliases": ("lab",)})
    assert o._named("LAB", (), (chip,)) is chip
    assert cli("report", saved(), "--hardware", "LOIHI,H100").code == 0


def test_an_unknown_chip_names_the_nearest(cli: Cli, saved: Callable[..., Path], tmp_path: Path) -> None:
    answer = cli("report", saved("a"), "--hardware", "lohi", "--json", tmp_path / "out.json")
    assert (answer.code, answer.out) == (2, "")
    assert "loihi" in answer.err
    assert not (tmp_path / "out.json").exists()


def test_coverage_below_the_demand_is_4_after_the_report(cli: Cli, tmp_path: Path) -> None:
    from snnenergy.counts import Coverage, Uncounted

    partly = counts(coverage=Coverage(75, 100, 9, 10), uncounted=(Uncounted("head", "mylib::op", 1, 25, "no rule"),))
    partly.save(tmp_path / "a.json")
    assert cli("report", tmp_path / "a.json", "--min-coverage", 75).code == 0
    answer = cli("report", tmp_path / "a.json", "--min-coverage", 75.1, "--json", tmp_path / "out.json")
    assert answer.code == 4
    assert "75 % counted" in answer.err
    assert "head: mylib::op" in answer.err
    assert answer.out.startswith("INCOMPLETE COUNT")
    assert (tmp_path / "out.json").exists()


def test_a_strict_fit_that_fails_is_1(cli: Cli, tmp_path: Path) -> None:
    wide = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 3000, "fan_in": 300, "fan_out": 10}
    wide |= {"output_elements": 10, "weights": 3000, "weights_nonzero": 3000, "weight_bits": 1}
    wide["streams"] = [{"domain": "spike", "elements": 300, "nonzero": 3, "driven": 30, "effective": 30}]
    Counts.build("wide", [wide], time_steps=1).save(tmp_path / "a.json")
    out = tmp_path / "out.json"
    answer = cli("report", tmp_path / "a.json", "--hardware", "truenorth", "--strict-fit", "--json", out)
    assert answer.code == 1
    assert "256" in answer.err  # the fan-in of a TrueNorth core
    assert json.loads(out.read_text())["counts"]  # the report is there all the same, as it is where coverage is too low
    assert "truenorth" in answer.out
    assert cli("report", tmp_path / "a.json", "--hardware", "truenorth").code == 0


def test_merge_is_the_whole(cli: Cli, saved: Callable[..., Path], tmp_path: Path) -> None:
    a = saved("net", effective=40)
    b = tmp_path / "b.json"
    counts("net", effective=30, samples=3).save(b)
    answer = cli("merge", a, b)
    assert answer.code == 0
    whole = Counts.from_dict(json.loads(answer.out))
    assert (whole.samples, whole["fc"].acs, whole["lif"].spikes_out) == (5, 70, 6)
    assert cli("merge", a, b, "--json", tmp_path / "m.json").code == 0
    assert Counts.load(tmp_path / "m.json") == whole


def test_merging_two_models_is_refused(cli: Cli, saved: Callable[..., Path]) -> None:
    answer = cli("merge", saved("a"), saved("b"))
    assert (answer.code, answer.out) == (2, "")
    assert "two models" in answer.err


def test_diff_shows_what_changed_per_inference(cli: Cli, saved: Callable[..., Path], tmp_path: Path) -> None:
    base = saved("net", effective=40)
    counts("net", effective=30, samples=2).save(tmp_path / "head.json")
    answer = cli("diff", base, tmp_path / "head.json", "--hardware", "loihi", "--json", "-")
    assert answer.code == 0
    changed = json.loads(answer.out)["models"]["net"]
    rows = {row["name"]: (row["base"], row["head"]) for row in changed["totals"]}
    assert rows["acs"] == (20, 15)
    assert rows["dense_macs"] == (100, 100)
    assert rows["weights"] == (100, 100)
    assert [row["name"] for row in changed["layers"]["fc"]] == ["acs"]
    assert {row["name"] for row in changed["priced"]} == {"energy on loihi", "latency on loihi"}
    table = cli("diff", base, tmp_path / "head.json").out
    assert "fc: acs" in table
    assert "-25 %" in table


def test_diff_of_other_inputs_is_not_comparable(cli: Cli, saved: Callable[..., Path], tmp_path: Path) -> None:
    from snnenergy.counts import Conditions

    base = saved("net")
    counts("net", conditions=Conditions(inputs="ab")).save(tmp_path / "head.json")
    answer = cli("diff", base, tmp_path / "head.json")
    assert (answer.code, answer.out) == (5, "")
    assert "inputs" in answer.err
    assert cli("diff", tmp_path / "absent.json", base).code == 5


def test_diff_of_nothing_says_so(cli: Cli, saved: Callable[..., Path]) -> None:
    answer = cli("diff", saved("net"), saved("net"))
    assert answer.code == 0
    assert "No layer changed." in answer.out


# Hardware


def test_hardware_list_names_the_four_chips_of_the_demo(cli: Cli) -> None:
    assert set(o.DEFAULT_CHIPS) <= {
        line.split()[0] for line in cli("hardware", "list").out.splitlines() if line.split()
    }
    assert set(o.DEFAULT_CHIPS) <= {chip["name"] for chip in json.loads(cli("hardware", "list", "--json", "-").out)}


def test_hardware_show_gives_value_range_how_and_source(cli: Cli) -> None:
    out = cli("hardware", "show", "loihi").out
    for word in ("energy.synop", "23.6 pJ", "davies2018", "10.1109/MM.2018.112130359"):
        assert word in out
    alias = json.loads(cli("hardware", "show", "h100", "--json", "-").out)
    assert alias["name"] == "h100_sxm"


def test_hardware_lint(cli: Cli, tmp_path: Path) -> None:
    shipped = ROOT / "hardware_profiles" / "loihi.yaml"
    assert cli("hardware", "lint", shipped).code == 0
    wrong = tmp_path / "loihi.yaml"
    wrong.write_text(shipped.read_text().replace("23.6 pJ", "23.6 ps"))
    answer = cli("hardware", "lint", wrong)
    assert answer.code == 2
    assert f"{wrong}:" in answer.out
    assert "energy.synop" in answer.out
    answer = cli("report", "x.json", "--hardware", wrong)
    assert answer.code == 2


def test_hardware_schema_is_a_json_schema(cli: Cli) -> None:
    schema = json.loads(cli("hardware", "schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "energy" in schema["properties"]


def test_validate_is_0_within_the_band_and_1_outside(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = cli("validate", "--hardware", "truenorth", "--json", "-")
    assert answer.code == 0
    rows = json.loads(answer.out)
    assert {row["hardware"] for row in rows} == {"truenorth"}
    assert all(row["passed"] for row in rows)
    assert cli("validate", "--hardware", "tianjic").code == 2  # nothing published to compare with

    from snnenergy.cost import Range
    from snnenergy.cost import validate as validation

    three = Range(3.0, 3.0, 3.0)
    row = validation.Row("w", "t", "truenorth", "power", "W", three, 2.0, "held out", "s", tolerance=0.25)
    monkeypatch.setattr(validation, "run", lambda: (row,))
    answer = cli("validate")
    assert answer.code == 1
    assert "1.500 of the measured value" in answer.err
