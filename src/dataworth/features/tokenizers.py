"""Hugging Face tokenizers from a file."""

from __future__ import annotations

from functools import cache
from typing import Any

from dataworth.errors import ConfigError


@cache
def load_tokenizer(path: str) -> Any:
    """The tokenizer in a `tokenizer.json`. Raises ConfigError if it is none.

    Truncation and padding, which many files ask for, are switched off: all of a text counts.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # the library raises no narrower class
        raise ConfigError(f"{path}: is not a Hugging Face tokenizer.json ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
