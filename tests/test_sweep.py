"""Sweeps: points by hand, digests, resuming, shards, failures, thresholds and precisions that really change what is counted."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from snnenergy.counts import Counts
from snnenergy.errors import UsageError
from snnenergy.sweep import points, pool, settings, sources, words, worker
from snnenergy.sweep.front import front
from snnenergy.sweep.points import Point
from snnenergy.sweep.store import Failure, Store
from tests.conftest import ROOT, Cli

NETS = """
import os, time
import torch
from torch import nn

class LIF(nn.Module):
    def __init__(self, decay):
        super().__init__()
        self.decay, self.threshold = decay, 1.0
    def forward(self, x, v):
        v = self.decay * v + x
        s = (v >= self.threshold).to(x.dtype)
        return s, v - self.threshold * s

class Net(nn.Module):
    def __init__(self, width, decay):
        super().__init__()
        self.one, self.lif, self.two = nn.Linear(6, width, bias=False), LIF(decay), nn.Linear(width, 3, bias=False)
    def forward(self, frames):
        v, out = torch.zeros(()), torch.zeros(())
        for frame in frames:
            s, v = self.lif(self.one(frame), v)
            out = out + self.two(s)
        return out

def make(width=4, decay=0.5, how=""):
    if how == "raise":
        raise ValueError("no such width")
    if how == "die":
        os.kill(os.getpid(), 9)
    if how == "sleep":
        time.sleep(60)
    print("a model that prints")
    net = Net(width, decay)
    nn.init.constant_(net.one.weight, 0.7)
    return net
"""

SWEEP = """
models:
  net:
    source: nets:make
    args: {width: [4, 8], decay: 0.5}
    data: x.npz
    encode: [rate, direct]
steps: [2, 4]
hardware: [loihi, tianjic]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project: nets.py, x.npz with labels, sweep.yaml; the current directory."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    x = np.linspace(0, 1, 60, dtype=np.float32).reshape(10, 6)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(10) % 3)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    sys.modules.pop("nets", None)
    return tmp_path


