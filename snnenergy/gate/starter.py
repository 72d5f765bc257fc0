"""A first snnenergy.toml, from one profiled model: limits a little above what it costs today."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from snnenergy.cost.price import dynamic_only
from snnenergy.gate.metrics import show

if TYPE_CHECKING:
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile

HEADROOM = 1.10
"""Limits of a first file lie this much above today's figures."""
INCREASE = "2 %"
MARGIN = 0.01
"""Share of right answers that a change may lose."""
BASELINE = "energy-baseline"


def render(counts: Counts, model: Mapping[str, object], chips: Mapping[str, Profile], baseline: str = BASELINE) -> str:
    """The text of the file; `model`: the fields of its table; chips: by the words the file shall use."""
    blocks = [
        "# Energy budgets: `snnenergy check` holds them, `snnenergy init --schema` prints what may stand here.",
        f"baseline = {_value(baseline)} # Counts of each model, committed; `snnenergy check --update-baseline` writes them",
        f"hardware = {_value(list(chips))}",
        "\n".join(
            [
                f"\n[models.{_key(counts.model)}]",
                *(f"{k} = {_value(v)}" for k, v in model.items() if v not in (None, [], {})),
            ]
        ),
    ]
    budgets: list[Mapping[str, object]] = [
        budget for word, chip in chips.items() for budget in _of_chip(counts, word, chip)
    ]
    operations: dict[str, object] = {"metric": "acs" if counts.total().acs else "macs", "max_increase": INCREASE}
    blocks += [_budget(b) for b in (*budgets, operations, *_of_answers(counts))]
    return "\n".join(blocks) + "\n"


def _of_chip(counts: Counts, word: str, chip: Profile) -> Iterator[dict[str, object]]:
    """Energy and latency as far as the chip prices them, and whether the model fits, if it does."""
    estimate = dynamic_only(counts, chip)
    match = {"chip": word}
    if estimate.energy is not None:
        limit = show(estimate.energy.nominal * HEADROOM, "J")
        yield {"match": match, "metric": "energy", "max": limit, "max_increase": INCREASE}
    if estimate.latency is not None:
        yield {"match": match, "metric": "latency", "max": show(estimate.latency.nominal * HEADROOM, "s")}
    if estimate.fit.fits:
        yield {"match": match, "metric": "fits"}


def _of_answers(counts: Counts) -> Iterator[dict[str, object]]:
    """Energy is not to be saved on answers: what is right today less a percentage point, where labels said how many are."""
    if counts.answers.accuracy is not None:
        yield {"metric": "accuracy", "min": show(max(0.0, counts.answers.accuracy - MARGIN), "share")}


def _budget(fields: Mapping[str, object]) -> str:
    return "\n".join(["\n[[budgets]]", *(f"{name} = {_value(value)}" for name, value in fields.items())])


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() else _value(name)


def _value(value: object) -> str:
    """A TOML value.  JSON strings, numbers and lists of them are TOML as they are, but for a delete and pairs of surrogates."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
