"""Numbers as a person reads them. `None` and what is not finite read "n/a".

The minus sign and the multiplication sign are typographic; `plain_signs` takes them back.
"""

from __future__ import annotations

import math

MISSING = "n/a"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"
_PLAIN = str.maketrans(
    {MINUS: "-", TIMES: "x", DASH: "-", "÷": "/", "→": "->", "·": "-", "±": "+/-", "…": "..."}
)


def finite(value: object) -> float | None:
    """Return the value as a float, or `None` when it is missing, not a number, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def count(value: float | None) -> str:
    """Format as 12,345."""
    number = finite(value)
    return MISSING if number is None else f"{round(number):,}".replace("-", MINUS)


def counted(value: float | None, noun: str) -> str:
    """Format a count with its noun: "1 document", "12,345 documents"."""
    return f"{count(value)} {noun}" if value == 1 else f"{count(value)} {noun}s"


def short(value: float | None) -> str:
    """Format as 2.31 M: three digits and a letter (k, M, B, T), for what need not be exact."""
    number = finite(value)
    if number is None:
        return MISSING
    for letter in ("", " k", " M", " B"):
        if abs(number) < 999.5 or (letter == "" and abs(number) < 10_000):
            break
        number /= 1000
    else:
        letter = " T"
    digits = f"{number:,.0f}" if letter == "" and number == round(number) else _three(number)
    return digits.replace("-", MINUS) + letter


def size(value: float | None) -> str:
    """Format as 14.2 MB: bytes in powers of 1000."""
    number = finite(value)
    if number is None:
        return MISSING
    if abs(number) < 1000:
        return f"{number:.0f} bytes"
    units = ["kB", "MB", "GB", "TB"]
    number /= 1000
    while abs(number) >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{_three(number)} {units[0]}"


def share(part: float | None, whole: float | None = 1) -> str:
    """Format as 3.2%: a part of a whole; small shares keep one digit that says something."""
    above, below = finite(part), finite(whole)
    if above is None or not below:
        return MISSING
    percent = 100 * above / below
    if percent == 0 or abs(percent) >= 99.95:
        return f"{percent:.0f}%".replace("-", MINUS)
    if abs(percent) < 0.01:
        return "<0.01%"
    digits = 2 if abs(percent) < 0.1 else 1
    return f"{percent:.{digits}f}%".replace("-", MINUS)


def real(value: float | None, *, signed: bool = False) -> str:
    """Format a measured number with three significant digits; `signed` writes the plus too."""
    number = finite(value)
    if number is None:
        return MISSING
    text = _three(number)
    if float(text.replace(",", "")) == 0:
        return "0"
    return ("+" if signed and number > 0 else "") + text.replace("-", MINUS)


def factor(ratio: float | None) -> str:
    """Format a ratio with a multiplication sign; below 1 its inverse with a division sign."""
    number = finite(ratio)
    if number is None or number <= 0:
        return MISSING
    return f"{TIMES}{_three(number)}" if number >= 0.9995 else f"÷{_three(1 / number)}"


def duration(seconds: float | None) -> str:
    """Format as 0.42 s, 12.4 s, 3 min 12 s, 4 h 05 min."""
    number = finite(seconds)
    if number is None:
        return MISSING
    if number < 99.95:
        return f"{number:.2f} s" if number < 9.995 else f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def plain_signs(text: str) -> str:
    """Return the text with the report's own signs as ASCII; letters of any script stay."""
    return text.translate(_PLAIN)


def ascii_only(text: str) -> str:
    """Return the same words for a file or a terminal that may only know ASCII."""
    return plain_signs(text).encode("ascii", "backslashreplace").decode("ascii")


def _three(number: float) -> str:
    size = abs(number)
    if size == 0:
        return "0"
    if size >= 1e6 or size < 1e-4:
        return f"{number:.2e}"
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    if size < 0.0995:
        digits = 4
    return f"{number:,.{digits}f}"
