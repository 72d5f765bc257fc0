"""Counts and a chip in, an Estimate out: the parts put together, with everything a reader must know."""

from __future__ import annotations

import os
from collections.abc import Mapping

from snnenergy.cost import caveats
from snnenergy.cost.charge import Priced, is_dense, layer_energy, neuron_energy
from snnenergy.cost.fit import Placement, fit, place
from snnenergy.cost.latency import duration
from snnenergy.cost.memory import address_operations, traffic
from snnenergy.cost.records import ZERO, Breakdown, Duration, Estimate, Fit, LayerEstimate, Range
from snnenergy.cost.routing import routing_energy, unseen
from snnenergy.cost.run import Run, span
from snnenergy.cost.structure import Population
from snnenergy.cost.training import batch_of, demand_step, refusal
from snnenergy.counts import Counts, LayerCounts
from snnenergy.errors import BudgetError, UsageError, near
from snnenergy.hardware import Profile, load_hardware

StrPath = str | os.PathLike[str]


def estimate(
    counts: Counts,
    profile: Profile | StrPath,
    *,
    batch: int | None = None,
    bits: int | None = None,
    operating_point: str | None = None,
    pipeline: bool = False,
    strict_fit: bool = False,
) -> Estimate:
    """Joules and seconds of one inference of the counted model on a chip, low / nominal / high.

    Of training counts: joules per sample of a step, and seconds of the step, at the batch of the step.

    batch: inferences that run together on a processor; default one, with the batch of the run told beside it
    bits: width of weights and values, in place of the layers' own
    operating_point: another voltage, tick or memory law that the profile names
    pipeline: inferences follow each other without a gap, so filling the layers is not waited for
    strict_fit: BudgetError when the net does not fit the chip
    """
    chip = profile if isinstance(profile, Profile) else load_hardware(profile)
    if counts.conditions.training:
        demand_step(counts, batch, pipeline=pipeline)
        return _fitting(dynamic_only(counts, chip, operating_point, bits=bits), strict_fit)
    run = Run(_usable(counts), _at(chip, operating_point), _positive("batch", batch), _width(bits), pipeline)
    made = _fitting(_estimate(run, _band(run.chip)), strict_fit)
    own = round(counts.samples / counts.forwards) if counts.forwards else 1
    if batch is None and own > 1 and chip.family == "processor":
        other = _estimate(Run(run.counts, run.chip, own, bits, pipeline), made.band)
        return caveats.with_batch(made, other, own)
    return made


def _fitting(made: Estimate, strict: bool) -> Estimate:
    if strict and made.fit.fits is False:
        raise BudgetError(f"{made.model} does not fit {made.title}:\n" + "\n".join(made.fit.problems[:12]))
    return made


def dynamic_only(
    counts: Counts,
    chip: Profile,
    operating_point: str | None = None,
    *,
    batch: int = 1,
    bits: int | None = None,
    pipeline: bool = False,
) -> Estimate:
    """An estimate without its validated band, which is made of such estimates.

    Of training counts at the batch of their step; no band was validated for those.
    """
    if counts.conditions.training:
        run = Run(_usable(counts), _at(chip, operating_point), batch_of(counts), _width(bits))
        return _refused(run) if refusal(chip) else _estimate(run, "unvalidated for training")
    return _estimate(Run(_usable(counts), _at(chip, operating_point), batch, _width(bits), pipeline), "")


def _refused(run: Run) -> Estimate:
    why = refusal(run.chip)
    return Estimate(
        run.counts.model,
        run.chip.name,
        run.chip.title,
        None,
        None,
        caveats=(why,),
        verdict=why.partition(":")[0],
        partial=True,
    )


def again(counts: Counts, chip: Profile, options: Mapping[str, str]) -> Estimate:
    """An estimate, without its band, under the options of another: its batch, bits and pipelining."""
    batch, bits = (int(options[name]) if options.get(name, "").isdecimal() else None for name in ("batch", "bits"))
    return dynamic_only(counts, chip, batch=batch or 1, bits=bits, pipeline="pipeline" in options)


def _usable(counts: Counts) -> Counts:
    """The counts, where they hold a sample; else UsageError."""
    if counts.samples < 1:
        raise UsageError(f"{counts.model}: these counts hold no sample; there is no inference to price")
    return counts


def _positive(name: str, value: int | None) -> int:
    if value is not None and value < 1:
        raise UsageError(f"{name} must be at least 1, found {value}")
    return value or 1


def _width(bits: int | None) -> int | None:
    if bits is not None and not 1 <= bits <= 128:
        raise UsageError(f"bits must be 1 to 128, found {bits}")
    return bits


def _at(chip: Profile, name: str | None) -> Profile:
    try:
        return chip.at(name)
    except KeyError:
        known = (chip.operating_point, *chip.operating_points)
        raise UsageError(f"{chip.name} has no operating point {name!r}{near(str(name), known)}") from None


def _band(chip: Profile) -> str:
    from snnenergy.cost.validate import band

    return band(chip)


