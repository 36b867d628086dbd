"""Answers of language models, kept as lines that are only added to: a killed run loses none."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from dataworth.corpus.files import writing_to


def question_key(question: Any) -> str:
    """Return 32 hexadecimal digits that name a question, of its canonical JSON."""
    text = json.dumps(question, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Answers:
    """Answers by the key of their question; several threads may add some.

    Parameters
    ----------
    path : the file of JSON lines, read now; None keeps the answers in memory alone. A line that is
        cut, as a kill or a full disk leaves it, counts as none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self._lock = path, threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        self._cut = b""
        if path is None or not path.is_file():
            return
        with path.open("rb") as file:
            for line in file:
                self._cut = b"" if line.endswith(b"\n") else b"\n"
                try:
                    answer = json.loads(line)
                    self._known[str(answer.pop("key"))] = answer
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the answer to a question, None where it was not asked."""
        return self._known.get(key)

    def keep(self, key: str, answer: dict[str, Any]) -> None:
        """Add an answer; it is on the disk when this returns. DataworthError for a full disk."""
        line = json.dumps({"key": key, **answer}).encode() + b"\n"
        with self._lock:
            if self.path is not None:
                with writing_to(self.path):
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    with self.path.open("ab") as file:
                        file.write(self._cut + line)
                        file.flush()
                        os.fsync(file.fileno())
                self._cut = b""
            self._known[key] = answer
