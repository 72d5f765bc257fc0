"""The second witness of a conversion: SpikingJelly's own, run for real on the same input, spike by spike.

Its rate-coding recipe (ann2snn.Converter) replaces every nn.ReLU by an IFNode with soft reset between two scalers, its
threshold the same percentile; batch norms behind convolutions are folded.  It is other code from ReLU to spike.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnenergy.errors import UsageError, said
from snnenergy.trace.conversion import PERCENTILE, Conversion, frames, share

if TYPE_CHECKING:
    from snnenergy.load.workload import Workload


@dataclass(frozen=True, slots=True)
class Verified:
    """SpikingJelly's net at T steps: spikes per inference of each of its populations, in order, and its accuracy."""

    steps: int
    spikes: tuple[float, ...]
    accuracy: float | None


def verify(work: Workload, conversion: Conversion) -> tuple[Verified, ...]:
    """The real conversion at each T of a predicted one; UsageError where SpikingJelly is missing or cannot convert the model."""
    x: Tensor = work.inputs[0]
    net = _converted(work, x)
    from spikingjelly.activation_based import functional, neuron

    neurons = [module for module in net.modules() if isinstance(module, neuron.IFNode)]
    wanted = len(conversion.runs[0].layers)
    if len(neurons) != wanted:
        raise UsageError(
            f"--verify: SpikingJelly made {len(neurons)} populations of {work.name}, where {wanted} were predicted: it "
            "converts nn.ReLU modules only, not functions; the two cannot be set side by side"
        )
    made = []
    for run in conversion.runs:
        functional.reset_net(net)
        spikes, answer = _steps(net, neurons, frames(x, run.steps, conversion.coding))
        rates = tuple(n / run.counts.samples for n in spikes)
        made.append(Verified(run.steps, rates, share(answer, work.labels)))
    return tuple(made)


def _converted(work: Workload, x: Tensor) -> nn.Module:
    try:
        from spikingjelly.activation_based.ann2snn import Converter
        from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe
    except ImportError as error:
        raise UsageError(f"--verify: needs SpikingJelly 2.0 or later (pip install spikingjelly): {error}") from error
    recipe = RateCodingRecipe(dataloader=[x], mode=f"{PERCENTILE}%")
    try:
        with (
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):  # its progress bar and log, and torch.fx's advice
            warnings.simplefilter("ignore")
            net: nn.Module = Converter(recipe).convert(copy.deepcopy(work.module)).eval()
    except Exception as error:
        raise UsageError(
            f"--verify: SpikingJelly cannot convert {work.name}: {type(error).__name__}: {said(error)}\n"
            "It needs the module itself (torch.save(model, file), or pkg.mod:factory) with nn.ReLU for its activations."
        ) from error
    return net


def _steps(net: nn.Module, neurons: Sequence[nn.Module], given: Sequence[Tensor]) -> tuple[list[int], Any]:
    """Spikes of each population over all steps and samples, in the order in which they are called; and the summed output."""
    with torch.no_grad(), _counting(neurons) as fired:
        answer = torch.stack([net(frame) for frame in given]).sum(0)
    return list(fired.values()), answer


@contextmanager
def _counting(neurons: Sequence[nn.Module]) -> Iterator[dict[int, int]]:
    fired: dict[int, int] = {}

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        fired[id(module)] = fired.get(id(module), 0) + int(out.count_nonzero())

    handles = [module.register_forward_hook(count) for module in neurons]
    try:
        yield fired
    finally:
        for handle in handles:
            handle.remove()
