"""Utilities added up: `0.7*match + 0.3*quality`.

Names are those of steps (`match`: its utility for each target) or of a step and a target
(`match:math`); names with other signs than letters, digits, `_`, `.`, `-` and `:` go in quotes. A
minus between two names wants spaces round it. What is added should have one unit: `scale` turns
each utility into its percentile rank, or into standard deviations from the mean, over the eligible
documents.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism.base import Rows, Table, View, eligible_rows, pick, split_name

Scale = Literal["raw", "rank", "z"]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.:])
    |(?P<name>[^\W\d](?:[\w.:]|-(?=\w))*)|(?P<quoted>"[^"]+"|'[^']+')|(?P<sign>[-+*/]))""",
    re.X,
)


@dataclass(frozen=True)
class Expression:
    """A sum of weights times names: `terms` in the order written."""

    terms: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        """The text that `parse_expression` reads back."""
        text = ""
        for weight, name in self.terms:
            sign = "-" if weight < 0 else "+"
            text += f" {sign} " if text else ("-" if weight < 0 else "")
            match = _TOKEN.fullmatch(name)
            if match is None or match["name"] != name:
                name = f"'{name}'" if '"' in name else f'"{name}"'
            text += name if abs(weight) == 1 else f"{abs(weight)!r}*{name}"
        return text


def parse_expression(text: str) -> Expression:
    """Read a sum of terms: a name, number*name, name*number or name/number, with signs.

    Raises ConfigError that says where the text cannot be read.
    """
    tokens = _tokens(text)
    terms: list[tuple[float, str]] = []
    at = 0
    while at < len(tokens) or not terms:
        sign = 1.0
        if at < len(tokens) and tokens[at] in (("sign", "+"), ("sign", "-")):
            sign = -1.0 if tokens[at][1] == "-" else 1.0
            at += 1
        elif terms:
            raise _unreadable(text, f"a + or - is missing before {tokens[at][1]!r}")
        weight, name, at = _term(text, tokens, at)
        terms.append((sign * weight, name))
    return Expression(tuple(terms))


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, f"at {text[at:].strip()[:20]!r}")
        kind = str(match.lastgroup)
        value = match[kind]
        found.append(("name", value[1:-1]) if kind == "quoted" else (kind, value))
        at = match.end()
    return found


def _term(text: str, tokens: list[tuple[str, str]], at: int) -> tuple[float, str, int]:
    """(weight, name, index of the token after the term)."""
    weight, name, divide = 1.0, None, False
    while True:
        kind, value = tokens[at] if at < len(tokens) else ("end", "")
        if kind == "number":
            number = float(value)
            if divide and number == 0:
                raise _unreadable(text, "division by 0")
            weight = weight / number if divide else weight * number
        elif kind == "name" and name is None and not divide:
            name = value
        else:
            found = "the end" if kind == "end" else repr(value)
            raise _unreadable(
                text, f"a {'number' if name or divide else 'name'} must come before {found}"
            )
        at += 1
        if at == len(tokens) or tokens[at] not in (("sign", "*"), ("sign", "/")):
            break
        divide = tokens[at][1] == "/"
        at += 1
    if name is None:
        raise _unreadable(text, "a number stands alone: every term needs a utility")
    if not math.isfinite(weight):
        raise _unreadable(text, "a weight is not finite")
    return weight, name, at


def _unreadable(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"cannot read the utility {text!r}: {why}. Write '0.7*STEP + 0.3*STEP:TARGET'"
    )


def matching(name: str, utilities: Sequence[str]) -> tuple[str, ...]:
    """The columns that a name stands for: a column, `step:target`, or all targets of a step.

    Raises ConfigError, with the names there are, if there is none or if the name may mean two.
    """
    exact = [column for column in utilities if name in (column, column.removeprefix("utility:"))]
    of_step = [column for column in utilities if split_name(column)[0] == name]
    if exact and of_step:
        raise ConfigError(f"{name!r} may mean {exact[0]} or {of_step[0]}: write the column's name")
    if not exact and not of_step:
        known = ", ".join(_names(utilities)) or "none"
        raise ConfigError(f"there is no utility {name!r}; there are: {known}")
    return tuple(exact or of_step)


def _names(utilities: Sequence[str]) -> list[str]:
    names: list[str] = []
    for column in utilities:
        names += [split_name(column)[0], column.removeprefix("utility:")]
    return sorted({name.rstrip(":") for name in names})


