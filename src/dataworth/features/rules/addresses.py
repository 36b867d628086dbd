"""Addresses of the web and of mail within text, as a kernel."""

from __future__ import annotations

import numpy as np

from dataworth.corpus.kernels.simd import kernel
from dataworth.features.rules import characters as c

_LETTER, _LOWER, _DECIMAL = np.uint32(c.LETTER), np.uint32(c.LOWER), np.uint32(c.DECIMAL)
_DOT, _PLUS, _DASH = ord("."), ord("+"), ord("-")


@kernel
def is_digit(code):  # type: ignore[no-untyped-def]
    """Tell if a code point is a digit of ASCII."""
    return 48 <= code <= 57


@kernel
def _host_sign(code):  # type: ignore[no-untyped-def]
    return is_digit(code) or 65 <= code <= 90 or 97 <= code <= 122 or 0xA1 <= code <= 0xFFFF


@kernel
def _host(codes, flags, i, j):  # type: ignore[no-untyped-def]
    """Tell if a host such as `www.w3.org` begins at i, with at most a port or a path behind."""
    end = i
    dot = -1
    label = i
    while end < j:
        code = codes[end]
        if code == _DOT:
            if end == label or end - label > 64:
                return False
            if not _host_sign(codes[label]) or not _host_sign(codes[end - 1]):
                return False
            dot = end
            label = end + 1
        elif not _host_sign(code) and code != 95 and code != 45:
            break
        end += 1
    if dot < 0 or end - dot < 3 or end - dot > 64:
        return False
    for k in range(dot + 1, end):
        if not flags[k] & _LOWER:
            return False
    if end < j and codes[end] == 58:
        port = end + 1
        while port < j and is_digit(codes[port]):
            port += 1
        if port - end < 3 or port - end > 6:
            return False
        end = port
    return end == j or codes[end] == 47 or codes[end] == 63 or codes[end] == 35


@kernel
def is_address(codes, flags, i, j):  # type: ignore[no-untyped-def]
    """Tell if characters are an address of the web or of mail."""
    dots = False
    for k in range(i, j):
        dots |= codes[k] == _DOT
    if not dots:
        return False
    scheme = i
    while scheme < j:
        code = codes[scheme]
        word = (flags[scheme] & (_LETTER | _DECIMAL)) != 0 or code == 95
        if not word and code != _PLUS and code != _DASH and code != _DOT:
            break
        scheme += 1
    slashes = -1
    if scheme - i > 1 and scheme + 2 < j and codes[scheme] == 58:
        slashes = scheme + 3 if codes[scheme + 1] == 47 and codes[scheme + 2] == 47 else -1
    for k in range(i, j):
        begins = k in (i, slashes) or (codes[k - 1] == 64 and k > i + 1)
        if begins and _host(codes, flags, k, j):
            return True
    return False
