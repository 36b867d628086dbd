"""What a comparison, an attribution or a set of proxies keeps: damaged, it is named in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.comparing.bank import TextBank
from dataworth.comparing.choices import load_documents, save_documents
from dataworth.comparing.comparison import load_comparison
from dataworth.comparing.grid import read_result
from dataworth.comparing.held_out import load_excluded, load_sets
from dataworth.engine.files import read_array, read_arrays
from dataworth.errors import DataworthError

UID = np.arange(5, dtype=np.uint64)
RESULT: dict[str, Any] = {
    **{"parameters": 1, "tokens_seen": 2, "unique_tokens": 2, "epochs": 1.0, "seconds": 0.1},
    **{"curve": [[1, 2.0]], "evaluations": {"text::x": {"loss": 2.0}}},
}


def npz(**arrays: Any) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


def npy(array: Any) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


def index(**changes: Any) -> bytes:
    whole = {"uid": UID, "start": np.arange(5), "size": np.ones(5, np.int64)}
    return npz(**{**whole, **changes})


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in RESULT.items() if key != name}).encode()


CASES: dict[str, tuple[str, Callable[[Path], Any], list[bytes]]] = {
    "bank": (
        "index.npz",
        TextBank,
        [
            index(uid=UID[:4]),
            index(uid=UID.astype(np.int64)),
            index(start=np.arange(5) - 1),
            index(start=np.arange(5) + 10),
            index(size=np.full(5, 2**62)),
            index(size=np.ones(5)),
            npz(uid=UID),
        ],
    ),
    "excluded": (
        "excluded.npy",
        load_excluded,
        [npy(UID[None]), npy(UID.astype(float)), npy(np.array([{}], object)), npz(a=UID)],
    ),
    "sets": (
        "sets.json",
        load_sets,
        [b"[]", b"{}", b'{"sets": [{"kind": 1}]}', b'{"sets": 7}', b"[" * 100_000],
    ),
    "result": (
        "result.json",
        lambda folder: read_result(folder / "result.json"),
        [b"[]", *(without(name) for name in RESULT), b'{"curve": 1}'],
    ),
    "comparison": ("comparison.json", load_comparison, [b"[]", b"{}", b'{"selections": 7}']),
}
ANY = [b"", b"\x80\x04\x95\x0c\x00.", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00\xff\xff{"]


@pytest.mark.parametrize("kind", CASES)
def test_damage_is_one_line_with_the_file(kind: str, tmp_path: Path) -> None:
    name, load, damages = CASES[kind]
    (tmp_path / "text.bin").write_bytes(b"abcde")
    for damage in [*damages, *ANY]:
        (tmp_path / name).write_bytes(damage)
        with pytest.raises(DataworthError) as caught:
            load(tmp_path)
        message = str(caught.value)
        assert str(tmp_path) in message and "\n" not in message and "again" in message


def test_a_bank_that_is_whole_is_read(tmp_path: Path) -> None:
    (tmp_path / "text.bin").write_bytes(b"abcde")
    (tmp_path / "index.npz").write_bytes(index())
    assert TextBank(tmp_path).documents(UID[1:3]).texts() == ["b", "c"]


def test_documents_of_another_choice_are_refused(tmp_path: Path) -> None:
    one = save_documents(tmp_path, UID, np.ones(5, np.int64))
    other = save_documents(tmp_path, UID, np.full(5, 2))
    (tmp_path / f"{one}.npz").write_bytes((tmp_path / f"{other}.npz").read_bytes())
    with pytest.raises(DataworthError, match=rf"{one}\.npz: cannot be read .*run the same command"):
        load_documents(tmp_path, one)
    with pytest.raises(DataworthError, match="run the same command again"):
        load_documents(tmp_path, "../../secret")


@pytest.mark.parametrize("read", [read_array, read_arrays])
def test_pickles_are_never_loaded(read: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for data in (npy(np.array([{}], object)), npz(a=np.array([{}], object)), ANY[1]):
        path.write_bytes(data)
        with pytest.raises(DataworthError, match=r"a\.npy: cannot be read .*; delete it"):
            read(path)
