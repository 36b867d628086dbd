"""The command line as a person runs it: processes, exit codes, what they print."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

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
    """The hashes of a folder's data files by name and, of a run, of what it chose."""
    files = sorted((folder / "data").iterdir())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    if (folder / "run.json").is_file():
        own = json.loads((folder / "run.json").read_text())["selection"]
        rows = pq.read_table(folder / "selections" / own / "rows.parquet", columns=["uid", "count"])
        found["rows"] = hashlib.sha256(repr(rows.to_pydict()).encode()).hexdigest()
    return found


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
