"""What a walked pickle is refused for: the globals it names, the states it gives, the attributes it sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snnenergy.errors import UnsafeModelError
from snnenergy.load.allowed import BUILT, CALLED, Verdict, judge
from snnenergy.load.pickles import Global, Made, Walk

MAX_LAYERS = 1000
_CONTAINERS = {f"{place}.{name}" for place in ("builtins", "__builtin__") for name in ("dict", "set", "frozenset")}
_CONTAINERS |= {"collections.OrderedDict", "torch.Size"}
_UNREAD = {
    "torch._utils._rebuild_sparse_tensor": "sparse: save `tensor.to_dense()`",
    "torch._utils._rebuild_qtensor": "quantised: save `tensor.dequantize()`",
    "torch._utils._rebuild_meta_tensor_no_storage": "on the meta device and has no values: save the model with its weights",
    "torch._utils._rebuild_tensor_v3": "of a dtype that is not read from here: save `tensor.float()`, or use safetensors",
}
"""What rebuilds a tensor that is harmless and not read: the words for it."""
_KEEP_FUNCTIONS = {
    "snntorch": "snnTorch neurons keep their surrogate",
    "norse": "Norse neurons keep their step",
    "bindsnet": "BindsNET connections keep the reduction of their learning rule",
}


def check_globals(walked: Walk, where: str, allow_classes: Sequence[str] = ()) -> None:
    """Refuse a pickle that names what is on no list, or uses a listed name in another way than its list allows."""
    extra = frozenset(allow_classes)
    verdicts = {target: judge(target, uses, extra) for target, uses in walked.uses.items()}
    bad = [t for t, v in verdicts.items() if v is Verdict.DANGEROUS]
    unknown = [t for t, v in verdicts.items() if v is Verdict.UNKNOWN]
    if bad and (kept := _kept_function(bad, walked)):
        raise UnsafeModelError(
            f"{where}: refused: {kept} as a function, which the pickle would fetch with {_names(bad)}, and that can run "
            "code. Save `model.state_dict()` and pass --factory pkg.mod:fn"
        )
    if bad:
        raise UnsafeModelError(
            f"{where}: refused: the pickle would import {_names(bad)}, which can run code; do not load this file anywhere"
        )
    if words := _unread(unknown):
        raise UnsafeModelError(f"{where}: refused: a tensor in it is {words} (the pickle names {_names(unknown)})")
    if unknown:
        raise UnsafeModelError(
            f"{where}: refused: the pickle names {_names(unknown)}, not on the list of classes known to be safe. Save "
            "`model.state_dict()` and pass --factory pkg.mod:fn, or export a .pt2; if you trust the module that defines a "
            "class, --allow-class pkg.Cls imports it"
        )
    _check_states(walked, where)
    _check_values(walked, where)


def _names(targets: Sequence[Global]) -> str:
    shown = ", ".join(repr(str(t))[:80] for t in targets[:4])
    return shown + (f" and {len(targets) - 4} more" if len(targets) > 4 else "")


def _unread(unknown: Sequence[Global]) -> str:
    """What is not read, where a file names nothing unknown but what torch itself rebuilds such tensors with."""
    if not all(str(t) in _UNREAD or t.module in ("torch", "torch.serialization") for t in unknown):
        return ""
    return next((_UNREAD[str(t)] for t in unknown if str(t) in _UNREAD), "")


def _kept_function(bad: Sequence[Global], walked: Walk) -> str:
    """Whose function it is, where a file names nothing bad but `getattr` and is of a framework that keeps functions so."""
    if any(t.name != "getattr" for t in bad):
        return ""
    packages = {t.module.partition(".")[0] for t in walked.uses}
    return next((words for name, words in _KEEP_FUNCTIONS.items() if name in packages), "")


def _check_states(walked: Walk, where: str) -> None:
    """State is a dict, and only built classes and OrderedDict have one: a tensor would be set to another storage by it."""
    for made in walked.made:
        name = str(made.callee)
        if name.startswith("torch._utils."):
            _check_rebuilt(made, where)
        elif name in _CONTAINERS and not all(
            map(_is_container, made.args if isinstance(made.args, tuple) else (None,))
        ):
            raise UnsafeModelError(f"{where}: refused: {name} is called in a way torch.save never does")
        if made.state is None or (name not in BUILT and name not in CALLED):  # the rest was named by --allow-class
            continue
        called = name in CALLED and not made.of("collections.OrderedDict")
        keys = _keys(made.state)
        if called or keys is None or (name in CALLED and keys - {"_metadata"}):
            raise UnsafeModelError(f"{where}: refused: {name} is given its state in a way torch.save never does")


def _is_container(arg: object) -> bool:
    """Whether a container is made of another one: a tensor, a storage or a text would be taken apart element by element."""
    return isinstance(arg, list | tuple) or (isinstance(arg, Made) and str(arg.callee) in _CONTAINERS)


def _check_rebuilt(made: Made, where: str) -> None:
    """Hooks are code of the author's; the attributes of a parameter may not take the place of a tensor's own."""
    import torch

    args = made.args if isinstance(made.args, tuple) else ()
    if any(isinstance(arg, Made) and arg.of("collections.OrderedDict") and (arg.items or arg.state) for arg in args):
        raise UnsafeModelError(f"{where}: refused: a tensor has hooks")
    if args and made.of("torch._utils._rebuild_parameter_with_state"):
        keys = _keys(args[-1])
        if keys is None:
            raise UnsafeModelError(f"{where}: refused: a parameter is given its state in a way torch.save never does")
        if shadowed := next((key for key in keys if hasattr(torch.Tensor, key)), None):
            raise UnsafeModelError(f"{where}: refused: a parameter is given a {shadowed!r:.80} of the file's own")


def _keys(state: object) -> set[str] | None:
    """The names a state gives values to; None where it is no dict of names."""
    if not (isinstance(state, Made) and state.of("builtins.dict")):
        return None
    keys = [key for key, _ in state.items]
    return set(keys) if all(isinstance(key, str) for key in keys) else None  # type: ignore[arg-type]  # all are words, as just checked


def check_attributes(walked: Walk, classes: Mapping[str, Any], where: str) -> None:
    """An attribute may not take the place of a method: `forward`, `eval`, `__call__` of a class are those of the class."""
    for made in walked.made:
        name = str(made.callee)
        if name not in BUILT or made.state is None:
            continue
        for key in _keys(made.state) or ():
            if callable(getattr(classes[name], key, None)) or key == "_compiled_call_impl":
                raise UnsafeModelError(f"{where}: refused: a {name} is given a {key!r:.80} of the file's own")


def _check_values(walked: Walk, where: str) -> None:
    """Attributes that a class acts on while it is rebuilt, or compiles when it runs.

    A recurrent layer counts to `num_layers` while it is rebuilt.  A SpikingJelly neuron whose `backend` is not torch compiles
    kernels from strings among its attributes, and it finds its attributes in more dicts than its own state.
    """
    spiking = any(target.module.startswith("spikingjelly.") for target in walked.uses)
    for made in walked.made:
        if spiking and any(key in ("backend", "_backend") and value != "torch" for key, value in made.items):
            raise UnsafeModelError(f"{where}: a neuron with a backend that is not torch; save it with backend='torch'")
        if str(made.callee).startswith("torch.nn.modules.rnn.") and isinstance(made.state, Made):
            layers = [value for key, value in made.state.items if key == "num_layers"]
            if not all(type(n) is int and 0 <= n <= MAX_LAYERS for n in layers):
                raise UnsafeModelError(f"{where}: {made.callee} of more than {MAX_LAYERS} layers")
