"""The command line as a person runs it: processes, exit codes, what they print."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "dataworth", *map(str, words)]


def run(
    *words: object, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`dataworth WORDS`, with its output."""
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        cwd=cwd,
        check=False,
    )


def start(*words: object) -> subprocess.Popen[str]:
    """The same, still running."""
    return subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def fingerprint(folder: Path) -> dict[str, str]:
    """The hashes of a run's data files by name, and of what was chosen."""
    files = sorted((folder / "data").iterdir())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    for path in (folder / "selections").glob("*/rows.parquet"):
        rows: dict[str, Any] = pq.read_table(path, columns=["uid", "count"]).to_pydict()
        found[path.parent.name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
