"""Identity and noise: XXH64 as others compute it, and numbers as random as they must be."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.uid import hash_uid, uid_of, uids, uniform
from testdata import read_rows

LOW = 2**64 - 1


def test_every_length_at_every_place() -> None:
    data = random.Random(0).randbytes(400)
    starts = np.array([start for start in range(40) for _ in range(0, 360, 1)], np.int64)
    ends = starts + np.array([size for _ in range(40) for size in range(0, 360, 1)], np.int64)
    found = uids(np.frombuffer(data, np.uint8), starts, ends).tolist()
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    assert found == [xxhash.xxh64_intdigest(data[start:end]) for start, end in pairs]


@settings(deadline=None, max_examples=100, derandomize=True)
@given(text=st.text())
def test_any_text(text: str) -> None:
    assert uid_of(text) == xxhash.xxh64_intdigest(text.encode())


def test_real_documents(small_pool: Path) -> None:
    texts = [row["text"] for row in read_rows(small_pool)]
    found = {uid_of(text) for text in texts}
    assert found == {xxhash.xxh64_intdigest(text.encode()) for text in texts}
    assert len(found) == len(set(texts))


def test_no_documents() -> None:
    none = np.empty(0, np.int64)
    assert len(uids(np.empty(0, np.uint8), none, none)) == 0
    assert len(uniform(0, np.empty(0, np.uint64))) == 0
    assert uid_of("") == 0xEF46DB3751D8E999


def _mixed(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & LOW
    value = (value ^ value >> 27) * 0x94D049BB133111EB & LOW
    return value ^ value >> 31


def _unmixed(value: int) -> int:
    """The inverse: multiplications by inverses modulo 2^64, shifts undone."""
    value ^= value >> 31 ^ value >> 62
    value = value * pow(0x94D049BB133111EB, -1, 2**64) & LOW
    value ^= value >> 27 ^ value >> 54
    value = value * pow(0xBF58476D1CE4E5B9, -1, 2**64) & LOW
    return value ^ value >> 30 ^ value >> 60


def _key(seed: int, stream: int) -> int:
    start = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03) & LOW
    return _mixed(_mixed(start) + 0x9E3779B97F4A7C15 & LOW)


@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (1, 0), (0, 1), (2**63, 77), (-5, 3)])
def test_the_noise_is_a_bijection(seed: int, stream: int) -> None:
    """A plain twin, and its inverse: every document has a number that no other has."""
    rng = random.Random(0)
    values = [0, 1, LOW, *(rng.getrandbits(64) for _ in range(200))]
    key = _key(seed, stream)
    twin = [_mixed(_mixed(value + key & LOW) ^ key) for value in values]
    assert hash_uid(seed, np.array(values, np.uint64), stream).tolist() == twin
    back = [_unmixed(_unmixed(value) ^ key) - key & LOW for value in twin]
    assert back == values


def test_the_noise_stays_what_it_is() -> None:
    """Other numbers here would be another selection for everybody's seed."""
    uid = np.array([0, 1, LOW], np.uint64)
    golden = [7340906808396503552, 2105829193836308476, 6229881186365759760]
    assert hash_uid(7, uid, 9).tolist() == golden


def test_a_million_documents_have_a_million_numbers() -> None:
    for uid in (
        np.arange(10**6, dtype=np.uint64),
        np.arange(10**6, dtype=np.uint64) << np.uint64(40),
    ):
        assert len(np.unique(hash_uid(3, uid, 5))) == 10**6


def test_the_ends_of_the_interval_are_open() -> None:
    """The documents whose hash is smallest and largest of all."""
    key = _key(4, 2)
    ends = [_unmixed(_unmixed(value) ^ key) - key & LOW for value in (0, LOW)]
    uid = np.array(ends, np.uint64)
    assert hash_uid(4, uid, 2).tolist() == [0, LOW]
    low, high = uniform(4, uid, 2)
    assert low == 2.0**-53 and high == 1 - 2.0**-53
    assert np.isfinite(-np.log(-np.log([low, high]))).all()


@pytest.mark.parametrize("uid", ["counting", "xxh64"])
def test_uniform_and_independent(uid: str) -> None:
    n = 200_000
    of = np.arange(n, dtype=np.uint64)
    if uid == "xxh64":
        data = of.view(np.uint8)
        of = uids(data, np.arange(n) * 8, np.arange(n) * 8 + 8)
    draws = np.array([uniform(*key) for key in [(0, of, 0), (0, of, 1), (1, of, 0), (1, of, 1)]])
    assert (draws > 0).all() and (draws < 1).all()
    for power in (1, 2, 3, 4):
        spread = np.sqrt(1 / (2 * power + 1) - 1 / (power + 1) ** 2)
        assert (np.abs((draws**power).mean(1) - 1 / (power + 1)) < 5 * spread / np.sqrt(n)).all()
    bins = np.array([np.bincount((row * 256).astype(int), minlength=256) for row in draws])
    chi = ((bins - n / 256) ** 2 / (n / 256)).sum(1)
    assert (np.abs(chi - 255) < 5 * np.sqrt(2 * 255)).all()
    # Streams, seeds and neighbouring documents know nothing of each other.
    pairs = np.corrcoef(np.vstack([draws, np.roll(draws[:1], 1, 1)]))
    assert (np.abs(pairs[np.triu_indices(5, 1)]) < 5 / np.sqrt(n)).all()


def test_every_bit_moves_every_bit() -> None:
    rng = random.Random(0)
    uid = np.array([rng.getrandbits(64) for _ in range(2_000)], np.uint64)
    before = hash_uid(0, uid)
    for bit in range(64):
        changed = before ^ hash_uid(0, uid ^ np.uint64(1 << bit))
        flips = np.unpackbits(changed.view(np.uint8)).reshape(len(uid), 64).mean(0)
        assert (np.abs(flips - 0.5) < 6 * 0.5 / np.sqrt(len(uid))).all()
