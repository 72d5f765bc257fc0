"""What counting costs on top of the forward pass: one table, printed by one command.

    python benchmarks/overhead.py [NET ...] [--runs 18] [--json FILE|-]

Per net, in one process on one thread: the median time of a bare forward, of a forward in one open `counting` context, and
of one-shot `count`, in turns, each on its own copy of the model; and the extra peak memory of both over a bare forward
(Linux only: VmHWM after a reset; elsewhere it is left out).  Two forwards of each kind come first and are not timed.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import itertools
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snnenergy

LARGE_MS = 100.0
"""Nets whose bare forward takes this long have a mean of their own: there the fixed cost of a call should vanish."""
WARM_UP = 2
PEAKS = 3
"""Peak memory is the median of so many readings: an allocator keeps what it likes."""
PATIENCE_S = 90.0
"""After so long on one net, the runs it has are enough, if they are at least `FEWEST`."""
FEWEST = 5


# ---- the nets


class LIF(nn.Module):
    """v = v / 2 + x; a spike and a reset by subtraction where v >= 1."""

    v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        v = x if self.v is None else 0.5 * self.v + x
        spikes = (v >= 1.0).to(x.dtype)
        self.v = v - spikes
        return spikes


class Steps(nn.Module):
    """Shows the same input to `net` at each of so many steps, from rest; the mean of its outputs."""

    def __init__(self, net: nn.Module, steps: int) -> None:
        super().__init__()
        self.net, self.steps = net, steps

    def forward(self, x: Tensor) -> Tensor:
        for module in self.net.modules():
            if isinstance(module, LIF):
                module.v = None
        return torch.stack([self.net(x) for _ in range(self.steps)]).mean(0)


class ALIF(nn.Module):
    """A recurrent layer of adaptive neurons, written as plain functions; input [steps, batch, features]."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.into, self.back = nn.Linear(features, hidden), nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        spikes = v = threshold = x.new_zeros(x.shape[1], self.back.in_features)
        outputs = []
        for step in x:
            threshold = 0.95 * threshold + spikes
            v = 0.9 * v + self.into(step) + self.back(spikes) - spikes
            spikes = (v >= 1.0 + 0.2 * threshold).float()
            outputs.append(self.out(spikes))
        return torch.stack(outputs).mean(0)


