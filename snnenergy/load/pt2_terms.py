"""What the strings of an exported program may say, each kind with its own small grammar.

torch turns several of them into Python source and runs it: symbolic sizes go through sympy's `sympify`, which evaluates,
guards and argument names become the text of functions.  Measured on torch 2.13: each of the three runs what it holds.
"""

from __future__ import annotations

import ast
import json
import keyword
import math
import re
from collections.abc import Callable
from typing import Any

MAX_TEXT = 10_000
MAX_TERMS, MAX_PRECISION = 200, 1000
"""Of one expression: terms when multiplied out, bits of a number."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_DOTTED = re.compile(r"(?!__)[A-Za-z0-9_]+(\.(?!__)[A-Za-z0-9_]+)*")
_CALL_PATH = re.compile(r"[A-Za-z0-9_.@]{0,500}")
_PLAIN = re.compile(r"[ !#-&(-\[\]-z|~^]*")  # printable ASCII without quotes, backslashes and braces
_PRINTABLE = re.compile(r"[ -~]*")
_SYMBOL = re.compile(r"[a-z]{1,3}\d{1,9}")
_ATEN = re.compile(r"torch\.ops\.(aten|prims|quantized_decomposed)\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)")
_UNCHECKED = re.compile(r"_?(nested|sparse)_.*|set_.*")
"""Ops that take indices, offsets or storages on trust, and would read and write outside them."""
_PYTHON_OPS = frozenset(
    "_operator.add _operator.sub _operator.mul _operator.neg _operator.floordiv _operator.truediv _operator.mod "
    "_operator.eq _operator.ne _operator.lt _operator.le _operator.gt _operator.ge _operator.and_ _operator.or_ "
    "_operator.not_ _operator.getitem _operator.pos math.ceil math.floor math.trunc torch.sym_int torch.sym_float torch.sym_max "
    "torch.sym_min torch.sym_not torch.sym_ite torch.sym_sum torch.ops.higher_order.cond torch.ops.higher_order.while_loop "
    "torch.ops.higher_order.scan torch.ops.higher_order.map_impl torch.ops.higher_order.associative_scan "
    "torch.ops.higher_order.wrap_with_set_grad_enabled torch.ops.higher_order.wrap_with_autocast".split()
)
_SYMBOLIC = frozenset(
    "Symbol Integer Float Rational Add Mul Max Min Mod FloorDiv CleanDiv CeilDiv ModularIndexing PythonMod Equality "
    "Unequality GreaterThan LessThan StrictGreaterThan StrictLessThan And Or Not Eq Ne Gt Ge Lt Le ToFloat TruncToInt "
    "CeilToInt FloorToInt RoundToInt IntTrueDiv FloatTrueDiv Where Identity true false".split()
)
_COMPARED = frozenset("Max Min And Or".split())
_ASSUMPTIONS = frozenset("positive integer nonnegative negative nonzero real finite zero".split())


def name(text: str) -> bool:
    """A Python name that is no keyword: it becomes a variable of a generated function."""
    return bool(_NAME.fullmatch(text)) and not keyword.iskeyword(text)


def optional_name(text: str) -> bool:
    """A name, or none; an op's own argument may be called `from`."""
    return text == "" or bool(_NAME.fullmatch(text))


def dotted(text: str) -> bool:
    """The path of a parameter or buffer."""
    return len(text) <= 500 and bool(_DOTTED.fullmatch(text))


def call_path(text: str) -> bool:
    return bool(_CALL_PATH.fullmatch(text))


def plain(text: str) -> bool:
    """A string argument of an op (a padding mode, an einsum equation): nothing that could end a Python literal."""
    return len(text) <= MAX_TEXT and bool(_PLAIN.fullmatch(text))


def symbol(text: str) -> bool:
    return bool(_SYMBOL.fullmatch(text))


