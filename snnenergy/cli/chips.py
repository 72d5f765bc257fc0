"""`snnenergy hardware`: the chips that are known, and what is known of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output
from snnenergy.cli.runner import command
from snnenergy.errors import ProfileError, UsageError

if TYPE_CHECKING:
    from snnenergy.hardware import Profile

app = typer.Typer(no_args_is_help=True, help="Hardware profiles: list, show, lint, init, schema.")


KINDS = ("neuromorphic", "processor", "datapath")
LEVELS = ("validated", "sourced", "proxy", "unpublished")


def show_all(
    kind: Annotated[str | None, typer.Option("--kind", metavar="|".join(KINDS), help="Only chips of a kind.")] = None,
    evidence: Annotated[
        str | None, typer.Option("--evidence", metavar="|".join(LEVELS), help="Only chips known that well.")
    ] = None,
    node: Annotated[str | None, typer.Option("--node", metavar="TEXT", help="Only nodes with this text.")] = None,
    json: o.Json = None,
) -> None:
    """The chips that can be named, one a line: node, kind, and how well each is known."""
    from snnenergy.cost import validate
    from snnenergy.hardware import list_hardware

    targets = output.check({"json": json})
    for option, word, known in (("--kind", kind, KINDS), ("--evidence", evidence, LEVELS)):
        if word is not None and word not in known:
            raise UsageError(f"{option} {word}: expected one of {', '.join(known)}")
    chips = [c for c in list_hardware() if kind in (None, c.family) and (node or "").lower() in c.node.lower()]
    known_by = {c.name: level for c in chips if (level := validate.evidence(c)).startswith(evidence or "")}
    chips = [c for c in chips if c.name in known_by]
    rows = [(c.name, c.node, c.family, known_by[c.name]) for c in chips]
    head = ("name", "node", "kind", "evidence")
    made = [c.model_dump(mode="json") | {"evidence": known_by[c.name]} for c in chips] if json else []
    output.deliver({"json": output.as_json(made)} if json else {}, targets, output.columns(head, rows))


def show(
    name: Annotated[str, typer.Argument(metavar="CHIP", help="A name, an alias or a YAML path.")],
    cite: Annotated[bool, typer.Option("--cite", help="Print the sources as BibTeX, and nothing else.")] = False,
    json: o.Json = None,
) -> None:
    """Every figure of a chip with its range, how it is known and its source; and what is unknown."""
    from snnenergy.hardware import bibtex, load_hardware
    from snnenergy.report.escape import plain

    targets = output.check({"json": json})
    chip = load_hardware(name)
    if cite:
        output.deliver({}, targets, "".join(f"{plain(line)}\n" for line in bibtex.render(chip).splitlines()))
        return
    documents = {"json": output.as_json(chip.model_dump(mode="json"))} if json else {}
    output.deliver(documents, targets, _described(chip))


def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Profile YAML files.")], json: o.Json = None
) -> None:
    """Checks profile files: each thing that is wrong as file:line:col; exit 2 when there is one.  Explains every gap."""
    from snnenergy.hardware import lint as check
    from snnenergy.report.escape import plain

    targets = output.check({"json": json})
    found = [finding for file in files for finding in check(file)]
    documents = (
        {"json": output.as_json([{"where": f.where, "key": f.key, "message": f.message} for f in found])}
        if json
        else {}
    )
    told = "".join(f"{plain(str(finding))}\n" for finding in found) or f"{_explained(files)}{len(files)} sound\n"
    output.deliver(documents, targets, told)
    if found:
        raise typer.Exit(ProfileError.exit_code)


def _explained(files: list[Path]) -> str:
    """The gaps of sound files, one paragraph each."""
    from snnenergy.hardware import load_hardware
    from snnenergy.hardware.gaps import gaps
    from snnenergy.report.escape import plain

    lines = [plain(f"{file}: gap: {place}: {effect}") for file in files for place, effect in gaps(load_hardware(file))]
    return "".join(f"{line}\n" for text in lines for line in output.wrapped(text))


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to write.")],
    force: o.Force = False,
    json: o.Json = None,
) -> None:
    """Writes a sound profile of a chip of your own, with a comment at every choice."""
    from snnenergy.hardware import skeleton

    targets = output.check({"json": json})
    if file.suffix != ".yaml" or not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,39}", file.stem):
        raise UsageError(
            f"{file}: expected a name of small letters, digits and _ that ends in .yaml, such as my_chip.yaml"
        )
    output.keep(file, force=force)
    output.write(str(file), skeleton.render(file.stem))
    documents = {"json": output.as_json({"profile": str(file)})} if json else {}
    output.deliver(documents, targets, f"written: {file}\nnext: edit it, then: snnenergy hardware lint {file}\n")


def schema(
    json: Annotated[str, typer.Option("--json", metavar="FILE|-", help="Where the schema goes.")] = output.STDOUT,
) -> None:
    """The JSON Schema of a profile file, for editors."""
    from snnenergy.hardware import json_schema

    targets = output.check({"json": json})
    output.deliver({"json": output.as_json(json_schema())}, targets, table="")


def _described(chip: Profile) -> str:
    from snnenergy.hardware import sheet
    from snnenergy.hardware.figures import Figure
    from snnenergy.report import quantities as q

    rows = []
    for place, figure in chip.figures().items():
        unit = figure.dimension if isinstance(figure, Figure) else ""
        spread = (
            f"[{q.quantity(figure.low, unit)}, {q.quantity(figure.high, unit)}]"
            if isinstance(figure, Figure) and figure.spread
            else ""
        )
        value = q.quantity(figure.value, unit) if isinstance(figure, Figure) else str(figure.value)
        rows.append((place, value, spread, figure.how, figure.source))
    charges = ", ".join(
        f"{domain}: {getattr(chip.charges, domain)}" for domain in ("spike", "ternary", "graded", "analog")
    )
    head = [f"{chip.name}: {chip.title} ({chip.family}, {chip.node})", chip.summary]
    facts = [f"charges   {charges}", f"node      {sheet.cited(chip.node, chip.node_source)}"]
    facts += [f"neurons   {words}"] if (words := sheet.supported(chip.supports)) else []
    tail = [f"unknown   {name}: {effect}" for name, effect in chip.unknown.items()]
    tail += [f"assumed   {assumption}" for assumption in chip.assumptions]
    tail += [
        f"source    {key}: {', '.join(filter(None, (s.authors, s.title, s.doi or s.url)))}"
        for key, s in chip.sources.items()
    ]
    figures = output.table(("figure", "value", "range", "how", "source"), rows, numbers=False)
    return "\n".join([*output.told(head), "", *output.told(facts), "", figures, *output.told(tail)]) + "\n"


command(app, show_all, "list")
for run in (show, lint, init, schema):
    command(app, run)
