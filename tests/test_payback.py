"""Training and inference together: the arithmetic by hand, the command on stored Counts, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snnenergy import Counts, estimate
from snnenergy.cost.payback import AFTER, AT_ONCE, NEVER, UNDECIDED, UNTIL, Training, against, steps_of
from snnenergy.cost.records import Comparison, Estimate, Range
from snnenergy.cost.training import step
from snnenergy.report.payback import sentence
from tests.conftest import Cli

NOT, NOW = "never (an inference of the SNN costs as much, or more)", "at once (its training costs no more)"


def flat(value: float, spread: float = 0.0) -> Range:
    return Range(value * (1 - spread), value, value * (1 + spread))


def bills(
    train: tuple[Range, Range],
    ann: Range,
    snn: Range,
    *,
    chips: tuple[str, str] = ("gpu", "chip"),
    partial: bool = False,
) -> Any:
    """The one row of an SNN on the second chip; both train on the first, where the ANN runs."""
    one, other = (Training(n, chips[0], "sgd", 64, 100, e, None) for n, e in zip(("ann", "snn"), train, strict=True))
    rows = [Estimate("ann", chip, chip, ann, None, partial=chip != chips[0]) for chip in dict.fromkeys(chips)]
    rows += [Estimate("snn", chip, chip, snn, None, partial=partial, verdict="why") for chip in dict.fromkeys(chips)]
    names: dict[str, Any] = {"ann": None, "snn": None}
    return against(one, other, Comparison(names, tuple(rows)))[-1]


def test_by_hand() -> None:
    # 90 J more to train, 3 mJ less per inference
    row = bills((flat(10), flat(100)), ann=flat(5e-3), snn=flat(2e-3))
    assert (row.verdict, row.hardware, row.ann_hardware) == (AFTER, "chip", "gpu")
    assert row.inferences.nominal == pytest.approx(30_000)


@pytest.mark.parametrize(
    ("train", "ann", "snn", "verdict"),
    [
        ((10.0, 10.0), 5.0, 2.0, AT_ONCE),
        ((10.0, 9.0), 5.0, 2.0, AT_ONCE),
        ((10.0, 11.0), 2.0, 5.0, NEVER),
        ((10.0, 11.0), 2.0, 2.0, NEVER),
        ((11.0, 10.0), 2.0, 5.0, UNTIL),
        ((10.0, 11.0), 5.0, 2.0, AFTER),
    ],
)
def test_every_verdict(train: tuple[float, float], ann: float, snn: float, verdict: str) -> None:
    row = bills((flat(train[0]), flat(train[1])), flat(ann), flat(snn))
    assert row.verdict == verdict
    assert (row.inferences is None) == (verdict in (AT_ONCE, NEVER))


@pytest.mark.parametrize(
    ("train", "ann", "snn", "said"),
    [
        ((10.0, 11.0), 2.0, 2.2, f"{NOT} at the nominal constants; within their ranges also after some inferences"),
        ((10.0, 11.0), 2.0, 5.0, NOT),
        (
            (11.0, 10.0),
            2.2,
            2.0,
            f"{NOW} at the nominal constants; within their ranges also only for the first inferences",
        ),
        ((11.0, 10.0), 5.0, 2.0, NOW),
    ],
)
def test_what_holds_at_the_nominal_constants_only_says_so(
    train: tuple[float, float], ann: float, snn: float, said: str
) -> None:
    row = bills((flat(train[0]), flat(train[1])), flat(ann), flat(snn, 0.2))
    assert sentence(row) == said


def test_what_stands_on_one_chip_moves_together() -> None:
    # the same chip to half and to one and a half times its price: nothing changes when the two bills meet
    same = bills((flat(10, 0.5), flat(100, 0.5)), flat(5, 0.5), flat(2, 0.5), chips=("gpu", "gpu"))
    assert (same.inferences.low, same.inferences.high) == pytest.approx((30, 30))
    # the SNN's own chip is free: 2 may be 1 or 3 while the ANN's 5 and the training stand at any corner
    apart = bills((flat(10), flat(100)), flat(5), flat(2, 0.5))
    assert (apart.inferences.low, apart.inferences.high) == pytest.approx((90 / 4, 90 / 2))
    # at its dear end the SNN costs more than the ANN: it may never pay back
    assert math.isinf(bills((flat(10), flat(100)), flat(5), flat(4, 0.5)).inferences.high)


def test_a_price_that_is_only_a_bound_decides_nothing() -> None:
    row = bills((flat(10), flat(100)), flat(5), flat(2), partial=True)
    assert (row.verdict, row.snn, row.why) == (UNDECIDED, None, "snn on chip: why")


# ---- the command
def net(name: str, *, spiking: bool, training: bool, weights: int = 100) -> Counts:
    """A linear layer of 10 x 10 on 8 samples, its LIF neurons, and a backward pass of as many taps."""
    stream = {
        "domain": "spike" if spiking else "analog",
        "elements": 80,
        "nonzero": 40,
        "driven": 400,
        "effective": 400,
    }
    fc: dict[str, Any] = {"path": "fc", "role": "synaptic", "op": "linear", "dense_macs": 800, "streams": [stream]}
    fc |= {"valid_macs": 800, "weights": weights, "weights_nonzero": weights, "weight_bits": 32, "output_elements": 80}
    rows = [fc | {"kernels": 1, "calls": 1}]
    if spiking:
        rows.append(
            {"path": "lif", "role": "neuron", "neuron_model": "LIF", "neurons": 10, "updates": 80, "spikes_out": 8}
        )
    if training:
        rows.append(rows[0] | {"path": "fc@grad_weight", "phase": "grad_weight", "kernels": 9 if spiking else 1})
    conditions = {"training": "sgd, loss sum"} if training else {}
    document = Counts.build(name, rows, samples=8, forwards=1, time_steps=1 if spiking else None).to_dict()
    document["conditions"] |= conditions
    return Counts.from_dict(document)


@pytest.fixture
def four(tmp_path: Path) -> Callable[..., list[str]]:
    def save(**changes: Any) -> list[str]:
        files = []
        for spiking in (False, True):
            for training in (False, True):
                path = tmp_path / f"{spiking}{training}.json"
                extra = changes if spiking and training else {}
                net("snn" if spiking else "ann", spiking=spiking, training=training, **extra).save(path)
                files.append(str(path))
        return files

    return save


def test_the_command(cli: Cli, four: Callable[..., list[str]]) -> None:
    said = ("--hardware", "loihi,h100", "--epochs", "3", "--train-samples", "20", "--json", "-")
    answer = cli("payback", *reversed(four()), *said)
    assert answer.code == 0
    record = json.loads(answer.out)
    assert record["schema"] == "snnenergy.payback"
    assert {row["steps"] for row in record["training"].values()} == {
        3 * 3
    }  # 20 samples are two batches of 8 and one of 4
    loihi, gpu = record["payback"]
    assert (loihi["hardware"], loihi["ann_hardware"], loihi["verdict"]) == ("loihi", "h100_sxm", AFTER)

    # the same from the estimates
    train = {n: net(n, spiking=n == "snn", training=True) for n in ("ann", "snn")}
    energies = {n: step(c, estimate(c, "h100")).energy for n, c in train.items()}
    infer = {n: net(n, spiking=n == "snn", training=False) for n in ("ann", "snn")}
    ann, snn = estimate(infer["ann"], "h100").energy, estimate(infer["snn"], "loihi").energy
    assert ann is not None and snn is not None and energies["ann"] is not None and energies["snn"] is not None
    extra = 9 * (energies["snn"].nominal - energies["ann"].nominal)
    assert loihi["inferences"]["nominal"] == pytest.approx(extra / (ann.nominal - snn.nominal))
    assert gpu["verdict"] == NEVER


def test_a_step_is_its_samples_together() -> None:
    counts = net("ann", spiking=False, training=True)
    priced = estimate(counts, "h100")
    one = step(counts, priced)
    assert (one.samples, priced.options["batch"]) == (8, "8")
    assert one.energy is not None and priced.energy is not None
    assert one.energy.nominal == 8 * priced.energy.nominal
    assert one.time == priced.latency
    assert steps_of(counts, epochs=2, train_samples=17) == 6


def test_the_page_draws_both_bills_and_lets_no_name_out(
    cli: Cli, four: Callable[..., list[str]], tmp_path: Path
) -> None:
    files = four()
    for file in files[:2]:
        path = Path(file)
        path.write_text(path.read_text().replace('"model": "ann"', '"model": "<b>ann</b><script>"'))
    page = tmp_path / "page.html"
    answer = cli("payback", *files, "--hardware", "loihi,h100", "--train-steps", "9", "--html", page)
    assert answer.code == 0
    text = page.read_text()
    assert "<script" not in text and "<b>ann" not in text
    assert "script-src &#39;none&#39;" in text
    assert [line in text for line in ("ANN on h100_sxm", "SNN on loihi", "SNN on h100_sxm")] == [True] * 3
    assert text.count("<polyline") == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "how long does the ann train? pass --train-steps N"),
        (["--train-steps", "snn=5"], "how long does the ann train?"),
        (["--train-steps", "many"], "--train-steps: expected a number such as 660, or snn=660"),
        (["--train-steps", "5", "--train-on", "loihi"], "loihi: does not train; pass --train-on another chip"),
        (["--train-steps", "5", "--hardware", "none"], "name the chips"),
    ],
)
def test_what_is_missing(cli: Cli, four: Callable[..., list[str]], arguments: list[str], says: str) -> None:
    answer = cli("payback", *four(), *arguments)
    assert answer.code == 2
    assert says in answer.err


def test_the_four_are_told_apart(cli: Cli, four: Callable[..., list[str]]) -> None:
    files = four()
    assert "no Counts of the SNN's training" in cli("payback", *files[:3], "--train-steps", "5").err
    assert "two of the Counts are the ANN's inference" in cli("payback", files[0], files[0], "--train-steps", "5").err
    other = four(weights=99)
    assert "the inference is of 100 weights, the training of 99" in cli("payback", *other, "--train-steps", "5").err


def test_training_counts_in_other_commands(cli: Cli, four: Callable[..., list[str]], tmp_path: Path) -> None:
    ann, trained, *_ = four()
    answer = cli("report", trained, "--hardware", "h100,loihi", "--csv", "-")
    head, row, none = answer.out.splitlines()
    assert head.startswith("model,hardware,samples,time_steps,training,energy_low_J")
    assert row.startswith('ann,h100_sxm,8,,"sgd, loss sum",')
    assert none.startswith('ann,loihi,8,,"sgd, loss sum",,,')
    assert "`snnenergy payback` puts them together" in cli("compare", ann, f"b={trained}").err
    assert "--latex: not for training counts" in cli("report", trained, "--latex", str(tmp_path / "x.tex")).err
    assert "counted training steps of 8 samples" in cli("report", trained, "--hardware", "h100", "--batch", "4").err
    assert not (tmp_path / "x.tex").exists()
