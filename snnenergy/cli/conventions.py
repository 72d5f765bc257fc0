"""`snnenergy conventions`, and what `--convention`, `--all-conventions`, `--rates` and `--check-claims` do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy import untrusted
from snnenergy.cli import options as o
from snnenergy.cli import output
from snnenergy.cli.runner import command, say
from snnenergy.errors import BudgetError, UsageError

if TYPE_CHECKING:
    from snnenergy.cost.convention_rates import Rate
    from snnenergy.cost.convention_rules import Convention as Rule
    from snnenergy.cost.conventions import ConventionResult
    from snnenergy.counts import Counts

Convention = Annotated[
    str | None,
    typer.Option(
        "--convention", metavar="NAME", help="Count and price as others do, and not on a chip: see `conventions list`."
    ),
]
AllConventions = Annotated[
    bool, typer.Option("--all-conventions", help="One row per convention and model, and not on a chip.")
]
RatesFile = Annotated[
    Path | None,
    typer.Option("--rates", metavar="FILE", help="Firing rates by layer (JSON), assumed and not measured."),
]
AssumeRate = Annotated[
    float | None,
    typer.Option(
        "--assume-rate", min=0, max=1, metavar="SHARE", help="Firing rate of every neuron, assumed and not measured."
    ),
]
ClaimsFile = Annotated[
    Path | None,
    typer.Option(
        "--check-claims", metavar="FILE", help="Flags known mistakes in a table of claims (YAML); exit 1 on one."
    ),
]
MAX_RATES_BYTES = 1 << 24

app = typer.Typer(no_args_is_help=True, help="Counting conventions: list, show, reproduce.")


def show_all(json: o.Json = None) -> None:
    """The conventions that can be named, one a line; `name:variant` names a variant."""
    from snnenergy.cost.conventions import list_conventions

    targets = output.check({"json": json})
    found = list_conventions()
    rows = [(c.name, c.title, ", ".join(c.variants)) for c in found]
    documents = {"json": output.as_json([c.model_dump(mode="json") for c in found])} if json else {}
    output.deliver(documents, targets, output.table(("name", "title", "variants"), rows, numbers=False))


def show(
    name: Annotated[str, typer.Argument(metavar="CONVENTION", help="A name, name:variant or a YAML path.")],
    json: o.Json = None,
) -> None:
    """Every rule of a convention, its prices and where it is written down."""
    from snnenergy.cost.conventions import load

    targets = output.check({"json": json})
    convention = load(name)
    documents = {"json": output.as_json(convention.model_dump(mode="json"))} if json else {}
    output.deliver(documents, targets, _described(convention))


def reproduce(json: o.Json = None, markdown: o.Markdown = None) -> None:
    """Published tables, computed again under their own conventions; exit 1 when one misses by more than its tolerance."""
    from snnenergy.cost import published

    wanted = output.check({"json": json, "markdown": markdown})
    rows = published.reproductions()
    documents = {
        "json": output.as_json(
            [dataclasses.asdict(r) | {"difference": r.difference, "passed": r.passed} for r in rows]
        ),
        "markdown": published.markdown(rows),
    }
    head = ("workload", "quantity", "published", "ours", "difference", "rule")
    cells = [
        (r.title, r.quantity, f"{r.published:.11g} {r.unit}", f"{r.ours:.11g}", f"{r.difference:.2g}", r.rule)
        for r in rows
    ]
    table = output.table(head, cells, numbers=False)
    output.deliver({form: documents[form] for form in wanted}, wanted, table)
    if missed := [f"{r.title}, {r.quantity}: off by {r.difference:.3g} {r.unit}" for r in rows if not r.passed]:
        raise BudgetError("\n".join(missed))


def _described(rule: Rule) -> str:
    rules = rule.rules.model_dump(mode="json")
    charges = ", ".join(f"{domain}: {charge}" for domain, charge in rules.pop("charges").items())
    prices = "none: it counts and does not price"
    if rule.energy is not None:
        prices = ", ".join(f"{name} {joules:.6g} J" for name, joules in rule.energy.model_dump().items() if joules)
    lines = [f"{rule.name}: {rule.title}", *output.wrapped(rule.summary), ""]
    lines += [f"charges       {charges}", *(f"{name:<13} {_rule(value)}" for name, value in rules.items())]
    lines += [f"prices        {prices}"]
    lines += [f"variant       {rule.name}:{name}" for name in rule.variants]
    lines += [f"note          {note}" for note in rule.notes]
    lines += [f"source        {source}" for source in rule.sources]
    return "\n".join(lines) + "\n"


def _rule(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    cells = (f"{name} {_rule(v) if isinstance(v, Mapping) else format(v, 'g')}" for name, v in value.items() if v)
    return ", ".join(cells) or "free"


def assumed(counts: Counts, file: Path | None, rate: float | None) -> Counts:
    """The counts with the firing rates of a JSON file, or one rate for every neuron; as they are where neither is given."""
    from snnenergy.cost.convention_rates import assume_rate, price_rates

    if rate is not None:
        return dataclasses.replace(assume_rate(counts, rate), model=f"{counts.model} (assumed rate)")
    if file is None:
        return counts
    return dataclasses.replace(price_rates(counts, _rates(file)), model=f"{counts.model} (assumed rates)")


def _rates(file: Path) -> Mapping[str, Rate]:
    """A JSON file `{"layer": 0.1, "product": [0.1, 0.2]}`."""
    try:
        if untrusted.regular(file).st_size > MAX_RATES_BYTES:
            raise UsageError(f"{file}: larger than {MAX_RATES_BYTES >> 20} MiB; this is no file of rates")
        found = untrusted.json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not a JSON file: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise UsageError(f'{file}: expected an object such as {{"layer1": 0.1}}, found {str(found)[:40]!r}')
    return {path: tuple(rate) if isinstance(rate, list) else rate for path, rate in found.items()}


def deliver(counted: Mapping[str, Counts], convention: str, wanted: Mapping[str, str], pricing: o.Pricing) -> None:
    """Every model under one convention: totals and layers."""
    from snnenergy.cost.conventions import apply, load

    _only(wanted, pricing, "--convention")
    rule = load(convention)
    made = [dataclasses.replace(apply(counts, rule), model=name) for name, counts in counted.items()]
    documents = {"json": lambda: output.as_json({"results": [dataclasses.asdict(r) for r in made]})}
    title = f"as counted by {rule.name}: {rule.title}"
    body = [*output.wrapped(title), "", _totals(made), *(_layers(r) for r in made), *_notes(made)]
    output.deliver({form: documents[form]() for form in wanted}, wanted, "\n".join(body) + "\n")


def deliver_all(counted: Mapping[str, Counts], wanted: Mapping[str, str], pricing: o.Pricing) -> None:
    """Every model under every convention."""
    from snnenergy.cost.conventions import compare_all
    from snnenergy.report import quantities as q

    _only(wanted, pricing, "--all-conventions")
    rows = compare_all(counted)
    cells = [
        (
            r.convention,
            r.model,
            q.count(r.acs),
            q.count(r.macs),
            "-" if r.energy_joules is None else q.quantity(r.energy_joules, "J"),
            "-" if r.ratio is None else f"{r.ratio:.3g}",
        )
        for r in rows
    ]
    first = next(iter(counted))
    head = ("convention", "model", "ACs", "MACs", "energy", "ratio")
    lines = output.wrapped(f"per inference; ratio: energy of {first} over the row's, both under the row's convention")
    table = "\n".join([*lines, "", output.table(head, cells)])
    documents = {"json": lambda: output.as_json({"rows": [dataclasses.asdict(r) for r in rows]})}
    output.deliver({form: documents[form]() for form in wanted}, wanted, table)


def check(file: Path, counted: Mapping[str, Counts]) -> None:
    """Shows what is wrong with a table of claims; BudgetError when something is."""
    from snnenergy.cost.convention_claims import check_claims, read_claims, with_counts

    found = check_claims(with_counts(read_claims(file), counted))
    if found:
        raise BudgetError("\n".join([f"{file}: the numbers of this table do not go together", *map(str, found)]))
    say(f"{file}: no known mistake shows in its numbers")


def _only(wanted: Mapping[str, str], pricing: o.Pricing, option: str) -> None:
    """A convention prices instead of a chip, and has a table and JSON."""
    if replaced := sorted(set(wanted) - {"json"}):
        raise UsageError(f"{option}: writes a table and --json, not --{replaced[0].replace('_', '-')}")
    if dataclasses.replace(pricing, hardware=None) != o.Pricing() or pricing.hardware not in (None, [o.NO_CHIP]):
        raise UsageError(f"{option} prices by rule and not on a chip: leave out --hardware and how it runs")


def _totals(made: Sequence[ConventionResult]) -> str:
    from snnenergy.report import quantities as q

    head = ("per inference", "ACs", "MACs", "dense", "operations", "energy")
    rows = [
        (
            r.model,
            q.count(r.acs),
            q.count(r.macs),
            q.count(r.dense),
            q.count(r.ops),
            "-" if r.energy_joules is None else q.quantity(r.energy_joules, "J"),
        )
        for r in made
    ]
    return output.table(head, rows)


def _layers(made: ConventionResult) -> str:
    from snnenergy.report import quantities as q

    rows = [
        (
            layer.path,
            q.count(layer.acs),
            q.count(layer.macs),
            "-" if layer.energy_joules is None else q.quantity(layer.energy_joules, "J"),
        )
        for layer in made.layers
        if layer.acs or layer.macs or layer.energy_joules
    ]
    return output.table((made.model, "ACs", "MACs", "energy"), rows)


def _notes(made: Sequence[ConventionResult]) -> list[str]:
    return [f"note: {note}" for note in dict.fromkeys(note for r in made for note in r.notes)]


command(app, show_all, "list")
for run in (show, reproduce):
    command(app, run)
