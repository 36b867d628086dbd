from hypothesis import given
from hypothesis import strategies as st

from dataworth.features.comparisons import excerpts, pair
from methods.fitting import docs


@given(st.integers(0, 40), st.integers(1, 60))
def test_pairs(documents: int, pairs: int) -> None:
    left, right = pair(documents, pairs)
    assert len(left) == min(pairs, documents * (documents - 1) // 2)
    assert (left < right).all() and (right < max(documents, 1)).all()
    assert len(set(zip(left.tolist(), right.tolist(), strict=True))) == len(left)
    if 2 * pairs <= documents:
        assert len({*left.tolist(), *right.tolist()}) == 2 * pairs


@given(st.lists(st.text(max_size=60), min_size=2, max_size=12), st.integers(0, 9))
def test_excerpts_are_of_equal_length(texts: list[str], seed: int) -> None:
    documents = docs(texts)
    left, right = pair(len(texts), 6)
    found = list(excerpts(documents, left, right, 20, seed))
    for (one, two), i, j in zip(found, left, right, strict=True):
        assert one in texts[i] and two in texts[j]
        longest = max(len(one), len(two))
        assert longest <= 20
        for text, whole in ((one, texts[i]), (two, texts[j])):
            assert len(text) == longest or text == whole
            assert len(text) >= min(len(whole), 10)
