"""Hashed n-grams as kernels: a token's 64-bit hash, an n-gram's bucket, and sums over them.

The fast hash, so that another implementation can give the same buckets. With K1 to K4 below,
`fold(a, b)` the two halves of the 128-bit product a*b xored, and a token's lower-cased bytes padded
with zeros to words of 8 bytes (little-endian) w0, w1, …:

    up to 16 bytes   h = fold(w0 ^ K1 ^ size, w1 ^ K2)          (w1 = 0 where there is none)
    more             h = fold(w0 ^ K1 ^ size, w1 ^ K2), then for each further pair of words
                     h = fold(h ^ w ^ K3, w' ^ K4)
    n-gram           g(t1) = h(t1);  g(t1 … tn) = fold(g(t1 … tn-1) ^ K3, h(tn) ^ K4)
    bucket           the upper 64 bits of g * buckets

The published buckets (DSIR's reference package) are SHA-256 of the tokens joined by one space, as a
big-endian number, modulo the number of buckets; see sha256.py.
"""

from __future__ import annotations

import numpy as np

from dataworth.corpus.kernels.simd import (
    BYTES,
    INTS,
    eager,
    kernel,
    load_u64,
    multiply_fold,
    multiply_high,
)
from dataworth.features.ngrams.sha256 import sha_bucket
from dataworth.features.ngrams.tokens import count_tokens, segment_end, tokenize

K1 = np.uint64(0xA0761D6478BD642F)
K2 = np.uint64(0xE7037ED1A0B428DB)
K3 = np.uint64(0x8EBC6AF09C88C6E3)
K4 = np.uint64(0x589965CC75374CC3)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_0 = np.uint64(0)
_1 = np.uint64(1)
_2 = np.uint64(2)
_3 = np.uint64(3)
_4 = np.uint64(4)
_8 = np.uint64(8)
_16 = np.uint64(16)
_64 = np.uint64(64)


@kernel
def _token_hash(lowered, start, end):  # type: ignore[no-untyped-def]
    size = end - start
    first = load_u64(lowered, start)
    second = load_u64(lowered, start + _8)
    if size <= _16:
        # Masks instead of a branch on 8 bytes, which the processor could not foresee. Shifted in
        # two halves, since a shift by 64 is not defined.
        low = (size if size < _8 else _8) << np.uint64(2)
        high = (size << np.uint64(2)) - low
        first &= ~((_ALL << low) << low)
        second &= ~((_ALL << high) << high)
        return multiply_fold(first ^ K1 ^ size, second ^ K2)
    hashed = multiply_fold(first ^ K1 ^ size, second ^ K2)
    at = start + _16
    while at < end:
        left = end - at
        first = load_u64(lowered, at)
        if left < _8:
            first &= _ALL >> (_64 - (left << np.uint64(3)))
        second = _0
        if left > _8:
            second = load_u64(lowered, at + _8)
            if left < _16:
                second &= _ALL >> (_64 - ((left - _8) << np.uint64(3)))
        hashed = multiply_fold(hashed ^ first ^ K3, second ^ K4)
        at += _16
    return hashed


# The bytes of the first and the second word of a token of so many bytes.
_FIRST = np.array([(1 << 8 * min(size, 8)) - 1 for size in range(17)], np.uint64)
_SECOND = np.array([(1 << 8 * max(size - 8, 0)) - 1 for size in range(17)], np.uint64)


@kernel
def _token_hashes(lowered, starts, ends, count, hashes, long):  # type: ignore[no-untyped-def]
    """Hash every token to `hashes[i]`: first all as if of 16 bytes at most, without a branch.

    `long` uint32 receives the longer ones, which are then hashed again.
    """
    many = _0
    for number in range(np.int64(count)):
        token = np.uint64(number)
        start = np.uint64(starts[token])
        size = np.uint64(ends[token]) - start
        short = size if size < _16 else _16
        first = load_u64(lowered, start) & _FIRST[short]
        second = load_u64(lowered, start + _8) & _SECOND[short]
        hashes[token] = multiply_fold(first ^ K1 ^ size, second ^ K2)
        long[many] = np.uint32(token)
        many += np.uint64(size > _16)
    for number in range(np.int64(many)):
        token = np.uint64(long[np.uint64(number)])
        hashes[token] = _token_hash(lowered, np.uint64(starts[token]), np.uint64(ends[token]))


