"""Classes of characters that rules ask for, a set of flags for each code point."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dataworth.features.ngrams.unicode import CASED, SINGLE, WORD, unicode_table
from dataworth.features.ngrams.unicode import LOWER as _LOWERED
from dataworth.features.ngrams.unicode import SPACE as _SPACE

(
    SPACE,  # str.isspace
    LETTER,  # str.isalpha
    LOWER,  # a lower-case letter, or one without case
    UPPER,  # an upper-case letter, or one without case
    PREFIX,  # split from the beginning of a word
    SUFFIX,  # split from its end
    QUOTE,
    POINT,  # punctuation of which a full stop behind it is split
    ICON,  # symbols such as emoji
    CURRENCY,
    SYMBOL,  # a word of these alone is none
    MARK,  # Unicode's categories P
    STOP,  # ends a sentence
    BREAK,  # ends a line for str.splitlines
    LATIN,
    UNSPACED,  # a letter of a script without spaces between words
    DECIMAL,  # a digit of any script
) = (1 << bit for bit in range(17))

_ENDS = """
21 2e 3f 589 61d-61f 6d4 700-702 7f9 837 839 83d-83e 964-965 104a-104b 1362 1367-1368 166e
1735-1736 17d4-17d6 17d9-17da 1803 1809 1944-1945 1aa8-1aab 1b5a-1b5b 1b5e-1b5f 1b7d-1b7e 1c3b-1c3c
1c7e-1c7f 203c-203d 2047-2049 2e2e 2e3c 2e53-2e54 3002 a4ff a60e-a60f a6f3 a6f7 a876-a877 a8ce-a8cf
a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe52 fe56-fe57 ff01 ff0e ff1f ff61 10a56-10a57 10f55-10f59
10f86-10f89 11047-11048 110be-110c1 11141-11143 111c5-111c6 111cd 111de-111df 11238-11239
1123b-1123c 112a9 1144b-1144c 115c2-115c3 115c9-115d7 11641-11642 1173c-1173e 11944 11946
11a42-11a43 11a9b-11a9c 11c41-11c42 11ef7-11ef8 11f43-11f44 16a6e-16a6f 16af5 16b37-16b38 16b44
16e98 1bc9f 1da88
"""
"""Unicode's property Sentence_Terminal, nearly: the signs that rules about lines know."""
_SYMBOLS = """0-8 b-1f 21-2f 3a-40 5b-60 7b-9f ab b4 bb 2013-2014 2019 201c-201e 2026 2236 2501 25ba
3001-3002 3008-300d 3010-3011 ff01 ff05 ff08-ff09 ff0c ff0e ff11 ff1a-ff1b ff1f ff5e"""
_POINTS = """
21 23 26 28-2a 2c 3a-3c 3e-3f 5b 5d 5f 7b 7d a1 b7 bf 60c 61b 61f 66a 6d4 964 2026 3001-3002 ff01
ff0c ff1a-ff1b ff1f ff5e
"""
_QUOTES = """
22 27 60 ab b4 bb 2018-201a 201c-201e 27e6-27e7 3008-3011 3014-3015 ff08-ff09
"""
_DASHES = "2013-2014"


@cache
def character_table() -> NDArray[np.uint32]:
    """Return the flags of each code point, uint32 [1_114_112].

    Letters are those of the pinned Unicode tables, so that they do not depend on Python's version.
    """
    pinned = unicode_table()
    codes = np.arange(len(pinned), dtype=np.uint32)
    table = np.zeros(len(pinned), np.uint32)
    kinds = np.full(len(pinned), "Cn", "U2")
    assigned = np.concatenate([np.arange(0x32400), np.arange(0xE0000, 0xE0200)])
    kinds[assigned] = [unicodedata.category(chr(code)) for code in assigned.tolist()]
    table[(pinned & np.uint32(_SPACE)) != 0] |= SPACE
    word = (pinned & np.uint32(WORD)) != 0
    letter = word & (np.char.startswith(kinds, "L"))
    table[letter] |= LETTER
    cased = letter & ((pinned & np.uint32(CASED)) != 0)
    upper = cased & ((pinned & np.uint32(_LOWERED)) != codes)
    table[letter & ~upper] |= LOWER
    table[letter & (upper | ~cased)] |= UPPER
    table[word & ((pinned & np.uint32(SINGLE)) != 0)] |= UNSPACED
    table[letter & ((codes < 0x250) | ((codes >= 0x1E00) & (codes < 0x1F00)))] |= LATIN
    table[kinds == "Nd"] |= DECIMAL
    table[np.char.startswith(kinds, "P")] |= MARK
    icons = (kinds == "So") & (codes > 0xA5)
    money = kinds == "Sc"
    table[icons] |= ICON | PREFIX | SUFFIX
    table[money] |= CURRENCY | PREFIX
    table[_codes("25 3d a7")] |= PREFIX
    table[_codes(_DASHES)] |= PREFIX | SUFFIX
    table[_codes(_POINTS)] |= POINT | PREFIX | SUFFIX
    table[_codes(_QUOTES)] |= QUOTE | PREFIX | SUFFIX
    table[_codes(_ENDS)] |= STOP | SYMBOL
    table[_codes(_SYMBOLS)] |= SYMBOL
    table[_codes("a-d 1c-1e 85 2028-2029")] |= BREAK
    table.setflags(write=False)
    return table


def _codes(runs: str) -> list[int]:
    """Return the code points of hexadecimal runs such as "21 2e-2f"."""
    codes: list[int] = []
    for run in runs.split():
        first, _, last = run.partition("-")
        codes.extend(range(int(first, 16), int(last or first, 16) + 1))
    return codes
