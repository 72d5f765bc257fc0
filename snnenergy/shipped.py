"""Where the files that ship beside the code lie: in a wheel under `snnenergy/_data`, in a checkout at its root."""

from __future__ import annotations

from pathlib import Path


def shipped(folder: str) -> Path:
    """The folder of that name (`hardware_profiles`, `conventions`, `examples`), installed or in a source checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_data" / folder
    return installed if installed.is_dir() else package.parent / folder
