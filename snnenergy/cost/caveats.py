"""What a reader of an estimate must know, in words: first what is missing, then what does not fit, then assumptions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from snnenergy.cost.charge import PRODUCT, Priced
from snnenergy.cost.fit import WEIGHTS, is_width
from snnenergy.cost.memory import traffic
from snnenergy.cost.records import Breakdown, Duration, Estimate, Fit
from snnenergy.cost.run import Run, named
from snnenergy.cost.structure import Population
from snnenergy.hardware.profile import Barrier, Roofline
from snnenergy.hardware.quantity import show


@dataclass(frozen=True)
class Told:
    """Everything that the sentences are made of.  unseen: neurons whose spikes are charged and were not seen"""

    run: Run
    priced: Mapping[str, Priced]
    mapped: tuple[Population, ...]
    fit: Fit
    time: Duration | None
    breakdown: Breakdown
    unseen: tuple[str, ...] = ()


def lines(told: Told) -> tuple[str, ...]:
    """Every caveat, the most important first, each once."""
    parts = (_missing, _misfits, _neurons, _learning, _numbers, _memory, _timing, _ignored, _profile)
    return tuple(dict.fromkeys(line for part in parts for line in part(told)))


def verdict(told: Told, nothing: bool) -> str:
    """A few words for a table cell."""
    domains = _unsupported(told)
    if nothing:
        return (
            f"{next(iter(domains))}: not supported"
            if domains
            else next(r for r in map(reason, told.priced.values()) if r)
        )
    if domains:
        synaptic = sum(1 for layer in told.run.counts.layers if layer.role == "synaptic")
        count = len({path for paths in domains.values() for path in paths})
        return f"partial: {next(iter(domains))} in {count} of {synaptic} layers"
    missing = [figure for row in told.priced.values() for figure in row.missing]
    if missing:
        return f"partial: {missing[0]} not published"
    if told.unseen:
        return "partial: spikes not seen"
    if told.run.chip.family == "processor":
        if told.fit.fits is False:
            return "does not fit"
        return told.time.bound if told.time is not None else "energy only"
    if told.run.chip.family == "datapath":
        return "energy only" if told.run.chip.memory else "energy only, no memory"
    return _fit_verdict(told)


def _fit_verdict(told: Told) -> str:
    hard = [p for p in told.fit.problems if not is_width(p)]
    cores, chips = told.fit.cores, told.fit.chips or 1
    if hard:
        return f"does not fit: {hard[0].split(': ', 1)[1]}"
    if cores is None:
        return "fit unknown"
    room = f"{cores} core{'s' * (cores > 1)}" if chips == 1 else f"{chips} chips"
    if told.fit.at_bits is not None:
        return f"{room} at {told.fit.at_bits} bits"
    return f"fits {room}" if chips == 1 else f"needs {room}"


def reason(row: Priced) -> str:
    """Why a layer was not priced, for its own line."""
    if row.unsupported:
        return f"{row.unsupported[0]}: not supported"
    if row.missing:
        return f"{row.missing[0]}: not published"
    return "no stream recorded" if row.unrecorded else ""


def _unsupported(told: Told) -> dict[str, list[str]]:
    domains: dict[str, list[str]] = {}
    for path, row in told.priced.items():
        for domain in row.unsupported:
            domains.setdefault(domain, []).append(path)
    return {domain: domains[domain] for domain in sorted(domains)}  # analog first, the farthest from spikes


def _missing(told: Told) -> Iterator[str]:
    for domain, paths in _unsupported(told).items():
        cure = "it needs a host" if domain == PRODUCT else "needs an encoder or a host"
        yield f"{domain}: not supported ({named(paths)}): {cure}; not priced, the total is partial"
    unpublished: dict[str, list[str]] = {}
    for path, row in told.priced.items():
        for figure in row.missing:
            unpublished.setdefault(figure, []).append(path)
    for figure, paths in unpublished.items():
        yield f"{figure} is not published ({named(paths)}): not priced, the total is partial"
    if not told.run.counts.seen:
        yield from _from_shapes(told)
        return
    if told.run.counts.conditions.assumed:
        yield f"activity is assumed, not measured: {told.run.counts.conditions.assumed}"
    unrecorded = [path for path, row in told.priced.items() if row.unrecorded]
    if unrecorded:
        yield f"no stream was recorded ({named(unrecorded)}), so its domain is unknown: not priced, the total is partial"
    if told.unseen:
        yield f"the spikes of {named(told.unseen)} were not seen: what they cost is not priced, the total is partial"
    if told.run.counts.uncounted:
        paths = list(dict.fromkeys(f"{row.path} ({row.op})" for row in told.run.counts.uncounted))
        yield f"uncounted arithmetic, {named(paths)}: not priced, the total is partial"
    if told.run.counts.conditions.synthetic and not told.run.counts.conditions.assumed:
        yield "inputs were synthetic: activity, and every cost that follows from it, means nothing"
    if told.run.counts.conditions.predicted:
        yield f"predicted, of a net that was not built: {told.run.counts.conditions.predicted}"


def _from_shapes(told: Told) -> Iterator[str]:
    """What counts of shapes leave open on this chip, with the bound that shapes alone give."""
    run = told.run
    if any(row.unrecorded for row in told.priced.values()):
        most = sum(run.per(layer.valid_macs) for layer in run.counts.layers)
        yield (
            "activity is not known (counted from shapes), and this chip's cost follows from it: not priced; at most "
            f"{most:,.0f} taps are driven per inference, if no input is ever zero; assume rates with --assume-rate or --rates"
        )
    else:
        yield "activity is not known (counted from shapes); this chip does the dense operation whatever the values"
    if run.counts.uncounted:
        paths = list(dict.fromkeys(f"{row.path} ({row.op})" for row in run.counts.uncounted))
        yield f"uncounted arithmetic, {named(paths)}: not priced, the total is partial"


def _misfits(told: Told) -> Iterator[str]:
    problems = [p for p in told.fit.problems if not p.endswith("input is not supported")]  # told already
    weights = [p for p in problems if is_width(p)]
    others = [p for p in problems if p not in weights]
    for problem in others[:6]:
        yield f"does not fit: {problem}"
    if len(others) > 6:
        yield f"does not fit: {len(others) - 6} more reasons of this kind"
    if weights:
        paths = [p.removeprefix("layer ").split(":", 1)[0] for p in weights]
        limit = weights[0].rsplit("> ", 1)[1]
        yield f"{WEIGHTS} wider than {limit} bits ({named(paths)}): priced as quantised to {limit} bits, which was not tried"
    if told.fit.chips is not None and told.fit.chips > 1:
        yield f"needs {told.fit.chips} chips; traffic between chips is not modelled"


def _neurons(told: Told) -> Iterator[str]:
    run = told.run
    if run.chip.energy.neuron_access is not None or run.chip.energy.neuron_update is not None:
        bare = [p.path for p in told.mapped if p.neuron is None]
        if bare:
            yield f"no neuron recognised behind {named(bare)}: one neuron per output element and step is charged"
    unnamed = [p.path for p in told.mapped if p.neuron is not None and not p.neuron.neuron_model]
    if unnamed and run.chip.supports.neuron_models is not None:
        yield f"neuron model not known ({named(unnamed)}): not checked against the chip's"
    host = {path: row.host_arithmetic for path, row in told.priced.items() if row.host_arithmetic}
    if host:
        yield f"left to the host: {sum(host.values()):,.0f} elementwise operations outside neurons ({named(list(host))}), not priced"
    specials = sum(row.specials for row in told.priced.values())
    if specials:
        one = "sample" if run.counts.conditions.training else "inference"
        yield f"special functions (exp, tanh, division ...) have no price here: {specials:,.0f} per {one} are left out"


def _learning(told: Told) -> Iterator[str]:
    """What a price by the update leaves open: who visits which synapses, and traces."""
    run = told.run
    rows = [layer for layer in run.counts.learning if told.priced[layer.path].priced]
    price = run.chip.energy.synapse_update
    if price is None or not rows or run.chip.family != "neuromorphic":
        return
    most = run.steps * sum(layer.geometry.get("synapses", layer.weights) for layer in rows)
    updates, traces = (run.per(sum(getattr(r, n) for r in rows)) for n in ("synapse_updates", "trace_updates"))
    yield (
        f"learning: {updates:,.0f} synapse updates per inference, one for each synapse of each neuron that fires; "
        f"an engine that visits every synapse in every step makes {most:,.0f}, {show(most * price.value, 'J')}"
    )
    yield f"learning: {traces:,.0f} updates of spike traces per inference have no price of their own"
    if isinstance(run.chip.latency, Barrier) and run.chip.latency.synapse_update is None:
        yield "learning: its time is not published, and left out"


def _numbers(told: Told) -> Iterator[str]:
    """Number formats, and the ratio papers quote, with the format it belongs to."""
    run = told.run
    if not run.chip.arithmetic:
        return
    layers = [layer for layer in run.counts.layers if layer.dense_macs]
    for figures in dict.fromkeys(run.arithmetic(layer) for layer in layers):
        if figures.mac is not None and figures.add is not None and figures.add.value:
            yield f"MAC/AC = {figures.mac.value / figures.add.value:.1f} ({figures.format})"
    for layer in layers:
        own = run.width(layer)
        if run.arithmetic(layer).bits != own:
            yield f"{own}-bit arithmetic is not published; priced as {run.arithmetic(layer).format}"


def _memory(told: Told) -> Iterator[str]:
    run = told.run
    if run.chip.memory is None:
        return
    spilled = [s for layer in run.counts.layers if layer.seen for s in traffic(run, layer).spilled]
    if spilled:
        more = f" and {len(spilled) - 3} more" if len(spilled) > 3 else ""
        yield f"too large for {run.chip.memory.levels[0].name}: {'; '.join(spilled[:3])}{more}"
    if run.chip.memory.law is not None:
        yield f"memory law: {run.chip.memory.law}"


def _timing(told: Told) -> Iterator[str]:
    time, power = told.time, told.run.chip.power
    if time is None:
        return
    yield from time.notes
    apart = [path for path, row in told.priced.items() if not row.runs]
    if apart and isinstance(told.run.chip.latency, Barrier | Roofline):
        yield f"latency: without {named(apart)}, which this chip is not known to run"
    capacity, cores = told.run.chip.capacity, told.fit.cores
    if power.static is not None and capacity is not None and capacity.cores is not None and cores:
        share = cores / ((told.fit.chips or 1) * capacity.cores.value)
        pro_rata = show(told.breakdown.static.nominal * share, "J")
        yield f"{cores} of {capacity.cores.value * (told.fit.chips or 1)} cores used; their share of the static energy is {pro_rata}"
    drawn = told.breakdown.dynamic.nominal / time.occupied.nominal if time.occupied.nominal else 0.0
    if power.resolvable is not None and drawn < power.resolvable.value:
        limit = show(power.resolvable.value, "W")
        yield f"dynamic energy not resolvable on silicon: its {show(drawn, 'W')} are below the {limit} that meters told apart"


def _ignored(told: Told) -> Iterator[str]:
    """Options that mean nothing on this chip."""
    if told.run.batch > 1 and told.run.chip.family != "processor" and not told.run.counts.conditions.training:
        yield "batch has no meaning here: this chip runs one inference at a time"
    if told.run.pipeline and told.run.chip.family != "neuromorphic":
        yield "pipelining over time steps has no meaning here"


def _profile(told: Told) -> Iterator[str]:
    chip = told.run.chip
    for figure, effect in chip.unknown.items():
        yield f"{figure}: {effect}"
    yield from chip.assumptions
    if chip.operating_point in chip.operating_points:
        yield f"operating point {chip.operating_point}: {chip.operating_points[chip.operating_point].note}"


def with_batch(made: Estimate, other: Estimate, batch: int) -> Estimate:
    """The estimate at batch 1, with what the run's own batch would cost told beside it."""
    if other.energy is None or other.latency is None:
        return made
    energy, time = show(other.energy.nominal, "J"), show(other.latency.nominal, "s")
    line = f"at batch {batch}, as run: {energy} per inference, {time} per batch ({other.verdict})"
    return dataclasses.replace(made, caveats=(line, *made.caveats))
