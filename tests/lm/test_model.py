"""The model against transformers' Llama, and models on disk."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dataworth.errors import ConfigError, DataworthError
from dataworth.lm.model import (
    SIZES,
    CausalLM,
    HuggingFaceLM,
    LanguageModel,
    ModelConfig,
    build,
    load_model,
    save_model,
)
from lm.lm_tools import SHAPE, as_transformers, sharp, small_tokenizer


def some_ids(rows: int = 3, length: int = 20, vocabulary: int = 300) -> torch.Tensor:
    return torch.randint(1, vocabulary, (rows, length), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    "config",
    [
        SHAPE,
        replace(SHAPE, tied=False, heads=1, rope_base=500.0, norm_epsilon=1e-3),
        replace(SHAPE, mup_base=16),
        replace(SHAPE, mup_base=12, tied=False),
        replace(SHAPE, layers=0),
    ],
    ids=["tied", "untied", "mup", "mup untied", "no layers"],
)
def test_logits_are_those_of_transformers(config: ModelConfig, tmp_path: Path) -> None:
    model = sharp(config)
    ids = some_ids()
    with torch.no_grad():
        ours = model(ids)
        theirs = as_transformers(model, tmp_path / "model")(input_ids=ids).logits
    assert ours.std() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    model, ids = sharp(SHAPE), some_ids()
    theirs = as_transformers(model, tmp_path / "model")
    for one in (model(ids), theirs(input_ids=ids).logits):
        loss = torch.nn.functional.cross_entropy(one[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
    grads = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    attention = "model.layers.1.self_attn."
    qkv = torch.cat([grads[f"{attention}{name}_proj.weight"] for name in "qkv"])
    torch.testing.assert_close(model.blocks[1].attention.qkv.weight.grad, qkv, rtol=1e-3, atol=1e-6)
    embed = grads["model.embed_tokens.weight"]
    torch.testing.assert_close(model.embed.weight.grad, embed, rtol=1e-3, atol=1e-6)


def test_the_count_of_parameters() -> None:
    for config in (SHAPE, replace(SHAPE, tied=False), SIZES["small"].model):
        found = sum(parameter.numel() for parameter in CausalLM(config).parameters())
        assert found == config.parameters


def test_presets_are_as_large_as_they_say() -> None:
    assert 0.2e6 < SIZES["tiny"].model.parameters < 0.35e6
    assert 1.3e6 <= SIZES["small"].model.parameters <= 2e6
    assert SIZES["medium"].model.parameters > 4e6


def test_a_seed_is_a_model() -> None:
    first, again, other = build(SHAPE, 1), build(SHAPE, 1), build(SHAPE, 2)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.embed.weight, other.embed.weight)


def test_a_new_model_knows_nothing() -> None:
    """At first its stream is the embedding: all tokens but the last one seen are as likely."""
    logits = build(SHAPE)(torch.tensor([[1, 2, 3]]))[0]
    assert logits.argmax(-1).tolist() == [1, 2, 3]
    logits[torch.arange(3), [1, 2, 3]] = -torch.inf
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    assert (entropy > math.log(299) - 0.3).all()
    untied = build(replace(SHAPE, tied=False, mup_base=32))(torch.tensor([[1, 2, 3]]))
    assert not untied.any()


def test_segments_do_not_see_each_other() -> None:
    model, ids = sharp(SHAPE), some_ids(1, 20)
    segments = torch.tensor([[0] * 7 + [1] * 12 + [2]], dtype=torch.int16)
    with torch.no_grad():
        packed = model(ids, segments)[0]
        apart = [model(ids[:, a:b])[0] for a, b in ((0, 7), (7, 19), (19, 20))]
    torch.testing.assert_close(packed, torch.cat(apart), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(packed, model(ids)[0], atol=1e-2)


def test_a_token_does_not_see_those_after_it() -> None:
    model, ids = sharp(SHAPE), some_ids(1, 20)
    other = ids.clone()
    other[0, 12:] = 7
    torch.testing.assert_close(model(ids)[:, :12], model(other)[:, :12])


@pytest.mark.parametrize("mup_base", [None, 16])
def test_it_is_saved_and_loaded(tmp_path: Path, mup_base: int | None) -> None:
    model = sharp(replace(SHAPE, mup_base=mup_base))
    save_model(model, tmp_path / "model", small_tokenizer())
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, CausalLM)
    assert loaded.config == model.config
    for (name, ours), theirs in zip(model.named_parameters(), loaded.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0, msg=name)
        assert mup_base or torch.equal(ours, theirs)


def test_transformers_loads_the_tokenizer_and_writes_text(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    save_model(sharp(SHAPE), tmp_path / "model", small_tokenizer())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    text = "the model reads größer 東京"
    assert tokenizer(text)["input_ids"] == small_tokenizer().encode(text).ids
    assert (tokenizer.eos_token_id, tokenizer.decode(tokenizer(text)["input_ids"])) == (0, text)


def hugging_face(kind: str) -> Any:
    import transformers as hf

    sizes = {"vocab_size": 300, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(0)
    if kind == "gpt2":
        return hf.GPT2LMHeadModel(
            hf.GPT2Config(**sizes, n_embd=32, n_layer=2, n_head=2, n_positions=64)
        )
    return hf.Qwen2ForCausalLM(
        hf.Qwen2Config(
            **sizes,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
        )
    )


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_any_causal_model_loads(kind: str, tmp_path: Path) -> None:
    inner = hugging_face(kind).eval()
    inner.save_pretrained(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert isinstance(model, HuggingFaceLM)
    assert (model.vocabulary, model.context) == (300, 64)
    ids = some_ids(1, 20)
    with torch.no_grad():
        torch.testing.assert_close(model(ids), inner(input_ids=ids).logits)
        segments = torch.tensor([[0] * 7 + [1] * 13], dtype=torch.int16)
        apart = torch.cat([model(ids[:, :7])[0], model(ids[:, 7:])[0]])
        torch.testing.assert_close(model(ids, segments)[0], apart, rtol=1e-4, atol=1e-5)
        read_out = inner.get_output_embeddings().weight
        torch.testing.assert_close(model.hidden(ids) @ read_out.t(), model(ids))
    save_model(model, tmp_path / "again", small_tokenizer())
    torch.testing.assert_close(load_model(tmp_path / "again")(ids), model(ids))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no causal language model"):
        load_model(tmp_path)
    save_model(build(SHAPE), tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "config.json").read_text())
    facts["dataworth"]["layers"] = 3
    (tmp_path / "model" / "config.json").write_text(json.dumps(facts))
    with pytest.raises(DataworthError, match="cannot be read"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("wrong", [{"hidden": 30}, {"heads": 0}, {"mup_base": 0}, {"layers": -1}])
def test_shapes_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        replace(SHAPE, **wrong)


def test_our_model_has_the_interface() -> None:
    model: LanguageModel = build(SHAPE)
    assert model.embeddings().shape == (300, 32)
    assert model.hidden(some_ids()).shape == (3, 20, 32)
    assert model.as_module() is model
