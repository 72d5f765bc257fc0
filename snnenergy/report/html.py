"""The report as one self-contained page: opens from disk, without a network, under a strict content security policy.

The page holds its own record, from which `document.read` makes the Comparison again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from snnenergy.report import document, drawings, page, sealed
from snnenergy.report.sealed import MAX_BYTES
from snnenergy.report.stories import stories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnenergy.cost.records import Comparison
    from snnenergy.report.stories import Story


def render(comparison: Comparison) -> str:
    """The page: accuracies of the comparison add energy against accuracy, its profiles rooflines and choices.

    A page that would pass 1.5 MB leaves out the layers of its estimates and the rooflines, then what it says of single layers,
    and says so.
    """
    sealed.prepared()
    told = stories(comparison)
    drawn = drawings.drawings(comparison, told)
    for cut in CUTS:
        made = _page(comparison, told, drawings.fewer(drawn, cut), cut)
        if len(made.encode()) <= MAX_BYTES:
            break
    return made


def fragment(comparison: Comparison) -> str:
    """The verdict and the table of models and chips alone, without script or style: what a notebook shows."""
    said = page.verdict(comparison)
    return sealed.environment().get_template("fragment.html.j2").render(**said)


def _page(comparison: Comparison, told: Sequence[Story], drawn: dict[str, Any], cut: int) -> str:
    packed = _without_layers(comparison) if cut else comparison
    record = document.embed(packed)
    return sealed.render(
        "report.html.j2",
        "page.js",
        drawn,
        element=document.ELEMENT,
        record=record,
        fingerprint=hashlib.sha256(record.encode()).hexdigest(),
        drawn=set(drawn["specs"]),
        cut=CUTS[cut],
        **page.told(comparison, told, cut),
    )


CUTS = {
    0: "",
    1: (
        "This page would have been too large: the energies of single layers are in the JSON report only, and the rooflines "
        "are left out."
    ),
    2: (
        "This page would have been too large: everything about single layers, and the parts of each energy, are in the JSON report "
        "only."
    ),
}
"""What a page that is cut so far says of it."""


def _without_layers(comparison: Comparison) -> Comparison:
    from dataclasses import replace

    return replace(comparison, estimates=tuple(replace(e, layers=()) for e in comparison.estimates))
