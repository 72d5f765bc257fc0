"""Published break-evens of SNNs against ANNs: beside the curve of a pair, and beside the spikes per synapse of a layer.

Each holds under its own hardware assumptions, so none is a verdict.
"""

from __future__ import annotations

SPIKES = (
    ("Davidson, Furber 2021", "10.3389/fnins.2021.651141", 1.72, 1.72),
    ("Dampfhoffer et al. 2023", "10.1109/TETCI.2022.3214509", 0.15, 1.38),
)
"""As spikes per synapse and inference (low, high): activity r times T."""
RATES = (("Yan et al. 2024", "10.48550/arXiv.2409.08290", 0.057, 0.064, 5, 10),)
"""As an activity r (low, high) that holds for T from and to; the low end is of the paper's later version, for T = 5."""


def interval(low: float, high: float) -> str:
    """`1.72`, `0.15 to 1.38`."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def limits() -> str:
    """The limits in one sentence of plain text."""
    spikes = [f"{interval(low, high)} ({who}, doi:{doi})" for who, doi, low, high in SPIKES]
    rates = [
        f"a spike rate of {interval(100 * low, 100 * high)} % at T = {first} to {last} ({who}, doi:{doi})"
        for who, doi, low, high, first, last in RATES
    ]
    return f"published limits below which an SNN may win: {', '.join((*spikes, *rates))}"
