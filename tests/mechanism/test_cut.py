"""The cut: budgets to within one document, quotas, repeats, and a plain twin of the kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.mechanism.budget import Budget
from dataworth.mechanism.cut import Cut, Group, cut


def in_order(n: int, block: int = 3):
    """Rows 0 to n - 1 in blocks."""
    for start in range(0, n, block):
        yield np.arange(start, min(start + block, n))


def sizes_of(*sizes: int):
    return np.array(sizes, np.int64)


def plain(sizes, budget, by_documents, groups, caps, max_repeat):
    """Counts by the rule, said plainly; `caps`: {(field, value): (size, documents)}."""
    counts = [0] * len(sizes)
    spent = documents = 0
    used: dict = {}
    for _ in range(max_repeat):
        before = spent
        for row, size in enumerate(sizes):
            own = [(f, values[row]) for f, values in groups.items() if (f, values[row]) in caps]
            if any(
                used.get(g, (0, 0))[0] + size > caps[g][0]
                or used.get(g, (0, 0))[1] + 1 > caps[g][1]
                for g in own
            ):
                continue
            after = spent + (1 if by_documents else size)
            if after > budget and documents and after - budget >= budget - spent:
                return counts, False
            counts[row] += 1
            documents += 1
            spent = after
            for g in own:
                used[g] = (used.get(g, (0, 0))[0] + size, used.get(g, (0, 0))[1] + 1)
            if spent >= budget:
                return counts, False
        if spent == before:
            break
    return counts, True


@settings(deadline=None, max_examples=300)
@given(
    sizes=st.lists(st.integers(1, 30), max_size=40),
    budget=st.integers(1, 500),
    by_documents=st.booleans(),
    max_repeat=st.integers(1, 4),
    caps=st.dictionaries(
        st.tuples(st.sampled_from("fg"), st.sampled_from("xyz")),
        st.one_of(
            st.tuples(st.integers(1, 99), st.just(10**9)),
            st.tuples(st.just(10**9), st.integers(1, 9)),
        ),
    ),
    seed=st.integers(0, 99),
)
def test_the_kernel_does_what_the_rule_says(sizes, budget, by_documents, max_repeat, caps, seed):
    draw = np.random.default_rng(seed)
    groups = {f: [list("xyz")[i] for i in draw.integers(0, 3, len(sizes))] for f in "fg"}
    quotas: dict = {}
    for (field, value), (size, documents) in caps.items():
        cap = size if documents == 10**9 else f"{documents}-docs"
        quotas.setdefault(field, {})[value] = cap
    result = cut(
        in_order(len(sizes)),
        np.array(sizes, np.int64),
        Budget(budget, "documents" if by_documents else "tokens"),
        groups={
            f: Group(np.array(["xyz".index(v) for v in values], np.int8), list("xyz"))
            for f, values in groups.items()
        },
        quotas=quotas,
        max_repeat=max_repeat,
    )
    counts, short = plain(sizes, budget, by_documents, groups, caps, max_repeat)
    assert result.counts.tolist() == counts
    assert result.counts.dtype == np.uint16
    assert result.short == short == bool(result.reason)
    assert result.documents == sum(counts)
    assert result.distinct == sum(count > 0 for count in counts)
    assert result.amount == sum(c * s for c, s in zip(counts, sizes, strict=True))
    assert result.last == max((row for row, count in enumerate(counts) if count), default=None)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=50), budget=st.integers(1, 3000))
def test_no_prefix_lands_nearer(sizes, budget):
    result = cut(in_order(len(sizes)), np.array(sizes), budget)
    prefixes = np.cumsum(sizes)
    assert abs(result.amount - budget) == np.abs(prefixes - budget).min()
    assert result.short == (prefixes[-1] < budget)


def test_the_crossing_document_is_taken_where_that_lands_nearer():
    assert cut(in_order(2), sizes_of(10, 10), 16).amount == 20
    assert cut(in_order(2), sizes_of(10, 10), 14).amount == 10
    assert cut(in_order(2), sizes_of(10, 10), 15).amount == 10  # at a draw, not over the budget
    assert not cut(in_order(2), sizes_of(10, 10), 14).short


def test_at_least_one_document_is_taken():
    result = cut(in_order(3), sizes_of(1000, 1, 1), 2)
    assert result.counts.tolist() == [1, 0, 0] and not result.short


@given(n=st.integers(0, 40), k=st.integers(1, 50))
def test_document_budgets_are_exact(n, k):
    result = cut(in_order(n), np.full(n, 7), f"{k}-docs")
    assert result.documents == result.used == min(n, k)
    assert result.short == (n < k)
    assert result.amount == 7 * min(n, k)


def test_a_budget_that_is_exactly_the_pool_is_not_short():
    result = cut(in_order(4), sizes_of(5, 5, 5, 5), 20)
    assert not result.short and result.reason == "" and result.used == 20


def test_a_budget_larger_than_the_pool_takes_all_and_says_so():
    result = cut(in_order(3), sizes_of(5, 6, 7), 1_000)
    assert result.counts.tolist() == [1, 1, 1] and result.short
    assert result.reason == "18 of 1,000 tokens: all 3 documents of the order taken"


def test_an_empty_order():
    result = cut(iter([]), sizes_of(5, 5), 10, max_repeat=3)
    assert result.short and result.last is None and result.documents == 0 and result.rounds == 1
    assert cut(iter([]), sizes_of(), 10).counts.shape == (0,)


def test_the_order_is_read_no_further_than_needed():
    read = []

    def order():
        for block in in_order(30, block=5):
            read.append(int(block[0]))
            yield block

    cut(order(), np.full(30, 1), 12)
    assert read == [0, 5, 10]


def test_rows_outside_the_order_are_never_taken():
    result = cut(iter([np.array([4, 2])]), np.full(6, 1), 100, max_repeat=5)
    assert result.counts.tolist() == [0, 0, 5, 0, 5, 0]
    assert result.last == 2  # the furthest down the order, not the last one counted


def test_repeats_go_round_the_order_again():
    result = cut(in_order(3), sizes_of(10, 10, 10), 75, max_repeat=4)
    assert result.counts.tolist() == [3, 2, 2] and result.rounds == 3 and not result.short
    assert result.last == 2
    result = cut(in_order(3), sizes_of(10, 10, 10), 1000, max_repeat=4)
    assert result.counts.tolist() == [4, 4, 4] and result.short
    assert result.reason.endswith("taken, 4 times over")


DOMAIN = {"domain": Group(np.array([0, 0, 0, 1, 1, -1], np.int32), ["web", "books"])}


def taken(result: Cut) -> list[int]:
    return np.flatnonzero(result.counts).tolist()


def test_a_group_at_its_cap_is_passed_over():
    sizes = np.full(6, 10)
    result = cut(in_order(6), sizes, 40, groups=DOMAIN, quotas={"domain": {"web": 0.3}})
    assert taken(result) == [0, 3, 4, 5]
    assert result.passed_over == 2 and result.capped == ("domain=web",)
    result = cut(in_order(6), sizes, 60, groups=DOMAIN, quotas=["domain:1-docs"])
    assert taken(result) == [0, 3, 5]  # a document without the field is in no group
    assert result.capped == ("domain=web", "domain=books")
    assert result.short and "3 documents were passed over for quotas" in result.reason
    codes = np.array([0, 0, 0, 1, 1, 2], np.int32)
    missing = {"domain": Group(codes, ["web", "books", None])}
    other = cut(in_order(6), sizes, 60, groups=missing, quotas=["domain:1-docs"])
    assert taken(other) == [0, 3, 5] and other.capped == result.capped


def test_a_cap_is_never_exceeded():
    result = cut(
        in_order(6), sizes_of(10, 90, 20, 10, 10, 10), 1000, groups=DOMAIN, quotas=["domain=web:30"]
    )
    assert taken(result) == [0, 2, 3, 4, 5]


def test_a_value_s_own_cap_goes_before_the_field_s():
    quotas = ["domain:1-docs", "domain=web:2-docs"]
    result = cut(in_order(6), np.full(6, 10), 1000, groups=DOMAIN, quotas=quotas)
    assert taken(result) == [0, 1, 3, 5]


def test_caps_hold_over_repeats():
    result = cut(
        in_order(6), np.full(6, 1), 20, groups=DOMAIN, quotas=["domain=web:4"], max_repeat=9
    )
    assert result.counts[:3].sum() == 4 and result.documents == 20
    quotas = ["domain:1-docs"]
    every = {"domain": Group(np.zeros(4, np.int32), ["web"])}
    result = cut(in_order(4), np.full(4, 1), 20, groups=every, quotas=quotas, max_repeat=65_535)
    assert result.documents == 1 and result.rounds == 2 and result.short


def test_units_of_quotas():
    sizes = np.full(6, 10)
    result = cut(in_order(6), sizes, "4-docs", groups=DOMAIN, quotas=["domain=web:50%"])
    assert taken(result) == [0, 1, 3, 4]
    result = cut(in_order(6), sizes, "6-docs", groups=DOMAIN, quotas=["domain=web:20"])
    assert taken(result) == [0, 1, 3, 4, 5]
    result = cut(in_order(6), sizes, "40-bytes", groups=DOMAIN, quotas=["domain=web:10-bytes"])
    assert taken(result) == [0, 3, 4, 5]
    for budget, quota in (("40-bytes", "domain:10"), ("40", "domain:10-bytes")):
        with pytest.raises(ConfigError, match=r"the quota domain:10.* is in (tokens|bytes)"):
            cut(in_order(6), sizes, budget, groups=DOMAIN, quotas=[quota])


def test_wrong_calls():
    sizes = np.full(6, 10)
    with pytest.raises(ConfigError, match="field 'langauge'; the table's are: domain"):
        cut(in_order(6), sizes, 40, groups=DOMAIN, quotas=["langauge=en:10%"])
    with pytest.raises(ConfigError, match="does not have; it has 2: books, web"):
        cut(in_order(6), sizes, 40, groups=DOMAIN, quotas=["domain=wbe:10%"])
    with pytest.raises(ConfigError, match="share 10% of the pool has not been resolved"):
        cut(in_order(6), sizes, "10%")
    for repeats in (0, -1, 65_536):
        with pytest.raises(ConfigError, match="max_repeat"):
            cut(in_order(6), sizes, 40, max_repeat=repeats)


def test_sizes_of_any_integer_type():
    for dtype in (np.int32, np.uint32, np.int64, np.uint16):
        assert cut(in_order(3), np.array([5, 6, 7], dtype), 11).documents == 2


def test_totals_beyond_32_bits():
    sizes = np.full(5, 2**40)
    assert cut(in_order(5), sizes, 2**42).amount == 2**42
