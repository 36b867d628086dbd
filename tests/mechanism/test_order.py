"""What every mechanism must hold to, and how ties are broken."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism import base
from dataworth.mechanism.base import CHOICE, Mechanism
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.mechanism.pareto import Pareto
from dataworth.mechanism.per_target import PerTarget
from dataworth.mechanism.random import Random
from dataworth.mechanism.threshold import Threshold
from dataworth.mechanism.top_k import TopK
from mechanism.tables import MemoryTable, make_table, rows_of

MECHANISMS: list[Mechanism] = [
    TopK(),
    GumbelTopK(0.7),
    GumbelTopK(0.0),
    Threshold(0.0),
    Threshold(0.0, by="hash"),
    Pareto(),
    Random(),
    PerTarget(TopK()),
]
USING_UTILITY = [mechanism for mechanism in MECHANISMS if not isinstance(mechanism, Random)]
ALL = pytest.mark.parametrize("mechanism", MECHANISMS, ids=repr)
NEEDY = pytest.mark.parametrize("mechanism", USING_UTILITY, ids=repr)

# Few values and few uids, so that ties and copies of one text are common.
documents = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([-1.0, -0.0, 0.0, 1.0, math.inf, -math.inf]), st.floats(-9, 9)),
        st.integers(0, 12),
        st.integers(1, 50),
        st.booleans(),
    ),
    max_size=60,
)


def table_of(drawn: list[tuple[float, int, int, bool]]) -> MemoryTable:
    return make_table(
        [utility if eligible else math.nan for utility, _, _, eligible in drawn],
        uid=[uid for _, uid, _, _ in drawn],
        sizes=[size for _, _, size, _ in drawn],
        eligible=[eligible for _, _, _, eligible in drawn],
    )


@ALL
@settings(deadline=None)
@given(drawn=documents, seed=st.integers(0, 2**32), shuffle=st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_rows(mechanism, drawn, seed, shuffle):
    table = table_of(drawn)
    places = list(range(len(table)))
    shuffle.shuffle(places)
    permuted = table.permuted(np.array(places, np.int64))
    assert [places[row] for row in rows_of(mechanism, permuted, seed)] == rows_of(
        mechanism, table, seed
    )


@ALL
@settings(deadline=None)
@given(drawn=documents, seed=st.integers(0, 2**32))
def test_an_order_holds_each_eligible_row_once(mechanism, drawn, seed):
    table = table_of(drawn)
    rows = rows_of(mechanism, table, seed)
    expected = table.eligible
    if isinstance(mechanism, Threshold):
        expected = expected & (table.columns["utility:step:t"] >= mechanism.at)
    assert sorted(rows) == np.flatnonzero(expected).tolist()
    assert rows == rows_of(mechanism, table, seed)


@ALL
def test_another_seed_breaks_ties_otherwise(mechanism):
    table = make_table([1.0] * 40)
    orders = {tuple(rows_of(mechanism, table, seed)) for seed in range(5)}
    assert len(orders) == 5


@ALL
def test_an_empty_table_and_a_table_of_one(mechanism):
    assert rows_of(mechanism, make_table([])) == []
    assert rows_of(mechanism, make_table([2.0])) == [0]
    assert rows_of(mechanism, make_table([math.nan], eligible=[False])) == []


@NEEDY
def test_nan_among_eligible_rows_is_an_error_that_counts_them(mechanism):
    with pytest.raises(DataworthError, match=r"1 of 2 eligible documents .* utility:step:t"):
        rows_of(mechanism, make_table([1.0, math.nan, math.nan], eligible=[True, True, False]))


@pytest.mark.parametrize("mechanism", [TopK(), GumbelTopK(1.0), Threshold(0), Pareto()], ids=repr)
def test_several_utilities_or_none_are_refused(mechanism):
    with pytest.raises(ConfigError, match=r"there are 2 .*utility:step:a.*per_target"):
        mechanism.order(make_table({"a": [1.0], "b": [1.0]}), 0)
    table = make_table([1.0])
    table.utilities = ()
    with pytest.raises(ConfigError, match="none"):
        mechanism.order(table, 0)


def test_random_needs_no_utility():
    table = make_table([1.0, 2.0])
    table.utilities = ()
    assert sorted(rows_of(Random(), table)) == [0, 1]


def test_ties_go_by_falling_hash_then_by_position():
    uid = [5, 9, 5, 7, 9, 5]
    table = make_table([1.0] * 6, uid=uid)
    table.position = np.array([3, 0, 1, 4, 5, 2])
    hashed = hash_uid(11, table.uid, CHOICE)
    expected = sorted(range(6), key=lambda row: (-int(hashed[row]), table.position[row]))
    assert rows_of(TopK(), table, 11) == expected


def test_position_is_not_read_without_copies():
    class Bare(MemoryTable):
        position = property(lambda self: pytest.fail("read the position"), lambda self, _: None)

    table = make_table([1.0, 1.0, 0.0])
    rows_of(TopK(), Bare(**vars(table)))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
@settings(deadline=None, max_examples=40)
@given(drawn=documents)
def test_the_size_of_blocks_does_not_matter(block, drawn):
    table = table_of(drawn)
    expected = rows_of(TopK(), table, 5)
    before = base.BLOCK
    try:
        base.BLOCK = block
        blocks = list(TopK().order(table, 5))
    finally:
        base.BLOCK = before
    assert [int(row) for rows in blocks for row in rows] == expected
    values = table.columns["utility:step:t"]
    # A block is longer than asked for only where a run of ties would be cut.
    assert all(len(rows) <= block or values[rows[block - 1]] == values[rows[-1]] for rows in blocks)


def test_several_blocks_of_the_real_size():
    n = 2 * base.BLOCK + 17
    values = np.random.default_rng(3).integers(0, 50, n).astype(np.float64)
    table = make_table(values, eligible=np.arange(n) % 7 != 0)
    hashed = hash_uid(1, table.uid, CHOICE)
    expected = np.lexsort((~hashed, -values))
    expected = expected[table.eligible[expected]]
    blocks = list(TopK().order(table, 1))
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@settings(deadline=None)
@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=30, unique=True),
    st.data(),
    st.floats(0.001, 5),
)
def test_a_larger_utility_never_loses_a_place(utilities, data, gain):
    chosen = data.draw(st.integers(0, len(utilities) - 1))
    raised = [u + gain if row == chosen else u for row, u in enumerate(utilities)]
    for mechanism in (TopK(), GumbelTopK(1.0), Threshold(-10.0), Pareto()):
        before = rows_of(mechanism, make_table(utilities), 4).index(chosen)
        after = rows_of(mechanism, make_table(raised), 4).index(chosen)
        assert after <= before


def test_infinite_utilities_come_first_and_last():
    utilities = [0.0, -math.inf, 1.0, math.inf]
    for mechanism in (TopK(), GumbelTopK(1e-9)):
        assert rows_of(mechanism, make_table(utilities)) == [3, 2, 0, 1]
    assert sorted(rows_of(Pareto(), make_table(utilities))) == [0, 1, 2, 3]
    assert rows_of(Pareto(), make_table([-math.inf] * 3 + [math.inf]))[0] == 3


def test_negative_zero_ties_with_zero():
    table = make_table([0.0, -0.0] * 50)
    assert rows_of(TopK(), table, 2) == rows_of(Random(), table, 2)


def test_all_equal_utilities_are_chosen_from_uniformly():
    draws = 4_000
    first = np.zeros(5)
    among_two = np.zeros(5)
    for seed in range(draws):
        order = rows_of(TopK(), make_table([0.3] * 5), seed)
        first[order[0]] += 1
        among_two[order[:2]] += 1
    spread = math.sqrt(draws * 0.2 * 0.8)
    assert np.all(np.abs(first - draws / 5) < 4.5 * spread)
    assert np.all(np.abs(among_two - draws * 2 / 5) < 4.5 * math.sqrt(draws * 0.4 * 0.6))


@settings(deadline=None)
@given(drawn=documents, seed=st.integers(0, 99))
def test_random_is_any_mechanism_on_a_constant_utility(drawn, seed):
    table = table_of(drawn)
    constant = np.where(table.eligible, 0.25, np.nan)
    table.columns["utility:step:t"] = constant
    expected = rows_of(Random(), table, seed)
    for mechanism in (TopK(), GumbelTopK(2.0), Threshold(0.1), Threshold(0.1, by="hash")):
        assert rows_of(mechanism, table, seed) == expected


def test_nothing_here_names_a_method():
    for path in Path(base.__file__).parent.glob("*.py"):
        text = path.read_text("utf-8").lower()
        assert "dsir" not in text and "dataworth.methods" not in text, path