def op(text: str) -> bool:
    """An arithmetic op of torch.ops.aten or a listed namespace; none that names a file, prints, or returns nothing."""
    match = _ATEN.fullmatch(text)
    if match is None:
        return text in _PYTHON_OPS
    import torch

    namespace, packet, overload = match.groups()
    if _UNCHECKED.fullmatch(packet):
        return False
    found = getattr(getattr(getattr(torch.ops, namespace), packet, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        return False
    schema = found._schema
    files = any(a.name in ("filename", "file") for a in schema.arguments)
    return not files and (bool(schema.returns) or "assert" in packet or packet.startswith("sym_constrain"))


def expression(text: str) -> bool:
    """A symbolic size as sympy's `srepr` writes it, or a guard over sizes: arithmetic on sizes and symbols, no attribute."""
    if len(text) > MAX_TEXT or "\\" in text:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return all(_expression_node(node) for node in ast.walk(tree)) and _terms(tree) <= MAX_TERMS
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _terms(node: ast.AST) -> int:
    """Terms of an expression once its products are multiplied out, as sympy does; no more than just too many."""
    parts = [_terms(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    call = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    multiplied = call == "Mul" or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult))
    terms = math.prod(parts) if multiplied else sum(parts)
    if call in _COMPARED:  # each argument with each
        terms **= 2
    return min(max(terms, 1), MAX_TERMS + 1)


def _expression_node(node: ast.AST) -> bool:
    for kind, allowed in _EXPRESSION:
        if isinstance(node, kind):
            return allowed(node)
    return False


def _constant(node: Any) -> bool:
    if isinstance(node.value, str):
        return bool(_NAME.fullmatch(node.value)) or bool(re.fullmatch(r"-?\d{1,20}(\.\d{1,40})?", node.value))
    return isinstance(node.value, bool | float) or (isinstance(node.value, int) and abs(node.value) < 2**63)


def _call(node: Any) -> bool:
    if isinstance(node.func, ast.Name):
        return node.func.id in _SYMBOLIC and all(map(_assumption, node.keywords))
    return isinstance(node.func, ast.Attribute) and not node.args and not node.keywords  # x.size(), only in guards


def _assumption(keyword: ast.keyword) -> bool:
    value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    if keyword.arg == "precision":
        return type(value) is int and 0 < value <= MAX_PRECISION
    return keyword.arg in _ASSUMPTIONS and isinstance(value, bool)


_EXPRESSION: tuple[tuple[Any, Callable[[Any], bool]], ...] = (
    (ast.Constant, _constant),
    (ast.Call, _call),
    (ast.Attribute, lambda n: n.attr in ("size", "stride", "storage_offset") and isinstance(n.value, ast.Subscript)),
    (
        ast.Subscript,
        lambda n: isinstance(n.value, ast.Name | ast.Subscript | ast.Call) and isinstance(n.slice, ast.Constant),
    ),
    (ast.Name, lambda n: n.id == "L" or n.id in _SYMBOLIC or symbol(n.id)),
    (ast.BinOp, lambda n: isinstance(n.op, ast.Add | ast.Sub | ast.Mult | ast.FloorDiv | ast.Div | ast.Mod)),
    (ast.UnaryOp | ast.BoolOp | ast.Compare, lambda n: True),
    (ast.operator | ast.unaryop | ast.boolop | ast.cmpop | ast.expr_context | ast.keyword, lambda n: True),
)

_CONTAINERS = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})


def tree(text: str) -> bool:
    """How inputs and outputs nest: tuples, lists and dicts only."""
    try:
        protocol, spec = json.loads(text)
        return protocol == 1 and len(text) <= 2**20 and _tree(spec, 0)
    except (ValueError, TypeError, RecursionError):
        return False


def _tree(spec: Any, depth: int) -> bool:
    if not isinstance(spec, dict) or depth > 40 or set(spec) != {"type", "context", "children_spec"}:
        return False
    context = spec["context"]
    if spec["type"] not in _CONTAINERS or not (context is None or (isinstance(context, str) and _keys(context))):
        return False
    return isinstance(spec["children_spec"], list) and all(_tree(c, depth + 1) for c in spec["children_spec"])


def _keys(context: str) -> bool:
    keys = json.loads(context)
    return keys is None or (isinstance(keys, list) and all(isinstance(k, str) and name(k) for k in keys))


def module_stack(text: str) -> bool:
    """`key,path,type` of every module on the way to an op, joined by semicolons: kept as text, so only printable."""
    return len(text) <= MAX_TEXT and bool(_PRINTABLE.fullmatch(text))
