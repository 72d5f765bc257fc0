"""Break-even, and the constants that move a verdict, against pricing real Counts again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from snnenergy.cost import compare, estimate
from snnenergy.cost.price import again
from snnenergy.hardware import Profile, list_hardware, load_hardware
from snnenergy.report import activity, breakeven, document, sensitivity, stories, summary
from snnenergy.report import quantities as q
from tests.conftest import ROOT

DIGITS = document.read(ROOT / "reports" / "digits.json").counts
SNN = DIGITS["snn"]


def _alone(chip: Profile) -> summary.Pair:
    """The SNN beside itself: only its own line over T and r is of interest here."""
    made = estimate(SNN, chip)
    return summary.Pair(chip.name, made, made)


def _priced() -> Iterator[Profile]:
    for chip in list_hardware():
        if chip.charges.spike != "unsupported":
            made = estimate(SNN, chip)
            if made.energy is not None and not made.partial:
                yield chip


def test_counts_in_silence_and_at_twice_the_steps_by_hand() -> None:
    quiet, longer = activity.scaled(SNN, 0), activity.doubled(SNN)
    assert (quiet.total().acs, quiet.total().spikes_out, quiet.total().dense_macs) == (0, 0, SNN.total().dense_macs)
    assert [layer.domains for layer in quiet.layers] == [layer.domains for layer in SNN.layers]
    assert (longer.time_steps, longer.samples) == (16, 200)
    for name in ("acs", "dense_macs", "updates", "spikes_out", "kernels"):
        assert getattr(longer.total(), name) == 2 * getattr(SNN.total(), name)
    assert longer.total().neurons == SNN.total().neurons
    steps = longer["conv1"].per_step
    assert steps is not None
    assert (len(steps.effective), sum(steps.effective)) == (16, longer["conv1"].effective)


@pytest.mark.parametrize("chip", list(_priced()), ids=lambda chip: chip.name)
def test_the_line_goes_through_what_the_chip_is_priced_at(chip: Profile) -> None:
    """At its own point, in silence, at two and four times its steps, and with half its events."""
    pair = _alone(chip)
    found = breakeven.solve(pair, SNN, chip)
    assert found is not None
    twice = activity.doubled(SNN)
    points = [
        (SNN, 8, found.rate, 1e-9),
        (twice, 16, found.rate, 1e-9),
        (activity.doubled(twice), 32, found.rate, 1e-9),
        (activity.scaled(SNN, 0), 8, 0.0, 1e-9),
        (activity.doubled(activity.scaled(SNN, 0)), 16, 0.0, 1e-9),
        # half the events: an odd count loses one; on Loihi another core becomes the slowest one
        (activity.scaled(SNN, 0.5), 8, found.rate / 2, 0.12 if chip.latency.model == "barrier" else 1e-5),
    ]
    for counts, steps, rate, close in points:
        energy = again(counts, chip, pair.snn.options).energy
        assert energy is not None
        for corner, end in ((found.low, energy.low), (found.nominal, energy.nominal), (found.high, energy.high)):
            assert corner.energy(steps, rate) == pytest.approx(end, rel=close, abs=1e-9 * corner.energy(8, found.rate))


def test_half_the_activity_by_hand() -> None:
    """Odd counts lose their half; what is neither spike nor neuron stays."""
    half = activity.scaled(SNN, 0.5)
    for was, now in zip(SNN.layers, half.layers, strict=True):
        assert now.effective == sum(s.effective // 2 for s in was.streams)
        assert now.spikes_out == (None if was.spikes_out is None else was.spikes_out // 2)
        assert (now.dense_macs, now.updates, now.elements) == (was.dense_macs, was.updates, was.elements)
    steps, before = half["conv1"].per_step, SNN["conv1"].per_step
    assert steps is not None and before is not None
    assert steps.effective == tuple(n // 2 for n in before.effective)
    assert activity.rate(half) == pytest.approx(activity.rate(SNN) / 2, rel=1e-5)
    assert activity.scaled(SNN, 1) == SNN


def test_the_most_that_the_net_can_be_active_is_where_its_first_layer_is_full() -> None:
    full = activity.most(SNN)
    shares = [s.nonzero / s.elements for layer in SNN.layers for s in layer.streams]
    assert full <= 1 / max(shares)
    top = activity.scaled(SNN, full)
    assert all(s.nonzero <= s.elements for layer in top.layers for s in layer.streams)
    assert all((layer.spikes_out or 0) <= layer.updates for layer in top.layers)
    assert activity.most(activity.scaled(SNN, 0)) == float("inf")


def _missed(chip: str) -> breakeven.Miss:
    found = breakeven.solve(_alone(load_hardware(chip)), SNN, load_hardware(chip))
    assert found is not None
    made = breakeven.missed(found, SNN, load_hardware(chip))
    assert made is not None
    return made


def test_the_line_is_straight_where_time_does_not_wait_for_the_slowest_core() -> None:
    for chip in ("truenorth", "tianjic", "horowitz_int32"):
        assert _missed(chip).share < stories.LINE


def test_how_far_the_line_misses_on_a_barrier_is_what_pricing_again_shows() -> None:
    """Loihi waits in each step for its slowest core, which is another one when more spikes arrive."""
    chip = load_hardware("loihi")
    found = breakeven.solve(_alone(chip), SNN, chip)
    assert found is not None
    shares = []
    for factor in (0.25, 0.5, 0.75, 2):
        energy = again(activity.scaled(SNN, factor), chip, {}).energy
        assert energy is not None
        shares.append(abs(found.nominal.energy(8, factor * found.rate) / energy.nominal - 1))
    made = _missed("loihi")
    assert 0.02 < made.share < 0.12
    assert made.share == pytest.approx(max(shares), rel=1e-3)
    assert made.until == pytest.approx(2 * found.rate)
    words = stories.broken_even(replace(_story("tianjic"), even=found, miss=made))
    assert (
        f"The line is straight and this chip is not: priced again between silence and {q.percent(2 * found.rate)}"
        in words
    )
    assert words.endswith(f"it misses by up to {q.percent(made.share)}.")


def test_filling_the_layers_is_paid_once() -> None:
    """TrueNorth: a tick of 1 ms, two of them until the last layer has seen the last spikes, whatever T."""
    chip = load_hardware("truenorth")
    found = breakeven.solve(_alone(chip), SNN, chip)
    static = chip.power.static
    assert found is not None and static is not None
    assert found.nominal.fixed == pytest.approx(2e-3 * static.value)


def test_without_the_profile_or_where_it_prices_otherwise_the_parts_are_taken() -> None:
    pair, chip = _alone(load_hardware("truenorth")), load_hardware("loihi")
    assert breakeven.solve(pair, SNN, chip) == breakeven.solve(pair, SNN)


# Which constant


def _story(chip: str) -> stories.Story:
    (made,) = stories.stories(compare({"ann": DIGITS["ann"], "snn": SNN}, [chip]))
    return made


def test_a_constant_at_its_end_is_the_profile_with_that_value() -> None:
    """h100: launching a kernel takes low to high; both nets priced again with a profile that says so."""
    story = _story("h100")
    chip = load_hardware("h100")
    launch = chip.latency.launch  # type: ignore[union-attr]  # a roofline
    assert launch is not None
    swing = next(s for s in story.swings if s.part == "latency.launch")
    ratios = []
    for end in (launch.low, launch.high):
        latency = chip.latency.model_copy(update={"launch": launch.model_copy(update={"value": end})})
        moved = chip.model_copy(update={"latency": latency})
        ann, snn = (again(counts, moved, {"batch": "1"}).energy for counts in (DIGITS["ann"], SNN))
        assert ann is not None and snn is not None
        ratios.append(snn.nominal / ann.nominal)
    assert (swing.ratio.low, swing.ratio.high) == pytest.approx(sorted(ratios), rel=1e-12)
    assert [s.width for s in story.swings] == sorted((s.width for s in story.swings), reverse=True)


def test_a_chip_without_ranges_has_nothing_that_moves_and_says_so() -> None:
    story = _story("tianjic")
    assert story.swings == ()
    assert stories.moved(story).startswith("No constant has a published range")


def test_without_a_profile_the_parts_stand_for_the_constants() -> None:
    made = compare({"ann": DIGITS["ann"], "snn": SNN}, ["h100"])
    (story,) = stories.stories(replace(made, profiles=()))
    assert story.chip is None
    assert story.swings == sensitivity.of_parts(story.pair)
    assert {s.part for s in story.swings} == {"compute", "memory", "static", "neuron"}
