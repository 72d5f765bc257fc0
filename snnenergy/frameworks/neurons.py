"""Neuron models: their state and the arithmetic of one update, for neurons whose own arithmetic cannot be seen.

What a model's forward does is counted as it does it.  These rows stand in where it cannot be seen: a neuron inside a
kernel of its own, or one known by its name alone.  One update is one neuron in one time step of a forward-Euler (or
exactly integrated) step, constants folded beforehand; a spike resets by s theta or s (v_reset - v), which costs the same
in every step, as tensor code does it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Update:
    """Arithmetic of one update of one neuron; specials: exp, tanh, division by a variable."""

    adds: int
    muls: int
    compares: int = 1
    specials: int = 0


@dataclass(frozen=True, slots=True)
class NeuronModel:
    """One model: state variables kept from step to step, and one update; None where no single one is published.

    equation: x is the synaptic input, s the spike (0 or 1), theta the threshold; every other name is a constant or state
    source: where the equation stands: a paper, or a framework's class, whose constants are folded here
    """

    state_words: int
    update: Update | None
    equation: str
    source: str = ""


_RESET = "; s = v >= theta; v -= s theta"
_TERNARY = "; s = (v >= theta) - (v <= -theta); v -= s theta"

NEURONS: dict[str, NeuronModel] = {
    "IF": NeuronModel(1, Update(adds=2, muls=1), "v += x" + _RESET),
    "LIF": NeuronModel(1, Update(adds=2, muls=2), "v = a v + x" + _RESET),
    "PLIF": NeuronModel(1, Update(adds=2, muls=2), "v = a v + x, a learned per layer" + _RESET, "arXiv:2007.05785"),
    "LI": NeuronModel(1, Update(adds=1, muls=1, compares=0), "v = a v + x; puts out v, never spikes"),
    "ternary IF": NeuronModel(1, Update(adds=3, muls=1, compares=2), "v += x" + _TERNARY, "SpikingJelly TernaryIFNode"),
    "ternary LIF": NeuronModel(
        1, Update(adds=3, muls=2, compares=2), "v = a v + x" + _TERNARY, "SpikingJelly TernaryLIFNode"
    ),
    "QIF": NeuronModel(1, Update(adds=5, muls=3), "v += k (v - v_rest) (v - v_c) + x" + _RESET, "SpikingJelly QIFNode"),
    "EIF": NeuronModel(
        1,
        Update(adds=6, muls=4, specials=1),
        "v += k (x - (v - v_rest) + d exp((v - v_T) / d))" + _RESET,
        "SpikingJelly EIFNode",
    ),
    "CUBA": NeuronModel(2, Update(adds=3, muls=3), "u = b u + x; v = a v + u" + _RESET),
    "alpha": NeuronModel(3, Update(adds=4, muls=4), "p = a p + x; n = b n - x; v = k (p + n)" + _RESET),
    "ALIF": NeuronModel(
        2,
        Update(adds=4, muls=5),
        "v = a v + x; s = v >= t; v -= s t; b = r b + (1 - r) s; t = theta + k b",
        "arXiv:1803.09574",
    ),
    "AdEx": NeuronModel(
        2,
        Update(adds=11, muls=7, specials=1),
        "v += k (x - (v - v_rest) + d exp((v - v_T) / d) - w); w += h (a (v - v_rest) - w) + b s; "
        "s = v >= theta; v += s (v_reset - v)",
        "doi:10.1152/jn.00686.2005",
    ),
    "Izhikevich": NeuronModel(
        2,
        Update(adds=10, muls=7),
        "v += 0.04 v^2 + 5 v + 140 - u + x; u += a (b v - u); s = v >= 30; v += s (c - v); u += s d",
        "doi:10.1109/TNN.2003.820440",
    ),
    "Hodgkin-Huxley": NeuronModel(
        4,
        Update(adds=22, muls=31, specials=9),
        "v += k (x - g_Na m^3 h (v - E_Na) - g_K n^4 (v - E_K) - g_L (v - E_L)); for y in m, n, h: "
        "y += dt (alpha_y(v) (1 - y) - beta_y(v) y); s = v >= theta; "
        "alpha_n = 0.01 (10 - v) / (exp((10 - v) / 10) - 1), beta_n = 0.125 exp(-v / 80), "
        "alpha_m = 0.1 (25 - v) / (exp((25 - v) / 10) - 1), beta_m = 4 exp(-v / 18), "
        "alpha_h = 0.07 exp(-v / 20), beta_h = 1 / (exp((30 - v) / 10) + 1)",
        "doi:10.1113/jphysiol.1952.sp004764",
    ),
    "GLIF": NeuronModel(
        1,
        Update(adds=4, muls=5),
        "v = a v - l + g x - b v s - r s, s of the step before; s = v >= theta; constants folded from learned gates",
        "doi:10.48550/arXiv.2210.13768",
    ),
    "KLIF": NeuronModel(1, Update(adds=2, muls=3, compares=2), "v = max(k (a v + x), 0)" + _RESET, "arXiv:2302.09238"),
    "RF": NeuronModel(2, None, "resonate and fire: an oscillating state", "SpikingJelly RAFNode"),
    "CLIF": NeuronModel(2, None, "LIF with a complementary state", "SpikingJelly ComplementaryLIFNode"),
    "LIAF": NeuronModel(1, None, "LIF that puts out an analog value", "arXiv:2011.06176"),
    "SRM": NeuronModel(2, None, "spike response model: kernels over past spikes"),
    "SLSTM": NeuronModel(2, None, "LSTM cell whose hidden state spikes"),
}
"""By the name that Counts uses; a model that is absent has an unknown state (0 words) and no arithmetic of its own."""


def state_words(model: str | None) -> int:
    """State variables of a model per neuron; 0 where it is not known."""
    row = NEURONS.get(model or "")
    return row.state_words if row is not None else 0


def update(model: str | None) -> Update | None:
    """The arithmetic of one update, or None where it is not known."""
    row = NEURONS.get(model or "")
    return row.update if row is not None else None
