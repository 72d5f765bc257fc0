"""What there is to tell of an SNN beside an ANN on one chip, worked out once for the words, the tables and the charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.report import breakeven, sensitivity, summary, waterfall
from snnenergy.report import quantities as q

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

MAX_PAIRS = 60
LINE = 1e-3
"""Share by which a line may miss for the rounding of counts."""
MAX_PRICED = 8
"""Pairs that are told, and those of them that are priced again: figure by figure, and at other widths and batches."""


@dataclass(frozen=True, slots=True)
class Story:
    """chip: the profile that priced the pair, where there is one and the pair is among those priced again."""

    pair: summary.Pair
    ann: Counts
    snn: Counts
    even: breakeven.BreakEven | None
    miss: breakeven.Miss | None
    steps: tuple[waterfall.Step, ...]
    swings: tuple[sensitivity.Swing, ...]
    chip: Profile | None = None

    @property
    def name(self) -> str:
        return f"{self.pair.snn.model} against {self.pair.ann.model} on {self.pair.chip}"

    @property
    def curved(self) -> bool:
        """Whether activity changes the cost at all."""
        return self.even is not None and bool(self.even.nominal.event)


def stories(comparison: Comparison) -> tuple[Story, ...]:
    """Those with a break-even curve first: they have more to say."""
    chips = {chip.name: chip for chip in comparison.profiles}

    def flat(pair: summary.Pair) -> bool:
        found = breakeven.solve(pair, comparison.counts[pair.snn.model])
        return found is None or not found.nominal.event

    told = sorted(summary.pairs(comparison), key=flat)[:MAX_PAIRS]
    lines: dict[tuple[str, str], breakeven.BreakEven | None] = {}  # one SNN on one chip, priced again once
    for pair in told:
        if (key := (pair.snn.model, pair.chip)) not in lines:
            lines[key] = breakeven.solve(pair, comparison.counts[pair.snn.model], chips.get(pair.chip))
    return tuple(
        _story(comparison, pair, lines[pair.snn.model, pair.chip], chips.get(pair.chip), i < MAX_PRICED)
        for i, pair in enumerate(told)
    )


def _story(
    comparison: Comparison,
    pair: summary.Pair,
    line: breakeven.BreakEven | None,
    chip: Profile | None,
    by_figure: bool,
) -> Story:
    ann, snn = comparison.counts[pair.ann.model], comparison.counts[pair.snn.model]
    even = None if line is None else line.against(pair)
    figures = sensitivity.of_figures(pair, ann, snn, chip) if chip is not None and by_figure else None
    # a memory that spills has a range without any figure of its own: then the parts tell more
    swings = (
        figures
        if figures or (figures is not None and pair.ratio.low == pair.ratio.high)
        else sensitivity.of_parts(pair)
    )
    miss = None
    if chip is not None and by_figure and even is not None and even.nominal.event:
        miss = breakeven.missed(even, snn, chip)
    return Story(pair, ann, snn, even, miss, waterfall.steps(pair, ann, snn), swings, None if figures is None else chip)


def broken_even(story: Story) -> str:
    """Where the SNN stops winning, and how far the line that says so misses the price."""
    return f"{even(story.even)} {_missed(story.miss)}".rstrip()


def _missed(miss: breakeven.Miss | None) -> str:
    if miss is None:
        return ""
    until = f"between silence and {q.percent(miss.until)}"
    if miss.share < LINE:
        return f"Priced again {until}, the line holds."
    return (
        f"The line is straight and this chip is not: priced again {until}, it misses by up to {q.percent(miss.share)}."
    )


def even(found: breakeven.BreakEven | None) -> str:
    """Where the SNN stops winning, in a sentence."""
    if found is None:
        return "No break-even: the number of time steps or the activity of the spiking layers is not known."
    steps = found.time_steps_at(found.rate)
    now = f"now T = {found.time_steps} and {q.percent(found.rate)} spikes per synapse and step"
    limits = f"T = {q.number(steps.nominal)} [{q.number(steps.low)}, {q.number(steps.high)}]"
    if steps.high < 1:
        limits += ", less than one step: it cannot win so"
    if not found.nominal.event:
        return f"This chip charges dense work, so activity changes nothing: break-even at {limits}; {now}."
    rate = found.rate_at(found.time_steps)
    if rate.nominal <= 0:
        return f"At T = {found.time_steps} the SNN loses even in silence; at its own activity, break-even at {limits}; {now}."
    if rate.low > 1:
        return f"At T = {found.time_steps} the SNN wins even if every synapse were driven in every step; at its own activity, break-even at {limits}; {now}."
    ends = ", ".join(q.percent(max(v, 0.0)) for v in (rate.low, rate.high))
    return f"Break-even at {q.percent(rate.nominal)} [{ends}] spikes per synapse and step for T = {found.time_steps}, or at {limits} for its own activity; {now}."


def moved(story: Story) -> str:
    """What the constants do to the verdict, in a sentence."""
    ranged = [swing for swing in story.swings if swing.width]
    if not ranged:
        return "No constant has a published range that moves the ratio: within the profile it stands still."
    turning = [swing.part for swing in ranged if swing.flips]
    widest = f"{ranged[0].part} moves it most: {q.factor(ranged[0].ratio, '×')}"
    return (
        f"{widest}; {summary.some(turning)} can turn the verdict."
        if turning
        else f"{widest}; none turns the verdict alone."
    )
