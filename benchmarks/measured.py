"""Predicted against measured on this machine: calibrates a profile, then measures nets that took no part in the fit.

    python benchmarks/measured.py FOLDER [--device cpu|cuda] [--profile FILE] [NET ...]

Writes FOLDER/<device>_machine.yaml (unless --profile names one), measured_<device>.json and measured_<device>.md.  Each row is
what `snnenergy measure benchmarks.measured:NET --hardware FILE --device DEVICE` prints for that net.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import snnenergy
from benchmarks import overhead as nets
from snnenergy.cost.measured import section
from snnenergy.counts import Counts
from snnenergy.hardware import Profile
from snnenergy.load import load
from snnenergy.measure import Machine, calibrate, measure, render, this_machine
from snnenergy.trace.workload import count_workload

Made = tuple[nn.Module, tuple[Tensor, ...]]


def _seeded(build: Callable[[], tuple[nn.Module, Tensor]]) -> Made:
    torch.manual_seed(0)
    model, x = build()
    return model.eval(), (x,)


class LastStep(nn.Module):
    """The last output of an LSTM, classified."""

    def __init__(self, features: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(features, hidden, layers, batch_first=True), nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.lstm(x)[0][:, -1])
        return out


def _mlp(batch: int) -> tuple[nn.Module, Tensor]:
    widths = (784, 1024, 1024, 512, 10)
    layers = [m for i, o in itertools.pairwise(widths) for m in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers[:-1]), torch.randn(batch, 784)


def _spiking_mlp(batch: int) -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(nn.Linear(784, 512), nets.LIF(), nn.Linear(512, 512), nets.LIF(), nn.Linear(512, 10))
    return nets.Steps(net, 10), (torch.rand(batch, 784) < 0.2).float()


def _transformer(batch: int) -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nets.Attention(256), nets.Attention(256)), torch.randn(batch, 128, 256)


def _alif(batch: int) -> tuple[nn.Module, Tensor]:
    return nets.ALIF(64, 256, 10), (torch.rand(50, batch, 64) < 0.1).float()


def conv_b1() -> Made:
    return _seeded(nets.conv_ann)


def conv_b16() -> Made:
    def build() -> tuple[nn.Module, Tensor]:
        model, _ = nets.conv_ann()
        return model, torch.randn(16, 3, 32, 32)

    return _seeded(build)


def resnet18_b1() -> Made:
    return _seeded(lambda: nets.resnet18(1))


def resnet18_b16() -> Made:
    return _seeded(lambda: nets.resnet18(16))


def resnet18_b64() -> Made:
    return _seeded(lambda: nets.resnet18(64))


def mlp_b1() -> Made:
    return _seeded(lambda: _mlp(1))


def mlp_b16() -> Made:
    return _seeded(lambda: _mlp(16))


def lstm_b1() -> Made:
    return _seeded(lambda: (LastStep(64, 128, 2), torch.randn(1, 50, 64)))


def lstm_b16() -> Made:
    return _seeded(lambda: (LastStep(64, 128, 2), torch.randn(16, 50, 64)))


def transformer_b1() -> Made:
    return _seeded(lambda: _transformer(1))


def transformer_b16() -> Made:
    return _seeded(lambda: _transformer(16))


def spiking_vgg_b1() -> Made:
    return _seeded(nets.spiking_vgg)


def spiking_vgg_b16() -> Made:
    def build() -> tuple[nn.Module, Tensor]:
        model, _ = nets.spiking_vgg()
        return model, torch.randn(16, 3, 32, 32)

    return _seeded(build)


def spiking_vgg11_b1() -> Made:
    return _seeded(lambda: nets.spiking_vgg11(1))


def spiking_mlp_b1() -> Made:
    return _seeded(lambda: _spiking_mlp(1))


def spiking_mlp_b16() -> Made:
    return _seeded(lambda: _spiking_mlp(16))


def alif_b1() -> Made:
    return _seeded(lambda: _alif(1))


def alif_b16() -> Made:
    return _seeded(lambda: _alif(16))


NETS = {
    "cpu": "conv_b1 conv_b16 resnet18_b1 resnet18_b16 mlp_b1 mlp_b16 lstm_b1 lstm_b16 transformer_b1 transformer_b16 "
    "spiking_vgg_b1 spiking_vgg_b16 spiking_mlp_b1 spiking_mlp_b16 alif_b1 alif_b16",
    "cuda": "resnet18_b1 resnet18_b64 mlp_b1 mlp_b16 lstm_b1 lstm_b16 transformer_b1 transformer_b16 spiking_vgg_b1 "
    "spiking_vgg11_b1 spiking_mlp_b16 alif_b16",
}


TIME_AXIS = {"alif_b1": 0, "alif_b16": 0}
"""Nets in plain functions whose input has time first; `--time-axis 0` on the command line."""


def row(name: str, chip: Profile, machine: Machine) -> dict[str, Any]:
    """One net: predicted, then measured; SI units, time of a batch, energy of an inference."""
    work = load(f"measured:{name}")
    counts: Counts = count_workload(work, time_axis=TIME_AXIS.get(name))
    batch = round(counts.samples / counts.forwards)
    found = snnenergy.estimate(counts, chip, batch=batch)
    seen = measure(work, machine, batch)
    assert found.latency is not None  # a calibrated profile has a model of time
    time = found.latency
    energy = found.energy
    joules = seen.joules
    return {
        "net": name,
        "batch": batch,
        "time_axis": TIME_AXIS.get(name),
        "predicted_s": asdict(time),
        "measured_s": asdict(seen.time),
        "runs": seen.runs,
        "time_ratio": time.nominal / seen.time.nominal,
        "predicted_J": None if energy is None else asdict(energy),
        "measured_J": joules,
        "measured_net_J": seen.net_joules,
        "idle_W": seen.idle_watts,
        "window_s": seen.window,
        "energy_ratio": None if energy is None or joules is None else energy.nominal / joules,
        "bound": found.verdict,
        "meter": seen.meter,
        "machine": seen.machine,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Predicted against measured on this machine.")
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument("nets", nargs="*", metavar="NET", help="default: those of the device")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--profile", type=Path, help="a calibrated profile, instead of a calibration now")
    wanted = parser.parse_args(arguments)
    machine = this_machine(wanted.device)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    file = wanted.profile or wanted.folder / f"{machine.device.type}_machine.yaml"
    if wanted.profile is None:
        file.write_text(
            render(calibrate(machine, lambda said: print(said, file=sys.stderr)), file.stem), encoding="utf-8"
        )
    chip, rows, failed = snnenergy.load_hardware(file), [], []
    for name in wanted.nets or NETS[machine.device.type].split():
        print(f"measuring {name}", file=sys.stderr)
        try:
            rows.append(row(name, chip, machine))
        except Exception:  # noqa: BLE001  # one net must not cost the others; it is told, and the exit code is 1
            traceback.print_exc()
            failed.append(name)
    if rows:
        stem = wanted.folder / f"measured_{machine.device.type}"
        kind = machine.device.type
        made = {"device": kind, "machine": rows[0]["machine"], "note": "", "nets": rows, "failed": failed}
        stem.with_suffix(".json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        text = "\n".join(section(made))
        stem.with_suffix(".md").write_text(text, encoding="utf-8")
        print(text)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
