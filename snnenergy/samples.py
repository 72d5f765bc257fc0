"""What each sample of a data set did, beside the Counts of all of them: rows of numbers, kept on disk until they are asked for.

A row is one forward: of one sample, or of a batch where samples cannot be told apart.  What kind of values a stream carries
is decided by the whole run, so a row becomes Counts only together with the Counts of the whole.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snnenergy.counts import COPIES, LEARNING, Counts, LayerCounts, PerStep, Stream, weighted_by

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Row = NDArray[np.float64]

Key = tuple[str, int]
"""(path of a layer, which of its streams); -1: the spikes it put out; -2: its synapse and trace updates, where it learns."""
SPIKES, LEARNT = -1, -2
HEAD = 4
"""Numbers of a stream before its steps: nonzero, elements, sum of |value| x taps, the same by the other operand's values."""
WORK = "dense_macs valid_macs updates adds muls compares specials output_elements calls kernels".split()
"""What does not depend on values, and yet differs between samples: images of several sizes, a forward that ends early."""
Work = dict[str, dict[str, int]]
"""Those numbers of one forward, by path."""


class Rows:
    """Rows as they come: `add` one per forward; `steps` numbers of driven and of effective taps per stream.

    start: position of the row's first sample in the data set; samples: how many it holds; correct: of those with a label
    """

    def __init__(self) -> None:
        self.keys: dict[Key, int] = {}  # where in a row the numbers of a key begin
        self.steps = 1
        self.whole_steps: set[str] = set()  # layers whose steps cannot be told apart
        self.start: list[int] = []
        self.samples: list[int] = []
        self.correct: list[int] = []
        self.work: list[Work] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the object, and its space is freed
        weakref.finalize(self, self._file.close)
        self._ends: list[int] = []  # the file's length after each row: a later row may be wider
        self._width = 0

    def __len__(self) -> int:
        return len(self.start)

    def add(self, values: Mapping[Key, Row], work: Work, *, start: int, samples: int, correct: int) -> None:
        import numpy as np

        for key in values:
            if key not in self.keys:
                self.keys[key] = self._width
                self._width += len(values[key])
        row = np.zeros(self._width)
        for key, numbers in values.items():
            row[self.keys[key] : self.keys[key] + len(numbers)] = numbers
        self._file.write(row.tobytes())
        self._ends.append(self._file.tell())
        self.start.append(start)
        self.samples.append(samples)
        self.correct.append(correct)
        self.work.append(work)

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    def rows(self, first: int = 0) -> Iterator[Row]:
        """Each row from the `first` on, as wide as the last."""
        import numpy as np

        place = self._ends[first - 1] if first else 0
        for end in self._ends[first:]:
            self._file.seek(place)
            held = np.frombuffer(self._file.read(end - place))
            place = end
            yield np.concatenate([held, np.zeros(self._width - len(held))])
        self._file.seek(0, 2)

    def counts(self, whole: Counts, first: int = 0) -> Iterator[Counts]:
        """The Counts of each row, with the domains of the whole run; a layer that did not run in it is not in it."""
        known = {layer.path for layer in whole.layers}
        for i, row in enumerate(self.rows(first), first):
            work, n = self.work[i], self.samples[i]
            layers = [self._layer(la, row, work[la.path], n, whole) for la in whole.layers if la.path in work]
            moved = sum(did["kernels"] for path, did in work.items() if path not in known)
            copies = [replace(la, kernels=moved) for la in whole.layers if la.path == COPIES]
            yield replace(whole, samples=n, forwards=1, layers=(*layers, *copies))

    def _layer(self, layer: LayerCounts, row: Row, work: Mapping[str, int], n: int, whole: Counts) -> LayerCounts:
        streams = tuple(self._stream(layer, i, row) for i in range(len(layer.streams)))
        per_step, spikes = None, self._part(row, (layer.path, SPIKES))
        if layer.per_step is not None and layer.path not in self.whole_steps:
            taps = [self._part(row, (layer.path, i))[HEAD:] for i, s in enumerate(layer.streams) if s.operand == "a"]
            driven, effective = (_summed([t[j::2] for t in taps]) for j in (0, 1))
            per_step = PerStep(effective, driven, () if layer.spikes_out is None else _ints(spikes))
        fired = None if layer.spikes_out is None else round(float(spikes.sum()))
        made = replace(layer, streams=streams, per_step=per_step, spikes_out=fired, **_own(work, layer))
        if layer.neurons:
            made = replace(made, neurons=made.updates // (n * (whole.time_steps or 1)))
        if layer.phase == LEARNING:
            synapses, traces = _ints(self._part(row, (layer.path, LEARNT)))
            made = replace(made, synapse_updates=synapses, trace_updates=traces)
        return made

    def _stream(self, layer: LayerCounts, i: int, row: Row) -> Stream:
        part = self._part(row, (layer.path, i))
        nonzero, elements = _ints(part[:2])
        driven, effective = (round(float(part[HEAD + j :: 2].sum())) for j in (0, 1))
        made = replace(layer.streams[i], elements=elements, nonzero=nonzero, driven=driven, effective=effective)
        return replace(made, unit_taps=_units(made, part))

    def _part(self, row: Row, key: Key) -> Any:
        import numpy as np

        at = self.keys.get(key)
        size = {SPIKES: self.steps, LEARNT: 2}.get(key[1], HEAD + 2 * self.steps)
        return np.zeros(size) if at is None else row[at : at + size]

    def columns(self, whole: Counts) -> dict[str, Any]:
        """Plain columns, one value a row: position, samples, right answers, ACs, MACs and spikes; effective taps by stream."""
        import numpy as np

        streams = [(la.path, i, s.is_ac) for la in whole.layers for i, s in enumerate(la.streams) if s.operand == "a"]
        fired = [la.path for la in whole.layers if la.spikes_out is not None]
        effective = np.zeros((len(self), len(streams)), np.int64)
        spikes = np.zeros(len(self), np.int64)
        for r, row in enumerate(self):
            effective[r] = [round(float(self._part(row, (p, i))[HEAD + 1 :: 2].sum())) for p, i, _ in streams]
            spikes[r] = sum(round(float(self._part(row, (p, SPIKES)).sum())) for p in fired)
        is_ac = np.array([ac for *_, ac in streams], bool)
        return {
            "sample": np.array(self.start, np.int64),
            "samples": np.array(self.samples, np.int64),
            "correct": np.array(self.correct, np.int64),
            "acs": effective[:, is_ac].sum(1),
            "macs": effective[:, ~is_ac].sum(1),
            "spikes": spikes,
            "effective": effective,
            "streams": np.array([f"{path}#{i}" for path, i, _ in streams]),
        }


def _own(work: Mapping[str, int], layer: LayerCounts) -> dict[str, Any]:
    """A forward's value-free fields; arithmetic that nobody saw, which a neuron's model gave, goes by its updates."""
    own: dict[str, Any] = dict(work)
    if layer.updates and not any(own[name] for name in _ARITHMETIC):
        own |= {name: getattr(layer, name) * own["updates"] // layer.updates for name in _ARITHMETIC}
    return own


_ARITHMETIC = "adds muls compares specials".split()


def _units(stream: Stream, part: Any) -> int | None:
    """As of the whole run: sum of |value| x taps over the unit, by whichever operand weighs them."""
    if stream.operand == "b":
        return 0
    scale = weighted_by(stream)
    if scale is None:
        return stream.driven
    if not stream.driven:
        return 0
    own = stream.pair is None or scale is stream.evidence
    return None if scale.unit is None else round(float(part[2 if own else 3]) / scale.unit)


def _summed(parts: list[Any]) -> tuple[int, ...]:
    return _ints(sum(parts)) if parts else ()


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(round(float(v)) for v in values)
