"""`docs/hardware.md`: what is known of every chip, from where, how well, and what is unknown; written from the profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from snnenergy.hardware.figures import Count, Figure
from snnenergy.hardware.profile import Profile, Supports
from snnenergy.hardware.quantity import show

HEAD = """# Hardware

Written from `hardware_profiles/*.yaml`; a test holds it equal to them.  A chip is added by one file; [the last
section](#a-chip-of-your-own) walks through one.  Every figure says how it is known: *measured* on silicon, *fitted*
to measurements, *simulated* before silicon, *datasheet* of the maker, *published* without saying how, *derived* by the
arithmetic in its note, *proxy* of something else.  Low and high are the value itself where no spread is published.
The band is what `snnenergy validate` finds (see [validation](validation.md)); a chip without a row there is unvalidated.
`--scale-node 7` carries a 45 nm datapath to another node by published equations; it is never done unasked, it is a guess (an
int8 MAC at 7 nm comes out sixfold too low), and the report says so; [`jouppi_int8`](#jouppi_int8) and its like hold a table
published for 7 nm.
"""

ABSENT = """## Not here

- Memory of a 7 nm datapath: the same table prints it, but no capacity that a chip would have.
- Time on the desktop processor and on the simulator GeNN: what starting an operation costs was not found in a readable source.
- GeNN on a processor, which ostrau2022 fits as well: the spread of its energy of a spike is four times the value.
- Xylo's measured sound model: its figures come without spike counts, so it cannot be computed again.
"""

WALK = """## A chip of your own

Write a sound profile with a comment at every choice, and ask what it does not know:

```console
$ snnenergy hardware init my_chip.yaml
$ snnenergy hardware lint my_chip.yaml
```

Lint names what is wrong as `file:line:col` and exits 2; in a sound file it explains every gap, such as
`my_chip.yaml: gap: power.static: not measured yet; the total is dynamic energy only`.  Now put in what is known.  A bench
found 12.5 pJ a synaptic event and 3 mW while the chip waits, so the null and its words go:

```diff
-  synop: {value: 10 pJ, low: 8 pJ, high: 14 pJ, source: mine, how: proxy, note: replace this}
+  synop: {value: 12.5 pJ, low: 12 pJ, high: 13 pJ, source: mine, how: measured, conditions: "0.8 V, 25 C"}
-  static: null  # charged for as long as the chip is held
+  static: {value: 3 mW, source: mine, how: measured}
-  power.static: not measured yet; the total is dynamic energy only
```

The file is a chip wherever one is named.  Stored counts are priced again without the model (here those of
[`reports/digits.json`](../reports/digits.json)), and the sources come out as BibTeX:

```console
$ snnenergy hardware lint my_chip.yaml
$ snnenergy report digits.json --hardware my_chip.yaml
$ snnenergy hardware show my_chip.yaml --cite
```

The spiking net of that report makes 47.6 k events in ten steps of 1 ms: 47.6 k x 12.5 pJ = 595 nJ, and 3 mW x 10 ms = 30 uJ
of static power.  The analog net is refused, because `charges`
says so.  Publish a measurement of the chip as a row like those of `hardware_profiles/validation/workloads.yaml`, and the chip
has a band.
"""


def markdown(chips: Iterable[Profile], band: Callable[[Profile], str]) -> str:
    """The whole page."""
    chips = list(chips)
    rows = [f"| [`{c.name}`](#{c.name}) | {c.title} | {c.node} | {c.latency.model} | {band(c)} |" for c in chips]
    table = ["| name | chip | node | time | validated band |", "|---|---|---|---|---|", *rows, ""]
    return "\n".join([HEAD, *table, *(line for chip in chips for line in _chip(chip, band(chip))), ABSENT, WALK])


def _chip(chip: Profile, band: str) -> list[str]:
    charges = ", ".join(f"{d} {getattr(chip.charges, d)}" for d in ("spike", "ternary", "graded", "analog"))
    aliases = f" (also {', '.join(f'`{a}`' for a in chip.aliases)})" if chip.aliases else ""
    lines = [f"## {chip.name}", "", f"{chip.title}{aliases}. {chip.summary}", "", f"Band: {band}.", ""]
    lines += [f"Charges: {charges}. {chip.charges.note}", ""]
    lines += [f"Node: {cited(chip.node, chip.node_source)}.", ""]
    if words := supported(chip.supports):
        lines += [f"Neurons: {words}.", ""]
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


def cited(text: str, source: str | None) -> str:
    """A text with the key of its source, where it has one."""
    return f"{text} ({source})" if source else text


def supported(supports: Supports) -> str:
    """Neuron models and what is known of bias, in words; nothing where neither is known."""
    words = (", ".join(supports.neuron_models or ()), supports.bias and f"bias: {supports.bias}")
    text = "; ".join(w for w in words if w)
    return cited(text, supports.source) if text else ""


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
