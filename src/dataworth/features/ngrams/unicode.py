"""Pinned Unicode: what is a word character, a space, and a lower-case letter.

Python's own tables change with its version, and with them the tokens; so those of Unicode 14.0.0
(Python 3.11) are part of the package, written by tools/make_unicode_tables.py.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNICODE = "14.0.0"

# One uint32 for each code point: the lower-case code point in bits 0 to 20, then flags.
LOWER = 0x1FFFFF
WORD = 1 << 21  # matches \w: str.isalnum() or the underscore
SPACE = 1 << 22  # matches \s: str.isspace()
IRREGULAR = 1 << 23  # lower case of another length in UTF-8, or depending on its neighbours
CASED = 1 << 24
IGNORABLE = 1 << 25  # case-ignorable: looked through when deciding on a final sigma
SINGLE = 1 << 26  # word character of a script without spaces between words


@cache
def unicode_table() -> NDArray[np.uint32]:
    """Return the table, uint32 [1_114_112]; 0 for surrogates, which no valid text holds."""
    path = Path(__file__).with_name(f"unicode_{UNICODE.replace('.', '_')}.npz")
    with np.load(path, allow_pickle=False) as runs:
        first, value = runs["first"], runs["value"]
    table = np.repeat(value, np.diff(np.append(first, 0x110000)))
    codes = np.arange(0x110000, dtype=np.uint32)
    # The file holds differences of code points, which repeat in long runs.
    lowered = (table & np.uint32(LOWER)) + codes - np.uint32(1 << 20)
    table = (table & ~np.uint32(LOWER)) | np.where(table > 0, lowered, 0).astype(np.uint32)
    table.setflags(write=False)
    return table
