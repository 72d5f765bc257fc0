"""Trains a small conv ANN and a conv SNN of the same shape on the UCI digits, and saves them beside this file.

    python examples/digits/train.py            # about half a minute on one core; needs scikit-learn

Data: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), doi:10.24432/C50P49, CC BY 4.0, as shipped
by scikit-learn: 1797 images of 8 x 8 pixels, 0..16; a quarter of them, stratified and seeded, is the test set.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
SEED = 0
STEPS = 8
"""Time steps T of the SNN."""
SHIPPED = 200
"""Test images that ship with the models: the first of the test set."""

Labels = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.int64]


class LIF(nn.Module):
    """Leaky integrate-and-fire, stateless: the membrane v is handed in and out.

    v <- decay * v + x;   s = 1 where v >= threshold, else 0;   v <- v - threshold * s
    """

    def __init__(self, decay: float = 0.75, threshold: float = 1.0) -> None:
        super().__init__()
        self.decay = decay
        self.threshold = threshold

    def forward(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: input current (N, *); v: membrane (N, *), None at the first step.  Returns spikes 0/1 and the new membrane."""
        v = x if v is None else self.decay * v + x
        spikes = (v >= self.threshold).to(x.dtype)
        if self.training:  # forward value unchanged; backward sees the slope of a steep sigmoid (surrogate gradient)
            soft = torch.sigmoid(4.0 * (v - self.threshold))
            spikes = spikes + soft - soft.detach()
        return spikes, v - self.threshold * spikes


class SNN(nn.Module):
    """The ANN's shape with LIF for ReLU.  Input: 0/1 frames (T, N, 1, 8, 8); output: spikes per class over T, (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.lif1 = LIF()
        self.conv2 = nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False)
        self.lif2 = LIF()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(256, 10, bias=False)
        self.lif3 = LIF()

    def forward(self, frames: Tensor) -> Tensor:
        v1 = v2 = v3 = None
        counts = torch.zeros(())
        for frame in frames:
            s, v1 = self.lif1(self.conv1(frame), v1)
            s, v2 = self.lif2(self.conv2(s), v2)
            s, v3 = self.lif3(self.fc(self.flatten(s)), v3)
            counts = counts + s
        return counts


def make_ann() -> nn.Sequential:
    """Input: pixels 0..1, (N, 1, 8, 8); output: logits (N, 10).  No fan-in above 256, no bias: what a neural core can hold."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 12, 3, padding=1, bias=False),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            fc=nn.Linear(256, 10, bias=False),
        )
    )


def make_snn() -> SNN:
    """For `--factory examples.digits.train:make_snn` with a state_dict or a safetensors file."""
    return SNN()


@cache
def _trained() -> dict[str, Tensor]:
    """Read once: an exported program takes half a second."""
    return dict(torch.export.load(HERE / "digits_snn.pt2").state_dict)


def trained_snn(decay: float = 0.75) -> SNN:
    """The SNN with the weights of digits_snn.pt2, its neurons leaking otherwise: for sweeps over decay, threshold and coding."""
    net = SNN()
    net.load_state_dict(_trained())
    for module in net.modules():
        if isinstance(module, LIF):
            module.decay = decay
    return net


def pixels_to_floats(pixels: Pixels) -> npt.NDArray[np.float32]:
    """(N, 8, 8) integers 0..16 to (N, 1, 8, 8) floats 0..1."""
    return (pixels[:, None] / 16).astype(np.float32)


def pixels_to_frames(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """(N, 8, 8) integers 0..16 to 0/1 frames (T, N, 1, 8, 8): a pixel p spikes evenly, floor(T p / 16) times in T steps."""
    ticks = np.arange(STEPS + 1).reshape(-1, 1, 1, 1, 1)
    return np.diff(ticks * pixels[None, :, None] // 16, axis=0).astype(np.uint8)


def split() -> tuple[Pixels, Pixels, Labels, Labels]:
    """Train pixels, test pixels, train labels, test labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = digits.images.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    return train_x, test_x, train_y, test_y


def train(net: nn.Module, x: Tensor, y: Tensor, *, batch_axis: int, epochs: int = 30) -> None:
    """Adam on the cross-entropy of the output, cosine-annealed learning rate; leaves the net in eval mode."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    net.train()
    for _ in range(epochs):
        for index in torch.split(torch.randperm(len(y)), 64):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(net(x.index_select(batch_axis, index)), y[index])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
            optimiser.step()
        schedule.step()
    net.eval()


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of samples whose largest output is the label, 0 to 1; a tie goes to the lower class."""
    with torch.no_grad():
        return float((net(x).argmax(1) == y).double().mean())


def export(net: nn.Module, example: Tensor, batch_axis: int, path: Path) -> None:
    """The net as a .pt2 whose batch size is free, with `example` as its example input."""
    shapes = ({batch_axis: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(net, (example.clone(),), dynamic_shapes=shapes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of the machine that trained
    torch.export.save(program, path)


def main(out: Path = HERE) -> dict[str, object]:
    """Trains both nets and writes every file of this example to `out`; returns what digits.json holds."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    train_x, test_x, train_y, test_y = split()
    labels = {"train": torch.from_numpy(train_y), "test": torch.from_numpy(test_y)}
    floats = torch.from_numpy(pixels_to_floats(test_x))
    frames = torch.from_numpy(pixels_to_frames(test_x))

    ann = make_ann()
    train(ann, torch.from_numpy(pixels_to_floats(train_x)), labels["train"], batch_axis=0)
    snn = make_snn()
    train(snn, torch.from_numpy(pixels_to_frames(train_x)).float(), labels["train"], batch_axis=1)

    export(ann, floats[:2], 0, out / "digits_ann.pt2")
    export(snn, frames[:, :2].float(), 1, out / "digits_snn.pt2")
    torch.save(ann, out / "digits_ann_model.pt")
    np.savez_compressed(
        out / "digits.npz", x=floats[:SHIPPED].numpy(), frames=frames[:, :SHIPPED].numpy(), y=test_y[:SHIPPED]
    )

    first, spikes, y = slice(SHIPPED), frames.float(), labels["test"]
    record: dict[str, object] = {
        "data": "UCI Optical Recognition of Handwritten Digits, doi:10.24432/C50P49, CC BY 4.0",
        "train_images": len(train_y),
        "test_images": len(test_y),
        "shipped_images": SHIPPED,
        "time_steps": STEPS,
        "seed": SEED,
        "accuracy_test": {"ann": accuracy(ann, floats, y), "snn": accuracy(snn, spikes, y)},
        "accuracy_shipped": {
            "ann": accuracy(ann, floats[first], y[first]),
            "snn": accuracy(snn, spikes[:, first], y[first]),
        },
        "made_with": {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        "made_by": "python examples/digits/train.py",
    }
    (out / "digits.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    print(json.dumps(main(parser.parse_args().out), indent=2))
