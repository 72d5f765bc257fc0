"""A polite guest: whatever happens while it counts, the model, torch and the results are left as they were."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import export
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from snnenergy.errors import TimeAxisError
from snnenergy.trace import count, counting, region
from snnenergy.trace.arrays import dot
from snnenergy.trace.recorder import active
from tests.trace_nets import LIF, Functional, Steps, analog, conv_net, spikes, spiking_net


class Breaks(nn.Module):
    """conv -> relu -> something that raises -> linear."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.first, self.last = conv_net(), nn.Linear(10, 2)
        self.error: BaseException | None = error

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.error is not None:
            raise self.error
        z: Tensor = self.last(y)
        return z


def exported() -> nn.Module:
    return export(conv_net(), (analog(2, 1, 8, 8),)).module()


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x, x, x)[0]
        return y


class Dropping(nn.Module):
    """Draws random numbers while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(self.fc(x)) + torch.rand(8)
        return y


Case = tuple[Callable[[], nn.Module], Callable[[], Tensor]]
CASES: dict[str, Case] = {
    "convolutions": (conv_net, lambda: analog(2, 1, 8, 8)),
    "spiking": (spiking_net, lambda: spikes(3, 2, 1, 6, 6)),
    "convolutions of every padding": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular"),
            nn.Conv2d(3, 4, (4, 3), padding="same"),
            nn.ConvTranspose2d(4, 2, 3, stride=2, output_padding=1),
            nn.Conv2d(2, 2, 3, padding=1, groups=2),
        ),
        lambda: analog(2, 1, 8, 8),
    ),
    "LSTM": (lambda: nn.LSTM(8, 16, 2, bidirectional=True), lambda: analog(5, 2, 8)),
    "GRU": (lambda: nn.GRU(8, 16), lambda: analog(5, 2, 8)),
    "attention": (lambda: Attention().eval(), lambda: analog(2, 6, 8)),
    "transformer": (encoder, lambda: analog(2, 6, 8)),
    "transformer in training": (lambda: encoder().train(), lambda: analog(2, 6, 8)),
    "dropout": (lambda: Dropping().train(), lambda: analog(2, 8)),
    "batch norm in training": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train(),
        lambda: analog(2, 1, 8, 8),
    ),
    "exported": (exported, lambda: analog(2, 1, 8, 8)),
    "functional": (lambda: Functional(lambda m, x: (x @ m.w).softmax(-1) @ x, w=analog(8, 8)), lambda: analog(8, 8)),
    "scripted": (lambda: torch.jit.script(conv_net()), lambda: analog(2, 1, 8, 8)),
}
quiet = pytest.mark.filterwarnings("ignore")  # torch.export's and TorchScript's own
WATCHED = 3


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[str(request.param)]


# ---- what must be as it was
function_modes: Any = _get_current_function_mode_stack
HOOKS = [name for name in vars(nn.Linear(1, 1)) if "hook" in name]
GLOBAL_HOOKS = [name for name, value in vars(nn.modules.module).items() if "hook" in name and isinstance(value, dict)]


def attributes(model: nn.Module) -> dict[Any, Any]:
    """Names and identities of everything on every module; hooks as they are, in their order."""
    found: dict[Any, Any] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        for name, value in vars(module).items():
            if name in HOOKS:
                found[path, name] = list(value.items()) if isinstance(value, dict) else value
            elif name == "v":  # the state that a neuron itself keeps
                found[path, name] = None
            else:
                found[path, name] = id(value)
        found[path, "training"] = module.training
    return found


def world() -> dict[str, Any]:
    """What of torch, NumPy and Python a counter could have changed."""
    b: Any = torch.backends
    return {
        "hooks": {name: list(getattr(nn.modules.module, name).items()) for name in GLOBAL_HOOKS},
        "dispatch modes": len(_get_current_dispatch_mode_stack()),
        "function modes": len(function_modes()),
        "recorders": len(active()),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "flags": (
            b.mkldnn.enabled,
            b.mkldnn.deterministic,
            b.nnpack.enabled if hasattr(b.nnpack, "enabled") else None,
            b.mha.get_fastpath_enabled(),
            b.cudnn.enabled,
            b.cudnn.benchmark,
            b.cudnn.deterministic,
            b.cuda.flash_sdp_enabled(),
            b.cuda.math_sdp_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.get_default_dtype(),
        ),
        "stance": str(torch._dynamo.eval_frame._stance.stance),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002  # the global generator is what must not move
        "python": random.getstate(),
    }


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in model.state_dict().items()}


def equal(one: Any, other: Any) -> bool:
    """Bit for bit, through tuples, lists and dicts."""
    if isinstance(one, Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype and one.stride() == other.stride()
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


# ---- results
@quiet
@pytest.mark.parametrize("grad", [False, True])
def test_outputs_state_and_random_numbers_are_equal_bit_for_bit(case: Case, grad: bool) -> None:
    make, inputs = case
    torch.manual_seed(0)
    bare = make()
    torch.manual_seed(0)
    counted = make()
    with torch.set_grad_enabled(grad):
        torch.manual_seed(7)
        want = [bare(inputs()) for _ in range(WATCHED)]
        after = torch.random.get_rng_state()
        torch.manual_seed(7)
        with counting(counted) as rec:
            got = [counted(inputs()) for _ in range(WATCHED)]
        assert torch.equal(torch.random.get_rng_state(), after)
    assert equal(want, got)
    assert equal(weights(bare), weights(counted))
    assert rec.counts().forwards == WATCHED


@quiet
def test_everything_is_as_it_was(case: Case) -> None:
    make, inputs = case
    model, x = make(), inputs()
    on_model, around = attributes(model), world()
    count(model, x)
    assert attributes(model) == on_model
    assert world() == around
    with counting(model) as rec:
        for _ in range(WATCHED):
            model(x)
        rec.counts()
    assert attributes(model) == on_model
    assert world() == around


@quiet
def test_the_users_own_hooks_stay_and_run_in_their_order() -> None:
    model, x = conv_net(), analog(2, 1, 8, 8)
    seen: list[str] = []
    model[0].register_forward_pre_hook(lambda m, a: seen.append("pre"))
    model[0].register_forward_hook(lambda m, a, o: seen.append("post"))
    model.register_forward_hook(lambda m, a, o: seen.append("root"))
    before = attributes(model)
    with counting(model):
        for _ in range(WATCHED):
            model(x)
    assert seen == ["pre", "post", "root"] * WATCHED
    assert attributes(model) == before


def test_a_hook_that_replaces_the_input_is_counted_with_what_it_gives() -> None:
    layer = nn.Linear(4, 3)
    layer.register_forward_pre_hook(lambda m, args: (args[0].sign(),))
    net = nn.Sequential(layer)
    with counting(net) as rec:
        for _ in range(WATCHED):
            net(analog(2, 4))
    assert [str(s.domain) for s in rec.counts()["0"].streams] == ["ternary"]


# ---- accidents
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
@pytest.mark.parametrize("forwards", [0, 1, 3])
def test_forward_raises(error: BaseException, forwards: int) -> None:
    """In the first, surveyed forward, and in a watched one."""
    model, x = Breaks(error), analog(2, 1, 8, 8)
    on_model, around = attributes(model), world()
    with pytest.raises(type(error)) as raised:  # noqa: PT012, SIM117  # all of it is one context
        with counting(model):
            model.error = None
            for _ in range(forwards):
                model(x)
            model.error = error
            model(x)
    assert raised.value is error
    on_model["", "error"] = id(error)
    assert attributes(model) == on_model
    assert world() == around


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_count_raises_what_the_forward_raises(error: BaseException) -> None:
    model, x = Breaks(error), analog(2, 1, 8, 8)
    on_model, around = attributes(model), world()
    with pytest.raises(type(error)) as raised:
        count(model, x)
    assert raised.value is error
    assert attributes(model) == on_model
    assert world() == around


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_forward_raises_in_a_model_that_holds_a_fused_layer(error: BaseException) -> None:
    net = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), Functional(lambda m, x: _raise(error))
    )
    around = world()
    with pytest.raises(type(error)) as raised:
        count(net, analog(2, 6, 8))
    assert raised.value is error
    assert world() == around


def _raise(error: BaseException) -> None:
    raise error


@quiet
def test_forward_raises_in_an_exported_program() -> None:
    module = exported()
    on_model, around = attributes(module), world()
    with pytest.raises(Exception, match=r"."):
        count(module, analog(3, 5))
    assert attributes(module) == on_model
    assert world() == around


def test_a_wrong_input_raises_torchs_own_error() -> None:
    model, around = conv_net(), world()
    with pytest.raises(RuntimeError, match="channels"):
        count(model, analog(2, 3, 8, 8))
    assert world() == around


def test_an_unknown_number_of_samples_leaves_nothing_behind() -> None:
    model = Functional(lambda m: m.w.sum(), w=analog(3))
    on_model, around = attributes(model), world()
    with pytest.raises(TimeAxisError, match="samples"):
        count(model)
    assert attributes(model) == on_model
    assert world() == around
    assert count(model, samples=2).samples == 2


def test_a_failing_body_of_the_context_leaves_nothing_behind() -> None:
    model, around = conv_net(), world()
    on_model = attributes(model)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117  # all of it is one context
        with counting(model):
            model(analog(2, 1, 8, 8))
            _ = 1 // 0
    assert attributes(model) == on_model
    assert world() == around


def test_region_raises() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        with region("lif"):
            raise ValueError("no")

    around = world()
    with pytest.raises(ValueError, match="no"):
        count(Functional(body), analog(2, 3))
    assert world() == around


def test_outside_a_count_a_region_does_nothing() -> None:
    around = world()
    with region("lif"):
        assert world() == around


# ---- nothing kept
KINDS: list[Callable[[], nn.Module]] = [
    conv_net,
    lambda: nn.LSTM(8, 16),
    encoder,
    spiking_net,
    lambda: Attention().eval(),
]


@pytest.mark.parametrize("make", KINDS)
def test_model_and_inputs_can_be_collected(make: Callable[[], nn.Module]) -> None:
    model = make()
    inputs: dict[Any, tuple[int, ...]] = {
        nn.LSTM: (5, 2, 8),
        nn.TransformerEncoder: (2, 6, 8),
        Attention: (2, 6, 8),
        Steps: (3, 2, 1, 6, 6),
    }
    x = analog(*inputs.get(type(model), (2, 1, 8, 8)))
    with torch.no_grad():
        counts = count(model, x)
        with counting(model):
            for _ in range(WATCHED):
                model(x)
    alive: list[weakref.ref[Any]] = [weakref.ref(model), weakref.ref(x), weakref.ref(next(model.parameters()))]
    del model, x
    gc.collect()
    assert [ref() for ref in alive] == [None, None, None]
    assert counts.forwards == 1


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed in here was held by nobody: no collector came for it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("make", KINDS[:1] + KINDS[3:])
def test_count_keeps_neither_model_nor_input_until_a_collector_comes(make: Callable[[], nn.Module]) -> None:
    model = make()
    inputs: dict[Any, tuple[int, ...]] = {Attention: (2, 6, 8), Steps: (3, 2, 1, 6, 6)}
    x = analog(*inputs.get(type(model), (2, 1, 8, 8)))
    with torch.no_grad():
        model(x)  # torch keeps nothing of it, and neither do we
        count(model, x)
    alive: list[weakref.ref[Any]] = [weakref.ref(model), weakref.ref(x)]
    del model, x
    assert [ref() for ref in alive] == [None, None]


class Doubled(nn.Module):
    """Twice its input, far above what a site buffers, through a layer or a plain product."""

    def __init__(self, functional: bool) -> None:
        super().__init__()
        self.fc, self.functional = nn.Linear(4, 3), functional
        self.seen: list[weakref.ref[Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        self.seen.append(weakref.ref(y))
        return torch.matmul(y, self.fc.weight.t()) if self.functional else self.fc(y)


class Chain(nn.Module):
    """Two layers in a row, which notes at its end whether the input of the first is still there."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.gone: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        first = weakref.ref(y)
        y = self.one(y) * 2
        z: Tensor = self.two(y)
        self.gone.append(first() is None)
        return z


