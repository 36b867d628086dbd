"""The tokenizer as a kernel: lower-cased text cut by the regular expression `\\w+|[^\\w\\s]+`.

A text is worked on in segments that end at white space. A segment's lower-cased bytes go to a
buffer, and its tokens are two lists of places in that buffer. Sixty-four bytes at a time become bit
masks (word, space); a token begins or ends where a mask changes. Characters beyond ASCII are looked
up one by one and set their bits in the same masks. The few whose lower case has another length, and
the capital sigma, whose lower case depends on its neighbours, send their segment through a plain
loop over code points.

Source of the tokenization: DSIR's reference package (`wordpunct` on lower-cased text).
"""

from __future__ import annotations

import numpy as np

from dataworth.corpus.kernels.simd import (
    COMPRESSES,
    high64,
    kernel,
    lower64,
    ones,
    places64,
    spaces64,
    trailing_zeros,
    words64,
)
from dataworth.features.ngrams.unicode import (
    CASED,
    IGNORABLE,
    IRREGULAR,
    LOWER,
    SINGLE,
    SPACE,
    WORD,
)

# What a token is. WORDPUNCT: the regular expression. MIXED: the same, but each character of a
# script written without spaces is a token of its own. CHARACTERS: each character but spaces.
WORDPUNCT, MIXED, CHARACTERS = 0, 1, 2
MODES = {"wordpunct": WORDPUNCT, "mixed": MIXED, "characters": CHARACTERS}

SEGMENT = 16384
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
_64 = np.uint64(64)
_63 = np.uint64(63)
_0 = np.uint64(0)


@kernel
def decode(data, at):  # type: ignore[no-untyped-def]
    """Decode the code point at `at` of valid UTF-8; return it and its number of bytes."""
    first = np.uint64(data[at])
    if first < np.uint64(0x80):
        return first, _ONE
    second = np.uint64(data[at + _ONE]) & np.uint64(0x3F)
    if first < np.uint64(0xE0):
        return ((first & np.uint64(0x1F)) << np.uint64(6)) | second, np.uint64(2)
    third = np.uint64(data[at + np.uint64(2)]) & np.uint64(0x3F)
    if first < np.uint64(0xF0):
        high = (first & np.uint64(0x0F)) << np.uint64(12)
        return high | (second << np.uint64(6)) | third, np.uint64(3)
    fourth = np.uint64(data[at + np.uint64(3)]) & np.uint64(0x3F)
    high = ((first & np.uint64(0x07)) << np.uint64(18)) | (second << np.uint64(12))
    return high | (third << np.uint64(6)) | fourth, np.uint64(4)


@kernel
def _encode(code, out, at):  # type: ignore[no-untyped-def]
    """Write a code point as UTF-8; return the place behind it."""
    if code < np.uint64(0x80):
        out[at] = np.uint8(code)
        return at + _ONE
    if code < np.uint64(0x800):
        out[at] = np.uint8(np.uint64(0xC0) | (code >> np.uint64(6)))
        out[at + _ONE] = np.uint8(np.uint64(0x80) | (code & np.uint64(0x3F)))
        return at + np.uint64(2)
    if code < np.uint64(0x10000):
        out[at] = np.uint8(np.uint64(0xE0) | (code >> np.uint64(12)))
        out[at + _ONE] = np.uint8(np.uint64(0x80) | ((code >> np.uint64(6)) & np.uint64(0x3F)))
        out[at + np.uint64(2)] = np.uint8(np.uint64(0x80) | (code & np.uint64(0x3F)))
        return at + np.uint64(3)
    out[at] = np.uint8(np.uint64(0xF0) | (code >> np.uint64(18)))
    out[at + _ONE] = np.uint8(np.uint64(0x80) | ((code >> np.uint64(12)) & np.uint64(0x3F)))
    out[at + np.uint64(2)] = np.uint8(np.uint64(0x80) | ((code >> np.uint64(6)) & np.uint64(0x3F)))
    out[at + np.uint64(3)] = np.uint8(np.uint64(0x80) | (code & np.uint64(0x3F)))
    return at + np.uint64(4)


@kernel
def places_in_steps(bits, base, out, count):  # type: ignore[no-untyped-def]
    """Append the places of the set bits to `out`, eight at a time; return the new count.

    Up to seven entries past the count are scratch: a loop without a branch for each bit.
    """
    total = count + ones(bits)
    while bits != _0:
        for i in range(8):
            out[count + np.uint64(i)] = np.uint32(base + trailing_zeros(bits))
            bits &= bits - _ONE
        count += np.uint64(8)
    return total


