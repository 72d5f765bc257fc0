"""What a loaded model takes on this machine: warm time, and energy where a counter can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from snnenergy.cost.records import Measurement, Range
from snnenergy.errors import ForwardError, said
from snnenergy.frameworks import put_to_rest, state_left
from snnenergy.measure import meters
from snnenergy.measure.machine import Machine, description
from snnenergy.measure.timing import timed

if TYPE_CHECKING:
    from snnenergy.load.workload import Workload


def measure(work: Workload, machine: Machine, batch: int) -> Measurement:
    """One forward of `batch` inferences, again and again: neurons are put to rest before each, which is not timed.

    The model is moved to the device, and stays there.  ForwardError where its forward raises there.
    """
    with torch.no_grad():
        run, before = _ready(work, machine)
        time = timed(run, machine.wait, before)
        meter, unread = meters.find(machine.device)
        base = Measurement(
            model=work.name,
            machine=description(machine),
            device=machine.device.type,
            batch=batch,
            time=Range(time.low, time.median, time.high),
            runs=time.runs,
            precise=time.precise,
            meter=f"energy is not readable here: {unread}" if meter is None else meter.name,
        )
        return base if meter is None else _with_energy(base, meter, run, before, machine)


def _with_energy(
    base: Measurement, meter: meters.Meter, run: Callable[[], object], before: Callable[[], object], machine: Machine
) -> Measurement:
    from dataclasses import replace

    def once() -> None:
        before()
        run()
        machine.wait()

    rest = meters.idle(meter)
    once()
    seen = meters.during(meter, once)
    inferences = seen.runs * base.batch
    net = seen.joules - rest.watts * seen.seconds
    return replace(
        base,
        joules=seen.joules / inferences,
        net_joules=net / inferences,
        idle_watts=rest.watts,
        window=seen.seconds,
    )


def _ready(work: Workload, machine: Machine) -> tuple[Callable[[], object], Callable[[], object]]:
    module = work.module.to(machine.device)
    inputs, kwargs = _moved(work.inputs, machine), _moved(work.kwargs, machine)
    neurons = [m for m in module.modules() if state_left(m)]

    def run() -> object:
        return module(*inputs, **kwargs)

    def rest() -> None:
        for neuron in neurons:
            put_to_rest(neuron)

    try:
        run()
        machine.wait()
    except Exception as error:
        raise ForwardError(
            f"{work.name}: its forward raised {type(error).__name__} on {machine.device}: {said(error)}"
        ) from error
    neurons[:] = [m for m in module.modules() if state_left(m)]
    return run, rest


def _moved(value: Any, machine: Machine) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(machine.device)
    if isinstance(value, dict):
        return {key: _moved(inner, machine) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(inner, machine) for inner in value)
    return value
