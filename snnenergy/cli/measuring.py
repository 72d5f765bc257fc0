"""`snnenergy calibrate` and `snnenergy measure`: a profile of this machine, and a model measured beside its estimate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnenergy.cli import options as o
from snnenergy.cli import output, overwriting
from snnenergy.cli.runner import command, say
from snnenergy.errors import UsageError

if TYPE_CHECKING:
    from snnenergy.cost.records import Estimate, Measurement
    from snnenergy.counts import Counts
    from snnenergy.hardware import Profile
    from snnenergy.measure import Machine

OWN = "this_machine.yaml"
Device = Annotated[str, typer.Option("--device", metavar="cpu|cuda", help="Where models run.")]


def register(app: typer.Typer) -> None:
    for run in (calibrate, measure):
        command(app, run)


def calibrate(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The profile; its name is the chip's.")] = Path(
        OWN
    ),
    device: Device = "cpu",
    force: o.Force = False,
    json: o.Json = None,
) -> None:
    """Fits a hardware profile to this machine: rates, bandwidths, launch overheads, and power where it can be read.

    Takes one to two minutes; let nothing else run. `measure` and `--hardware FILE` read the profile.
    """
    from snnenergy.measure import calibrate as fit
    from snnenergy.measure import render, this_machine

    wanted = output.check({"profile": str(out), "json": json})
    name = _name(out)
    output.keep(out, force=force)
    text = render(fit(this_machine(device), output.progress), name)
    chip = _checked(text, out)
    output.write(str(out), text)
    documents = {"json": output.as_json(chip.model_dump(mode="json"))} if json else {}
    output.deliver(documents, wanted, _told(chip, out))


def _name(out: Path) -> str:
    import re

    if out.suffix not in (".yaml", ".yml") or not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,39}", out.stem):
        raise UsageError(f"--out {out}: expected a name such as {OWN}: small letters, digits and _, then .yaml")
    return out.stem


def _checked(text: str, out: Path) -> Profile:
    from snnenergy.hardware.library import parse

    return parse(text, out)


def _told(chip: Profile, out: Path) -> str:
    from snnenergy.report import quantities as q

    rows = []
    made = chip.calibration
    assert made is not None  # just calibrated
    for row in chip.arithmetic:
        for kind in ("matmul", "conv", "recurrent", "elementwise"):
            rate, met = getattr(row.rates, kind), made.residuals.get(f"{row.format} {kind}")
            if rate is not None and met is not None:
                launch = getattr(getattr(chip.latency, "launches", None), kind, None)
                rows.append(
                    (f"{row.format} {kind}", q.quantity(rate.value, "op/s"), q.quantity(launch and launch.value, "s"),
                     str(met.probes), f"{met.low:.2f} to {met.high:.2f}")
                )  # fmt: skip  # one row
    levels = chip.memory.levels if chip.memory else ()
    widths = [f"{level.name} {q.quantity(level.bandwidth.value / 8, 'B/s')}" for level in levels if level.bandwidth]
    power = chip.power
    watts = (
        [f"idle {q.quantity(power.idle.value, 'W')}, launching {q.quantity(power.static.value, 'W')} ({made.meter})"]
        if power.idle and power.static
        else [f"energy is not readable here ({made.meter}); time is"]
    )
    head = ("class", "rate", "launch", "probes", "predicted / measured")
    lines = [*output.wrapped(f"{chip.title}, {made.device}, {made.threads} threads: written to {out}"), ""]
    lines += [output.table(head, rows), *output.wrapped(f"reading: {', '.join(widths)}")]
    return "\n".join([*lines, *(line for text in watts for line in output.wrapped(text))]) + "\n"


def measure(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A .pt2, .pt or .safetensors file, or pkg.mod:factory.")
    ],
    reading: o.Reading,
    hardware: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE", help=f"The calibrated profile; default: {OWN} in this folder, where there is one."
        ),
    ] = None,
    device: Device = "cpu",
    json: o.Json = None,
    html: o.Html = None,
    markdown: o.Markdown = None,
) -> None:
    """Runs a model warm on this machine: measured time and energy beside the estimate of the calibrated profile."""
    from snnenergy.cli.models import counts_of, loaded
    from snnenergy.measure import measure as run
    from snnenergy.measure import this_machine

    wanted = output.check({"json": json, "html": html, "markdown": markdown})
    overwriting.refuse(wanted.items(), [hardware or OWN])
    machine, chip = this_machine(device), _profile(hardware)
    if chip is None and set(wanted) - {"json"}:
        raise UsageError("--html and --markdown: a report needs the profile of a chip; pass --hardware PROFILE")
    reading.needs_values("measure")
    work = loaded(model, reading, 0, 1)
    counts = counts_of(work, reading)
    batch = max(1, round(counts.samples / max(1, counts.forwards)))
    output.progress(f"running {work.name} on {device}")
    seen = run(work, machine, batch)
    found = None
    if chip is not None:
        from snnenergy.cost import estimate

        found = estimate(counts, chip, batch=batch)
        _warn(chip, machine)
    documents = {}
    if json:
        documents["json"] = output.as_json(
            {"measured": _plain(seen), "estimate": None if found is None else _plain(found)}
        )
    if chip is not None:
        documents |= _reports(wanted, counts, chip, seen)
    output.deliver(documents, wanted, _table(seen, found))


def _reports(wanted: Mapping[str, str], counts: Counts, chip: Profile, seen: Measurement) -> dict[str, str]:
    """The report's other formats; what was measured stands among its notes."""
    from dataclasses import replace

    from snnenergy.cli.delivery import Look, formats
    from snnenergy.cost import compare

    forms = sorted(set(wanted) - {"json"})
    if not forms:
        return {}
    made = compare({counts.model: counts}, [chip], batch=seen.batch)
    made = replace(made, notes=(*_sentences(seen), *made.notes))
    known = formats(Look())
    return {form: known[form](made) for form in forms}


