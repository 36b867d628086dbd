"""Kernels: lines that RefinedWeb's cleaning removes, and a text's kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import kernel
from dataworth.features.ngrams.tokens import decode
from dataworth.features.rules import characters as c
from dataworth.features.rules.characters import character_table
from dataworth.features.rules.lines import holds, line_end, needles, split_words, stands_at
from dataworth.features.rules.repetition import stripped

KINDS = ("latin", "unspaced", "code_lines")
_SPACE, _LETTER, _DECIMAL = np.uint32(c.SPACE), np.uint32(c.LETTER), np.uint32(c.DECIMAL)
_UPPER, _LOWER = np.uint32(c.UPPER), np.uint32(c.LOWER)
_LATIN, _UNSPACED = np.uint32(c.LATIN), np.uint32(c.UNSPACED)
_CART, _SIGN_IN = needles("items in cart"), needles("sign-in")
_READ_MORE = needles("read more...")
_COUNTED = needles("like", "share", "comment", "retweet", "view", "repl", "follower")


@kernel
def _cleaned(data, starts, ends, table, texts, short, out):  # type: ignore[no-untyped-def]
    cart, sign_in, read_more, counted = texts
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        total, removed = 0, 0
        while start < end:
            stop, after = line_end(data, start, end, table)
            first, last = stripped(data, start, stop, table)
            start = after
            words, _ = split_words(data, first, last, table)
            total += words
            upper, digits, signs, characters = 0, 0, 0, 0
            at, finish = np.uint64(first), np.uint64(last)
            while at < finish:
                code, width = decode(data, at)
                flag = table[code]
                at += width
                characters += (flag & _SPACE) == 0
                upper += (flag & _UPPER) != 0 and (flag & _LOWER) == 0
                digits += (flag & _DECIMAL) != 0
                signs += (flag & (_LETTER | _DECIMAL | _SPACE)) == 0
            bad = (
                words == 1
                or upper * 2 > characters
                or (digits > 0 and digits + signs == characters)
            )
            if words == 2 and digits > 0:
                place = last - 1
                while place > first and data[place] != 32:
                    place -= 1
                sought, spans = counted
                for number in range(len(spans) - 1):
                    bad = bad or stands_at(data, place + 1, last, sought, spans, number)
            if words <= short:
                size = read_more[1][1]
                bad = bad or holds(data, first, last, cart) != 0
                bad = bad or stands_at(data, first, last, sign_in[0], sign_in[1], 0)
                bad = bad or stands_at(data, last - size, last, read_more[0], read_more[1], 0)
            if bad:
                removed += words
        out[row, 0] = removed / total if total else np.nan


def cleaned(documents: Documents, short: int) -> NDArray[np.float64]:
    """Return the share of words in lines that RefinedWeb's cleaning removes, float64 [n, 1].

    Lines of one word, mainly of capitals, of numbers alone, counters such as "3 likes", and, of at
    most `short` words, those that begin with "sign-in", end in "read more..." or hold "items in
    cart".
    """
    out = np.empty((len(documents), 1))
    texts = (_CART, _SIGN_IN, _READ_MORE, _COUNTED)
    table = character_table()
    _cleaned(documents.data, documents.starts, documents.ends, table, texts, short, out)
    return out


@kernel
def _ends_code(data, first, last, indented):  # type: ignore[no-untyped-def]
    """Tell if a line ends in `;`, `{`, `}`, `):`, `],` and the like, or, if indented, in `)`."""
    sign = data[last - 1]
    if sign == 59 or sign == 123 or sign == 125:
        return True
    if sign == 58 or sign == 44:
        return last - first > 1 and (data[last - 2] == 41 or data[last - 2] == 93)
    return indented and sign == 41


@kernel
def _kinds(data, starts, ends, table, out):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        letters, latin, unspaced, lines, code_lines = 0, 0, 0, 0, 0
        while start < end:
            stop, after = line_end(data, start, end, table)
            first, last = stripped(data, start, stop, table)
            indented = first > start
            start = after
            at, finish = np.uint64(first), np.uint64(last)
            while at < finish:
                code, width = decode(data, at)
                flag = table[code]
                at += width
                letters += (flag & _LETTER) != 0
                latin += (flag & _LATIN) != 0
                unspaced += (flag & _LETTER) != 0 and (flag & _UNSPACED) != 0
            if last > first:
                lines += 1
                code_lines += _ends_code(data, first, last, indented)
        out[row, 0] = latin / letters if letters else np.nan
        out[row, 1] = unspaced / letters if letters else np.nan
        out[row, 2] = code_lines / lines if lines else np.nan


def kinds(documents: Documents) -> NDArray[np.float64]:
    """Return what kind of text each document is, float64 [n, 3], in the order of `KINDS`.

    Of its letters the share that is Latin, and the share of scripts without spaces between words;
    of its lines the share that ends as lines of programs do. NaN where there are none.
    """
    out = np.empty((len(documents), len(KINDS)))
    _kinds(documents.data, documents.starts, documents.ends, character_table(), out)
    return out
