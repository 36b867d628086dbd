"""Utilities combined: `0.7*match + 0.3*quality`, `match*quality`, `max(one, two)`.

Names are those of steps (`match`: its utility for each target) or of a step and a target
(`match:math`); names with other signs than letters, digits, `_`, `.`, `-` and `:` go in quotes. A
minus between two names wants spaces round it. Names may be multiplied, and `max(...)` and
`min(...)` take any of this. What is combined should have one unit: `scale` turns each utility into
its percentile rank, into its bucket of 20 of equal size (0 to 19), or into standard deviations from
the mean, over the eligible documents. The maximum of buckets is the ensemble of Nemotron-CC (Su et
al. 2024, arXiv 2412.02595): what one classifier finds good is good.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism.base import Rows, Table, View, eligible_rows, pick, split_name
from dataworth.options.calls import Scale

SCALES: tuple[Scale, ...] = get_args(Scale)
_BUCKETS = 20

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.:])
    |(?P<name>[^\W\d](?:[\w.:]|-(?=\w))*)|(?P<quoted>"[^"]+"|'[^']+')|(?P<sign>[-+*/(),]))""",
    re.X,
)


@dataclass(frozen=True)
class Call:
    """A term that is no name: the `max` or `min` of expressions, or their product."""

    kind: str
    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        texts = [str(part) for part in self.parts]
        return "*".join(texts) if self.kind == "*" else f"{self.kind}({', '.join(texts)})"


