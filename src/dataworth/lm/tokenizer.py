"""Byte-level BPE tokenizers: trained on any texts, every text comes back as it was.

`<|endoftext|>` has id 0. It ends each document of a token stream and stands before the first one,
so that a model predicts the first token of a document from it. In a text it is no special token:
a document that holds these characters is encoded as the characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dataworth.engine.files import atomic
from dataworth.errors import ConfigError

END = "<|endoftext|>"
FILE = "tokenizer.json"
_ENDS = (END, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")
_SMALLEST = 257  # all bytes and the end


def train_tokenizer(texts: Iterable[str], vocabulary: int = 4096) -> Tokenizer:
    """A byte-level BPE tokenizer with at most `vocabulary` tokens, learned from `texts`.

    The same texts, in any order, give the same tokenizer. All 256 bytes are in the vocabulary, so
    any text can be encoded; texts that hold too few different words give fewer tokens.
    Raises ConfigError for a vocabulary below 257.
    """
    if vocabulary < _SMALLEST:
        raise ConfigError(f"a vocabulary has at least {_SMALLEST} tokens, not {vocabulary}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _plain(tokenizer)


def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write `tokenizer.json`, or the file that `path` names if it ends in .json."""
    with atomic(_file(Path(path))) as temporary:
        tokenizer.save(str(temporary))


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a file, in a folder's `tokenizer.json`, or of a Hugging Face model's name.

    Truncation and padding are switched off: all of a text counts. Raises ConfigError if there is
    none, and MissingExtra if a name is given and transformers is not installed.
    """
    place = _file(Path(path))
    try:
        if place.exists():
            return _plain(Tokenizer.from_file(str(place)))
        from dataworth.lm.extra import needs_lm

        with needs_lm("a tokenizer of a Hugging Face model"):
            from transformers import AutoTokenizer
        return _plain(AutoTokenizer.from_pretrained(str(path)).backend_tokenizer)
    except Exception as error:  # the library raises no narrower class
        if type(error).__module__.startswith("dataworth"):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{path}: has no tokenizer that can be loaded ({reason})") from error


def end_token(tokenizer: Tokenizer) -> int:
    """The id of the token that ends a document.

    Raises ConfigError if the tokenizer knows none of the usual ones.
    """
    for name in _ENDS:
        number = tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    raise ConfigError(
        f"the tokenizer has no token that ends a document: none of {', '.join(_ENDS)}"
    )


def _file(path: Path) -> Path:
    return path if path.suffix == ".json" else path / FILE


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Without truncation and padding, and with special tokens of a text read as its characters."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
