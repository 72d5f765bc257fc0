"""The report on a terminal: one screen first, then the layers; plain ASCII unless colour is asked for."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from snnenergy.cost.records import Comparison
from snnenergy.report import layers as L
from snnenergy.report import published, summary, why
from snnenergy.report import quantities as q
from snnenergy.report.escape import ascii_only, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from snnenergy.cost.records import Estimate
    from snnenergy.counts import Counts

WIDTH = 80
MIN_WIDTH = 60
BAR = 8
RANGE = 18
GLUE = "\ue000"
"""Stands for the space between a number and its unit while lines are broken: a private character as wide as a space."""
TOP = 12
"""Layers of each model that a brief report shows."""


def _padded(text: str, width: int, side: str) -> str:
    space = " " * (width - cell_len(text))
    return text + space if side == "left" else space + text


def _broken(path: str, width: int) -> Iterator[str]:
    """A long path in lines that end at its dots, as far as they can."""
    line = ""
    for letter in path:
        if cell_len(line + letter) > width:
            end = line.rfind(".") + 1 or len(line)
            yield line[:end]
            line = line[end:]
        line += letter
    yield line


class _Page:
    """Lines of one report: a console that writes into memory, and the one place where text is made harmless."""

    def __init__(self, width: int | None, color: bool) -> None:
        self.width = max(width or WIDTH, MIN_WIDTH)
        self.color = color
        self.safe = plain if color else ascii_only
        self.bar = "█" if color else "#"
        self._file = io.StringIO()
        self._console = Console(
            file=self._file, width=self.width, force_terminal=color, no_color=not color, highlight=False, markup=False,
            emoji=False, legacy_windows=False, color_system="standard" if color else None, _environ={},
        )  # fmt: skip  # one constructor, read across

    def line(self, text: str = "", style: str = "", indent: int = 0) -> None:
        """Wrapped prose; continuation lines hang two columns further in."""
        room = self.width - indent - 2
        bound = Text(q.bound(self.safe(text), GLUE), style=style)
        wrapped = bound.wrap(self._console, room + 2) if text else [Text()]
        if len(wrapped) > 1:
            wrapped = bound.wrap(self._console, room)
        for i, part in enumerate(wrapped):
            part.plain = part.plain.rstrip().replace(GLUE, " ")
            self._console.print(Text(" " * (indent + 2 * bool(i))) + part, soft_wrap=True)

    def heading(self, text: str) -> None:
        self.line()
        self.line(text, "bold")

    def table(
        self, columns: Sequence[tuple[str, int | None]], rows: Iterable[tuple[str, Sequence[str]]], *, left: int = 1
    ) -> None:
        """rows: (style, cells).  The column of width None takes what is left; the first `left` columns are left-aligned."""
        taken = sum(width + 1 for _, width in columns if width)
        spare = max(self.width - taken, 8)
        widths = [width or spare for _, width in columns]
        while sum(widths) + len(widths) - 1 > self.width:  # a narrow screen takes from the widest
            widths[widths.index(max(widths))] -= 1
        sides = ["left" if i < left or not title else "right" for i, (title, _) in enumerate(columns)]
        self._row("dim", [title for title, _ in columns], widths, sides)
        for style, cells in rows:
            self._row(style, cells, widths, sides)

    def _row(self, style: str, cells: Sequence[str], widths: Sequence[int], sides: Sequence[str]) -> None:
        """One row, of as many lines as its longest cell needs.  Written by hand: rich takes 1 ms a row."""
        folded = [self._folded(self.safe(cell), width) for cell, width in zip(cells, widths, strict=True)]
        for i in range(max(map(len, folded))):
            parts = (lines[i] if i < len(lines) else "" for lines in folded)
            line = " ".join(map(_padded, parts, widths, sides)).rstrip()
            if self.color and style:
                self._console.print(Text(line, style=style), soft_wrap=True)
            else:
                self._file.write(f"{line}\n")

    def _folded(self, cell: str, width: int) -> list[str]:
        if cell_len(cell) <= width:
            return [cell]
        if " " not in cell:
            return list(_broken(cell, width))
        return [part.plain.rstrip() for part in Text(cell, overflow="fold").wrap(self._console, width)]

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._file.getvalue().splitlines()).strip("\n") + "\n"


def render(
    comparison: Comparison,
    *,
    width: int | None = None,
    color: bool = False,
    depth: int | None = None,
    sort: str | None = None,
    top: int | None = None,
    brief: bool = False,
) -> str:
    """The whole report; raises UsageError for a depth, sort or top that means nothing.

    brief: of each model only the TOP layers that cost most, and how to see the others
    """
    page = _Page(width, color)
    page.line(summary.headline(comparison), "bold")
    for note in summary.notes(comparison):
        page.line(f"note: {note}", "yellow")
    _reasons(page, comparison)
    for model in comparison.models:
        _grid(page, comparison, model)
    _ledger(page, comparison)
    remarks = summary.remarks(comparison)
    if remarks:
        page.line()
        page.line(
            f"{len(remarks)} remark{'s stand' if len(remarks) > 1 else ' stands'} beside these numbers: see the end.",
            "yellow",
        )
    for model in comparison.models:
        _layers(page, comparison.counts[model], model, _shown(comparison, model), depth, sort, top, brief)
    _legend(page)
    _remarks(page, comparison, remarks)
    return page.text()


def render_counts(
    counts: Counts,
    *,
    width: int | None = None,
    color: bool = False,
    depth: int | None = None,
    sort: str | None = None,
    top: int | None = None,
    brief: bool = False,
) -> str:
    """A profile without hardware: the same layer table with no joule in it."""
    page = _Page(width, color)
    comparison = Comparison(
        {counts.model: counts},
        (),
        verdict=f"{counts.model}: {_activity(counts)} per inference ({summary.conditions(counts)}).",
    )
    page.line(summary.headline(comparison), "bold")
    for note in summary.notes(comparison):
        page.line(f"note: {note}", "yellow")
    _ledger(page, comparison)
    _layers(page, counts, counts.model, None, depth, sort, top, brief)
    _legend(page)
    return page.text()


def _activity(counts: Counts) -> str:
    known = [f"{q.count(counts.per_inference(n))} {word}" for n, word in (("acs", "ACs"), ("macs", "MACs"))]
    parts = known if counts.seen else ["ACs and MACs not known"]
    parts.append(f"{q.count(counts.per_inference('dense_macs'))} dense")
    return ", ".join(parts)


def _reasons(page: _Page, comparison: Comparison) -> None:
    """Chip by chip, which model is cheaper, by how much and why; and how far the chips are known."""
    rows = why.rows(comparison)
    if rows:
        page.line()
        cheaper = min(max(len("cheaper"), *(len(row.cheaper) for row in rows)), 16)
        by = max(len("by"), *(len(row.by) for row in rows))
        columns = [("chip", _chip_width(comparison)), ("cheaper", cheaper), ("by", by), ("mostly because of", None)]
        page.table(columns, (("", (row.chip, row.cheaper, row.by, row.why)) for row in rows), left=4)
    bands = {e.hardware: e.band for e in comparison.estimates}
    known = [chip for chip, band in bands.items() if not band.startswith("unvalidated")]
    unknown = [chip for chip in bands if chip not in known]
    sides = (("validated against silicon", known), ("not validated", unknown))
    page.line("; ".join(f"{label}: {', '.join(chips)}" for label, chips in sides if chips))


def _chip_width(comparison: Comparison) -> int:
    return min(max(4, *(len(chip) for chip in comparison.hardware)), 17)


def _grid(page: _Page, comparison: Comparison, model: str) -> None:
    counts = comparison.counts[model]
    page.line()
    page.line(f"{model}: {_activity(counts)} ({summary.conditions(counts)}; {summary.coverage(counts)})", "cyan")
    estimates = summary.of_model(comparison, model)
    if estimates:
        columns = [("chip", _chip_width(comparison)), ("energy", 11), ("range", RANGE), ("latency", 8), ("EDP", 10)]
        page.table([*columns, ("fit", None)], (_grid_row(e) for e in estimates))
    short = [f"{e.hardware}: {words}" for e in estimates if (words := summary.short(e))]
    if short:
        page.line(f"in short: {'; '.join(short)}")


def _grid_row(e: Estimate) -> tuple[str, tuple[str, ...]]:
    latency, edp = (None if r is None else r.nominal for r in (e.latency, e.edp))
    numbers = (q.interval(e.energy, "J"), q.quantity(latency, "s"), q.quantity(edp, "J s"))
    cells = (e.hardware, summary.energy(e), *numbers, summary.fit(e))
    unfit = e.fit.fits is False and e.fit.at_bits is None
    style = "red" if e.energy is None or unfit else "yellow" if e.partial or e.fit.at_bits else ""
    return style, cells


def _ledger(page: _Page, comparison: Comparison) -> None:
    rows = summary.ledger(comparison)
    if not rows:
        return
    page.heading("Uncounted: arithmetic that has no rule, in none of the numbers")
    for model, row in rows:
        held = f", {row.parameters} parameters" if row.parameters else ""
        why = f": {row.reason}" if row.reason else ""
        page.line(
            f"{model}: {row.path}: {row.op}, {row.calls} call{'s' if row.calls != 1 else ''}{held}{why}", indent=2
        )


def _remarks(page: _Page, comparison: Comparison, rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        page.heading("Read this beside the numbers")
    for who, what in rows:
        page.line(f"{who}: {what}", indent=2)
    if bands := {e.hardware: e.band for e in comparison.estimates}:
        page.heading("Validated against silicon")
        for chip, band in bands.items():
            page.line(f"{chip}: {band}", indent=2)


def _shown(comparison: Comparison, model: str) -> Estimate | None:
    """The chip whose joules stand in a model's layer table: the first that prices it in full, else in part."""
    priced = [e for e in summary.of_model(comparison, model) if e.energy is not None]
    return min(priced, key=lambda e: e.partial, default=None)


