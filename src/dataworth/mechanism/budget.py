"""Budgets of a selection, and quotas for parts of the pool, parsed from text.

    10B  250M  100k  1.5B-tokens  5000     tokens (k, M, B or G, T: thousand to trillion)
    100k-docs  100k-documents              documents
    10%                                    share of the eligible tokens
    5GB  200MiB  2G-bytes                  bytes (a B after k, M, G or T; iB counts in 1,024s)

`10B` is ten billion tokens: a bare B is never a byte. A quota is a cap for one value of a field,
`FIELD=VALUE:AMOUNT` (`domain=web:30%`), or for each of its values, `FIELD:AMOUNT`
(`source:1000-docs`); a share there is a share of the budget. In Python:
`{"domain": {"web": 0.3}, "source": "1000-docs"}`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from dataworth.errors import ConfigError

Unit = Literal["tokens", "documents", "bytes", "share"]

FORMS = "10B or 250M (tokens), 100k-docs (documents), 10% (share of the tokens), 5GB (bytes)"
_POWERS = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
_BINARY = {"k": 10, "m": 20, "g": 30, "t": 40}
_UNITS: dict[str | None, Unit] = {None: "tokens", "token": "tokens", "tokens": "tokens"}
_UNITS |= {"doc": "documents", "docs": "documents", "document": "documents"}
_UNITS |= {"documents": "documents", "byte": "bytes", "bytes": "bytes"}
_FORM = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d+)?(?:e\d{1,2})?)\s*"
    r"(?:(?P<percent>%)|(?P<prefix>[kmgt])(?P<binary>i?)b|(?P<power>[kmbgt]?)(?:\s*-\s*(?P<unit>\w+))?)",
    re.I | re.A,
)


_LONGEST = 60  # characters
_TOO_LARGE = f"the budget is larger than 64 bits hold: write {FORMS}"


@dataclass(frozen=True)
class Budget:
    """An amount of tokens, documents or bytes (whole numbers), or a share (0.1 for 10 %)."""

    amount: int | float
    unit: Unit = "tokens"

    def __post_init__(self) -> None:
        if self.unit not in ("tokens", "documents", "bytes", "share"):
            raise ConfigError(f"a budget has no unit {self.unit!r}: write {FORMS}")
        whole = isinstance(self.amount, int) or self.unit == "share"
        if isinstance(self.amount, bool) or not whole or not 0 < self.amount < 2**63:
            raise ConfigError(
                f"a budget must be a whole number above 0, got {self.amount} {self.unit}"
            )

    def resolve(self, tokens: int) -> Budget:
        """The budget without shares: a share becomes that part of `tokens`, the eligible ones."""
        if self.unit != "share":
            return self
        return Budget(max(1, round(Fraction(str(self.amount)) * tokens)), "tokens")

    def __str__(self) -> str:
        """The text that `parse_budget` reads back: `250M`, `1k-docs`, `10%`, `5GB`."""
        if self.unit == "share":
            return f"{_decimal(Fraction(str(self.amount)) * 100)}%"
        amount, letter = Fraction(self.amount), ""
        billion = "B" if self.unit == "tokens" else "G"
        for name, power in (("k", 3), ("M", 6), (billion, 9), ("T", 12)):
            # Short forms have up to three digits before the point and two after it.
            if 10**power <= amount < 10 ** (power + 3) and amount % 10 ** (power - 2) == 0:
                amount, letter = amount / 10**power, name
                break
        text = _decimal(amount) + letter
        if self.unit == "bytes":
            return f"{text}B" if letter else f"{text}-bytes"
        return f"{text}-docs" if self.unit == "documents" else text


@dataclass(frozen=True)
class Quota:
    """At most `cap` of the selection for `value` of `field`; for each value if that is None."""

    field: str
    value: str | None
    cap: Budget

    def __str__(self) -> str:
        """The text that `parse_quota` reads back."""
        return f"{self.field}{'' if self.value is None else '=' + self.value}:{self.cap}"


def parse_budget(value: str | int | float | Budget) -> Budget:
    """Return a budget from text as in the module's table, or a whole number of tokens.

    Raises ConfigError that lists the allowed forms.
    """
    if isinstance(value, Budget):
        return value
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(_TOO_LARGE)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value > 0 and math.isfinite(value) and value == int(value):
            return Budget(int(value))
        hint = (
            f' (did you mean "{_decimal(Fraction(str(value)) * 100)}%"?)' if 0 < value < 1 else ""
        )
        raise ConfigError(f"cannot read the budget {value!r}{hint}: write {FORMS}")
    short = isinstance(value, str) and len(value) <= _LONGEST
    match = _FORM.fullmatch(str(value).strip()) if short else None
    if match is None:
        raise ConfigError(f"cannot read the budget {str(value)[:_LONGEST]!r}: write {FORMS}")
    return _from_match(str(value), match)


def _from_match(text: str, match: re.Match[str]) -> Budget:
    number = Fraction(re.sub("[_,]", "", match["number"]))
    if match["percent"]:
        if number == 0:
            raise ConfigError(f"the budget {text!r} is nothing: write {FORMS}")
        return Budget(float(number / 100), "share")
    unit: Unit
    if match["prefix"]:
        prefix, unit = match["prefix"].lower(), "bytes"
        number *= 2 ** _BINARY[prefix] if match["binary"] else 10 ** _POWERS[prefix]
    else:
        name = match["unit"].lower() if match["unit"] else None
        if name not in _UNITS:
            raise ConfigError(f"cannot read the unit of the budget {text!r}: write {FORMS}")
        unit = _UNITS[name]
        number *= 10 ** _POWERS[match["power"].lower()]
    if number >= 2**63:
        raise ConfigError(_TOO_LARGE)
    if number == 0:
        raise ConfigError(f"the budget {text!r} is nothing: write {FORMS}")
    if number < 1 or (number.denominator != 1 and unit != "bytes"):
        raise ConfigError(f"the budget {text!r} is not a whole number of {unit}: write {FORMS}")
    return Budget(int(number), unit)


def parse_quota(text: str) -> Quota:
    """Return a quota from `FIELD=VALUE:AMOUNT` or `FIELD:AMOUNT`; a value may hold `:` and `=`."""
    place, colon, amount = text.rpartition(":")
    field, equals, value = place.partition("=")
    if not colon or not field.strip():
        raise ConfigError(
            f"cannot read the quota {text!r}: write FIELD=VALUE:AMOUNT or FIELD:AMOUNT, "
            "such as domain=web:30% or source:1000-docs"
        )
    return Quota(field.strip(), value if equals else None, _cap(amount, text))


def parse_quotas(
    quotas: Iterable[str | Quota] | Mapping[str, Any] | None,
) -> tuple[Quota, ...]:
    """Quotas from their texts or from a mapping.

    A mapping gives for each field a cap for every value, or a mapping from values to caps. A cap
    is text as for a budget, a whole number of tokens, or a share of the budget between 0 and 1.
    Raises ConfigError for what cannot be read, and for two caps of one field and value.
    """
    if quotas is None:
        return ()
    if isinstance(quotas, str):
        quotas = [quotas]
    parsed: list[Quota] = []
    if isinstance(quotas, Mapping):
        for field, caps in quotas.items():
            if isinstance(caps, Mapping):
                for value, cap in caps.items():
                    parsed.append(Quota(field, str(value), _cap(cap, f"{field}={value}:{cap}")))
            else:
                parsed.append(Quota(field, None, _cap(caps, f"{field}:{caps}")))
    else:
        parsed = [item if isinstance(item, Quota) else parse_quota(item) for item in quotas]
    seen = set()
    for quota in parsed:
        if (quota.field, quota.value) in seen:
            raise ConfigError(f"two quotas for one part of the pool: {quota}")
        seen.add((quota.field, quota.value))
    return tuple(parsed)


def _cap(value: Any, text: str) -> Budget:
    if isinstance(value, float) and 0 < value <= 1:
        return Budget(value, "share")
    try:
        return parse_budget(value.strip() if isinstance(value, str) else value)
    except ConfigError as error:
        raise ConfigError(f"in the quota {text!r}: {error}") from None


def _decimal(value: Fraction) -> str:
    """Return a decimal fraction without exponent and trailing zeros."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
