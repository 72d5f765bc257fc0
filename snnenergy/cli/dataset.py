"""`profile --data`: a whole data set batch by batch, with a progress bar, stopped at any time and taken up again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, spreads, stored
from snnenergy.cli.runner import say
from snnenergy.cli.watching import Stop, bar
from snnenergy.errors import CountsError, InputError, SnnEnergyError, UsageError

if TYPE_CHECKING:
    from snnenergy.cost.spread import Spread
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile
    from snnenergy.trace.dataset import Pass
    from snnenergy.trace.ranks import World

_DATA = "Data sets"
_SHARD = re.compile(r"([1-9]\d{0,6})/([1-9]\d{0,6})")


@dataclass(frozen=True, slots=True)
class Data:
    """A data set instead of one input."""

    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="pkg.mod:loader (batches as tensors, (x, labels) or dicts), an .npz or .npy file, or a folder of them.",
            rich_help_panel=_DATA,
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Samples of one forward, for files; default 64.", rich_help_panel=_DATA),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N samples.", rich_help_panel=_DATA)
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Only the I-th of N shards; `merge` adds their counts.", rich_help_panel=_DATA
        ),
    ] = None
    per_sample: Annotated[
        bool,
        typer.Option(
            "--per-sample",
            help="Run each sample by itself: a column file (.npz) beside --json, quantiles, hardest samples.",
            rich_help_panel=_DATA,
        ),
    ] = False
    until_ci: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Stop when the 95 % interval of the mean energy is within this share, such as 1%, on every chip.",
            rich_help_panel=_DATA,
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where the partial result in --json FILE ends.", rich_help_panel=_DATA),
    ] = False
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Where the model runs: cpu, cuda, cuda:1.", rich_help_panel=_DATA),
    ] = None

    rank_timeout: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", help="How long ranks wait for each other under torchrun.", rich_help_panel=_DATA
        ),
    ] = 1800.0

    def checked(self, reading: o.Reading, json: str | None) -> None:
        """UsageError before any work where the options do not go together."""
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        if self.data is None and given:
            raise UsageError(f"--{given[0].replace('_', '-')}: goes with --data SOURCE")
        if self.data is not None and (reading.input or reading.input_shape):
            raise UsageError("--data and --input or --input-shape: give one of them")
        if self.resume and json in (None, output.STDOUT):
            raise UsageError("--resume: goes with --json FILE, which holds the partial result")
        if self.resume and (self.per_sample or self.until_ci):
            raise UsageError(
                "--resume: the samples of the earlier part cannot be priced again; leave --per-sample and --until-ci out"
            )
        if reading.samples is not None and (self.resume or self.limit):
            raise UsageError(
                f"--samples and {'--resume' if self.resume else '--limit'}: samples that have no axis of their own have no place to "
                "begin or to end at; give --time-axis instead, or cut the data set yourself (a loader of part of it, --shard)"
            )
        if self.per_sample and json in (None, output.STDOUT):
            raise UsageError("--per-sample: goes with --json FILE, beside which the columns are written")
        if self.until_ci is not None:
            spreads.share(self.until_ci)
        part(self.shard)

    def columns(self, json: str | None) -> dict[str, str]:
        """Where the columns go: beside the Counts."""
        return {"per-sample": str(Path(json).with_suffix(".npz"))} if self.per_sample and json is not None else {}


def part(text: str | None) -> tuple[int, int]:
    """(shard from 0, shards) of `I/N`; everything where there is none."""
    if text is None:
        return 0, 1
    found = _SHARD.fullmatch(text)
    if not found or int(found[1]) > int(found[2]):
        raise UsageError(f"--shard: expected I/N with I from 1 to N, such as 2/8; found {text!r}")
    return int(found[1]) - 1, int(found[2])


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of a data set; failure: what ended the run before its data did, for the caller to raise after delivery."""

    counts: Counts
    failure: BaseException | None = None
    spreads: tuple[Spread, ...] = ()
    columns: bytes | None = None


@dataclass(frozen=True, slots=True)
class Chips:
    """What rows are priced on while they come."""

    profiles: tuple[Profile, ...]
    pricing: o.Pricing


def run(model: str, reading: o.Reading, data: Data, json: str | None, chips: Chips) -> Outcome | None:
    """Counts `model` over the data set; raises only where nothing was counted.  None: another rank delivers the total."""
    before = _stored(data, json)
    output.progress(f"loading {model}")
    from snnenergy.trace import ranks

    world = ranks.launched()
    if world.size == 1:
        return _counted(model, reading, data, json, before, world, chips)
    if data.shard or data.resume or data.until_ci or data.per_sample:
        raise UsageError(
            "--shard, --resume, --per-sample and --until-ci: not with several ranks, which are shards already; "
            "run the shards one by one (--shard) and merge them"
        )
    try:
        with ranks.joined(world, data.rank_timeout):
            own = _counted(model, reading, data, json, None, world, chips)
            total = own.counts.sync(timeout=data.rank_timeout)
    except SnnEnergyError as error:
        raise type(error)(f"rank {world.rank} of {world.size}: {error}") from error
    if not total.samples:
        raise InputError(f"--data {data.data}: yielded no batch")
    return Outcome(total) if world.first else None


