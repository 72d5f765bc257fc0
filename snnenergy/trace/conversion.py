"""What an ANN would do as a rate-coded spiking net, before one exists: each ReLU becomes integrate-and-fire neurons.

    lambda   the 99.9th percentile of what the ReLU puts out on the given inputs (Rueckauer et al. 2017,
             doi:10.3389/fnins.2017.00682): its neurons' threshold, and the size of the value that one spike stands for
    v += x   in every step, x the input of the ReLU in that step;  s = v >= lambda;  v -= lambda s;  the ReLU gives lambda s

Weights are not touched: thresholds lambda and spikes of size lambda are the same net as weights scaled by
lambda_before / lambda and thresholds of one.  The net's own layers run T times on the ANN's input (`direct`: the current
stays on), or on spikes that IF neurons make of it (`rate`), from v = 0, all layers in every step; nothing is trained.
Under a constant x a neuron fires clip(floor(T x / lambda), 0, T) times.  Deeper layers see spikes come unevenly, fire where
the sum of their input never would, and miss where it came too late: so they are stepped, and not worked out from rates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from snnenergy.counts import Counts
from snnenergy.errors import InputError, UsageError
from snnenergy.frameworks import neuron_model
from snnenergy.trace import counting, region
from snnenergy.trace.answers import right
from snnenergy.trace.converted import as_converted, folded
from snnenergy.trace.exported import exported_neurons, is_exported
from snnenergy.trace.recorder import active
from snnenergy.trace.rectifiers import KEPT, LIKE_RELU, name_of, rectifies
from snnenergy.trace.workload import count_workload

if TYPE_CHECKING:
    from snnenergy.load.workload import Workload
    from snnenergy.trace.forward import Frame

PERCENTILE = 99.9
CODINGS = ("direct", "rate")


@dataclass(frozen=True, slots=True)
class Layer:
    """One activation of the ANN as a population: its path, the function it was, its threshold, spikes per inference."""

    path: str
    function: str
    threshold: float
    spikes: float


@dataclass(frozen=True, slots=True)
class Spiking:
    """The converted net at T steps: its predicted Counts, its populations, and the share of labels it gets right."""

    steps: int
    counts: Counts
    layers: tuple[Layer, ...]
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """An ANN (its batch norms folded), and what it would be as a spiking net at several T.

    notes: what cannot be converted and what is assumed instead, a sentence each
    """

    ann: Counts
    runs: tuple[Spiking, ...]
    coding: str
    notes: tuple[str, ...] = ()
    accuracy: float | None = None


def convert(work: Workload, steps: Sequence[int], *, coding: str = "direct") -> Conversion:
    """The ANN counted as it is, and converted at each of the steps.

    coding: what the net is given in a step, `direct` (the input itself) or `rate` (spikes of it, for chips that take no other)
    Raises InputError where there is nothing to convert, or the input cannot be stepped.
    """
    x = _input(work, coding)
    if not steps or min(steps) < 1:
        raise UsageError(
            f"--steps: expected 1 or more, such as 4,8,16,32; found {', '.join(map(str, steps)) or 'none'}"
        )
    ann = count_workload(work)
    recording = Recording()
    with torch.no_grad(), recording:
        answer = work.module(x)
    if not recording.thresholds:
        raise InputError(
            f"{work.name}: nothing to convert: its forward calls no ReLU, nor a function that is like one; convert-estimate "
            "takes an ANN with such activations, and `snnenergy profile` counts any model as it is"
        )
    runs: list[Spiking] = []
    notes: dict[str, None] = {}
    for t in dict.fromkeys(steps):
        made, seen = _run(work, frames(x, t, coding), recording.thresholds, ann.samples)
        runs.append(made)
        notes |= seen | dict.fromkeys(_values(made.counts))
    return Conversion(folded(ann), tuple(runs), coding, tuple(notes), share(answer, work.labels))


def _input(work: Workload, coding: str) -> Tensor:
    """The ANN's one input; raises where the model or its input cannot be stepped."""
    spiking = [path or "(root)" for path, module in work.module.named_modules() if neuron_model(module)]
    for module in work.module.modules():
        if isinstance(module, torch.fx.GraphModule) and is_exported(module):
            spiking += exported_neurons(module, {})
    if spiking:
        raise UsageError(
            f"{work.name}: has spiking neurons already ({', '.join(spiking[:3])}); `snnenergy profile` counts it as it is, "
            "and convert-estimate takes the ANN it would be made from"
        )
    if any(isinstance(module, torch.jit.ScriptModule) for module in work.module.modules()):
        raise UsageError(f"{work.name}: a ScriptModule hides its activations; save the module itself, or a .pt2")
    if coding not in CODINGS:
        raise UsageError(f"--input-coding: expected {' or '.join(CODINGS)}, found {coding!r}")
    (x, *others) = (*work.inputs, *work.kwargs.values(), None)
    if len(others) != 1 or not isinstance(x, Tensor) or not x.is_floating_point():
        raise InputError(f"{work.name}: only a model of one floating-point input can be converted")
    if coding == "rate" and not (float(x.min()) >= 0 and float(x.max()) > 0):
        raise InputError(
            f"{work.name}: --input-coding rate: a rate is not negative; the input runs from {float(x.min()):g} to "
            f"{float(x.max()):g}; use direct"
        )
    return x


