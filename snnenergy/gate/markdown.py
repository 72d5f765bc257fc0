"""A Verdict as the comment of a pull request: the sentence, the budgets, the layers folded away, provenance last."""

from __future__ import annotations

from collections.abc import Iterator

from snnenergy.gate.metrics import show
from snnenergy.gate.verdict import COLUMNS, ModelReport, Outcome, State, Verdict
from snnenergy.report.escape import markdown as prose
from snnenergy.report.escape import markdown_code as code
from snnenergy.report.escape import markup
from snnenergy.report.markdown import table

MAX_CHARACTERS = 60_000
"""A comment holds 65,536; a workflow adds a few words of its own."""
MARKER = "<!-- snnenergy-gate -->"
"""By which a workflow finds its earlier comment."""
_SIGNS = {
    State.HELD: "holds",
    State.BROKEN: "**broken**",
    State.WARNED: "warns",
    State.OFF: "off",
    State.UNJUDGED: "not judged",
}
_WORST_FIRST = (State.BROKEN, State.WARNED, State.UNJUDGED, State.HELD, State.OFF)


def render(verdict: Verdict) -> str:
    """Under 60,000 characters whatever there is to say: what does not fit is counted and left to the JSON."""
    head = [MARKER, f"**{prose(_short(verdict.sentence, 2000))}**"]
    foot = ["---", "\n".join(f"- {prose(_short(line, 500))}" for line in verdict.provenance[:12])]
    room = MAX_CHARACTERS - sum(len(block) + 2 for block in (*head, *foot)) - 200
    body, left = [], 0
    for block in _blocks(verdict):
        if len(block) + 2 <= room and not left:
            body.append(block)
            room -= len(block) + 2
        else:
            left += 1
    cut = [f"*{left} more sections did not fit here; `--format json` has them.*"] if left else []
    return "\n\n".join([*head, *body, *cut, *foot]) + "\n"


def _blocks(verdict: Verdict) -> Iterator[str]:
    """Most important first; each small enough that several fit."""
    yield _budgets(verdict)
    told = sorted((o for o in verdict.outcomes if o.words), key=lambda o: _WORST_FIRST.index(o.state))
    if told:
        yield "\n".join(["### Why", *_first(list(dict.fromkeys(map(_why, told))), 40)])
    problems = [f"- {code(name)}: {prose(_short(p.words, 600))}" for name, p in verdict.problems]
    if problems:
        yield "\n".join(["### Not gated", *_first(problems, 40)])
    if verdict.notices:
        lines = [f"- *{prose(n.kind)}*: {prose(_short(n.words, 400))}" for n in verdict.notices]
        yield "\n".join(["### To look at", *_first(lines, 40)])
    changed = [m for m in verdict.models if m.difference is not None and m.difference.cause]
    for model in changed:
        yield _change(model)


def _budgets(verdict: Verdict) -> str:
    rows = sorted(verdict.outcomes, key=lambda o: (_WORST_FIRST.index(o.state), -(o.used or 0)))
    shown = rows[:100]
    lines = table(COLUMNS, ((code(_short(o.subject, 120)), *o.cells, _SIGNS[o.state]) for o in shown))
    return f"{lines}\n\n{len(rows) - len(shown)} more budgets, all less used." if len(rows) > len(shown) else lines


def _why(o: Outcome) -> str:
    """What is wrong, and why the budget is kept."""
    reason = f" (kept because: {prose(_short(o.placed.budget.reason, 200))})" if o.placed.budget.reason else ""
    return f"- *{o.state}*: {prose(_short(o.words, 400))}{reason}"


def _change(model: ModelReport) -> str:
    """Where the change of one model comes from, and its layers, folded."""
    assert model.difference is not None
    lines = [f"**{code(model.name)}** changed: {prose(_short(model.difference.origin, 300))}"]
    lines += _first([f"- {prose(_short(line, 200))}" for line in model.difference.identity], 12)
    lines += [f"- {prose(c.name)}: {show(c.base, c.unit)} -> {show(c.head, c.unit)}" for c in model.causes[:12]]
    rows = [(code(_short(r.name, 100)), *_ends(r.base, r.head, r.unit)) for r in model.layers[:30]]
    if rows:
        on = f", energy on {markup(model.layers_on)}" if model.layers_on else ", operations"
        body = table(("layer", "before", "now", "change"), rows)
        title = f"Layers of {markup(_short(model.name, 100))} by size of change{on}"
        lines.append(f"\n<details><summary>{title}</summary>\n\n{body}\n\n</details>")
    return "\n".join(lines)


def _ends(base: float | None, head: float | None, unit: str) -> tuple[str, str, str]:
    if base is None or head is None:
        return show(base, unit), show(head, unit), "new" if base is None else "gone"
    return show(base, unit), show(head, unit), f"{100 * (head / base - 1):+.3g} %" if base else "from 0"


def _first(lines: list[str], number: int) -> list[str]:
    return lines[:number] + ([f"- ... and {len(lines) - number} more"] if len(lines) > number else [])


def _short(words: str, size: int) -> str:
    return words if len(words) <= size else f"{words[:size]} ..."
