"""A model's modules and what they hold, by name: as torch's own walks give them, in a fraction of the time.

torch's generators nest as deep as the model; one walk with a stack costs a counted forward a third of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

Modules = list[tuple[str, nn.Module]]


def modules_of(model: nn.Module) -> Modules:
    """(path, module) in the order of `named_modules`; a module under two names has the first."""
    found: Modules = []
    seen: set[int] = set()
    waiting: Modules = [("", model)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found.append((path, module))
        if module._modules:
            prefix = f"{path}." if path else ""
            children = [(prefix + name, child) for name, child in module._modules.items() if child is not None]
            waiting += reversed(children)
    return found


def parameters_of(modules: Modules) -> list[tuple[str, Tensor]]:
    """(path, parameter) in the order of `named_parameters`, each once."""
    return _held((path, module._parameters) for path, module in modules)


def buffers_of(modules: Modules) -> list[tuple[str, Tensor]]:
    """(path, buffer) in the order of `named_buffers`, each once."""
    return _held((path, module._buffers) for path, module in modules)


def _held(owners: Iterable[tuple[str, Mapping[str, Tensor | None]]]) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    seen: set[int] = set()
    for path, own in owners:
        if own:
            prefix = f"{path}." if path else ""
            for name, t in own.items():
                if t is not None and id(t) not in seen:
                    seen.add(id(t))
                    found.append((prefix + name, t))
    return found
