"""How a model is called: by keyword, by itself, from where something was raised; and what a stopped call leaves behind."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnenergy.counts import Counts
from snnenergy.errors import UsageError
from snnenergy.trace import Recorder, count, count_training, counting
from tests.trace_nets import Functional, analog, spikes


def lost(counts: Counts) -> list[tuple[int, str]]:
    return [(row.calls, row.reason) for row in counts.uncounted if row.op == "forward"]


class CallsItself(nn.Module):
    """On [T, N, F] it calls itself for each of the T parts, then its last layer once."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(6, 4, bias=False), nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            y: Tensor = self.fc(x)
            return y
        z: Tensor = self.out(torch.stack([self(part) for part in x]).sum(0))
        return z


def test_a_model_that_calls_itself_is_one_forward() -> None:
    model, x = CallsItself(), analog(5, 3, 6)
    with torch.no_grad():
        counts = count(model, x, time_axis=0)
        with counting(model, time_axis=0) as rec:
            for _ in range(3):
                model(x)
    assert (counts.forwards, counts.samples) == (1, 3)
    assert [counts[path].dense_macs for path in ("fc", "out")] == [5 * 3 * 6 * 4, 3 * 4 * 2]
    assert counts.uncounted == ()
    assert rec.counts().forwards == 3
    assert rec.counts()["out"].dense_macs == 3 * 3 * 4 * 2


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()


@pytest.mark.parametrize("make", [encoder, lambda: nn.Sequential(encoder())], ids=["fused layer", "around it"])
def test_a_model_that_holds_a_fused_layer_is_called_by_keyword(make: Any) -> None:
    model, x, name = make(), analog(2, 5, 8), "src" if make is encoder else "input"
    with torch.no_grad():
        by_place, by_name = count(model, x), count(model, kwargs={name: x})
    assert by_name.layers == by_place.layers
    assert by_name.conditions == by_place.conditions


def test_keywords_of_a_fused_layer_are_its_inputs() -> None:
    model, x = encoder(), analog(2, 5, 8)
    masks = torch.zeros(5, 5), torch.full((5, 5), -1.0)
    with torch.no_grad():
        one, other = (count(model, x, kwargs={"src_mask": mask}) for mask in masks)
    assert one.conditions.inputs != other.conditions.inputs


def test_a_leaf_is_called_by_keyword_from_outside() -> None:
    model, x = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)), analog(3, 6)
    with torch.no_grad(), counting(model) as rec:
        for _ in range(3):
            model[0](input=x)
            model[0](x)
    assert rec.counts()["0"].dense_macs == 6 * 3 * 6 * 4
    assert lost(rec.counts()) == []


def test_training_names_the_layers_of_a_fused_model_as_inference_does() -> None:
    model = nn.Sequential(nn.Linear(6, 8), encoder(), nn.Flatten(), nn.Linear(40, 2))
    x = analog(2, 5, 6)
    trained = {layer.path for layer in count_training(model, x).layers}
    assert {"0", "1.linear1", "1.linear2", "3", "0@grad_weight", "3@grad_weight"} <= trained
    assert not any(path.startswith("param:1.linear") for path in trained)


def test_a_call_that_was_interrupted_and_caught_is_not_merged_with_the_next() -> None:
    """torch calls no hook for an exception that is none of `Exception`."""
    stop = True

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(x)
            if stop:
                raise KeyboardInterrupt
            return y

    model, x = Net(), analog(1, 6)
    with torch.no_grad(), counting(model) as rec:
        with pytest.raises(KeyboardInterrupt):
            model(x)
        stop = False
        model(x)
    assert rec.counts()["fc"].dense_macs == 24
    assert lost(rec.counts()) == [(1, "interrupted")]


def test_a_forward_counts_though_its_caller_handles_an_exception() -> None:
    model = Functional(lambda m, x: [x @ m.w].clear(), w=analog(6, 4))  # returns None, as where something was raised
    try:
        raise ValueError
    except ValueError:
        with torch.no_grad():
            counts = count(model, analog(1, 6))
    assert counts.forwards == 1
    assert lost(counts) == []


