"""Training and inference together: what each training costs, what an inference costs, and when the two bills are equal."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnenergy.cost import payback as p
from snnenergy.report import quantities as q
from snnenergy.report.conversion import Table
from snnenergy.report.csv_rows import ends, names, written

if TYPE_CHECKING:
    from snnenergy.cost.payback import Payback, Training
    from snnenergy.cost.records import Range

SCHEMA, SCHEMA_VERSION = "snnenergy.payback", 1


@dataclass(frozen=True, slots=True)
class Bill:
    """Everything the report shows: the ANN's training and the SNN's, a row per chip, and what a reader must know."""

    ann: Training
    snn: Training
    rows: tuple[Payback, ...]
    remarks: tuple[str, ...] = ()


def headline(bill: Bill) -> str:
    """The first line: what the training costs more, and what that means on each chip."""
    ratio = bill.snn.energy / bill.ann.energy
    on = bill.ann.hardware if bill.ann.hardware == bill.snn.hardware else f"{bill.ann.hardware} and {bill.snn.hardware}"
    said: dict[str, list[str]] = {}
    for row in bill.rows:
        said.setdefault(sentence(row), []).append(row.hardware)
    rows = "; ".join(f"{', '.join(chips)}: {words}" for words, chips in said.items())
    return f"Training {bill.snn.model} takes {q.factor(ratio)} the energy of {bill.ann.model} on {on}. Paid back on {rows}."


def sentence(row: Payback) -> str:
    """`after 12.3 M inferences [1.1 M, 40 M]`, `never: an inference of the SNN costs more`."""
    if row.verdict == p.UNDECIDED:
        return f"not decided ({row.why})"
    elsewhere = f" at the nominal constants; within their ranges also {row.why}" if row.why else ""
    if row.verdict == p.NEVER:
        return f"never (an inference of the SNN costs as much, or more){elsewhere}"
    if row.verdict == p.AT_ONCE:
        return f"at once (its training costs no more){elsewhere}"
    assert row.inferences is not None  # the two others have a meeting point
    n = row.inferences
    ends = f"[{_number(n.low)}, {_number(n.high)}]"
    if row.verdict == p.UNTIL:
        return f"only for the first {_number(n.nominal)} inferences {ends}"
    return f"after {_number(n.nominal)} inferences {ends}"


def _number(value: float) -> str:
    return "never" if math.isinf(value) else q.count(math.ceil(value))


def tables(bill: Bill) -> list[Table]:
    trainings = Table(
        "Training",
        ("model", "chip", "steps", "batch", "energy", "low, high", "time"),
        tuple(
            (
                t.model,
                t.hardware,
                f"{t.steps:,}",
                str(t.samples),
                q.quantity(t.energy.nominal, "J"),
                q.interval(t.energy, "J"),
                q.quantity(None if t.time is None else t.time.nominal, "s"),
            )
            for t in (bill.ann, bill.snn)
        ),
    )
    rows = [(row.hardware, _joules(row.snn), row.ann_hardware, _joules(row.ann), sentence(row)) for row in bill.rows]
    inference = Table(
        "Inference, and after how many of them the SNN has paid back its training",
        ("SNN on", "energy", "ANN on", "energy", "paid back"),
        tuple(rows),
    )
    return [trainings, inference]


def _joules(value: Range | None) -> str:
    return q.NONE if value is None else q.quantity(value.nominal, "J")


def to_json(bill: Bill) -> str:
    """Energies in J, times in s, per inference or of the whole training; an end at infinity is null."""
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "training": {"ann": _plain(bill.ann), "snn": _plain(bill.snn)},
        "payback": [_plain(row) for row in bill.rows],
        "remarks": list(bill.remarks),
    }
    return json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return None if isinstance(value, float) and math.isinf(value) else value


def markdown(bill: Bill) -> str:
    from snnenergy.report import markdown as md
    from snnenergy.report.escape import markdown as text

    blocks = [f"**{text(headline(bill))}**"]
    for table in tables(bill):
        blocks += [
            f"{text(table.title)}:",
            md.table(table.head, (tuple(map(text, row)) for row in table.rows), left=1, words=1),
        ]
    blocks.append("\n".join(f"- {text(line)}" for line in bill.remarks))
    return "\n\n".join(filter(None, blocks)) + "\n"


def csv(bill: Bill) -> str:
    """One row per chip; SI units in the column names; an end at infinity is `inf`."""
    ranges = (("ann_training", "J"), ("snn_training", "J"), ("ann", "J"), ("snn", "J"), ("inferences", ""))
    head = ["hardware", "ann_hardware", "trained_on", "verdict", *(n for r in ranges for n in names(*r))]
    rows = []
    for row in bill.rows:
        known = (bill.ann.energy, bill.snn.energy, row.ann, row.snn, row.inferences)
        told = (row.hardware, row.ann_hardware, bill.snn.hardware, row.verdict)
        rows.append([*told, *(v for r in known for v in ends(r))])
    return written(head, rows)


def html(bill: Bill) -> str:
    """The bill as a page, with the two kinds of it drawn against inferences."""
    from snnenergy.report import bill_chart, tables_page

    drawn = bill_chart.svg(bill)
    caption = "Energy since training began, by inferences; nominal figures"
    return tables_page.render(
        f"snnenergy: {bill.ann.model}, {bill.snn.model}",
        [headline(bill)],
        tables(bill),
        remarks=bill.remarks,
        drawing=tables_page.Drawing(caption, drawn) if drawn else None,
    )


FORMATS = {"html": html, "json": to_json, "markdown": markdown, "csv": csv}
