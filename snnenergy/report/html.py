"""The report as one self-contained page: opens from disk, without a network, under a strict content security policy.

Scripts and styles are inline and named by their hashes; Vega runs with its expression interpreter, so no `unsafe-eval`.
The page holds its own record, from which `document.read` makes the Comparison again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from snnenergy import __version__
from snnenergy.report import document, drawings, page
from snnenergy.report.escape import plain
from snnenergy.report.stories import stories

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2

    from snnenergy.cost.records import Comparison
    from snnenergy.report.stories import Story

MAX_BYTES = 1_500_000


def render(comparison: Comparison) -> str:
    """The page: accuracies of the comparison add energy against accuracy, its profiles rooflines and choices.

    A page that would pass 1.5 MB leaves out the layers of its estimates and the rooflines, then what it says of single layers,
    and says so.
    """
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
    return _environment().get_template("fragment.html.j2").render(**said)


def _page(comparison: Comparison, told: Sequence[Story], drawn: dict[str, Any], cut: int) -> str:
    style, scripts = _shipped("page.css"), [_once(_bundle()), _once(_shipped("page.js"))]
    packed = _without_layers(comparison) if cut else comparison
    record = document.embed(packed)
    template = _environment().get_template("report.html.j2")
    return template.render(
        policy=_policy(style, scripts),
        style=style,
        bundle=scripts[0],
        code=scripts[1],
        element=document.ELEMENT,
        record=record,
        fingerprint=hashlib.sha256(record.encode()).hexdigest(),
        version=__version__,
        drawings=_inert(drawn),
        drawn=set(drawn["specs"]),
        cut=CUTS[cut],
        **page.told(comparison, told, cut),
    )


def _policy(style: str, scripts: list[str]) -> str:
    """Nothing but what stands in this file runs or styles it, and nothing is fetched or sent."""
    hashes = " ".join(map(_hash, scripts))
    return f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


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


# What makes a page safe: hashes, one escape for every name, no element that data could close.


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    loader = jinja2.PackageLoader("snnenergy.report", "templates")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=loader, trim_blocks=True, lstrip_blocks=True
    )
    environment.finalize = lambda value: plain(value) if type(value) is str else value
    environment.filters["links"] = links
    return environment


def _shipped(name: str) -> str:
    return (files("snnenergy.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega with its embedder and expression interpreter, about 0.9 MB; the chart library's own copy, no network."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;"))


def _once(script: str) -> str:
    """A script that an HTML parser cannot leave early."""
    assert not re.search(r"</script|<!--", script, re.IGNORECASE), "a script of ours would end its element"
    return script


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _inert(value: object) -> str:
    """JSON for a data element: nothing in it can close the element or open another."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_LINK = re.compile(
    r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}/[^\s\"<>]+)|(https://[^\s\"<>]+)", re.IGNORECASE
)


def links(text: str) -> list[tuple[str, str | None]]:
    """Text in pieces, (text, address or None): DOIs and https addresses become links, nothing else does.

    >>> links("Davies 2018, doi:10.1109/MM.2018.1.")
    [('Davies 2018, ', None), ('doi:10.1109/MM.2018.1', 'https://doi.org/10.1109/MM.2018.1'), ('.', None)]
    """
    text = plain(text)
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for match in _LINK.finditer(text):
        target = match.group(1) or match.group(2)
        closed = target.rstrip(".,;:'")
        while closed.endswith(")") and closed.count("(") < closed.count(")"):
            closed = closed[:-1].rstrip(".,;:'")
        stop = match.end() - (len(target) - len(closed))
        pieces += [(text[end : match.start()], None)] * (match.start() > end)
        pieces.append((text[match.start() : stop], f"https://doi.org/{closed}" if match.group(1) else closed))
        end = stop
    return pieces + [(text[end:], None)] * (end < len(text))
