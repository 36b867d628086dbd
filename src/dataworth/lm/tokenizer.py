"""Byte-level BPE tokenizers: trained on any texts, every text comes back as it was.

`<|endoftext|>` has id 0. It ends each document of a token stream and stands before the first one,
so that a model predicts the first token of a document from it. In a text it is no special token:
a document that holds these characters is encoded as the characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dataworth.engine.files import atomic
from dataworth.errors import ConfigError
from dataworth.lm.folders import base_name, check_file, facts_of, is_adapter

END = "<|endoftext|>"
FILE = "tokenizer.json"
_FILES = (
    *("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("tekken.json", "added_tokens.json", "tokenizer.tiktoken"),
)
_PROBE = "The sum of 2 and 3 is 5."
_ENDS = (END, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")
_SMALLEST = 257  # all bytes and the end


def train_tokenizer(texts: Iterable[str], vocabulary: int = 4096) -> Tokenizer:
    """Train a byte-level BPE tokenizer of at most `vocabulary` tokens on `texts`.

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
    """Load the tokenizer of a file, a folder's `tokenizer.json`, or a Hugging Face model's name.

    Truncation and padding are switched off: all of a text counts. Raises ConfigError if there is
    none, and MissingExtra if a name is given and transformers is not installed.
    """
    place = _file(Path(path))
    if not place.exists() and is_adapter(Path(path)):
        base = base_name(Path(path))
        if base and not any((Path(path) / name).exists() for name in _FILES):
            return load_tokenizer(base)
    if Path(path).is_dir() and not any((Path(path) / name).exists() for name in (FILE, *_FILES)):
        raise ConfigError(
            f"{path}: has no tokenizer; copy the model's tokenizer files beside it ({FILE}, "
            "tokenizer_config.json)"
        )
    try:
        if place.exists():
            check_file(place)
            return _useful(_plain(Tokenizer.from_file(str(place))), path)
        from dataworth.lm.extra import needs_lm

        with needs_lm("a tokenizer of a Hugging Face model"):
            from transformers import AutoTokenizer
        found = AutoTokenizer.from_pretrained(str(path), trust_remote_code=False)
        return _useful(_plain(found.backend_tokenizer), path)
    except Exception as error:  # the library raises no narrower class
        if type(error).__module__.startswith("dataworth"):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{path}: has no tokenizer that can be loaded ({reason})") from error


def end_token(tokenizer: Tokenizer, source: str | Path | None = None) -> int:
    """Return the id of the token that ends a document.

    `source`: the folder of the model that reads it, whose own end token is taken: `eos_token` of
    tokenizer_config.json, else `eos_token_id` of config.json or generation_config.json. Without
    them, one of the usual names. Raises ConfigError if there is none.
    """
    found = _special(tokenizer, source, "eos")
    if found is not None:
        return found
    for name in _ENDS:
        number = tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    place = "the tokenizer" if source is None else f"{source}: the tokenizer"
    raise ConfigError(
        f"{place} has no token that ends a document: none of {', '.join(_ENDS)}; name it in "
        "tokenizer_config.json (eos_token)"
    )


def edges(tokenizer: Tokenizer, source: str | Path) -> tuple[int, int]:
    """Return the ids that stand before and after a document, as the model was trained.

    Before it, the `bos_token` where the tokenizer adds one by itself, else the end token.
    """
    end = end_token(tokenizer, source)
    start = begin_token(tokenizer, source)
    return end if start is None else start, end


def begin_token(tokenizer: Tokenizer, source: str | Path) -> int | None:
    """Return the id of the `bos_token` if the tokenizer puts one before a text, else None."""
    start = _special(tokenizer, source, "bos")
    return start if start is not None and _adds_start(tokenizer, source, start) else None


def check_vocabulary(tokenizer: Tokenizer, rows: int, source: str | Path) -> None:
    """Raise ConfigError for a tokenizer with more tokens than the model's embedding has rows."""
    largest = max(tokenizer.get_vocab(with_added_tokens=False).values(), default=0)
    if largest >= rows:
        raise ConfigError(
            f"{source}: the tokenizer is of another model: it has the token {largest:,}, and the "
            f"model knows {rows:,} tokens; copy the model's own tokenizer files"
        )


def _adds_start(tokenizer: Tokenizer, source: str | Path, start: int) -> bool:
    """Tell if the tokenizer puts the start token before a text."""
    said = beside(source, "tokenizer_config.json").get("add_bos_token")
    if isinstance(said, bool):
        return said
    ids = tokenizer.encode(_PROBE, add_special_tokens=True).ids
    return bool(ids) and ids[0] == start


def _special(tokenizer: Tokenizer, source: str | Path | None, kind: str) -> int | None:
    """Return the id of the `eos` or `bos` token that a model's folder names, None if none."""
    if source is None:
        return None
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        name = beside(source, file).get(f"{kind}_token")
        name = name.get("content") if isinstance(name, dict) else name
        number = tokenizer.token_to_id(name) if isinstance(name, str) else None
        if number is not None:
            return int(number)
    for file in ("config.json", "generation_config.json"):
        found = beside(source, file).get(f"{kind}_token_id")
        found = found[0] if isinstance(found, list) and found else found
        # Configurations have ids by default: of an ordinary token, it is no end of this tokenizer.
        if isinstance(found, int) and found in tokenizer.get_added_tokens_decoder():
            return found
    return None


def beside(source: str | Path, name: str) -> dict[str, Any]:
    """Return a JSON file beside a model, or beside the base of an adapter; {} if there is none."""
    folder = Path(source)
    if not (folder / name).is_file() and is_adapter(folder):
        folder = Path(base_name(folder))
    return facts_of(folder / name) if (folder / name).is_file() else {}


def _useful(tokenizer: Tokenizer, path: str | Path) -> Tokenizer:
    """Return the tokenizer. Raise ConfigError for one that turns text into nothing."""
    if not tokenizer.get_vocab_size(with_added_tokens=False):
        raise ConfigError(
            f"{path}: the tokenizer is empty and turns text into nothing; copy the model's own "
            f"{FILE} beside it"
        )
    return tokenizer


def _file(path: Path) -> Path:
    return path if path.suffix == ".json" else path / FILE


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Switch off truncation and padding, and read special tokens of a text as its characters."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
