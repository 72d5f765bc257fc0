"""What an unpickler rebuilt, looked at before anything is called on it: its parts came from the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnenergy.errors import UnsafeModelError

if TYPE_CHECKING:
    import torch

MAX_MODULES, MAX_DEPTH = 100_000, 100
MAX_ENTRIES = 1_000_000
"""Children, parameters and buffers looked at, those of a module held twice counted twice."""
_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "net", "weights")
_PREFIXES = ("module.", "_orig_mod.")


def check_module(root: torch.nn.Module, where: str) -> None:
    """Whether a rebuilt module is one: a tree of modules and tensors, no hooks, every table of torch's own sound.

    Torch walks a tree without looking back, so a module that holds itself, or holds one child by many paths, would keep it
    busy for ever.
    """
    import torch

    plain = vars(torch.nn.Module())
    todo, modules, entries = [(root, 0)], 0, 0
    while todo:
        module, depth = todo.pop()
        if wrong := _unsound(vars(module), plain):
            raise UnsafeModelError(f"{where}: a {type(module).__name__} among its modules is incomplete, or {wrong}")
        modules += 1
        entries += sum(len(vars(module)[table]) for table in ("_modules", "_parameters", "_buffers"))
        if depth > MAX_DEPTH or modules > MAX_MODULES or entries > MAX_ENTRIES:
            raise UnsafeModelError(
                f"{where}: its modules hold each other, are nested more than {MAX_DEPTH} deep, or are more than {MAX_MODULES}"
            )
        todo += [(child, depth + 1) for child in vars(module)["_modules"].values() if child is not None]


def _unsound(held: dict[str, Any], plain: dict[str, Any]) -> str:
    """What is wrong with the attributes of a module, beside those of a new one; empty where nothing is."""
    import torch

    if not isinstance(held.get("training"), bool) or not isinstance(held.get("_is_full_backward_hook"), bool | None):
        return "not in one mode"
    buffers = held.get("_non_persistent_buffers_set")
    if not isinstance(buffers, set) or not all(isinstance(name, str) for name in buffers):
        return "keeps no list of its buffers"
    tables = {"_modules": torch.nn.Module, "_parameters": torch.nn.Parameter, "_buffers": torch.Tensor}
    for table, kind in tables.items():
        entries = held.get(table)
        if not isinstance(entries, dict):
            return f"has no {table}"
        for name, value in entries.items():
            if not isinstance(name, str) or not name or "." in name or not isinstance(value, kind | None):
                return f"holds what is no {kind.__name__} of one name"
    for name, empty in plain.items():
        hooks = held.get(name)
        if isinstance(empty, dict) and name not in tables and (type(hooks) is not type(empty) or hooks):
            return "has hooks"
    return ""


def weights_of(value: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """The weights by name: as they are, or under the key training scripts keep them, prefixes of wrappers taken off."""
    notes: list[str] = []
    key = next((k for k in _NESTED_KEYS if isinstance(value, dict) and _are_weights(value.get(k))), None)
    if not _are_weights(value) and key is not None:
        value = value[key]
        notes.append(f"weights taken from the checkpoint's {key!r}")
    if not _are_weights(value):
        raise UnsafeModelError(f"{where}: expected a module or a state_dict, found {type(value).__name__}")
    for prefix in _PREFIXES:
        if all(k.startswith(prefix) for k in value):
            value = {k.removeprefix(prefix): v for k, v in value.items()}
            notes.append(f"{prefix!r} taken off the names of its weights")
    return dict(value), notes


def _are_weights(value: Any) -> bool:
    import torch

    if not isinstance(value, dict) or not value or not all(isinstance(k, str) for k in value):
        return False
    return all(isinstance(v, torch.Tensor) or k.endswith("_extra_state") for k, v in value.items())