def frames(x: Tensor, steps: int, coding: str) -> list[Tensor]:
    """What the net is given in each step: x itself, or the spikes of IF neurons whose threshold is the largest input."""
    if coding == "direct":
        return [x] * steps
    encoder = _Population("(encoder)", "(encoder)", "rate", float(x.max()))
    return [encoder.step(x) for _ in range(steps)]


def _run(
    work: Workload, given: Sequence[Tensor], thresholds: Sequence[float], samples: int
) -> tuple[Spiking, dict[str, None]]:
    """T steps of the converted net, counted as one forward; and what was noted on the way."""
    neurons = IntegrateAndFire(thresholds)

    def steps(_: Tensor) -> list[Any]:
        with neurons:
            return [neurons.run(work.module, frame) for frame in given]

    name = f"{work.name} T={len(given)}"
    recorder = counting(work.module, samples=samples, name=name, synthetic=work.synthetic, seed=work.seed)
    with torch.no_grad(), recorder:
        outputs = recorder.call(steps, work.inputs[0])
    counts = as_converted(recorder.counts(), len(given), {p.region: p.path for p in neurons.populations})
    layers = tuple(_layer(counts, p) for p in neurons.populations)
    tensors = all(isinstance(y, Tensor) for y in outputs)
    total = torch.stack(outputs).sum(0) if tensors else None
    return Spiking(len(given), counts, layers, share(total, work.labels)), neurons.notes


def _values(counts: Counts) -> list[str]:
    """The layers that are given values and not spikes."""
    rows = [layer for layer in counts.layers if layer.role == "synaptic" and not all(s.is_ac for s in layer.streams)]
    return [f"{layer.path}: {layer.op}: takes values, not spikes, in every step" for layer in rows]


def _layer(counts: Counts, population: _Population) -> Layer:
    rows = {row.path: row for row in counts.layers}
    row = rows.get(population.region) or rows[population.path]  # renamed, unless a layer has that name
    return Layer(row.path, population.function, population.threshold, (row.spikes_out or 0) / counts.samples)


def share(answer: Any, labels: Any) -> float | None:
    """Share of samples whose largest output is the label, 0 to 1; None where there are no labels for such outputs."""
    if labels is None or not isinstance(answer, Tensor) or answer.dim() != 2:
        return None
    found = right(answer, labels, None)
    return None if found is None else float(found.double().mean())


@dataclass(frozen=True, slots=True)
class _Call:
    """An activation as it was called on x."""

    name: str
    x: Tensor
    like: bool
    in_place: bool
    ann: Callable[[], Tensor]


