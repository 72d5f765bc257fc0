"""What an exported program says about itself: the inputs it takes, how often it calls its layers, how it was exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnenergy.load.inputs import Slot

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def slots_of(program: ExportedProgram) -> tuple[Slot, ...]:
    """Its user inputs: name, shape (None where a size is free), dtype."""
    import torch

    wanted = set(program.graph_signature.user_inputs)
    slots = []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in wanted and isinstance(value, torch.Tensor):
            sizes: tuple[Any, ...] = tuple(value.shape)  # an int, or a symbol where the size is free
            slots.append(Slot(node.name, tuple(n if isinstance(n, int) else None for n in sizes), value.dtype))
    return tuple(slots)


def calls_per_layer(program: ExportedProgram) -> int:
    """How often its most often called layer is called in one forward: T, where it unrolls a loop over time."""
    calls: dict[str, set[str]] = {}
    for node in program.graph.nodes:
        stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
        for key, (path, _) in list(stack.items())[-1:]:
            calls.setdefault(str(path).split("@")[0], set()).add(str(key))
    return max(map(len, calls.values()), default=0)


_TRAINING_ARGUMENT = {"dropout": "train", "batch_norm": "training", "native_dropout": "train"}


def exported_in_training(program: ExportedProgram) -> bool:
    """Whether a dropout or batch norm of the graph behaves as in training."""
    import torch

    for node in program.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        wanted = _TRAINING_ARGUMENT.get(node.target._schema.name.rpartition("::")[2])
        names = [a.name for a in node.target._schema.arguments]
        if wanted in names and dict(zip(names, node.args, strict=False), **node.kwargs).get(wanted) is True:
            return True
    return False
