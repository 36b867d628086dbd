"""Word vectors of one's own, so that a text of one word has a vector that a test knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def worded(folder: Path, vectors: Any, first: int = 0) -> tuple[dict[str, Any], list[str]]:
    """Return the options of a step that embeds by these vectors, and a text for each of them."""
    rows = np.asarray(vectors, np.float32)
    texts = [f"w{number}" for number in range(first, first + len(rows))]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", rows)
    pq.write_table(pa.table({"word": texts}), folder / "words.parquet")
    return {"embedder": "words", "model": str(folder), "centre": False}, texts


def groups(sizes: list[int], spreads: list[float], width: int = 8, seed: int = 0) -> Any:
    """Unit vectors around axes, (vectors [n, width], group [n])."""
    draw = np.random.default_rng(seed)
    parts = [
        np.eye(width)[axis] + spread * draw.normal(size=(size, width)) / np.sqrt(width)
        for axis, (size, spread) in enumerate(zip(sizes, spreads, strict=True))
    ]
    vectors = np.concatenate(parts)
    return (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        np.repeat(np.arange(len(sizes)), sizes),
    )
