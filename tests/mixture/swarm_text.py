"""The folder of a swarm whose groups have text and no model, for mixtures that train themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataworth.engine.files import write_parquet
from dataworth.lm.model import ModelConfig, Size
from dataworth.lm.packing import write_stream
from dataworth.lm.tokenizer import save_tokenizer, train_tokenizer
from flow.comparing import sentence

MICRO = Size(ModelConfig(16, 2, 2, 32, vocabulary=300, context=32), 2e-2, 4)
NAMES = ("blue", "noise", "red")


def texts_of(name: str, count: int, seed: int) -> list[str]:
    """Sentences of a few words each, or, for noise, letters at random."""
    random = np.random.default_rng([seed, len(name)])
    if name != "noise":
        return [sentence(name, random) for _ in range(count)]
    letters = random.integers(97, 123, (count, 200)).astype(np.uint8)
    return [row.tobytes().decode() for row in letters]


def swarm_text(
    folder: Path, tokens: int = 6000, names: tuple[str, ...] = NAMES, **facts: Any
) -> Path:
    """Write a swarm of equal groups `names`, with a target "red" and models of the size micro."""
    texts = {name: texts_of(name, 40, 0) for name in names}
    tokenizer = train_tokenizer([text for some in texts.values() for text in some], 300)
    folder.mkdir(parents=True)
    tokens_of = folder / "tokens"
    sizes = [
        len(write_stream(some, tokenizer, tokens_of / str(number)))
        for number, some in enumerate(texts.values())
    ]
    domains = [{"name": name, "tokens": min(sizes), "used": min(sizes)} for name in texts]
    held = [(f"group:{name}", text) for name in names for text in texts_of(name, 6, 1)]
    target = [("target:red", text) for text in texts_of("red", 6, 2)]
    for file, rows in (("held_out", held), ("targets", target)):
        columns = {"name": [name for name, _ in rows], "text": [text for _, text in rows]}
        write_parquet(folder / f"{file}.parquet", pa.table(columns))
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    asked = {"field": "domain", "size": "micro", "tokens": tokens, "seed": 0}
    known = {"swarm": asked, "domains": domains, "targets": {"red": "mark"}, "budget": 10**5}
    (folder / "swarm.json").write_text(json.dumps({**known, "compiled": False, **facts}))
    return folder
