"""What makes a page one file that nothing gets into: hashes, one escape for every name, no element that data could close.

Scripts and styles are inline and named by their hashes; Vega runs with its expression interpreter, so no `unsafe-eval`.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import json
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from snnenergy import __version__
from snnenergy.report.escape import plain

if TYPE_CHECKING:
    import jinja2

MAX_BYTES = 1_500_000


def render(template: str, script: str, drawings: object, **told: Any) -> str:
    """A template with the house's style, the charts' library, a script of ours, and data that the script draws."""
    code = f'"use strict";\n(() => {{\n{_shipped("chart.js")}\n{_shipped(script)}}})();\n'
    style, scripts = _shipped("page.css"), [_once(_bundle()), _once(code)]
    made = environment().get_template(template)
    return made.render(
        policy=_policy(style, scripts),
        style=style,
        bundle=scripts[0],
        code=scripts[1],
        version=__version__,
        drawings=_inert(drawings),
        **told,
    )


def still(template: str, **told: Any) -> str:
    """The same without a script: words, tables and drawings that stand in the page."""
    style = _shipped("page.css")
    made = environment().get_template(template)
    return made.render(policy=_policy(style, []), style=style, version=__version__, **told)


def _policy(style: str, scripts: list[str]) -> str:
    """Nothing but what stands in this file runs or styles it, and nothing is fetched or sent."""
    hashes = " ".join(map(_hash, scripts)) or "'none'"
    return f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


@cache
def environment() -> jinja2.Environment:
    """The templates, every name in them made harmless."""
    import jinja2

    loader = jinja2.PackageLoader("snnenergy.report", "templates")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=loader, trim_blocks=True, lstrip_blocks=True
    )
    environment.finalize = lambda value: plain(value) if type(value) is str else value
    environment.filters["links"] = links
    environment.filters["name"] = name_class
    return environment


WHOLE = 22
"""Letters of a name that stands on one line; a longer one breaks where it must."""


def name_class(name: str) -> str:
    """The classes of a table's cell that holds a name."""
    return "name" if len(name) > WHOLE else "name whole"


def _shipped(name: str) -> str:
    return (files("snnenergy.report") / "templates" / name).read_text(encoding="utf-8")


BUNDLE = "window.vegaEmbed=vegaEmbed;"
_CHILD = f"""
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.javascript_bundle({BUNDLE!r}).encode())
"""


@cache
def prepared() -> subprocess.Popen[bytes] | None:
    """The charts' library in the making, by a process beside this one: over a second of a core, with the interpreter's lock held.

    To be called as soon as a page is wanted; None where no process can be started.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        child = subprocess.Popen([sys.executable, "-P", "-c", _CHILD], stdout=subprocess.PIPE, **quiet)
    except OSError:
        return None
    atexit.register(_end, child)
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.returncode is None:
        child.kill()
        child.communicate()


@cache
def _bundle() -> str:
    """Vega and Vega-Lite with their embedder and expression interpreter, about 0.9 MB; no network."""
    child = prepared()
    made = b"" if child is None else child.communicate()[0]
    if child is not None and child.returncode == 0:
        return made.decode()
    import vl_convert

    return str(vl_convert.javascript_bundle(BUNDLE))


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
