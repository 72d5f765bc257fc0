"""Calibration: run the probes, fit the speeds, read the meter; the result is plain values that a profile is written from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from snnenergy.cost.roofline import Terms, terms
from snnenergy.cost.run import Run
from snnenergy.counts import Counts
from snnenergy.hardware.memory import Level, Memory
from snnenergy.hardware.profile import Charges, NoLatency, OpClass, Profile
from snnenergy.measure import meters
from snnenergy.measure.fitting import Residuals, Sample, Speed, fit, residuals
from snnenergy.measure.machine import Machine
from snnenergy.measure.probes import Probe, probes
from snnenergy.measure.timing import timed
from snnenergy.trace import count

FORMATS = {
    "cpu": {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64},
    "cuda": {"fp32": torch.float32, "fp16": torch.float16},
}
"""Number formats that are timed, the one that launches are fitted in first."""
KINDS: tuple[OpClass, ...] = ("elementwise", "matmul", "conv", "recurrent")
PATIENCE_S = 0.5
"""Seconds a probe is repeated for at most."""
FAR = {"cpu": 256 << 20, "cuda": 2 << 30}
"""Bytes that no cache holds."""
NEAR = 1 << 12

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One number format: the speed of every class that it runs, and how well its probes were met."""

    name: str
    bits: int
    speeds: dict[OpClass, Speed]
    residuals: dict[OpClass, Residuals]


@dataclass(frozen=True, slots=True)
class Energies:
    """Watts at rest and while nothing but launches runs; joules per MAC (of products, of convolutions), per elementwise
    operation, per bit read; what could not be told apart from the launches is None.
    """

    idle: float
    busy: float
    macs: dict[str, tuple[float | None, float | None]]
    elementwise: float | None
    bit: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """bandwidths: name, bytes (None: without an end) and bits per second of each level; unread: why there is no energy."""

    machine: Machine
    bandwidths: tuple[tuple[str, int | None, float], ...]
    formats: tuple[Format, ...]
    meter: str
    energies: Energies | None
    unread: str = ""


def calibrate(machine: Machine, progress: Progress = lambda _: None) -> Calibration:
    """Measures this machine; takes one to two minutes."""
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        progress("bandwidth of every memory level")
        widths = _bandwidths(machine)
        formats: list[Format] = []
        for name, dtype in FORMATS[machine.device.type].items():
            made = _format(machine, name, dtype, widths, formats[0] if formats else None, progress)
            formats += [made] if made is not None else []
        meter, unread = meters.find(machine.device)
        energies = None if meter is None else _energies(machine, meter, formats, progress)
    return Calibration(machine, widths, tuple(formats), meter.name if meter else "none", energies, unread)


# ---- time


def _bandwidths(machine: Machine) -> tuple[tuple[str, int | None, float], ...]:
    """Bits per second of reading: a sum over half of each level, less what a sum of nothing much takes."""
    rest = _reading(machine, NEAR)
    found = []
    for name, size in machine.levels:
        span = FAR[machine.device.type] if size is None else size // 2
        seconds = _reading(machine, span)
        found.append((name, size, 8 * span / max(seconds - rest, 0.1 * seconds)))
    return tuple(found)