class _Watching(TorchFunctionMode):
    """Sees the functions that the model calls, in modules, plain code and exported programs alike."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        full = name_of(func)
        name, like = full.rstrip("_"), full.rstrip("_") in LIKE_RELU
        x = args[0] if args else kwargs.get("input")
        if isinstance(x, Tensor) and (like or rectifies(name, args, kwargs)):
            in_place = full.endswith("_") or bool(kwargs.get("inplace"))
            return self.activation(_Call(name, x, like, in_place, lambda: func(*args, **kwargs)))
        if name in KEPT:
            self.kept(name)
        return func(*args, **kwargs)

    def activation(self, call: _Call) -> Tensor:
        """What the call gives."""
        raise NotImplementedError

    def kept(self, name: str) -> None:
        """A function that stays as it is was called."""


class Recording(_Watching):
    """The ANN's forward: the threshold of every activation, in the order of their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.thresholds: list[float] = []

    def activation(self, call: _Call) -> Tensor:
        rectified = call.x.clamp(min=0) if call.like else None  # what the ReLU in its place would give
        out = call.ann()
        self.thresholds.append(threshold(out if rectified is None else rectified))
        return out


def threshold(values: Tensor) -> float:
    """The 99.9th percentile of all values, zeros included; where that is zero the largest, so that the few neurons fire."""
    flat = values.detach().to("cpu", torch.float64).numpy().ravel()
    if not flat.size or not np.isfinite(flat).all():
        raise InputError("an activation is empty, or holds NaN or infinity: it has no threshold")
    return float(np.quantile(flat, PERCENTILE / 100)) or float(flat.max())


@dataclass(slots=True)
class _Population:
    """The IF neurons of one activation.  region: their path as the counting engine names it; path: the activation's own."""

    region: str
    path: str
    function: str
    threshold: float
    v: Tensor | None = None

    def step(self, x: Tensor) -> Tensor:
        """Spikes of size lambda, for one step of input; neurons without a threshold never fire."""
        v = x + (torch.zeros_like(x) if self.v is None else self.v)
        fired = v >= (self.threshold or float("inf"))
        self.v = torch.where(fired, v - self.threshold, v)
        return torch.where(fired, torch.full_like(v, self.threshold), torch.zeros_like(v))


class IntegrateAndFire(_Watching):
    """The spiking net's steps: each activation is a population, known by the order of its call in a step."""

    def __init__(self, thresholds: Sequence[float]) -> None:
        super().__init__()
        self._thresholds = thresholds
        self._next = 0
        self.populations: list[_Population] = []
        self.notes: dict[str, None] = {}

    def run(self, module: Callable[..., Any], frame: Tensor) -> Any:
        """One step."""
        self._next = 0
        return module(frame)

    def activation(self, call: _Call) -> Tensor:
        at, self._next = self._next, self._next + 1
        if at == len(self._thresholds):
            raise InputError("the model calls more activations on one input than on another; it cannot be converted")
        if at == len(self.populations):
            self.populations.append(self._population(call))
        here = self.populations[at]
        with region(here.region.rpartition(".")[2], role="IF"):
            out = here.step(call.x)
        return call.x.copy_(out) if call.in_place else out

    def _population(self, call: _Call) -> _Population:
        frame = _frame()
        outer = "" if frame.path == "(root)" else f"{frame.path}."
        names = {p.region for p in self.populations}
        numbers = ["", *(f"#{i}" for i in range(1, len(names) + 1))]
        number = next(n for n in numbers if f"{outer}{call.name}{n}" not in names)
        found = self._thresholds[len(self.populations)]
        if call.like:
            self._note(call.name, "taken as a ReLU; the net would have to be trained again with one")
        if not found:
            self._note(call.name, "puts out nothing on these inputs, so its neurons never fire")
        own = f"{outer}{call.name}{number}"
        short = f"{frame.path}{number}" if frame.leaf and outer else own
        return _Population(
            own, own if short in {*names, *(p.path for p in self.populations)} else short, call.name, found
        )

    def kept(self, name: str) -> None:
        self._note(name, KEPT[name])

    def _note(self, name: str, words: str) -> None:
        self.notes[f"{_frame().path}: {name}: {words}"] = None


def _frame() -> Frame:
    """The module that runs, as the counting engine knows it."""
    return next(rec.surveying for rec in reversed(active()) if rec.surveying is not None).frames[-1]