def expanded(folder: Path, text: str = SWEEP) -> list[Point]:
    (folder / "sweep.yaml").write_text(text)
    return points.expand(settings.load(folder / "sweep.yaml"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Points are counted in this process; what is counted is listed."""
    counted: list[str] = []

    def count(wanted: Sequence[Point], store: Path, jobs: int) -> Iterator[tuple[Point, Failure | None]]:
        for point in wanted:
            counted.append(point.label)
            yield point, worker.attempt(store, point.digest, point.label, point.task)

    monkeypatch.setattr(pool, "count", count)
    return counted


def swept(cli: Cli, *options: object) -> dict[str, Any]:
    answer = cli("sweep", "sweep.yaml", "--json", "-", *options)
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out[answer.out.index("{") :])  # the model prints
    return found


# Points


def test_points_by_hand(folder: Path) -> None:
    labels = [point.label for point in expanded(folder)]
    assert len(labels) == 2 * 1 * 2 * 2
    assert labels[0] == "net width=4 decay=0.5 steps=2 encode=rate"
    assert labels[-1] == "net width=8 decay=0.5 steps=4 encode=direct"


def test_a_model_s_own_axis_stands_instead_and_an_empty_one_switches_it_off(folder: Path) -> None:
    text = SWEEP + "  # comment\nthresholds: [0.5, 1.0, 2.0]\n"
    ann = "  ann: {source: nets:make, input_shape: [1, 6], steps: [], thresholds: []}\n"
    found = expanded(folder, text.replace("models:\n", "models:\n" + ann))
    assert [p.label for p in found if p.model == "ann"] == ["ann"]
    assert len([p for p in found if p.model == "net"]) == 8 * 3


def test_to_pass_a_list_put_it_into_another(folder: Path) -> None:
    found = expanded(folder, SWEEP.replace("decay: 0.5", "sizes: [[3, 4], [5]]"))
    assert [p.task.arguments["sizes"] for p in found[::4]] == [[3, 4], [5], [3, 4], [5]]
    assert found[0].label == "net width=4 sizes=3x4 steps=2 encode=rate"


def test_an_argument_that_is_called_like_a_column_keeps_a_column_of_its_own(folder: Path) -> None:
    found = expanded(folder, SWEEP.replace("decay: 0.5", "model: [a, b], steps: 9"))
    assert found[0].label == "net width=4 args.model=a args.steps=9 steps=2 encode=rate"
    assert found[0].task.arguments == {"width": 4, "model": "a", "steps": 9}


def test_one_value_needs_no_list(folder: Path) -> None:
    plain = SWEEP.replace("[2, 4]", "2").replace("[rate, direct]", "rate").replace("[loihi, tianjic]", "loihi")
    assert [p.label for p in expanded(folder, plain)] == [
        f"net width={w} decay=0.5 steps=2 encode=rate" for w in (4, 8)
    ]
    assert settings.load(folder / "sweep.yaml").settings.hardware == ["loihi"]


def test_the_first_steps_of_an_input_are_what_a_shorter_input_holds(folder: Path) -> None:
    import numpy as np

    x = (np.arange(6 * 10 * 6).reshape(6, 10, 6) % 3 == 0).astype(np.float32)
    np.save(folder / "long.npy", x)
    np.save(folder / "short.npy", x[:4])
    text = "models: {net: {source: nets:make, data: DATA.npy, time_axis: 0, steps: [STEPS]}}\n"
    cut, short = (
        worker.count(expanded(folder, text.replace("DATA", data).replace("STEPS", steps))[0].task, "net")
        for data, steps in (("long", "4"), ("short", "4"))
    )
    assert (cut.time_steps, cut.total(), cut.conditions) == (4, short.total(), short.conditions)


def test_a_digest_follows_content_and_not_names(folder: Path) -> None:
    first = expanded(folder)
    renamed = expanded(folder, SWEEP.replace("  net:", "  other:").replace("[loihi, tianjic]", "[h100]"))
    assert [p.digest for p in renamed] == [p.digest for p in first]
    assert len({p.digest for p in first}) == len(first)
    (folder / "x.npz").rename(folder / "z.npz")
    assert [p.digest for p in expanded(folder, SWEEP.replace("x.npz", "z.npz"))] == [p.digest for p in first]
    (folder / "nets.py").write_text(NETS + "\n")
    assert not {p.digest for p in expanded(folder, SWEEP.replace("x.npz", "z.npz"))} & {p.digest for p in first}


@pytest.mark.parametrize(
    "line", ["from pkg.inner import deep", "import pkg.inner.deep as d", "from pkg import inner", "from . import side"]
)
def test_code_that_a_factory_imports_counts(folder: Path, line: str) -> None:
    files = {"pkg/__init__.py": "", "pkg/inner/__init__.py": "from .deep import x\n", "pkg/inner/deep.py": "x = 1\n",
             "pkg/side.py": "from .inner.deep import x\n", "pkg/top.py": f"def make():\n    {line}\n"}  # fmt: skip  # a table
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = sources.code("pkg.top")
    (folder / "pkg/inner/deep.py").write_text("x = 2\n")
    assert sources.code("pkg.top") != before
    assert "pkg" not in sys.modules


def test_code_of_the_packages_that_a_factory_lies_in_counts(folder: Path) -> None:
    (folder / "pkg" / "inner").mkdir(parents=True)
    (folder / "pkg/inner/top.py").write_text("def make(): ...\n")
    digests = [sources.code("pkg.inner.top")]
    for name, text in (
        ("pkg/inner/__init__.py", "import os"), ("pkg/__init__.py", "from . import side"), ("pkg/side.py", "x = 1"),
    ):  # fmt: skip  # a table
        (folder / name).write_text(text)
        digests.append(sources.code("pkg.inner.top"))
    assert len(set(digests)) == 4
    assert "pkg" not in sys.modules


def test_shards_are_disjoint_even_and_the_whole(folder: Path) -> None:
    found = expanded(folder)
    parts = [points.shard(found, i, 3) for i in range(3)]
    assert sorted(len(part) for part in parts) == [2, 3, 3]
    assert {p.digest for part in parts for p in part} == {p.digest for p in found}


def test_too_many_points_are_refused_before_they_are_made(folder: Path) -> None:
    many = "[" + ", ".join(map(str, range(1, 400))) + "]"
    with pytest.raises(UsageError, match="points; a sweep holds at most 100,000"):
        expanded(folder, SWEEP.replace("[2, 4]", many).replace("[4, 8]", many))


def test_the_front_is_what_brute_force_finds() -> None:
    drawn = random.Random(0)
    for size in (0, 1, 2, 30):
        for _ in range(50):
            costs = [(float(drawn.randrange(8)), float(drawn.randrange(8))) for _ in range(size)]
            beaten = [any(a <= x and b <= y and (a, b) != (x, y) for a, b in costs) for x, y in costs]
            assert front(costs) == [not b for b in beaten]


# Bad files


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("steps: [2, 4]", "step: [2, 4]"), "sweep.yaml:8:1: step: unknown key; did you mean 'steps'?"),
        (("rate, direct", "rate, diretc"), "sweep.yaml:7:20: models.net.encode.1: expected"),
        (("[2, 4]", "[2, 2]"), "sweep.yaml:8:8: steps: 2 stands twice"),
        (("[4, 8]", "[4, 8, 4]"), "width: 4 stands twice; to pass one list put it into another"),
        (("steps: [2, 4]", ""), "encode: net: `encode: rate` makes time steps; say how many with `steps`"),
        (("x.npz", "no.npz"), "models.net: no.npz: no such file"),
        (("nets:make", "nots:make"), "models.net: nots: no such module here"),
        (("encode: [rate, direct]", "encode: none"), "without `encode` the first T steps of the input are taken"),
        (("decay: 0.5", "decay: {a: 1}"), "decay: expected numbers, words"),
        (("data: x.npz", "data: x.npz\n    input_shape: [1, 6]"), "`data` and `input_shape`: give one of them"),
        (("data: x.npz", "data: x.npz\n    assume_rate: 0.1"), "goes with `meta: true`"),
        (("[loihi, tianjic]", "[loihi2x]"), "no hardware profile 'loihi2x'; did you mean 'loihi2'?"),
        (("models:", "models: &a"), "anchors and aliases are not accepted"),
    ],
)  # fmt: skip  # a table
def test_what_is_wrong_is_told_with_its_place(folder: Path, cli: Cli, change: tuple[str, str], told: str) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace(*change))
    answer = cli("sweep", "sweep.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err.replace("\n  ", " ")
    assert not list(folder.glob("*.counts/*"))


# Counting


def test_finished_points_are_never_counted_again(folder: Path, cli: Cli, here: list[str]) -> None:
    first = swept(cli)
    assert len(here) == 8
    times = {file: file.stat().st_mtime_ns for file in (folder / "sweep.counts").iterdir()}
    assert len(times) == 8
    assert swept(cli) == first
    more = swept(cli, "--hardware", "loihi,tianjic,h100,truenorth")
    assert [row for row in more["rows"] if row["hardware"] in ("loihi", "tianjic")] == first["rows"]
    (folder / "sweep.yaml").write_text(SWEEP.replace("[2, 4]", "[2, 4, 6]"))
    assert len(swept(cli)["rows"]) == 12 * 2
    assert len(here) == 8 + 4
    assert {file: file.stat().st_mtime_ns for file in times} == times


def test_shards_together_are_the_whole_to_the_byte(folder: Path, cli: Cli, here: list[str]) -> None:
    for form in ("--json", "--csv"):
        assert cli("sweep", "sweep.yaml", form, f"whole{form}").code == 0
    for i in (1, 2, 3):
        part = swept(cli, "--shard", f"{i}/3", "--store", f"part{i}")
        assert part["shard"] == f"{i}/3"
    stores = [word for i in (3, 1, 2) for word in ("--store", f"part{i}")]
    before = len(here)
    for form in ("--json", "--csv"):
        assert cli("sweep", "sweep.yaml", *stores, form, f"merged{form}").code == 0
        assert Path(f"merged{form}").read_bytes() == Path(f"whole{form}").read_bytes()
    assert len(here) == before == 16


def test_a_failure_is_named_kept_and_tried_again(folder: Path, cli: Cli, here: list[str]) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace("decay: 0.5", 'how: ["", raise]'))
    answer = cli("sweep", "sweep.yaml")
    assert answer.code == 2
    assert "8 of 16 points counted" in answer.out and "8 FAILED" in answer.out
    assert "net width=4 how=raise steps=2 encode=rate: factory nets:make: ValueError" in answer.out.replace("\n  ", " ")
    assert len(list((folder / "sweep.counts").glob("*.failed.json"))) == 8
    again = cli("sweep", "sweep.yaml", "--no-count")
    assert again.code == 2 and len(here) == 16
    (folder / "nets.py").write_text(NETS.replace('how == "raise"', "False"))
    sys.modules.pop("nets")
    assert cli("sweep", "sweep.yaml").code == 0  # other code: everything is counted anew


def test_a_failure_is_told_on_lines_and_in_the_words_of_the_file(folder: Path, cli: Cli, here: list[str]) -> None:
    text = "models:\n  net: {source: nets:make}\n  wide: {source: nets:make, input_shape: [1, 5]}\n"
    (folder / "sweep.yaml").write_text(text)
    out = " ".join(cli("sweep", "sweep.yaml").out.split())
    assert "net: nets:make: no inputs; pass `data: FILE`, or try `input_shape: [1, 6]`" in out
    assert "; Check `data` or `input_shape` against what the model expects" in out
    assert "\\x0a" not in out and " --" not in out
    assert words.of_the_file("pass --trust; pip install --no-deps") == (
        "pass --trust (of `profile`: a sweep has none); pip install --no-deps"
    )


def test_an_output_never_replaces_what_is_swept(folder: Path, cli: Cli, here: list[str]) -> None:
    for target in ("sweep.yaml", "nets.py", "x.npz"):
        answer = cli("sweep", "sweep.yaml", "--json", target)
        assert answer.code == 2 and "this command reads that file" in answer.err
    assert not here


def test_a_store_that_cannot_be_written_is_a_failure_and_no_bug(
    folder: Path, cli: Cli, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, document: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("snnenergy.whole.write", full)
    answer = cli("sweep", "sweep.yaml")
    assert answer.code == 2
    assert "sweep.counts: cannot be written: No space left on device" in " ".join(answer.out.split())


def test_nothing_is_counted_where_that_is_asked_for(folder: Path, cli: Cli, here: list[str]) -> None:
    found = swept(cli, "--no-count")
    assert (found["rows"], len(found["missing"]), here) == ([], 8, [])


def test_a_damaged_file_of_the_store_is_counted_again(folder: Path, cli: Cli, here: list[str]) -> None:
    first = swept(cli)
    broken = next((folder / "sweep.counts").iterdir())
    broken.write_text("{")
    assert swept(cli) == first
    assert (len(here), Counts.load(broken).samples) == (9, 10)


def test_stored_counts_are_what_profile_counts(folder: Path, cli: Cli, here: list[str]) -> None:
    swept(cli)
    point = next(p for p in expanded(folder) if p.task.steps == 4 and p.task.encode == "direct")
    (stored,) = (c for p in [point] if (c := Store((folder / "sweep.counts",)).counts(p.digest)) is not None)
    options = ("--data", "x.npz", "--encode", "direct", "--steps", "4", "--hardware", "none", "--json", "one.json")
    assert cli("profile", "nets:make", *options).code == 0
    one = Counts.load("one.json")
    assert [layer.path for layer in stored.layers] == [layer.path for layer in one.layers]
    assert (stored.samples, stored.time_steps, stored.answers.labelled) == (10, 4, 10)
    assert stored["one"].dense_macs == 10 * 4 * 6 * 4


META = """
models:
  shapes: {source: nets:make, args: {width: [4, 8]}, input_shape: [5, 1, 6], time_axis: 0, meta: true, precisions: [bf16, int8]}
hardware: [loihi, h100]
"""


def test_activity_of_shapes_is_unknown_or_assumed_in_every_output(folder: Path, cli: Cli, here: list[str]) -> None:
    for rates, word, priced in (
        ("", "not known", {"h100_sxm"}),
        ("assume_rate: [0.1, 0.2]\n", "assumed", {"loihi", "h100_sxm"}),
    ):
        (folder / "sweep.yaml").write_text(META + rates)
        answer = cli("sweep", "sweep.yaml", "--csv", "s.csv", "--html", "s.html")
        assert answer.code == 0, answer.err
        assert f"ACTIVITY {word}" in answer.out
        assert f"Activity: {word}" in (folder / "s.html").read_text()
        rows = list(csv.DictReader(io.StringIO((folder / "s.csv").read_text())))
        assert all(row["activity"].startswith(word) for row in rows)
        assert {row["hardware"] for row in rows if row["energy_nominal_J"]} == priced
        assert all((row["acs"] == "") == (word == "not known") for row in rows)
        assert all(row["activity"].startswith(word) for row in swept(cli)["rows"])
    assert len(here) == 4  # rates are put in when the counts are priced


def test_rates_that_do_not_fit_are_a_failure_of_their_points(folder: Path, cli: Cli, here: list[str]) -> None:
    (folder / "rates.json").write_text('{"nowhere": 0.1}')
    (folder / "sweep.yaml").write_text(META.replace("meta: true", "meta: true, rates: rates.json"))
    answer = cli("sweep", "sweep.yaml")
    assert answer.code == 2
    assert "4 FAILED" in answer.out and "rates: no layer 'nowhere'" in answer.out
    assert not list((folder / "sweep.counts").glob("*.failed.json"))  # the counts are sound


# Real processes


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snnenergy", "sweep", "sweep.yaml", *arguments]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}


def test_a_worker_that_dies_is_named_and_the_others_go_on(folder: Path) -> None:
    text = SWEEP.replace("decay: 0.5", 'how: [die, ""]').replace("[4, 8]", "4").replace("[rate, direct]", "direct")
    (folder / "sweep.yaml").write_text(text)
    done = subprocess.run(
        command("--jobs", "2"), env=environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "2 of 4 points counted" in done.stdout and "a model that prints" not in done.stdout
    assert " ".join(done.stdout.split()).count("its process was ended by SIGKILL") == 2


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_sweep_goes_on(folder: Path, sign: signal.Signals, code: int) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace("decay: 0.5", 'how: ["", sleep]').replace("[4, 8]", "4"))
    started = subprocess.Popen(
        command("--jobs", "1"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    store = folder / "sweep.counts"
    until(lambda: len(list(store.glob("*.json"))) >= 4)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    started.send_signal(sign)
    _, told = started.communicate(timeout=30)
    assert started.returncode == code
    if sign == signal.SIGINT:
        assert b"4 points were counted and are kept" in told
    assert b"Traceback" not in told
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))  # one was asleep in its model
    times = {file: file.stat().st_mtime_ns for file in store.iterdir()}
    assert len(times) == 4
    seen = subprocess.run(command("--no-count"), env=environment(), capture_output=True, text=True, check=True)
    assert "4 of 8 points counted" in seen.stdout and "4 not counted yet" in seen.stdout
    assert {file: file.stat().st_mtime_ns for file in store.iterdir()} == times


ASLEEP = """
import os, signal, time
def make(**arguments):
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with open(f"asleep/{os.getpid()}.tmp", "w") as file:
        print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, blocked, file=file)
    os.rename(f"asleep/{os.getpid()}.tmp", f"asleep/{os.getpid()}")
    time.sleep(60)
"""


def test_ctrl_c_of_a_terminal_is_heard_by_the_caller_alone(folder: Path) -> None:
    """It goes to every process of the group: a worker ignores it, and while it starts it is blocked."""
    (folder / "asleep").mkdir()
    (folder / "nets.py").write_text(ASLEEP)
    (folder / "sweep.yaml").write_text(SWEEP)
    started = subprocess.Popen(
        command("--jobs", "2"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until(lambda: len([f for f in (folder / "asleep").iterdir() if not f.suffix]) == 2)
    os.killpg(started.pid, signal.SIGINT)
    _, told = started.communicate(timeout=30)
    assert started.returncode == 130
    assert b"Traceback" not in told and told.endswith(b"snnenergy: interrupted\n")
    assert [f.read_text() for f in (folder / "asleep").iterdir()] == ["True True\n"] * 2


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_schema_of_editors_is_the_one_that_is_read(cli: Cli) -> None:
    printed = json.loads(cli("sweep", "--schema").out)
    assert printed == json.loads((ROOT / "docs" / "sweep.schema.json").read_text(encoding="utf-8"))
    model = printed["$defs"]["ModelTable"]["properties"]
    assert set(model) == set(settings.ModelTable.model_fields)


def test_pricing_again_needs_no_torch(folder: Path, cli: Cli, here: list[str]) -> None:
    swept(cli)
    code = textwrap.dedent("""
        import sys
        sys.modules["torch"] = None
        sys.argv = ["snnenergy", "sweep", "sweep.yaml"]
        from snnenergy.cli import main
        main()
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 of 8 points counted" in done.stdout


def test_the_example_is_whole() -> None:
    plan = settings.load(ROOT / "examples" / "sweep.yaml")
    assert plan.axes("snn")["encode"] == ["direct", "rate", "latency"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        found = points.expand(plan)
    assert len(found) == 2 * 3 * 3 * 3 * 2 + 1


def test_the_file_of_the_docs_is_read(folder: Path) -> None:
    text = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")
    (folder / "docs.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    plan = settings.load(folder / "docs.yaml")
    assert plan.axes("ann") == {"encode": ["none"], "precisions": ["fp32", "int8"]}