class Attention(nn.Module):
    """A pre-norm block of four heads whose products are plain functions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (t.reshape(batch, length, 4, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        scores = F.softmax(q @ k.transpose(-2, -1) * (width // 4) ** -0.5, -1)
        x = x + self.joined((scores @ v).transpose(1, 2).flatten(2))
        out: Tensor = x + self.narrow(F.gelu(self.wide(self.norm2(x))))
        return out


class Residual(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.relu = nn.ReLU()
        same = stride == 1 and cin == cout
        self.down = nn.Identity() if same else nn.Sequential(nn.Conv2d(cin, cout, 1, stride), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(y + self.down(x))
        return out


def conv_stack(widths: Sequence[int | str], act: Callable[[], nn.Module], *head: nn.Module) -> nn.Sequential:
    """3 x 3 convolutions with batch norm from 3 channels on; `M` halves the image."""
    layers: list[nn.Module] = []
    cin = 3
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(cin, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), act()]
            cin = width
    return nn.Sequential(*layers, nn.Flatten(), *head)


def conv_ann() -> tuple[nn.Module, Tensor]:
    widths = (32, 32, "M", 64, 64, "M", 128, "M")
    return conv_stack(widths, nn.ReLU, nn.Linear(2048, 10)), torch.randn(1, 3, 32, 32)


def spiking_vgg() -> tuple[nn.Module, Tensor]:
    head = (nn.Linear(1024, 128), LIF(), nn.Linear(128, 10))
    return Steps(conv_stack((32, 32, "M", 64, "M", 64, "M"), LIF, *head), 4), torch.randn(1, 3, 32, 32)


def recurrent_alif() -> tuple[nn.Module, Tensor]:
    return ALIF(64, 256, 10), (torch.rand(100, 4, 64) < 0.1).float()


def attention() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(Attention(128), Attention(128)), torch.randn(1, 64, 128)


def pruned_conv() -> tuple[nn.Module, Tensor]:
    """Nine weights of ten are zero."""
    model, x = conv_ann()
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.dim() > 1):
            weight.mul_(torch.rand_like(weight) < 0.1)
    return model, x


def padded_convs() -> tuple[nn.Module, Tensor]:
    layers = (
        nn.Conv2d(8, 16, 3, padding="same"), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, padding_mode="circular"), nn.ReLU(),
        nn.Conv2d(16, 16, 5, stride=2, padding=2, padding_mode="reflect", groups=4), nn.ReLU(),
        nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(16, 8, (1, 3), padding=(0, 1)),
    )  # fmt: skip  # a layer and its activation a line
    return nn.Sequential(*layers), torch.randn(4, 8, 32, 32)


def resnet18(batch: int) -> tuple[nn.Module, Tensor]:
    """For 32 x 32 images: 0.56 G MACs each."""
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    stem = (nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    blocks = [Residual(*width) for width in widths]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return model, torch.randn(batch, 3, 32, 32)


def spiking_vgg11(batch: int) -> tuple[nn.Module, Tensor]:
    widths = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
    return Steps(conv_stack(widths, LIF, nn.Linear(512, 10)), 4), torch.randn(batch, 3, 32, 32)


Build = Callable[[], tuple[nn.Module, Tensor]]


def spikformer_8_768() -> tuple[nn.Module, Tensor]:
    """66 M parameters, one 224 x 224 image shown four times: 76 G dense MACs, 2 GiB of memory, some seconds a forward."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks import large

    torch.manual_seed(0)
    return large.spikformer_8_768(), torch.randn(1, 1, 3, 224, 224).expand(4, -1, -1, -1, -1)


NETS: dict[str, Build] = {
    "conv_ann": conv_ann,
    "spiking_vgg": spiking_vgg,
    "recurrent_alif": recurrent_alif,
    "attention": attention,
    "pruned_conv": pruned_conv,
    "padded_convs": padded_convs,
    "resnet18": lambda: resnet18(1),
    "resnet18_b16": lambda: resnet18(16),
    "spiking_vgg11_b16": lambda: spiking_vgg11(16),
}
NAMED: dict[str, Build] = {"spikformer_8_768": spikformer_8_768}
"""Measured only when they are named: they take minutes."""


# ---- measuring


@dataclass(frozen=True, slots=True)
class Row:
    """One net: milliseconds of a bare forward; times over it; extra peak memory in MiB, None where it cannot be read."""

    net: str
    bare_ms: float
    open_ratio: float
    once_ratio: float
    open_mib: float | None
    once_mib: float | None
    runs: int

    @property
    def large(self) -> bool:
        return self.bare_ms >= LARGE_MS


def measure(net: str, build: Build, runs: int) -> Row:
    torch.manual_seed(0)
    model, x = build()
    model.eval()
    watched, counted = copy.deepcopy(model), copy.deepcopy(model)

    def bare() -> None:
        model(x)

    def opened() -> None:
        watched(x)

    def once() -> None:
        snnenergy.count(counted, x)

    with torch.no_grad(), snnenergy.counting(watched):
        for _ in range(WARM_UP):
            for run in (bare, opened, once):
                run()
        times = interleaved((bare, opened, once), runs)
        mib = extra_mib(bare, (opened, once))
    ms = [1e3 * statistics.median(column) for column in times]
    return Row(net, ms[0], ms[1] / ms[0], ms[2] / ms[0], mib[0], mib[1], len(times[0]))


def interleaved(kinds: Sequence[Callable[[], None]], runs: int) -> list[list[float]]:
    """Seconds of every run of each kind, taken in turns, so that a slow moment of the machine meets all of them.

    The order changes from turn to turn: whoever always ran after the one-shot count would always find a cold cache.
    """
    times: list[list[float]] = [[] for _ in kinds]
    orders = list(itertools.permutations(range(len(kinds))))
    began = time.perf_counter()
    for i in range(runs):
        for kind in orders[i % len(orders)]:
            start = time.perf_counter()
            kinds[kind]()
            times[kind].append(time.perf_counter() - start)
        if i + 1 >= FEWEST and time.perf_counter() - began > PATIENCE_S:
            break
    return times


