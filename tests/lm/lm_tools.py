"""Small models, tokenizers and texts that the tests of lm/ share."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from dataworth.lm.model import CausalLM, ModelConfig, build, save_model
from dataworth.lm.tokenizer import train_tokenizer

WORDS = [
    *("the", "model", "reads", "a", "document", "and", "learns", "what", "12", "of", "its"),
    *("tokens", "follow,", "größer", "Straße", "東京", "\n"),
]
SHAPE = ModelConfig(32, 2, 4, 48, vocabulary=300, context=32)


def some_texts(count: int, words: int = 40, seed: int = 0) -> list[str]:
    """Texts of 1 to `words` words."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, words))) for _ in range(count)]


@cache
def small_tokenizer() -> Tokenizer:
    """300 tokens."""
    return train_tokenizer(some_texts(50), 300)


def sharp(config: ModelConfig, seed: int = 0) -> CausalLM:
    """A model whose logits differ widely between tokens, as a trained one's do."""
    model = build(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter += 0.2 * noise
            elif name.startswith(("embed", "read_out")):
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise / parameter.shape[1] ** 0.5)
    return model


def as_transformers(model: Any, folder: Path) -> Any:
    """The same model as transformers loads it."""
    from transformers import AutoModelForCausalLM

    save_model(model, folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