def _layers(
    page: _Page,
    counts: Counts,
    model: str,
    estimate: Estimate | None,
    depth: int | None,
    sort: str | None,
    top: int | None,
    brief: bool,
) -> None:
    on = f", energy on {estimate.hardware}" if estimate else ""
    page.heading(f"Layers of {model}, per inference{on}")
    made = L.rows(counts, *((estimate.layers, estimate.breakdown) if estimate else ()), depth=depth)
    if not made:
        page.line("no layer was counted", indent=2)
        return
    total = L.summed(made)
    cut = brief and top is None and len(made) > TOP + 1
    if cut:
        sort, top = sort or ("energy" if estimate else "operations"), TOP
    columns: list[tuple[str, int | None]] = [
        ("layer", None),
        ("ACs", 6),
        ("MACs", 6),
        ("dense", 6),
        ("sparse", 6),
        ("rate", 6),
    ]
    if estimate:
        columns += [("energy", 7), ("share", 6), ("", BAR)]
    else:
        columns += [("neurons", 7), ("share", 6), ("", BAR)]
    rows = L.arranged(made, sort, top)
    largest = max((_weight(r, estimate) or 0.0 for r in made if r.path != L.CHIP), default=0.0)
    cells = [("", (*_cells(r, total, estimate), _bar(page, _weight(r, estimate), largest))) for r in rows]
    page.table(columns, [*cells, ("bold", (*_cells(total, total, estimate), ""))])
    if cut:
        page.line(f"{len(made) - TOP} more layers stand in one row: --top 0 shows all", "yellow", indent=2)
    _odd(page, made)
    _synapses(page, made)


