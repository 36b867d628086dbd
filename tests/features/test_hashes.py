"""Hashes and sums over them against plain Python: bit for bit."""

from __future__ import annotations

import random
import threading
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.features.ngrams import HashedNgrams, hashed
from features.twins import comparable, counts_of, fast_buckets, sha_buckets, tokens_of
from testdata import read_rows

SIZES = (1, 2, 3, 5)
BUCKETS = (2, 3, 10_000, 1 << 20, 2**32 - 1)
TWINS = {"fast": fast_buckets, "sha256": sha_buckets}
LONG = (
    1,
    7,
    8,
    9,
    15,
    16,
    17,
    23,
    24,
    25,
    31,
    32,
    33,
    40,
    47,
    48,
    55,
    56,
    57,
    63,
    64,
    65,
    119,
    120,
)


def rows_of(feature: HashedNgrams, texts: list[str]) -> list[list[int]]:
    spans, ids = feature.rows(Documents.from_texts(texts))
    return [ids[a:b].tolist() for a, b in pairwise(spans)]


@pytest.fixture(scope="module")
def documents(small_pool: Path) -> list[str]:
    """Real documents of all domains."""
    texts = [row["text"] for row in read_rows(small_pool)][:400]
    return [text for text in texts if all(comparable(char) for char in set(text))]


def test_published_buckets() -> None:
    golden = {
        "alice": 6720,
        "alice went": 114,
        "the": 8288,
        "data selection": 6152,
        ".": 3960,
        "naïve": 8184,
    }
    text = "Alice went . the data selection . naïve"
    found = dict(HashedNgrams(hash="sha256").grams(text))
    assert {gram: found[gram] for gram in golden} == golden


def test_counts_of_a_sentence() -> None:
    counted = HashedNgrams().count(Documents.from_texts(["Alice went to the store"]))
    assert counted.tokens.tolist() == [5] and counted.grams.tolist() == [9]
    assert counted.counts.sum() == 9


@pytest.mark.parametrize("kind", ["fast", "sha256"])
@pytest.mark.parametrize("ngrams", SIZES)
@pytest.mark.parametrize("buckets", BUCKETS)
def test_buckets_of_long_and_short_tokens(kind: str, ngrams: int, buckets: int) -> None:
    """Tokens around every border of 8, 16, 55, 64 and 119 bytes, alone and joined."""
    rng = random.Random(ngrams)
    feature = HashedNgrams(ngrams, buckets, hash=kind)  # type: ignore[arg-type]
    texts = ["".join(rng.choices("abcxyz019", k=size)) for size in (*LONG, 128, 200, 1000)]
    texts += [" ".join("".join(rng.choices("abé漢", k=rng.choice(LONG))) for _ in range(30))]
    texts += [
        " ".join(rng.choices(["a", "b", "c", ".", "!", "漢", "!", "longer"], k=60)),
        "",
        "a",
        "a b",
        "a b c",
    ]
    twin = TWINS[kind]
    assert rows_of(feature, texts) == [twin(tokens_of(t), ngrams, buckets) for t in texts]


@pytest.mark.parametrize("kind", ["fast", "sha256"])
@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    texts=st.lists(st.text(st.sampled_from("aAbé漢Σ .,\n"), max_size=200), max_size=4),
    ngrams=st.sampled_from(SIZES),
    mode=st.sampled_from(["wordpunct", "mixed", "characters"]),
)
def test_buckets_of_any_text(kind: str, texts: list[str], ngrams: int, mode: str) -> None:
    feature = HashedNgrams(ngrams, tokens=mode, hash=kind)  # type: ignore[arg-type]
    twin = TWINS[kind]
    assert rows_of(feature, texts) == [twin(tokens_of(t, mode), ngrams) for t in texts]


def test_ngrams_go_on_over_segments() -> None:
    """A long text is hashed in pieces of 16 KB, and no n-gram between two is lost or made up."""
    rng = random.Random(1)
    text = " ".join("".join(rng.choices("abcdefgh", k=rng.randint(1, 9))) for _ in range(9_000))
    for ngrams in SIZES:
        for kind, twin in TWINS.items():
            feature = HashedNgrams(ngrams, hash=kind)  # type: ignore[arg-type]
            # A short text before and behind: nothing is carried from one document to another.
            texts = ["a b c d e f", text, "f e d c b a"]
            assert rows_of(feature, texts) == [twin(tokens_of(t), ngrams) for t in texts]


