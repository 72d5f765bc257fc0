"""The layers of a run: what each path is, where its values are read, and which neuron's spikes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from snnenergy.counts import Domain
from snnenergy.frameworks import emits_spikes
from snnenergy.trace.forward import Forward, Frame
from snnenergy.trace.lineage import Lineage
from snnenergy.trace.scopes import Names
from snnenergy.trace.signature import binary
from snnenergy.trace.sites import WHOLE, Segment, Site
from snnenergy.trace.structure import Structure


class Layers:
    """structures: by path; sites: by what they read; neurons: the neuron models by path

    links: of a neuron whose every output is, whole, one site's input that site, which need not be read twice; else None
    touched: sites that the open forward has reached, in order
    """

    def __init__(self, names: Names, lineage: Lineage, spike_channels: Mapping[str, slice | Sequence[int]]) -> None:
        self._names, self._lineage, self._spike_channels = names, lineage, spike_channels
        self.structures: dict[str, Structure] = {}
        self.sites: dict[object, Site] = {}
        self.neurons = names.neurons()
        self.links: dict[str, Site | None] = {}
        self.touched: list[Site] = []
        self._call_sites: dict[str, dict[object, int]] = {}
        self._spike_outputs: dict[str, int | None] = {}
        self._forward = 0

    # ---- one forward
    def begin(self, forward: int, sites: Sequence[Site] = ()) -> None:
        """sites: that it is known to reach."""
        self._forward, self.touched = forward, list(sites)
        for site in self.touched:
            site.begin(forward)

    def open(self, *sites: Site) -> None:
        """The open forward reaches these."""
        for site in sites:
            if site.forward != self._forward:
                site.begin(self._forward)
                self.touched.append(site)

    def drop(self) -> None:
        """The open forward does not count."""
        for site in self.touched:
            site.drop()

    # ---- what and where
    def structure(self, path: str, frame: Frame | None = None) -> Structure:
        found = self.structures.get(path)
        if found is None:
            found = self.structures[path] = Structure(path)
            if path in self.neurons:
                found.role, found.op, found.neuron_model = "neuron", "neuron", self.neurons[path]
            if frame is not None and frame.path == path:
                found.module_type = frame.type_name
        return found

    def site(
        self,
        key: object,
        path: str,
        kind: str,
        source: str | None,
        *,
        segments: tuple[Segment, ...] = WHOLE,
        operand: str = "a",
    ) -> Site:
        found = self.sites.get(key)
        if found is None:
            if segments is WHOLE and source is not None:
                segments = (Segment(source),)
            found = self.sites[key] = Site(path, kind, segments, operand)
        return found

    def call_site(self, path: str, place: object) -> int:
        """Which of the places at which the module at `path` calls a product this one is, in order of appearance."""
        index = self._call_sites.setdefault(path, {})
        return index.setdefault(place, len(index))

    def named_segments(self, path: str, x: Tensor, axis: int) -> tuple[Segment, ...] | None:
        """Segments the user named: spike_channels={path: slice}."""
        chosen = self._spike_channels.get(path)
        if chosen is None:
            return None
        width = x.shape[axis]
        inside = np.arange(width)[chosen] if isinstance(chosen, slice) else np.array(list(chosen))
        rest = np.setdiff1d(np.arange(width), inside)
        spikes = Segment("spike_channels", inside, Domain.SPIKE)
        return (spikes, Segment("other channels", rest)) if len(rest) else (spikes,)

    # ---- spikes
    def output(self, path: str) -> Site:
        """Where the spikes of a neuron are read as it puts them out."""
        return self.site((path, "spikes"), path, "output", None)

    def spikes(self, path: str) -> Site | None:
        """Where the spikes of a neuron are read: by the layer that they go to, or as they are put out."""
        return self.links.get(path) or self.sites.get((path, "spikes"))

    def known_spikes(self, path: str) -> Site | None:
        """The same where it is known which output they are, and their values were seen."""
        found = self.spikes(path) if self._spike_outputs.get(path) is not None else None
        return found if found is not None and all(tally.seen for tally in found.tallies) else None

    def spike_output(self, path: str, outs: Sequence[Tensor], *, known: bool = False) -> int | None:
        """Which of a neuron's outputs are its spikes: the first made by a comparison, else of one magnitude; None: none.

        known: the only one is
        """
        if path in self._spike_outputs:
            return self._spike_outputs[path]
        found = 0 if known else next((i for i, t in enumerate(outs) if self._lineage.of(t).compared), None)
        if found is None:
            found = next((i for i, t in enumerate(outs) if binary(t)), None)
        module = self._names.at(path)
        if found is None and module is not None and emits_spikes(module):
            found = 0
        self._spike_outputs[path] = found
        return found

    def unlinked(self) -> list[tuple[str, int]]:
        """Neurons whose spikes no layer reads as they are, and which of their outputs those are."""
        found = self._spike_outputs.items()
        return [(path, index) for path, index in found if index is not None and self.links.get(path) is None]

    def link(self, forward: Forward) -> None:
        """After a survey: whose output did one site read in every call?"""
        for path, firing in forward.fired.items():
            rows, calls = forward.links.get(path, []), firing.calls
            sites: dict[int, list[int]] = {}
            for call, site in rows:
                sites.setdefault(id(site), []).append(call)
            match = next(
                (s for _, s in rows if sites[id(s)] == list(range(calls)) and s.segments[0].index is None), None
            )
            match = match if match is not None and match.slot == calls else None
            if path not in self.links:
                self.links[path] = match
            elif self.links[path] is not match:
                self.links[path] = None
                self._spike_outputs[path] = None  # read by one layer in one forward and not in another: not known
