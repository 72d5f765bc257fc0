"""What counting costs as data, processes and layers grow: three Markdown tables, with versions.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [data|ranks|layers ...]

data: `profile --data` on 100, 1,000 and 10,000 samples from a mapped .npy: seconds a sample of the counting pass, and the peak
memory of the process.  ranks: 100,000 samples by 1 and by 2 processes of torchrun, start-up included and apart.
layers: size of the JSON and time of `report` for 1,000 layers.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

import snnenergy

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = (100, 1_000, 10_000)
MANY = 100_000
LAYERS = 1_000
CHILD = """
import resource, sys, time
import torch
torch.set_num_threads(1)
from benchmarks.scale import counted
seconds, samples = counted(sys.argv[1], int(sys.argv[2]))
print(seconds, samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def net() -> nn.Module:
    """Two convolutions and a classifier on 16 x 16 images: what a small data set is trained on."""
    torch.manual_seed(0)
    head = (nn.AvgPool2d(4), nn.Flatten(), nn.Linear(256, 10))
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), *head
    ).eval()


def images(folder: Path, samples: int) -> Path:
    file = folder / f"images_{samples}.npy"
    rng = np.random.default_rng(0)
    np.save(file, (rng.random((samples, 1, 16, 16)) > 0.7).astype(np.float32))
    return file


def counted(file: str, limit: int) -> tuple[float, int]:
    """Seconds of the pass without loading the model, and samples."""
    from snnenergy.load import Cut, DataOptions, load_dataset
    from snnenergy.trace.dataset import Pass

    work, batches = load_dataset("benchmarks.scale:net", DataOptions(file, cut=Cut(limit)))
    start = time.perf_counter()
    with Pass(work) as one:
        for batch in batches:
            one.take(batch)
    one.counts()
    return time.perf_counter() - start, one.samples


def data(folder: Path) -> list[str]:
    rows = ["| samples | ms a sample | s in all | peak memory MiB |", "|---:|---:|---:|---:|"]
    for samples in SAMPLES:
        seconds, found, peak = _child("-c", CHILD, str(images(folder, samples)), str(samples)).split()
        assert int(found) == samples
        rows.append(f"| {samples:,} | {1e3 * float(seconds) / samples:.3f} | {float(seconds):.2f} | {peak} |")
    return rows


def ranks(folder: Path) -> list[str]:
    """Wall time of the whole command; start-up is that of a run on one batch."""
    file = str(images(folder, MANY))
    command = ("-m", "snnenergy", "profile", "benchmarks.scale:net", "--hardware", "none", "--data", file)
    rows = ["| processes | s in all | s of start-up | s of counting | against one |", "|---:|---:|---:|---:|---:|"]
    alone = 0.0
    for size in (1, 2):
        launch = () if size == 1 else ("-m", "torch.distributed.run", "--nproc-per-node", str(size))
        start = _seconds(*launch, *command, "--limit", "64")
        whole = _seconds(*launch, *command)
        alone = alone or whole - start
        rows.append(f"| {size} | {whole:.1f} | {start:.1f} | {whole - start:.1f} | x{(whole - start) / alone:.2f} |")
    return rows


def layers(folder: Path) -> list[str]:
    rows = ["| layers | Counts JSON MiB | `report` on 4 chips, s |", "|---:|---:|---:|"]
    deep = nn.Sequential(*(m for _ in range(LAYERS // 2) for m in (nn.Linear(32, 32), nn.ReLU())))
    counts = snnenergy.count(deep, torch.ones(4, 32))
    file = folder / "counts.json"
    counts.save(file)
    seconds = _seconds("-m", "snnenergy", "report", str(file), "--json", str(folder / "report.json"))
    rows.append(f"| {len(counts.layers):,} | {file.stat().st_size / 2**20:.2f} | {seconds:.1f} |")
    return rows


def _seconds(*command: str) -> float:
    start = time.perf_counter()
    _child(*command)
    return time.perf_counter() - start


def _child(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)  # noqa: PLW1510  # looked at below
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


TABLES = {"data": data, "ranks": ranks, "layers": layers}


def main(arguments: Sequence[str] | None = None) -> None:
    wanted = list(arguments if arguments is not None else sys.argv[1:]) or list(TABLES)
    if unknown := [name for name in wanted if name not in TABLES]:
        raise SystemExit(f"scale.py: no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    print(f"snnenergy {snnenergy.__version__}, torch {torch.__version__}, one thread a process")
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            print("\n" + "\n".join(TABLES[name](Path(folder))))


if __name__ == "__main__":
    main()
