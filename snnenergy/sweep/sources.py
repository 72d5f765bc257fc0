"""Digests of what a count depends on: model files, data, and the code of factories, read and never run."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from snnenergy.errors import UsageError
from snnenergy.untrusted import regular

MAX_CODE = 4 << 20
"""Bytes of one Python file."""
SUFFIXES = (".npy", ".npz")


def is_code(source: str) -> bool:
    """Whether a source is `pkg.mod:name` and not a file."""
    module, _, name = source.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split(".")) and not Path(source).exists()


def digest(source: str) -> str:
    """Of a file, a folder of arrays, `file.npz:name`, or the code behind `pkg.mod:name`; UsageError where there is none."""
    path = Path(source)
    stem, _, key = source.rpartition(":")
    if not path.exists() and key.isidentifier() and Path(stem).is_file():
        return f"{_file(Path(stem))}:{key}"
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        return _joined(f"{p.relative_to(path).as_posix()} {_file(p)}" for p in files)
    if path.exists():
        return _file(path)
    if is_code(source):
        return f"{source} {code(source.partition(':')[0])}"
    raise UsageError(f"{source}: no such file, and not pkg.mod:name")


def _file(path: Path) -> str:
    try:
        regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _joined(parts: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code(module: str) -> str:
    """Of a module below the current directory, its packages, and all those there that it imports, wherever the import stands.

    Modules that lie elsewhere (installed packages) go by their name alone.
    """
    here, seen, waiting = Path.cwd(), dict[str, str](), list(_packages(module))
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        file = _place(name, here)
        seen[name] = "" if file is None else _file(file)
        if file is not None:
            waiting += _imported(file, name)
    if not seen[module] and PathFinder.find_spec(module.partition(".")[0]) is None:
        raise UsageError(f"{module}: no such module here, nor among the installed packages")
    return _joined(f"{name} {found}" for name, found in sorted(seen.items()) if found or name == module)


def _place(module: str, here: Path) -> Path | None:
    """The file of a module below a folder, found without importing its parents; None where it lies elsewhere."""
    stem = here.joinpath(*module.split("."))
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def _imported(file: Path, name: str) -> Iterator[str]:
    """Modules that a file names in imports, and the packages they lie in."""
    if file.stat().st_size > MAX_CODE:
        raise UsageError(f"{file}: larger than {MAX_CODE >> 20} MiB, which no Python file needs")
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # the run will say so
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            head = ".".join([*base, *([node.module] if node.module else [])])
            found = [head, *(f"{head}.{alias.name}" if head else alias.name for alias in node.names)]
        else:
            continue
        for dotted in filter(None, found):
            yield from _packages(dotted)


def _packages(module: str) -> Iterator[str]:
    """A module after the packages it lies in, which run before it."""
    parts = module.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node; expressions, which are most of a tree, hold none."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield child
            yield from _statements(child)
