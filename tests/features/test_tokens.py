"""Tokens of the kernel against the regular expression, on any text and at any place of a buffer."""

# ruff: noqa: RUF001 (characters that look like others are what this is about)

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import COMPRESSES
from dataworth.features.ngrams import HashedNgrams
from dataworth.features.ngrams.tokens import places_at_once, places_in_steps
from features.twins import comparable, fast_buckets, tokens_of
from testdata import read_rows

MODES = ("wordpunct", "mixed", "characters")
ONE = {mode: HashedNgrams(ngrams=1, tokens=mode) for mode in MODES}
TWO = {mode: HashedNgrams(ngrams=2, tokens=mode) for mode in MODES}

# Whatever is decided in a way of its own somewhere in the kernel.
NASTY = [
    *"aZ09_ -.,'\n\t\r\x0b\x0c\x1b\x1c\x1d\x1e\x1f\x7f\x00",
    *"\x85\xa0\u1680\u2000\u2028\u2029\u202f\u205f\u3000\ufeff\u200b\u200d\xad",  # spaces or not
    *"ΣσςΆάİıȺⱥȾẞßſKÅǅΩǰŉΐ",  # lower case of another length, titles, no upper case
    *"\u0301\u0307\u0345\u0300\u093f\u0e31\u0e33\u20e3\ufe0f",  # combining
    *"’·.:^`´¨\u02b0\u02bcªº",  # case-ignorable, some of them cased
    *"ⅷⅧⓐⒶ²½٣๓万〇々〆ー",  # numbers and marks of numbers
    *"漢字仮名カナかなｶﾅ한글กขคไทยລາວမြန်មាខ្មែរ",
    *"אבجدहिन्दी",
    *"👍🏽👩‍🚀🇩🇪𝔘𝓤𐐀𐐨𐓐𞤀𞤢𠀀𪜶\U0001b000\U0010ffff\ue000",
    "Σ\u0301",
    "A\u0345Σ",
    "Σ'Σ",
    "\u0130\u0307Σ",
]
NASTY = [text for text in NASTY if all(map(comparable, text))]
CHARACTERS = st.one_of(
    st.sampled_from(NASTY),
    st.characters(exclude_categories=["Cs"]).filter(comparable),
    st.sampled_from(["a", "A", " ", ".", "word", "漢", "é"]),
)
TEXTS = st.lists(CHARACTERS, max_size=90).map("".join)


def tokens(text: str, mode: str) -> list[str]:
    return [name for name, _ in ONE[mode].grams(text)]


