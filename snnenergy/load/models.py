"""A path or a factory becomes a module: the kind is sniffed from content, each kind has one reader, nothing falls back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import UnsafeModelError, UsageError
from snnenergy.load import files, safetensors
from snnenergy.load.archive import Archive, open_archive
from snnenergy.load.factory import call_factory, here_first, is_factory
from snnenergy.load.files import Kind, quoted
from snnenergy.load.inputs import Slot, module_slots, starts_with_embedding
from snnenergy.load.rebuilt import check_module, weights_of
from snnenergy.load.torchfile import check_allow_classes, load_archive, load_legacy

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_NEEDS_FACTORY = "holds weights and no architecture: pass --factory pkg.mod:fn, a function that returns the module"


@dataclass(frozen=True)
class Model:
    """A loaded model: its module in eval mode, where it came from, and what it says about its inputs.

    kind: pt2 | module | state_dict | safetensors | factory | nir | torchscript
    example_inputs: (args, kwargs) the file or the factory brought, if any
    slots: the inputs it takes, as far as known; calls: of its most often called layer in one forward (exported programs)
    """

    module: torch.nn.Module
    kind: str
    name: str
    notes: tuple[str, ...] = ()
    example_inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    slots: tuple[Slot, ...] = ()
    calls: int = 0


@dataclass(frozen=True)
class Source:
    """A model file read once, what it is, and the choices that apply to it."""

    path: Path
    data: bytes
    kind: Kind
    archive: Archive | None = None
    factory: str | None = None
    allow_classes: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)


def load_model(
    source: str | Path,
    *,
    factory: str | None = None,
    allow_classes: Sequence[str] = (),
    trust: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> Model:
    """The model of a file, or of `pkg.mod:factory`; UnsafeModelError where the file is refused or unreadable.

    arguments: keyword arguments of the factory
    """
    if isinstance(source, str) and is_factory(source):
        if factory is not None:
            raise UsageError(f"{source} is a factory already; --factory {factory} goes with a file of weights")
        return _from_factory(source, arguments or {})
    path = Path(source)
    data = files.read_model(path)
    if allow_classes:
        with here_first():  # for these names alone: a file beside the model must not stand in for a library
            check_allow_classes(allow_classes)
    archive = open_archive(data, str(path)) if files.is_zip(data) else None
    found = Source(path, data, sniff(data, archive), archive, factory, tuple(allow_classes), arguments or {})
    if trust and found.kind not in (Kind.SAFETENSORS, Kind.NIR):
        with here_first():
            return _trusted(found)
    return read(found)


def sniff(data: bytes, archive: Archive | None) -> Kind:
    """What a model file is, by its content."""
    return archive.kind if archive is not None else files.sniff_flat(data)


def read(source: Source) -> Model:
    """The model of a file by the one reader of its kind; nothing in it runs.  `inspect` asks the same of it as `profile`."""
    reader = _READERS.get(source.kind)
    if reader is None:
        raise UnsafeModelError(_refusal(source.kind, source.path, source.data))
    return reader(source)


def _refusal(kind: Kind, path: Path, data: bytes) -> str:
    if kind is Kind.TORCHSCRIPT:
        return (
            f"{path}: TorchScript is a program that may write files; export the model as .pt2 instead, or pass --trust "
            "if it is your own"
        )
    if kind is Kind.PICKLE:
        return f"{path}: a bare pickle, which runs code on load; save the model with torch.save or torch.export.save"
    found = "a zip of no kind known here" if files.is_zip(data) else files.describe_other(data)
    return f"{path}: expected a model file (.pt2, torch.save, safetensors), found {found}{files.code_hint(path)}"


def _from_factory(spec: str, arguments: Mapping[str, Any]) -> Model:
    module, inputs = call_factory(spec, arguments)
    return Model(
        module,
        "factory",
        spec.rpartition(":")[2],
        example_inputs=None if inputs is None else (inputs, {}),
        slots=_slots(module, inputs),
    )


def _slots(module: torch.nn.Module, inputs: tuple[Any, ...] | None = None) -> tuple[Slot, ...]:
    import torch

    if inputs and all(isinstance(x, torch.Tensor) for x in inputs):
        return tuple(Slot(f"x{i}" if i else "x", (None,) * x.dim(), x.dtype) for i, x in enumerate(inputs))
    return module_slots(module, starts_with_embedding(module))


def _trusted(source: Source) -> Model:
    from snnenergy.load.trust import load_trusted

    value, note = load_trusted(source.path, source.data, source.kind)
    if source.kind is Kind.PT2:
        return _program(value, value.example_inputs, source, [note])
    return _named(value, source, "torchscript", (note,))


def _pt2(source: Source) -> Model:
    from snnenergy.load import pt2

    assert source.archive is not None  # only an archive is sniffed as pt2
    checked = pt2.check_archive(source.archive)
    return _program(pt2.load_checked(checked, source.archive), checked.examples, source, [])


def _program(program: ExportedProgram, examples: Any, source: Source, notes: list[str]) -> Model:
    from snnenergy.load.program import calls_per_layer, exported_in_training, slots_of
    from snnenergy.load.pt2 import module_of
    from snnenergy.load.stateful import single_step_warning

    _no_factory(source, "an exported program brings its architecture")
    if exported_in_training(program):
        notes.append("exported in training mode (dropout or batch norm): call model.eval() before torch.export.export")
    if warning := single_step_warning(program):
        notes.append(warning)
    module, slots = module_of(program, str(source.path)), slots_of(program)
    return Model(module, "pt2", source.path.stem, tuple(notes), examples, slots, calls_per_layer(program))


def _no_factory(source: Source, why: str) -> None:
    if source.factory is not None:
        raise UsageError(f"{source.path}: {why}; leave --factory {source.factory} out")


def _torch(source: Source) -> Model:
    import torch

    if source.archive is not None:
        value = load_archive(source.archive, source.allow_classes)
    else:
        value = load_legacy(source.data, str(source.path), source.allow_classes)
    if isinstance(value, torch.nn.Module):
        check_module(value, str(source.path))
    return _named(value, source, "module", ())


def _named(value: Any, source: Source, kind: str, notes: tuple[str, ...]) -> Model:
    """A module as it is; a state_dict through the factory."""
    import torch

    if isinstance(value, torch.nn.Module):
        _no_factory(source, "a whole module brings its architecture")
        kind = kind if isinstance(value, torch.jit.ScriptModule) else "module"
        try:
            return Model(value.eval(), kind, source.path.stem, notes, slots=_slots(value))
        except Exception as error:  # a class may stumble in any way over attributes that came from the file
            raise UnsafeModelError(f"{source.path}: no usable module: {quoted(error)}") from error
    return _with_factory(value, source, "state_dict", notes)


def _safetensors(source: Source) -> Model:
    return _with_factory(safetensors.load(source.data, str(source.path)), source, "safetensors", ())


def _nir(source: Source) -> Model:
    import torch

    from snnenergy.load import nir_file, nir_graph

    where = str(source.path)
    _no_factory(source, "a NIR graph brings its architecture")
    graph = nir_file.read(source.data, where)
    module = nir_graph.build(graph, where).eval()
    note = f"NIR: input is (T, N, ...); neurons step by forward Euler, dt = {nir_graph.DT:g} s, from rest"
    shape = (None, None, *nir_graph.input_shape(graph, where))
    return Model(module, "nir", source.path.stem, (note,), slots=(Slot("x", shape, torch.float32),))


def _with_factory(value: Any, source: Source, kind: str, notes: tuple[str, ...]) -> Model:
    weights, more = weights_of(value, str(source.path))
    if source.factory is None:
        raise UsageError(f"{source.path}: {_NEEDS_FACTORY}")
    module, inputs = call_factory(source.factory, source.arguments)
    own = module.state_dict()
    if lost := next((n for n, t in weights.items() if _is_complex(t) and not _is_complex(own.get(n, t))), None):
        raise UsageError(
            f"{source.path}: does not fit the module of {source.factory}: {lost!r:.80} is complex and the module's is real"
        )
    try:
        module.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"{source.path}: does not fit the module of {source.factory}: {quoted(error, lines=3)}"
        ) from error
    examples: tuple[tuple[Any, ...], dict[str, Any]] | None = None if inputs is None else (inputs, {})
    return Model(module, kind, source.path.stem, (*notes, *more), examples, _slots(module, inputs))


def _is_complex(value: Any) -> bool:
    """Of a weight; the extra state of a module may be anything."""
    return hasattr(value, "is_complex") and bool(value.is_complex())


_READERS: dict[Kind, Callable[[Source], Model]] = {
    Kind.PT2: _pt2,
    Kind.TORCH: _torch,
    Kind.LEGACY: _torch,
    Kind.SAFETENSORS: _safetensors,
    Kind.NIR: _nir,
}
