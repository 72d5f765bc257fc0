"""`snnenergy convert-estimate`: what an ANN would cost as a spiking net, before one exists."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output
from snnenergy.cli.delivery import Look, Targets, deliver
from snnenergy.cli.runner import command, say
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.trace.ann2snn import Verified
    from snnenergy.trace.conversion import Conversion

DEFAULT_STEPS = "4,8,16,32"


@dataclass(frozen=True, slots=True)
class Ann:
    """How the model is loaded, as in `profile`, and the input whose activations set the thresholds."""

    input: Annotated[str | None, o.INPUT] = None
    input_shape: Annotated[str | None, o.INPUT_SHAPE] = None
    factory: Annotated[str | None, o.FACTORY] = None
    allow_class: Annotated[list[str] | None, o.ALLOW_CLASS] = None
    trust: Annotated[bool, o.TRUST] = False

    def options(self) -> dict[str, Any]:
        """What `load` is told."""
        given = o.Reading(
            input=[self.input] if self.input else None,
            input_shape=[self.input_shape] if self.input_shape else None,
            factory=[self.factory] if self.factory else None,
            allow_class=self.allow_class,
            trust=self.trust,
        )
        return given.of(0, 1)


def register(app: typer.Typer) -> None:
    command(app, convert_estimate, "convert-estimate")


def convert_estimate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ANN, as in `profile`.")],
    ann: Ann,
    pricing: o.Pricing,
    targets: Targets,
    look: Look,
    steps: Annotated[str, typer.Option(metavar="T[,T...]", help="Time steps of the spiking net.")] = DEFAULT_STEPS,
    input_coding: Annotated[
        str,
        typer.Option(metavar="direct|rate", help="What it is given in each step: the input itself, or spikes of it."),
    ] = "direct",
    verify: Annotated[
        bool, typer.Option("--verify", help="Convert it for real with SpikingJelly, and compare spikes and accuracy.")
    ] = False,
) -> None:
    """Predicts an ANN as a rate-coded spiking net: ReLUs become integrate-and-fire neurons, nothing is trained.

    Spikes, ACs, neuron updates, energy and latency at every T and on every chip, against the ANN there.  The JSON is a report:
    `snnenergy report` prices its predicted Counts on other chips.
    """
    wanted = targets.checked()
    look.checked()
    chips = pricing.profiles()
    made, real = _converted(model, ann, _steps(steps), input_coding, verify)
    counted = {made.ann.model: made.ann} | {run.counts.model: run.counts for run in made.runs}
    priced = pricing.of(counted, chips)
    shares = {made.ann.model: made.accuracy} | {run.counts.model: run.accuracy for run in made.runs}
    comparison = dataclasses.replace(
        priced,
        notes=(*priced.notes, *made.notes),
        accuracy={name: value for name, value in shares.items() if value is not None},
    )
    deliver(comparison, wanted, look, table=_shown(made, comparison, real))
    pricing.demand_fit(comparison)


def _steps(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--steps: expected numbers of time steps such as {DEFAULT_STEPS}; found {text!r}")
    return [int(word) for word in words]


def _converted(
    model: str, ann: Ann, steps: list[int], coding: str, verify: bool
) -> tuple[Conversion, tuple[Verified, ...]]:
    output.progress(f"loading {model}")
    from snnenergy.load import load

    work = load(model, **ann.options())
    for note in work.notes:
        say(f"note: {note}")
    from snnenergy.trace.conversion import convert

    output.progress(f"stepping {work.name} as a spiking net")
    made = convert(work, steps, coding=coding)
    if not verify:
        return made, ()
    output.progress("converting it with SpikingJelly")
    from snnenergy.trace import ann2snn

    return made, ann2snn.verify(work, made)


def _shown(made: Conversion, comparison: Comparison, real: tuple[Verified, ...]) -> str:
    from snnenergy.report import conversion, summary

    lines = output.told([summary.headline(comparison)])
    for table in conversion.tables(made, comparison, real):
        lines += output.titled(table.title, table.head, table.rows, numbers=False)
    lines += ["", "Not converted, and what is assumed:" if made.notes else "Everything was converted."]
    lines += output.told(f"- {note}" for note in made.notes)
    lines += output.wrapped(
        "- all: thresholds from the inputs given; layers pass spikes on in the same step; batch norms folded on both sides"
    )
    return "\n".join(lines) + "\n"
