"""The snippets of docs/gradients.md run, one after the other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dataworth.features.gradients.probe import self_check
from dataworth.lm.model import ModelConfig, build
from dataworth.lm.tokenizer import train_tokenizer

PAGE = Path(__file__).parents[3] / "docs" / "gradients.md"
TEXTS = [f"The {word} sat on mat {i}. " * (1 + i % 3) for i, word in enumerate(
    ["cat", "dog", "hen", "ox", "bee", "owl", "pig", "ram", "cow", "fox", "ant", "elk"]
)]  # fmt: skip


def test_snippets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for name, few in (("examples", 8), ("queries", 2), ("steps", 5)):  # to be quick
        monkeypatch.setitem(self_check.__kwdefaults__, name, few)
    tokenizer = train_tokenizer(TEXTS, 300)
    every = [one.ids[:32] for one in tokenizer.encode_batch(TEXTS)]
    for name, some in (("pool", TEXTS), ("asked", TEXTS[:2])):
        lines = [json.dumps({"text": text}) + "\n" for text in some]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    known: dict[str, Any] = {
        "model": build(ModelConfig(16, 1, 2, 24, vocabulary=300, context=32), 0),
        "tokenizer": tokenizer,
        "ids": every,
        "query_ids": every[:2],
        "pool": "pool.jsonl",
        "asked": "asked.jsonl",
    }
    page = PAGE.read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 6 == page.count("```python")
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), known)
    assert known["table"].shape == known["nearer"].shape == known["exact"].shape == (12, 2)
    assert known["solver"].solved.residual < 0.1
    assert len(known["asked"]) == 2 and (tmp_path / "scores.npy").is_file()
    assert -1 <= known["correlation"].value <= 1