def extra_mib(bare: Callable[[], None], kinds: Sequence[Callable[[], None]]) -> list[float | None]:
    """Peak memory of each kind of run over a bare one."""
    readings: list[list[float]] = [[] for _ in kinds]
    for _ in range(PEAKS):
        base = peak_kib(bare)
        peaks = [peak_kib(run) for run in kinds]
        for peak, column in zip(peaks, readings, strict=True):
            column += [] if base is None or peak is None else [(peak - base) / 1024]
    return [statistics.median(column) if column else None for column in readings]


def peak_kib(run: Callable[[], None]) -> int | None:
    """The highest resident memory of this process while it runs, or None where the system does not say."""
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is None:
        return None
    trim(0)
    try:
        clear.write_text("5")
    except OSError:
        return None
    run()
    return next((int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")), None)


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ---- telling


def geometric(ratios: Sequence[float]) -> float | None:
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else None


def means(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """Geometric means of the ratios: of nets below 100 ms, and of those from there on."""
    parts = {"small": [r for r in rows if not r.large], "large": [r for r in rows if r.large]}
    return {
        name: {"open": geometric([r.open_ratio for r in part]), "once": geometric([r.once_ratio for r in part])}
        for name, part in parts.items()
    }


def record(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "versions": {
            "snnenergy": snnenergy.__version__, "torch": torch.__version__, "python": platform.python_version(),
        },
        "nets": [asdict(row) for row in rows],
        "geometric_means": means(rows),
    }  # fmt: skip  # a table, read across


def table(rows: Sequence[Row]) -> str:
    """Markdown, as it stands in docs/counting.md."""
    found = record(rows)
    lines = [", ".join(f"{name} {version}" for name, version in found["versions"].items()) + "; one thread", ""]
    lines += [
        "| net | bare, ms | open context | one-shot | extra MiB, open | extra MiB, one-shot |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.net} | {r.bare_ms:.1f} | x{r.open_ratio:.2f} | x{r.once_ratio:.2f} | {_mib(r.open_mib)} | {_mib(r.once_mib)} |"
        for r in rows
    ]
    for name, title in (("small", f"below {LARGE_MS:g} ms"), ("large", f"{LARGE_MS:g} ms and more")):
        mean = found["geometric_means"][name]
        if mean["open"] is not None:
            lines.append(f"| geometric mean, {title} | | x{mean['open']:.2f} | x{mean['once']:.2f} | | |")
    return "\n".join(lines) + "\n"


def _mib(mib: float | None) -> str:
    return "-" if mib is None else f"{round(mib, 1) + 0.0:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What counting costs on top of the forward pass.")
    parser.add_argument(
        "nets", nargs="*", metavar="NET", help=f"of {', '.join(NETS)}, which is the default, or {', '.join(NAMED)}"
    )
    parser.add_argument("--runs", type=int, default=18, help="timed forwards of each kind; default 18")
    parser.add_argument("--json", metavar="FILE|-", help="write JSON; `-`: to stdout, instead of the table")
    wanted = parser.parse_args(arguments)
    nets = NETS | NAMED
    if unknown := sorted(set(wanted.nets) - set(nets)):
        parser.error(f"no net {unknown[0]!r}; there are {', '.join(nets)}")
    if wanted.runs < 1:
        parser.error("--runs: at least 1")
    rows = []
    with one_thread():
        for net in wanted.nets or NETS:
            if sys.stderr.isatty():
                print(f"{net} ...", file=sys.stderr)
            rows.append(measure(net, nets[net], wanted.runs))
    document = json.dumps(record(rows), indent=1) + "\n"
    if wanted.json and wanted.json != "-":
        Path(wanted.json).write_text(document, encoding="utf-8")
    print(document if wanted.json == "-" else table(rows), end="")


if __name__ == "__main__":
    main()
