"""What counting costs as data, processes, layers and configurations grow: Markdown tables, with versions.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [data|ranks|layers|reports|sweep ...]

data: `profile --data` on 100, 1,000 and 10,000 samples from a mapped .npy: seconds a sample of the counting pass, and the peak
memory of the process.  ranks: 100,000 samples by 1 and by 2 processes of torchrun, start-up included and apart.
layers: size of the JSON and time of `report` for 1,000 layers.
reports: `report` on ten models and ten chips, format by format.
sweep: 300 configurations of a small spiking net by 1 and by 2 processes, start-up apart; and priced again on four chips.
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
from examples.digits.train import LIF

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = (100, 1_000, 10_000)
MANY = 100_000
LAYERS = 1_000
REPEATS = 3
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


CHIPS = "h100_sxm,a100_sxm,jetson_agx_orin,stm32u575,truenorth,loihi,loihi2,tianjic,spinnaker,horowitz_fp32"
FORMATS = ("terminal", "json", "html", "markdown", "csv", "latex")


def reports(folder: Path) -> list[str]:
    """Wall time of the whole command, the median of three: five convolutional nets and five spiking ones."""
    files = []
    for width in (4, 8, 12, 16, 20):
        dense = nn.Sequential(nn.Conv2d(1, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU())
        ann, image = nn.Sequential(dense, nn.Flatten(), nn.Linear(32 * width, 10)).eval(), torch.rand(4, 1, 16, 16)
        events = (torch.rand(8, 4, 1, 16, 16) < 0.2).float()
        for name, model, x in ((f"ann_{width}", ann, image), (f"snn_{width}", spiking(width).eval(), events)):
            files.append(str(folder / f"{name}.json"))
            snnenergy.count(model, x, name=name).save(files[-1])
    rows = ["| format | s | KiB |", "|---|---:|---:|"]
    for form in FORMATS:
        target = folder / f"report.{form}"
        options = () if form == "terminal" else (f"--{form}", str(target))
        took = sorted(
            _seconds("-m", "snnenergy", "report", *files, "--hardware", CHIPS, *options) for _ in range(REPEATS)
        )
        size = f"{target.stat().st_size / 1024:,.0f}" if options else ""
        rows.append(f"| {form} | {took[REPEATS // 2]:.2f} | {size} |")
    return rows


SWEEP = """
models:
  net:
    source: benchmarks.scale:spiking
    args: {width: [4, 8, 12, 16, 20]}
    data: images_64.npy
steps: [2, 4, 6, 8, 10]
encode: [direct, rate]
thresholds: [0.5, 0.75, 1.0]
precisions: [fp32, int8]
"""


class Spiking(nn.Module):
    """Two convolutions and a classifier, each with leaky neurons.  x [T, N, 1, 16, 16] -> spikes [N, 10]"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, width, 3, 2, 1), nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.fc = nn.Linear(32 * width, 10)
        self.lif1, self.lif2, self.lif3 = LIF(), LIF(), LIF()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v1 = v2 = v3 = None
        out = torch.zeros(())
        for step in x:
            s, v1 = self.lif1(self.conv1(step), v1)
            s, v2 = self.lif2(self.conv2(s), v2)
            s, v3 = self.lif3(self.fc(s.flatten(1)), v3)
            out = out + s
        return out


def spiking(width: int) -> Spiking:
    return Spiking(width)


def sweep(folder: Path) -> list[str]:
    """Wall time of the whole command, the best of three; start-up is that of a sweep of one point."""
    images(folder, 64)
    file, one = folder / "sweep.yaml", folder / "one.yaml"
    file.write_text(SWEEP)
    one.write_text("models: {net: {source: 'benchmarks.scale:net', data: images_64.npy}}\n")
    rows = [
        "| processes | points | s in all | s of start-up | points/s | against one |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    turns = [(i, jobs) for i in range(REPEATS) for jobs in (1, 2)]  # a slow moment of the machine meets both
    starts, wholes = ({turn: _swept(f, folder / f"{f.stem}_{turn}", turn[1]) for turn in turns} for f in (one, file))
    store = folder / f"{file.stem}_{turns[0]}"
    points = len(list(store.iterdir()))
    alone = 0.0
    for jobs in (1, 2):
        start, whole = (min(s for turn, s in found.items() if turn[1] == jobs) for found in (starts, wholes))
        alone = alone or whole - start
        rate = points / (whole - start)
        rows.append(f"| {jobs} | {points} | {whole:.1f} | {start:.1f} | {rate:.0f} | x{(whole - start) / alone:.2f} |")
    again = min(_swept(file, store, 1, ("--csv", str(folder / "sweep.csv"))) for _ in range(REPEATS))
    return [*rows, "", f"Priced again on 4 chips, from the store: {again:.1f} s."]


def _swept(file: Path, store: Path, jobs: int, options: tuple[str, ...] = ("--hardware", "none")) -> float:
    return _seconds("-m", "snnenergy", "sweep", str(file), "--store", str(store), "--jobs", str(jobs), *options)


def _seconds(*command: str) -> float:
    start = time.perf_counter()
    _child(*command)
    return time.perf_counter() - start


def _child(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)  # noqa: PLW1510  # looked at below
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


TABLES = {"data": data, "ranks": ranks, "layers": layers, "reports": reports, "sweep": sweep}


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
