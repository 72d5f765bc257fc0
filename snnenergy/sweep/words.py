"""Errors in the words of a sweep file: what the command line calls an option is a key there, or is not there at all."""

from __future__ import annotations

import re

_KEYS = {
    "allow-class": "allow_class", "assume-rate": "assume_rate", "batch-size": "batch_size", "data": "data", "encode": "encode",
    "factory": "factory", "input": "data", "input-shape": "input_shape", "limit": "limit", "meta": "meta", "rates": "rates",
    "samples": "samples", "seed": "seed", "steps": "steps", "time-axis": "time_axis",
}  # fmt: skip  # a table, read across
_ABSENT = ("batch", "device", "event-bin", "neuron", "trust")
_SHAPE = re.compile(r"--input-shape (\d+(?:,\d+)*)")
_OPTION = re.compile(rf"--({'|'.join(sorted((*_KEYS, *_ABSENT), key=len, reverse=True))})(?![\w-])")


def of_the_file(message: str) -> str:
    """The message, its options named as keys.

    >>> of_the_file("no inputs; pass --input FILE, or try --input-shape 1,6")
    'no inputs; pass `data: FILE`, or try `input_shape: [1, 6]`'
    """
    message = _SHAPE.sub(lambda found: f"`input_shape: [{', '.join(found[1].split(','))}]`", message)
    message = re.sub(r"--(?:input|data) FILE\b", "`data: FILE`", message)
    return _OPTION.sub(_key, message)


def _key(found: re.Match[str]) -> str:
    key = _KEYS.get(found[1])
    return f"{found[0]} (of `profile`: a sweep has none)" if key is None else f"`{key}`"