@pytest.mark.usefixtures("no_collector")
def test_while_a_model_is_counted_no_input_outlives_its_layer() -> None:
    model = Chain()
    with torch.no_grad():
        count(model, analog(3, 4))
    assert model.gone == [True]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("functional", [False, True])
def test_an_open_context_keeps_no_activation(functional: bool) -> None:
    model = Doubled(functional)
    given: list[weakref.ref[Tensor]] = []
    with counting(model) as rec, torch.no_grad():
        for _ in range(5):  # surveyed and watched ones
            x = analog(20_000, 4)
            given.append(weakref.ref(x))
            model(x)
            del x
            assert [ref() for ref in (*model.seen, *given)] == [None] * 2 * len(given)
    assert rec.counts().forwards == 5


def test_a_second_count_is_like_the_first() -> None:
    model, x = spiking_net(), spikes(3, 2, 1, 6, 6)
    assert count(model, x) == count(model, x)


def test_neurons_state_is_the_users_business() -> None:
    net: Any = nn.Sequential(nn.Linear(4, 3), LIF())
    x = torch.ones(1, 4)
    plain = [net(x) for _ in range(3)]
    net[1].v = None
    with counting(net):
        assert equal([net(x) for _ in range(3)], plain)


def test_no_warning_of_a_product_that_is_ours() -> None:
    """NumPy reports whatever flags a BLAS kernel leaves behind; here a product that does raise one."""
    a, b = np.array([[np.inf, 1.0]], np.float32), np.array([0.0, 1.0], np.float32)
    with pytest.warns(RuntimeWarning, match="invalid value encountered in dot"):
        a.dot(b)
    assert np.isnan(dot(a, b)).all()  # a warning is an error in these tests


def test_pruning_through_data_changes_the_fingerprint_of_the_weights() -> None:
    """It leaves no version behind, and falls between the words that are looked at first."""
    model, x = nn.Linear(1000, 10), analog(1, 1000)
    before = count(model, x)
    model.weight.data[3, 7] = 0.0
    after = count(model, x)
    assert before["(root)"].weights_nonzero - after["(root)"].weights_nonzero == 1
    assert before.identity.weights != after.identity.weights
