"""Each vector instruction against a plain loop, at every place of a buffer."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numba import njit

from dataworth.corpus.kernels import simd

DATA = np.frombuffer(
    bytes(range(256)) + random.Random(0).randbytes(1000) + b'aZ09_ \t\n\r\x1c\x1f"\\{}[],:' * 20,
    np.uint8,
)
PLACES = [*range(0, 260), *range(900, len(DATA) - 63, 37), len(DATA) - 64]
_digits = simd.between64(0x30, 0x39)


@njit
def _newlines(data, at):
    return simd.newlines64(data, np.uint64(at))


@njit
def _json_stops(data, at):
    return simd.json_stops64(data, np.uint64(at))


@njit
def _high(data, at):
    return simd.high64(data, np.uint64(at))


@njit
def _words(data, at):
    return simd.words64(data, np.uint64(at))


@njit
def _spaces(data, at):
    return simd.spaces64(data, np.uint64(at))


@njit
def _between(data, at):
    return _digits(data, np.uint64(at))


@njit
def _moved(data, at, copied, lowered, to):
    simd.copy64(data, np.uint64(at), copied, np.uint64(to))
    simd.lower64(data, np.uint64(at), lowered, np.uint64(to))
    return simd.load_u64(data, np.uint64(at))


@njit
def _arithmetic(a, b):
    a, b = np.uint64(a), np.uint64(b)
    high, fold = simd.multiply_high(a, b), simd.multiply_fold(a, b)
    return high, fold, simd.ones(a), simd.trailing_zeros(a)


@pytest.mark.parametrize(
    ("mask", "rule"),
    [
        (_newlines, lambda byte: byte == 10),
        (_json_stops, lambda byte: byte < 32 or byte in b'"\\'),
        (_high, lambda byte: byte >= 128),
        (_words, lambda byte: byte < 128 and (chr(byte).isalnum() or byte == 95)),
        (_spaces, lambda byte: byte < 128 and chr(byte).isspace()),
        (_between, lambda byte: 0x30 <= byte <= 0x39),
    ],
)
def test_masks(mask, rule) -> None:
    wanted = [bool(rule(byte)) for byte in DATA.tolist()]
    for at in PLACES:
        bits = int(mask(DATA, at))
        assert [bool(bits >> i & 1) for i in range(64)] == wanted[at : at + 64]


def test_moves_touch_64_bytes_and_no_more() -> None:
    data = DATA.tobytes()
    for at in PLACES:
        for to in (0, 1, 13):
            copied, lowered = np.full(80, 7, np.uint8), np.full(80, 7, np.uint8)
            word = _moved(DATA, at, copied, lowered, to)
            frame = b"\x07" * to, b"\x07" * (16 - to)
            assert copied.tobytes() == data[at : at + 64].join(frame)
            assert lowered.tobytes() == data[at : at + 64].lower().join(frame)
            assert int(word) == int.from_bytes(data[at : at + 8], "little")


def test_arithmetic() -> None:
    rng = random.Random(0)
    values = [0, 1, 2, 2**32, 2**63, 2**64 - 1, *(rng.getrandbits(64) for _ in range(50))]
    for a in values:
        for b in values[:8]:
            high, fold, ones, zeros = map(int, _arithmetic(np.uint64(a), np.uint64(b)))
            assert high == a * b >> 64
            assert fold == (a * b >> 64) ^ (a * b & 2**64 - 1)
            assert ones == a.bit_count()
            assert zeros == ((a & -a).bit_length() - 1 if a else 64)
