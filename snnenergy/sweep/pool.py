"""Worker processes: each counts one point at a time; one that dies is named by its point, and another takes its place."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from snnenergy.sweep.points import Point
from snnenergy.sweep.store import Failure, put
from snnenergy.sweep.worker import serve

PATIENCE = 2.0
"""Seconds that a process gets to leave what it is in."""


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Worker:
    """A process, our end of its pipe, and the point it counts."""

    process: BaseProcess
    connection: Connection
    point: Point | None = None

    def give(self, point: Point) -> None:
        self.point = point
        with suppress(BrokenPipeError):  # it died just now: its end of the pipe says so
            self.connection.send((point.digest, point.label, point.task))

    def end(self, *, now: bool = False) -> None:
        """It leaves when its pipe closes; `now`: in the middle of its point."""
        self.connection.close()
        if now:
            self.process.terminate()
            self.process.join(PATIENCE)
            self.process.kill()
        self.process.join()


def count(points: Sequence[Point], folder: Path, jobs: int) -> Iterator[tuple[Point, Failure | None]]:
    """Counts points into a store, in `jobs` processes; yields each as it ends, with why it failed.

    However the loop over it is left, no worker stays behind; points that had ended are in the store.
    """
    waiting = deque(points)
    workers: list[_Worker] = []
    try:
        with _one_thread():
            while waiting or workers:
                while waiting and len(workers) < jobs:
                    workers.append(_started(folder))
                    workers[-1].give(waiting.popleft())
                ready = wait([worker.connection for worker in workers])
                for worker in [w for w in workers if w.connection in ready]:
                    point, failure, alive = _ended(worker, folder)
                    if alive and waiting:
                        worker.give(waiting.popleft())
                    else:
                        workers.remove(worker)
                        worker.end()
                    yield point, failure
    finally:
        for worker in workers:
            worker.end(now=True)


def _started(folder: Path) -> _Worker:
    """A new process; Ctrl-C is for this one, which then ends the others."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, folder))  # no daemon: a loader may have workers of its own
    resource_tracker.ensure_running()  # which, where it only starts now, lifts the block that follows
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    theirs.close()
    return _Worker(process, ours)


def _ended(worker: _Worker, folder: Path) -> tuple[Point, Failure | None, bool]:
    """The point whose worker has answered, or died."""
    point = worker.point
    assert point is not None  # it was given one when it started
    try:
        return point, worker.connection.recv(), True
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return point, put(folder, point.digest, Failure(_death(worker.process.exitcode))), False


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        why = "; the system ends so what takes too much memory: use fewer --jobs" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{why}"
    return f"its process ended by itself with exit code {code}"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that start meanwhile compute on one thread each."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
