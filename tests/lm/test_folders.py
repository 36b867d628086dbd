"""Folders of models that are not whole: each is refused in one line, or read as it was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import dataworth
from dataworth.errors import ConfigError
from dataworth.lm.model import load_model
from dataworth.lm.tokenizer import edges, load_tokenizer, save_tokenizer, train_tokenizer

TEXTS = ["Ben has 4 marbles and buys 5 more.", "Stir the soup.", "We walked to the canal."]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied Llama of transformers with its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("whole")
    tokenizer = train_tokenizer(TEXTS * 3, 300)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refused(folder: Path, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        dataworth.attribute(folder, TEXTS, ["Ben"], solver="cosine")
    assert "\n" not in str(caught.value)


def config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_whole_model_is_read(folder: Path) -> None:
    assert load_model(folder).vocabulary == 320  # tied: lm_head.weight is not in the file
    assert dataworth.attribute(folder, TEXTS, ["Ben"], solver="cosine").facts["documents"] == 3


def test_without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    refused(folder, "has no tokenizer; copy")


def test_empty_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(folder / "tokenizer.json"))
    refused(folder, "turns text into nothing")


def test_tokenizer_of_a_larger_model(folder: Path) -> None:
    save_tokenizer(train_tokenizer([f"word{i} other{i}" for i in range(500)], 600), folder)
    refused(folder, "tokenizer is of another model")


@pytest.mark.parametrize(
    "how",
    [{"quant_method": "gptq", "bits": 4}, {"quant_method": "awq"}, {"load_in_4bit": True}],
)
def test_quantised(folder: Path, how: dict[str, object]) -> None:
    config(folder, quantization_config=how)
    refused(folder, "is quantised")


def test_code_in_the_folder_is_not_run(folder: Path) -> None:
    config(folder, model_type="own", auto_map={"AutoModelForCausalLM": "modeling.Own"})
    (folder / "modeling.py").write_text("raise SystemExit('ran')")
    refused(folder, "auto_map")


@pytest.mark.parametrize("kind", ["missing", "pointer", "cut", "lost", "mismatched", "bin"])
def test_weights(folder: Path, kind: str) -> None:
    file = folder / "model.safetensors"
    words = kind
    if kind == "missing":
        file.unlink()
        words = "has no weights"
    elif kind == "pointer":
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        words = "Git-LFS"
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[:-10])
        words = "cut off"
    elif kind == "lost":
        tensors = load_file(file)
        del tensors["model.layers.0.mlp.up_proj.weight"]
        save_file(tensors, file, metadata={"format": "pt"})
        words = "up_proj.weight"
    elif kind == "mismatched":
        config(folder, intermediate_size=48)
        words = "model"
    else:
        whole = folder / "pytorch_model.bin"
        torch.save(load_file(file), whole)
        file.unlink()
        whole.write_bytes(whole.read_bytes()[:-400])
        words = "cut off"
    refused(folder, words)


def test_missing_shard(folder: Path) -> None:
    file = folder / "model.safetensors"
    shard = folder / "model-00001-of-00002.safetensors"
    names = dict.fromkeys(load_file(file), shard.name)
    names["model.norm.weight"] = "model-00002-of-00002.safetensors"
    file.rename(shard)
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "model-00002-of-00002.safetensors: is missing")


def adapter(base: Path, folder: Path) -> Path:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    inner = AutoModelForCausalLM.from_pretrained(base)
    made = peft.get_peft_model(inner, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    made.save_pretrained(folder)
    return folder


def test_adapter_takes_the_tokenizer_of_its_base(folder: Path, tmp_path: Path) -> None:
    made = adapter(folder, tmp_path / "adapter")
    assert load_tokenizer(made).to_str() == load_tokenizer(folder).to_str()
    dataworth.attribute(made, TEXTS, ["Ben"], solver="cosine")


def test_adapter_of_a_model_that_is_elsewhere(folder: Path, tmp_path: Path) -> None:
    made = adapter(folder, tmp_path / "adapter")
    shutil.rmtree(folder)
    refused(made, "is an adapter")


def test_end_token_is_the_one_that_the_model_names(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text().replace("<|endoftext|>", "<over and out>")
    (folder / "tokenizer.json").write_text(text)
    tokenizer = load_tokenizer(folder)
    (folder / "tokenizer_config.json").unlink()
    assert edges(tokenizer, folder) == (0, 0)  # by config.json
    config(folder, eos_token_id=None)
    (folder / "generation_config.json").write_text("{}")
    named = {"eos_token": {"content": "<over and out>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    assert edges(tokenizer, folder) == (0, 0)


def test_start_token_stands_first_where_the_tokenizer_adds_it(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens(["<start>"])
    save_tokenizer(tokenizer, folder)
    start = tokenizer.token_to_id("<start>")
    for adds, expected in ((True, (start, 0)), (False, (0, 0))):
        facts = {"eos_token": "<|endoftext|>", "bos_token": "<start>", "add_bos_token": adds}
        (folder / "tokenizer_config.json").write_text(json.dumps(facts))
        assert edges(load_tokenizer(folder), folder) == expected


@pytest.mark.parametrize("kind", ["safetensors", "whole"])
def test_adapter_without_some_of_its_weights(folder: Path, tmp_path: Path, kind: str) -> None:
    made = adapter(folder, tmp_path / "adapter")
    path = made / "adapter_model.safetensors"
    weights = load_file(path)
    if kind != "whole":
        del weights[next(name for name in weights if "lora_B" in name)]
    save_file(weights, path, metadata={"format": "pt"})
    if kind == "whole":
        assert load_model(made).context == 32
    else:
        refused(made, r"lacks 1 of the 2 weights of the adapter .*lora_B.*base_model_name_or_path")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", "", "config.json: is no JSON .*; copy it again"),
        ("tokenizer_config.json", "{", "tokenizer_config.json: is no JSON"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1", "json: is a Git-LFS"),
        ("model.safetensors.index.json", "{}", "index.json: names no files of weights"),
    ],
)
def test_damaged_files_beside_the_weights(
    folder: Path, file: str, content: str, words: str
) -> None:
    if "index" in file:
        (folder / "model.safetensors").unlink()
    (folder / file).write_text(content)
    refused(folder, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": "many"}, "no causal language model can be loaded"),
        ({"hidden_size": 24}, "weights are of other shapes"),
        ({"num_hidden_layers": 0}, "are no part of the model"),
        ({"quantization": {"bits": 4}}, r"quantised \(MLX\)"),
        ({"text_config": {"quantization_config": {"quant_method": "awq"}}}, r"quantised \(awq\)"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "no causal language model but"),
        ({"is_encoder_decoder": True}, "no causal language model but"),
    ],
)
def test_configurations_of_other_models(
    folder: Path, changes: dict[str, object], words: str
) -> None:
    config(folder, **changes)
    refused(folder, words)


def test_weights_of_a_quantised_model(folder: Path) -> None:
    file = folder / "model.safetensors"
    stored = {name: value.to(torch.int8) for name, value in load_file(file).items()}
    save_file(stored, file, metadata={"format": "pt"})
    refused(folder, r"model.safetensors: the model is quantised \(I8\)")


def test_a_model_that_sees_later_tokens(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    for name in ("model.safetensors", "generation_config.json"):
        (folder / name).unlink()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(vocab_size=320, intermediate_size=32, **shape)).save_pretrained(
        folder
    )
    refused(folder, "no causal language model but BertForMaskedLM")
    config(folder, architectures=None)
    refused(folder, "predicts depends on later tokens")


@pytest.mark.parametrize(
    ("name", "words"),
    [("model-00001-of-00002.safetensors", "but not model.safetensors.index.json"),
     ("model.gguf", "has no weights .*; model.gguf is of another form")],
)  # fmt: skip
def test_weights_under_other_names(folder: Path, name: str, words: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    refused(folder, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"task_type": "SEQ_CLS"}, "adapter for another task"),
     ({"base_model_name_or_path": "ITSELF"}, "names the adapter itself")],
)  # fmt: skip
def test_adapters_of_other_kinds(
    folder: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    made = adapter(folder, tmp_path / "adapter")
    path = made / "adapter_config.json"
    changes = {key: str(made) if value == "ITSELF" else value for key, value in changes.items()}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(made, words)


def test_end_token_in_the_map_of_special_tokens(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text().replace("<|endoftext|>", "<over and out>")
    (folder / "tokenizer.json").write_text(text)
    for name in ("tokenizer_config.json", "generation_config.json"):
        (folder / name).unlink()
    config(folder, eos_token_id=None)
    note = "names no token that ends a document"
    made = dataworth.attribute(folder, TEXTS, TEXTS[:1], solver="cosine")
    assert any(note in line for line in made.facts["notes"])
    named = {"eos_token": {"content": "<over and out>"}}
    (folder / "special_tokens_map.json").write_text(json.dumps(named))
    assert edges(load_tokenizer(folder), folder) == (0, 0)
    made = dataworth.attribute(folder, TEXTS, TEXTS[:1], solver="cosine")
    assert not any(note in line for line in made.facts["notes"])