def _sentences(seen: Measurement) -> tuple[str, ...]:
    """What was measured, in words."""
    from snnenergy.report import quantities as q

    time = f"measured on {seen.machine}: {q.quantity(seen.time.nominal, 's')} for a batch of {seen.batch}"
    time += f" (95 %: {q.interval(seen.time, 's')}, {seen.runs} warm runs)"
    if seen.joules is None:
        return time, seen.meter
    net = q.quantity(seen.net_joules, "J")
    return (
        time,
        f"measured energy: {q.quantity(seen.joules, 'J')} per inference, {net} with idle subtracted ({seen.meter})",
    )


def _profile(named: str | None) -> Profile | None:
    from snnenergy.hardware import load_hardware

    if named is None and not Path(OWN).exists():
        say(f"note: no {OWN} here, so nothing is estimated; `snnenergy calibrate` makes one")
        return None
    return load_hardware(named or Path(OWN))


def _warn(chip: Profile, machine: Machine) -> None:
    """Where the profile is not of this machine, as it runs now."""
    made = chip.calibration
    if made is None:
        say(f"note: {chip.name} was not calibrated here; measured and estimated are of two machines")
        return
    here = (machine.name, machine.device.type, machine.threads if machine.device.type == "cpu" else made.threads)
    then = (made.machine, made.device, made.threads)
    if here != then:
        say(
            f"note: {chip.name} was calibrated on {then[0]} ({then[1]}, {then[2]} threads), this is {here[0]} ({here[1]}, {here[2]} threads)"
        )


def _plain(record: object) -> object:
    from snnenergy import counts_json

    return counts_json.encode(record)


def _table(seen: Measurement, found: Estimate | None) -> str:
    from snnenergy.report import quantities as q

    took, used = (None, None) if found is None else (found.latency, found.energy)
    seconds, joules = (None if r is None else r.nominal for r in (took, used))
    many = f", batch {seen.batch}" if seen.batch > 1 else ""
    rows = [
        (f"time{many}", q.quantity(seen.time.nominal, "s"), q.interval(seen.time, "s"),
         q.quantity(seconds, "s"), q.interval(took, "s"), _ratio(seconds, seen.time.nominal)),
    ]  # fmt: skip  # one row
    if seen.joules is not None:
        rows.append(("energy", q.quantity(seen.joules, "J"), "", q.quantity(joules, "J"), q.interval(used, "J"),
                     _ratio(joules, seen.joules)))  # fmt: skip  # one row
        rows.append(("energy, idle subtracted", q.quantity(seen.net_joules, "J"), "", "", "", ""))
    head = ("", "measured", "95 %", "estimated", "range", "ratio")
    precise = "" if seen.precise else "; the interval is wider than 2 %: the machine is busy, or the model is uneven"
    words = [f"{seen.model} on {seen.machine}", f"{seen.runs} warm runs{precise}", seen.meter]
    if seen.idle_watts is not None and seen.window is not None:
        words[-1] += f", over {seen.window:.1f} s; idle {q.quantity(seen.idle_watts, 'W')}"
    return output.table(head, rows) + "\n".join(line for text in words for line in output.wrapped(text)) + "\n"


def _ratio(estimated: float | None, measured: float) -> str:
    return f"{estimated / measured:.2f}" if estimated is not None and measured else "-"
