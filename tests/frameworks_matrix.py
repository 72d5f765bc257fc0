"""The matrix of docs/frameworks.md, made by running every case: `python -m tests.frameworks_matrix` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnenergy.counts import Counts
from snnenergy.frameworks.neurons import NEURONS
from snnenergy.trace import counting
from tests.brute_force import Taps, convolution, linear
from tests.framework_nets import CASES, SLAYER, Case

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "frameworks.md"
HEAD = ("framework", "version", "net", "loads", "neuron found", "time found", "exact")
NEURON_HEAD = ("model", "state words", "adds", "muls", "compares", "specials")
NAMES = {
    "spikingjelly": "SpikingJelly",
    "snntorch": "snnTorch",
    "norse": "Norse",
    "sinabs": "sinabs",
    "bindsnet": "BindsNET",
    SLAYER: "lava-dl",
    "torch": "plain PyTorch",
}
DISTRIBUTIONS = {SLAYER: "lava-dl"}
"""Where the distribution is not called as the package is."""


@dataclass(frozen=True)
class Seen:
    """What plain hooks saw of one run, without counting.

    reads: inputs of nn.Linear and nn.Conv2d by path; fired: spikes of the neurons by path, one tensor per call
    """

    reads: dict[str, list[Tensor]]
    fired: dict[str, list[Tensor]]


@contextmanager
def watching(model: nn.Module, neurons: dict[str, Any]) -> Iterator[Seen]:
    """Plain forward hooks: inputs of layers, outputs of neurons."""
    seen, handles = Seen({}, {}), []

    def layer(path: str) -> Any:
        return lambda module, args: seen.reads.setdefault(path, []).append(args[0].detach().clone())

    def neuron(path: str) -> Any:
        def hook(module: Any, args: Any, out: Any) -> None:
            first = out[0] if isinstance(out, tuple) else out
            seen.fired.setdefault(path, []).append(first.detach().clone())

        return hook

    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            handles.append(module.register_forward_pre_hook(layer(path)))
        if path in neurons:
            handles.append(module.register_forward_hook(neuron(path)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def taps(module: nn.Module, x: Tensor) -> Taps:
    """Every tap of one call, one by one."""
    if isinstance(module, nn.Linear):
        return linear(x, module.weight)
    assert isinstance(module, nn.Conv2d)
    rows = x.reshape(-1, *x.shape[-3:])
    with torch.no_grad():
        size = nn.Conv2d.forward(module, rows).shape[2:] if type(module) is nn.Conv2d else _size(module, rows)
    return convolution(
        rows,
        module.weight,
        size,
        stride=module.stride,
        before=[int(p) for p in module.padding],
        dilation=module.dilation,
        groups=module.groups,
    )


def _size(module: nn.Conv2d, rows: Tensor) -> torch.Size:
    options: tuple[Any, ...] = (module.stride, module.padding, module.dilation, module.groups)
    return torch.nn.functional.conv2d(rows, module.weight, None, *options).shape[2:]


def witness(case: Case) -> tuple[dict[str, Taps], dict[str, Tensor], Counts]:
    """One net run twice: beside plain hooks, whose taps are visited one by one, and counted."""
    model, x = case.net()
    with watching(model, case.neurons) as seen:
        case.call(model, x)
    fired = {path: torch.stack(out) if len(out) > 1 else out[0] for path, out in seen.fired.items()}
    fired |= {path: read(model) for path, read in case.heard.items()}
    expected = {path: _sum(model.get_submodule(path), calls) for path, calls in seen.reads.items()}
    expected |= case.by_hand(model, x, fired) if case.by_hand is not None else {}
    return expected, fired, counted(case, *case.net())


def _sum(module: nn.Module, calls: list[Tensor]) -> Taps:
    total = Taps()
    for x in calls:
        one = taps(module, x)
        total = Taps(*(a + b for a, b in zip(numbers(total), numbers(one), strict=True)))
    return total


def numbers(t: Taps) -> tuple[Any, ...]:
    return (t.dense, t.valid, t.driven, t.effective, t.weighted)


def counted(case: Case, model: nn.Module, x: Tensor, forwards: int = 1) -> Counts:
    """The Counts of so many forwards, under the recorder that sees any number of them."""
    with counting(model, name=str(case)) as rec:
        for _ in range(forwards):
            if case.run is None:
                case.call(model, x)
            else:
                rec.call(case.call, model, x)
    return rec.counts()


def spikes_of(case: Case, path: str, out: Tensor) -> int | None:
    """Spikes among what a neuron put out; a leaky integrator puts out its potential, and has none."""
    return None if case.neurons[path][0] == "LI" else int((out != 0).sum())


def found_neurons(counts: Counts) -> dict[str, tuple[str | None, int]]:
    return {layer.path: (layer.neuron_model, layer.neurons) for layer in counts.layers if layer.role == "neuron"}


def found_taps(counts: Counts) -> dict[str, tuple[int, int, int, int]]:
    """(dense, valid, driven, effective) of every synaptic layer."""
    rows = [layer for layer in counts.layers if layer.role == "synaptic"]
    return {r.path: (r.dense_macs, r.valid_macs, r.driven, r.effective) for r in rows}


@dataclass(frozen=True)
class Verdict:
    """One line of the matrix."""

    case: Case
    neuron: bool
    time: bool
    exact: bool

    def cells(self) -> tuple[str, ...]:
        def said(yes: bool, words: str) -> str:
            return words if yes else "no"

        models = ", ".join(dict.fromkeys(model for model, _ in self.case.neurons.values()))
        time = f"T = {self.case.steps}, {self.case.source}"
        version = metadata.version(DISTRIBUTIONS.get(self.case.package, self.case.package)).partition("+")[0]
        return (
            NAMES[self.case.package],
            version,
            self.case.name,
            "yes",
            said(self.neuron, models),
            said(self.time, time),
            said(self.exact, "yes"),
        )

    def line(self) -> str:
        return f"| {' | '.join(self.cells())} |"


def judge(case: Case) -> Verdict:
    """Runs one case; ImportError where its framework is absent."""
    expected, fired, counts = witness(case)
    exact = found_taps(counts) == {path: numbers(t)[:4] for path, t in expected.items()}
    spikes = {la.path: la.spikes_out for la in counts.layers if la.role == "neuron"}
    exact = exact and spikes == {path: spikes_of(case, path, s) for path, s in fired.items()}
    time = counts.time_steps == case.steps and any(case.source in note for note in counts.identity.notes)
    return Verdict(case, found_neurons(counts) == case.neurons, time, exact and counts.coverage.calls == 1)


def matrix() -> str:
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    return "\n".join([*lines, *(judge(case).line() for case in CASES)])


def neuron_table() -> str:
    """The neuron models, as docs/frameworks.md shows them."""
    rows = []
    for name, model in NEURONS.items():
        u = model.update
        figures = ("–",) * 4 if u is None else (u.adds, u.muls, u.compares, u.specials)
        rows.append(f"| {' | '.join(map(str, (name, model.state_words, *figures)))} |")
    return "\n".join([f"| {' | '.join(NEURON_HEAD)} |", f"|{'---|' * len(NEURON_HEAD)}", *rows])


def between(text: str, name: str, table: str) -> str:
    """The document with one generated table put in its place."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def main() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    text = between(between(text, "matrix", matrix()), "neurons", neuron_table())
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
