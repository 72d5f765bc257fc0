"""Files as they are in a commit, read through git; nothing is checked out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from snnenergy.errors import UsageError

MAX_BYTES = 256 * 1024 * 1024
PATIENCE_S = 120
"""Seconds in which git answers."""


class Commit:
    """One commit of the repository that holds a folder."""

    def __init__(self, ref: str, folder: Path) -> None:
        self.ref = ref
        self.root = Path(_git(folder, "rev-parse", "--show-toplevel").decode().strip())
        self.name = _git(folder, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").decode().strip()

    def read(self, paths: Iterable[Path]) -> dict[Path, bytes]:
        """The files that the commit holds, by the path asked for; those it does not hold are left out."""
        wanted = list(paths)
        names = [self.name_of(path) for path in wanted]
        asked = "".join(f"{self.name}:{name}\n" for name in names).encode()
        answer = _git(self.root, "cat-file", "--batch", stdin=asked)
        found, at = {}, 0
        for path in wanted:
            head, _, _ = answer[at:].partition(b"\n")
            at += len(head) + 1
            kind, size = head.rsplit(b" ", 2)[-2:] if not head.endswith(b" missing") else (b"", b"0")
            if kind == b"blob":
                found[path] = answer[at : at + int(size)]
            at += int(size) + 1 if kind else 0
        return found

    def names(self, folder: Path) -> list[str]:
        """The names of the files in a folder of the commit; none where there is no such folder."""
        inside = f"{self.name_of(folder)}/"
        listed = _git(self.root, "ls-tree", "--name-only", "-z", self.name, "--", inside).decode(errors="replace")
        return [name.removeprefix(inside) for name in listed.split("\0") if name]

    def name_of(self, path: Path) -> str:
        """A path as git names it: from the root of the repository.

        Links that lead into the repository are followed, those in it are not: a pull request may lay them.
        """
        full = Path(os.path.abspath(path))
        ways = (up.resolve() / full.relative_to(up) for up in (*reversed(full.parents), full))
        inside = next((way for way in ways if way.is_relative_to(self.root)), None)
        if inside is None:
            raise UsageError(f"{path}: lies outside the repository, so {self.ref} cannot hold it")
        name = inside.relative_to(self.root).as_posix()
        if "\n" in name:
            raise UsageError(f"{name!r}: a file name with a line break")
        return name


def _git(folder: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    """What git prints; UsageError with git's own first line where it fails."""
    try:
        done = subprocess.run(  # noqa: PLW1510  # the exit code is looked at below
            ["git", "-C", str(folder), *arguments], input=stdin, capture_output=True, timeout=PATIENCE_S
        )
    except FileNotFoundError:
        raise UsageError("git is not installed, and a base branch is read through it") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"git {arguments[0]}: no answer in {PATIENCE_S} s; does a hook or a lock hold it?") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(f"git {arguments[0]}: {said[0] if said else 'failed'} (is the base branch fetched?)")
    if len(done.stdout) > MAX_BYTES:
        raise UsageError(f"git {arguments[0]}: more than {MAX_BYTES >> 20} MiB")
    return done.stdout
