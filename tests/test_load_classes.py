"""Every class on the list of whole modules: saved by torch.save where its framework can, it loads, with nothing else named.

The tables of arguments are tried in turn until one makes the class; a class that none makes fails its test.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from snnenergy.errors import UnsafeModelError
from snnenergy.load import inspect, load_model
from snnenergy.load.allowed import BUILT
from tests.attacks import torch_bytes
from tests.framework_nets import package

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own

ARGUMENTS: list[tuple[Any, ...]] = [(), (3,), (2, 3), (3, 2, 3), (2, 2), (4, 2), (0.9,), (0.9, 0.8), (2, 3, 3, (8, 8))]
KEYWORDS: list[dict[str, Any]] = [
    {},
    {"n": 3},
    {"tau_mem": 10.0},
    {"tau_mem": 10.0, "tau_adapt": 10.0},
    {"batch_size": 2, "tau_mem": 10.0, "tau_adapt": 10.0},
    {"batch_size": 2, "tau_mem": 10.0},
    {"batch_size": 2},
    {"rec_connect": nn.Linear(3, 3)},
    {"rec_connect": nn.Linear(3, 3), "tau_mem": 10.0},
    {"rec_connect": nn.Linear(3, 3), "tau_mem": 10.0, "tau_adapt": 10.0},
]


def _nodes() -> tuple[Any, Any]:
    nodes = importlib.import_module("bindsnet.network.nodes")
    return nodes.Input(n=3), nodes.LIFNodes(n=2)


def _topology() -> Any:
    return importlib.import_module("bindsnet.network.topology")


def _primed() -> Any:
    """A feature that a connection gave its rule."""
    weight = _feature(importlib.import_module("bindsnet.network.topology_features").Weight)
    return _topology().MulticompartmentConnection(*_nodes(), device="cpu", pipeline=[weight]).pipeline[0]


def _feature(cls: Any) -> Any:
    return cls("w", torch.ones(3, 2, dtype=torch.bool if cls.__name__ == "Mask" else torch.float32))


MADE: dict[str, Callable[[Any], Any]] = {
    "Threshold": lambda cls: cls(0.1, 0.0),
    "Unflatten": lambda cls: cls(1, (2, 2)),
    "Transformer": lambda cls: cls(4, 2, 1, 1, 8),
    "TransformerDecoder": lambda cls: cls(nn.TransformerDecoderLayer(4, 2), 1),
    "TransformerEncoder": lambda cls: cls(nn.TransformerEncoderLayer(4, 2), 1),
    "ParameterDict": lambda cls: cls({"w": nn.Parameter(torch.ones(2))}),
    "ParameterList": lambda cls: cls([nn.Parameter(torch.ones(2))]),
    "Lift": lambda cls: cls(nn.Linear(3, 2)),
    "SpatialReceptiveField2d": lambda cls: cls(1, 3, torch.ones(2, 7), optimize_fields=False),
    "SampledSpatialReceptiveField2d": lambda cls: cls(1, 3, *torch.ones(3, 1), [(0, 0)], False, False, False),
    "Network": lambda cls: cls(dt=1.0),
    "MeanFieldConnection": lambda cls: cls(*_nodes()),
    "MulticompartmentConnection": lambda cls: cls(*_nodes(), device="cpu"),
    **dict.fromkeys(("Bias", "Degradation", "Intensity", "Mask", "Probability", "Weight"), _feature),
    "bindsnet.learning.learning.NoOp": lambda _: _topology().MeanFieldConnection(*_nodes()).update_rule,
    "bindsnet.learning.MCC_learning.NoOp": lambda _: _primed().learning_rule,
}


def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    top = module.partition(".")[0]
    try:
        if top != "torch":
            package(top)
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        pytest.skip(f"{top} is not installed, or not whole: {error}")


def _made(cls: Any) -> Any:
    make = MADE.get(_name(cls), MADE.get(cls.__name__))
    if make is not None:
        return make(cls)
    for keywords, arguments in itertools.product(KEYWORDS, ARGUMENTS):
        with contextlib.suppress(Exception):
            return cls(*arguments, **keywords)
    raise AssertionError(f"no arguments here make a {cls}")


def _name(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@pytest.mark.parametrize("name", sorted(BUILT))
def test_a_listed_class_loads(name: str, tmp_path: Path) -> None:
    cls = _class(name)
    if _name(cls) != name:  # its place in another version of the framework
        assert _name(cls) in BUILT
        return
    made = _made(cls)
    net = made if isinstance(made, nn.Module) else nn.Identity()
    if made is not net:
        vars(net)["held"] = made
    (tmp_path / "net.pt").write_bytes(torch_bytes(net))
    seen = inspect(tmp_path / "net.pt")
    assert {row.name for row in seen.globals if row.verdict != "allowed"} == set()
    assert name in {row.name for row in seen.globals}
    assert seen.problems == ()
    loaded = load_model(tmp_path / "net.pt").module
    assert type(loaded if made is net else loaded.held) is cls
    assert vars(loaded).keys() == vars(net).keys()
    assert str(loaded.state_dict()) == str(net.state_dict())


RUN = set(
    "__new__ __setstate__ __getattr__ __getattribute__ __setattr__ __delattr__ __reduce_ex__ __del__ __hash__".split()
)
READ = {
    "torch.nn.modules.activation.LogSoftmax.__setstate__",  # these set what files of older versions lack
    "torch.nn.modules.activation.MultiheadAttention.__setstate__",
    "torch.nn.modules.activation.Softmax.__setstate__",
    "torch.nn.modules.activation.Softmin.__setstate__",
    "torch.nn.modules.conv._ConvNd.__setstate__",
    "torch.nn.modules.pooling.AvgPool3d.__setstate__",
    "torch.nn.modules.transformer.TransformerDecoderLayer.__setstate__",
    "torch.nn.modules.transformer.TransformerEncoderLayer.__setstate__",
    "torch.nn.modules.upsampling.Upsample.__setstate__",
    "torch.nn.modules.rnn.RNNBase.__setstate__",  # loops over num_layers, which is checked before
    "torch.nn.modules.rnn.RNNBase.__setattr__",
    "spikingjelly.activation_based.base.MemoryModule.__getattr__",  # looks into a dict of its own
    "spikingjelly.activation_based.base.MemoryModule.__setattr__",
    "spikingjelly.activation_based.base.MemoryModule.__delattr__",
    "norse.torch.functional.coba_lif.CobaLIFParameters.__new__",  # named tuples
    "norse.torch.functional.leaky_integrator.LIParameters.__new__",
}
"""Methods that run while an object is rebuilt, beside those of torch.nn.Module; each was read."""


@pytest.mark.parametrize("name", sorted(BUILT))
def test_every_method_that_runs_while_an_object_is_rebuilt_was_read(name: str) -> None:
    cls = _class(name)
    found = {
        f"{_name(base)}.{method}"
        for base in cls.__mro__
        for method in RUN & vars(base).keys()
        if base not in (object, tuple, nn.Module) and vars(base)[method] is not None
    }
    assert found - READ == set()


def test_the_list_names_classes_and_no_wildcard() -> None:
    assert not any(set("*?[]") & set(name) for name in BUILT)
    assert not {name for name in BUILT if name.split(".")[0] in ("builtins", "operator", "functools")}


KEPT: dict[str, Callable[[], nn.Module]] = {
    "snnTorch": lambda: package("snntorch").Leaky(beta=0.9, surrogate_disable=True),
    "Norse": lambda: package("norse.torch").LI(),
    "BindsNET": lambda: _class("bindsnet.network.topology.Connection")(*_nodes()),
}


@pytest.mark.parametrize("framework", KEPT)
def test_what_a_framework_keeps_as_a_function_is_refused_with_the_way_out(framework: str, tmp_path: Path) -> None:
    try:
        net = KEPT[framework]()
    except ImportError as error:
        pytest.skip(f"{framework} is not installed, or not whole: {error}")
    (tmp_path / "net.pt").write_bytes(torch_bytes(nn.Sequential(net)))
    with pytest.raises(UnsafeModelError, match=rf"refused: {framework} .*state_dict.*--factory"):
        load_model(tmp_path / "net.pt")


def test_norse_cannot_save_its_own_lif(tmp_path: Path) -> None:
    # once it can, the refusal of its kin wants another look
    try:
        net = package("norse.torch").LIF()
    except ImportError as error:
        pytest.skip(f"Norse is not installed: {error}")
    with pytest.raises(pickle.PicklingError, match="LIFParameters"):
        torch_bytes(net)