ODD = 6
"""Layers named for their silent or saturated neurons, those with most of them."""


def _odd(page: _Page, made: Sequence[L.Row]) -> None:
    """Neurons that never, or always, fire: of the layers with most of them."""
    for label in ("silent", "saturated"):
        found = sorted(((getattr(r, label), r.path) for r in made if getattr(r, label)), key=lambda row: -row[0])
        named = [f"{path} {q.percent(value)}" for value, path in found[:ODD]]
        if named:
            more = f" and {len(found) - ODD} layers more" if len(found) > ODD else ""
            page.line(f"{label} neurons: {', '.join(named)}{more}", indent=2)


def _synapses(page: _Page, made: Sequence[L.Row]) -> None:
    """Spikes that one synapse carries, of the layers where they are most, beside what was published about such numbers."""
    found = sorted(((r.per_synapse, r.path) for r in made if r.per_synapse is not None), key=lambda row: -row[0])
    if found:
        more = f" and {len(found) - ODD} layers more" if len(found) > ODD else ""
        page.line(
            f"spikes per synapse: {', '.join(f'{path} {q.number(v)}' for v, path in found[:ODD])}{more}", indent=2
        )
        page.line(f"({published.limits()})", indent=2)


def _weight(row: L.Row, estimate: Estimate | None) -> float | None:
    """What shares and bars are of: joules, or effective operations where no chip prices them."""
    return row.joules if estimate else None if row.acs is None or row.macs is None else row.acs + row.macs


def _bar(page: _Page, value: float | None, largest: float) -> str:
    """Full at the largest layer; cut there for what is no layer's."""
    return page.bar * round(BAR * min(value / largest, 1.0)) if value and largest else ""


def _cells(row: L.Row, total: L.Row, estimate: Estimate | None) -> tuple[str, ...]:
    whole, part = _weight(total, estimate), _weight(row, estimate)
    share = part / whole if whole and part is not None else None
    last = q.quantity(row.joules, "J") if estimate else _some(row.updates)
    numbers = (
        _some(row.acs),
        _some(row.macs),
        _some(row.dense),
        q.percent(row.sparsity),
        q.percent(row.rate),
        last,
        q.percent(share),
    )
    return (row.path, *(n.replace(" ", "") for n in numbers))


def _some(value: float | None) -> str:
    return q.count(value) if value else q.NONE


def _legend(page: _Page) -> None:
    page.heading("Units")
    for term, meaning in summary.LEGEND:
        page.line(f"{term}: {meaning}", indent=2)
