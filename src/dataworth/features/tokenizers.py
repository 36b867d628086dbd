"""Hugging Face tokenizers from a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from dataworth.errors import ConfigError


def load_tokenizer(path: str) -> Any:
    """Load the tokenizer in a `tokenizer.json`. Raises ConfigError if it is none.

    Truncation and padding, which many files ask for, are switched off: all of a text counts.
    """
    try:
        state = Path(path).stat()
    except OSError as error:
        raise ConfigError(f"{path}: the tokenizer cannot be read ({error.strerror})") from error
    return _load(str(Path(path).absolute()), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _load(path: str, size: int, modified: int) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # the library raises no narrower class
        raise ConfigError(f"{path}: is not a Hugging Face tokenizer.json ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
