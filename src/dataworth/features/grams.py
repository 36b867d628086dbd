"""Word n-grams as 64-bit numbers, of any length at the same cost: for sets, not for buckets.

A word has the 32-bit number that `features.ngrams` gives it; an n-gram is a polynomial of its
words' mixed numbers modulo 2^64. Two different n-grams share a number about never (once in 2^32
where they differ in one word).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.features.ngrams import HashedNgrams

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 2**64)
_WORD = 0x776F7264  # of `hash_uid`
WORDPUNCT = HashedNgrams(ngrams=1, buckets=2**32 - 1)
MIXED = HashedNgrams(ngrams=1, buckets=2**32 - 1, tokens="mixed")
_SPACE = 32


def _letters_only() -> NDArray[np.uint8]:
    """Return the table of bytes that turns ASCII but letters and digits into spaces."""
    table = np.arange(256, dtype=np.uint8)
    for byte in range(128):
        if not chr(byte).isalnum():
            table[byte] = _SPACE
    return table


_LETTERS = _letters_only()


_UNSEEN = re.compile(  # what Unicode says to ignore, beside format characters
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_MARKS = re.compile(  # accents, and vowel signs of Hebrew and Arabic: many texts leave them out
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0640]"
)
_ALIKE = {0x2122: " ", 0x2120: " ", 0x0131: "i", 0x06CC: "\u064a", 0x06A9: "\u0643"}
"""Signs that are written as letters, and letters of one meaning: dotless i, Persian yeh and kaf."""


class _Signs(dict[int, str]):
    """A table for `str.translate`: format characters vanish; signs, if asked, become spaces."""

    def __init__(self, *, spaces: bool) -> None:
        super().__init__()
        self.spaces = spaces

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        value = _ALIKE.get(code, chr(code))
        if kind == "Cf" or _UNSEEN.match(chr(code)):
            value = ""
        elif self.spaces and (kind[0] in "PSZ" or code in (0x02B9, 0x02BB, 0x02BC)):
            value = " "
        self[code] = value
        return value


_SIGNS = _Signs(spaces=True)
_FORMAT = _Signs(spaces=False)

_CHUNK = re.compile(r"[^\t-\r\x1c-\x20]+")  # up to white space of ASCII
_SHORT = 40  # characters of a chunk that is kept, since it may come again


def _fold(text: str) -> str:
    """Return a text as it is compared: without format characters and accents, signs as spaces."""
    text = unicodedata.normalize("NFKC", text.translate(_FORMAT))
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFKC", text).translate(_SIGNS)


_fold_known = lru_cache(1 << 16)(_fold)


def _fold_chunk(match: re.Match[str]) -> str:
    text = match[0]
    if text.isascii():
        return text
    return _fold_known(text) if len(text) <= _SHORT else _fold(text)


def _fold_words(text: str) -> str:
    """Return `_fold` of a text by way of its words, of which most come again.

    Folding does not look past white space. Words of ASCII stay: whoever cuts words lowers them.
    """
    return _CHUNK.sub(_fold_chunk, text)


def _folded(documents: Documents) -> Documents:
    """Return the documents with those that hold other than ASCII folded."""
    raw = documents.data.tobytes()
    parts = []
    for start, end in zip(documents.starts.tolist(), documents.ends.tolist(), strict=True):
        part = raw[start:end]
        parts.append(
            part if part.isascii() else _fold_words(part.decode(errors="replace")).encode()
        )
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    data = np.frombuffer(b"".join(parts), np.uint8)
    starts, ends = starts.astype(documents.starts.dtype), ends.astype(documents.ends.dtype)
    return replace(documents, data=data, starts=starts, ends=ends)


@dataclass(frozen=True)
class Words:
    """The words of documents: `hashes` uint64, those of document i in `spans[i]:spans[i + 1]`."""

    spans: NDArray[np.int64]
    hashes: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.spans) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Words of each document, int64 [n]."""
        return np.diff(self.spans)


def words_of(documents: Documents, *, punctuation: bool = True) -> Words:
    """Return the words of each text, lower-cased.

    With `punctuation` as DSIR cuts them: runs of letters, digits and underscores, and runs of
    other signs. Without, texts are compared after NFKC and case folding, format characters, accents
    and the vowel signs of Arabic and Hebrew are left out, punctuation and symbols of any script
    count as spaces, and every character of a script that is written without spaces is a word.
    """
    if punctuation:
        spans, ids = WORDPUNCT.rows(documents)
    else:
        documents = documents.compact()
        if (documents.data >= 128).any():
            documents = _folded(documents)
        plain = replace(documents, data=_LETTERS[documents.data])
        spans, ids = MIXED.rows(plain)
    return Words(spans, hash_uid(0, ids.astype(np.uint64), _WORD))


def ngrams_of(words: Words, size: int) -> Words:
    """Return n-grams of `size` words within documents: len(document) - size + 1 of each."""
    counts = np.maximum(words.counts - size + 1, 0)
    spans = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    total = len(words.hashes)
    if size == 1 or not spans[-1]:
        return Words(spans, words.hashes if size == 1 else np.empty(0, np.uint64))
    powers, inverses = np.empty(total, np.uint64), np.empty(total, np.uint64)
    for array, factor in ((powers, _BASE), (inverses, _INVERSE)):
        array.fill(factor)
        array[0] = 1
        np.cumprod(array, out=array)
    sums = np.zeros(total + 1, np.uint64)
    np.cumsum(words.hashes * powers, out=sums[1:])
    grams = (sums[size:] - sums[:-size]) * inverses[: total - size + 1]
    # Windows that begin too near to the end of their document reach into the next one.
    inside = np.ones(total, np.bool_)
    short = np.minimum(words.counts, size - 1)
    ends = words.spans[1:]
    for back in range(1, size):
        inside[ends[short >= back] - back] = False
    return Words(spans, grams[inside[: total - size + 1]])