def check(texts: list[str], mode: str) -> None:
    """Tokens, their number and their pairs, of all texts in one buffer."""
    documents = Documents.from_texts(texts)
    twins = [tokens_of(text, mode) for text in texts]
    assert [tokens(text, mode) for text in texts] == twins
    assert ONE[mode].lengths(documents).tolist() == [len(twin) for twin in twins]
    spans, ids = TWO[mode].rows(documents)
    for row, twin in enumerate(twins):
        assert ids[spans[row] : spans[row + 1]].tolist() == fast_buckets(twin)


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=150, derandomize=True)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
@example(texts=["ΑΣ ΑΣ'. Σ ΑΣΑ Α\u0345Σ\u0345", "ΟΔΟΣ", "Σ"])
@example(texts=["a" * 63 + "é" + "b" * 63 + "漢" + "." * 61 + "👍x"])
@example(texts=["", " ", "\u3000", "a"])
def test_any_text(mode: str, texts: list[str]) -> None:
    check(texts, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "alphabet",
    ["ab_1 .", "aé .", "a漢.", "漢字", "漢 か。x", "aΣ'", "👍a", ".,é", "aİȺ ", "é", "กa\u0e31"],
)
def test_every_length_around_a_block(mode: str, alphabet: str) -> None:
    rng = random.Random(alphabet)
    texts = ["".join(rng.choices(alphabet, k=size)) for size in range(301)]
    # Runs of one class over several blocks, too.
    texts += [alphabet[0] * size + alphabet[-1] for size in range(0, 301, 7)]
    check(texts, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spaces", [0.0, 0.0005, 0.2])
@pytest.mark.parametrize("alphabet", ["word.", "wéΣ'İ", "漢字かな。a", "".join(NASTY)])
def test_texts_longer_than_a_segment(mode: str, alphabet: str, spaces: float) -> None:
    """With white space, nearly without any, and without: some 16 KB make a segment."""
    rng = random.Random(f"{alphabet}{spaces}")
    texts = []
    for size in (5_400, 8_150, 16_383, 16_384, 16_385, 33_000):
        chars = rng.choices([char for char in alphabet if not char.isspace()], k=size)
        for at in range(size):
            if rng.random() < spaces:
                chars[at] = rng.choice(" \n \t\u2028")
        texts.append("".join(chars))
    if mode != "wordpunct":
        texts = texts[2:5]
    check(texts, mode)


def test_final_sigma_is_seen_across_what_looks_like_an_end() -> None:
    # 12 to 20 KB of case-ignorable characters between the letter and its sigma.
    for size in (12_280, 12_288, 16_383, 16_384, 20_000):
        for text in ("x Α" + "'" * size + "Σ", "Σ" + "\u0301" * (size // 2) + "Α" + ".'" * 90):
            assert tokens(text, "wordpunct") == tokens_of(text)


@pytest.mark.parametrize("mode", MODES)
def test_neighbours_in_the_buffer_do_not_matter(mode: str) -> None:
    """A text gives the same tokens before, behind and between any bytes, or at the buffer's end."""
    rng = random.Random(5)
    for size in [*range(1, 140), 1000]:
        text = "".join(rng.choices("aB .é漢Σ", k=size))
        middle = text.encode()
        alone = TWO[mode].rows(Documents.from_texts([text]))[1]
        for before, behind in ((b"", b""), (b"Z", b"a"), (b"." * 70, b"9" * 70), (b"", b"\xe6")):
            data = np.frombuffer(before + middle + behind, np.uint8)
            base = Documents.from_texts([text])
            start = np.array([len(before)], np.int64)
            placed = Documents(
                data, start, start + len(middle), base.uid, base.file, base.offset, base.bytes
            )
            assert np.array_equal(TWO[mode].rows(placed)[1], alone)
            assert TWO[mode].lengths(placed)[0] == len(tokens_of(text, mode))


def test_real_documents(small_pool: Path) -> None:
    """Every domain: whole documents, word for word."""
    texts = [row["text"] for row in read_rows(small_pool)][:1_000]
    texts = [text for text in texts if all(comparable(char) for char in set(text))]
    assert len(texts) > 800
    twins = [tokens_of(text) for text in texts]
    for text, twin in zip(texts, twins, strict=True):
        assert tokens(text, "wordpunct") == twin
    assert ONE["wordpunct"].lengths(Documents.from_texts(texts)).tolist() == list(map(len, twins))
    for mode in ("mixed", "characters"):
        for text in texts[::4]:
            assert tokens(text, mode) == tokens_of(text, mode)


def test_documents_without_tokens() -> None:
    documents = Documents.from_texts(["", " \n\u2028", "a", ""])
    for feature in (*TWO.values(), HashedNgrams(5), HashedNgrams(hash="sha256")):
        counted = feature.count(documents)
        assert counted.tokens.tolist() == [0, 0, 1, 0] == counted.grams.tolist()
        assert counted.counts.sum() == 1
        scored = feature.score(documents, np.ones((10_000, 2)))
        assert scored.sums.tolist() == [[0, 0], [0, 0], [1, 1], [0, 0]]
        spans, ids = feature.rows(documents)
        assert spans.tolist() == [0, 0, 0, 1, 1] and len(ids) == 1
        assert feature.grams(" ") == []


def test_no_documents() -> None:
    nothing = Documents.from_texts([])
    for feature in (*TWO.values(), HashedNgrams(hash="sha256")):
        assert not feature.count(nothing).counts.any()
        assert feature.score(nothing, np.ones((10_000, 3))).sums.shape == (0, 3)
        assert feature.rows(nothing)[0].tolist() == [0]
        assert len(feature.lengths(nothing)) == 0


def test_a_giant_of_one_token() -> None:
    """10 MB without white space: one word; and 10 MB of characters."""
    giant = Documents.from_texts(["x" * 10_000_000, "small"])
    for feature in (HashedNgrams(), HashedNgrams(5), HashedNgrams(hash="sha256")):
        assert feature.count(giant).tokens.tolist() == [1, 1]
    assert TWO["characters"].lengths(giant).tolist() == [10_000_000, 5]
    chinese = Documents.from_texts(["漢" * 1_000_000])
    assert HashedNgrams(tokens="mixed").count(chinese).grams.tolist() == [1_999_999]


WAYS = [places_in_steps, *([places_at_once] if COMPRESSES else [])]


@pytest.mark.parametrize("places", WAYS, ids=lambda way: way.py_func.__name__)
def test_places_of_bits(places: Any) -> None:
    """Every way of listing set bits, whatever this processor uses: bit by bit the same."""
    draw = random.Random(0)
    masks = [0, 1, 1 << 63, 2**64 - 1, 0xFF, *(draw.getrandbits(64) for _ in range(200))]
    masks += [draw.getrandbits(64) & draw.getrandbits(64) & draw.getrandbits(64) for _ in range(99)]
    for bits in masks:
        out = np.full(140, 7, np.uint32)
        count = places(np.uint64(bits), np.uint64(1000), out, np.uint64(3))
        wanted = [1000 + i for i in range(64) if bits >> i & 1]
        assert out[:3].tolist() == [7, 7, 7]
        assert out[3 : int(count)].tolist() == wanted
        assert int(count) == 3 + len(wanted)
        assert (out[67:] == 7).all()
