"""Small language models: tokenizers, packed sequences, a causal model, training, evaluation."""

from __future__ import annotations

from importlib.util import find_spec

from dataworth.errors import MissingExtra

if find_spec("torch") is None or find_spec("safetensors") is None:
    raise MissingExtra("a language model", "lm")
