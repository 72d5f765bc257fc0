"""The second witness: fvcore's dense MACs beside ours, with the reason for every difference.

fvcore counts from a TorchScript trace, by other code and other means than ours; dense MACs are all that both know.  What
it files under its contractions is taken (`fvcore_side.FIGURES`); its flops of norms, pooling and interpolation are not MACs.

    equal          the two agree
    booked apart   they agree within a module: fvcore books an operator in the module that was called, we in its layer
    unsupported    fvcore has no rule for the operator, or a rule that leaves a part out
    unseen         the layer ran, but nothing of it is in fvcore's trace
Anything else is `unexplained`, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from torch import nn

from snnenergy.counts import Counts, LayerCounts
from snnenergy.errors import UsageError, said
from snnenergy.trace.fvcore_side import MISSES, OPAQUE, Theirs, ask

EINSUM_DIGITS = 5e-4
"""fvcore takes an einsum's count from numpy's printed report: four digits."""


@dataclass(frozen=True, slots=True)
class LayerWitness:
    """Dense MACs of one path: ours, fvcore's, and why they differ (empty where they do not)."""

    path: str
    ours: int
    fvcore: int
    reason: str = ""
    explained: bool = True


@dataclass(frozen=True, slots=True)
class WitnessReport:
    """Dense MACs of one forward by both counters, in total and by path.

    fvcore: None where it could not run the model; `failure` then says why
    unsupported: contractions that fvcore met and has no rule for, with their calls
    """

    model: str
    samples: int
    version: str
    ours: int
    fvcore: int | None
    layers: tuple[LayerWitness, ...] = ()
    unsupported: Mapping[str, int] | None = None
    failure: str = ""

    @property
    def agrees(self) -> bool:
        return self.fvcore == self.ours and all(row.ours == row.fvcore for row in self.layers)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Paths whose difference has no known reason."""
        return tuple(row.path for row in self.layers if not row.explained)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"agrees": self.agrees, "unexplained": list(self.unexplained)}

    def lines(self) -> list[str]:
        """The comparison as text: a row per path, a numbered note per reason."""
        head = f"second witness: fvcore {self.version}, dense MACs of one forward of {_samples(self.samples)}"
        if self.fvcore is None:
            return [head, f"fvcore could not run this model, so nothing is compared: {self.failure}"]
        reasons = list(dict.fromkeys(row.reason for row in self.layers if row.reason))
        cells = [("layer", "snnenergy", "fvcore", "")]
        for row in self.layers:
            mark = f"[{reasons.index(row.reason) + 1}]" if row.reason else "equal"
            cells.append((row.path, f"{row.ours:,}", f"{row.fvcore:,}", mark))
        cells.append(("total", f"{self.ours:,}", f"{self.fvcore:,}", _verdict(self)))
        wide = [max(len(row[i]) for row in cells) for i in range(3)]
        table = [f"{a:<{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in cells]
        return [head, *table, *(f"[{i}] {reason}" for i, reason in enumerate(reasons, 1))]


def _samples(n: int) -> str:
    return f"{n} sample" + ("" if n == 1 else "s")


def _verdict(report: WitnessReport) -> str:
    if report.ours == report.fvcore:
        return "equal"
    assert report.fvcore is not None
    named = f"{len(report.unexplained)} unexplained" if report.unexplained else "every difference has a reason"
    return f"{report.ours - report.fvcore:+,}: {named}"


def witness(
    model: nn.Module, inputs: Sequence[Any], counts: Counts, *, kwargs: Mapping[str, Any] | None = None
) -> WitnessReport:
    """fvcore's dense MACs of model(*inputs, **kwargs) beside `counts`, the Counts of that one forward.

    Runs the model once more, traced; the random state and the hooks of the model stay as they were.  A model that fvcore
    cannot run is no error: the report says why.  Raises UsageError where the counts are of more than one forward.
    """
    if counts.forwards != 1:
        raise UsageError(f"witness: compares one forward; these counts are of {counts.forwards}")
    report = WitnessReport(counts.model, counts.samples, version("fvcore"), ours=counts.total().dense_macs, fvcore=None)
    try:
        theirs = ask(model, inputs, kwargs or {})
    except Exception as error:  # noqa: BLE001  # whatever a tracer of other people's code raises is what we report
        return replace(report, failure=f"{type(error).__name__}: {said(error, 200)}")
    return replace(
        report,
        fvcore=sum(theirs.macs.values()),
        layers=tuple(_compare(counts, theirs)),
        unsupported=dict(sorted(sum(theirs.missing.values(), Counter()).items())),
    )


def _scope(layer: LayerCounts) -> str:
    """The module a layer stands in: `param:block.w` and `block::matmul#0` stand in `block`."""
    if layer.path.startswith("param:"):
        return layer.path.removeprefix("param:").rpartition(".")[0] or "(root)"
    return layer.path.partition("::")[0]


def _up(path: str) -> Iterator[str]:
    """A path, and the modules around it out to the model."""
    while path and path != "(root)":
        yield path
        path = path.rpartition(".")[0]
    yield "(root)"


def _within(path: str, whole: str) -> bool:
    return whole in ("(root)", path) or path.startswith(f"{whole}.")


class _Difference:
    """Ours minus fvcore's, in any part of the model, and what is known of it."""

    def __init__(self, counts: Counts, theirs: Theirs) -> None:
        self.theirs = theirs
        self.layers: dict[str, list[LayerCounts]] = {}
        for layer in counts.layers:
            self.layers.setdefault(_scope(layer), []).append(layer)
        self.ours = {path: sum(la.dense_macs for la in rows) for path, rows in self.layers.items()}
        self.lost = {row.path for row in counts.uncounted if row.op != "uncalled"}

    def total(self, figures: Mapping[str, int], whole: str) -> int:
        return sum(n for path, n in figures.items() if _within(path, whole))

    def of(self, whole: str) -> int:
        return self.total(self.ours, whole) - self.total(self.theirs.macs, whole)

    def missing(self, whole: str) -> Counter[str]:
        """Operators without a rule in this part, and in the modules around it."""
        near = (ops for path, ops in self.theirs.missing.items() if _within(path, whole) or _within(whole, path))
        return sum(near, Counter())

    def unruled(self, whole: str) -> int:
        """Our MACs of the kinds that fvcore met in this part and has no rule for."""
        return sum(
            layer.dense_macs
            for path, rows in self.layers.items()
            if _within(path, whole)
            for layer in rows
            if any(_of_kind(layer, op) for at in _up(path) for op in self.theirs.missing.get(at, ()))
        )


