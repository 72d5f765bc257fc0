"""Zips that lead outside, explode, hide a second reading or are cut short; and files that are no models at all."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from snnenergy.errors import UnsafeModelError, UsageError
from snnenergy.load import inspect, load_model
from tests.attacks import DIGITS, archive, members_of, plain_zip, torch_bytes

GOOD = members_of((DIGITS / "digits_ann_model.pt").read_bytes())


def refused(data: bytes, tmp_path: Path, words: str = "") -> None:
    folder = tmp_path / "inner"
    folder.mkdir(exist_ok=True)
    file = folder / "model.pt"
    file.write_bytes(data)
    with pytest.raises(UnsafeModelError) as caught:
        load_model(file)
    assert not inspect(file).loadable
    assert words in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inner"]
    assert sorted(p.name for p in folder.iterdir()) == ["model.pt"]


def rooted(**extra: bytes) -> dict[str, bytes]:
    return {f"archive/{n}": c for n, c in GOOD.items()} | extra


def test_the_same_members_rewritten_by_python_do_load(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(plain_zip(rooted()))
    assert load_model(file).kind == "module"


@pytest.mark.parametrize(
    "name",
    [
        "archive/../../escaped",
        "../escaped",
        "/etc/escaped",
        "archive/..\\..\\escaped",
        "C:/escaped",
        "archive/a\x1b[31m",
        "a//b",
        "archive/",
    ],
)
def test_names_that_lead_outside(name: str, tmp_path: Path) -> None:
    refused(plain_zip(rooted(**{name: b"x"})), tmp_path)


def test_a_member_without_a_name(tmp_path: Path) -> None:
    data = bytearray(plain_zip({"x": b""}))
    entry, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    struct.pack_into("<H", data, 26, 0)
    struct.pack_into("<H", data, entry + 28, 0)
    struct.pack_into("<LL", data, end + 12, end - entry - 1, entry - 1)
    del data[entry + 46], data[30]
    refused(bytes(data), tmp_path, "member ''")


def test_a_symbolic_link(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in rooted().items():
            file.writestr(name, content)
        link = zipfile.ZipInfo("archive/data/99")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    refused(out.getvalue(), tmp_path, "symbolic link")


@pytest.mark.filterwarnings("ignore:Duplicate name")  # Python's own writer warns about what is made here on purpose
def test_two_members_of_one_name(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in [*rooted().items(), ("archive/data.pkl", b"\x80\x02N.")]:
            file.writestr(name, content)
    refused(out.getvalue(), tmp_path, "two members")


def test_80_megabytes_declared_in_80_kilobytes(tmp_path: Path) -> None:
    data = plain_zip(rooted(**{"archive/data/9": bytes(80_000_000)}), zipfile.ZIP_DEFLATED)
    assert len(data) < 120_000
    refused(data, tmp_path, "compressed")


def test_members_that_overlap(tmp_path: Path) -> None:
    # one local entry of 100 kB, listed a thousand times in the directory
    data = bytearray(plain_zip({"archive/data.pkl": bytes(100_000)}))
    start = data.index(b"PK\x01\x02")
    entry = bytes(data[start : data.index(b"PK\x05\x06")])
    entries = b"".join(entry.replace(b"data.pkl", f"data{i:04d}".encode()) for i in range(1000))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), start, 0)
    refused(bytes(data[:start]) + entries + end, tmp_path)


def test_a_password(tmp_path: Path) -> None:
    data = bytearray(plain_zip(rooted()))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(signature, at + 4)
    refused(bytes(data), tmp_path, "password")


@pytest.mark.parametrize("name", ["digits_ann.pt2", "digits_ann_model.pt"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_half_written_files(name: str, share: float, tmp_path: Path) -> None:
    data = (DIGITS / name).read_bytes()
    refused(data[: int(len(data) * share)], tmp_path)


def test_a_legacy_file_cut_short(tmp_path: Path) -> None:
    data = torch_bytes({"w": torch.zeros(100)}, legacy=True)
    for size in (20, 100, len(data) - 40):
        refused(data[:size], tmp_path)


def test_a_flipped_bit_in_the_weights(tmp_path: Path) -> None:
    data = bytearray(archive(GOOD))
    data[data.index(GOOD["data/1"]) + 5] ^= 1
    refused(bytes(data), tmp_path, "damaged")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04", "damaged"),
        (b"\x7fELF" + bytes(100), "a shared library"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"layers:\n  - conv\n", "text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "NIR"),
        (bytes(1000), "no kind known here"),
        (b"\x93NUMPY\x01\x00" + bytes(20), "--input"),
        (bytes(257) + b"ustar" + bytes(1000), "tar archive"),
        (plain_zip({"a/readme.txt": b"hello"}), "no kind known here"),
        (plain_zip({"x.npy": b"hello"}), "--input"),
        (b"#!/bin/sh\n" + archive(GOOD), ""),
        ((2**40).to_bytes(8, "little") + b"{}", ""),
        (b"\x10\0\0\0\0\0\0\0" + b'{"a": [[[[[[[[[[', "safetensors"),
    ],
)
def test_files_that_are_no_models(data: bytes, words: str, tmp_path: Path) -> None:
    refused(data, tmp_path, words)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError, match="regular file"):
        load_model(tmp_path)
    os.mkfifo(tmp_path / "pipe.pt2")
    with pytest.raises(UnsafeModelError, match="regular file"):
        load_model(tmp_path / "pipe.pt2")
    with pytest.raises(UsageError, match="no such model file"):
        load_model(tmp_path / "missing.pt2")


def _safetensors(header: bytes, body: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + body


@pytest.mark.parametrize(
    "header",
    [
        b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}',
        b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}',
        b'{"w":{"dtype":"PICKLE","shape":[1],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}',
        b'{"w":{"dtype":"F32","shape":[' + b"1," * 99 + b'1],"data_offsets":[0,4]}}',
        b'{"w":[]}',
        b"[]",
        b'{"w":' + b"[" * 100_000,
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' * 1 + b'"b":3}',
    ],
)
def test_safetensors_that_lie(header: bytes, tmp_path: Path) -> None:
    refused(_safetensors(header, b"\0\0\0\0"), tmp_path, "safetensors")
