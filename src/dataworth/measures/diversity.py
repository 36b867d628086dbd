"""Measures of diversity: distinct n-grams and compression. Both depend on the amount of text.

More text repeats itself more, so compare two numbers only when they were measured on as many
bytes: `like_sized` cuts two sets of documents to one size.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from dataworth.corpus.documents import Documents
from dataworth.features.grams import Words, ngrams_of, words_of

LEVEL = 6


def distinct(texts: Documents | Sequence[str], n: int) -> float:
    """distinct-n: different n-grams / n-gram occurrences, 0 to 1; NaN where there are none.

    n-grams of lower-cased words and runs of signs, within a document, over all documents together
    (Li et al. 2016, "A Diversity-Promoting Objective Function", section 5.2; remembered).
    """
    return distinct_of(words_of(_documents(texts)), n)


def distinct_of(words: Words, n: int) -> float:
    """`distinct` of words that were cut before."""
    grams = ngrams_of(words, n).hashes
    return len(np.unique(grams)) / len(grams) if len(grams) else float("nan")


def compression_ratio(texts: Documents | Sequence[str]) -> float:
    """Bytes of text / bytes after DEFLATE (level 6); larger is more repetitive.

    The texts in UTF-8, each followed by a line feed, as one stream (Shaib et al. 2024,
    "Standardizing the Measurement of Text Diversity", with gzip; remembered). NaN without text.
    """
    documents = _documents(texts)
    squeeze = zlib.compressobj(LEVEL)
    raw = packed = 0
    for row in range(len(documents)):
        text = documents.data[documents.starts[row] : documents.ends[row]].tobytes() + b"\n"
        raw += len(text)
        packed += len(squeeze.compress(text))
    packed += len(squeeze.flush())
    return raw / packed if raw else float("nan")


def like_sized(first: Documents, second: Documents, most: int) -> tuple[Documents, Documents, int]:
    """Return the first documents of both, as many as fit the smaller one's bytes, `most` at most.

    Returns both and that number of bytes. Documents stay whole: a side may hold less by one of
    its documents, but has one at least.
    """
    size = min(int(first.text_bytes.sum()), int(second.text_bytes.sum()), most)
    return _leading(first, size), _leading(second, size), size


def _leading(documents: Documents, size: int) -> Documents:
    fits = np.cumsum(documents.text_bytes) <= size
    count = max(int(np.count_nonzero(fits)), min(1, len(documents)))
    return documents.take(np.arange(count))


def _documents(texts: Documents | Sequence[str]) -> Documents:
    return texts if isinstance(texts, Documents) else Documents.from_texts(texts)
