"""Measured, not only modelled: a profile fitted to this machine, and what a model takes on it.

machine   what runs here               timing     warm repeats until the median is known
meters    energy counters              probes     what a calibration runs
fitting   speeds from probes           calibration, profile_text   the fitted profile
workload  one model, measured
"""

from snnenergy.measure.calibration import Calibration, calibrate
from snnenergy.measure.machine import Machine, this_machine
from snnenergy.measure.profile_text import render
from snnenergy.measure.workload import measure

__all__ = ["Calibration", "Machine", "calibrate", "measure", "render", "this_machine"]
