"""The digits example: real images, nets of the stated shape and accuracy, files that need nothing else and name no machine."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.digits import train
from snnenergy.load import load, load_model

HERE = Path(train.__file__).parent
FILES = ("digits_ann.pt2", "digits_snn.pt2", "digits_ann_model.pt", "digits.npz", "digits.json")
RECORD = json.loads((HERE / "digits.json").read_text(encoding="utf-8"))


def shipped() -> dict[str, np.ndarray]:
    with np.load(HERE / "digits.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_the_files_are_small() -> None:
    assert all((HERE / name).stat().st_size < 1_000_000 for name in FILES)


def test_no_file_names_the_machine_that_made_it() -> None:
    for name in FILES:
        data = (HERE / name).read_bytes()
        if zipfile.is_zipfile(HERE / name):
            with zipfile.ZipFile(HERE / name) as file:
                data = b"".join(file.read(n) for n in file.namelist())
        assert not any(word in data for word in (b"site-packages", b"/home/", b"/root/", b"/tmp/", b'File \\"')), name


def test_the_images_are_the_test_set_of_uci_digits() -> None:
    pytest.importorskip("sklearn")
    _, pixels, _, labels = train.split()
    held = shipped()
    assert np.array_equal(held["x"], train.pixels_to_floats(pixels)[:200])
    assert np.array_equal(held["frames"], train.pixels_to_frames(pixels)[:, :200])
    assert np.array_equal(held["y"], labels[:200])
    assert len(pixels) == RECORD["test_images"] == 450


def test_frames_by_hand() -> None:
    # 0 never, 16 always, 8 every second step, 2 once in eight, 15 in all but the first
    frames = train.pixels_to_frames(np.array([[[0, 16, 8, 2, 15]]]))[:, 0, 0, 0]
    assert frames.T.tolist() == [[0] * 8, [1] * 8, [0, 1] * 4, [0] * 7 + [1], [0] + [1] * 7]


def test_every_pixel_spikes_floor_of_half_its_value() -> None:
    held = shipped()
    assert set(np.unique(held["frames"])) == {0, 1}
    assert np.array_equal(held["frames"].sum(0), np.floor(8 * held["x"]))


@pytest.mark.parametrize(
    ("file", "net"), [("digits_ann.pt2", "ann"), ("digits_snn.pt2", "snn"), ("digits_ann_model.pt", "ann")]
)
def test_accuracy_is_what_the_record_says(file: str, net: str) -> None:
    work = load(HERE / file, input=HERE / "digits.npz")
    with torch.no_grad():
        right = int((work.module(*work.inputs).argmax(1) == work.labels).sum())
    assert right == round(200 * RECORD["accuracy_shipped"][net])
    assert RECORD["accuracy_test"][net] >= 0.95


def test_exported_and_python_nets_compute_the_same() -> None:
    snn = train.make_snn().eval()
    model = load_model(HERE / "digits_snn.pt2")
    snn.load_state_dict(model.module.state_dict())
    frames = torch.from_numpy(shipped()["frames"][:, :7]).float()
    assert torch.equal(snn(frames), model.module(frames))
    assert torch.equal(snn(frames[:, :1]), model.module(frames[:, :1]))  # a batch of one


def test_a_neuron_by_hand() -> None:
    # decay 3/4, threshold 1: 0.5; 0.375 + 0.75 = 1.125 fires, leaves 0.125; 0.09375 + 1 = 1.09375 fires, leaves 0.09375
    lif, v, spikes = train.LIF().eval(), None, []
    for x in (0.5, 0.75, 1.0):
        s, v = lif(torch.tensor([x]), v)
        spikes.append((s.item(), v.item()))
    assert spikes == [(0.0, 0.5), (1.0, 0.125), (1.0, 0.09375)]


def test_the_surrogate_changes_no_spike() -> None:
    lif = train.LIF()
    x = torch.linspace(0, 2, 9)
    assert torch.allclose(lif.train()(x)[0], lif.eval()(x)[0], atol=1e-6)


def test_no_neuron_has_more_than_256_inputs() -> None:
    net = train.make_ann()
    fan_in = [p[0].numel() for p in net.parameters()]
    assert fan_in == [9, 108, 256]
    assert [p.shape for p in net.parameters()] == [p.shape for p in train.make_snn().parameters()]


def test_training_learns() -> None:
    torch.manual_seed(0)
    held = shipped()
    x, y = torch.from_numpy(held["x"]), torch.from_numpy(held["y"])
    net = train.make_ann()
    before = train.accuracy(net, x, y)
    train.train(net, x, y, batch_axis=0, epochs=8)
    assert before < 0.3
    assert train.accuracy(net, x, y) > 0.8
    assert not net.training
