"""A data set batch by batch: one answer whatever the batches, the source or the number of shards; and bad data sets."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import snnenergy
from snnenergy.counts import Counts
from snnenergy.errors import CountsError, InputError
from snnenergy.load import Cut, DataOptions, load_dataset
from snnenergy.trace.dataset import Pass
from tests.conftest import ROOT, Cli

DIGITS = ROOT / "examples" / "digits"
N = 10
X = (torch.arange(N * 4).reshape(N, 4) % 3 == 0).float()  # 14 of 40 values are one
Y = X.argmax(1)


class Same(nn.Module):
    """Four inputs to four classes, all weights one but the diagonal, which is two: the first spike's class wins."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4, bias=False)
        self.fc.weight = nn.Parameter(torch.ones(4, 4) + torch.eye(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(x)
        return out


class Loop(nn.Module):
    """Five steps of a leaky neuron that keeps its membrane between calls unless somebody resets it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v, spikes = torch.zeros(x.shape[0], 3), []
        for _ in range(5):
            v = 0.9 * v + self.fc(x)
            spikes.append((v > 1).float())
            v = v - spikes[-1]
        return torch.stack(spikes)


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes a module `user_data` of what it is given, and names it on the command line."""

    def make(**names: Any) -> str:
        module = ModuleType("user_data")
        vars(module).update(net=Same, **names)
        monkeypatch.setitem(sys.modules, "user_data", module)
        return "user_data:loader"

    return make


def counted(net: str, data: str, batch_size: int | None = None, cut: Cut | None = None, **options: Any) -> Counts:
    work, batches = load_dataset(net, DataOptions(data, batch_size, cut or Cut()), **options)
    with Pass(work, time_axis=options.get("time_axis")) as one:
        for batch in batches:
            one.take(batch)
    return one.counts()


def of_the_run(counts: Counts) -> Counts:
    """Without what depends on how the samples were cut into forwards."""
    layers = tuple(dataclasses.replace(layer, calls=0, kernels=0) for layer in counts.layers)
    coverage = dataclasses.replace(counts.coverage, calls_counted=0, calls_total=0)
    identity = dataclasses.replace(counts.identity, notes=())
    return dataclasses.replace(counts, layers=layers, forwards=0, coverage=coverage, identity=identity)


def test_spikes_counted_by_hand(code: Callable[..., str]) -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    counts = counted("user_data:net", code(loader=loader))
    total = counts.total()
    assert (counts.samples, counts.forwards) == (10, 3)
    assert (total.nonzero, total.acs, total.macs, total.dense_macs) == (14, 14 * 4, 0, 10 * 16)
    assert counts.answers == snnenergy.counts.Answers(10, 10)
    assert counts.answers.accuracy == 1.0


def test_every_source_gives_the_counts_of_one_forward(code: Callable[..., str], tmp_path: Path) -> None:
    whole = of_the_run(snnenergy.count(Same(), X, name="net"))
    np.savez(tmp_path / "stored.npz", x=X.numpy(), y=Y.numpy())
    np.savez_compressed(tmp_path / "packed.npz", x=X.numpy(), y=Y.numpy())
    np.save(tmp_path / "plain.npy", np.asfortranarray(X.numpy()))
    (tmp_path / "folder" / "b").mkdir(parents=True)
    np.save(tmp_path / "folder" / "a.npy", X[:3].numpy())
    np.savez(tmp_path / "folder" / "b" / "c.npz", x=X[3:].numpy(), labels=Y[3:].numpy())

    def generator() -> Iterator[Any]:
        yield X[:3]
        yield (X[3:7], Y[3:7])
        yield {"x": X[7:], "labels": Y[7:]}

    files = [tmp_path / name for name in ("stored.npz", "packed.npz", "plain.npy", "folder")]
    answers = [10, 10, 0, 7]
    for file, labelled in zip(files, answers, strict=True):
        code()
        counts = counted("user_data:net", str(file), 4)
        assert counts.answers.labelled == labelled
        assert of_the_run(dataclasses.replace(counts, answers=whole.answers)) == whole
    for loader in (generator, [X[:9], X[9:]], TensorDataset(X), DataLoader(TensorDataset(X, Y), 3, shuffle=True)):
        counts = counted("user_data:net", code(loader=loader))
        assert of_the_run(dataclasses.replace(counts, answers=whole.answers)) == whole


@pytest.mark.parametrize("kind", ["file", "loader", "iterable"])
def test_shards_merge_to_the_whole_and_overlap_nowhere(kind: str, code: Callable[..., str], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X.numpy(), y=Y.numpy())
    sources: dict[str, Any] = {
        "file": None,
        "loader": DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True),
        "iterable": lambda: ((X[i : i + 3], Y[i : i + 3]) for i in range(0, N, 3)),
    }
    name = code(loader=sources[kind])
    source, size = (str(tmp_path / "x.npz"), 3) if kind == "file" else (name, None)
    for limit in (None, 8):
        whole = counted("user_data:net", source, size, Cut(limit))
        shards = [counted("user_data:net", source, size, Cut(limit, i, 3)) for i in range(3)]
        assert [s.samples for s in shards] == ([4, 3, 3] if limit is None else [3, 3, 2])
        assert shards[2].merge(*shards[:2]).conditions == whole.conditions
        assert of_the_run(shards[2].merge(*shards[:2])) == of_the_run(whole)
        assert shards[0].merge(*shards[1:]).forwards == whole.forwards


def test_a_shard_that_no_batch_falls_to_adds_nothing(code: Callable[..., str]) -> None:
    name = code(loader=[X])
    some, none = (counted("user_data:net", name, None, Cut(shard=i, shards=2)) for i in range(2))
    assert none.empty
    assert of_the_run(none.merge(some)) == of_the_run(some.merge(none)) == of_the_run(some)


def test_samples_already_counted_are_passed_over(code: Callable[..., str]) -> None:
    name = code(loader=DataLoader(TensorDataset(X, Y), batch_size=4))
    first, rest = counted("user_data:net", name, None, Cut(5)), counted("user_data:net", name, None, Cut(skip=5))
    assert (first.samples, rest.samples) == (5, 5)
    assert of_the_run(first.merge(rest)) == of_the_run(counted("user_data:net", name))


def test_a_loop_over_steps_answers_by_its_spike_count(code: Callable[..., str]) -> None:
    torch.manual_seed(0)
    net = Loop().eval()
    name = code(loader=[(X[:6], torch.zeros(6)), (X[6:], torch.zeros(4))], loop=lambda: net)
    counts = counted("user_data:loop", name)
    assert counts.time_steps == 5
    assert counts.answers.correct == int((net(X).sum(0).argmax(1) == 0).sum())
    assert of_the_run(counts).layers == of_the_run(snnenergy.count(net, X)).layers


def test_time_major_data_is_cut_along_its_samples(code: Callable[..., str], tmp_path: Path) -> None:
    frames = torch.stack([X, 1 - X])  # [T, N, 4]
    np.save(tmp_path / "frames.npy", frames.numpy())
    code()
    counts = counted("user_data:net", str(tmp_path / "frames.npy"), 3, time_axis=0)
    assert (counts.samples, counts.time_steps, counts.total().nonzero) == (10, 2, 40)


def test_a_rate_code_does_not_depend_on_the_shard(code: Callable[..., str]) -> None:
    name = code(loader=[X[:4] / 2, X[4:8] / 2, X[8:] / 2])
    coded: dict[str, Any] = {"encode": "rate", "steps": 6}
    shards = [counted("user_data:net", name, None, Cut(shard=i, shards=2), **coded) for i in range(2)]
    whole = counted("user_data:net", name, **coded)
    assert whole.conditions.seed == 0
    assert of_the_run(shards[0].merge(shards[1])) == of_the_run(whole)


def test_a_net_whose_forward_depends_on_its_values_loses_no_batch(code: Callable[..., str]) -> None:
    class Early(Same):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.fc(x)
            return super().forward(out) if float(x.sum()) > 2 else out

    batches = [X[i : i + 1] * (i % 3) for i in range(N)]
    name = code(loader=batches, early=lambda: Early().eval())
    counts = counted("user_data:early", name)
    assert (counts.samples, counts.coverage.complete) == (10, True)
    calls = sum(1 + (float(x.sum()) > 2) for x in batches)
    assert counts.total().dense_macs == 16 * calls


BAD: dict[str, tuple[Any, str]] = {
    "nothing": ([], "yielded no batch"),
    "labels": ([(X, Y), (X, Y[:3])], "batch 1: 3 labels for 10 samples"),
    "ragged": ([X, [[X[0], X[1, :2]], Y[:2]]], r"batch 1: ragged: samples of shape \(4,\) and \(2,\)"),
    "text": ([X, "spikes"], "batch 1: expected a tensor or an array of numbers, found a str"),
    "triple": ([(X, Y, Y)], "a tuple of 3"),
    "names": ([{"u": X, "v": X}], "holds 'u', 'v'; forward takes x"),
    "empty": ([X[:0]], "batch 0: holds no sample"),
    "not iterable": (3, "expected an iterable of batches"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_data_set_says_where_and_what(name: str, code: Callable[..., str], cli: Cli) -> None:
    loader, said = BAD[name]
    found = cli("profile", "user_data:net", "--data", code(loader=loader), "--hardware", "none")
    assert found.code == 2
    assert re.search(said, found.err)


def test_a_loader_that_breaks_leaves_what_was_counted_and_can_go_on(
    code: Callable[..., str], cli: Cli, tmp_path: Path
) -> None:
    def breaking() -> Iterator[Any]:
        yield X[:4], Y[:4]
        raise OSError("disk went away")

    out = tmp_path / "counts.json"
    command = ("profile", "user_data:net", "--data", "user_data:loader", "--hardware", "none", "--json", out)
    code(loader=breaking)
    broken = cli(*command)
    assert broken.code == 2
    assert "raised OSError after 1 batches: disk went away" in broken.err
    assert "partial: 4 samples were counted" in broken.err
    assert "partial run" in broken.out
    assert Counts.load(out).conditions.partial
    code(loader=[(X[:4], Y[:4]), (X[4:], Y[4:])])
    assert cli(*command, "--resume").code == 0
    whole = counted("user_data:net", "user_data:loader")
    assert of_the_run(Counts.load(out)) == of_the_run(whole)
    again = cli(*command, "--resume")
    assert (again.code, Counts.load(out).samples) == (0, N)
    assert "is complete: 10 samples of net, nothing to resume; the model is the same, the data set" in again.err
    small = cli(*command, "--resume", "--limit", 3)
    assert small.code == 2 and "holds 10 samples, more than --limit 3" in small.err
    vars(sys.modules["user_data"])["net"] = lambda: Same().requires_grad_(False).double()
    other = cli(*command, "--resume")
    assert other.code == 2 and "is complete, and of another run: cannot merge" in other.err
    assert Counts.load(out).samples == N


def steps_first() -> nn.Module:
    class StepsFirst(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.fc(step) for step in x.unbind(0)])

    return StepsFirst()


@pytest.mark.parametrize(
    ("net", "options", "steps", "says"),
    [
        (steps_first, (), 8, "taken to hold 8 samples (axis 0), and the forward ran 4: a limit or a resumed run"),
        (steps_first, (), 2, "ends after 10 samples, and 12 are counted already"),
        (steps_first, ("--time-axis", 0), 8, ""),
        (Same, ("--samples", 2), 8, "--samples and --resume: samples that have no axis of their own have no place"),
    ],
)
def test_batches_whose_samples_lie_elsewhere_are_not_counted_twice(
    net: Callable[[], nn.Module], options: tuple[Any, ...], steps: int, says: str, code: Callable[..., str], cli: Cli,
    tmp_path: Path,
) -> None:  # fmt: skip  # arguments, read across
    torch.manual_seed(2)
    x = torch.rand(steps, 20, 4)
    batches = [x[:, i : i + 4] for i in range(0, 20, 4)] if net is steps_first else [X[:4], X[4:8], X[8:]]

    def breaking() -> Iterator[Any]:
        yield from batches[: 2 if steps == 8 else 3]
        raise OSError("disk went away")

    out = tmp_path / "counts.json"
    command = ("profile", "user_data:made", "--seed", 3, "--data", "user_data:loader", "--hardware", "none", *options)
    code(loader=breaking, made=net)
    assert "disk went away" in cli(*command, "--json", out).err
    held = out.read_bytes()
    code(loader=batches, made=net)
    found = cli(*command, "--json", out, "--resume")
    assert says in found.err
    assert found.code == (2 if says else 0)
    assert Counts.load(out).samples == 20 if not says else out.read_bytes() == held


@pytest.mark.parametrize(("options", "samples"), [((), None), (("--time-axis", 0), 10), (("--samples", 2), None)])
def test_a_limit_is_of_samples_that_are_known(
    options: tuple[Any, ...], samples: int | None, code: Callable[..., str], cli: Cli, tmp_path: Path
) -> None:
    code(loader=[torch.rand(8, 4, 4) for _ in range(5)], made=steps_first)
    out = tmp_path / "counts.json"
    command = ("profile", "user_data:made", "--data", "user_data:loader", "--hardware", "none", "--json", out)
    found = cli(*command, "--limit", 10, *options)
    assert (found.code, out.exists()) == ((0, True) if samples else (2, False)), found.err
    assert samples is None or Counts.load(out).samples == samples


@pytest.mark.parametrize("within", [True, False])
def test_interrupted_it_leaves_whole_batches_and_goes_on(
    within: bool, code: Callable[..., str], cli: Cli, tmp_path: Path
) -> None:
    batches = 0

    class Pressed(Same):
        """Ctrl-C is pressed while the second batch runs."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal batches
            batches += 1
            if within and batches == 2:
                signal.raise_signal(signal.SIGINT)
            return super().forward(x)

    def loader() -> Iterator[Any]:
        yield from ((X[i : i + 4], Y[i : i + 4]) for i in (0, 4))
        if not within and batches == 2:
            signal.raise_signal(signal.SIGINT)
        yield X[8:], Y[8:]

    out = tmp_path / "counts.json"
    command = ("profile", "user_data:pressed", "--data", "user_data:loader", "--hardware", "none", "--json", out)
    code(loader=loader, pressed=Pressed)
    stopped = cli(*command)
    assert stopped.code == 130
    assert ("stopping after this batch" in stopped.err) == within
    counts = Counts.load(out)
    assert (counts.samples, counts.conditions.partial, counts.coverage.complete) == (8, True, True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    batches = 3
    assert cli(*command, "--resume").code == 0
    whole = counted("user_data:net", code(loader=[(X, Y)]))
    assert of_the_run(dataclasses.replace(Counts.load(out), model="net")) == of_the_run(whole)


def test_values_that_are_no_numbers_are_counted_and_told(code: Callable[..., str], cli: Cli, tmp_path: Path) -> None:
    odd = X.clone()
    odd[2, 1], odd[7, 0] = float("nan"), float("inf")
    code(loader=[odd])
    out = tmp_path / "counts.json"
    found = cli("profile", "user_data:net", "--data", "user_data:loader", "--hardware", "none", "--json", out)
    assert "2 samples hold NaN or infinity" in found.err
    counts = Counts.load(out)
    assert (counts.conditions.nonfinite, counts.total().nonzero) == (2, int((odd != 0).sum()))
    assert counts["fc"].streams[0].domain == "analog"


def test_one_input_that_is_no_number_is_told_as_in_a_data_set(
    code: Callable[..., str], cli: Cli, tmp_path: Path
) -> None:
    code()
    odd = X.clone()
    odd[2, 1], odd[7, 0] = float("nan"), float("inf")
    np.save(tmp_path / "odd.npy", odd.numpy())
    np.save(tmp_path / "even.npy", X.numpy())
    out = tmp_path / "counts.json"
    for command in ("profile", "compare"):
        found = cli(command, "user_data:net", "--input", tmp_path / "odd.npy", "--hardware", "none", "--json", out)
        assert "2 samples hold NaN or infinity, counted as the non-zero values they are" in found.err
        assert "NaN" not in cli(command, "user_data:net", "--input", tmp_path / "even.npy", "--hardware", "none").err
    assert (
        cli("profile", "user_data:net", "--input", tmp_path / "odd.npy", "--hardware", "none", "--json", out).code == 0
    )
    assert Counts.load(out).conditions.nonfinite == 2


@pytest.mark.parametrize("command", ["profile", "compare", "measure"])
def test_an_input_without_a_sample_is_refused(command: str, code: Callable[..., str], cli: Cli, tmp_path: Path) -> None:
    code()
    np.save(tmp_path / "none.npy", X[:0].numpy())
    found = cli(command, "user_data:net", "--input", tmp_path / "none.npy")
    assert (found.code, found.out) == (2, "")
    assert re.search(r"none\.npy: array '\w+' holds no sample: shape \(0, 4\)", found.err)


def test_the_seed_is_the_factory_s_too(code: Callable[..., str], cli: Cli, tmp_path: Path) -> None:
    code(loader=[X[:4], X[4:]], drawn=lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)))
    command = ("profile", "user_data:drawn", "--data", "user_data:loader", "--hardware", "none", "--json")
    files = [tmp_path / f"{i}.json" for i in range(5)]
    torch.manual_seed(5)
    for file, options in zip(files, ((), (), ("--seed", 1), ("--shard", "1/2"), ("--shard", "2/2")), strict=True):
        assert cli(*command, file, *options).code == 0
    one, again, other, *shards = map(Counts.load, files)
    assert one == again != other
    assert shards[0].merge(shards[1]).layers == one.layers


@pytest.mark.parametrize("device", ["cuda:99", "foo", "mps", "xpu"])
def test_a_device_that_is_not_here_is_told_before_the_model_is_made(
    device: str, code: Callable[..., str], cli: Cli
) -> None:
    code(loader=[X], never=lambda: pytest.fail("made"))
    found = cli("profile", "user_data:never", "--data", "user_data:loader", "--device", device)
    assert found.code == 2
    said = "sees no such device here; use --device cpu" if device == "cuda:99" else "expected cpu, cuda or cuda:N"
    assert said in found.err


def test_shards_on_the_command_line(code: Callable[..., str], cli: Cli, tmp_path: Path) -> None:
    code(loader=[X[:4], X[4:8], X[8:]])
    command = ("profile", "user_data:net", "--data", "user_data:loader", "--hardware", "none", "--json")
    files = [tmp_path / f"{i}.json" for i in (1, 2)]
    for i, file in enumerate(files, 1):
        assert cli(*command, file, "--shard", f"{i}/2").code == 0
    assert cli(*command, tmp_path / "whole.json").code == 0
    merged = Counts.from_dict(json.loads(cli("merge", *files).out))
    assert merged.conditions == Counts.load(tmp_path / "whole.json").conditions
    assert of_the_run(merged) == of_the_run(Counts.load(tmp_path / "whole.json"))
    twice = cli("merge", files[0], files[0])
    assert twice.code == 2 and "shard 1/2 is on both sides" in twice.err
    for parts in ((tmp_path / "whole.json", files[0]), (files[1], tmp_path / "whole.json")):
        more = cli("merge", *parts)
        assert more.code == 2 and "on one side, and on the other no shard" in more.err
    same = cli("merge", tmp_path / "whole.json", tmp_path / "whole.json")
    assert same.code == 2 and "the same 10 samples as" in same.err
    assert "expected I/N" in cli(*command, files[0], "--shard", "3/2").err


def test_what_cannot_be_merged_says_why() -> None:
    counts = snnenergy.count(Same(), X)
    other = Same()
    nn.init.zeros_(other.fc.weight)
    for odd, said in (
        (snnenergy.count(other, X), "weights is"),
        (
            dataclasses.replace(counts, conditions=dataclasses.replace(counts.conditions, rules=9)),
            "different counting rules: 1 and 9",
        ),
        (snnenergy.count(Same(), X, name="else"), "two models"),
    ):
        with pytest.raises(CountsError, match=said):
            counts.merge(odd)


def test_a_module_is_no_folder_of_its_name(
    code: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_data").mkdir()
    np.save(tmp_path / "user_data" / "x.npy", X.numpy())
    assert counted("user_data:net", code(loader=[X[:2]])).samples == 2
    assert counted("user_data:net", "user_data").samples == 10
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.npy or \.npz file in this folder"):
        counted("user_data:net", "empty")


def test_an_array_is_named_by_the_option_that_named_the_file(
    code: Callable[..., str], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("two.npz", a=X.numpy(), b=X.numpy())
    code()
    for option in ("--data", "--input"):
        found = cli("profile", "user_data:net", option, "two.npz", "--hardware", "none")
        assert found.code == 2 and f"name one: {option} two.npz:a" in " ".join(found.err.split())
    assert cli("profile", "user_data:net", "--data", "two.npz:a", "--hardware", "none").code == 0


def test_options_that_do_not_go_together(cli: Cli) -> None:
    net = DIGITS / "digits_ann.pt2"
    for options, said in (
        (("--limit", 5), "--limit: goes with --data"),
        (("--data", DIGITS / "digits.npz", "--input", DIGITS / "digits.npz"), "give one of them"),
        (("--data", DIGITS / "digits.npz", "--resume"), "goes with --json FILE"),
        (("--data", "missing.npz"), "no such file or folder"),
        (("--data", DIGITS / "digits.npz", "--meta"), "give one of them"),
    ):
        found = cli("profile", net, *options)
        assert found.code == 2 and said in found.err


def test_the_digits_are_recognised_as_their_training_script_says() -> None:
    record = json.loads((DIGITS / "digits.json").read_text(encoding="utf-8"))["accuracy_shipped"]
    for name in ("ann", "snn"):
        counts = counted(str(DIGITS / f"digits_{name}.pt2"), str(DIGITS / "digits.npz"), 64)
        assert counts.answers.accuracy == record[name]


def test_accuracy_of_the_pass_reaches_the_gate_and_the_comparison(code: Callable[..., str]) -> None:
    counts = counted("user_data:net", code(loader=[(X, (Y + (torch.arange(N) < 3)) % 4)]))  # three labels are wrong
    assert snnenergy.compare({"net": counts}, ["loihi"]).accuracy == {"net": 0.7}
    assert snnenergy.check(counts, [{"metric": "accuracy", "min": "70 %"}]).passed
    assert not snnenergy.check(counts, [{"metric": "accuracy", "min": "71 %"}]).passed


def test_a_distributed_sampler_is_refused() -> None:
    from torch.utils.data.distributed import DistributedSampler

    from snnenergy.load.loaders import from_iterable

    data = TensorDataset(X)
    loader = DataLoader(data, sampler=DistributedSampler(data, num_replicas=3, rank=0))
    with pytest.raises(InputError, match="repeats samples to make shards even"):
        from_iterable(loader, "loader", Cut(), None, None)  # type: ignore[arg-type]  # it is refused before it is read
