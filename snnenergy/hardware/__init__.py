"""Hardware profiles: what a chip's events cost, from YAML files with a source behind every number; no torch."""

from snnenergy.hardware.document import Finding
from snnenergy.hardware.library import json_schema, lint, list_hardware, load_hardware
from snnenergy.hardware.profile import Profile

__all__ = ["Finding", "Profile", "json_schema", "lint", "list_hardware", "load_hardware"]