def _unknown(run: Run, band: str) -> Estimate:
    """Counts of shapes on a chip whose cost follows from values: no price, and whether the net fits."""
    priced = {layer.path: layer_energy(run, layer) for layer in run.counts.layers}
    fitted = fit(run, run.populations, place(run, run.populations), {})
    told = caveats.Told(run, priced, (), fitted, None, Breakdown())
    return Estimate(
        model=run.counts.model,
        hardware=run.chip.name,
        title=run.chip.title,
        energy=None,
        latency=None,
        fit=fitted,
        caveats=caveats.lines(told),
        verdict="activity not known",
        partial=True,
        band=band,
        latency_model=run.chip.latency.model,
        sources=_sources(run),
        options=_options(run),
    )


def _sources(run: Run) -> tuple[str, ...]:
    return tuple(s.doi or s.url or s.title for s in run.chip.sources.values())


def _estimate(run: Run, band: str) -> Estimate:
    if not run.counts.seen and not is_dense(run.chip):
        return _unknown(run, band)
    priced = {layer.path: layer_energy(run, layer) for layer in run.counts.layers}
    mapped = tuple(p for p in run.populations if _is_mapped(p, priced))
    placement = place(run, mapped)
    unsupported = {path: row.unsupported[0] for path, row in priced.items() if row.unsupported}
    fitted = fit(run, mapped, placement, unsupported)
    homes = {p.path: p for p in mapped}
    layers = [_layer(run, layer, priced[layer.path], homes.get(layer.path), placement) for layer in run.counts.layers]
    time = duration(run, mapped, placement, {path for path, row in priced.items() if not row.runs})
    breakdown = sum((row.breakdown for row in layers), Breakdown()) + _standing(run, fitted, time)
    complete = all(row.priced for row in layers)
    nothing = not complete and not any(row.priced and row.events for row in layers)
    runs = not nothing or all(row.runs for row in priced.values())
    hidden = unseen(run, mapped, placement)
    partial = bool(run.counts.uncounted) or not complete or bool(hidden)
    told = caveats.Told(run, priced, mapped, fitted, time, breakdown, hidden)
    return Estimate(
        model=run.counts.model,
        hardware=run.chip.name,
        title=run.chip.title,
        energy=None if nothing else breakdown.total,
        latency=None if time is None or not runs else time.latency,
        layers=tuple(layers),
        breakdown=Breakdown() if nothing else breakdown,
        fit=fitted,
        caveats=caveats.lines(told),
        verdict=caveats.verdict(told, nothing),
        partial=partial,
        band=band,
        latency_model=run.chip.latency.model,
        sources=_sources(run),
        options=_options(run),
    )


def _is_mapped(population: Population, priced: Mapping[str, Priced]) -> bool:
    """Neurons are mapped even where what drives them is not; a layer without neurons only when it is priced itself."""
    return population.neuron is not None or all(priced[w.path].priced for w in population.synaptic)


def _layer(
    run: Run, layer: LayerCounts, row: Priced, population: Population | None, placement: Placement | None
) -> LayerEstimate:
    breakdown, words = row.breakdown, list(row.words)
    if population is not None and population.neuron is not None:
        spikes = run.per(layer.spikes_out or 0)
        breakdown += neuron_energy(run, neurons=layer.neurons, updates=run.per(layer.updates), spikes=spikes)
        words.append(f"{layer.neurons:,} neurons x {run.steps} steps")
    elif population is not None:
        outputs = run.per(layer.output_elements)
        breakdown += neuron_energy(run, neurons=population.neurons, updates=outputs, spikes=0.0)
    if population is not None and placement is not None:
        breakdown += routing_energy(run, population, placement)
    breakdown += Breakdown(memory=traffic(run, layer).energy + _addresses(run, layer))
    return LayerEstimate(
        path=layer.path,
        breakdown=breakdown,
        charged="; ".join(dict.fromkeys(words)) or caveats.reason(row),
        priced=row.priced,
        events=row.events,
        cores=placement.cores.get(layer.path) if placement is not None else None,
    )


def _addresses(run: Run, layer: LayerCounts) -> Range:
    if run.chip.memory is None or run.chip.memory.dataflow != "per_event":
        return ZERO
    adds, macs = address_operations(run, layer)
    figures = run.arithmetic(layer)
    return span(figures.add) * adds + span(figures.mac) * macs


def _standing(run: Run, fitted: Fit, time: Duration | None) -> Breakdown:
    """Static and host power over the time the chip is held, shared by the batch."""
    if time is None:
        return Breakdown()
    together = run.batch if run.chip.family == "processor" else 1
    chips = (fitted.chips or 1) / together
    return Breakdown(
        static=_product(span(run.chip.power.static), time.occupied) * chips,
        host=_product(span(run.chip.power.host), time.occupied) * chips,
    )


def _product(power: Range, time: Range) -> Range:
    return Range(power.low * time.low, power.nominal * time.nominal, power.high * time.high)


def _options(run: Run) -> dict[str, str]:
    options = {"batch": str(run.batch)} if run.chip.family == "processor" else {}
    if run.bits is not None:
        options["bits"] = str(run.bits)
    if run.chip.operating_point != "default":
        options["operating_point"] = run.chip.operating_point
    if run.pipeline:
        options["pipeline"] = "yes"
    return options
