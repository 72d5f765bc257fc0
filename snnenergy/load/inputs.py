"""Which arrays of an input file a model gets, in which dtype; and inputs made up from a shape.

A model that says what it takes (an exported program: rank, fixed sizes, dtype) is given the array that fits; otherwise the
array named x, input or inputs, or the only one.  `file.npz:name` names one outright.  Integers and booleans become float32
unless the model takes integers (its exported input is one, or it starts with an embedding); floats become the model's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnenergy.errors import InputError
from snnenergy.load.arrays import INPUT_KEYS, Arrays, read_arrays
from snnenergy.load.encoders import are_events, frames

if TYPE_CHECKING:
    import torch

MAX_SYNTHETIC = 2**31
"""Largest made-up input, elements."""


@dataclass(frozen=True)
class Slot:
    """One input a model takes: its name, its shape (None: any size) where known, its dtype where known."""

    name: str
    shape: tuple[int | None, ...] | None = None
    dtype: torch.dtype | None = None

    def fits(self, shape: Sequence[int]) -> bool:
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(w in (None, n) for w, n in zip(self.shape, shape, strict=True))

    @property
    def free_axes(self) -> tuple[int, ...]:
        return tuple(i for i, n in enumerate(self.shape or ()) if n is None)

    def __str__(self) -> str:
        sizes = (
            "any shape"
            if self.shape is None
            else "(" + ", ".join("*" if n is None else str(n) for n in self.shape) + ")"
        )
        return f"{self.name} {sizes}"


@dataclass(frozen=True)
class Inputs:
    """Positional inputs of one forward, the labels beside them, and what was done to them."""

    values: tuple[Any, ...]
    labels: Any = None
    notes: tuple[str, ...] = ()


def load_inputs(
    path: str | Path, slots: Sequence[Slot] = (), event_bin: float | None = None, frames_of_events: int | None = None
) -> Inputs:
    """Inputs from a file (`file.npz`, or `file.npz:name`) for a model that takes `slots`; InputError says what was found.

    event_bin: duration of a frame where the file holds events (x, y, t, p), in its own unit of t
    frames_of_events: how many frames they make; None: as many as the recording is long
    """
    file, key = split_key(str(path))
    held = read_arrays(file)
    columns = dict(held.arrays) | ({} if held.labels is None else {"y": held.labels})
    if event_bin is not None or (key is None and are_events(columns)):
        return _events(columns, slots, event_bin, frames_of_events, held.where)
    if key is not None and key not in held.arrays:
        raise InputError(f"{held.where}: no array {key!r}; it holds {_shown(held)}")
    names = [key] if key is not None else choose(held, slots)
    notes: list[str] = []
    values = []
    for i, name in enumerate(names):
        slot = slots[i] if i < len(slots) else Slot(name)
        if not held.arrays[name].numel() and not i:
            raise InputError(f"{held.where}: array {name!r} holds no sample: shape {tuple(held.arrays[name].shape)}")
        values.append(as_slot(held.arrays[name], slot, name, notes))
    return Inputs(tuple(values), held.labels, tuple(notes))


def _events(
    columns: dict[str, Any], slots: Sequence[Slot], event_bin: float | None, steps: int | None, where: str
) -> Inputs:
    if event_bin is None:
        raise InputError(
            f"{where}: holds events (x, y, t, p); pass --event-bin, the duration of a frame in its unit of t"
        )
    if not are_events(columns):
        raise InputError(f"{where}: --event-bin is for events: arrays x, y, t and p of one length")
    made, note = frames(columns, event_bin, where, steps)
    notes = [note]
    return Inputs((as_slot(made, slots[0] if slots else Slot("x"), "x", notes),), None, tuple(notes))


def split_key(text: str) -> tuple[Path, str | None]:
    stem, colon, key = text.rpartition(":")
    if colon and key.isidentifier() and not Path(text).exists():
        return Path(stem), key
    return Path(text), None


def _shown(held: Arrays) -> str:
    return ", ".join(f"{name!r:.40} {tuple(a.shape)}" for name, a in list(held.arrays.items())[:8]) or "nothing"


def choose(held: Arrays, slots: Sequence[Slot], option: str = "--input") -> list[str]:
    """The arrays that the model gets; InputError says what there is, and how the option that named the file names one."""
    names = list(held.arrays)
    if len(slots) > 1:
        wanted = [s.name for s in slots]
        if all(n in held.arrays for n in wanted):
            return wanted
        if len(names) == len(slots):
            return names
        raise InputError(f"{held.where}: the model takes {_takes(slots)}; the file holds {_shown(held)}")
    if len(names) == 1:
        return names  # a misfit shows when the forward runs
    fitting = [n for n in names if not slots or slots[0].fits(held.arrays[n].shape)]
    preferred = [n for n in (*(s.name for s in slots), *INPUT_KEYS) if n in fitting]
    if preferred:
        return preferred[:1]
    if len(fitting) == 1:
        return fitting
    found = "several arrays fit" if fitting else "no array fits" if slots else "no array is named x, input or inputs"
    example = (fitting or names or ["name"])[0]
    raise InputError(
        f"{held.where}: {found} the model's input {_takes(slots)}; it holds {_shown(held)}; "
        f"name one: {option} {held.where}:{example}"
    )


def _takes(slots: Sequence[Slot]) -> str:
    return ", ".join(map(str, slots)) or "(unknown)"


def as_slot(value: torch.Tensor, slot: Slot, name: str, notes: list[str]) -> torch.Tensor:
    import torch

    wanted = slot.dtype
    plain = not value.dtype.is_floating_point and not value.dtype.is_complex
    if wanted is None:
        wanted = torch.float32 if plain else value.dtype
    lossy = value.dtype.is_complex and not wanted.is_complex
    if lossy or (not plain and not (wanted.is_floating_point or wanted.is_complex)):
        raise InputError(
            f"input {name}: the model takes {wanted}, the file holds {value.dtype}; nothing is rounded for you"
        )
    if wanted != value.dtype:
        notes.append(
            f"input {name}: {str(value.dtype).removeprefix('torch.')} read as {str(wanted).removeprefix('torch.')}"
        )
    return value.to(wanted)


def synthetic(shape: Sequence[int], slots: Sequence[Slot], seed: int) -> Inputs:
    """Standard normal values of one shape, from a seed of their own: dense counts are right, activity means nothing."""
    import torch

    if not shape or any(n <= 0 for n in shape) or math.prod(shape) > MAX_SYNTHETIC:
        text = ",".join(map(str, shape))
        raise InputError(f"--input-shape {text}: expected positive sizes of at most {MAX_SYNTHETIC} elements in all")
    dtype = slots[0].dtype if slots and slots[0].dtype is not None else torch.float32
    if not dtype.is_floating_point or len(slots) > 1:
        raise InputError(
            f"--input-shape makes up one input of floats; the model takes {_takes(slots)}: pass --input FILE"
        )
    generator = torch.Generator().manual_seed(seed)
    return Inputs((torch.randn(tuple(shape), generator=generator).to(dtype),))


def shape_to_try(module: torch.nn.Module, slots: Sequence[Slot]) -> str:
    """The `--input-shape` a user may try first: the exported shape with one sample, or a guess from the first layer."""
    if slots and slots[0].shape is not None:
        return ",".join(str(n or 1) for n in slots[0].shape)
    for layer in module.modules():
        channels = getattr(layer, "in_channels", None)
        if isinstance(channels, int):
            spatial = ["32"] * len(getattr(layer, "kernel_size", (3, 3)))
            return ",".join(["1", str(channels), *spatial])
        if isinstance(features := getattr(layer, "in_features", None), int):
            return f"1,{features}"
    return "1,3,32,32"


def module_slots(module: torch.nn.Module, takes_integers: bool) -> tuple[Slot, ...]:
    """The one input of a plain module, of which only the dtype is known: that of its first parameter."""
    import torch

    if takes_integers:
        return (Slot("x", None, torch.int64),)
    floats = [p.dtype for p in module.parameters() if p.dtype.is_floating_point]
    return (Slot("x", None, floats[0] if floats else None),)


def starts_with_embedding(module: torch.nn.Module) -> bool:
    """Whether the first layer with parameters looks indices up."""
    import torch

    first = next((m for m in module.modules() if any(True for _ in m.parameters(recurse=False))), None)
    return isinstance(first, torch.nn.Embedding | torch.nn.EmbeddingBag)