@kernel
def _fast_buckets(tokens, count, ngrams, buckets, hashes, have, ids):  # type: ignore[no-untyped-def]
    """Write buckets of all 1- to n-grams that end in this segment, as `ids`; return their number.

    `tokens` are the hashes of the segment's tokens. `hashes` keeps the last n-1 grams across
    segments: entry j is the hash of the j+1-gram that ends at the token before. `have` is how many
    tokens came before in this text.
    """
    k = _0
    if ngrams == 2:
        previous = hashes[0]
        token = _0
        if have == 0 and count > _0:
            previous = tokens[_0]
            ids[k] = np.uint32(multiply_high(previous, buckets))
            k += _1
            token = _1
        while token < count:
            hashed = tokens[token]
            ids[k] = np.uint32(multiply_high(hashed, buckets))
            pair = multiply_fold(previous ^ K3, hashed ^ K4)
            ids[k + _1] = np.uint32(multiply_high(pair, buckets))
            k += _2
            previous = hashed
            token += _1
        hashes[0] = previous
        return k
    for number in range(count):
        hashed = tokens[np.uint64(number)]
        ids[k] = np.uint32(multiply_high(hashed, buckets))
        k += _1
        longest = min(np.int64(have) + np.int64(number) + 1, ngrams)
        gram = hashed
        for size in range(1, longest):
            longer = multiply_fold(hashes[size - 1] ^ K3, hashed ^ K4)
            hashes[size - 1] = gram
            gram = longer
            ids[k] = np.uint32(multiply_high(gram, buckets))
            k += _1
        hashes[longest - 1] = gram
    return k


@kernel
def _sha_buckets(lowered, starts, ends, count, ngrams, buckets, keys, values, message, words, ids):  # type: ignore[no-untyped-def]
    """Write the published buckets of all n-grams of a whole text; return their number.

    `keys` uint64 [2^k] and `values` uint32 remember the buckets of n-grams seen, by their fast
    hash: two n-grams share an entry wrongly only if these are equal but for the lowest bit, which
    is set so that no entry is 0.
    """
    k = _0
    mask = np.uint64(len(keys) - 1)
    for token in range(count):
        for size in range(1, min(np.int64(token) + 1, ngrams) + 1):
            gram = _0
            first = np.int64(token) + 1 - size
            for part in range(first, np.int64(token) + 1):
                hashed = _token_hash(lowered, np.uint64(starts[part]), np.uint64(ends[part]))
                gram = hashed if part == first else multiply_fold(gram ^ K3, hashed ^ K4)
            gram |= _1
            slot = (gram >> np.uint64(20)) & mask
            if keys[slot] != gram:
                length = 0
                for part in range(first, np.int64(token) + 1):
                    if part > first:
                        message[length] = 32
                        length += 1
                    for at in range(starts[part], ends[part]):
                        message[length] = lowered[at]
                        length += 1
                values[slot] = sha_bucket(message, length, buckets, words)
                keys[slot] = gram
            ids[k] = values[slot]
            k += _1
    return k


@kernel
def _text_buckets(  # type: ignore[no-untyped-def]
    data, at, end, table, mode, sha, ngrams, buckets, have, scratch
):
    """Write tokens of one segment and buckets of its n-grams; return (tokens, n-grams)."""
    lowered, starts, ends, work, masks, hashes, ids, keys, values, message, words, all_, long = (
        scratch
    )
    count = tokenize(data, at, end, table, mode, lowered, starts, ends, work, masks)
    if sha:
        total = _sha_buckets(
            lowered, starts, ends, count, ngrams, buckets, keys, values, message, words, ids
        )
    else:
        _token_hashes(lowered, starts, ends, count, all_, long)
        total = _fast_buckets(all_, count, ngrams, buckets, hashes, have, ids)
    return count, total


_SCRATCH = (
    "Tuple((uint8[::1], uint32[::1], uint32[::1], uint8[::1], uint64[::1], uint64[::1],"
    " uint32[::1], uint64[::1], uint32[::1], uint8[::1], uint32[::1], uint64[::1], uint32[::1]))"
)
_COMMON = (
    f"{BYTES}, {INTS}, {INTS}, Array(uint32, 1, 'C', readonly=True), int64, boolean, int64,"
    f" uint64, {_SCRATCH}"
)
_TABLE = "Array(float64, 2, 'C', readonly=True)"


