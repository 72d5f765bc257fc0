"""What a .pt2's graph would compute, read off its JSON: ops, and the dense multiply-accumulates of its contractions.

Sizes left free (the batch) are taken as 1, so the count is per sample where the batch is the only free size.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphSummary:
    """Ops by name, dense MACs (None: a size could not be read), and the contractions that have no rule here."""

    ops: Mapping[str, int]
    dense_macs: int | None
    uncounted: tuple[str, ...]
    inputs: Mapping[str, tuple[int | None, ...]]
    layers: Mapping[str, str]


def _weighted(shapes: Sequence[Shape], out: Shape) -> int:
    # out [N, O, *spatial], weight [O, I/groups, *kernel]
    return math.prod(out) * math.prod(shapes[1][1:])


def _transposed(shapes: Sequence[Shape], out: Shape) -> int:
    # x [N, I, *spatial], weight [I, O/groups, *kernel]
    return math.prod(shapes[0]) * math.prod(shapes[1][1:])


def _product(shapes: Sequence[Shape], out: Shape) -> int:
    # [*, m, k] @ [*, k, n] -> [*, m, n]
    return math.prod(out) * shapes[0][-1]


def _added_product(shapes: Sequence[Shape], out: Shape) -> int:
    # input, [*, m, k] @ [*, k, n]
    return math.prod(out) * shapes[1][-1]


DENSE: dict[str, Callable[[Sequence[Shape], Shape], int] | None] = {
    "conv1d": _weighted,
    "conv2d": _weighted,
    "conv3d": _weighted,
    "linear": _weighted,
    "conv_transpose1d": _transposed,
    "conv_transpose2d": _transposed,
    "conv_transpose3d": _transposed,
    "mm": _product,
    "bmm": _product,
    "mv": _product,
    "matmul": _product,
    "addmm": _added_product,
    "addmv": _added_product,
    "baddbmm": _added_product,
    "convolution": None,
    "einsum": None,
    "bilinear": None,
    "lstm": None,
    "gru": None,
    "rnn_tanh": None,
    "rnn_relu": None,
    "scaled_dot_product_attention": None,
}
"""None: a contraction that is named instead of counted; the full count is `profile`'s."""


def summarise(program: Mapping[str, Any]) -> GraphSummary:
    """The summary of a program that passed the check (its JSON, cleaned)."""
    graph = program["graph_module"]["graph"]
    ops: Counter[str] = Counter()
    uncounted: set[str] = set()
    layers: dict[str, str] = {}
    total: int | None = 0
    for scope in _graphs(graph):
        shapes = {name: _shape(meta) for name, meta in scope["tensor_values"].items()}
        for node in scope["nodes"]:
            target = node["target"].removeprefix("torch.ops.")
            ops[target] += 1
            _note_layer(node, layers)
            name = target.split(".")[1] if target.count(".") > 1 else target
            if name not in DENSE:
                continue
            macs = _macs(node, name, shapes)
            if macs is None:
                uncounted.add(target)
            elif total is not None:
                total += macs
    return GraphSummary(dict(ops.most_common()), total, tuple(sorted(uncounted)), _inputs(program), layers)


def _graphs(graph: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found, todo = [], [graph]
    while todo:
        found.append(todo.pop())
        arguments = (i["arg"] for node in found[-1]["nodes"] for i in node["inputs"])
        todo += [a["as_graph"]["graph"] for a in arguments if "as_graph" in a]
    return found


def _note_layer(node: Mapping[str, Any], layers: dict[str, str]) -> None:
    stack = str(node["metadata"].get("nn_module_stack", "")).split(";")[-1].split(",")
    if len(stack) == 3 and not stack[1].startswith("_empty"):
        layers.setdefault(stack[1].split("@")[0], stack[2])


def _macs(node: Mapping[str, Any], name: str, shapes: Mapping[str, Shape | None]) -> int | None:
    rule = DENSE[name]
    names = [i["arg"]["as_tensor"]["name"] for i in node["inputs"] if "as_tensor" in i["arg"]]
    outs = [o["as_tensor"]["name"] for o in node["outputs"] if "as_tensor" in o]
    known = [shapes.get(n) for n in (*names, *outs)]
    sizes = [s for s in known if s is not None]
    if rule is None or not outs or len(sizes) < len(known) or len(names) < 2 or not all(sizes[:2]):
        return None
    return rule(sizes[: len(names)], sizes[-1])


def _shape(meta: Mapping[str, Any]) -> Shape | None:
    sizes = [_size(s) for s in meta["sizes"]]
    return None if None in sizes else tuple(s for s in sizes if s is not None)


def _size(size: Mapping[str, Any]) -> int | None:
    if "as_int" in size:
        return int(size["as_int"])
    return _evaluate(ast.parse(size["as_expr"]["expr_str"].strip(), mode="eval").body)


def _evaluate(node: ast.AST) -> int | None:
    """A symbolic size with every symbol 1; sums and products only."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    if node.func.id == "Symbol":
        return 1
    if node.func.id == "Integer" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
        value = node.args[0].value
        return value if isinstance(value, int) else None
    parts = [_evaluate(a) for a in node.args]
    numbers = [p for p in parts if p is not None]
    if len(numbers) < len(parts):
        return None
    return sum(numbers) if node.func.id == "Add" else math.prod(numbers) if node.func.id == "Mul" else None


def _inputs(program: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
    module = program["graph_module"]
    specs = [s["user_input"]["arg"] for s in module["signature"]["input_specs"] if "user_input" in s]
    names = [a["as_tensor"]["name"] for a in specs if "as_tensor" in a]
    metas = module["graph"]["tensor_values"]
    return {n: tuple(s.get("as_int") for s in metas[n]["sizes"]) for n in names if n in metas}
