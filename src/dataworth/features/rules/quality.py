"""A kernel for Gopher's rules of quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import kernel
from dataworth.features.ngrams.tokens import decode
from dataworth.features.rules import characters as c
from dataworth.features.rules.characters import character_table
from dataworth.features.rules.hashing import text_hash
from dataworth.features.rules.words import (
    HAS_LETTER,
    HASH,
    KIND,
    SIZE,
    SYMBOLS,
    cut,
    pieces,
)

NAMES = (
    "words",
    "mean_word",
    "hashes",
    "ellipses",
    "bullets",
    "ellipsis_lines",
    "alphabetic",
    "stop_words",
    "stop_words_total",
)
_SPACE, _BREAK = np.uint32(c.SPACE), np.uint32(c.BREAK)
_1 = np.uint64(1)
_DOT, _ELLIPSIS, _BULLET, _DASH, _HASH = ord("."), ord("…"), ord("•"), ord("-"), ord("#")


@kernel
def _signs(data, start, end, table):  # type: ignore[no-untyped-def]
    """Count (hashes, ellipses, lines, lines with a bullet, lines that end in an ellipsis)."""
    hashes, ellipses, lines, bullets, trailing = 0, 0, 0, 0, 0
    run = 0  # of dots, of which three are an ellipsis
    empty, blank = True, True
    dots, last, gap = 0, np.int64(0), False
    at, stop = np.uint64(start), np.uint64(end)
    previous = 0
    while at < stop:
        code, width = decode(data, at)
        flag = table[code]
        at += width
        if code == _HASH:
            hashes += 1
        run = run + 1 if code == _DOT else 0
        if run == 3:
            ellipses += 1
            run = 0
        ellipses += code == _ELLIPSIS
        if code == 10 and previous == 13:
            previous = 10
            continue
        previous = code
        if flag & _BREAK:
            lines += 1
            trailing += dots >= 3 or last == _ELLIPSIS
            empty, blank, dots, last, gap = True, True, 0, np.int64(0), False
            continue
        empty = False
        if flag & _SPACE:
            gap = True
            continue
        if blank:
            bullets += code in (_BULLET, _DASH)
            blank = False
        dots = (1 if gap else dots + 1) if code == _DOT else 0
        last = np.int64(code)
        gap = False
    if not empty:
        lines += 1
        trailing += dots >= 3 or last == _ELLIPSIS
    return hashes, ellipses, lines, bullets, trailing


@kernel
def _quality(data, starts, ends, table, stops, tokens, spans, out):  # type: ignore[no-untyped-def]
    """Write a row of numbers for each text, in the order of `NAMES`; NaN for 0 / 0.

    `stops` uint64: the hashes of the stop words, at most 64.
    """
    for row in range(len(starts)):
        count = spans[row + 1] - spans[row]
        words, characters, alphabetic, total = 0, np.int64(0), 0, 0
        seen = np.uint64(0)
        for k in range(spans[row], spans[row + 1]):
            if not tokens[k, KIND] & SYMBOLS:
                words += 1
                characters += np.int64(tokens[k, SIZE])
            alphabetic += (tokens[k, KIND] & HAS_LETTER) != 0
            for stop in range(len(stops)):
                if tokens[k, HASH] == stops[stop]:
                    seen |= _1 << np.uint64(stop)
                    total += 1
        distinct = 0
        while seen:
            seen &= seen - _1
            distinct += 1
        signs, ellipses, lines, bullets, trailing = _signs(data, starts[row], ends[row], table)
        out[row, 0] = words
        out[row, 1] = characters / words if words else np.nan
        out[row, 2] = signs / count if count else np.nan
        out[row, 3] = ellipses / count if count else np.nan
        out[row, 4] = bullets / lines if lines else np.nan
        out[row, 5] = trailing / lines if lines else np.nan
        out[row, 6] = alphabetic / count if count else np.nan
        out[row, 7] = distinct
        out[row, 8] = total


def quality(documents: Documents, stop_words: Sequence[str]) -> NDArray[np.float64]:
    """Return the numbers of each document, float64 [n, 9], in the order of `NAMES`.

    Words that are signs alone do not count among `words` and in `mean_word`, but do in the
    denominators of the shares.
    """
    out = np.empty((len(documents), len(NAMES)))
    stops = np.array([text_hash(word) for word in stop_words], np.uint64)
    table = character_table()
    for rows, piece in pieces(documents):
        data, starts, ends = piece.data, piece.starts, piece.ends
        words = cut(data, starts, ends)
        _quality(data, starts, ends, table, stops, words.tokens, words.spans, out[rows])
    return out
