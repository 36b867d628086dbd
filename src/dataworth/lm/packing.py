"""Token streams on disk, and fixed sequences cut from them in an order that a seed determines.

A stream is all documents one after another, each followed by the end token. It is read as a ring:
before the first document stands the end token of the last. Sequence i of an epoch is a window of
the ring; its targets are the window's tokens and its inputs the tokens one place before them. So
every token is predicted, the first of a document from the end token before it.

An epoch starts at a place of the ring that is a hash of (seed, epoch), takes floor(tokens / length)
windows (at least one, which goes round a shorter ring more than once) and puts them in the order of
a hash of (seed, epoch, index). Which batch comes at which step depends on nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from dataworth.corpus.uid import hash_uid
from dataworth.engine.files import atomic_folder, check_array, damaged, read_array, read_object
from dataworth.errors import ConfigError, InputError
from dataworth.lm.tokenizer import end_token

_BATCH = 1024  # texts that are tokenised at once
_ORDER, _OFFSET = 0x7365_7175, 0x6F66_6673  # streams of `hash_uid`
_TOKENS, _STARTS, _BYTES, _FACTS = "tokens.bin", "starts.npy", "bytes.npy", "stream.json"


@dataclass(frozen=True)
class TokenStream:
    """Documents as tokens.

    tokens: uint16 or uint32 [total], the documents one after another, each with `end` after it.
    starts: int64 [documents + 1], where each begins, and `total`. bytes: int64 [documents], of
    the texts in UTF-8. vocabulary: tokens of the tokenizer. fingerprint: SHA-256 of the tokens.
    """

    tokens: NDArray[np.unsignedinteger]
    starts: NDArray[np.int64]
    bytes: NDArray[np.int64]
    end: int
    vocabulary: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.bytes)

    def document(self, row: int) -> NDArray[np.unsignedinteger]:
        """Return the tokens of one document, with the end token."""
        return self.tokens[self.starts[row] : self.starts[row + 1]]


def write_stream(
    texts: Iterable[str], tokenizer: Tokenizer, folder: str | Path, *, end: int | None = None
) -> TokenStream:
    """Tokenise texts into a folder and open it; `end` is found in the tokenizer if not given.

    Memory does not grow with the number of tokens. Raises InputError if there are no texts.
    """
    folder = Path(folder)
    size = int(tokenizer.get_vocab_size(with_added_tokens=True))
    end = end_token(tokenizer) if end is None else end
    starts, lengths, digest = [0], [], hashlib.sha256()
    with atomic_folder(folder) as temporary:
        with (temporary / _TOKENS).open("wb") as file:
            for tokens, counts, sizes in _encoded(texts, tokenizer, end, _type(size)):
                file.write(tokens.data)
                digest.update(tokens.data)
                starts += (starts[-1] + np.cumsum(counts)).tolist()
                lengths += sizes
        if not lengths:
            raise InputError(f"{folder}: there are no documents to tokenise")
        np.save(temporary / _STARTS, np.array(starts, np.int64))
        np.save(temporary / _BYTES, np.array(lengths, np.int64))
        facts = {"end": end, "vocabulary": size, "fingerprint": digest.hexdigest()}
        facts |= {"documents": len(lengths), "tokens": starts[-1], "bytes": sum(lengths)}
        (temporary / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    return open_stream(folder)


def open_stream(folder: str | Path) -> TokenStream:
    """Open a written stream, memory-mapped. Raises DataworthError if absent or damaged."""
    folder = Path(folder)
    remedy = "delete the folder and write the token stream again"
    facts = read_object(folder / _FACTS, remedy)
    with damaged(folder, remedy):
        tokens: NDArray[Any] = np.memmap(
            folder / _TOKENS, _type(facts["vocabulary"]), mode="r", shape=(facts["tokens"],)
        )
        sizes = check_array(read_array(folder / _BYTES, remedy), np.int64, (None,))
        starts = check_array(read_array(folder / _STARTS, remedy), np.int64, (len(sizes) + 1,))
        if starts[0] != 0 or starts[-1] != len(tokens) or (np.diff(starts) < 0).any():
            raise ValueError("a document lies outside of the tokens")
        end, vocabulary = int(facts["end"]), int(facts["vocabulary"])
        return TokenStream(tokens, starts, sizes, end, vocabulary, str(facts["fingerprint"]))


def stream_of(texts: Iterable[str], tokenizer: Tokenizer, *, end: int | None = None) -> TokenStream:
    """Build in memory the stream that `write_stream` gives."""
    size = int(tokenizer.get_vocab_size(with_added_tokens=True))
    end = end_token(tokenizer) if end is None else end
    parts, counts, sizes = [], [0], []
    for tokens, lengths, some in _encoded(texts, tokenizer, end, _type(size)):
        parts.append(tokens)
        counts += lengths
        sizes += some
    if not sizes:
        raise InputError("there are no documents to tokenise")
    all_tokens = np.concatenate(parts)
    fingerprint = hashlib.sha256(all_tokens.data).hexdigest()
    starts = np.cumsum(np.array(counts, np.int64))
    return TokenStream(all_tokens, starts, np.array(sizes, np.int64), end, size, fingerprint)


def _type(vocabulary: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if vocabulary <= 1 << 16 else np.uint32


def _encoded(
    texts: Iterable[str], tokenizer: Tokenizer, end: int, dtype: type[np.unsignedinteger]
) -> Iterator[tuple[NDArray[Any], list[int], list[int]]]:
    """Yield blocks of texts as (tokens with ends, tokens of each, bytes of each)."""
    source = iter(texts)
    while batch := list(islice(source, _BATCH)):
        rows = [one.ids for one in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
        flat = np.array([token for row in rows for token in (*row, end)], dtype)
        yield flat, [len(row) + 1 for row in rows], [len(text.encode()) for text in batch]


@dataclass
class Sequences:
    """The training sequences of one run: random access, so that a run can go on anywhere.

    `count`: sequences of `length` tokens that together give at least the tokens asked for.
    """

    stream: TokenStream
    length: int
    count: int
    seed: int
    _epoch: int = field(default=-1, repr=False)
    _windows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def __len__(self) -> int:
        return self.count

    @property
    def per_epoch(self) -> int:
        """Sequences in an epoch."""
        return max(len(self.stream) // self.length, 1)

    @property
    def epochs(self) -> float:
        """The average number of times that the run sees each token."""
        return self.count * self.length / len(self.stream)

    def batch(self, start: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return inputs and targets, int64 [count, length] each, of sequences from `start` on."""
        places = np.array([self._place(row) for row in range(start, start + count)])
        rows = (places[:, None] + np.arange(-1, self.length)) % len(self.stream)
        tokens = self.stream.tokens[rows].astype(np.int64)
        return tokens[:, :-1], tokens[:, 1:]

    def _place(self, row: int) -> int:
        """Return the place in the ring at which sequence `row` starts."""
        epoch, index = divmod(row, self.per_epoch)
        if epoch != self._epoch:
            self._windows, self._epoch = self._order(epoch), epoch
        return int(self._windows[index])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        counter = np.uint64(epoch) << np.uint64(40)
        offset = hash_uid(self.seed, np.array([counter], np.uint64), _OFFSET)[0]
        keys = hash_uid(self.seed, np.arange(self.per_epoch, dtype=np.uint64) + counter, _ORDER)
        start = int(offset % np.uint64(len(self.stream)))
        return start + np.argsort(keys, kind="stable").astype(np.int64) * self.length


def sequences(stream: TokenStream, length: int, tokens: int, seed: int) -> Sequences:
    """Return sequences of `length` tokens, at least `tokens` together, in the order of `seed`.

    Where the stream is shorter than `tokens` it is read again, in a new order: `epochs` counts.
    Raises ConfigError for a length or number of tokens below one.
    """
    if length < 1 or tokens < 1:
        raise ConfigError(f"sequences: length {length} and tokens {tokens} must be at least 1")
    return Sequences(stream, length, -(-tokens // length), seed)
