"""Plain-Python twins of the n-gram kernels: tokens, hashes, buckets, as simple as can be."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache

import numpy as np

from dataworth.features.ngrams.unicode import UNICODE, unicode_table

K1 = 0xA0761D6478BD642F
K2 = 0xE7037ED1A0B428DB
K3 = 0x8EBC6AF09C88C6E3
K4 = 0x589965CC75374CC3
_LOW = 2**64 - 1

# Scripts written without spaces, as ranges of code points, ends included.
UNSPACED = (
    "0E00-0EFF 1000-109F 1780-17FF 1950-19DF 1A20-1AAF 2E80-2FDF 3005-3007 3040-30FF 31F0-31FF "
    "3400-4DBF 4E00-9FFF AA60-AADF F900-FAFF FF66-FF9F 1B000-1B16F 20000-3FFFF"
)
_RANGES = [tuple(int(end, 16) for end in part.split("-")) for part in UNSPACED.split()]

# Where the interpreter's tables are not the pinned ones, only what both know is compared.
SAME_UNICODE = unicodedata.unidata_version == UNICODE


def comparable(char: str) -> bool:
    """Whether this interpreter and the pinned tables speak of the same character."""
    if SAME_UNICODE:
        return True
    known = unicode_table()[ord(char)] != ord(char)
    return unicodedata.category(char) != "Cn" and bool(known or not char.isalnum())


def unspaced(char: str) -> bool:
    return char.isalnum() and any(low <= ord(char) <= high for low, high in _RANGES)


def tokens_of(text: str, mode: str = "wordpunct") -> list[str]:
    """The tokens of a text in one of the three modes."""
    text = text.lower()
    if mode == "characters":
        return [char for char in text if not char.isspace()]
    found = re.findall(r"\w+|[^\w\s]+", text)
    if mode == "wordpunct":
        return found
    out: list[str] = []
    for token in found:
        word = ""
        for char in token:
            if unspaced(char):
                out += [word, char] if word else [char]
                word = ""
            else:
                word += char
        if word:
            out.append(word)
    return out


def fold(a: int, b: int) -> int:
    product = a * b
    return (product >> 64) ^ (product & _LOW)


@cache
def token_hash(token: bytes) -> int:
    """The fast hash of a token, after the docstring of kernels.py."""
    words = [int.from_bytes(token[at : at + 8], "little") for at in range(0, max(len(token), 1), 8)]
    words += [0] * (len(words) % 2)
    hashed = fold(words[0] ^ K1 ^ len(token), words[1] ^ K2)
    for first, second in zip(words[2::2], words[3::2], strict=True):
        hashed = fold(hashed ^ first ^ K3, second ^ K4)
    return hashed


def ngrams_of(tokens: list, ngrams: int) -> list[tuple]:
    """All 1- to n-grams in the order of the kernels: by last token, then by size."""
    return [
        tuple(tokens[last + 1 - size : last + 1])
        for last in range(len(tokens))
        for size in range(1, min(last + 1, ngrams) + 1)
    ]


def bucket_of(hashes: tuple[int, ...], buckets: int) -> int:
    gram = hashes[0]
    for hashed in hashes[1:]:
        gram = fold(gram ^ K3, hashed ^ K4)
    return gram * buckets >> 64


def fast_buckets(tokens: list[str], ngrams: int = 2, buckets: int = 10_000) -> list[int]:
    hashes = [token_hash(token.encode()) for token in tokens]
    return [bucket_of(gram, buckets) for gram in ngrams_of(hashes, ngrams)]


def sha_buckets(tokens: list[str], ngrams: int = 2, buckets: int = 10_000) -> list[int]:
    """The published buckets: SHA-256 of the tokens joined by a space, modulo."""
    return [
        int(hashlib.sha256(" ".join(gram).encode()).hexdigest(), 16) % buckets
        for gram in ngrams_of(tokens, ngrams)
    ]


def counts_of(ids: list[int], buckets: int = 10_000) -> np.ndarray:
    return np.bincount(np.array(ids, np.int64), minlength=buckets)
