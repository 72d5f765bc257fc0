"""YAML with positions: what is accepted, and that everything else is refused where it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from snnenergy.errors import ProfileError, UsageError
from snnenergy.hardware import document
from snnenergy.hardware.document import Document, parse, plain, read, validate


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("yes", "yes"), ("on", "on"), ("1e-12", 1e-12), ("12", 12), ("-3", -3), ("0o7", "0o7"), ("", None)],
)
def test_scalars_are_yaml_1_2(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_every_value_knows_its_place() -> None:
    made = parse('a: 1\nb:\n  - x\n  - {c: "2"}\n', "f.yaml")
    assert made.value == {"a": 1, "b": ["x", {"c": "2"}]}
    assert made.marks["b", 1, "c"] == (4, 9)
    assert made.keys["b", 1, "c"] == (4, 6)
    assert made.marks["a",] == (1, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: key 'a' stands twice; first at line 1"),
        ("a: &x 1\nb: *x\n", "f.yaml:1:4: a: anchors and aliases are not accepted"),
        ("a: !!python/object:os.system x\n", "f.yaml:1:4: a: the tag"),
        ("a: [1, 2\nb: 3\n", "f.yaml:2:"),
        ("a: 1\n---\nb: 2\n", "f.yaml:1:1: more than one document"),
        ("", "f.yaml:1:1: the file is empty"),
        ("? [a]\n: 1\n", "f.yaml:1:3: expected a plain word as key"),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper than 32"),
        ("a: \x07\n", "f.yaml:1:1: not YAML"),
    ],
)
def test_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ProfileError) as raised:
        parse(text, "f.yaml")
    assert message in str(raised.value)
    assert len(str(raised.value)) < 300


def test_an_alias_bomb_costs_nothing() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)
    )
    with pytest.raises(ProfileError, match="aliases are not accepted"):
        parse(bomb, "bomb.yaml")


PIECES = [
    "a",
    ": ",
    "\n",
    "- ",
    "  ",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "#",
    "&x ",
    "*x",
    "!t ",
    "|",
    ">",
    "?",
    "%",
    "---\n",
    "...",
    "1",
    "\t",
    ",",
    "<<",
]


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join) | st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_way(text: str) -> None:
    try:
        made: Document | str = parse(text, "f.yaml")
    except ProfileError as error:
        made = str(error)
    if isinstance(made, Document):
        assert () in made.marks
    else:
        assert made.startswith("f.yaml:")
        assert "\n" not in made


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such file"):
        read(tmp_path / "absent.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not UTF-8"):
        read(binary)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"a" * (document.MAX_BYTES + 1))
    with pytest.raises(ProfileError, match="larger than 1024 KiB"):
        read(large)
    with pytest.raises(ProfileError, match="cannot be read"):
        read(tmp_path)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    weight: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    rows: list[Inner] = []


def test_unknown_keys_name_the_nearest_at_every_depth() -> None:
    made = parse("name: x\nrows:\n  - {wieght: 1}\nnmae: y\n", "f.yaml")
    with pytest.raises(UsageError) as raised:
        validate(made, Outer, error=UsageError)
    assert str(raised.value).splitlines() == [
        "f.yaml:3:5: rows.0: the key 'weight' is missing",
        "f.yaml:3:6: rows.0.wieght: unknown key; did you mean 'weight'?",
        "f.yaml:4:1: nmae: unknown key; did you mean 'name'?",
    ]


def test_findings_of_one_place_keep_their_order() -> None:
    """`a` is refused by all of its types, at one place; hashes of texts differ from run to run."""
    code = """
from pydantic import create_model
from snnenergy.hardware.document import check, parse
print(*check(parse("a: x", "f.yaml"), create_model("Model", a=(int | float | bool, ...)))[1])
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in "123"
    }
    assert len(runs) == 1


def test_known_words_are_listed_once() -> None:
    made = parse("name: x\nquite: 1\nother: 2\nroms: 3\nthings: 4\n", "f.yaml")
    _, found = document.check(made, Outer)
    assert [str(f) for f in found] == [
        "f.yaml:2:1: quite: unknown key; expected one of name, rows",
        "f.yaml:3:1: other: unknown key",
        "f.yaml:4:1: roms: unknown key; did you mean 'rows'?",
        "f.yaml:5:1: things: unknown key",
    ]


def test_the_caller_chooses_the_error() -> None:
    with pytest.raises(UsageError) as raised:
        validate(parse("- 1\n", "f.yaml", error=UsageError), Outer, error=UsageError)
    assert type(raised.value) is UsageError
    assert "f.yaml:1:1: expected keys and values" in str(raised.value)