@dataclass(frozen=True)
class Expression:
    """A sum of weights times names or calls: `terms` in the order written."""

    terms: tuple[tuple[float, str | Call], ...]

    def __str__(self) -> str:
        """The text that `parse_expression` reads back."""
        text = ""
        for weight, name in self.terms:
            sign = "-" if weight < 0 else "+"
            text += f" {sign} " if text else ("-" if weight < 0 else "")
            shown = str(name) if isinstance(name, Call) else _shown(name)
            text += shown if abs(weight) == 1 else f"{abs(weight)!r}*{shown}"
        return text

    @property
    def names(self) -> list[str]:
        """All names in it, as often as they are written."""
        names: list[str] = []
        for _, name in self.terms:
            inner = [n for part in name.parts for n in part.names] if isinstance(name, Call) else []
            names += inner if isinstance(name, Call) else [name]
        return names

    @property
    def weighted(self) -> list[tuple[float, str]]:
        """The terms of a plain sum of names; nothing where it is more."""
        plain = [(weight, name) for weight, name in self.terms if isinstance(name, str)]
        return plain if len(plain) == len(self.terms) else []

    def renamed(self, rename: Callable[[str], str]) -> Expression:
        """Return the same with other names."""

        def of(name: str | Call) -> str | Call:
            if isinstance(name, str):
                return rename(name)
            return Call(name.kind, tuple(part.renamed(rename) for part in name.parts))

        return Expression(tuple((weight, of(name)) for weight, name in self.terms))

    def value(self, columns: Callable[[str], NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return what it is of columns by their names, float64 [n]."""
        # Sorted, since a sum of floats depends on its order, and the order written must not count.
        terms = sorted(self.terms, key=lambda term: (str(term[1]), term[0]))
        total: NDArray[np.float64] | None = None
        for weight, name in terms:
            values = columns(name) if isinstance(name, str) else _called(name, columns)
            total = weight * values if total is None else total + weight * values
        assert total is not None
        return total


def _called(call: Call, columns: Callable[[str], NDArray[np.float64]]) -> NDArray[np.float64]:
    values = [part.value(columns) for part in sorted(call.parts, key=str)]
    return functools.reduce(_CALLS[call.kind], values)


_CALLS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "max": np.maximum,
    "min": np.minimum,
    "*": np.multiply,
}


def _shown(name: str) -> str:
    match = _TOKEN.fullmatch(name)
    if match is not None and match["name"] == name:
        return name
    return f"'{name}'" if '"' in name else f'"{name}"'


def parse_expression(text: str) -> Expression:
    """Read a sum of terms: names, numbers and calls multiplied, or divided by numbers, with signs.

    Raises ConfigError that says where the text cannot be read.
    """
    tokens = _tokens(text)
    expression, at = _sum(text, tokens, 0)
    if at < len(tokens):
        raise _unreadable(text, f"a + or - is missing before {tokens[at][1]!r}")
    return expression


def _sum(text: str, tokens: list[tuple[str, str]], at: int) -> tuple[Expression, int]:
    """Return (sum, index of the token after it)."""
    terms: list[tuple[float, str | Call]] = []
    while not terms or (at < len(tokens) and tokens[at] in (("sign", "+"), ("sign", "-"))):
        sign = 1.0
        if at < len(tokens) and tokens[at] in (("sign", "+"), ("sign", "-")):
            sign = -1.0 if tokens[at][1] == "-" else 1.0
            at += 1
        weight, name, at = _term(text, tokens, at)
        terms.append((sign * weight, name))
    return Expression(tuple(terms)), at


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, f"at {text[at:].strip()[:20]!r}")
        kind = str(match.lastgroup)
        value = match[kind]
        tokens.append((kind, value[1:-1] if kind == "quoted" else value))
        at = match.end()
    return tokens


def _term(text: str, tokens: list[tuple[str, str]], at: int) -> tuple[float, str | Call, int]:
    """Return (weight, what it weighs, index of the token after the term)."""
    weight, factors, divide = 1.0, list[str | Call](), False
    while True:
        kind, value = tokens[at] if at < len(tokens) else ("end", "")
        if kind == "number":
            number = float(value)
            if divide and number == 0:
                raise _unreadable(text, "division by 0")
            weight = weight / number if divide else weight * number
        elif kind == "name" and not divide:
            factor: str | Call = value
            if tokens[at + 1 : at + 2] == [("sign", "(")]:
                factor, at = _call(text, tokens, at)
            factors.append(factor)
        elif kind == "quoted" and not divide:
            factors.append(value)
        else:
            found = "the end" if kind == "end" else repr(value)
            raise _unreadable(text, f"a {'number' if divide else 'name'} must come before {found}")
        at += 1
        if at == len(tokens) or tokens[at] not in (("sign", "*"), ("sign", "/")):
            break
        divide = tokens[at][1] == "/"
        at += 1
    if not factors:
        raise _unreadable(text, "a number stands alone: every term needs a utility")
    if not math.isfinite(weight):
        raise _unreadable(text, "a weight is not finite")
    if len(factors) == 1:
        return weight, factors[0], at
    return weight, Call("*", tuple(Expression(((1.0, factor),)) for factor in factors)), at


def _call(text: str, tokens: list[tuple[str, str]], at: int) -> tuple[Call, int]:
    """Return (call, index of its closing bracket)."""
    kind = tokens[at][1]
    if kind not in ("max", "min"):
        raise _unreadable(text, f"there is no {kind}(...): only max(...) and min(...)")
    parts: list[Expression] = []
    at += 1
    while not parts or tokens[at : at + 1] == [("sign", ",")]:
        part, at = _sum(text, tokens, at + 1)
        parts.append(part)
    if tokens[at : at + 1] != [("sign", ")")]:
        raise _unreadable(text, f"{kind}( is not closed")
    return Call(kind, tuple(parts)), at


def _unreadable(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"cannot read the utility {text!r}: {why}. Write '0.7*STEP + 0.3*STEP:TARGET'"
    )


def matching(name: str, utilities: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that a name stands for: a column, `step:target`, or all targets of a step.

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
    """A table whose utilities are an expression's values, one for each target.

    Names that stand for one column join every one; those that stand for several targets must agree
    on them. The columns are `utility:<expression>:<target>`, computed each time they are read.
    """

    def __init__(self, table: Table, expression: Expression, scale: Scale = "raw") -> None:
        if scale not in SCALES:
            raise ConfigError(f"scale must be one of {', '.join(SCALES)}, not {scale!r}")
        self._scale = scale
        self._sums = {
            f"utility:{expression}:{target}": own
            for target, own in _by_target(expression, table.utilities).items()
        }
        super().__init__(table, tuple(self._sums))

    def terms(self, name: str) -> list[tuple[float, str]]:
        """Return the (weight, column) that a sum of raw utilities is made of; else nothing."""
        if name not in self._sums or self._scale != "raw":
            return []
        return self._sums[name].weighted

    def column(self, name: str) -> NDArray[Any]:
        """A column of the table, or a sum: float64 [n], NaN where the document was dropped.

        Raises DataworthError for a utility that is NaN for an eligible document, or infinite where
        the scale needs its mean.
        """
        if name not in self._sums:
            return self._table.column(name)
        rows = eligible_rows(self._table)

        def scaled(column: str) -> NDArray[np.float64]:
            values = pick(np.asarray(self._table.column(column), np.float64), rows)
            if np.isnan(values).any():
                raise DataworthError(f"{column} is not a number for some eligible documents")
            return _SCALES[self._scale](values, column)

        with np.errstate(invalid="ignore"):
            total = self._sums[name].value(scaled)
        if np.isnan(total).any():
            raise DataworthError(f'{name} adds infinite utilities of both signs: use scale="rank"')
        if rows is None:
            return total
        spread = np.full(len(self._table), np.nan)
        spread[rows] = total
        return spread


def combine(table: Table, text: str | Expression, scale: Scale = "raw") -> Combined:
    """Return the table with the expression's sums as its utilities.

    Raises ConfigError for an expression that cannot be read or names what does not exist.
    """
    return Combined(table, parse_expression(text) if isinstance(text, str) else text, scale)


def _by_target(expression: Expression, utilities: Sequence[str]) -> dict[str, Expression]:
    """For each target, by name, the expression of the columns that are for it."""
    columns = {name: matching(name, utilities) for name in expression.names}
    several = [(name, matches) for name, matches in columns.items() if len(matches) > 1]
    if several:
        targets = {split_name(column)[1] for column in several[0][1]}
        for name, matches in several[1:]:
            if {split_name(column)[1] for column in matches} != targets:
                raise ConfigError(
                    f"{several[0][0]!r} and {name!r} have different targets: name step:target"
                )
    else:
        labels = {split_name(matches[0])[1] for matches in columns.values()} - {""}
        targets = {"+".join(sorted(labels))}

    def column_of(name: str, target: str) -> str:
        matches = columns[name]
        return next((c for c in matches if split_name(c)[1] == target), matches[0])

    return {
        target: expression.renamed(functools.partial(column_of, target=target))
        for target in sorted(targets)
    }


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


def _bucket(values: NDArray[np.float64], column: str) -> NDArray[np.float64]:
    """Assign values to 20 buckets of equal size, 0 to 19 by rising value; ties share a bucket."""
    return np.floor(_BUCKETS * _rank(values, column))


def _z(values: NDArray[np.float64], column: str) -> NDArray[np.float64]:
    """Return (value - mean) / standard deviation; 0 where all are equal."""
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
    "bucket": _bucket,
    "z": _z,
}
