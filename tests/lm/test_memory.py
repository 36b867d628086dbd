"""A model that does not fit into memory is refused before its weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dataworth
from dataworth.errors import ConfigError
from dataworth.lm.memory import available, parameters
from dataworth.lm.model import load_model
from dataworth.lm.tokenizer import save_tokenizer, train_tokenizer
from methods.modelled import POOL, model_folder


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config)


def test_numbers_are_counted_in_files_of_any_form(tmp_path: Path) -> None:
    model = llama()
    count = sum(parameter.numel() for parameter in model.parameters())
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    for name in ("whole", "shards", "half"):
        assert parameters(tmp_path / name) == count
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    place = tmp_path / "old"
    place.mkdir()
    (place / "config.json").write_bytes((tmp_path / "half" / "config.json").read_bytes())
    torch.save(model.state_dict(), place / "pytorch_model.bin")
    assert count <= parameters(place) < 3 * count  # a pickle has some bytes more
    import peft

    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2)
    adapted = peft.get_peft_model(load_model(tmp_path / "whole").inner, config)  # type: ignore[attr-defined]
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "whole")
    adapted.save_pretrained(tmp_path / "adapter")
    added = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert parameters(tmp_path / "adapter") == count + added


@pytest.mark.parametrize("own", [True, False])
def test_what_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, own: bool
) -> None:
    folder = Path(model_folder(5))
    if not own:
        folder = tmp_path / "model"
        llama().save_pretrained(folder)
        save_tokenizer(train_tokenizer(POOL, 300), folder)
    count = parameters(folder)
    monkeypatch.setattr("dataworth.lm.memory.available", lambda: 4 * count - 1)
    with pytest.raises(ConfigError, match=r"GB in memory \(float32\).* smaller model") as caught:
        dataworth.attribute(folder, POOL, ["one and two"], solver="identity")
    assert "\n" not in str(caught.value) and f"{count:,} parameters" in str(caught.value)
    monkeypatch.setattr("dataworth.lm.memory.available", lambda: 7 * count)
    load_model(folder)
    assert "may not fit" in caplog.text
    caplog.clear()
    for room in (8 * count, None):
        monkeypatch.setattr("dataworth.lm.memory.available", lambda room=room: room)
        load_model(folder)
    assert not caplog.records
    assert (available() or 1) > 0
