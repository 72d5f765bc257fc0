"""A path or `pkg.mod:factory` becomes a Workload, safely: a model file is untrusted input, and nothing in it runs.

This room knows torch (imported inside functions) and no joule.
"""

from snnenergy.load.batches import Batch, Batches, Cut
from snnenergy.load.dataset import DataOptions, load_dataset
from snnenergy.load.inputs import Inputs, Slot, load_inputs
from snnenergy.load.inspection import Inspection, inspect
from snnenergy.load.models import Model, load_model
from snnenergy.load.workload import Workload, load

__all__ = [
    "Batch",
    "Batches",
    "Cut",
    "DataOptions",
    "Inputs",
    "Inspection",
    "Model",
    "Slot",
    "Workload",
    "inspect",
    "load",
    "load_dataset",
    "load_inputs",
    "load_model",
]