@pytest.mark.parametrize(("kind", "few"), [("fast", 1), ("sha256", 8)])
def test_real_documents(kind: str, few: int, documents: list[str]) -> None:
    texts = documents[::few]
    feature = HashedNgrams(hash=kind)  # type: ignore[arg-type]
    twins = [TWINS[kind](tokens_of(text)) for text in texts]
    assert rows_of(feature, texts) == twins
    counted = feature.count(Documents.from_texts(texts))
    assert np.array_equal(counted.counts, counts_of(list(chain(*twins))))
    assert counted.grams.tolist() == [len(twin) for twin in twins]


def test_a_small_cache_of_published_buckets_forgets_but_never_errs(
    documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashed, "_REMEMBERED", 2)
    found: list[list[list[int]]] = []
    feature = HashedNgrams(3, hash="sha256")
    # A thread of its own has no cache yet.
    thread = threading.Thread(target=lambda: found.append(rows_of(feature, documents[:20])))
    thread.start()
    thread.join()
    assert found == [[sha_buckets(tokens_of(text), 3) for text in documents[:20]]]


def test_features_do_not_disturb_each_other(documents: list[str]) -> None:
    """Working memory is kept for a few features at once, and grows with the longest document."""
    batch = Documents.from_texts(documents[:40])
    features = [HashedNgrams(n, b, hash=h) for n in SIZES for b in (50, 10_000) for h in TWINS]  # type: ignore[arg-type]
    once = [feature.count(batch).counts for feature in features]
    longer = Documents.from_texts(["z" * 2_000_000, "b " * 300_000])
    for feature, before in zip(features, once, strict=True):
        assert feature.count(longer).tokens.tolist() == [1, 300_000]
        assert np.array_equal(feature.count(batch).counts, before)


def test_threads_have_memory_of_their_own(documents: list[str]) -> None:
    feature = HashedNgrams(hash="sha256")
    parts = [Documents.from_texts(documents[i::4]) for i in range(4)]
    expected = [feature.count(part).counts for part in parts]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = feature.count(parts[i]).counts

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], expected[i]) for i in range(4))


@pytest.mark.parametrize("targets", [0, 1, 2, 7])
@pytest.mark.parametrize("ngrams", SIZES)
def test_scores_are_sums_over_rows(ngrams: int, targets: int, documents: list[str]) -> None:
    feature = HashedNgrams(ngrams)
    batch = Documents.from_texts(documents[:60])
    weights = np.random.default_rng(0).normal(size=(10_000, targets))
    scored = feature.score(batch, weights)
    spans, ids = feature.rows(batch)
    for row in range(len(batch)):
        terms = weights[ids[spans[row] : spans[row + 1]]]
        bound = 1e-13 * np.abs(terms).sum(0)
        assert (np.abs(scored.sums[row] - terms.sum(0)) <= bound).all()
    assert np.array_equal(scored.grams, np.diff(spans))
    assert np.array_equal(scored.tokens, feature.lengths(batch))


def test_a_score_does_not_depend_on_the_batch(documents: list[str]) -> None:
    batch = Documents.from_texts(documents[:60])
    weights = np.random.default_rng(0).normal(size=(10_000, 2))
    for feature in (HashedNgrams(), HashedNgrams(3), HashedNgrams(hash="sha256")):
        for columns in (weights, weights[:, :1], np.asfortranarray(weights)):
            together = feature.score(batch, columns).sums
            rows = np.arange(59, -1, -7)
            assert np.array_equal(feature.score(batch.take(rows), columns).sums, together[rows])
            for row in (0, 30, 59):
                alone = feature.score(Documents.from_texts([batch.text(row)]), columns).sums
                assert np.array_equal(alone[0], together[row])


def test_grams_in_words(documents: list[str]) -> None:
    for feature in (HashedNgrams(), HashedNgrams(3, hash="sha256"), HashedNgrams(tokens="mixed")):
        for text in documents[:10]:
            words = tokens_of(text, feature.tokens)
            grams = feature.grams(text)
            twin = TWINS[feature.hash](words, feature.ngrams)
            assert [bucket for _, bucket in grams] == twin
            one = Counter(name for name, _ in grams if " " not in name)
            assert one == Counter(words)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ngrams": 0}, "ngrams must be at least 1"),
        ({"buckets": 1}, "buckets must be between"),
        ({"buckets": 2**32}, "buckets must be between"),
        ({"hash": "md5"}, "hash must be"),
        ({"tokens": "nothing.json"}, "there is no file"),
    ],
)
def test_wrong_settings(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HashedNgrams(**options)


def test_identity_names_all_that_numbers_depend_on() -> None:
    assert HashedNgrams(3, 99, "mixed", "sha256").identity == {
        "ngrams": 3,
        "buckets": 99,
        "tokens": "mixed",
        "hash": "sha256",
        "unicode": "14.0.0",
    }
