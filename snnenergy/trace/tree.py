"""A model's modules and what they hold, by name: as torch's own walks give them, in a fraction of the time.

torch's generators nest as deep as the model; one walk with a stack costs a counted forward a third of that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

Modules = list[tuple[str, nn.Module]]


def plain_name(path: str) -> str:
    """A module or parameter path without torch.compile's wrapper."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod") if "_orig_mod" in path else path


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


def plain_tensors_of(modules: Modules) -> list[tuple[str, Tensor]]:
    """(path, tensor) of what modules hold as plain attributes, also in a list, a tuple or a dict: torch knows none of them."""
    return _held((path, _plain(module)) for path, module in modules)


def _plain(module: nn.Module) -> dict[str, Tensor | None]:
    held = vars(module)
    found: dict[str, Tensor | None] = {
        name: value for name, value in held.items() if type(value) not in _NO_TENSORS and isinstance(value, Tensor)
    }
    if not type(module).__module__.startswith("torch.nn."):  # torch's own layers hold sizes in theirs
        for name, value in held.items():
            if type(value) in _CONTAINERS and not name.startswith("_"):
                found.update({f"{name}.{key}": item for key, item in _items(value) if isinstance(item, Tensor)})
    return found


_CONTAINERS = (list, tuple, dict)
_NO_TENSORS = frozenset((bool, int, float, str, type(None), set, OrderedDict, *_CONTAINERS))
"""What most attributes are: a look at a set is a third of torch's own test."""


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if type(value) is dict else enumerate(value)


class Place(NamedTuple):
    """Where a module keeps a tensor: in its parameters, its buffers or its attributes, or in the container `within` there."""

    own: Mapping[str, Any]
    attribute: str
    within: str = ""

    def holds(self, t: Tensor) -> bool:
        """Whether that very tensor is still there."""
        found = self.own.get(self.attribute)
        if self.within and type(found) in _CONTAINERS:
            return any(item is t for key, item in _items(found) if str(key) == self.within)
        return found is t


def place_of(name: str, module_at: Callable[[str], nn.Module | None]) -> Place | None:
    """The place of a name that `parameters_of` and its like give; None where a framework keeps it elsewhere."""
    path, _, attribute = name.rpartition(".")
    module, within = module_at(path), ""
    if module is None:
        (path, _, attribute), within = path.rpartition("."), attribute
        module = module_at(path)
    for own in (module._parameters, module._buffers, vars(module)) if module is not None else ():
        if attribute in own:
            return Place(own, attribute, within)
    return None


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
