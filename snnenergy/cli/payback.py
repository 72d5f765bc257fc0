"""`snnenergy payback`: training and inference of an ANN and an SNN, put together from stored Counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, stored
from snnenergy.cli.runner import command
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snnenergy.cost.payback import Training
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile
    from snnenergy.report.payback import Bill

_LENGTH = "How long it trains"


@dataclass(frozen=True, slots=True)
class Length:
    """Steps of a training: said as they are, or as passes over a training set."""

    train_steps: Annotated[
        list[str] | None,
        typer.Option(metavar="[ann=|snn=]N", help="Optimisation steps, of both or of one.", rich_help_panel=_LENGTH),
    ] = None
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Passes over the training set.", rich_help_panel=_LENGTH)
    ] = None
    train_samples: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Samples of the training set.", rich_help_panel=_LENGTH)
    ] = None

    def of(self, side: str, counts: Counts) -> int:
        """Steps of the `ann` or the `snn`."""
        from snnenergy.cost.payback import steps_of
        from snnenergy.cost.training import batch_of

        said = dict(_steps(text) for text in self.train_steps or ())
        if side in said or "" in said:
            return said.get(side, said.get("", 0))
        if self.epochs is None or self.train_samples is None:
            raise UsageError(
                f"how long does the {side} train? pass --train-steps N, or --epochs N and --train-samples N (its batch is "
                f"{batch_of(counts)})"
            )
        return steps_of(counts, self.epochs, self.train_samples)


def _steps(text: str) -> tuple[str, int]:
    side, _, number = text.rpartition("=")
    if side not in ("", "ann", "snn") or not number.isdecimal() or not int(number):
        raise UsageError(f"--train-steps: expected a number such as 660, or snn=660; found {text!r}")
    return side, int(number)


@dataclass(frozen=True, slots=True)
class Files:
    """Where the report is written, by format."""

    json: o.Json = None
    html: o.Html = None
    markdown: o.Markdown = None
    csv: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write one row per chip.", rich_help_panel=o.RESULTS)
    ] = None

    def checked(self) -> dict[str, str]:
        return output.check({"json": self.json, "html": self.html, "markdown": self.markdown, "csv": self.csv})


def register(app: typer.Typer) -> None:
    command(app, payback)


def payback(
    counts: Annotated[
        list[Path],
        typer.Argument(
            metavar="COUNTS...", help="Four: of the ANN's and the SNN's inference and training step, in any order."
        ),
    ],
    length: Length,
    targets: Files,
    train_on: Annotated[str, typer.Option(metavar="CHIP", help="Where both are trained.")] = "h100_sxm",
    hardware: Annotated[list[str] | None, o.hardware(o.FOUR, none="")] = None,
    ann_on: Annotated[
        str | None,
        typer.Option(
            metavar="CHIP", help="Where the ANN runs; default: beside the SNN if it can, else where it is trained."
        ),
    ] = None,
    batch: o.Batch = None,
    profile_path: o.ProfilePath = None,
) -> None:
    """After how many inferences an SNN has paid back what its training cost more than the ANN's.

    From Counts files of `profile --json` and `profile --mode train --json`, told apart by what they hold; torch is not needed.
    """
    wanted = targets.checked()
    found = _told_apart([one for path in counts for one in stored.read(path)])
    pricing = o.Pricing(hardware, batch, profile_path=profile_path)
    chips = pricing.profiles()
    home = None if ann_on is None else _one(ann_on, profile_path)
    bill = _bill(found, length, pricing, chips, _one(train_on, profile_path), home)
    from snnenergy.report import payback as report

    output.deliver({form: report.FORMATS[form](bill) for form in wanted}, wanted, _table(bill))


def _one(name: str, search: list[Path] | None) -> Profile:
    (chip,) = o.Pricing([name], profile_path=search).profiles() or (None,)
    if chip is None:
        raise UsageError(f"{name}: expected a chip")
    return chip


def _told_apart(given: Sequence[Counts]) -> dict[str, Counts]:
    """`ann`, `snn`, `ann training`, `snn training`; a net with neurons is an SNN."""
    from snnenergy.report.summary import is_snn

    found: dict[str, Counts] = {}
    for one in given:
        kind = ("snn" if is_snn(one) else "ann") + (" training" if one.conditions.training else "")
        if kind in found:
            raise UsageError(f"two of the Counts are {_WORDS[kind]}: {found[kind].model} and {one.model}")
        found[kind] = one
    if missing := [words for kind, words in _WORDS.items() if kind not in found]:
        raise UsageError(
            f"no Counts of {' and none of '.join(missing)}; make them with `snnenergy profile MODEL --json FILE`, and of a "
            "training step with --mode train"
        )
    return found


_WORDS = {
    "ann": "the ANN's inference",
    "snn": "the SNN's inference",
    "ann training": "the ANN's training",
    "snn training": "the SNN's training",
}


def _bill(
    found: Mapping[str, Counts],
    length: Length,
    pricing: o.Pricing,
    chips: Sequence[Profile],
    train_on: Profile,
    ann_on: Profile | None,
) -> Bill:
    from snnenergy.cost import estimate
    from snnenergy.cost import payback as cost
    from snnenergy.report import summary
    from snnenergy.report.payback import Bill

    if not chips:
        raise UsageError(f"--hardware {o.NO_CHIP}: name the chips that run the inferences")
    first, second = names = _names(found["ann"], found["snn"])
    remarks: dict[str, None] = {}

    def training(side: str, name: str) -> Training:
        counts = found[f"{side} training"]
        cost.same_net(found[side], counts)
        priced = estimate(counts, train_on)
        remarks.update(dict.fromkeys(f"training on {train_on.name}: {caveat}" for caveat in priced.caveats))
        return replace(cost.training(counts, priced, length.of(side, counts)), model=name)

    ann, snn = training("ann", first), training("snn", second)
    both = dict(zip(names, (found["ann"], found["snn"]), strict=True))
    inference = pricing.of(both, list({chip.name: chip for chip in (*chips, ann_on or train_on)}.values()))
    rows = cost.against(ann, snn, inference, None if ann_on is None else ann_on.name)
    remarks.update(dict.fromkeys(f"{who}: {what}" for who, what in summary.remarks(inference)))
    wanted = {chip.name for chip in chips}
    return Bill(ann, snn, tuple(row for row in rows if row.hardware in wanted), tuple(remarks))


def _names(ann: Counts, snn: Counts) -> tuple[str, str]:
    return (ann.model, snn.model) if ann.model != snn.model else (f"{ann.model} (ANN)", f"{snn.model} (SNN)")


def _table(bill: Bill) -> str:
    from snnenergy.report import payback as report

    lines = output.told([report.headline(bill)])
    for part in report.tables(bill):
        lines += output.titled(part.title, part.head, part.rows, numbers=False)
    if bill.remarks:
        lines += ["", "Read this beside the numbers:"]
        lines += output.told(f"- {remark}" for remark in bill.remarks)
    return "\n".join(lines) + "\n"
