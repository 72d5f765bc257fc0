"""`--per-sample` and `--until-ci`: rows of a data set priced as they come, and how energy is spread over them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from snnenergy.cli import output
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from snnenergy.cli.options import Pricing
    from snnenergy.cost.spread import Spread
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile
    from snnenergy.samples import Rows

MIN_ROWS = 30
"""Fewer samples (or batches) say too little about their own spread to stop at."""


def share(text: str) -> float:
    """`1%` or `0.01` as 0.01."""
    try:
        found = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        found = 0.0
    if not 0 < found < 1:
        raise UsageError(f"--until-ci: expected a share such as 1% or 0.01, found {text!r}")
    return found


class Prices:
    """Joules of every row on every chip that prices the model; nominal constants."""

    def __init__(self, rows: Rows, chips: Sequence[Profile], pricing: Pricing) -> None:
        self.rows, self.chips, self.pricing = rows, chips, pricing
        self.joules: dict[str, list[float]] = {chip.name: [] for chip in chips}
        self._priced = 0
        self._domains: object = None

    def update(self, whole: Counts) -> None:
        """Prices the rows that are new; all of them again where a stream is no longer of the kind it seemed."""
        domains = tuple((layer.path, s.domain, s.evidence.unit) for layer in whole.layers for s in layer.streams)
        if domains != self._domains:
            self._domains, self._priced = domains, 0
            self.joules = {chip.name: [] for chip in self.chips}
        from snnenergy.cost.price import dynamic_only

        options: dict[str, Any] = {"batch": self.pricing.batch or 1, "bits": self.pricing.bits}
        for counts in self.rows.counts(whole, self._priced):
            for chip in self.chips:
                energy = dynamic_only(counts, chip, pipeline=self.pricing.pipeline, **options).energy
                if energy is not None:
                    self.joules[chip.name].append(energy.nominal)
        self._priced = len(self.rows)

    def spreads(self) -> list[Spread]:
        """Of every chip that prices the model."""
        from snnenergy.cost.spread import spread

        rows = self.rows
        return [spread(name, found, rows.start, rows.samples) for name, found in self.joules.items() if found]

    def narrow(self, wanted: float) -> bool:
        """Whether the interval is that narrow on every chip, after enough rows."""
        found = self.spreads() if len(self.rows) >= MIN_ROWS else []
        return bool(found) and all(s.relative <= wanted for s in found)

    def archive(self, whole: Counts) -> bytes:
        """The columns as .npz: one value a row, and the energy on every chip as `joules_CHIP`."""
        import numpy as np

        file = io.BytesIO()
        columns = self.rows.columns(whole)
        columns |= {f"joules_{name}": np.array(found) for name, found in self.joules.items() if found}
        np.savez(file, **columns)
        return file.getvalue()


def lines(found: Sequence[Spread]) -> list[str]:
    """A table of chips, and the hardest samples."""
    from snnenergy.report import quantities as q

    if not found:
        return []
    head = ("chip", "mean", "+-", *found[0].quantiles)
    cells = [
        (
            s.hardware,
            q.quantity(s.mean, "J"),
            "-" if s.low is None else f"{100 * s.relative:.2g} %",
            *(q.quantity(value, "J") for value in s.quantiles.values()),
        )
        for s in found
    ]
    varied = [s for s in found if s.deviation > 0]
    hardest = [
        f"hardest on {s.hardware}: "
        + ", ".join(f"{s.per} at {at} ({q.quantity(joules, 'J')})" for at, joules in s.hardest)
        for s in varied
    ]
    title = (
        f"Spread over {found[0].rows:,} {'samples' if found[0].per == 'sample' else 'batches'}, energy per inference"
    )
    about = "+-: 95 % interval of the mean by Student's t, for samples in random order; constants are nominal."
    wrapped = [line for text in (about, *hardest) for line in output.wrapped(text)]
    return [title, output.table(head, cells).rstrip("\n"), *wrapped]