def test_what_cannot_be_counted_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Linear(6, 4), analog(1, 6)

    def fails(*args: Any) -> None:
        raise RuntimeError("no")

    with torch.no_grad(), counting(model) as rec:
        with monkeypatch.context() as patch:
            patch.setattr(rec.fingerprint, "begin", fails)
            with pytest.raises(RuntimeError):
                model(x)
        model(x)
        rec.call(model, x)
    assert rec.counts()["(root)"].dense_macs == 2 * 24
    assert lost(rec.counts()) == [(1, "could not be counted")]


def test_a_recorder_that_cannot_open_puts_back_what_it_put_on(monkeypatch: pytest.MonkeyPatch) -> None:
    program: Any = torch.export.export(nn.Sequential(nn.Linear(6, 4)), (analog(2, 6),)).module()
    monkeypatch.setattr("snnenergy.trace.doors.Doors.open", lambda self: (_ for _ in ()).throw(RuntimeError("no")))
    with pytest.raises(RuntimeError):
        Recorder(program).__enter__()
    assert "forward" not in vars(program)


def test_a_forward_of_the_users_own_on_a_module_is_put_back() -> None:
    program: Any = torch.export.export(nn.Sequential(nn.Linear(6, 4)), (analog(2, 6),)).module()
    whole = program.forward

    def mine(x: Tensor) -> Tensor:
        y: Tensor = whole(x)
        return y

    program.forward = mine
    with torch.no_grad(), counting(program) as outer:
        with counting(program) as inner:
            pass
        program(analog(2, 6))
    assert program.forward is mine
    assert inner.counts().layers == ()
    assert [layer.path for layer in outer.counts().layers] == ["0"]


def test_a_forward_that_raised_says_nothing_of_a_stream() -> None:
    """Not even that its values came from elsewhere than a neuron."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(x)
            if x[0, 0] < 0:
                raise ValueError("negative")
            return y

    model = Net()
    with torch.no_grad(), counting(model) as rec:
        model(spikes(2, 6) / 2)
        (site,) = rec.layers.sites.values()
        site.neuron = True  # as if a neuron had put it out
        with pytest.raises(ValueError, match="negative"):
            model(-analog(2, 6).abs())
        assert site.neuron


def test_a_number_before_a_tensor() -> None:
    x = analog(3, 4)
    with torch.no_grad():
        for op, of in ((torch.mul, "muls"), (torch.add, "adds"), (torch.sub, "adds"), (torch.div, "muls")):
            model = Functional(lambda m, x, op=op: op(2, x))
            assert torch.equal(model(x), op(2, x))
            assert getattr(count(model, x).total(), of) + count(model, x).total().specials >= 12


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_inputs_of_eight_bits(kind: str) -> None:
    model = Functional(lambda m, x: x.float() @ m.w, w=analog(6, 4))
    with torch.no_grad():
        counts = count(model, torch.ones(2, 6).to(getattr(torch, kind)))
    assert counts.total().dense_macs == 48


def test_training_puts_back_what_a_model_holds_in_containers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.past: deque[Tensor] = deque(maxlen=3)
            self.by_name: dict[str, dict[str, int]] = {"a": {}}
            self.ordered: OrderedDict[str, int] = OrderedDict()
            self.names: set[str] = set()
            self.state = (torch.zeros(2), [torch.zeros(2)])

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(x)
            self.past.append(y.detach())
            self.by_name["a"]["k"] = self.ordered["k"] = 1
            self.names.add("k")
            with torch.no_grad():
                self.state[0].add_(1)
                self.state[1][0].add_(1)
            return y

    model = Net()
    count_training(model, analog(3, 4))
    assert (len(model.past), model.by_name, model.ordered, model.names) == (0, {"a": {}}, {}, set())
    assert (float(model.state[0].sum()), float(model.state[1][0].sum())) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"roles": {"fcc": "neuron"}}, "no module is called 'fcc'; the nearest: fc"),
        ({"spike_channels": {"fcc": slice(2)}}, "no module is called 'fcc'; the nearest: fc"),
        ({"roles": {"fc": "neuronn"}}, "roles: 'fc' is 'neuronn'; use one of synaptic, neuron, other, "),
        ({"survey": "never"}, "survey must be one of auto, always, found 'never'"),
    ],
)
def test_an_option_that_names_nothing_is_refused(options: dict[str, Any], said: str) -> None:
    model = nn.Sequential(OrderedDict(fc=nn.Linear(4, 2)))
    with pytest.raises(UsageError) as error:
        count(model, analog(1, 4), **options)
    assert said in str(error.value)
