"""The file that `snnenergy hardware init` writes: a sound profile with a comment at every choice."""

from __future__ import annotations

_TEXT = """# A chip for snnenergy.  `snnenergy hardware lint FILE` says what is wrong and explains every gap;
# `snnenergy hardware schema` is the JSON Schema of this file, for editors.
schema_version: 1
name: {name}  # the name of the file
title: My chip
family: neuromorphic  # processor: computes zeros too; datapath: arithmetic without a chip around it
node: 28 nm  # or unknown
node_source: mine
summary: What it is, and how far its figures carry.

# Where the figures come from: a paper by its doi, anything else by its url or a note.
sources:
  mine:
    title: Power of my chip
    authors: The bench
    year: 2026
    note: replace this

# What an input costs, for each of the four kinds of values that arrive: synop, ann_op, dense_mac, mac, add, unit_adds,
# or unsupported (then an estimate names the layer and stays partial).
charges:
  spike: synop
  ternary: unsupported
  graded: unsupported
  analog: unsupported
  synapses: nonzero  # all: a stored zero weight costs an event too

# Joules per event.  A figure has value, source and how it is known: measured, fitted, simulated, datasheet, published,
# derived, proxy.  low and high where a spread is known.  Unpublished is null, and named under `unknown`.
energy:
  synop: {{value: 10 pJ, low: 8 pJ, high: 14 pJ, source: mine, how: proxy, note: replace this}}
  neuron_access: null  # every mapped neuron in every step

power:
  static: null  # charged for as long as the chip is held

latency:
  model: fixed_tick  # roofline, fixed_phase, barrier, or none
  tick: {{value: 1 ms, source: mine, how: proxy, note: replace this}}

# What one chip holds; leave out what is not known, and it is not checked.
capacity:
  cores: {{value: 128, source: mine, how: proxy, note: replace this}}
  neurons_per_core: {{value: 256, source: mine, how: proxy, note: replace this}}

# Every null above, and what it does to an estimate: these words are printed beside it.
unknown:
  energy.neuron_access: not measured yet; neurons cost nothing here, so the total is a lower bound
  power.static: not measured yet; the total is dynamic energy only
"""


def render(name: str) -> str:
    """The text of a new profile of that name."""
    return _TEXT.format(name=name)
