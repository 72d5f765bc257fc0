"""Energy budgets in pytest: the `energy` fixture and `@pytest.mark.energy_budget(hardware="loihi", max="3 uJ")`.

    @pytest.mark.energy_budget(hardware="loihi", max="3 uJ", max_increase="2 %")
    def test_cost(energy):
        energy(model, x)

Nothing but pytest is imported until a test calls the fixture.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.gate.settings import Placed
    from snnenergy.gate.verdict import Verdict

MARK = "energy_budget"
FOLDER = "energy_baseline"
WRITER = "pytest --energy-update-baseline"
PROPERTY = "energy_budget"
"""Under this name a verdict travels with its test's report, also from another process."""
_WORDS = ("hardware", "metric", "max", "min", "max_increase", "bound", "layer", "level", "reason")
MAX_GROWN = 8
MAX_STEM = 120
"""Characters of a baseline's file name; folders lie before it, and file systems hold 255."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("energy budgets").addoption(
        "--energy-update-baseline",
        action="store_true",
        help=f"write the counts of tests marked {MARK} as their new baseline, beside the test file in {FOLDER}/",
    )


def pytest_configure(config: pytest.Config) -> None:
    words = ", ".join(_WORDS)
    config.addinivalue_line("markers", f"{MARK}({words}): what `energy(model, ...)` in this test may cost")


@dataclass
class Energy:
    """Counts models in a test, and holds them to the test's marks.

    energy(model, *inputs, **options) takes the options of `snnenergy.count` besides `name`, which tells several models of
    one test apart, and `seed`; it returns the Counts.
    """

    item: pytest.Function
    update: bool
    names: set[str] = field(default_factory=set)

    def __call__(self, model: Any, *inputs: Any, name: str = "model", seed: int = 0, **options: Any) -> Counts:
        __tracebackhide__ = True
        from dataclasses import replace

        from snnenergy.trace.repeatable import count_call

        if name in self.names:
            pytest.fail(
                f"energy() was called twice for {name!r} in one test; tell them apart: energy(..., name='other')"
            )
        self.names.add(name)
        counts = replace(count_call(model, *inputs, seed=seed, **options), model=name)
        if budgets := _budgets(self.item):
            self._hold(counts, budgets)
        return counts

    def _hold(self, counts: Counts, budgets: list[Placed]) -> None:
        __tracebackhide__ = True
        from snnenergy.counts import Counts
        from snnenergy.gate import chips, gating

        file = self._baseline(counts.model)
        if self.update:
            file.parent.mkdir(parents=True, exist_ok=True)
            counts.save(file)
        kept = file.exists() or any(placed.budget.max_increase is not None for placed in budgets)
        bases = {counts.model: Counts.load(file)} if file.exists() else {}
        profiles = chips.load(chips.needed((), budgets), self.item.path.parent)
        made = gating.verdict(
            {counts.model: counts}, budgets, bases if kept else None, profiles, accuracy={}, writer=WRITER
        )
        self.item.user_properties.append((PROPERTY, {"passed": made.passed, "words": made.sentence}))
        if not made.passed:
            pytest.fail(explain(made), pytrace=False)

    def _baseline(self, name: str) -> Path:
        """`energy_baseline/test_file/test_name[param].json` beside the test file; one more part for a named model.

        What a file cannot be called ends in a digest of the whole name, so that no two tests share a file.
        """
        from hashlib import sha256

        inside = self.item.nodeid.partition("::")[2].replace("::", ".") + ("" if name == "model" else f".{name}")
        stem = re.sub(r"[^A-Za-z0-9_.=\[\],-]", "_", inside)[:MAX_STEM]
        stem += "" if stem == inside else f"-{sha256(inside.encode()).hexdigest()[:8]}"
        return self.item.path.parent / FOLDER / self.item.path.stem / f"{stem}.json"


@pytest.fixture
def energy(request: pytest.FixtureRequest) -> Energy:
    """Call it with a model and its inputs: it counts them, and fails the test where a marked budget is broken."""
    made = Energy(request.node, bool(request.config.getoption("--energy-update-baseline")))
    request.node.stash[_USED] = made
    return made


_USED = pytest.StashKey[Energy]()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A marked test that counts nothing would always pass: it fails."""
    result = yield
    used = pyfuncitem.stash.get(_USED, None)
    if pyfuncitem.get_closest_marker(MARK) is not None and (used is None or not used.names):
        pytest.fail(
            f"marked {MARK}, but nothing was counted: take the `energy` fixture and call energy(model, x)",
            pytrace=False,
        )
    return result


def _budgets(item: pytest.Function) -> list[Placed]:
    """One budget a mark, on the line of the test; what is wrong with a mark fails the test."""
    from snnenergy.errors import UsageError
    from snnenergy.gate.settings import Place, Placed, budget

    place = Place(str(item.path), (item.reportinfo()[1] or 0) + 1)
    wrong = None
    made = []
    for mark in item.iter_markers(MARK):
        try:
            made.append(Placed(budget(_fields(mark)), place))
        except UsageError as error:
            wrong = error
    if wrong is not None:
        pytest.fail(f"@pytest.mark.{MARK}: {wrong}", pytrace=False)
    return made


def _fields(mark: pytest.Mark) -> Mapping[str, Any]:
    """A mark's words as the fields of a budget."""
    from snnenergy.errors import UsageError, near

    if mark.args:
        raise UsageError(f"takes words, as in hardware='loihi', max='3 uJ'; found {mark.args!r:.60}")
    for word in mark.kwargs:
        if word not in _WORDS:
            raise UsageError(f"unknown word {word!r}{near(word, _WORDS)}")
    fields = {"metric": "energy", **mark.kwargs}
    match = {"chip": fields.pop("hardware", None), "layer": fields.pop("layer", None)}
    return {**fields, "match": {key: value for key, value in match.items() if value is not None}}


def explain(verdict: Verdict) -> str:
    """What is broken, and the layers that grew, or the largest ones where there is no baseline."""
    lines = [verdict.sentence, *(o.words for o in verdict.outcomes if o.words)]
    for model in verdict.models:
        lines += [line for problem in model.problems for line in problem.words.splitlines()[1:MAX_GROWN]]
        if not model.grown:
            continue
        compared = model.difference is not None
        lines.append(
            f"layers that {'grew' if compared else 'cost most'}{f' on {model.layers_on}' if model.layers_on else ''}:"
        )
        lines += [f"  {line}" for line in model.grown[:MAX_GROWN]]
        if model.difference is not None and model.difference.identity:
            lines.append(f"changed: {'; '.join(model.difference.identity)}")
    return "\n".join(lines)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line over all marked tests, if there were any."""
    reports = [r for name in ("passed", "failed") for r in terminalreporter.stats.get(name, ()) if r.when == "call"]
    found = [value for r in reports for name, value in r.user_properties if name == PROPERTY]
    if not found:
        return
    broken = [value["words"] for value in found if not value["passed"]]
    words = f"energy budgets: {len(found) - len(broken)} of {len(found)} hold"
    terminalreporter.write_line(f"{words}; {broken[0]}" if broken else words)
