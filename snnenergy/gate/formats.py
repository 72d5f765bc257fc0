"""A Verdict in the formats of CI: one function a format, a record in, text out."""

from __future__ import annotations

import json as json_text
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snnenergy.gate import markdown as page
from snnenergy.gate.metrics import show
from snnenergy.gate.verdict import COLUMNS, State, Verdict
from snnenergy.report.escape import plain

MAX_ANNOTATIONS = 50
"""A platform shows few of them; the table has all."""


def text(verdict: Verdict) -> str:
    """The sentence, the budgets, what else to know, and the layers that grew: for a terminal and a log."""
    lines = [verdict.sentence, ""]
    lines += aligned([COLUMNS, *((o.subject, *o.cells, o.state) for o in verdict.outcomes)])
    lines += [
        f"{o.state}: {o.words}{f' (why: {o.placed.budget.reason})' if o.placed.budget.reason else ''}"
        for o in verdict.outcomes
        if o.words
    ]
    lines += [f"{notice.kind}: {notice.words}" for notice in verdict.notices]
    for model in verdict.models:
        lines += [f"{model.name}: {line}" for problem in model.problems for line in problem.words.splitlines()]
        if model.difference is not None and model.difference.cause:
            changes = "; ".join(model.difference.identity)
            lines.append(f"{model.name}: {model.difference.origin}{f' ({changes})' if changes else ''}")
            lines += [f"  {c.name}: {show(c.base, c.unit)} -> {show(c.head, c.unit)}" for c in model.causes]
            lines += [f"  grew: {', '.join(model.grown[:8])}"] if model.grown else []
    return "\n".join(map(plain, lines)).rstrip() + "\n"


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column and the last to the left, numbers to the right."""
    table = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *numbers, last in table:
        middle = (cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *middle, last]).rstrip())
    return lines


def json(verdict: Verdict) -> str:
    """Everything, as plain values in SI units."""
    return json_text.dumps(record(verdict), indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def record(verdict: Verdict) -> dict[str, Any]:
    return {
        "schema": "snnenergy.verdict",
        "schema_version": 1,
        "verdict": verdict.sentence,
        "passed": verdict.passed,
        "exit_code": verdict.exit_code,
        "budgets": [
            {
                "metric": o.placed.budget.metric,
                "unit": o.placed.budget.row.unit,
                "model": o.model,
                "chip": o.chip,
                "layer": o.placed.budget.match.layer,
                "bound": o.placed.budget.bound,
                "level": o.placed.budget.level,
                "reason": o.placed.budget.reason,
                "where": str(o.placed.place),
                "before": o.before,
                "after": o.after,
                "limit": o.limit,
                "used": None if o.used == float("inf") else o.used,
                "state": str(o.state),
                "words": o.words,
            }
            for o in verdict.outcomes
        ],
        "models": {
            m.name: {
                "difference": None if m.difference is None else asdict(m.difference),
                "priced": [asdict(row) for row in m.priced],
                "causes": [asdict(row) for row in m.causes],
                "layers": [asdict(row) for row in m.layers],
                "problems": [{"exit_code": p.error.exit_code, "words": p.words} for p in m.problems],
            }
            for m in verdict.models
        },
        "notices": [asdict(notice) for notice in verdict.notices],
        "provenance": list(verdict.provenance),
    }


_LEVELS = {State.BROKEN: "error", State.WARNED: "warning"}


def github(verdict: Verdict) -> str:
    """Workflow commands: an annotation on the line of every broken budget, model problem and notice."""
    lines = []
    for o in verdict.outcomes:
        if o.state in _LEVELS:
            reason = o.placed.budget.reason
            grown = next((m.grown[:5] for m in verdict.models if m.name == o.model), [])
            words = [
                o.words,
                *([f"grew: {', '.join(grown)}"] if grown else []),
                *([f"why: {reason}"] if reason else []),
            ]
            place = (o.placed.place.file, o.placed.place.line)
            lines.append(_command(_LEVELS[o.state], *place, "energy budget", "\n".join(words)))
    lines += [_command("error", "", 1, "energy budget", f"{name}: {p.words}") for name, p in verdict.problems]
    lines += [_command("warning", n.file, n.line, f"energy gate: {n.kind}", n.words) for n in verdict.notices]
    left = len(lines) - MAX_ANNOTATIONS
    lines[MAX_ANNOTATIONS:] = (
        [_command("warning", "", 1, "energy gate", f"{left} more; see the table")] if left > 0 else []
    )
    lines.append(_command("notice", "", 1, "energy gate", verdict.sentence))
    return "\n".join(lines) + "\n"


def _command(level: str, file: str, line: int, title: str, words: str) -> str:
    place = f"file={_value(_shown(file))},line={line}," if file else ""
    message = "\n".join(plain(part) for part in words.splitlines())
    return f"::{level} {place}title={_value(title)}::{_message(message)}"


def _shown(file: str) -> str:
    """A path as the platform knows it: from the root of the repository."""
    root = os.environ.get("GITHUB_WORKSPACE")
    path = Path(os.path.abspath(file))
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else file


def _message(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _value(words: str) -> str:
    return _message(plain(words)).replace(":", "%3A").replace(",", "%2C")


def junit(verdict: Verdict) -> str:
    """One test case a budget and model, one a model for what kept it from being gated."""
    broken, skipped = verdict.of(State.BROKEN), verdict.of(State.OFF) + verdict.of(State.UNJUDGED)
    counts: dict[str, Any] = {
        "tests": str(len(verdict.outcomes) + len(verdict.models)),
        "failures": str(len(broken)),
        "errors": str(sum(bool(m.problems) for m in verdict.models)),
        "skipped": str(len(skipped)),
    }
    suites = ElementTree.Element("testsuites", name="snnenergy", **counts)
    suite = ElementTree.SubElement(suites, "testsuite", name="energy budgets", **counts)
    for model in verdict.models:
        case = ElementTree.SubElement(suite, "testcase", classname=f"snnenergy.{plain(model.name)}", name="comparable")
        for problem in model.problems[:1]:
            words = "\n".join(plain(line) for p in model.problems for line in p.words.splitlines())
            ElementTree.SubElement(case, "error", message=plain(problem.words.splitlines()[0])).text = words
    for o in verdict.outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=f"snnenergy.{plain(o.model)}", name=plain(o.subject))
        case.set("file", o.placed.place.file)
        case.set("line", str(o.placed.place.line))
        if o.state is State.OFF:
            ElementTree.SubElement(case, "skipped", message="level = off")
        elif o.state is State.BROKEN:
            grown = next((m.grown[:20] for m in verdict.models if m.name == o.model), [])
            failure = ElementTree.SubElement(case, "failure", message=plain(o.words))
            failure.text = plain(f"{o.words}; layers that grew: {', '.join(grown) or 'none'}")
        elif o.state is State.UNJUDGED:
            ElementTree.SubElement(case, "skipped", message="no baseline to compare with")
        elif o.words:
            ElementTree.SubElement(case, "system-out").text = plain(o.words)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


FORMATS: dict[str, Callable[[Verdict], str]] = {
    "text": text,
    "json": json,
    "markdown": page.render,
    "github": github,
    "junit": junit,
}
