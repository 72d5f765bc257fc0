"""Arithmetic of one process node carried to another by published polynomials; a guess, and every estimate says so.

E(X to Y) = (a_Y V_Y^2 + b_Y V_Y + c_Y) / (a_X V_X^2 + b_X V_X + c_X), Stillmaker & Baas 2017, with the coefficients as
printed in hwcomponents/scaling/techscaling.py of github Accelergy-Project/hwcomponents.
"""

from __future__ import annotations

import re

from snnenergy.errors import UsageError
from snnenergy.hardware.figures import Energy
from snnenergy.hardware.profile import Profile, Source

COEFFICIENTS: dict[int, tuple[float, float, float]] = {
    130: (7.171, -6.709, 2.904),
    90: (4.762, -4.781, 2.092),
    65: (3.755, -4.398, 1.975),
    45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
"""Node in nm -> a, b, c of its energy polynomial in volts."""

LOW_VOLTAGE = 0.7
"""Volts that smaller nodes are run at; our choice, and the high corner keeps the table's own voltage instead."""

MISS = (
    "node scaling is known to miss: from 45 nm it gives 0.013 pJ for an int8 MAC at 7 nm, where 0.077 pJ is published "
    "(profile jouppi_int8), sixfold too low"
)

_SOURCE = Source(
    title="Scaling equations for the accurate prediction of CMOS device performance from 180 nm to 7 nm",
    authors="Stillmaker, Baas",
    year=2017,
    venue="Integration 58:74",
    doi="10.1016/j.vlsi.2017.02.002",
    note="coefficients as printed in github Accelergy-Project/hwcomponents, techscaling.py",
)


def factor(before: int, volts: float, after: int, volts_after: float) -> float:
    """Joules at the node after over joules at the node before.

    >>> round(factor(45, 0.9, 7, 0.7), 4), round(factor(45, 0.9, 45, 0.9), 4)
    (0.0566, 1.0)
    """
    return _energy(after, volts_after) / _energy(before, volts)


def _energy(node: int, volts: float) -> float:
    a, b, c = COEFFICIENTS[node]
    return a * volts**2 + b * volts + c


def scaled(chip: Profile, node: int) -> Profile:
    """A datapath's arithmetic at another node; UsageError for a chip or a node that the equations do not hold for."""
    if node not in COEFFICIENTS:
        raise UsageError(f"--scale-node {node}: expected one of {', '.join(map(str, COEFFICIENTS))} (nm)")
    found = re.fullmatch(r"(\d+) nm, (\d+(?:\.\d+)?) V", chip.node)
    if chip.family != "datapath" or chip.memory is not None or found is None or int(found[1]) not in COEFFICIENTS:
        raise UsageError(
            f"--scale-node {node}: {chip.name} ({chip.family}, {chip.node}) does not scale; the equations hold for logic "
            "alone at a stated voltage, so for datapaths such as horowitz_int8, never for a chip with memory, leakage or a clock"
        )
    before, volts = int(found[1]), float(found[2])
    low = min(LOW_VOLTAGE, volts) if node < before else volts
    factors = sorted(factor(before, volts, node, v) for v in (low, volts))
    words = f"scaled from {before} nm, {volts:g} V to {node} nm by Stillmaker & Baas 2017"
    rows = tuple(
        row.model_copy(
            update={
                name: _figure(figure, factors, words)
                for name in ("mac", "add", "mul")
                if (figure := getattr(row, name)) is not None
            }
        )
        for row in chip.arithmetic
    )
    return chip.model_copy(
        update={
            "name": f"{chip.name}_{node}nm",
            "title": f"{chip.title}, scaled to {node} nm",
            "aliases": (),
            "node": f"{node} nm",
            "node_source": "stillmaker2017",
            "arithmetic": rows,
            "sources": {**chip.sources, "stillmaker2017": _SOURCE},
            "assumptions": (f"{words}, {low:g} V; high: {volts:g} V", MISS, *chip.assumptions),
        }
    )


def _figure(figure: Energy, factors: list[float], words: str) -> Energy:
    low, high = factors
    ends = {"value": figure.value * low, "low": figure.low * low, "high": figure.high * high}
    note = f"{words}; {figure.note}".rstrip("; ")
    return figure.model_copy(update={**ends, "source": "stillmaker2017", "how": "proxy", "note": note})
