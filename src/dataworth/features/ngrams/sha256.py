"""SHA-256 modulo the number of buckets, as a kernel: the buckets of DSIR's reference package.

The standard: FIPS 180-4. A bucket is the digest as a big-endian number modulo `buckets`.
"""

from __future__ import annotations

import numpy as np

from dataworth.corpus.kernels.simd import kernel


def _primes(number: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < number:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _root_bits(number: int, root: int) -> int:
    """Return the first 32 bits of the fraction of `number ** (1 / root)`, by integers alone."""
    scaled = number << (32 * root)
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        if middle**root <= scaled:
            low = middle
        else:
            high = middle - 1
    return low & 0xFFFFFFFF


# The constants are fractions of roots of the first primes (FIPS 180-4, sections 4.2.2 and 5.3.3).
_ROUNDS = np.array([_root_bits(prime, 3) for prime in _primes(64)], np.uint32)
_START = np.array([_root_bits(prime, 2) for prime in _primes(8)], np.uint32)


@kernel
def _turn(value, bits):  # type: ignore[no-untyped-def]
    return (value >> np.uint32(bits)) | (value << np.uint32(32 - bits))


@kernel
def _compress(state, words):  # type: ignore[no-untyped-def]
    for i in range(16, 64):
        w15 = words[i - 15]
        w2 = words[i - 2]
        s0 = _turn(w15, 7) ^ _turn(w15, 18) ^ (w15 >> np.uint32(3))
        s1 = _turn(w2, 17) ^ _turn(w2, 19) ^ (w2 >> np.uint32(10))
        words[i] = np.uint32(words[i - 16] + s0 + words[i - 7] + s1)
    a, b, c, d, e, f, g, h = state
    for i in range(64):
        s1 = _turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)
        choice = (e & f) ^ (~e & g)
        t1 = np.uint32(h + s1 + choice + _ROUNDS[i] + words[i])
        s0 = _turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)
        majority = (a & b) ^ (a & c) ^ (b & c)
        t2 = np.uint32(s0 + majority)
        h, g, f, e = g, f, e, np.uint32(d + t1)
        d, c, b, a = c, b, a, np.uint32(t1 + t2)
    s = state
    return (
        np.uint32(s[0] + a),
        np.uint32(s[1] + b),
        np.uint32(s[2] + c),
        np.uint32(s[3] + d),
        np.uint32(s[4] + e),
        np.uint32(s[5] + f),
        np.uint32(s[6] + g),
        np.uint32(s[7] + h),
    )


@kernel
def sha_bucket(message, size, buckets, words):  # type: ignore[no-untyped-def]
    """Hash `message[:size]` by SHA-256, modulo `buckets` (below 2^32); `words` is scratch [64]."""
    state = (
        _START[0],
        _START[1],
        _START[2],
        _START[3],
        _START[4],
        _START[5],
        _START[6],
        _START[7],
    )
    blocks = (size + 8) // 64 + 1
    for block in range(blocks):
        for i in range(16):
            word = np.uint32(0)
            for j in range(4):
                at = block * 64 + i * 4 + j
                byte = np.uint32(0)
                if at < size:
                    byte = np.uint32(message[at])
                elif at == size:
                    byte = np.uint32(0x80)
                word = np.uint32((word << np.uint32(8)) | byte)
            words[i] = word
        if block == blocks - 1:
            bits = np.uint64(size) * np.uint64(8)
            words[14] = np.uint32(bits >> np.uint64(32))
            words[15] = np.uint32(bits & np.uint64(0xFFFFFFFF))
        state = _compress(state, words)
    rest = np.uint64(0)
    for i in range(8):
        rest = ((rest << np.uint64(32)) | np.uint64(state[i])) % buckets
    return np.uint32(rest)