def _reading(machine: Machine, size: int) -> float:
    values = torch.ones(size // 4, device=machine.device)
    return timed(values.sum, machine.wait, patience=PATIENCE_S).median


def _format(
    machine: Machine,
    name: str,
    dtype: torch.dtype,
    widths: Sequence[tuple[str, int | None, float]],
    first: Format | None,
    progress: Progress,
) -> Format | None:
    """The speeds of one number format; None where no probe of it runs.  A class that it does not have is left out."""
    bits = 8 * dtype.itemsize
    samples: list[Sample] = []
    for probe in probes(machine.device.type):
        progress(f"{name}: {probe.name}")
        seconds = _time(machine, probe, dtype)
        if seconds is not None:
            rows = _terms(probe, bits)
            samples.append(Sample(probe.kind, probe.name, rows, _width(widths, sum(r.bits for r in rows)), seconds))
    speeds: dict[OpClass, Speed] = {}
    for kind in KINDS:
        if any(s.kind == kind for s in samples):
            launch = first.speeds[kind].launch if first is not None and kind in first.speeds else None
            speeds[kind] = fit(samples, kind, speeds, launch)
    met = {kind: residuals(samples, kind, speeds) for kind in speeds}
    return Format(name, bits, speeds, met) if "matmul" in speeds else None


def _time(machine: Machine, probe: Probe, dtype: torch.dtype) -> float | None:
    """Seconds of one forward of a probe; None where torch has no kernel for it in this format."""
    try:
        run = _ready(machine, probe, dtype)
        return timed(run, machine.wait, patience=PATIENCE_S).median
    except (RuntimeError, NotImplementedError):
        return None


def _ready(machine: Machine, probe: Probe, dtype: torch.dtype) -> Callable[[], Tensor]:
    with machine.device:  # made there: moving gigabytes takes longer than running them
        chain, x = probe.chain().to(dtype), probe.input(probe.batch).to(dtype)
    return lambda: chain(x)


def _terms(probe: Probe, bits: int) -> tuple[Terms, ...]:
    """What a probe asks for, counted on one sample by the engine that counts every model."""
    rows, _ = terms(Run(_counted(probe), _streaming(), probe.batch, bits))
    return rows


@cache
def _counted(probe: Probe) -> Counts:
    return count(probe.chain(), probe.input(1), samples=1, name=probe.name)


@cache
def _streaming() -> Profile:
    """A processor of which nothing is known yet."""
    dense = Charges(spike="dense_mac", ternary="dense_mac", graded="dense_mac", analog="dense_mac")
    return Profile(
        schema_version=1, name="unfitted", title="unfitted", family="processor", node="-", summary="-", sources={},
        charges=dense, memory=Memory(dataflow="streamed", levels=(Level(name="-"),)), latency=NoLatency(model="none"),
    )  # fmt: skip  # one record


def _width(widths: Sequence[tuple[str, int | None, float]], bits: float) -> float:
    """Of the nearest level that holds so many bits."""
    return next(width for _, size, width in widths if size is None or bits <= 8 * size)


# ---- energy


def _energies(machine: Machine, meter: meters.Meter, formats: Sequence[Format], progress: Progress) -> Energies:
    """Five states: at rest, launching, multiplying, doing elementwise arithmetic, reading."""
    kind = machine.device.type
    of = {k: [p for p in probes(kind) if p.kind == k] for k in KINDS}
    progress("power at rest")
    idle = meters.idle(meter).watts
    progress("power while launching")
    busy = _window(machine, meter, _ready(machine, of["elementwise"][0], torch.float32)).watts

    def above(run: Callable[[], object], amount: float) -> float | None:
        """Joules of one unit over what launching draws in the same time."""
        seen = _window(machine, meter, run)
        joules = (seen.joules - busy * seen.seconds) / seen.runs / amount
        return joules if joules > 0 else None

    macs = {}
    for made in formats:
        dtype, largest = FORMATS[kind][made.name], [of[k][-1] for k in ("matmul", "conv")]
        progress(f"energy of a MAC, {made.name}")
        pair = [
            above(_ready(machine, p, dtype), _counted(p).total().dense_macs * p.batch)
            if p.kind in made.speeds
            else None
            for p in largest
        ]
        macs[made.name] = (pair[0], pair[1])
    progress("energy of elementwise arithmetic and of reading")
    last = next(p for p in reversed(of["elementwise"]) if p.name.startswith("ReLU"))
    operations = sum(row.operations for row in _terms(last, 32))
    far = torch.ones(FAR[kind] // 4, device=machine.device)
    return Energies(
        idle, busy, macs, above(_ready(machine, last, torch.float32), operations), above(far.sum, 32 * far.numel())
    )


def _window(machine: Machine, meter: meters.Meter, run: Callable[[], object]) -> meters.Window:
    def once() -> None:
        run()
        machine.wait()

    once()
    return meters.during(meter, once)
