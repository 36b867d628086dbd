"""What a comparison trains on begins and ends as the model that goes on was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dataworth
from dataworth.comparing import bench
from flow.comparing import lines_of, plan_of, world


@pytest.mark.parametrize("adds", [True, False])
def test_documents_begin_with_the_start_token_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adds: bool
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from dataworth.lm.tokenizer import save_tokenizer, train_tokenizer

    place, model = world(tmp_path), tmp_path / "model"
    tokenizer = train_tokenizer([line.decode() for line in lines_of("red", 30, 0)], 280)
    tokenizer.add_special_tokens(["<start>", "</start>"])
    start, end = (tokenizer.token_to_id(name) for name in ("<start>", "</start>"))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(with_added_tokens=True),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
    )
    LlamaForCausalLM(config).save_pretrained(model)
    save_tokenizer(tokenizer, model)
    facts = {"bos_token": "<start>", "eos_token": "</start>", "add_bos_token": adds}
    (model / "tokenizer_config.json").write_text(json.dumps(facts))
    streams: list[Any] = []
    before = bench.Bench.stream

    def note(self: bench.Bench, *given: Any) -> Any:
        streams.append(before(self, *given)[0])
        return before(self, *given)

    monkeypatch.setattr(bench.Bench, "stream", note)
    size = {"model": str(model), "training": {"learning_rate": 0.02}}
    plan = plan_of(
        place, sizes=[size], seeds=1, tokens=[300], selections={"best": {"steps": ["dsir"]}}
    )
    dataworth.compare(plan, out=tmp_path / "out", engine=dataworth.Engine(1, "threads"))
    for stream in streams:
        for row in range(stream.documents):
            ids = stream.document(row).tolist()
            assert ids[-1] == end and ids.count(end) == 1
            assert ids.count(start) == int(adds) == int(ids[0] == start)