def _of_kind(layer: LayerCounts, op: str) -> bool:
    return op.startswith(OPAQUE) or layer.op in MISSES[op] or layer.module_type in MISSES[op]


def _compare(counts: Counts, theirs: Theirs) -> Iterator[LayerWitness]:
    seen = _Difference(counts, theirs)
    for path in dict.fromkeys((*seen.ours, *theirs.macs)):
        ours, fvcore = seen.ours.get(path, 0), theirs.macs.get(path, 0)
        if ours == fvcore:
            if ours:
                yield LayerWitness(path, ours, fvcore)
            continue
        reason = _reason(seen, path)
        yield LayerWitness(
            path, ours, fvcore, reason or "unexplained: please report it with the model", explained=bool(reason)
        )


def _reason(seen: _Difference, path: str) -> str:
    """Why ours and fvcore's differ at a path: first what accounts for every MAC, here or within a module around it."""
    for whole in _up(path):
        for why in _EXACT:
            if found := why(seen, whole):
                return f"{whole}: {found}"
    return next((f"{path}: {found}" for why in _LIKELY if (found := why(seen, path))), "")


def _booked_apart(seen: _Difference, whole: str) -> str:
    if seen.of(whole):
        return ""
    return "equal in sum; fvcore books an operator in the module that was called, snnenergy in the layer it belongs to"


def _without_rule(seen: _Difference, whole: str) -> str:
    """The operators without a rule, and the part that the matmul rule leaves out, make up the difference exactly."""
    left_out = seen.total(seen.theirs.left_out, whole)
    unruled = seen.of(whole) - left_out
    if not (left_out or unruled) or unruled not in (0, seen.unruled(whole)):
        return ""
    parts = [f"{unruled:,} MACs in {_listed(seen.missing(whole))}, unsupported by fvcore"] if unruled else []
    parts += [f"{left_out:,} MACs that fvcore's matmul leaves out (broadcast batches, vectors)"] if left_out else []
    return "; ".join(parts)


def _unsupported(seen: _Difference, path: str) -> str:
    ops = seen.missing(path)
    if not ops or not 0 < seen.of(path) <= seen.unruled(path):
        return ""
    return f"{_listed(ops)}: unsupported by fvcore"


def _digits(seen: _Difference, path: str) -> str:
    einsum = seen.theirs.einsums.get(path, 0)
    if not einsum or abs(seen.of(path)) > 1 + EINSUM_DIGITS * einsum:
        return ""
    return "fvcore reads the count of an einsum from numpy's printed report, which has four digits"


def _no_sum(seen: _Difference, path: str) -> str:
    einsum = seen.theirs.einsums.get(path, 0)
    products = sum(layer.muls for layer in seen.layers.get(path, ()))
    if not einsum or seen.of(path) != -einsum or products < einsum:
        return ""
    return "an einsum that sums nothing: fvcore halves its products, snnenergy has them among the elementwise muls"


def _unseen(seen: _Difference, path: str) -> str:
    if path not in seen.theirs.unseen or seen.theirs.macs.get(path, 0):
        return ""
    return "not in fvcore's trace: it drops what no output depends on"


def _uncounted(seen: _Difference, path: str) -> str:
    return "no rule of ours: it stands in the ledger" if path in seen.lost and seen.of(path) < 0 else ""


Why = Callable[[_Difference, str], str]
_EXACT: tuple[Why, ...] = (_booked_apart, _without_rule)
_LIKELY: tuple[Why, ...] = (_digits, _no_sum, _unseen, _unsupported, _uncounted)


def _listed(ops: Counter[str]) -> str:
    return ", ".join(f"{op} x{n}" for op, n in sorted(ops.items()))
