"""Models on disk: our own in the format of transformers' Llama, and any other causal model in.

What muP multiplies by (the read-out, the scale of attention) is folded into the saved weights, so
that transformers computes the same logits; `dataworth` in config.json holds our own shape, by
which loading undoes it.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from dataworth.engine.device import find_device
from dataworth.engine.files import atomic_folder, damaged, read_object
from dataworth.errors import ConfigError
from dataworth.lm.folders import check_adapter, check_model_folder, is_adapter
from dataworth.lm.llama import CausalLM, LanguageModel, ModelConfig
from dataworth.lm.memory import check_memory
from dataworth.lm.tokenizer import END, end_token, save_tokenizer

_WEIGHTS = "model.safetensors"
_REMEDY = "train the model again, or copy its folder anew"
_OWN = "dataworth"
_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.\d+\..*\.weight$")


def save_model(
    model: LanguageModel, folder: str | Path, tokenizer: Tokenizer | None = None
) -> None:
    """Write a folder that `load_model` and transformers' AutoModelForCausalLM load.

    With a tokenizer, AutoTokenizer loads it from the same folder.
    """
    with atomic_folder(Path(folder)) as temporary:
        if isinstance(model, CausalLM):
            _save_own(model, temporary, tokenizer)
        elif isinstance(model, HuggingFaceLM):
            model.inner.save_pretrained(temporary)
        else:
            raise ConfigError(f"{type(model).__name__}: not a model that can be saved")
        if tokenizer is not None:
            _save_tokenizer(tokenizer, temporary, model.context)


def load_model(source: str | Path, device: str = "cpu") -> LanguageModel:
    """Load our own model from a folder, or any causal model by folder or Hugging Face name.

    Weights are float32. Raises ConfigError if there is no such model or device, MissingExtra
    without transformers.
    """
    place = find_device(device)
    folder = Path(source)
    config = folder / "config.json"
    if config.exists() and _OWN in (facts := read_object(config, _REMEDY)):
        check_memory(folder)
        return _load_own(folder, facts[_OWN]).to(place)
    from dataworth.lm.extra import needs_lm

    with needs_lm("a Hugging Face model"):
        from transformers import AutoModelForCausalLM
    check_model_folder(folder)
    check_memory(folder)
    loader: Any = AutoModelForCausalLM  # its types leave out the loading information
    try:
        inner, info = loader.from_pretrained(
            str(source), dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # configurations of any kind make transformers fail in any way
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if "ignore_mismatched_sizes" in reason:
            reason = "the weights are of other shapes than its configuration says"
        raise ConfigError(f"{source}: no causal language model can be loaded ({reason})") from error
    if is_adapter(folder):
        check_adapter(folder, [name for name, _ in inner.named_parameters()])
    _check_loaded(source, inner, info)
    _check_causal(source, inner)
    return HuggingFaceLM(inner, str(source)).to(place)


def _check_loaded(source: str | Path, inner: nn.Module, info: dict[str, Any]) -> None:
    """Raise ConfigError if a parameter has random numbers, since the weights do not hold it.

    One that is tied to another that was loaded, and buffers, may be missing.
    """
    missing = set(info.get("missing_keys") or ())
    missing |= {one[0] for one in info.get("mismatched_keys") or ()}
    named = list(inner.named_parameters(remove_duplicate=False))
    known = {id(value) for name, value in named if name not in missing}
    lost = [name for name, value in named if name in missing and id(value) not in known]
    if lost:
        raise ConfigError(
            f"{source}: the weights do not fit config.json: {len(lost):,} of the model's "
            f"parameters are missing or of another shape ({', '.join(lost[:3])}); copy the "
            "weights and config.json of one model"
        )
    _check_all_read(source, info.get("unexpected_keys") or ())
    unset = [name for name, value in named if value.is_meta]
    if unset:
        raise ConfigError(f"{source}: {unset[0]} has no values (a meta tensor) as it is loaded")


def _check_all_read(source: str | Path, unread: Iterable[str]) -> None:
    """Raise ConfigError if layers that the weights hold are no part of the model."""
    lost = sorted(name for name in unread if _LAYER.search(name))
    if lost:
        raise ConfigError(
            f"{source}: the weights do not fit config.json: {len(lost):,} of them are no part of "
            f"the model ({', '.join(lost[:3])}); copy the weights and config.json of one model"
        )


def _check_causal(source: str | Path, inner: Any) -> None:
    """Raise ConfigError for a model whose predictions depend on the tokens after them."""
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5]]) % max(int(inner.config.vocab_size), 1)
    with torch.no_grad():
        first, second = inner.eval()(input_ids=ids).logits[:, :3].float()
    if (first - second).abs().max() > 1e-4 * first.abs().max():
        raise ConfigError(
            f"{source}: is no causal language model: what {type(inner).__name__} predicts depends "
            "on later tokens; give one that predicts each token from those before it"
        )


class HuggingFaceLM(nn.Module):
    """A transformers model behind `LanguageModel`. It stays in evaluation mode: no dropout.

    `source`: the folder that it is of, which says how its documents begin and end.
    """

    def __init__(self, inner: Any, source: str | None = None) -> None:
        super().__init__()
        self.source = source
        self.inner = inner.eval()
        self.config = inner.config
        names = inspect.signature(inner.forward).parameters
        self._placed = "position_ids" in names

    @property
    def vocabulary(self) -> int:
        """Rows of the input embedding."""
        return int(self.embeddings().shape[0])

    @property
    def context(self) -> int:
        """Positions that the model knows, or 2,048 where it does not say."""
        return int(getattr(self.config, "max_position_embeddings", None) or 2048)

    def train(self, mode: bool = True) -> HuggingFaceLM:
        """Stay in evaluation mode, so that training is the same each time."""
        return self

    def forward(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return logits [batch, length, vocabulary]; see `LanguageModel`."""
        out: Tensor = self.inner(input_ids=ids, use_cache=False, **self._masks(segments)).logits
        return out.float()

    def hidden(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return the last hidden states [batch, length, width]."""
        body = self.inner.base_model  # without the read-out, the largest product of small models
        out: Tensor = body(
            input_ids=ids, use_cache=False, **self._masks(segments)
        ).last_hidden_state
        return out.float()

    def embeddings(self) -> Tensor:
        """Return the input embedding of each token [vocabulary, width]."""
        out: Tensor = self.inner.get_input_embeddings().weight
        return out

    def as_module(self) -> nn.Module:
        """Return itself."""
        return self

    def _masks(self, segments: Tensor | None) -> dict[str, Tensor]:
        """Return the mask and positions that keep segments apart."""
        if segments is None:
            return {}
        length = segments.shape[1]
        places = torch.arange(length, device=segments.device)
        same = segments[:, None, :, None] == segments[:, None, None, :]
        mask = same & (places[:, None] >= places)
        added = torch.zeros(mask.shape, device=segments.device)
        masks = {"attention_mask": added.masked_fill(~mask, torch.finfo(torch.float32).min)}
        if self._placed:
            starts = (same[:, 0].int().argmax(-1)).to(places.dtype)
            masks["position_ids"] = places - starts
        return masks


def _save_own(model: CausalLM, folder: Path, tokenizer: Tokenizer | None) -> None:
    config = model.config
    end = end_token(tokenizer) if tokenizer is not None else 0
    facts: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "head_dim": config.head_size,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": None,
        "torch_dtype": "float32",
        _OWN: asdict(config),
    }
    (folder / "config.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in _as_llama(model)}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})


def _as_llama(model: CausalLM) -> Iterator[tuple[str, Tensor]]:
    """Yield our parameters under transformers' names, muP folded in."""
    config, state = model.config, model.state_dict()
    query = config.attention_scale * math.sqrt(config.head_size) if config.mup_base else 1.0
    yield "model.embed_tokens.weight", state["embed.weight"]
    norm = state["norm.weight"]
    yield "model.norm.weight", norm / config.multiplier if config.mup_base else norm
    if not config.tied:
        yield "lm_head.weight", state["read_out.weight"]
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        q, k, v = state[ours + "attention.qkv.weight"].chunk(3)
        gate, up = state[ours + "feed.gate_up.weight"].chunk(2)
        yield theirs + "input_layernorm.weight", state[ours + "attention_norm.weight"]
        yield theirs + "self_attn.q_proj.weight", q * query if config.mup_base else q
        yield theirs + "self_attn.k_proj.weight", k
        yield theirs + "self_attn.v_proj.weight", v
        yield theirs + "self_attn.o_proj.weight", state[ours + "attention.out.weight"]
        yield theirs + "post_attention_layernorm.weight", state[ours + "feed_norm.weight"]
        yield theirs + "mlp.gate_proj.weight", gate
        yield theirs + "mlp.up_proj.weight", up
        yield theirs + "mlp.down_proj.weight", state[ours + "feed.down.weight"]


def _load_own(folder: Path, shape: dict[str, Any]) -> CausalLM:
    """Undo `_save_own`. Raises RunError if the files do not fit together."""
    with damaged(folder, _REMEDY):
        config = ModelConfig(**shape)
        saved = load_file(folder / _WEIGHTS)
        _check_size(config, saved)
        model = CausalLM(config)
        model.load_state_dict(dict(_from_llama(config, saved)))
        return model


def _check_size(config: ModelConfig, saved: dict[str, Tensor]) -> None:
    """Raise ValueError for a shape that the weights do not have, before memory is taken for it."""
    have = tuple(saved["model.embed_tokens.weight"].shape)
    layers = sum(name.endswith("mlp.down_proj.weight") for name in saved)
    if have != (config.vocabulary, config.hidden) or layers != config.layers:
        raise ValueError(f"config.json tells of other sizes than the weights {have}")


def _from_llama(config: ModelConfig, saved: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    query = config.attention_scale * math.sqrt(config.head_size) if config.mup_base else 1.0
    yield "embed.weight", saved["model.embed_tokens.weight"]
    norm = saved["model.norm.weight"]
    yield "norm.weight", norm * config.multiplier if config.mup_base else norm
    if not config.tied:
        yield "read_out.weight", saved["lm_head.weight"]
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        q, k, v = (saved[f"{theirs}self_attn.{name}_proj.weight"] for name in "qkv")
        q = q / query if config.mup_base else q
        gate, up = (saved[f"{theirs}mlp.{name}_proj.weight"] for name in ("gate", "up"))
        yield ours + "attention_norm.weight", saved[theirs + "input_layernorm.weight"]
        yield ours + "attention.qkv.weight", torch.cat((q, k, v))
        yield ours + "attention.out.weight", saved[theirs + "self_attn.o_proj.weight"]
        yield ours + "feed_norm.weight", saved[theirs + "post_attention_layernorm.weight"]
        yield ours + "feed.gate_up.weight", torch.cat((gate, up))
        yield ours + "feed.down.weight", saved[theirs + "mlp.down_proj.weight"]


def _save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    end = tokenizer.id_to_token(end_token(tokenizer)) or END
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    save_tokenizer(tokenizer, folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
