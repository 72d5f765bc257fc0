"""A long run on a terminal: how far it is, and how it is stopped."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from snnenergy.cli import output
from snnenergy.cli.runner import say

REFRESH_SECONDS = 0.1


class Stop:
    """Ctrl-C within a batch stops after it, so that what was counted is whole; a second one stops at once."""

    def __init__(self) -> None:
        self.torn = False  # stopped within a batch: the counters are not to be trusted
        self._busy = self._asked = False

    def __enter__(self) -> Stop:
        self._former = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.signal(signal.SIGINT, self._former)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._busy and not self._asked:
            self._asked = True
            say("stopping after this batch; Ctrl-C again stops at once, and nothing is written")
            return
        self.torn = self._busy
        raise KeyboardInterrupt

    @contextmanager
    def deferred(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._asked:
            raise KeyboardInterrupt


@contextmanager
def bar(name: str, total: int | None, *, shown: bool, of: str = "samples") -> Iterator[Callable[[int], None]]:
    """Samples (or what else there are `total` of) counted, their rate and the time left, on stderr; nothing where nobody watches."""
    if not shown or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.1f} {of}/s" if task.speed else "")

    console = Console(stderr=True, width=min(output.width(), 80))
    whole = f"/{total:,}" if total is not None else ""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), TextColumn("{task.completed:,}" + whole),
        Rate(), TimeRemainingColumn(),
    )  # fmt: skip  # left to right, as they stand on the screen
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task(name[:20], total=total)
        last = 0.0

        def advance(done: int) -> None:
            nonlocal last
            now = time.monotonic()
            due = now - last >= REFRESH_SECONDS
            progress.update(task, completed=done, refresh=due)
            last = now if due else last

        yield advance
