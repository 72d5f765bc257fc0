"""Reading a pickle without running it: the opcodes are followed on a stack of inert values.

A pickle is a program.  This walks it as an unpickler would, but every global stays a name, every call a record of what
would have been called; so `inspect` can show a file, and the loader can refuse it, before an unpickler sees it.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from snnenergy.errors import UnsafeModelError
from snnenergy.load.files import quoted

MAX_OPCODES = 5_000_000
MAX_MADE = 300_000
"""Calls and new objects of one pickle; torch's own unpickler takes about 0.1 ms for each."""
MAX_COPIED = 5_000_000
"""Items that calls and states copy: a pickle may hand one long list to many of them."""
MAX_NAME = 500


@dataclass(frozen=True, slots=True)
class Global:
    """A name a pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Made:
    """What a pickle would have made: `callee` called (or instantiated) with `args`, then given state and items.

    state: as it was when it was given (an unpickler copies it then; items set later change nothing)
    """

    callee: object
    args: object = ()
    state: object = None
    items: list[tuple[object, object]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.callee}>"

    def of(self, name: str) -> bool:
        return isinstance(self.callee, Global) and str(self.callee) == name


@dataclass(slots=True, eq=False)
class Storage:
    """A persistent id: for torch ("storage", type, key, location, elements)."""

    pid: object


DICT, SET, FROZENSET = Global("builtins", "dict"), Global("builtins", "set"), Global("builtins", "frozenset")


@dataclass(slots=True)
class Walk:
    """The end of a walk: the inert value, every global with the ways it is used, and where the pickle stopped.

    uses: `value` (stored as it is), `call` (REDUCE, INST, OBJ), `new` (NEWOBJ), `state` (BUILD on the global itself)
    storages: persistent ids met; made: every record of a call, a new object or a dict
    """

    value: object
    uses: dict[Global, set[str]]
    storages: list[object]
    made: list[Made]
    end: int


class _Mark:
    pass


_MARK = _Mark()


def walk(data: bytes, where: str, start: int = 0) -> Walk:
    """Follow one pickle from `start`; UnsafeModelError where it is damaged, too large, or of opcodes torch never writes."""
    stream = io.BytesIO(data)
    stream.seek(start)
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escape sequences in the file's strings
            for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
                if count > MAX_OPCODES:
                    raise UnsafeModelError(f"{where}: a pickle of more than {MAX_OPCODES} opcodes")
                machine.step(opcode.name, arg)
    except UnsafeModelError:
        raise
    except (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise UnsafeModelError(f"{where}: a damaged pickle: {quoted(error)}") from error
    return Walk(machine.result, machine.uses, machine.storages, machine.made, stream.tell())


class _Machine:
    """The stack, the memo and what was met; one method per family of opcodes, found by the table below."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.uses: dict[Global, set[str]] = {}
        self.storages: list[object] = []
        self.made: list[Made] = []
        self.calls = self.copied = 0
        self.result: object = None

    def step(self, name: str, arg: Any) -> None:
        if name in _PUSH_ARG:
            self.stack.append(arg)
        elif name in _PUSH:
            self.stack.append(_PUSH[name]())
        elif name in _STEPS:
            _STEPS[name](self, arg)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"opcode {name} is not one torch.save writes")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("the stack does not match its marks")
        return value

    def to_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise ValueError("no mark on the stack")

    def drop(self) -> None:
        del self.stack[-1]

    def drop_to_mark(self) -> None:
        self.to_mark()

    def tuples(self, size: int) -> None:
        items = tuple(self.pop() for _ in range(size))[::-1]
        self.stack.append(items)

    def use(self, target: object, how: str) -> None:
        if isinstance(target, Global):
            self.uses.setdefault(target, set()).add(how)
        elif not isinstance(target, Made):
            raise TypeError(f"{type(target).__name__} object is called")
        else:
            self.uses.setdefault(Global("", f"<the result of calling {target.callee}>"), set()).add(how)

    def find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("the name of a global is computed")
        if len(module) + len(name) > MAX_NAME:
            raise ValueError(f"a global's name has more than {MAX_NAME} characters")
        target = Global(module, name)
        self.uses.setdefault(target, set()).add("value")
        self.stack.append(target)

    def make(self, how: str, callee: object, args: object) -> None:
        self.use(callee, how)
        self.calls += 1
        if self.calls > MAX_MADE:
            raise ValueError(f"more than {MAX_MADE} calls and objects")
        self.copy(args)
        for arg in args if isinstance(args, tuple) else ():
            self.copy(arg)
        self.made.append(Made(callee, args))
        self.stack.append(self.made[-1])

    def copy(self, value: object) -> None:
        held = value.items if isinstance(value, Made) else value
        self.copied += len(held) if isinstance(held, tuple | list) else 0
        if self.copied > MAX_COPIED:
            raise ValueError(f"its calls and states copy more than {MAX_COPIED} items")

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Made):
            if target.state is not None:
                raise ValueError("an object is given its state twice")
            self.copy(state)
            target.state = replace(state, items=list(state.items)) if isinstance(state, Made) else state
        else:
            self.use(target, "state")

    def put(self, index: int) -> None:
        if self.stack[-1] is _MARK:
            raise ValueError("a mark is stored in the memo")
        self.memo[index] = self.stack[-1]

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, Made):
            raise TypeError("items are set on what is no mapping")
        target.items.extend(zip(flat[::2], flat[1::2], strict=True))

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Made):
            target.items.extend((item, None) for item in items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise TypeError("items are appended to what is no list")

    def table(self, flat: list[Any]) -> None:
        self.made.append(Made(DICT))
        self.stack.append(self.made[-1])
        self.set_items(flat)

    def called_with_marked(self) -> None:
        items = self.to_mark()
        self.make("call", items[0], tuple(items[1:]))

    def persistent(self, pid: object) -> None:
        self.storages.append(pid)
        legacy_class = isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module" and isinstance(pid[1], Global)
        self.stack.append(pid[1] if legacy_class and isinstance(pid, tuple) else Storage(pid))

    def stop(self) -> None:
        self.result = self.pop()


def _popped_two(m: _Machine, how: str) -> None:
    args = m.pop()
    m.make(how, m.pop(), args)


def _new_with_keywords(m: _Machine) -> None:
    keywords, args = m.pop(), m.pop()
    m.make("new", m.pop(), (args, keywords))


def _stack_global(m: _Machine) -> None:
    name = m.pop()
    m.find(m.pop(), name)


def _set_one(m: _Machine) -> None:
    value = m.pop()
    m.set_items([m.pop(), value])


def _append(m: _Machine) -> None:
    item = m.pop()
    m.extend([item])


def _inst(m: _Machine, arg: str) -> None:
    args = tuple(m.to_mark())
    m.find(*arg.split(" ", 1))
    m.make("call", m.pop(), args)


def _frozenset(m: _Machine) -> None:
    m.stack.append(Made(FROZENSET, (), None, [(i, None) for i in m.to_mark()]))


_PUSH_ARG = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "BINUNICODE8 SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
_PUSH: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": lambda: _MARK,
    "EMPTY_TUPLE": lambda: (),
    "EMPTY_LIST": list,
    "EMPTY_SET": lambda: Made(SET),
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "POP": lambda m, _: m.drop(),
    "POP_MARK": lambda m, _: m.drop_to_mark(),
    "LIST": lambda m, _: m.stack.append(m.to_mark()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.to_mark())),
    "TUPLE1": lambda m, _: m.tuples(1),
    "TUPLE2": lambda m, _: m.tuples(2),
    "TUPLE3": lambda m, _: m.tuples(3),
    "EMPTY_DICT": lambda m, _: m.table([]),
    "DICT": lambda m, _: m.table(m.to_mark()),
    "APPEND": lambda m, _: _append(m),
    "APPENDS": lambda m, _: m.extend(m.to_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.to_mark()),
    "SETITEM": lambda m, _: _set_one(m),
    "SETITEMS": lambda m, _: m.set_items(m.to_mark()),
    "FROZENSET": lambda m, _: _frozenset(m),
    "PUT": lambda m, arg: m.put(arg),
    "BINPUT": lambda m, arg: m.put(arg),
    "LONG_BINPUT": lambda m, arg: m.put(arg),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "GET": lambda m, arg: m.stack.append(m.memo[arg]),
    "BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "LONG_BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "GLOBAL": lambda m, arg: m.find(*arg.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: _stack_global(m),
    "INST": _inst,
    "OBJ": lambda m, _: m.called_with_marked(),
    "REDUCE": lambda m, _: _popped_two(m, "call"),
    "NEWOBJ": lambda m, _: _popped_two(m, "new"),
    "NEWOBJ_EX": lambda m, _: _new_with_keywords(m),
    "BUILD": lambda m, _: m.build(),
    "PERSID": lambda m, arg: m.persistent(arg),
    "BINPERSID": lambda m, _: m.persistent(m.pop()),
    "STOP": lambda m, _: m.stop(),
}
