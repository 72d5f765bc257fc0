"""A page of tables: self-contained, without a script, under a strict content security policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnenergy.report import sealed

if TYPE_CHECKING:
    from snnenergy.report.conversion import Table


WORDS = ("in short", "paid back")
"""Columns of words, set to the left."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of ours: SVG whose every text was escaped."""

    caption: str
    svg: str


def render(
    title: str,
    headlines: Sequence[str],
    tables: Sequence[Table],
    *,
    notes: Sequence[str] = (),
    closing: Sequence[str] = (),
    remarks: Sequence[str] = (),
    drawing: Drawing | None = None,
) -> str:
    """headlines: what a reader sees first; notes, closing, remarks: sentences before, after and at the end of the tables."""
    return sealed.still(
        "tables.html.j2",
        title=title,
        headlines=headlines,
        notes=notes,
        tables=tables,
        closing=closing,
        remarks=remarks,
        drawing=drawing,
        words=WORDS,
    )
