"""Utilities added up: reading, matching names to columns, and scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism.expression import Expression, combine, matching, parse_expression
from dataworth.mechanism.per_target import PerTarget
from dataworth.mechanism.top_k import TopK
from mechanism.tables import MemoryTable, make_table, rows_of

READ = {
    "dsir": [(1, "dsir")],
    "0.7*dsir + 0.3*edu": [(0.7, "dsir"), (0.3, "edu")],
    "-dsir": [(-1, "dsir")],
    "dsir:math - 2 * edu": [(1, "dsir:math"), (-2, "edu")],
    "dsir * 2 * 3": [(6, "dsir")],
    "dsir/4+edu*.5": [(0.25, "dsir"), (0.5, "edu")],
    "1e-3*a_b.c": [(0.001, "a_b.c")],
    "2*wiki-books - edu": [(2, "wiki-books"), (-1, "edu")],
    "'dsir(ngrams=3)' + \"x y:z\"": [(1, "dsir(ngrams=3)"), (1, "x y:z")],
    "+a+a": [(1, "a"), (1, "a")],
    "utility:dsir:math": [(1, "utility:dsir:math")],
    "größe + 目標": [(1, "größe"), (1, "目標")],
}
WRONG = ["", " ", "3", "a b", "a +", "+ +a", "a*", "2*", "a/0", "2/a", "a & b", "(a)", "a**2"]
WRONG += [
    "max(a",
    "max()",
    "max(a,)",
    "max(3)",
    "mean(a, b)",
    "a/b",
    "a*b/c",
    "max(a) b",
    "a,b",
    "a)",
]
WRONG += ["'a", "2a", "1e999*a", "__import__('os').system('true')", "a - - b", "3*+a", "*a", "a+3"]


@pytest.mark.parametrize("text", READ)
def test_reading(text):
    assert parse_expression(text) == Expression(tuple(READ[text]))


@pytest.mark.parametrize("text", WRONG)
def test_unreadable(text):
    with pytest.raises(ConfigError, match=r"cannot read the utility .*0\.7\*STEP"):
        parse_expression(text)


names = st.from_regex(r"[a-z][a-z0-9_]*(:[a-z]+)?(-[a-z]+)?", fullmatch=True)
odd = st.text(st.characters(exclude_characters="\"'"), min_size=1)
weights = st.floats(-1e6, 1e6).filter(bool)


@given(st.lists(st.tuples(weights, names | odd), min_size=1, max_size=4))
def test_expressions_round_trip_through_text(terms):
    expression = Expression(tuple(terms))
    assert parse_expression(str(expression)) == expression


def table_of(**columns: list[float]) -> MemoryTable:
    """Columns by `step__target`."""
    table = make_table(next(iter(columns.values())))
    table.columns = {
        "utility:" + name.replace("__", ":"): np.array(values, np.float64)
        for name, values in columns.items()
    }
    table.utilities = tuple(table.columns)
    return table


def test_names():
    columns = ("utility:dsir:math", "utility:dsir:wiki", "utility:edu:", "utility:a:b:math")
    assert matching("dsir", columns) == columns[:2]
    assert matching("dsir:wiki", columns) == columns[1:2]
    assert matching("utility:dsir:wiki", columns) == columns[1:2]
    assert matching("edu", columns) == columns[2:3]
    assert matching("a:b", columns) == columns[3:]
    with pytest.raises(
        ConfigError, match=r"no utility 'dsri'; there are: a:b, a:b:math, dsir, .*edu"
    ):
        matching("dsri", columns)
    with pytest.raises(ConfigError, match="'a:b' may mean utility:a:b or utility:a:b:math"):
        matching("a:b", (*columns, "utility:a:b"))


def test_a_step_stands_for_all_its_targets_and_joins_what_has_one():
    table = table_of(dsir__math=[1, 2], dsir__wiki=[3, 4], edu__=[10, 20])
    combined = combine(table, "2*dsir + 0.5*edu")
    assert combined.utilities == (
        "utility:2.0*dsir + 0.5*edu:math",
        "utility:2.0*dsir + 0.5*edu:wiki",
    )
    assert [combined.column(name).tolist() for name in combined.utilities] == [[7, 14], [11, 18]]
    assert combined.column("utility:dsir:math").tolist() == [1, 2]
    assert PerTarget(TopK(), {"math": 1, "wiki": 1}).shares({"math": "", "wiki": ""})
    assert rows_of(PerTarget(TopK(), {"math": 1, "wiki": 1}), combined) == [1, 0]


def test_one_sum_of_columns_that_stand_alone():
    table = table_of(dsir__math=[1, 2], dsir__wiki=[30, 4], edu__=[0, 0])
    assert combine(table, "dsir:math - edu").utilities == ("utility:dsir:math - edu:math",)
    both = combine(table, "dsir:wiki + dsir:math")
    assert both.utilities == ("utility:dsir:wiki + dsir:math:math+wiki",)
    assert rows_of(TopK(), both) == [0, 1]
    assert rows_of(TopK(), combine(table, "dsir:math")) == [1, 0]
    assert rows_of(TopK(), combine(table, "-dsir:math")) == [0, 1]


def test_targets_that_differ_are_refused():
    table = table_of(a__x=[1], a__y=[1], b__x=[1], b__z=[1])
    with pytest.raises(ConfigError, match="'a' and 'b' have different targets"):
        combine(table, "a+b")


def test_scales():
    table = table_of(a__x=[4.0, 1.0, 1.0, 9.0, math.nan])
    table.eligible[4] = False
    values = {
        scale: combine(table, "a", scale).column("utility:a:x") for scale in ("raw", "rank", "z")
    }
    np.testing.assert_array_equal(values["raw"], [4, 1, 1, 9, math.nan])
    np.testing.assert_array_equal(values["rank"], [5 / 8, 1 / 4, 1 / 4, 7 / 8, math.nan])
    z = values["z"]
    assert math.isnan(z[4])
    assert z[:4].mean() == pytest.approx(0) and z[:4].std() == pytest.approx(1)
    assert (z[0] - z[1]) / (z[3] - z[0]) == pytest.approx(3 / 5)
    with pytest.raises(ConfigError, match="scale must be"):
        combine(table, "a", "log")  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(-3, 3)), max_size=50),
    st.randoms(),
    st.sampled_from(["raw", "rank", "z"]),
)
def test_sums_do_not_depend_on_the_order_of_rows_or_terms(drawn, shuffle, scale):
    table = table_of(
        a__x=[a for a, _ in drawn], b__x=[b for _, b in drawn], c__x=[1.0] * len(drawn)
    )
    expected = combine(table, "0.1*a + 0.3*b - 0.7*c", scale)
    places = list(range(len(drawn)))
    shuffle.shuffle(places)
    other = combine(table.permuted(np.array(places, np.int64)), "-0.7*c + 0.3*b + 0.1*a", scale)
    np.testing.assert_array_equal(
        other.column(other.utilities[0]), expected.column(expected.utilities[0])[places]
    )


def test_degenerate_columns():
    assert combine(table_of(a__x=[]), "a", "z").column("utility:a:x").tolist() == []
    assert combine(table_of(a__x=[]), "a", "rank").column("utility:a:x").tolist() == []
    assert combine(table_of(a__x=[3, 3]), "a", "z").column("utility:a:x").tolist() == [0, 0]
    assert combine(table_of(a__x=[3, 3]), "a", "rank").column("utility:a:x").tolist() == [0.5, 0.5]
    assert combine(table_of(a__x=[1e-300, 0]), "a", "z").column("utility:a:x").tolist() == [
        pytest.approx(0),
        pytest.approx(0),
    ]


def test_infinities_and_nan():
    infinite = table_of(a__x=[math.inf, 1, -math.inf])
    assert combine(infinite, "a", "rank").column("utility:a:x").tolist() == [5 / 6, 0.5, 1 / 6]
    with pytest.raises(DataworthError, match='infinite values, so no mean: use scale="rank"'):
        combine(infinite, "a", "z").column("utility:a:x")
    with pytest.raises(DataworthError, match="infinite utilities of both signs"):
        combine(infinite, "a - 2*a").column("utility:a - 2.0*a:x")
    with pytest.raises(DataworthError, match="utility:a:x is not a number"):
        combine(table_of(a__x=[math.nan]), "a").column("utility:a:x")


COMBINED = {
    "a*b": lambda a, b: a * b,
    "2*a*b/4 - b": lambda a, b: a * b / 2 - b,
    "max(a, b)": np.maximum,
    "min(a, 2*b)": lambda a, b: np.minimum(a, 2 * b),
    "max(a, 0.5*a + 0.5*b, -b)": lambda a, b: np.max([a, (a + b) / 2, -b], axis=0),
    "b*min(a, b)*max(a, b) + a": lambda a, b: b * np.minimum(a, b) * np.maximum(a, b) + a,
    "max(a)": lambda a, b: a,
}


@pytest.mark.parametrize("text", COMBINED)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=9))
@settings(max_examples=10)
def test_products_and_extremes(text, rows):
    a, b = (np.array(column) for column in zip(*rows, strict=True))
    view = combine(table_of(a=list(a), b=list(b)), text)
    np.testing.assert_allclose(view.column(view.utilities[0]), COMBINED[text](a, b), atol=1e-9)
    assert str(parse_expression(text)) == str(parse_expression(str(parse_expression(text))))
    plain = text in ("max(a)",)
    assert view.terms(view.utilities[0]) == [] or plain


def test_a_call_has_a_value_for_each_target():
    view = combine(table_of(a__x=[1, 2], a__y=[5, 6], b=[3, 1]), "max(a, b)")
    assert [list(view.column(name)) for name in view.utilities] == [[3, 2], [5, 6]]
    named = combine(table_of(max=[1, 2], b=[3, 1]), "max + b")
    assert named.column(named.utilities[0]).tolist() == [4, 3]


def buckets(values, n=20):
    """The rank bucket of each value, one document after another."""
    ranks = [
        sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 - 0.5 for x in values
    ]
    return [int(n * rank / len(values)) for rank in ranks]


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 3), min_size=1, max_size=60))
@settings(max_examples=25)
def test_the_ensemble_of_rank_buckets_is_its_naive_form(rows):
    """Nemotron-CC: each classifier's scores into 20 buckets of equal size, then the largest."""
    scores = np.array(rows, np.float64).T
    columns = {name: list(values) for name, values in zip("abc", scores, strict=True)}
    view = combine(table_of(**columns), "max(a, b, c)", "bucket")
    naive = np.max([buckets(values) for values in columns.values()], axis=0)
    np.testing.assert_array_equal(view.column(view.utilities[0]), naive)


def test_buckets_are_of_equal_size():
    values = np.random.default_rng(0).permutation(100.0 + np.arange(100))
    view = combine(table_of(a=list(values)), "a", "bucket")
    sizes = np.bincount(view.column(view.utilities[0]).astype(int))
    np.testing.assert_array_equal(sizes, [5] * 20)
