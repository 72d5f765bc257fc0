"""Contractions that a module does again in one surveyed forward, as in every step of a loop: only their values differ.

What is remembered holds for the same weight (its place, shape, strides and version), an input of the same shape with the
same zeros padded on, and the same other arguments; anything else is read the long way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnenergy.trace.forward import Frame, Read
from snnenergy.trace.structure import Work
from snnenergy.trace.tags import Tag
from snnenergy.trace.tensors import version

if TYPE_CHECKING:
    from snnenergy.trace.survey import Survey


OF_PARAMETER = "param:"
"""How the path of a product with a parameter begins that no leaf does."""
NO_VALUES = torch.empty(0)
"""In place of an activation, which is not kept."""


@dataclass(slots=True)
class Memo:
    """One contraction, all but its values."""

    argument: int  # which argument is the activation
    weight: int  # which is the weight
    place: tuple[int, torch.Size, tuple[int, ...]]  # where that lies: address, shape, strides
    shape: torch.Size  # of the activation
    pad: tuple[tuple[int, int], ...]  # zeros it is known to carry
    others: list[Any]  # the other arguments; of a tensor (a bias) its address
    read: Read
    work: Work
    tag: Tag  # of its result
    again: int = 0  # calls since


class Repeats:
    """The memos of one forward, by operator and module."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self._memos: dict[tuple[int, int], list[Memo]] = {}

    def begin(self) -> None:
        self._memos.clear()

    def learn(self, op: object, frame: Frame, args: Sequence[Any], read: Read, work: Work, tag: Tag) -> None:
        """`op` was read as `read` in `frame`: with a weight that is one parameter it is remembered.

        Of a leaf, or of a row that has the parameter's name whoever calls.
        """
        survey = self.survey
        known = (frame.leaf and frame.module is not None) or read.site.path.startswith(OF_PARAMETER)
        if not known or not read.steady or survey.replaying or survey.shapes_only:
            return
        x, w, argument, weight = read.x, read.weight, -1, -1
        for i, a in enumerate(args):
            if a is x:
                argument = i
            elif a is w:
                weight = i
        if argument < 0 or weight < 0 or len(read.made_of) != 1:
            return
        found = survey.lineage.of(x)
        if found.level or found.segments is not None:
            return
        kept = Read(read.site, NO_VALUES, read.fans, w, read.made_of, read.versions, steady=True)
        pad, others = survey.lineage.pad_of(x), _others(args, argument, weight)
        memo = Memo(argument, weight, _place(w), x.shape, pad, others, kept, work, tag)
        self._memos.setdefault((id(op), id(frame.module)), []).append(memo)

    def take(self, op: object, args: Sequence[Any], out: Tensor) -> bool:
        """Read a call of `op` in the frame that runs as one before; False: there was none like it."""
        survey = self.survey
        for memo in self._memos.get((id(op), id(survey.frames[-1].module)), ()):
            x, w, read = args[memo.argument], args[memo.weight], memo.read
            if x.shape != memo.shape or _place(w) != memo.place or version(w) != read.versions[0][0]:
                continue
            tag = survey.lineage.of(x)
            if tag.level or tag.segments is not None or (survey.lineage.pad_of(x) if tag.pad else ()) != memo.pad:
                continue
            if _others(args, memo.argument, memo.weight) != memo.others:
                continue
            memo.again += 1
            survey.path = read.site.path
            read.site.neuron &= tag.neuron
            survey.reading.again(read, x, tag)
            survey.lineage.put(out.untyped_storage()._cdata, memo.tag)
            return True
        return False

    def settle(self) -> None:
        """The forward is over: add up the work of what was done again."""
        for memos in self._memos.values():
            for memo in memos:
                self.survey.forward.work[memo.read.site.path].add(memo.work, memo.again)
        self._memos.clear()


def _place(w: Tensor) -> tuple[int, torch.Size, tuple[int, ...]]:
    return w.data_ptr(), w.shape, w.stride()


def _others(args: Sequence[Any], argument: int, weight: int) -> list[Any]:
    return [a.data_ptr() if isinstance(a, Tensor) else a for i, a in enumerate(args) if i != argument and i != weight]