def _counted(
    model: str, reading: o.Reading, data: Data, json: str | None, before: Counts | None, world: World, chips: Chips
) -> Outcome:
    """What falls to this process: after what an earlier run counted."""
    from snnenergy.load import Cut, DataOptions, load_dataset
    from snnenergy.load.batches import seed_everything
    from snnenergy.trace.dataset import Pass
    from snnenergy.trace.ranks import local_device

    device = local_device(data.device)
    shard, shards = part(data.shard) if world.size == 1 else (world.rank, world.size)
    cut = Cut(data.limit, shard, shards, 0 if before is None else before.samples)
    assert data.data is not None  # the caller's check
    options: dict[str, Any] = {k: v for k, v in reading.of(0, 1).items() if k not in ("input", "input_shape", "meta")}
    seed_everything(reading.seed)  # the weights that a factory draws: every shard counts one model
    work, batches = load_dataset(model, DataOptions(data.data, data.batch_size, cut), **options)
    tell = say if world.first else _silent
    for note in work.notes:
        tell(f"note: {note}")
    one = Pass(
        work,
        time_axis=reading.time_axis,
        samples=reading.samples,
        roles=reading.roles(),
        device=device,
        each=_each(reading, data, tell),
    )
    if before is not None and not before.conditions.partial:
        return _complete(before, one, str(json))
    prices = None if one.rows is None else spreads.Prices(one.rows, chips.profiles, chips.pricing)
    failure: BaseException | None = None
    stopped = ""
    with Stop() as stop, one, bar(work.name, batches.total, shown=world.first) as advance:
        try:
            for batch in batches:
                with stop.deferred():
                    one.take(batch)
                advance(one.samples)
                if before is not None and one.batches == 1:
                    before.merge(one.counts())  # raises now, and not after an hour, where this is another model
                if prices is not None and data.until_ci and (stopped := _narrow(prices, one.counts(), data.until_ci)):
                    tell(stopped)
                    break
        except (SnnEnergyError, KeyboardInterrupt) as error:
            if stop.torn or one.misplaced or world.size > 1:  # some ranks' parts could not be taken up again
                raise
            failure = error
    for note in batches.notes:
        tell(f"note: {note}")
    shards_word = () if shards == 1 else (f"{shard + 1}/{shards}",)
    counts = one.counts()
    if stopped:
        counts = replace(counts, identity=replace(counts.identity, notes=(*counts.identity.notes, stopped)))
    made = _outcome(counts, before, failure, shards_word, data, json, tell)
    if prices is None or made.counts.empty:
        return made
    prices.update(made.counts)
    columns = prices.archive(made.counts) if data.per_sample else None
    return replace(made, spreads=tuple(prices.spreads()), columns=columns)


def _complete(before: Counts, one: Pass, json: str) -> Outcome:
    """A result that needs nothing more, if it is of this model."""
    whole = replace(before, conditions=replace(before.conditions, shards=()))
    with one:
        try:
            whole.merge(one.counts())
        except CountsError as error:
            raise CountsError(f"{json}: is complete, and of another run: {error}") from error
    say(
        f"{json}: is complete: {before.samples} samples of {before.model}, nothing to resume; the model is the same, the data set "
        "and --limit were not compared"
    )
    return Outcome(before)


def _each(reading: o.Reading, data: Data, tell: Callable[[str], None]) -> str | None:
    """What a row of prices is of: a sample, or a batch where the user says how many samples it holds and not where they lie."""
    if not (data.per_sample or data.until_ci):
        return None
    if reading.samples is None:
        return "sample"
    if data.per_sample:
        raise UsageError("--per-sample and --samples: samples that have no axis of their own cannot be run one by one")
    tell("note: --samples: samples are not told apart, so --until-ci looks at the means of batches")
    return "forward"


def _narrow(prices: spreads.Prices, counts: Counts, wanted: str) -> str:
    """Why the run may stop, once the interval is as narrow as was asked for."""
    prices.update(counts)
    if not prices.narrow(spreads.share(wanted)):
        return ""
    widest = max(s.relative for s in prices.spreads())
    return (
        f"stopped after {counts.samples} samples: the mean energy is known to {100 * widest:.2g} % "
        "(95 %, samples in random order)"
    )


def _silent(words: str) -> None:
    """What one rank says, the others need not."""


def _outcome(
    counts: Counts,
    before: Counts | None,
    failure: BaseException | None,
    shards: tuple[str, ...],
    data: Data,
    json: str | None,
    tell: Callable[[str], None],
) -> Outcome:
    if not counts.samples and before is None:
        if failure is not None:
            raise failure
        if not shards:
            raise InputError(f"--data {data.data}: yielded no batch")
        tell(f"note: shard {shards[0]} holds no batch of this data set")
    if before is not None:
        counts = before.merge(counts)
    conditions = replace(counts.conditions, partial=failure is not None, shards=shards)
    if n := counts.conditions.nonfinite:
        tell(no_numbers(n))
    if failure is not None:
        where = f"; they go to {json}, and --resume goes on from there" if json not in (None, output.STDOUT) else ""
        tell(f"partial: {counts.samples} samples were counted{where}")
    return Outcome(replace(counts, conditions=conditions), failure)


def no_numbers(samples: int) -> str:
    """That so many samples hold values that are none."""
    held = "s hold" if samples > 1 else " holds"
    return f"note: {samples} sample{held} NaN or infinity, counted as the non-zero values they are"


def _stored(data: Data, json: str | None) -> Counts | None:
    """The partial result to go on from; None where there is none yet."""
    if not data.resume or json is None or not Path(json).exists():
        return None
    counts = stored.read_one(Path(json))
    shards = () if data.shard in (None, "1/1") else (str(data.shard),)
    if counts.conditions.shards != shards:
        raise UsageError(
            f"{json}: holds shard {', '.join(counts.conditions.shards) or '1/1'}, not {data.shard or '1/1'}"
        )
    if data.limit is not None and counts.samples > data.limit:
        raise UsageError(f"{json}: holds {counts.samples} samples, more than --limit {data.limit}")
    return replace(counts, conditions=replace(counts.conditions, shards=())) if counts.conditions.partial else counts
