"""The pinned Unicode tables are the interpreter's own (Python 3.11), or what both know."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from dataworth.features.ngrams import HashedNgrams
from dataworth.features.ngrams.unicode import (
    CASED,
    IGNORABLE,
    IRREGULAR,
    LOWER,
    SINGLE,
    SPACE,
    UNICODE,
    WORD,
    unicode_table,
)
from features.twins import SAME_UNICODE, comparable, tokens_of, unspaced

CHARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CHARS = [char for char in CHARS if comparable(char)]
CODES = np.array([ord(char) for char in CHARS])


def flagged(flag: int) -> set[str]:
    return {CHARS[i] for i in np.flatnonzero(unicode_table()[CODES] & np.uint32(flag))}


def test_python_3_11_is_compared_whole() -> None:
    assert UNICODE == "14.0.0"
    if sys.version_info[:2] == (3, 11):
        assert SAME_UNICODE and len(CHARS) == 0x110000 - 0x800


def test_surrogates_have_no_entry() -> None:
    assert not unicode_table()[0xD800:0xE000].any()
    assert not unicode_table().flags.writeable


def test_classes_are_those_of_re() -> None:
    everything = "".join(CHARS)
    assert flagged(WORD) == set(re.findall(r"\w", everything))
    assert flagged(SPACE) == set(re.findall(r"\s", everything))
    assert flagged(SINGLE) == {char for char in CHARS if unspaced(char)}


def test_lower_case_is_that_of_str() -> None:
    table = unicode_table()[CODES]
    lowered = [char.lower() for char in CHARS]
    single = np.array([len(low) == 1 for low in lowered])
    codes = np.array([ord(low[0]) for low in lowered])
    assert np.array_equal(table[single] & np.uint32(LOWER), codes[single])
    assert [CHARS[i] for i in np.flatnonzero(~single)] == ["\u0130"]
    longer = {
        c for c, low in zip(CHARS, lowered, strict=True) if len(c.encode()) != len(low.encode())
    }
    assert flagged(IRREGULAR) == longer | {"\u03a3"}
    # Working memory is made for texts that grow by half.
    assert all(len(char.lower().encode()) * 2 <= len(char.encode()) * 3 for char in longer)
    # A letter and its lower case have one class: the kernel looks at either.
    for flag in (WORD, SPACE, SINGLE):
        of_lower = unicode_table()[codes] & np.uint32(flag)
        assert np.array_equal(of_lower[single], (table & np.uint32(flag))[single])


def test_final_sigma_flags_are_those_of_str() -> None:
    cased = {char for char in CHARS if (char + "Σ").lower()[-1] == "ς"}
    ignorable = {char for char in CHARS if ("A" + char + "Σ").lower()[-1] == "ς"} - cased
    assert flagged(CASED) == cased
    assert flagged(IGNORABLE) == ignorable
    assert "\u0345" in ignorable and "'" in ignorable and "\u00ad" in ignorable


@pytest.mark.parametrize("mode", ["wordpunct", "mixed", "characters"])
def test_every_character_in_a_text(mode: str) -> None:
    feature = HashedNgrams(ngrams=1, tokens=mode)
    for start in range(0, len(CHARS), 1 << 14):
        chars = CHARS[start : start + (1 << 14)]
        if mode != "wordpunct" and not any(map(str.isalnum, chars)):
            continue  # half of the planes are empty
        text = " ".join(f"a{char}b-{char}Z" for char in chars)
        assert [token for token, _ in feature.grams(text)] == tokens_of(text, mode)
