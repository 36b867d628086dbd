"""A small world for comparisons: two vocabularies, and a model that is trained in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flow.pools import Line, document, write

NAMES = ("red", "blue")
MICRO: dict[str, Any] = {
    "name": "micro",
    "hidden": 16,
    "layers": 1,
    "heads": 1,
    "intermediate": 16,
    "context": 32,
    "training": {"learning_rate": 0.02, "batch_sequences": 4, "compile": False},
}


def words_of(name: str) -> list[str]:
    """The words of a domain."""
    return [f"{name}{chr(97 + i)}{chr(97 + i * 7 % 26)}" for i in range(20)]


def sentence(name: str, random: np.random.Generator, count: int = 40) -> str:
    """Each word has three that may follow it, so that there is something to learn."""
    words = words_of(name)
    at = int(random.integers(len(words)))
    found = []
    for _ in range(count):
        found.append(words[at])
        at = (at * 3 + int(random.integers(3))) % len(words)
    return " ".join(found)


def lines_of(name: str, count: int, seed: int) -> list[Line]:
    random = np.random.default_rng([seed, len(name)])
    return [
        document(sentence(name, random), id=f"{name}-{seed}-{i}", domain=name) for i in range(count)
    ]


def world(folder: Path) -> Path:
    """A pool of half red and half blue documents, and examples and validation of both."""
    pool = [line for name in NAMES for line in lines_of(name, 120, 0)]
    write(folder / "pool.jsonl", pool)
    for name in NAMES:
        write(folder / f"{name}.jsonl", lines_of(name, 40, 1))
        write(folder / f"{name}.val.jsonl", lines_of(name, 20, 2))
    return folder


def plan_of(folder: Path, **changes: Any) -> dict[str, Any]:
    """A plan on that world: the baseline, a method and its best documents, with two seeds."""
    plan: dict[str, Any] = {
        "pool": str(folder / "pool.jsonl"),
        "id_field": "id",
        "group_by": "domain",
        "targets": {
            name: {
                "examples": str(folder / f"{name}.jsonl"),
                "validation": str(folder / f"{name}.val.jsonl"),
            }
            for name in NAMES
        },
        "right": {"domain": {name: [name] for name in NAMES}},
        "budget": "2k",
        "selections": {
            "sampled": {"steps": ["dsir"], "mechanism": "gumbel_top_k(temperature=0.5)"},
            "best": {"steps": ["dsir"], "mechanism": "top_k"},
        },
        "seeds": 2,
        "sizes": [MICRO],
        "tokens": [1500],
        "vocabulary": 300,
        "training": {"precision": "float32"},
        "validation_bytes": 4000,
        "pool_bytes": 4000,
    }
    return {**plan, **changes}
