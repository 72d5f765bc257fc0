"""Reads, after a forward, what that forward alone added to every stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnenergy.samples import LEARNT, SPIKES, WORK, Rows
from snnenergy.trace import clock
from snnenergy.trace.assemble import inputs_of

if TYPE_CHECKING:
    from snnenergy.samples import Key, Row, Work
    from snnenergy.trace.recorder import Recorder
    from snnenergy.trace.sites import Site
    from snnenergy.trace.streams import Tally
    from snnenergy.trace.watch import Plan


class Reader:
    """`take` after every forward; the tallies only ever grow, so what is new is a difference."""

    def __init__(self, rec: Recorder) -> None:
        self.rec, self.rows = rec, Rows()
        self._before: dict[Key, Row] = {}
        self._plan: Plan | None = None
        self._work: Work = {}

    def take(self, *, start: int, samples: int, correct: int) -> None:
        plan = self.rec.latest
        steps, order = plan.clock.steps or 1, plan.clock.order
        self.rows.steps = steps
        now = self._now(steps, order)
        new = {key: value - self._before[key] if key in self._before else value for key, value in now.items()}
        self.rows.add(new, self._same(plan), start=start, samples=samples, correct=correct)
        self._before = now

    def _same(self, plan: Plan) -> Work:
        """The value-free work of a forward; one object for all rows in a row that did the same."""
        if plan is self._plan:
            return self._work
        self._plan = plan
        work = {path: {name: getattr(did, name) for name in WORK} for path, did in plan.work.items()}
        if work != self._work:
            self._work = work
        return self._work

    def _now(self, steps: int, order: str) -> dict[Key, Row]:
        """All numbers so far, in the order in which the layers' streams stand in Counts."""
        rec = self.rec
        by_path: dict[str, list[Site]] = {}
        for site in rec.layers.sites.values():
            site.flush()
            by_path.setdefault(site.path, []).append(site)
        found: dict[Key, Row] = {}
        for path in rec.layers.structures:
            i = 0
            for site in inputs_of(rec, path, by_path.get(path, [])):
                for tally in site.tallies:
                    found[path, i] = self._stream(path, site, tally, steps, order)
                    i += 1
            spikes = rec.layers.known_spikes(path)
            if spikes is not None:
                found[path, SPIKES] = self._steps(path, spikes.tallies[0], steps, order)[0]
        for path, did in rec.learning.done.items():
            found[path, LEARNT] = np.array([did.updates, did.traces], dtype=np.float64)
        return found

    def _stream(self, path: str, site: Site, tally: Tally, steps: int, order: str) -> Row:
        nonzero, driven, _ = tally.totals
        sources = (tally, site.partner.tallies[0] if site.partner is not None else tally)
        weighed = [t.magnitudes.alone * driven or t.value_taps for t in sources]
        taps = self._steps(path, tally, steps, order)[1:]
        return np.concatenate([[nonzero, tally.elements, *weighed], taps.T.reshape(-1)])

    def _steps(self, path: str, tally: Tally, steps: int, order: str) -> Row:
        """[3, steps]: nonzero, driven, effective of every step; all in the first where they cannot be told apart."""
        folded = clock.add_steps([clock.per_step(rows, steps, order) for rows in tally.rows.values()])
        if folded is not None:
            return folded
        whole = np.zeros((3, steps))
        whole[:, 0] = sum((rows.sum(axis=(1, 2)) for rows in tally.rows.values()), np.zeros(3))
        if tally.rows:
            self.rows.whole_steps.add(path)
        return whole
