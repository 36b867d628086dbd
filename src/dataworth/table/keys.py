"""Keys: names of what a run keeps, so that the same key means the same content.

A key is 16 hexadecimal digits of a record's canonical JSON. The whole record lies beside what it
names and is compared when that is opened.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.files import read_arrays

_BLOCK = 1 << 22


def canonical(record: Any) -> str:
    """Return JSON with sorted names and no spaces. Raises TypeError for what JSON cannot hold."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def key_of(record: Any) -> str:
    """Return the key of a record, which is of JSON's types."""
    return hashlib.blake2b(canonical(record).encode(), digest_size=8).hexdigest()


def uids_digest(uid: NDArray[np.uint64]) -> str:
    """Return 16 hexadecimal digits of uids, uint64 [n], in their order."""
    return hashlib.blake2b(np.ascontiguousarray(uid).tobytes(), digest_size=8).hexdigest()


def file_digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a file's bytes."""
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """Return 16 hexadecimal digits of what a folder holds: names of files and their content.

    Of `.npz` files the arrays count, and not how they are packed; hidden files do not count.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        if path.suffix != ".npz":
            digest.update(file_digest(path).encode())
            continue
        for name, array in sorted(read_arrays(path).items()):
            digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
