"""`profile --mode train`: one optimisation step of a model, counted and priced."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.cli import output
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from snnenergy.cli.delivery import Look
    from snnenergy.cost.records import Comparison
    from snnenergy.counts import Counts
    from snnenergy.load import Workload
    from snnenergy.report.conversion import Table

INFERENCE, TRAIN = "infer", "train"
_PANEL = "Training"


@dataclass(frozen=True, slots=True)
class Mode:
    """What is counted: an inference, or a step of training."""

    mode: Annotated[
        str,
        typer.Option(
            metavar=f"{INFERENCE}|{TRAIN}", help="An inference, or one optimisation step.", rich_help_panel=_PANEL
        ),
    ] = INFERENCE
    optimizer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="sgd, momentum, adam or adamw; default sgd.", rich_help_panel=_PANEL),
    ] = None
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="cross_entropy or mse of the input's labels, or sum of the outputs; default: the first, else the last.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    @property
    def train(self) -> bool:
        """UsageError for another mode, or options of training without it."""
        if self.mode not in (INFERENCE, TRAIN):
            raise UsageError(f"--mode: expected {INFERENCE} or {TRAIN}, found {self.mode!r}")
        if self.mode == INFERENCE and (self.optimizer or self.loss):
            raise UsageError(f"--{'optimizer' if self.optimizer else 'loss'}: goes with --mode {TRAIN}")
        return self.mode == TRAIN

    def count(self, work: Workload, batch: int | None, **options: Any) -> Counts:
        """One step of the model on the first `batch` samples of its input."""
        from snnenergy.trace.training import count_training_of

        output.progress(f"counting a training step of {work.name}")
        return count_training_of(work, batch, loss=self.loss, optimizer=self.optimizer or "sgd", **options)


def table(comparison: Comparison) -> str:
    """What stands on the terminal."""
    from snnenergy.report import summary, training
    from snnenergy.report.escape import plain

    lines: list[str] = []
    for counts in comparison.counts.values():
        lines += output.told([training.headline(counts), *(f"note: {note}" for note in training.notes(counts))])
    lines += [line for part in training.chips(comparison) for line in _drawn(part)]
    for counts in comparison.counts.values():
        lines += ["", plain(counts.model)] if len(comparison.counts) > 1 else []
        lines += [line for part in training.tables(counts) for line in _drawn(part)]
        lines += ["", *output.wrapped(training.memory(counts))]
    if remarks := summary.remarks(comparison):
        lines += ["", "Read this beside the numbers:"]
        lines += output.told(f"- {who}: {what}" for who, what in remarks)
    return "\n".join(lines) + "\n"


def _drawn(part: Table) -> list[str]:
    return output.titled(part.title, part.head, part.rows)


FORMATS = ("json", "html", "markdown", "csv", "layers_csv")


def check(wanted: Iterable[str], look: Look) -> None:
    """UsageError for a format that training steps have not, or an option of how inferences are shown."""
    shown = [f.name for f in dataclasses.fields(look) if getattr(look, f.name) != f.default]
    if other := sorted({*wanted, *shown} - set(FORMATS)):
        known = ", ".join(f"--{name.replace('_', '-')}" for name in FORMATS)
        raise UsageError(f"--{other[0].replace('_', '-')}: not for training counts; they have {known}")


def deliver(comparison: Comparison, wanted: Mapping[str, str], known: Mapping[str, Any]) -> None:
    """The formats of training steps."""
    from snnenergy.report import training

    made = {**known, **training.FORMATS}
    output.deliver({form: made[form](comparison) for form in wanted}, wanted, table(comparison))