@kernel
def _segment(data, at, end, sha):  # type: ignore[no-untyped-def]
    return end if sha else segment_end(data, at, end)


@eager(f"void({_COMMON}, {_TABLE}, float64[:, ::1], int64[::1], int64[::1])")
def score(data, from_, to, table, mode, sha, ngrams, buckets, scratch, weights, out, tokens, grams):  # type: ignore[no-untyped-def]
    """Sum of `weights[bucket]` over each text's n-grams.

    `weights` float64 [buckets, T]; `out` float64 [n, T]; `tokens`, `grams` int64 [n] receive the
    numbers of tokens and n-grams.
    """
    ids = scratch[6]
    targets = weights.shape[1]
    for row in range(len(from_)):
        at = np.uint64(from_[row])
        end = np.uint64(to[row])
        count = _0
        total = _0
        for t in range(targets):
            out[row, t] = 0.0
        while at < end:
            stop = _segment(data, at, end, sha)
            new, k = _text_buckets(
                data, at, stop, table, mode, sha, ngrams, buckets, count, scratch
            )
            if targets == 1:
                # Four sums that do not wait for each other.
                first = 0.0
                second = 0.0
                third = 0.0
                fourth = 0.0
                i = _0
                while i + _3 < k:
                    first += weights[np.uint64(ids[i]), _0]
                    second += weights[np.uint64(ids[i + _1]), _0]
                    third += weights[np.uint64(ids[i + _2]), _0]
                    fourth += weights[np.uint64(ids[i + _3]), _0]
                    i += _4
                while i < k:
                    first += weights[np.uint64(ids[i]), _0]
                    i += _1
                out[row, 0] += (first + second) + (third + fourth)
            else:
                for place in range(k):
                    bucket = np.uint64(ids[np.uint64(place)])
                    for t in range(targets):
                        out[row, t] += weights[bucket, np.uint64(t)]
            count += new
            total += k
            at = stop
        tokens[row] = count
        grams[row] = total


@eager(f"void({_COMMON}, int64[::1], int64[::1], int64[::1])")
def count(data, from_, to, table, mode, sha, ngrams, buckets, scratch, counts, tokens, grams):  # type: ignore[no-untyped-def]
    """Add every n-gram of the texts to `counts` int64 [buckets]."""
    ids = scratch[6]
    for row in range(len(from_)):
        at = np.uint64(from_[row])
        end = np.uint64(to[row])
        seen = _0
        total = _0
        while at < end:
            stop = _segment(data, at, end, sha)
            new, k = _text_buckets(data, at, stop, table, mode, sha, ngrams, buckets, seen, scratch)
            for i in range(k):
                counts[np.uint64(ids[np.uint64(i)])] += 1
            seen += new
            total += k
            at = stop
        tokens[row] = seen
        grams[row] = total


@eager(f"int64({_COMMON}, uint32[::1])")
def list_buckets(data, from_, to, table, mode, sha, ngrams, buckets, scratch, out):  # type: ignore[no-untyped-def]
    """Write the buckets of one text after another to `out`; return how many.

    Every n-gram occurrence is one entry; the caller knows the numbers from `lengths`.
    """
    ids = scratch[6]
    place = 0
    for row in range(len(from_)):
        at = np.uint64(from_[row])
        end = np.uint64(to[row])
        seen = _0
        while at < end:
            stop = _segment(data, at, end, sha)
            new, k = _text_buckets(data, at, stop, table, mode, sha, ngrams, buckets, seen, scratch)
            for i in range(k):
                out[place] = ids[np.uint64(i)]
                place += 1
            seen += new
            at = stop
    return place


@eager(f"int64({_COMMON}, uint64[::1])")
def hash_tokens(data, from_, to, table, mode, sha, ngrams, buckets, scratch, out):  # type: ignore[no-untyped-def]
    """Write the 64-bit hashes of one text's tokens after another to `out`; return how many."""
    lowered, starts, ends, hashes = scratch[0], scratch[1], scratch[2], scratch[11]
    total = 0
    for row in range(len(from_)):
        at = np.uint64(from_[row])
        end = np.uint64(to[row])
        while at < end:
            stop = segment_end(data, at, end)
            n = tokenize(data, at, stop, table, mode, lowered, starts, ends, scratch[3], scratch[4])
            _token_hashes(lowered, starts, ends, n, hashes, scratch[12])
            for i in range(np.int64(n)):
                out[total] = hashes[np.uint64(i)]
                total += 1
            at = stop
    return total


