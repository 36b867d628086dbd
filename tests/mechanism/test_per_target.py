"""Per target: shares, freedom from the order of names, and a plain twin of the kernel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.mechanism import per_target
from dataworth.mechanism.cut import cut
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.mechanism.per_target import PerTarget
from dataworth.mechanism.random import Random
from dataworth.mechanism.threshold import Threshold
from dataworth.mechanism.top_k import TopK
from mechanism.tables import MemoryTable, make_table, rows_of


def plain(table: MemoryTable, shares: dict[str, float], at: float = -np.inf) -> list[int]:
    """The rule, said plainly, for top-k (utilities distinct within a target)."""
    columns = {name: table.columns[f"utility:step:{name}"] for name in shares}
    used = dict.fromkeys(shares, 0)
    free = {row for row in range(len(table)) if table.eligible[row]}
    order = []
    open_targets = sorted(shares)
    while open_targets:
        turn = min(open_targets, key=lambda name: (used[name] / shares[name], name))
        wanted = [row for row in free if columns[turn][row] >= at]
        if not wanted:
            open_targets.remove(turn)
            continue
        best = max(wanted, key=lambda row: columns[turn][row])
        used[turn] += int(table.lengths[best])
        free.remove(best)
        order.append(best)
    return order


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 40), st.integers(1, 4), st.integers(0, 2**32), st.sampled_from([1, 3, 131072])
)
def test_the_kernel_does_what_the_rule_says(n, targets, seed, block):
    draw = np.random.default_rng(seed)
    names = ["c", "a", "d", "b"][:targets]
    table = make_table(
        {name: draw.permutation(n) / 7 for name in names},
        sizes=draw.integers(1, 9, n),
        eligible=draw.random(n) < 0.8,
    )
    weights = {name: float(draw.integers(1, 5)) for name in names}
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    before = per_target.BLOCK
    try:
        per_target.BLOCK = block
        assert rows_of(PerTarget(TopK(), weights), table) == plain(table, shares)
        assert rows_of(PerTarget(Threshold(2.0), weights), table) == plain(table, shares, 2.0)
    finally:
        per_target.BLOCK = before


def test_two_disjoint_domains_get_half_each_and_only_their_own():
    """The specification's check: quotas (.5, .5), each of its own domain, no doubles, sum exact."""
    half = 500
    own, other = np.linspace(5, 9, half), np.linspace(-9, -5, half)
    table = make_table({"a": [*own, *other], "b": [*other, *own]})
    result = cut(PerTarget(TopK(), {"a": 0.5, "b": 0.5}).order(table, 0), table.lengths, "300-docs")
    assert result.documents == result.distinct == 300
    assert result.counts[:half].sum() == result.counts[half:].sum() == 150
    assert result.counts[half - 150 : half].all() and result.counts[-150:].all()


@pytest.mark.parametrize("proportions", [{"a": 3, "b": 1}, {"a": 0.75, "b": 0.25}])
def test_shares_are_of_tokens(proportions):
    draw = np.random.default_rng(1)
    n = 4_000
    sizes = np.where(np.arange(n) < n // 2, 10, 1_000)
    near_a = np.arange(n) < n // 2
    table = make_table(
        {"a": draw.random(n) + near_a * 9, "b": draw.random(n) + ~near_a * 9}, sizes=sizes
    )
    result = cut(PerTarget(TopK(), proportions).order(table, 0), table.lengths, 16_000)
    assert (result.counts * sizes)[near_a].sum() == pytest.approx(12_000, abs=1_000)


def test_the_order_of_names_does_not_matter():
    draw = np.random.default_rng(5)
    n = 300
    values = {name: draw.normal(size=n) for name in "xyz"}
    shares = {"x": 1.0, "y": 2.0, "z": 2.0}
    orders = set()
    for names in itertools.permutations("xyz"):
        table = make_table({name: values[name] for name in names})
        mechanism = PerTarget(GumbelTopK(0.5), {name: shares[name] for name in names})
        orders.add(tuple(rows_of(mechanism, table, 3)))
    assert len(orders) == 1


def test_one_target_is_its_inner_mechanism():
    table = make_table(np.random.default_rng(0).normal(size=200))
    for inner in (TopK(), GumbelTopK(1.0), Random()):
        assert rows_of(PerTarget(inner), table, 4) == rows_of(inner, table, 4)


def test_targets_have_noise_of_their_own():
    values = np.zeros(400)
    table = make_table({"a": values, "b": values})
    order = rows_of(PerTarget(GumbelTopK(1.0)), table, 0)
    alone = rows_of(GumbelTopK(1.0), make_table(values), 0)
    assert sorted(order) == sorted(alone) and order != alone
    a, b = order[:100:2], order[1:100:2]
    places = {row: place for place, row in enumerate(alone)}
    assert np.mean([places[row] for row in a]) > 120 and np.mean([places[row] for row in b]) > 120


def test_a_share_of_zero_leaves_a_target_out():
    table = make_table({"a": [1.0, 2.0, 3.0], "b": [3.0, 2.0, 1.0], "c": [0.0, 9.0, 0.0]})
    assert rows_of(PerTarget(TopK(), {"a": 1, "b": 0, "c": 0}), table) == [2, 1, 0]
    assert rows_of(PerTarget(TopK(), {"a": 1, "b": 1, "c": 0}), table)[:2] == [2, 0]


def test_wrong_proportions():
    table = make_table({"a": [1.0], "b": [1.0]})
    with pytest.raises(ConfigError, match="no target 'z'; the targets are a, b"):
        PerTarget(TopK(), {"a": 1, "z": 1}).order(table, 0)
    with pytest.raises(ConfigError, match="lack the target 'b'"):
        PerTarget(TopK(), {"a": 1}).order(table, 0)
    for wrong in ({"a": -1.0}, {"a": float("nan")}, {"a": 0.0, "b": 0.0}, {}):
        with pytest.raises(ConfigError, match="proportion"):
            PerTarget(TopK(), wrong)


def test_two_utilities_for_one_target_are_refused():
    table = make_table({"a": [1.0]})
    table.columns["utility:other:a"] = np.ones(1)
    table.utilities = (*table.utilities, "utility:other:a")
    with pytest.raises(ConfigError, match="for one target"):
        PerTarget(TopK()).order(table, 0)
    table.utilities = ()
    with pytest.raises(ConfigError, match="there is none"):
        PerTarget(TopK()).order(table, 0)


def test_a_tiny_share_is_harmless():
    table = make_table({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    assert sorted(rows_of(PerTarget(TopK(), {"a": 1.0, "b": 5e-324}), table)) == [0, 1]
