"""What this machine is: its processor, the memory levels of it, threads and versions."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from snnenergy.trace.device import known

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """device: where models run; levels: name and bytes of each memory level, the nearest first, the farthest without an end."""

    name: str
    device: torch.device
    threads: int
    levels: tuple[tuple[str, int | None], ...]
    versions: dict[str, str]

    def wait(self) -> None:
        """Returns when the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def this_machine(device: str = "cpu") -> Machine:
    """UsageError where there is no such device."""
    found = known(device)
    versions = {"torch": str(torch.__version__), "python": platform.python_version()}
    if found.type == "cuda":
        properties = torch.cuda.get_device_properties(found)
        versions["cuda"] = str(torch.version.cuda)
        levels = (("L2", int(getattr(properties, "L2_cache_size", 0))), ("device memory", None))
        return Machine(
            properties.name, found, torch.get_num_threads(), tuple(row for row in levels if row[1] != 0), versions
        )
    return Machine(_cpu_name(), found, torch.get_num_threads(), (*_caches(), ("main memory", None)), versions)


def _cpu_name() -> str:
    named = re.search(r"^model name\s*:\s*(.+)$", _text(CPUINFO), re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _caches() -> tuple[tuple[str, int], ...]:
    """The caches from the second level on; none where the system does not say."""
    found: dict[str, int] = {}
    for folder in sorted(CACHES.glob("index*")):
        level, kind, size = (_text(folder / part).strip() for part in ("level", "type", "size"))
        amount = re.fullmatch(r"(\d+)([KM])", size)
        if kind in ("Unified", "Data") and level.isdecimal() and int(level) > 1 and amount:
            found[f"L{level}"] = int(amount[1]) << (10 if amount[2] == "K" else 20)
    return tuple(sorted(found.items()))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def description(machine: Machine) -> str:
    """One line: the processor, threads where they matter, versions."""
    threads = f", {machine.threads} thread{'s' * (machine.threads != 1)}" if machine.device.type == "cpu" else ""
    versions: dict[str, Any] = machine.versions
    return f"{machine.name}{threads}, " + ", ".join(f"{name} {version}" for name, version in versions.items())
