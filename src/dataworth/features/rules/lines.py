"""Kernels for the rules of FineWeb and of C4, line by line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import kernel
from dataworth.features.ngrams.tokens import decode
from dataworth.features.rules import characters as c
from dataworth.features.rules.characters import character_table
from dataworth.features.rules.hashing import BASE
from dataworth.features.rules.repetition import find_slot, mask_for, stripped, table_memory
from dataworth.features.rules.words import IS_MARK, IS_STOP, KIND, cut, pieces

LINE_SHARES = ("line_ends", "short_lines", "repeated_lines", "line_feeds")
COUNTED_LINES = ("lorem_ipsum", "curly_bracket", "sentences", "lines_kept")
_SPACE, _BREAK, _STOP = np.uint32(c.SPACE), np.uint32(c.BREAK), np.uint32(c.STOP)
_DECIMAL = np.uint32(c.DECIMAL)
_BASE = np.uint64(BASE)
_1 = np.uint64(1)
_FEED, _DOT, _OPEN, _CLOSE = 10, 46, 91, 93


def needles(*texts: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return byte strings to look for: all their bytes, and where each begins."""
    data = np.frombuffer("".join(texts).encode(), np.uint8)
    return data, np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)


_WATCHED = needles(
    "lorem ipsum",
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_LOREM, _JAVASCRIPT, _POLICIES = 1, 2, ~3
_CITATIONS = needles("[edit]", "[citation needed]")
_CART, _SIGN_IN, _READ_MORE = (
    needles("items in cart"),
    needles("sign-in"),
    needles("read more..."),
)
_COUNTED = needles("like", "share", "comment", "retweet", "view", "repl", "follower")


@kernel
def stands_at(data, place, end, sought, spans, number):  # type: ignore[no-untyped-def]
    """Tell if a text to look for stands here, in any case of ASCII."""
    if place < 0 or place + spans[number + 1] - spans[number] > end:
        return False
    for k in range(spans[number], spans[number + 1]):
        byte = data[place + k - spans[number]]
        if 65 <= byte <= 90:
            byte += 32
        if byte != sought[k]:
            return False
    return True


@kernel
def holds(data, start, end, texts):  # type: ignore[no-untyped-def]
    """Return a bit for each text: 1 if it stands between two places, in any case of ASCII."""
    sought, spans = texts
    bits = 0
    for number in range(len(spans) - 1):
        first = sought[spans[number]]
        for place in range(start, end):
            if data[place] | 32 == first and stands_at(data, place, end, sought, spans, number):
                bits |= 1 << number
                break
    return bits


@kernel
def line_end(data, start, end, table):  # type: ignore[no-untyped-def]
    """Return the end of the line that begins here, and the next one's start, as str.splitlines."""
    at, stop = np.uint64(start), np.uint64(end)
    while at < stop:
        code, width = decode(data, at)
        if table[code] & _BREAK:
            after = at + width
            if code == 13 and after < stop and data[after] == _FEED:
                after += _1
            return np.int64(at), np.int64(after)
        at += width
    return np.int64(stop), np.int64(stop)


@kernel
def _line_shares(data, starts, ends, table, short, spans, characters, memory, out):  # type: ignore[no-untyped-def]
    keys, stamps, _, last = memory
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        count = spans[row + 1] - spans[row]
        last[0] += 1
        stamp = np.uint32(last[0])
        feeds = 0
        for place in range(start, end):
            feeds += data[place] == _FEED
        mask = mask_for(feeds + 1)
        lines, ended, shorts, repeated = 0, 0, 0, 0
        value, size, blank = np.uint64(0), 0, True
        flag = np.uint32(0)
        at, stop = np.uint64(start), np.uint64(end)
        while at <= stop:
            code, width = np.uint64(_FEED), _1
            if at < stop:
                code, width = decode(data, at)
            at += width
            if code != _FEED:
                flag = table[code]
                blank = blank and (flag & _SPACE) != 0
                value = value * _BASE + code + _1
                size += 1
                continue
            if not blank:
                lines += 1
                ended += (flag & _STOP) != 0
                shorts += size <= short
                key = value ^ np.uint64(size)
                slot = find_slot(keys, stamps, stamp, key, mask)
                if stamps[slot] == stamp:
                    repeated += size
                stamps[slot] = stamp
                keys[slot] = key
            value, size, blank = np.uint64(0), 0, True
        if lines == 0:
            out[row] = np.nan
            continue
        out[row, 0] = ended / lines
        out[row, 1] = shorts / lines
        out[row, 2] = repeated / (characters[row] - feeds)
        out[row, 3] = feeds / count if count else np.nan


def line_shares(documents: Documents, short: int) -> NDArray[np.float64]:
    """Return the numbers of each document, float64 [n, 4], in the order of `LINE_SHARES`.

    Lines with nothing but white space do not count. Of the others: the share that ends in a mark
    that ends a sentence, the share of at most `short` characters, and the characters of lines that
    were there before, as a share of those that are no line feed. Then line feeds per word. NaN for
    a text without a line.
    """
    out = np.empty((len(documents), len(LINE_SHARES)))
    table = character_table()
    for rows, piece in pieces(documents):
        data, starts, ends = piece.data, piece.starts, piece.ends
        words = cut(data, starts, ends)
        memory = table_memory(int(piece.text_bytes.max()))
        _line_shares(
            *(data, starts, ends, table, short),
            *(words.spans, words.characters, memory, out[rows]),
        )
    return out


@kernel
def split_words(data, start, end, table):  # type: ignore[no-untyped-def]
    """Count the words between white space, and the characters of the longest one."""
    count, longest, size = 0, 0, 0
    at, stop = np.uint64(start), np.uint64(end)
    while at < stop:
        code, width = decode(data, at)
        at += width
        if table[code] & _SPACE:
            size = 0
        else:
            count += size == 0
            size += 1
            longest = max(longest, size)
    return count, longest


@kernel
def _citation(data, place, end, table, texts):  # type: ignore[no-untyped-def]
    """Return the bytes of a mark such as `[12]` or `[edit]` that begins here; 0 for none."""
    sought, spans = texts
    for number in range(len(spans) - 1):
        size = spans[number + 1] - spans[number]
        if place + size <= end:
            same = True
            for k in range(size):
                same = same and data[place + k] == sought[spans[number] + k]
            if same:
                return size
    at = np.uint64(place + 1)
    while at < np.uint64(end):
        code, width = decode(data, at)
        if code == _CLOSE:
            return np.int64(at) + 1 - place
        if not table[code] & _DECIMAL:
            return 0
        at += width
    return 0


@kernel
def _sentences(tokens, spans, owner, out):  # type: ignore[no-untyped-def]
    """Add the sentences of lines to `out[owner]`: one begins at a word behind a mark that ends one.

    `owner` int64 [lines]: which text a line is of.
    """
    for line in range(len(owner)):
        sentences, seen = (1 if spans[line + 1] > spans[line] else 0), False
        for k in range(spans[line], spans[line + 1]):
            kind = tokens[k, KIND]
            if seen and not kind & (IS_MARK | IS_STOP):
                sentences += 1
                seen = False
            elif kind & IS_STOP:
                seen = True
        out[owner[line], 2] += sentences


@kernel
def _ends_sentence(line, begin, size):  # type: ignore[no-untyped-def]
    if size == begin:
        return False
    last = line[size - 1]
    if last == _DOT:
        return not (size - begin > 2 and line[size - 2] == _DOT and line[size - 3] == _DOT)
    return last == 63 or last == 33 or last == 34 or last == 39


@kernel
def _counted_lines(data, starts, ends, table, texts, settings, line, begins, finishes, owner, out):  # type: ignore[no-untyped-def]
    """Write the lines that count to `line[begins:finishes]`, and `out` but the sentences.

    Returns the number of lines. `owner` int64 receives which text each is of.
    """
    watched, citations = texts
    longest_word, least_words, cites, line_ends, scripts, rules = settings
    filled, total = 0, 0
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        latin, curly, kept, lines = 0, 0, 0, 0
        while start < end:
            stop, after = line_end(data, start, end, table)
            first, last = stripped(data, start, stop, table)
            start = after
            lines += 1
            words, longest = split_words(data, first, last, table)
            if longest_word and longest > longest_word:
                continue
            size = filled
            while first < last:
                skip = 0
                if cites and data[first] == _OPEN:
                    skip = _citation(data, first, last, table, citations)
                if skip == 0:
                    line[size] = data[first]
                    size += 1
                    skip = 1
                first += skip
            if line_ends and not _ends_sentence(line, filled, size):
                continue
            if words < least_words:
                continue
            bits = holds(line, filled, size, watched)
            if bits & _LOREM:
                latin = 1
            if scripts and bits & _JAVASCRIPT:
                continue
            for k in range(filled, size):
                curly |= line[k] == 123
            if rules and bits & _POLICIES:
                continue
            begins[total], finishes[total], owner[total] = filled, size, row
            total += 1
            filled = size
            kept += 1
        out[row, 0] = latin
        out[row, 1] = curly
        out[row, 2] = 0
        out[row, 3] = kept / lines if lines else np.nan
    return total


def counted_lines(
    documents: Documents,
    *,
    longest_word: int,
    least_words: int,
    citations: bool,
    line_ends: bool,
    javascript: bool,
    policies: bool,
) -> NDArray[np.float64]:
    """Return the numbers of each document, float64 [n, 4], in the order of `COUNTED_LINES`.

    A line counts unless it has a word of more than `longest_word` characters (0: any), does not end
    a sentence (with `line_ends`), has fewer than `least_words` words, or speaks of JavaScript or of
    cookies and terms. Whether "lorem ipsum" or a curly bracket is in one that counts, the sentences
    of those, and their share. With `citations`, marks such as `[12]` are looked over.
    """
    out = np.empty((len(documents), len(COUNTED_LINES)))
    options = (longest_word, least_words, citations, line_ends, javascript, policies)
    settings = tuple(np.int64(value) for value in options)
    texts = (_WATCHED, _CITATIONS)
    table = character_table()
    for rows, piece in pieces(documents):
        room = int(piece.text_bytes.sum()) + 1
        line = np.empty(room, np.uint8)
        begins, finishes, owner = (np.empty(room, np.int64) for _ in range(3))
        count = _counted_lines(
            *(piece.data, piece.starts, piece.ends, table, texts, settings),
            *(line, begins, finishes, owner, out[rows]),
        )
        words = cut(line, begins[:count], finishes[:count])
        _sentences(words.tokens, words.spans, owner[:count], out[rows])
    return out
