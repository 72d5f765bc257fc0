"""`docs/hardware.md`: what is known of every chip, from where, how well, and what is unknown; written from the profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from snnenergy.hardware.figures import Count, Figure
from snnenergy.hardware.profile import Profile
from snnenergy.hardware.quantity import show

HEAD = """# Hardware

Written from `hardware_profiles/*.yaml`; a test holds it equal to them.  A chip is added by one file: copy the nearest,
change it until `snnenergy hardware lint FILE` is silent.  Every figure says how it is known: *measured* on silicon, *fitted*
to measurements, *simulated* before silicon, *datasheet* of the maker, *published* without saying how, *derived* by the
arithmetic in its note, *proxy* of something else.  Low and high are the value itself where no spread is published.
The band is what `snnenergy validate` finds (see [validation](validation.md)); a chip without a row there is unvalidated.
"""


def markdown(chips: Iterable[Profile], band: Callable[[Profile], str]) -> str:
    """The whole page."""
    chips = list(chips)
    rows = [f"| [`{c.name}`](#{c.name}) | {c.title} | {c.node} | {c.latency.model} | {band(c)} |" for c in chips]
    table = ["| name | chip | node | time | validated band |", "|---|---|---|---|---|", *rows, ""]
    return "\n".join([HEAD, *table, *(line for chip in chips for line in _chip(chip, band(chip)))])


def _chip(chip: Profile, band: str) -> list[str]:
    charges = ", ".join(f"{d} {getattr(chip.charges, d)}" for d in ("spike", "ternary", "graded", "analog"))
    aliases = f" (also {', '.join(f'`{a}`' for a in chip.aliases)})" if chip.aliases else ""
    lines = [f"## {chip.name}", "", f"{chip.title}{aliases}. {chip.summary}", "", f"Band: {band}.", ""]
    lines += [f"Charges: {charges}. {chip.charges.note}", ""]
    figures = [_figure(place, figure) for place, figure in chip.figures().items()]
    lines += [
        "| figure | value | low to high | how | source | conditions and notes |",
        "|---|---|---|---|---|---|",
        *figures,
        "",
    ]
    lines += _listed("Operating points", [f"{name}: {p.note}" for name, p in chip.operating_points.items()])
    lines += _listed("Assumed", chip.assumptions)
    lines += _listed("Unknown", [f"{figure}: {effect}" for figure, effect in chip.unknown.items()])
    lines += _listed(
        "Published, never charged", [f"{r.quantity}, {r.value} ({r.source}): {r.note}" for r in chip.reported]
    )
    return [*lines, *_listed("Sources", [_source(name, chip) for name in chip.sources])]


def _figure(place: str, figure: Figure | Count) -> str:
    words = "; ".join(w for w in (figure.conditions, figure.note) if w).replace("|", "/")
    if isinstance(figure, Count):
        return f"| {place} | {figure.value:,} | | {figure.how} | {figure.source} | {words} |"
    unit = figure.dimension
    interval = f"{show(figure.low, unit)} to {show(figure.high, unit)}" if figure.spread else ""
    return f"| {place} | {show(figure.value, unit)} | {interval} | {figure.how} | {figure.source} | {words} |"


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    rows = [f"- {line}" for line in lines]
    return [f"{title}:", "", *rows, ""] if rows else []


def _source(name: str, chip: Profile) -> str:
    source = chip.sources[name]
    where = f"doi:{source.doi}" if source.doi else source.url or ""
    parts = (source.authors, source.title, source.venue, str(source.year or ""), where, source.note)
    return f"`{name}`: {', '.join(p for p in parts if p)}"
