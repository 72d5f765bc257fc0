"""Energy counters of this machine: through Zeus where it is installed, else NVML and RAPL as they are.

A counter only ever grows, so an energy is the difference of two readings; how often it moves is the hardware's business,
which is why a window lasts seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnenergy.errors import said

WINDOW_S = 2.5
"""Seconds that a window lasts at least: NVML's counter moves every 20 to 100 ms."""
RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Meter:
    """Counters that add up: their name in words, and joules of each since some moment in the past.

    wraps: joules after which each starts from zero again; empty where none does
    """

    name: str
    joules: Callable[[], tuple[float, ...]]
    wraps: tuple[float, ...] = ()

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Joules from one reading to the next."""
        wraps = self.wraps or (0.0,) * len(before)
        return sum(b - a + (wrap if b < a else 0.0) for a, b, wrap in zip(before, after, wraps, strict=True))


@dataclass(frozen=True, slots=True)
class Window:
    """What a meter saw while something ran: joules, seconds, and how often it ran."""

    joules: float
    seconds: float
    runs: int

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


def find(device: Any) -> tuple[Meter | None, str]:
    """The meter of a torch device, or None and why there is none."""
    tried: list[str] = []
    for source in (_zeus, _nvml, _rapl):
        for found in source(device):
            if isinstance(found, str):
                tried.append(found)
                continue
            try:
                found.joules()
            except Exception as error:  # noqa: BLE001  # a driver's error, of no common type: told, and the next one tried
                tried.append(f"{found.name}: {_why(error)}")
                continue
            return found, ""
    return None, "; ".join(tried)


def idle(meter: Meter, seconds: float = WINDOW_S) -> Window:
    """What the device draws while nothing runs."""
    return during(meter, lambda: time.sleep(0.05), seconds)


def during(meter: Meter, run: Callable[[], object], seconds: float = WINDOW_S) -> Window:
    """Runs again and again for so long; `run` returns when the device has finished."""
    before, began, runs = meter.joules(), time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        run()
        runs += 1
    return Window(meter.between(before, meter.joules()), elapsed, runs)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {said(error, 120)}".rstrip(": ")


def _zeus(device: Any) -> Iterator[Meter | str]:
    """Zeus knows the counters of NVIDIA and AMD GPUs and of CPUs with RAPL."""
    try:
        from zeus import device as zeus
    except ImportError as error:
        yield f"Zeus is not installed ({error}); pip install 'snnenergy[measure]'"
        return
    try:
        if device.type == "cuda":
            gpus = zeus.get_gpus()
            index = _visible(device)
            yield Meter("GPU, by Zeus", lambda: (float(gpus.get_total_energy_consumption(index)) / 1e3,))
        else:
            cpus = zeus.get_cpus()
            yield Meter("CPU packages, by Zeus", lambda: tuple(_package(cpus, i) / 1e3 for i in range(len(cpus))))
    except Exception as error:  # noqa: BLE001  # Zeus raises one class per vendor; each says why it cannot read
        yield f"Zeus: {_why(error)}"


def _package(cpus: Any, index: int) -> float:
    """Millijoules of a package, without its memory."""
    return float(cpus.get_total_energy_consumption(index).cpu_mj)


def _visible(device: Any) -> int:
    """The index that Zeus gives a torch device: both go by CUDA_VISIBLE_DEVICES."""
    import torch

    return torch.cuda.current_device() if device.index is None else int(device.index)


def _nvml(device: Any) -> Iterator[Meter | str]:
    if device.type != "cuda":
        return
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = _handle(pynvml, device)
    except Exception as error:  # noqa: BLE001  # not installed, no driver, no such device: each is one reason not to read
        yield f"NVML: {_why(error)}"
        return
    yield Meter("GPU, by NVML", lambda: (float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3,))


def _handle(pynvml: Any, device: Any) -> Any:
    """NVML counts all devices, torch the visible ones: they meet in the UUID."""
    import torch

    index = _visible(device)
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    if uuid is not None:
        with suppress(pynvml.NVMLError):
            return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def _rapl(device: Any) -> Iterator[Meter | str]:
    """The packages of Linux's powercap tree."""
    if device.type != "cpu":
        return
    zones = sorted(zone for zone in RAPL.glob("intel-rapl:*") if zone.name.count(":") == 1)
    if not zones:
        yield f"RAPL: no package under {RAPL}"
        return
    wraps = tuple(_read(zone / "max_energy_range_uj") for zone in zones)
    yield Meter("CPU packages, by RAPL", lambda: tuple(_read(zone / "energy_uj") for zone in zones), wraps)


def _read(file: Path) -> float:
    """Microjoules in a file, as joules."""
    return int(file.read_text()) / 1e6
