"""A calibration as the text of a hardware profile."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable
from typing import Any

from snnenergy.hardware.quantity import show
from snnenergy.measure.calibration import Calibration, Energies, Format
from snnenergy.measure.fitting import Residuals
from snnenergy.measure.machine import description

SOURCE = "calibration"
NO_ENERGY = "no power counter was read here, so energy is unknown and only time is estimated"
ABSORBED = "too small to be told apart from the power of launching"


def render(made: Calibration, name: str) -> str:
    """YAML that `load_hardware` reads, under that name."""
    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.representer.add_representer(
        type(None),
        lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"),  # an empty value reads badly
    )
    yaml.dump(_profile(made, name), out)
    return out.getvalue()


def _profile(made: Calibration, name: str) -> dict[str, Any]:
    unknown: dict[str, str] = {}
    known = made.energies
    dense = dict.fromkeys(("spike", "ternary", "graded", "analog"), "dense_mac")
    profile: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "title": made.machine.name,
        "family": "processor",
        "node": "not told by the machine",
        "summary": "Fitted to probes that ran on this machine: chains of single layers, each of one class of operations.",
        "sources": {
            SOURCE: {
                "title": f"snnenergy calibrate on {made.machine.name}",
                "year": datetime.datetime.now(tz=datetime.UTC).year,
                "note": description(made.machine),
            }
        },
        "charges": {**dense, "note": "Dense kernels: every multiply-accumulate is computed, zero or not."},
        "arithmetic": [_arithmetic(row, i, known, unknown) for i, row in enumerate(made.formats)],
        "power": _power(known, unknown, made.meter),
        "memory": {"dataflow": "streamed", "levels": [_level(row, known) for row in made.bandwidths]},
        "latency": _latency(made.formats[0]),
        "assumptions": [
            "what a warm forward touches lies in the smallest memory level that holds all of it",
            "elementwise operations run at one rate, their memory traffic included",
        ],
        "calibration": _calibration(made),
    }
    if unknown:
        profile["unknown"] = unknown
    return profile


def _figure(value: str, note: str = "", how: str = "fitted", **ends: str) -> dict[str, str]:
    return {"value": value, **ends, "source": SOURCE, "how": how, **({"note": note} if note else {})}


def _arithmetic(row: Format, i: int, known: Energies | None, unknown: dict[str, str]) -> dict[str, Any]:
    best = max(row.speeds, key=lambda kind: row.speeds[kind].rate)
    made: dict[str, Any] = {"bits": row.bits, "format": row.name, "mac": None}
    found = [j for j in (known.macs[row.name] if known else ()) if j is not None]
    if found:
        note = "largest products and convolutions, over the power of launching"
        made["mac"] = _figure(
            show(sum(found) / len(found), "J"), note, low=show(min(found), "J"), high=show(max(found), "J")
        )
    else:
        unknown[f"arithmetic.{i}.mac"] = ABSORBED if known else NO_ENERGY
    if known is not None and known.elementwise is not None:
        each = _figure(
            show(known.elementwise * row.bits / 32, "J"), "elementwise in fp32, memory traffic included, by width"
        )
        made |= {"add": each, "mul": dict(each)}
    made["peak"] = _figure(show(row.speeds[best].rate, "OP/s"), f"the fastest class: {best}")
    made["rates"] = {
        kind: _figure(
            show(speed.rate, "OP/s"), _met(row.residuals[kind]), **_ends(speed.rate, row.residuals[kind], "OP/s")
        )
        for kind, speed in row.speeds.items()
    }
    return made


def _ends(rate: float, met: Residuals, unit: str) -> dict[str, str]:
    """Ends that hold every probe: a probe that took twice as long as predicted ran at half the rate."""
    return {"low": show(rate * min(1.0, met.low), unit), "high": show(rate * max(1.0, met.high), unit)}


def _met(met: Residuals) -> str:
    return f"{met.probes} probes, predicted / measured {met.low:.2f} to {met.high:.2f}; worst: {met.worst}"


def _power(known: Energies | None, unknown: dict[str, str], meter: str) -> dict[str, Any]:
    if known is None:
        unknown["power.static"] = NO_ENERGY
        return {"static": None}
    busy, rest = max(known.busy, known.idle), min(known.busy, known.idle)
    return {
        "static": _figure(
            show(busy, "W"), f"while it does nothing but launch; {meter}", "measured", low=show(rest, "W")
        ),
        "idle": _figure(show(known.idle, "W"), f"at rest, its memory held; {meter}", "measured"),
    }


def _level(row: tuple[str, int | None, float], known: Energies | None) -> dict[str, Any]:
    name, size, width = row
    made: dict[str, Any] = {"name": name}
    if size is not None:
        made["capacity"] = _figure(f"{size >> 10} KiB", how="datasheet", note="as the system states it")
    made["bandwidth"] = _figure(show(width, "bit/s"), "reading", "measured")
    if known is not None and known.bit is not None and size is None:
        made["per_bit"] = _figure(show(known.bit, "J/bit"), "reading, over the power of launching")
    return made


def _latency(row: Format) -> dict[str, Any]:
    launches = {
        kind: _figure(
            show(speed.launch, "s"),
            _met(row.residuals[kind]),
            low=show(speed.launch * min(1.0, 1 / row.residuals[kind].high), "s"),
            high=show(speed.launch * max(1.0, 1 / row.residuals[kind].low), "s"),
        )
        for kind, speed in row.speeds.items()
    }
    return {"model": "roofline", "launch": dict(launches["elementwise"]), "launches": launches}


def _calibration(made: Calibration) -> dict[str, Any]:
    return {
        "machine": made.machine.name,
        "device": made.machine.device.type,
        "threads": made.machine.threads,
        "versions": made.machine.versions,
        "meter": made.meter if made.energies is not None else f"none: {made.unread}"[:400],
        "residuals": dict(_residuals(made.formats)),
    }


def _residuals(formats: Iterable[Format]) -> Iterable[tuple[str, dict[str, Any]]]:
    for row in formats:
        for kind, met in row.residuals.items():
            yield f"{row.name} {kind}", {
                "probes": met.probes, "median": round(met.median, 3), "low": round(met.low, 3), "high": round(met.high, 3),
                "worst": met.worst,
            }  # fmt: skip  # one record
