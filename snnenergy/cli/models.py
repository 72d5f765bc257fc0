"""Commands that end in a report: profile, compare, report, demo."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnenergy.cli import conventions, dataset, output, overwriting, stored, training
from snnenergy.cli import options as o
from snnenergy.cli.delivery import Look, Targets, brief, deliver
from snnenergy.cli.runner import command, say
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from snnenergy.cost.records import Comparison
    from snnenergy.cost.spread import Spread
    from snnenergy.counts import Counts
    from snnenergy.load import Workload
    from snnenergy.trace.witness import WitnessReport

REPORT = "snnenergy-report"


def register(app: typer.Typer) -> None:
    for run in (profile, compare, report, demo):
        command(app, run)


def profile(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A .pt2, .pt or .safetensors file, or pkg.mod:factory.")
    ],
    reading: o.Reading,
    pricing: o.Pricing,
    targets: Targets,
    look: Look,
    data: dataset.Data,
    mode: training.Mode,
    min_coverage: o.MinCoverage = None,
    convention: conventions.Convention = None,
    rates: conventions.RatesFile = None,
    assume_rate: conventions.AssumeRate = None,
    witness: o.Witness = False,
) -> None:
    """Counts one inference of a model, and prices it on chips; with --data the mean inference of a data set.

    With --mode train it is one optimisation step: forward, backward and optimizer, on the input or its first --batch samples.
    The JSON holds the Counts (`snnenergy.Counts.load` reads them) with the estimates and their profiles beside them.
    """
    wanted = targets.checked()
    look.checked()
    _one_of(("witness", witness), ("convention", convention))
    _one_of(("rates", rates), ("assume-rate", assume_rate))
    _one_of(("meta", reading.meta), ("witness", witness))
    _one_of(("meta", reading.meta), ("data", data.data))
    data.checked(reading, wanted.get("json"))
    if mode.train:
        training.check(wanted, look)
        for name, value in _not_in_training(reading, data, convention, rates, assume_rate, witness):
            _one_of(("mode train", True), (name, value))
    chips = () if convention is not None else pricing.profiles()  # a chip that is not there is told before the run
    failure: BaseException | None = None
    seen: WitnessReport | None = None
    beside: tuple[Spread, ...] = ()
    if data.data is not None:
        if witness:
            raise UsageError("--witness and --data: give one of them; a second witness sees one input")
        columns = data.columns(wanted.get("json"))
        output.check(wanted | columns)
        overwriting.refuse(columns.items(), [data.data, model, *(reading.factory or ())])
        outcome = dataset.run(model, reading, data, wanted.get("json"), dataset.Chips(chips, pricing))
        if outcome is None:
            return  # the first rank delivers
        counts, failure, beside = outcome.counts, outcome.failure, outcome.spreads
        for file in columns.values():
            if outcome.columns is not None:
                output.write(file, outcome.columns)
    else:
        work = loaded(model, reading, 0, 1)
        counts = mode.count(work, pricing.batch, **_read(reading)) if mode.train else counts_of(work, reading)
        seen = _witness(work, counts) if witness else None
    counts = conventions.assumed(counts, rates, assume_rate)
    counted = {counts.model: counts}
    if convention is not None:
        conventions.deliver(counted, convention, wanted, pricing)
    else:
        made = pricing.of(counted, () if counts.empty else chips)
        deliver(made, wanted, look, alone=True, witness=seen, spreads=beside)
        pricing.demand_fit(made)
    if failure is not None:
        raise failure
    _demand(counted, min_coverage)


def _not_in_training(
    reading: o.Reading, data: dataset.Data, convention: Any, rates: Any, assume_rate: Any, witness: bool
) -> list[tuple[str, object]]:
    """Options that ask something of an inference."""
    given = {"data": data.data, "convention": convention, "rates": rates, "assume-rate": assume_rate}
    return [*given.items(), ("witness", witness), ("meta", reading.meta)]


def _one_of(*options: tuple[str, object]) -> None:
    """Raises UsageError where options that exclude each other were given."""
    given = [f"--{name}" for name, value in options if value not in (None, False)]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: give one of them")


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Model files, Counts or report JSON; NAME=FILE names one.")
    ],
    reading: o.Reading,
    pricing: o.Pricing,
    targets: Targets,
    look: Look,
    min_coverage: o.MinCoverage = None,
    convention: conventions.Convention = None,
    all_conventions: conventions.AllConventions = False,
) -> None:
    """Counts several models, or takes their stored Counts, and prices all of them on all chips."""
    wanted = targets.checked()
    look.checked()
    named = [_named(text) for text in models]
    fresh = [i for i, (_, target) in enumerate(named) if not stored.is_stored(Path(target))]
    sides = []
    for i, (name, target) in enumerate(named):
        made = _alone(_count(target, reading, fresh.index(i), len(fresh))) if i in fresh else stored.whole(Path(target))
        sides.append(_called(name, made))
    side = _together(sides)
    counted = side.counts
    if convention is not None and all_conventions:
        raise UsageError("--convention and --all-conventions: give one of them")
    if all_conventions:
        conventions.deliver_all(counted, wanted, pricing)
    elif convention is not None:
        conventions.deliver(counted, convention, wanted, pricing)
    else:
        made = _priced(side, pricing)
        deliver(made, wanted, look)
        pricing.demand_fit(made)
    _demand(counted, min_coverage)


def report(
    files: Annotated[
        list[str], typer.Argument(metavar="COUNTS...", help="Counts or report JSON; NAME=FILE names one.")
    ],
    pricing: o.Pricing,
    targets: Targets,
    look: Look,
    min_coverage: o.MinCoverage = None,
    convention: conventions.Convention = None,
    check_claims: conventions.ClaimsFile = None,
) -> None:
    """Prices stored Counts on chips; torch is never imported.

    One report alone, JSON or page, is shown as it was priced then; with a pricing option its chips are those it holds, and
    --hardware takes today's profiles.
    """
    wanted = targets.checked()
    look.checked()
    named = [(name, Path(target)) for name, target in map(_named, files)]
    sides = [_called(name, stored.whole(path)) for name, path in named]
    side = _together(sides)
    counted = side.counts
    if convention is not None:
        conventions.deliver(counted, convention, wanted, pricing)
    elif len(sides) == 1 and pricing == o.Pricing() and stored.is_report(named[0][1]):
        deliver(sides[0], wanted, look)
    else:
        made = _priced(side, pricing)
        deliver(made, wanted, look)
        pricing.demand_fit(made)
    _demand(counted, min_coverage)
    if check_claims is not None:
        conventions.check(check_claims, counted)


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the report goes.")] = Path(),
    hardware: Annotated[list[str] | None, o.hardware(o.FOUR)] = None,
    json: o.Json = None,
) -> None:
    """Profiles a digits ANN and SNN that ship with snnenergy on real test images, and compares them on four chips."""
    from snnenergy.shipped import shipped

    wanted = output.check({"json": json or str(out / f"{REPORT}.json"), "html": str(out / f"{REPORT}.html")})
    digits = shipped("examples") / "digits"
    reading = o.Reading(input=[str(digits / "digits.npz")])
    counted = {name: _count(str(digits / f"digits_{name}.pt2"), reading, 0, 1) for name in ("ann", "snn")}
    pricing = o.Pricing(hardware)
    comparison = pricing.of(counted, pricing.profiles())
    deliver(comparison, wanted, Look(), table=brief(comparison))
    if output.STDOUT not in wanted.values():
        output.show(
            f"\nLayers, caveats and sources are in the report, as JSON and as a page:\n  {wanted['json']}\n  {wanted['html']}\n"
            f"and on the terminal: snnenergy report {shlex.quote(wanted['json'])}"
        )


def _named(text: str) -> tuple[str | None, str]:
    """`NAME=FILE` as both; a file whose name holds `=` is itself."""
    name, _, target = text.partition("=")
    return (name, target) if name and target and not Path(text).exists() else (None, text)


def _alone(counts: Counts) -> Comparison:
    from snnenergy.cost.records import Comparison

    return Comparison({counts.model: counts}, ())


def _called(name: str | None, side: Comparison) -> Comparison:
    """What one file holds: by the name the user gave it, which is then one model's, or by its own names."""
    if name is None or list(side.counts) == [name]:
        return side
    if len(side.counts) > 1:
        models = ", ".join(side.counts)
        raise UsageError(f"{name}=: the file holds {len(side.counts)} models ({models}), so it cannot be named as one")
    estimates = tuple(replace(row, model=name) for row in side.estimates)
    counts = dict.fromkeys([name], *side.counts.values())
    shares = dict.fromkeys([name], *side.accuracy.values()) if side.accuracy else {}
    return replace(side, counts=counts, estimates=estimates, verdict="", accuracy=shares)