@eager(f"void({_COMMON}, uint8[::1], int64[::1])")
def write_tokens(data, from_, to, table, mode, sha, ngrams, buckets, scratch, out, finishes):  # type: ignore[no-untyped-def]
    """Write the lower-cased tokens of all texts, each with a space behind it, to `out`.

    `finishes` int64 receives the end of each token, without the space.
    """
    lowered, starts, ends = scratch[0], scratch[1], scratch[2]
    total = 0
    place = 0
    for row in range(len(from_)):
        at = np.uint64(from_[row])
        end = np.uint64(to[row])
        while at < end:
            stop = segment_end(data, at, end)
            n = tokenize(data, at, stop, table, mode, lowered, starts, ends, scratch[3], scratch[4])
            for i in range(np.int64(n)):
                for byte in range(starts[i], ends[i]):
                    out[place] = lowered[byte]
                    place += 1
                finishes[total] = place
                out[place] = np.uint8(32)
                place += 1
                total += 1
            at = stop


@eager(f"void({_COMMON}, int64[::1])")
def lengths(data, from_, to, table, mode, sha, ngrams, buckets, scratch, out):  # type: ignore[no-untyped-def]
    """Count the tokens of each text: much faster than `count`, since nothing is hashed."""
    lowered, starts, ends, work, masks = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for row in range(len(from_)):
        out[row] = count_tokens(
            data,
            np.uint64(from_[row]),
            np.uint64(to[row]),
            table,
            mode,
            work,
            masks,
            lowered,
            starts,
            ends,
        )


@eager(f"int64({_COMMON}, uint32[::1], uint32[::1], uint8[::1], int64[::1])")
def cut(data, from_, to, table, mode, sha, ngrams, buckets, scratch, starts, ends, text, sizes):  # type: ignore[no-untyped-def]
    """Return one text's tokens as places in its lower-cased form, for explanations and tests.

    `starts`, `ends` uint32 and `text` uint8 receive them; `sizes` int64 [1] the bytes of `text`.
    """
    at = np.uint64(from_[0])
    end = np.uint64(to[0])
    total = 0
    base = 0
    while at < end:
        stop = segment_end(data, at, end)
        lowered, begins, finishes = scratch[0], scratch[1], scratch[2]
        n = tokenize(data, at, stop, table, mode, lowered, begins, finishes, scratch[3], scratch[4])
        last = 0
        for i in range(n):
            starts[total] = np.uint32(base + begins[np.uint64(i)])
            ends[total] = np.uint32(base + finishes[np.uint64(i)])
            last = finishes[np.uint64(i)]
            total += 1
        for i in range(last):
            text[base + i] = lowered[i]
        base += last
        at = stop
    sizes[0] = base
    return total


@eager(f"void({INTS}, {INTS}, int64, uint64, uint32[::1])")
def id_buckets(ids, tokens, ngrams, buckets, out):  # type: ignore[no-untyped-def]
    """Write buckets of all n-grams of token ids, text after text, in the order of `rows`.

    `ids` int64: the ids of all texts; `tokens` int64 [n]: how many each text has.
    An id counts as a token of 8 bytes (see the fast hash above).
    """
    grams = np.zeros(ngrams, np.uint64)
    place = 0
    at = 0
    for text in range(len(tokens)):
        for token in range(tokens[text]):
            hashed = multiply_fold(np.uint64(ids[at]) ^ K1 ^ _8, K2)
            gram = hashed
            out[place] = np.uint32(multiply_high(gram, buckets))
            place += 1
            longest = min(token + 1, ngrams)
            for size in range(1, longest):
                longer = multiply_fold(grams[size - 1] ^ K3, hashed ^ K4)
                grams[size - 1] = gram
                gram = longer
                out[place] = np.uint32(multiply_high(gram, buckets))
                place += 1
            grams[longest - 1] = gram
            at += 1
