"""A document's identity, and the noise that hangs on it.

`uid` is XXH64 (seed 0) of the text's UTF-8 bytes: anyone can compute it again, and it survives
renaming, resharding and a change of format. That of a chat is the hash of this number and of one
that stands for who says what and for what was not read, see `marked`. Randomness is a hash of
(seed, uid), never a stream of numbers, so that a result does not depend on the order in which
documents were read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.kernels.simd import BYTES, INTS, eager, kernel, load_u64

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)
_CHECK = np.uint64(0x632BE59BD9B4E019)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel
def _rotate(value, bits):  # type: ignore[no-untyped-def]
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@kernel
def _round(lane, value):  # type: ignore[no-untyped-def]
    return _rotate(lane + value * _P2, 31) * _P1


@kernel
def _xxh64(data, start, end, seed):  # type: ignore[no-untyped-def]
    """XXH64 of `data[start:end]` (the published specification of xxHash)."""
    at = start
    size = end - start
    if size >= np.uint64(32):
        a = seed + _P1 + _P2
        b = seed + _P2
        c = seed
        d = seed - _P1
        last = end - np.uint64(32)
        while at <= last:
            a = _round(a, load_u64(data, at))
            b = _round(b, load_u64(data, at + np.uint64(8)))
            c = _round(c, load_u64(data, at + np.uint64(16)))
            d = _round(d, load_u64(data, at + np.uint64(24)))
            at += np.uint64(32)
        hashed = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        for lane in (a, b, c, d):
            hashed = (hashed ^ _round(np.uint64(0), lane)) * _P1 + _P4
    else:
        hashed = seed + _P5
    hashed += size
    while at + np.uint64(8) <= end:
        hashed = _rotate(hashed ^ _round(np.uint64(0), load_u64(data, at)), 27) * _P1 + _P4
        at += np.uint64(8)
    if at + np.uint64(4) <= end:
        word = np.uint64(0)
        for i in range(4):
            word |= np.uint64(data[at + np.uint64(i)]) << np.uint64(8 * i)
        hashed = _rotate(hashed ^ (word * _P1), 23) * _P2 + _P3
        at += np.uint64(4)
    while at < end:
        hashed = _rotate(hashed ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += np.uint64(1)
    hashed ^= hashed >> np.uint64(33)
    hashed *= _P2
    hashed ^= hashed >> np.uint64(29)
    hashed *= _P3
    return hashed ^ (hashed >> np.uint64(32))


@eager("void(" + BYTES + "," + INTS + "," + INTS + ", uint64, uint64[::1])")
def _uids(data, starts, ends, seed, out):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        out[row] = _xxh64(data, np.uint64(starts[row]), np.uint64(ends[row]), seed)


def uids(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return the uid of each text `data[starts[i]:ends[i]]`: uint64 [n]."""
    out = np.empty(len(starts), np.uint64)
    _uids(data, starts, ends, np.uint64(0), out)
    return out


def checks(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return a second hash of each text, XXH64 with another seed: uint64 [n].

    Two texts are called copies of each other where both hashes are equal.
    """
    out = np.empty(len(starts), np.uint64)
    _uids(data, starts, ends, _CHECK, out)
    return out


def uids_of(values: Sequence[bytes]) -> NDArray[np.uint64]:
    """Return the hash of each value: uint64 [n]."""
    ends = np.cumsum(np.fromiter((len(value) for value in values), np.int64, len(values)))
    data = np.frombuffer(b"".join(values), np.uint8)
    return uids(data, np.concatenate([np.zeros(1, np.int64), ends])[:-1], ends)


def marked(uid: NDArray[np.uint64], marks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The uids of chats: XXH64 of the text's and the mark's little-endian bytes, uint64 [n]."""
    data = np.ascontiguousarray(np.stack([uid, marks], axis=1).astype("<u8")).view(np.uint8)
    ends = 16 * np.arange(1, len(uid) + 1, dtype=np.int64)
    return uids(data.reshape(-1), ends - 16, ends)


def uid_of(text: str) -> int:
    """Return the uid of one text."""
    data = np.frombuffer(text.encode("utf-8"), np.uint8)
    return int(uids(data, np.zeros(1, np.int64), np.array([len(data)], np.int64))[0])


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finaliser of SplitMix64: every bit of the input moves every bit of the output."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def hash_uid(seed: int, uid: NDArray[np.uint64], stream: int = 0) -> NDArray[np.uint64]:
    """Return a random 64-bit number for each document: a bijection of uid for every (seed, stream).

    `stream` separates uses of one seed (order ties, Gumbel noise, shuffling, sampling), so that
    they are independent of each other.
    """
    start = np.array([(seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03) % 2**64], np.uint64)
    key = _mixed(_mixed(start) + _GOLDEN)
    return _mixed(_mixed(uid + key) ^ key)


def uniform(seed: int, uid: NDArray[np.uint64], stream: int = 0) -> NDArray[np.float64]:
    """Return a uniform number in the open interval (0, 1) for each document, float64 [n].

    The upper 52 bits and a half: neither 0 nor 1 can occur, so logarithms are finite.
    """
    bits = hash_uid(seed, uid, stream) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52