def _together(sides: Sequence[Comparison]) -> Comparison:
    """The models of several files with their accuracies, and all the profiles they hold; nothing priced."""
    from snnenergy.cost.records import Comparison

    names = [name for side in sides for name in side.counts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two models are called {twice!r}; name them apart, as in `before=FILE after=FILE`")
    return Comparison(
        {name: counts for side in sides for name, counts in side.counts.items()},
        (),
        profiles=tuple(chip for side in sides for chip in side.profiles),
        accuracy={name: share for side in sides for name, share in side.accuracy.items()},
    )


def _priced(side: Comparison, pricing: o.Pricing) -> Comparison:
    made = pricing.of(side.counts, pricing.profiles(side.profiles))
    return replace(made, accuracy={**made.accuracy, **side.accuracy})


def _count(source: str, reading: o.Reading, i: int, models: int) -> Counts:
    """Loads the i-th of so many models, and counts it on its input."""
    return counts_of(loaded(source, reading, i, models), reading)


def loaded(source: str, reading: o.Reading, i: int, models: int) -> Workload:
    options: dict[str, Any] = reading.of(i, models)
    output.progress(f"loading {source}")
    from snnenergy.load import load
    from snnenergy.load.batches import seed_everything

    seed_everything(reading.seed)  # a factory's weights, dropout and encoders of the model itself
    work = load(source, **options)
    for note in work.notes:
        say(f"note: {note}")
    return work


def counts_of(work: Workload, reading: o.Reading) -> Counts:
    output.progress(f"counting {work.name}")
    from snnenergy.trace.rest import STATE_LEFT
    from snnenergy.trace.workload import count_workload

    counts = count_workload(work, **_read(reading))
    for note in counts.identity.notes:
        if note.startswith(STATE_LEFT):
            say(f"note: {note}")
    if n := counts.conditions.nonfinite:
        say(dataset.no_numbers(n))
    return counts


def _read(reading: o.Reading) -> dict[str, Any]:
    """What counting is told of the input and the neurons."""
    return {"time_axis": reading.time_axis, "samples": reading.samples, "roles": reading.roles()}


def _witness(work: Workload, counts: Counts) -> WitnessReport:
    """What fvcore makes of the same forward."""
    output.progress(f"asking fvcore about {work.name}")
    from snnenergy.trace.witness import witness

    return witness(work.module, work.inputs, counts, kwargs=work.kwargs)


def _demand(counted: Mapping[str, Counts], percent: float | None) -> None:
    """Raises CoverageError where less than `percent` of a model's parameters or calls was counted."""
    from snnenergy.gate.compare import uncovered

    for name, counts in counted.items():
        for problem in uncovered(counts, percent or 0):
            raise problem.error(f"{name}: {problem.words}")