class Combined(View):
    """A table whose utilities are an expression's sums, one for each target.

    Names that stand for one column join every sum; those that stand for several targets must agree
    on them. The columns are `utility:<expression>:<target>`, computed each time they are read.
    """

    def __init__(self, table: Table, expression: Expression, scale: Scale = "raw") -> None:
        if scale not in _SCALES:
            raise ConfigError(f'scale must be "raw", "rank" or "z", got {scale!r}')
        self._scale = scale
        self._sums = {
            f"utility:{expression}:{target}": terms
            for target, terms in _by_target(expression, table.utilities).items()
        }
        super().__init__(table, tuple(self._sums))

    def terms(self, name: str) -> list[tuple[float, str]]:
        """The (weight, column) that a sum of raw utilities is made of; else nothing."""
        return self._sums.get(name, []) if self._scale == "raw" else []

    def column(self, name: str) -> NDArray[Any]:
        """A column of the table, or a sum: float64 [n], NaN where the document was dropped.

        Raises DataworthError for a utility that is NaN for an eligible document, or infinite where
        the scale needs its mean.
        """
        if name not in self._sums:
            return self._table.column(name)
        rows = eligible_rows(self._table)
        total = np.zeros(len(self._table) if rows is None else len(rows))
        for weight, column in self._sums[name]:
            values = pick(np.asarray(self._table.column(column), np.float64), rows)
            if np.isnan(values).any():
                raise DataworthError(f"{column} is not a number for some eligible documents")
            with np.errstate(invalid="ignore"):
                total += weight * _SCALES[self._scale](values, column)
        if np.isnan(total).any():
            raise DataworthError(f'{name} adds infinite utilities of both signs: use scale="rank"')
        if rows is None:
            return total
        spread = np.full(len(self._table), np.nan)
        spread[rows] = total
        return spread


def combine(table: Table, text: str | Expression, scale: Scale = "raw") -> Combined:
    """The table with the expression's sums as its utilities.

    Raises ConfigError for an expression that cannot be read or names what does not exist.
    """
    return Combined(table, parse_expression(text) if isinstance(text, str) else text, scale)


def _by_target(
    expression: Expression, utilities: Sequence[str]
) -> dict[str, list[tuple[float, str]]]:
    """For each target, by name, the weighted columns of its sum, in the columns' order."""
    found = [(weight, name, matching(name, utilities)) for weight, name in expression.terms]
    several = [(name, columns) for _, name, columns in found if len(columns) > 1]
    if several:
        targets = {split_name(column)[1]: "" for column in several[0][1]}
        for name, columns in several[1:]:
            if {split_name(column)[1] for column in columns} != set(targets):
                raise ConfigError(
                    f"{several[0][0]!r} and {name!r} have different targets: name step:target"
                )
    else:
        labels = {split_name(columns[0])[1] for _, _, columns in found} - {""}
        targets = {"+".join(sorted(labels)): ""}
    sums: dict[str, list[tuple[float, str]]] = {}
    for target in sorted(targets):
        terms = [
            (w, next((c for c in columns if split_name(c)[1] == target), columns[0]))
            for w, _, columns in found
        ]
        # Sorted, since a sum of floats depends on its order, and the order written must not count.
        sums[target] = sorted(terms, key=lambda term: (term[1], term[0]))
    return sums


def _raw(values: NDArray[np.float64], column: str) -> NDArray[np.float64]:
    return values


def _rank(values: NDArray[np.float64], column: str) -> NDArray[np.float64]:
    """Percentile rank in (0, 1), (rank - 1/2) / m, the average rank for ties."""
    order: Rows = np.argsort(values)
    ordered = values[order]
    new = np.ones(len(values), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    del ordered
    first = np.flatnonzero(new)
    run = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((first + run / 2) / max(len(values), 1), run)
    return ranks


def _z(values: NDArray[np.float64], column: str) -> NDArray[np.float64]:
    """(value - mean) / standard deviation; 0 where all are equal."""
    if not np.isfinite(values).all():
        raise DataworthError(f'{column} has infinite values, so no mean: use scale="rank"')
    # Sorted, so that the sums do not depend on the order of the rows.
    ordered = np.sort(values)
    if len(ordered) == 0 or ordered[0] == ordered[-1]:
        return np.zeros(len(values))
    ordered -= (mean := ordered.mean())
    np.square(ordered, out=ordered)
    deviation = math.sqrt(ordered.mean())
    scaled: NDArray[np.float64] = (values - mean) / (deviation or 1.0)
    return scaled


_SCALES: dict[str, Callable[[NDArray[np.float64], str], NDArray[np.float64]]] = {
    "raw": _raw,
    "rank": _rank,
    "z": _z,
}
