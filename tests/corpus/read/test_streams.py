"""Compressed files: several members, remote ones, and every kind of damage."""

from __future__ import annotations

import gzip
import io
import os
import random
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.formats import SourceFile
from dataworth.corpus.read.streams import ZstdFrames, open_stream
from dataworth.corpus.units import Unit
from dataworth.errors import InputError
from readers import read_all, texts, unit_of

CHANCE = random.Random(0)
ROWS = b"".join(
    b'{"text": "row %d, %s"}\n' % (i, CHANCE.randbytes(20).hex().encode()) for i in range(9999)
)


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 6)


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(3, write_checksum=True).compress(data)


def zst_without_size(data: bytes) -> bytes:
    """A frame of several blocks, as written from a stream, without checksum."""
    writer = zstandard.ZstdCompressor(3, write_content_size=False).compressobj()
    return writer.compress(data) + writer.flush()


PACK = {"gz": gz, "zst": zst, "zst of a stream": zst_without_size}


def written(folder: Path, kind: str, data: bytes) -> Path:
    path = folder / f"a.jsonl.{kind[:3].strip()}"
    path.write_bytes(data)
    return path


def content(path: Path, step: int = 2**20) -> bytes:
    buffer, found = np.empty(step, np.uint8), []
    with open_stream(unit_of(path).file) as stream:
        while count := stream.readinto(buffer):
            found.append(buffer[:count].tobytes())
        assert stream.offset == sum(map(len, found))
    return b"".join(found)


@pytest.mark.parametrize("kind", PACK)
def test_reads_one_member_several_and_none(kind: str, tmp_path: Path) -> None:
    pack = PACK[kind]
    assert content(written(tmp_path, kind, pack(ROWS))) == ROWS
    assert content(written(tmp_path, kind, pack(ROWS) + pack(b"") + pack(ROWS))) == ROWS * 2
    assert content(written(tmp_path, kind, pack(ROWS)), step=777) == ROWS
    assert content(written(tmp_path, kind, pack(b""))) == b""
    assert content(written(tmp_path, kind, b"")) == b""
    skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc"
    if kind != "gz":
        data = skippable + pack(ROWS) + skippable + pack(ROWS)
        assert content(written(tmp_path, kind, data)) == ROWS * 2


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9, 0.99999])
@pytest.mark.parametrize("kind", PACK)
def test_cut_file(kind: str, share: float, tmp_path: Path) -> None:
    whole = PACK[kind](ROWS)
    for data in (whole[: int(len(whole) * share) or 1], whole + whole[: int(len(whole) * share)]):
        path = written(tmp_path, kind, data)
        with pytest.raises(InputError, match=r"cut or damaged after byte [\d,]+.*fetch it again"):
            read_all(unit_of(path))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_changed_bytes(kind: str, tmp_path: Path) -> None:
    whole = PACK[kind](ROWS)
    for at in (1, len(whole) // 3, len(whole) - 2):
        data = bytearray(whole)
        data[at] ^= 0x55
        path = written(tmp_path, kind, bytes(data))
        with pytest.raises(InputError, match=r"a\.jsonl\.\w+: the file is cut or damaged"):
            read_all(unit_of(path))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_another_kind_of_file(kind: str, tmp_path: Path) -> None:
    for data in (ROWS[:100], PACK[kind](ROWS) + b"some words"):
        with pytest.raises(InputError, match="cut or damaged"):
            read_all(unit_of(written(tmp_path, kind, data)))


def test_large_window(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30)
    path = written(
        tmp_path, "zst", zstandard.ZstdCompressor(compression_params=parameters).compress(ROWS)
    )
    assert content(path) == ROWS


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=4),
    st.integers(0, 2000),
    st.integers(1, 50),
    st.booleans(),
)
def test_frames_are_followed(parts: list[bytes], cut: int, step: int, sized: bool) -> None:
    compressor = zstandard.ZstdCompressor(write_checksum=sized, write_content_size=sized)
    data, ends = b"", {0}
    for part in parts:
        data += compressor.compress(part)
        ends.add(len(data))
    frames = ZstdFrames(io.BytesIO(data[:cut]))
    while frames.read(step):
        pass
    assert frames.whole == (min(cut, len(data)) in ends)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    gone = SourceFile(str(tmp_path / "gone.jsonl"), "jsonl", None, 5, None)
    with pytest.raises(InputError, match=r"gone\.jsonl: no such file"):
        read_all(Unit(0, gone, 0, 0, 5))
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read every file")
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be read"):
        read_all(unit_of(path))


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_urls(ending: str) -> None:
    data = {"": ROWS, ".gz": gz(ROWS), ".zst": zst(ROWS)}[ending]
    url = f"memory://readers/a.jsonl{ending}"
    with fsspec.open(url, "wb") as file:
        file.write(data)
    compression = ending[1:] or None
    file = SourceFile(url, "jsonl", compression, len(data), None)  # type: ignore[arg-type]
    assert len(texts(read_all(Unit(0, file, 0, 0, len(data)), Fields()))) == 9999
    if not ending:
        parts = [read_all(Unit(0, file, 0, *edge)) for edge in ((0, 1000), (1000, len(data)))]
        assert len(texts(parts[0])) + len(texts(parts[1])) == 9999
    cut = SourceFile(url.replace("a.", "none."), "jsonl", None, 5, None)
    with pytest.raises(InputError, match=r"none\.jsonl"):
        read_all(Unit(0, cut, 0, 0, 5))
