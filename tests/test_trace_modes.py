"""One model, many ways to run it: the counts are of what was computed, and do not depend on how it was run.

The nets here have small dyadic values, so that every mode computes the same values and every figure must be equal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import export

from snnenergy.counts import Counts
from snnenergy.trace import count
from tests.trace_nets import conv_net, dyadic, figures, repeated, spikes, spiking_net, surveyed

traced: Any = torch.jit.trace
compiled: Any = torch.compile
NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor], int]] = {
    "conv": (conv_net, lambda n: dyadic(n, 1, 8, 8, seed=5), 0),
    "spiking": (spiking_net, lambda n: spikes(4, n, 1, 6, 6, seed=6), 1),
}


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


MODES: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "autograd on": contextlib.nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "one thread": lambda: threads(1),
    "two threads": lambda: threads(2),
    "without oneDNN": lambda: torch.backends.mkldnn.flags(enabled=False),
    "deterministic": lambda: torch.backends.cudnn.flags(deterministic=True),
}


@pytest.fixture(params=sorted(NETS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def truth(name: str) -> dict[str, Any]:
    make, inputs, _ = NETS[name]
    with torch.no_grad():
        return figures(count(make(), inputs(4)))


def test_the_nets_are_worth_comparing(name: str) -> None:
    rows = truth(name)["layers"]
    effective = [sum(s["effective"] for s in row["streams"]) for row in rows.values() if row["role"] == "synaptic"]
    assert all(effective)
    assert len(effective) == 2


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning")  # of setting a flag to what it was
@pytest.mark.parametrize("mode", MODES)
def test_every_figure_is_equal_in(mode: str, name: str) -> None:
    make, inputs, _ = NETS[name]
    model = make()
    with MODES[mode]():
        counts = count(model, inputs(4))
    assert figures(counts) == truth(name)


def test_a_model_made_under_inference_mode(name: str) -> None:
    make, inputs, _ = NETS[name]
    with torch.inference_mode():
        assert figures(count(make(), inputs(4))) == truth(name)


@pytest.mark.parametrize("mode", ["autograd on", "no_grad", "inference_mode"])
def test_every_figure_is_equal_over_watched_forwards_in(mode: str, name: str) -> None:
    make, inputs, _ = NETS[name]
    model = make()
    with MODES[mode]():
        once = count(model, inputs(4))
        many = repeated(model, 4, inputs(4))
    assert figures(many) == figures(once.merge(once, once, once))
    assert surveyed(many) < (4, 4)


def test_an_input_that_requires_a_gradient(name: str) -> None:
    make, inputs, _ = NETS[name]
    model, x = make(), inputs(4).requires_grad_()
    assert figures(count(model, x)) == truth(name)


def test_gradients_are_the_same_and_a_backward_pass_is_not_counted(name: str) -> None:
    make, inputs, _ = NETS[name]
    if name == "spiking":
        pytest.skip("a comparison has no gradient")
    plain, counted = make(), make()
    plain(inputs(4)).square().sum().backward()
    with torch.enable_grad():
        from snnenergy.trace import counting

        with counting(counted) as rec:
            counted(inputs(4)).square().sum().backward()
    for p, q in zip(plain.parameters(), counted.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        assert torch.equal(p.grad, q.grad)
    assert figures(rec.counts()) == truth(name)


def without_width(rows: dict[str, Any]) -> dict[str, Any]:
    """Figures without the bits per element, which autocast halves."""
    layers = {path: {k: v for k, v in row.items() if not k.endswith("_bits")} for path, row in rows["layers"].items()}
    return rows | {"layers": layers}


def test_autocast_to_bfloat16(name: str) -> None:
    make, inputs, _ = NETS[name]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        counts = count(make(), inputs(4))
    assert without_width(figures(counts))["layers"] == without_width(truth(name))["layers"]
    (first, *_) = [layer for layer in counts.layers if layer.role == "synaptic"]
    assert (first.weight_bits, first.input_bits) == (16, 16)


@pytest.mark.parametrize("warm", [False, True])
def test_autocast_leaves_no_layer_out(name: str, warm: bool) -> None:
    make, inputs, _ = NETS[name]
    model = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if warm:  # autocast keeps the weights it has cast
            model(inputs(4))
        counts = count(model, inputs(4))
    assert without_width(figures(counts)) == without_width(truth(name))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype, name: str) -> None:
    make, inputs, _ = NETS[name]
    with torch.no_grad():
        rows = figures(count(make().to(dtype), inputs(4).to(dtype)))
    mine, theirs = without_width(rows), without_width(truth(name))
    del mine["inputs"], theirs["inputs"]  # the digest says of which type the input was
    assert mine == theirs


@pytest.mark.parametrize("n", [1, 64])
def test_batch_size(n: int, name: str) -> None:
    make, inputs, axis = NETS[name]
    x, model = inputs(n), make()
    with torch.no_grad():
        whole = count(model, x)
        parts = [count(model, part.contiguous()) for part in x.tensor_split(n, axis)]
        merged = parts[0].merge(*parts[1:])
    assert whole.samples == n
    assert figures(whole) == figures(merged)


def test_order_of_samples(name: str) -> None:
    make, inputs, axis = NETS[name]
    with torch.no_grad():
        assert figures(count(make(), inputs(4).flip(axis))) == truth(name)


def test_channels_last() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    for i, p in enumerate(net.parameters()):
        p.data = dyadic(*p.shape, seed=i)
    x = dyadic(4, 3, 8, 8)
    want = figures(count(net, x))
    last = x.to(memory_format=torch.channels_last)
    assert figures(count(net, last)) == want
    for p in net.parameters():
        if p.dim() == 4:
            p.data = p.data.to(memory_format=torch.channels_last)
    assert figures(count(net, last)) == want
    many = repeated(net, 4, last)
    assert figures(many) == figures(count(net, last).merge(*[count(net, last)] * 3))


def test_shards_of_two_memory_formats_merge() -> None:
    net, x = conv_net(), dyadic(4, 1, 8, 8)
    one, other = count(net, x[:2]), count(net, x[2:].to(memory_format=torch.channels_last))
    assert figures(one.merge(other)) == figures(other.merge(one)) == figures(count(net, x))


# ---- programs
def layers_by_path(counts: Counts) -> dict[str, Any]:
    return {
        la.path: (
            la.dense_macs,
            la.valid_macs,
            la.driven,
            la.effective,
            la.acs,
            la.macs,
            la.adds,
            la.muls,
            la.compares,
            la.updates,
        )
        for la in counts.layers
        if la.path != "(copies)"
    }


@pytest.mark.filterwarnings("ignore")  # torch.export's own
def test_exported_program(name: str, tmp_path: Path) -> None:
    make, inputs, _ = NETS[name]
    eager = count(make(), inputs(4))
    torch.export.save(export(make(), (inputs(4),)), tmp_path / "net.pt2")
    module = torch.export.load(tmp_path / "net.pt2").module()
    with torch.no_grad():
        counts = count(module, inputs(4))
    assert counts.samples == eager.samples == 4
    mine, theirs = layers_by_path(counts), layers_by_path(eager)
    for path, row in theirs.items():
        if path in ("(root)", "net"):  # what holds the layers together may be written in other ops
            continue
        assert mine[path] == row
    assert counts.time_steps == eager.time_steps
    assert counts.uncounted == ()


def spiking_totals(counts: Counts) -> tuple[int, ...]:
    t = counts.total()
    return t.dense_macs, t.valid_macs, t.driven, t.effective, t.acs, t.macs


@pytest.mark.filterwarnings("ignore")  # TorchScript says on every call that it is deprecated
@pytest.mark.parametrize(
    "name",
    [
        "conv",
        "spiking",
    ],
)
def test_script_module_by_tracing(name: str) -> None:
    make, inputs, _ = NETS[name]
    model = make()
    counts = count(traced(model, inputs(4), check_trace=False), inputs(4), samples=4)
    assert spiking_totals(counts) == spiking_totals(count(model, inputs(4)))


@pytest.mark.filterwarnings("ignore")  # TorchScript says on every call that it is deprecated
def test_script_module_by_compiling() -> None:
    model, x = conv_net(), NETS["conv"][1](4)
    scripted = torch.jit.script(model)
    want = spiking_totals(count(model, x))
    assert spiking_totals(count(scripted, x)) == want
    assert spiking_totals(repeated(scripted, 4, x)) == tuple(4 * n for n in want)


@pytest.mark.filterwarnings("ignore")  # TorchScript says on every call that it is deprecated
def test_script_module_that_was_frozen() -> None:
    """Its weights are constants of the program, of which torch knows nothing; nor has it a mode."""
    model = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.sign_()
    x = torch.arange(1, 13).reshape(2, 6) / 13
    with torch.no_grad():
        assert spiking_totals(count(torch.jit.freeze(torch.jit.script(model)), x)) == spiking_totals(count(model, x))


@pytest.mark.filterwarnings("ignore")  # TorchScript says on every call that it is deprecated
def test_script_module_inside_a_model() -> None:
    model, x = conv_net(), NETS["conv"][1](4)
    mixed = nn.Sequential(torch.jit.script(nn.Sequential(*list(model)[:4])), *list(model)[4:])
    assert spiking_totals(count(mixed, x)) == spiking_totals(count(model, x))


@pytest.mark.filterwarnings("ignore")  # torch.compile imports what torch itself deprecates
def test_compiled_whole(name: str) -> None:
    make, inputs, _ = NETS[name]
    with torch.no_grad():
        counts = count(compiled(make()), inputs(4), name="net")
    assert figures(counts) == truth(name)
    assert not any("_orig_mod" in layer.path for layer in counts.layers)


@pytest.mark.filterwarnings("ignore")  # torch.compile imports what torch itself deprecates
def test_compiled_in_part() -> None:
    model = conv_net()
    model[0], model[5] = torch.compile(model[0]), torch.compile(model[5])
    with torch.no_grad():
        assert figures(count(model, NETS["conv"][1](4))) == truth("conv")


@pytest.mark.filterwarnings("ignore")  # torch.compile imports what torch itself deprecates
def test_compiled_in_place() -> None:
    model = conv_net()
    model.compile()
    with torch.no_grad():
        assert figures(count(model, NETS["conv"][1](4))) == truth("conv")


@pytest.mark.filterwarnings("ignore")  # torch.compile imports what torch itself deprecates
def test_compiled_keeps_its_name_over_many_forwards() -> None:
    with torch.no_grad():
        many = repeated(compiled(conv_net()), 4, NETS["conv"][1](4))
    assert {layer.path for layer in many.layers} >= {"0", "1", "5"}
    assert surveyed(many) < (4, 4)


def test_training_mode_counts_batch_statistics_too() -> None:
    model, x = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).train(), NETS["conv"][1](4)
    norm = count(model, x)["1"]
    plain = count(model.eval(), x)["1"]
    assert norm.adds > plain.adds
    assert norm.dense_macs == plain.dense_macs == 0
