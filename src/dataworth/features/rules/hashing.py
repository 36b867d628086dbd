"""The hash of a word: a polynomial of its code points modulo 2^64, mixed when it is looked up."""

from __future__ import annotations

BASE = 0x9E3779B97F4A7C15


def text_hash(text: str) -> int:
    """Return the hash of a text, as the kernels compute it."""
    value = 0
    for char in text:
        value = (value * BASE + ord(char) + 1) % 2**64
    return value
