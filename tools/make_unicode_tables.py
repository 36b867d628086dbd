"""Write the pinned Unicode tables from the running Python: `python tools/make_unicode_tables.py`.

Run with Python 3.11 (Unicode 14.0.0). Another version makes another file, and a new file means new
tokens: raise `UNICODE` in features/ngrams/unicode.py with it.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

WORD, SPACE, IRREGULAR, CASED, IGNORABLE, SINGLE = (1 << bit for bit in range(21, 27))
# Blocks whose words are written without spaces between them.
UNSPACED = [
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # CJK radicals
    (0x3005, 0x3007),  # ideographic marks and zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAA60, 0xAADF),  # Myanmar Extended-A, Tai Viet
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
]


def entry(code: int) -> int:
    """The lower-case code point and flags of one code point, as features/ngrams/unicode.py says."""
    char = chr(code)
    lowered = char.lower()
    flags = 0
    if char.isalnum() or char == "_":
        flags |= WORD
        if any(low <= code <= high for low, high in UNSPACED):
            flags |= SINGLE
    elif char.isspace():
        flags |= SPACE
    # str.lower looks at the neighbours of a capital sigma only: probing with one shows what the
    # interpreter takes for cased and for case-ignorable.
    ignorable = ("A" + char + "\u03a3").lower()[-1] == "\u03c2"
    cased = (char + "\u03a3").lower()[-1] == "\u03c2"
    flags |= (CASED if cased else 0) | (IGNORABLE if ignorable and not cased else 0)
    irregular = len(lowered) != 1 or len(lowered.encode()) != len(char.encode()) or code == 0x3A3
    if irregular:
        flags |= IRREGULAR
    return flags | (ord(lowered) if len(lowered) == 1 else code)


def main() -> None:
    """Write the file for this Python."""
    values = np.array(
        [0 if 0xD800 <= code < 0xE000 else entry(code) for code in range(0x110000)], np.int64
    )
    deltas = (values & 0x1FFFFF) - np.arange(len(values))
    packed = (values >> 21 << 21) + np.where(values > 0, deltas + (1 << 20), 0)
    first = np.flatnonzero(np.diff(packed, prepend=-1))
    version = unicodedata.unidata_version
    name = f"unicode_{version.replace('.', '_')}.npz"
    folder = Path(__file__).parents[1] / "src/dataworth/features/ngrams"
    np.savez_compressed(
        folder / name, first=first.astype(np.uint32), value=packed[first].astype(np.uint32)
    )
    print(folder / name, len(first), "runs")


if __name__ == "__main__":
    main()