@kernel
def places_at_once(bits, base, out, count):  # type: ignore[no-untyped-def]
    """Append as `places_in_steps` does, faster; up to 64 entries past the count are scratch."""
    places64(bits, base, out, count)
    return count + ones(bits)


_places = places_at_once if COMPRESSES else places_in_steps


@kernel
def segment_end(data, at, end):  # type: ignore[no-untyped-def]
    """Return the end of the segment that begins at `at`: ASCII white space, or the text's end.

    White space neither belongs to a token nor can a capital sigma look through it.
    """
    if end - at <= np.uint64(SEGMENT):
        return end
    cut = at + np.uint64(SEGMENT)
    low = cut - np.uint64(SEGMENT // 4)
    while cut > low:
        if data[cut] == 32 or data[cut] == 10:
            return cut
        cut -= _ONE
    cut = at + np.uint64(SEGMENT)
    while cut < end and data[cut] != 32 and data[cut] != 10:
        cut += _ONE
    return cut


@kernel
def _sigma(data, at, start, end, table):  # type: ignore[no-untyped-def]
    """Return the lower case of the capital sigma at `at`: final after a cased letter, not before.

    The rule of the Unicode standard (Final_Sigma), as Python's str.lower applies it.
    """
    before = at
    cased = False
    while before > start:
        before -= _ONE
        while (data[before] & 0xC0) == 0x80:
            before -= _ONE
        code, size = decode(data, before)
        flags = table[code]
        if not flags & np.uint32(IGNORABLE):
            cased = (flags & np.uint32(CASED)) != 0
            break
    if not cased:
        return np.uint64(0x3C3)
    after = at + np.uint64(2)
    while after < end:
        code, size = decode(data, after)
        flags = table[code]
        if not flags & np.uint32(IGNORABLE):
            return np.uint64(0x3C3) if flags & np.uint32(CASED) else np.uint64(0x3C2)
        after += size
    return np.uint64(0x3C2)


@kernel
def _tokenize_plainly(data, start, end, table, mode, lowered, starts, ends):  # type: ignore[no-untyped-def]
    """Tokenize the segment by a loop over code points: any character, any context."""
    count = _0
    size_out = _0
    previous = np.uint32(0)  # class of the token under way: 0 none, 1 word, 2 punctuation
    alone = False
    at = start
    while at < end:
        code, size = decode(data, at)
        flags = table[code]
        low = np.uint64(flags & np.uint32(LOWER))
        extra = _0
        if code == np.uint64(0x3A3):
            low = _sigma(data, at, start, end, table)
        elif code == np.uint64(0x130):
            low = np.uint64(0x69)
            extra = np.uint64(0x307)
        # U+0130 lowers to "i" and a combining dot, which is no word character.
        for part in range(2):
            now = low if part == 0 else extra
            if part == 1 and extra == _0:
                break
            kind = table[now]
            if kind & np.uint32(SPACE):
                group = np.uint32(0)
            elif kind & np.uint32(WORD):
                group = np.uint32(1)
            else:
                group = np.uint32(2)
            single = mode == CHARACTERS or (mode == MIXED and (kind & np.uint32(SINGLE)) != 0)
            if previous != 0 and (group != previous or single or alone):
                ends[count] = np.uint32(size_out)
                count += _ONE
                previous = np.uint32(0)
            if group != 0 and previous == 0:
                starts[count] = np.uint32(size_out)
            previous = group
            alone = single
            size_out = _encode(now, lowered, size_out)
        at += size
    if previous != 0:
        ends[count] = np.uint32(size_out)
        count += _ONE
    return count


@kernel
def _mark(data, at, here, high, table, mode, lowered, masks):  # type: ignore[no-untyped-def]
    """Look up the characters beyond ASCII of one block and set their bits.

    `masks` receives word, space, single, behind-single; lower case is written to `lowered`.
    Returns the number of bytes of the block that are done (a character that crosses its end is
    left to the next block), or 65 when the segment needs the plain loop.
    """
    word = _0
    space = _0
    single = _0
    behind = _0
    done = _64
    while high != _0:
        bit = trailing_zeros(high)
        code, size = decode(data, at + bit)
        if bit + size > _64:
            done = bit
            break
        flags = table[code]
        if flags & np.uint32(IRREGULAR):
            return np.uint64(65)
        low = np.uint64(flags & np.uint32(LOWER))
        if low != code:
            _encode(low, lowered, here + bit)
        span = ((_ONE << size) - _ONE) << bit
        if flags & np.uint32(WORD):
            word |= span
            if mode == MIXED and (flags & np.uint32(SINGLE)):
                single |= _ONE << bit
                if bit + size < _64:
                    behind |= _ONE << (bit + size)
                else:
                    masks[4] = _ONE
        elif flags & np.uint32(SPACE):
            space |= span
        if mode == CHARACTERS and not flags & np.uint32(SPACE):
            single |= _ONE << bit
        high &= ~span
    masks[0] = word
    masks[1] = space
    masks[2] = single
    masks[3] = behind
    return done


@kernel
def _copy_tail(data, at, end, work):  # type: ignore[no-untyped-def]
    for i in range(64):
        work[i] = data[at + np.uint64(i)] if at + np.uint64(i) < end else np.uint8(32)


@kernel
def tokenize(data, start, end, table, mode, lowered, starts, ends, work, masks):  # type: ignore[no-untyped-def]
    """Tokenize the segment `data[start:end]`; return the number of tokens.

    `lowered` uint8 receives the lower-cased bytes (room for 1.5 times the segment + 64),
    `starts` and `ends` uint32 the places of the tokens in it. `work` uint8 [64] and `masks`
    uint64 [8] are scratch.
    """
    count = _0
    closed = _0
    last_word = _0
    last_mark = _0
    carry = _0
    at = start
    whole = np.uint64(len(data))
    while at < end:
        here = at - start
        left = end - at
        size = left if left < _64 else _64
        valid = _ALL >> (_64 - size)
        if at + _64 <= whole:
            lower64(data, at, lowered, here)
            word = words64(data, at)
            space = spaces64(data, at)
            high = high64(data, at) & valid
        else:
            # The buffer ends here: a copy with spaces behind, so that 64 bytes can be loaded.
            _copy_tail(data, at, end, work)
            lower64(work, _0, lowered, here)
            word = words64(work, _0)
            space = spaces64(work, _0)
            high = high64(work, _0) & valid
        single = _0
        behind = carry
        carry = _0
        if high != _0:
            masks[4] = _0
            done = _mark(data, at, here, high, table, mode, lowered, masks)
            if done > _64:
                return _tokenize_plainly(data, start, end, table, mode, lowered, starts, ends)
            if done < size:
                size = done
                valid = _ALL >> (_64 - size)
            word |= masks[0]
            space |= masks[1]
            single = masks[2]
            behind |= masks[3]
            carry = masks[4]
        if size < _64:
            carry |= (behind >> size) & _ONE
        if mode == CHARACTERS:
            single |= ~high & ~space
        word &= valid
        mark = ~(word | space) & valid
        word_before = (word << _ONE) | last_word
        mark_before = (mark << _ONE) | last_mark
        begins = (word & ~word_before) | (mark & ~mark_before)
        finishes = (~word & word_before) | (~mark & mark_before)
        if mode == CHARACTERS:
            inner = single & ((word & word_before) | (mark & mark_before))
            begins |= inner
            finishes |= inner
        elif mode == MIXED:
            inner = (single | behind) & word & word_before
            begins |= inner
            finishes |= inner
        count = _places(begins & valid, here, starts, count)
        closed = _places(finishes & valid, here, ends, closed)
        last_word = (word >> (size - _ONE)) & _ONE
        last_mark = (mark >> (size - _ONE)) & _ONE
        at += size
    if closed < count:
        ends[closed] = np.uint32(end - start)
    return count


@kernel
def count_tokens(data, start, end, table, mode, work, masks, lowered, starts, ends):  # type: ignore[no-untyped-def]
    """Count the tokens of `data[start:end]`, without their places where the text is ASCII."""
    total = _0
    at = start
    whole = np.uint64(len(data))
    last_word = _0
    last_mark = _0
    plain = mode != CHARACTERS
    while plain and at < end:
        left = end - at
        size = left if left < _64 else _64
        valid = _ALL >> (_64 - size)
        if at + _64 <= whole:
            high = high64(data, at)
            word = words64(data, at) & valid
            space = spaces64(data, at)
        else:
            _copy_tail(data, at, end, work)
            high = high64(work, _0)
            word = words64(work, _0) & valid
            space = spaces64(work, _0)
        if high & valid:
            plain = False
            break
        mark = ~(word | space) & valid
        begins = (word & ~((word << _ONE) | last_word)) | (mark & ~((mark << _ONE) | last_mark))
        total += ones(begins)
        last_word = word >> _63
        last_mark = mark >> _63
        at += size
    if plain:
        return total
    total = _0
    at = start
    while at < end:
        stop = segment_end(data, at, end)
        total += tokenize(data, at, stop, table, mode, lowered, starts, ends, work, masks)
        at = stop
    return total
