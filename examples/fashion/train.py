"""Trains a small conv ANN on Fashion-MNIST and saves it beside this file: a net to ask what going spiking would save.

    apt-get install dataset-fashion-mnist      # Debian's package of the data; or any folder with its four files
    python examples/fashion/train.py           # about a minute on one core

Data: Xiao, Rasul & Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms (2017),
doi:10.48550/arXiv.1708.07747, MIT licence: 60,000 training and 10,000 test images of 28 x 28 pixels, 0..255.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
from collections import OrderedDict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
DATA = Path("/usr/share/datasets/fashion-mnist")
SEED = 0
SHIPPED = 100
"""Test images that ship with the model: the first of the test set."""

Bytes = npt.NDArray[np.uint8]


def make_ann() -> nn.Sequential:
    """Input: pixels 0..1, (N, 1, 28, 28); output: logits (N, 10)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 12, 3, padding=1, bias=False),
            norm1=nn.BatchNorm2d(12),
            relu1=nn.ReLU(),
            pool=nn.AvgPool2d(2),
            conv2=nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False),
            norm2=nn.BatchNorm2d(24),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(24, 32, 3, stride=2, padding=1, bias=False),
            norm3=nn.BatchNorm2d(32),
            relu3=nn.ReLU(),
            flatten=nn.Flatten(),
            fc1=nn.Linear(512, 64),
            relu4=nn.ReLU(),
            fc2=nn.Linear(64, 10),
        )
    )


def read(folder: Path, name: str) -> Bytes:
    """One IDX file: a magic number whose last byte is the number of axes, their sizes (big-endian), then bytes."""
    with gzip.open(folder / f"{name}.gz") as file:
        raw = file.read()
    axes = raw[3]
    shape = np.frombuffer(raw, ">i4", axes, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def pixels_to_floats(pixels: Bytes) -> Tensor:
    """(N, 28, 28) bytes to (N, 1, 28, 28) floats 0..1."""
    return torch.from_numpy((pixels[:, None] / 255).astype(np.float32))


def train(net: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    """Adam on the cross-entropy, cosine-annealed learning rate, batches of 128; leaves the net in eval mode."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    net.train()
    for _ in range(epochs):
        for index in torch.split(torch.randperm(len(y)), 128):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(net(x[index]), y[index])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
            optimiser.step()
        schedule.step()
    net.eval()


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of samples whose largest output is the label, 0 to 1."""
    with torch.no_grad():
        return float((net(x).argmax(1) == y).double().mean())


def main(data: Path = DATA, out: Path = HERE, epochs: int = 5) -> dict[str, object]:
    """Trains the net and writes every file of this example to `out`; returns what fashion.json holds."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    x = {part: pixels_to_floats(read(data, f"{part}-images-idx3-ubyte")) for part in ("train", "t10k")}
    y = {part: torch.from_numpy(read(data, f"{part}-labels-idx1-ubyte").astype(np.int64)) for part in ("train", "t10k")}
    ann = make_ann()
    train(ann, x["train"], y["train"], epochs)
    shown, labels = x["t10k"][:SHIPPED], y["t10k"][:SHIPPED]
    torch.save(ann, out / "fashion_ann.pt")
    np.savez_compressed(out / "fashion.npz", x=shown.numpy(), y=labels.numpy())
    record: dict[str, object] = {
        "data": "Fashion-MNIST, doi:10.48550/arXiv.1708.07747, MIT licence",
        "train_images": len(y["train"]),
        "test_images": len(y["t10k"]),
        "shipped_images": SHIPPED,
        "epochs": epochs,
        "seed": SEED,
        "accuracy_test": accuracy(ann, x["t10k"], y["t10k"]),
        "accuracy_shipped": accuracy(ann, shown, labels),
        "made_with": {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        "made_by": "python examples/fashion/train.py",
    }
    (out / "fashion.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder of the four .gz files (default: {DATA})")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training images (default: 5)")
    given = parser.parse_args()
    print(json.dumps(main(given.data, given.out, given.epochs), indent=2))
