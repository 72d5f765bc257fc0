"""`pkg.mod:factory`: the user's own code, imported with the current directory first on the path."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import UsageError, few
from snnenergy.frameworks.classes import PACKAGES
from snnenergy.load.files import quoted

if TYPE_CHECKING:
    import torch

_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_factory(source: str) -> bool:
    """Whether a source is `pkg.mod:factory` and not a file that happens to be called so."""
    return bool(_SPEC.fullmatch(source)) and not Path(source).exists()


@contextmanager
def here_first() -> Iterator[None]:
    """The current directory first on sys.path, and everything as before afterwards."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def imported(spec: str) -> Any:
    """What `pkg.mod:name` names; raises whatever its module raises."""
    module_name, _, path = spec.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def to_install(error: BaseException) -> str:
    """What to do about a package that is not installed, to stand behind the error; nothing for other errors."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not name:
        return ""
    if name == "lava":
        return "\n  lava-dl declares an older Python: pip install --no-deps --ignore-requires-python lava-dl lava-nc."
    if name in PACKAGES:
        return f"\n  Install it: pip install 'snnenergy[{name}]'."
    return f"\n  Install it for {sys.executable}, or run from the folder that holds {name}."


def _nearest(spec: str, error: Exception) -> str:
    """What a misspelt part of pkg.mod:name may mean, to stand behind the error; nothing for errors of the module's own."""
    module, _, path = spec.partition(":")
    if module.endswith(".py"):
        return f"\n  A function is named by its module: {module.removesuffix('.py')}:{path}."
    if isinstance(error, ModuleNotFoundError) and error.name == module and (home := module.rpartition(".")[0]):
        found = getattr(sys.modules.get(home), "__path__", None) or ()
        known, word = [f"{home}.{row.name}" for row in pkgutil.iter_modules(found)], module
    elif isinstance(error, AttributeError) and error.name in path.split("."):
        known, word = [name for name in dir(error.obj) if not name.startswith("_")], error.name
    else:
        return ""
    near = get_close_matches(word, known, 3)
    return f"\n  {'It is perhaps ' + ' or '.join(near) if near else 'It has ' + few(sorted(known))}." if known else ""


def call_factory(
    spec: str, arguments: Mapping[str, Any] | None = None
) -> tuple[torch.nn.Module, tuple[Any, ...] | None]:
    """The module (in eval mode) a factory makes, and the inputs it brings, if it returns (module, inputs)."""
    import torch

    if not _SPEC.fullmatch(spec):
        raise UsageError(f"factory {spec!r}: expected pkg.mod:function, such as examples.digits.train:make_snn")
    with here_first():
        try:
            made = imported(spec)(**(arguments or {}))
        except Exception as error:
            advice = _nearest(spec, error) or to_install(error)
            raise UsageError(f"factory {spec}: {type(error).__name__}: {quoted(error)}{advice}") from error
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"factory {spec}: returned {type(model).__name__}; expected a module, or (module, inputs)")
    if inputs is not None and not isinstance(inputs, tuple):
        inputs = tuple(inputs) if isinstance(inputs, list) else (inputs,)
    return model.eval(), inputs
