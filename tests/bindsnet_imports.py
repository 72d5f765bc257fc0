"""BindsNET imports data sets, plots, games and scores along with its networks.

What of them is not installed, or does not load beside a CPU torch, is an empty name while BindsNET is imported: no network
uses it.  BindsNET itself is never replaced.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

UNUSED = ("torchvision", "cv2", "ale_py", "gymnasium", "tensorboardX")


class _Empty(type):
    """A class in which every name is another empty class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})


class _Nothing(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})


class _Stand(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of `names` where nobody else did."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        found = name.partition(".")[0] in self.names
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if found else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Nothing(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


def _missing(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError):  # torchvision beside another torch than its own is a RuntimeError
        for part in [m for m in sys.modules if m.partition(".")[0] == name]:
            del sys.modules[part]
        return True
    return False


@contextmanager
def without_the_unused() -> Iterator[None]:
    """What is missing of UNUSED stands empty while BindsNET is imported, and is gone after."""
    stand = _Stand([name for name in UNUSED if _missing(name)])
    sys.meta_path.insert(0, stand)
    try:
        yield
    finally:
        sys.meta_path.remove(stand)
        for name in [m for m, module in sys.modules.items() if isinstance(module, _Nothing)]:
            del sys.modules[name]
