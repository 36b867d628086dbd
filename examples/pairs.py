"""Which captions belong to their images? Three scores of image-text pairs from vectors alone.

    python examples/pairs.py

Makes 600 pairs of vectors up: a caption's vector is its image's with noise, but for every third,
which has the caption of another image, and every seventh, which has one that fits all images a
little. With a real pool the vectors are those of a CLIP model, as columns of the pool's Parquet
files or `.npy` files beside them. Shown is, for each score, how many of the best 300 pairs are
right ones; by chance 57 % are. Takes some seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import dataworth

PAIRS, KEPT = 600, 300


def make(folder: Path) -> set[str]:
    """Write `pairs.parquet` and the target's vectors, and return the captions of right pairs."""
    draw = np.random.default_rng(0)
    image = draw.normal(size=(PAIRS, 32)).astype(np.float32)
    image[:, 0] += 3  # what all images have in common
    caption = image + draw.normal(size=image.shape).astype(np.float32)
    number = np.arange(PAIRS)
    caption[number % 3 == 1] = np.roll(caption[number % 3 == 1], 1, axis=0)
    caption[number % 7 == 3] = np.eye(32)[0]
    texts = [f"caption {i}" for i in number]
    columns = {"text": texts, "image": image.tolist(), "caption": caption.tolist()}
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    np.save(folder / "like.npy", image[:20])
    right = (number % 3 != 1) & (number % 7 != 3)
    return {text for text, good in zip(texts, right, strict=True) if good}


def main() -> None:
    """Score the pairs in three ways and print how many of the best are right."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        right = make(folder)
        pairs = str(folder / "pairs.parquet")
        steps = [
            {"dfn": {"pairs": pairs}},
            {"clip_loss": {"pairs": pairs, "temperature": 0.1}},
            {"norm_sim": {"pairs": pairs, "like": str(folder / "like.npy")}},
        ]
        scores = dataworth.score(pairs, steps=steps, id_field="text")
        rows = scores.to_arrow()
        for step in ("dfn", "clip_loss", "norm_sim"):
            best = np.argsort(-rows[f"utility:{step}:"].to_numpy())[:KEPT]
            good = sum(rows["id"][row].as_py() in right for row in best.tolist())
            print(f"{step:10s} {good / KEPT:6.1%} of the best {KEPT} are right pairs")


if __name__ == "__main__":
    main()
