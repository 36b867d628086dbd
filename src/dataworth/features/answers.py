"""Answers of language models: read, and kept as lines that are only added to.

A run that is killed loses none.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.files import writing_to


@dataclass(frozen=True)
class Answer:
    """An answer. `text`: empty for a refusal. `first`: log-probabilities at the first token."""

    text: str
    first: Mapping[str, float] = field(default_factory=dict)

    def chances(self, *labels: str) -> NDArray[np.float64] | None:
        """Return the probabilities of some labels among themselves, [labels], for the first token.

        Case and spaces around a label do not count. Without log-probabilities, or where none of
        the labels is among them, the label that the text begins with has all of it. None where
        there is no such label.
        """
        mass = np.zeros(len(labels))
        for token, nats in self.first.items():
            for place, label in enumerate(labels):
                if token.strip().lower() == label.lower():
                    mass[place] += math.exp(min(nats, 0.0))
        if not mass.any():
            word = re.match(r"\W*(\w+)", self.text)
            said = word.group(1).lower() if word else ""
            mass = np.array([float(said == label.lower()) for label in labels])
        return mass / mass.sum() if mass.any() else None


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


def read_completion(response: Any) -> dict[str, Any] | None:
    """Return what is kept of an answer; None for one that is not of the protocol."""
    try:
        body = response.json()
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            return None
        content = (choice.get("logprobs") or {}).get("content") or [{}]
        first = {
            str(top["token"]): float(top["logprob"])
            for top in reversed(content[0].get("top_logprobs") or [])  # the likeliest of a name
        }
        usage = body.get("usage") or {}
        tokens = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if choice["message"].get("refusal"):
        text, first = "", {}
    return {"text": text, "first": first, "tokens": tokens}


def answer_of(record: Mapping[str, Any] | None) -> Answer | None:
    """Return the answer of a record; None for none, or a damaged one."""
    try:
        if record is None:
            return None
        first = {str(token): float(nats) for token, nats in record["first"].items()}
        return Answer(str(record["text"]), first)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
