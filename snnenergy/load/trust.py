"""`--trust`: run what the file holds, because the user said so, for this call only.

A child process loads the file first, so that a crash or an endless load ends there and not here.  That is all it protects:
the code of the file runs with the user's rights, in the child and then in this process, and can read, write and send
whatever the user can.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snnenergy.errors import UnsafeModelError
from snnenergy.load.files import Kind, quoted

REHEARSAL_SECONDS = 300
NOTE = "loaded with --trust: code from the file ran with your rights; only a crash of the load itself was kept away"


def load_trusted(path: Path, data: bytes, kind: Kind) -> tuple[Any, str]:
    """What the file holds (a module, an exported program, weights), and the note a report must carry."""
    if kind not in (Kind.TORCH, Kind.LEGACY, Kind.TORCHSCRIPT, Kind.PICKLE, Kind.PT2):
        raise UnsafeModelError(f"{path}: --trust is for pickles, TorchScript and .pt2; this is none of them")
    rehearse(path, kind)
    try:
        return unpickled(data, kind), NOTE
    except Exception as error:  # the file's own code may raise anything
        raise UnsafeModelError(f"{path}: cannot be loaded, even trusted: {quoted(error)}") from error


def rehearse(path: Path, kind: Kind) -> None:
    """Load the file once in a child process; UnsafeModelError if that crashes or takes too long."""
    command = [sys.executable, "-m", "snnenergy.load.trust", str(path.resolve()), str(kind)]
    here = os.pathsep.join([str(Path.cwd()), *(p for p in sys.path if p)])
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=REHEARSAL_SECONDS, check=False, env={**os.environ, "PYTHONPATH": here}
        )
    except subprocess.TimeoutExpired as error:
        raise UnsafeModelError(f"{path}: loading it took more than {REHEARSAL_SECONDS} s; stopped") from error
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise UnsafeModelError(f"{path}: loading it in a child process failed ({done.returncode}): {last!r:.200}")


def unpickled(data: bytes, kind: Kind) -> Any:
    """Load without any check: the caller trusts the file."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind is Kind.TORCHSCRIPT:
            load_script: Callable[..., Any] = torch.jit.load
            return load_script(io.BytesIO(data), map_location="cpu")
        if kind is Kind.PT2:
            return torch.export.load(io.BytesIO(data))
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)


if __name__ == "__main__":
    unpickled(Path(sys.argv[1]).read_bytes(), Kind(sys.argv[2]))
