"""The random sample's documents found again in the table."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.flow import choosing


@settings(derandomize=True)
@given(
    texts=st.lists(st.sampled_from("abcdefgh"), max_size=30),
    sample=st.lists(st.sampled_from("abcdefghxyz"), max_size=12),
    dropped=st.sets(st.integers(0, 29)),
)
def test_rows_of_a_sample(texts: list[str], sample: list[str], dropped: set[int]) -> None:
    eligible = np.array([row not in dropped for row in range(len(texts))], np.bool_)
    rows, inside = choosing.sample_rows(
        Documents.from_texts(texts).uid, eligible, Documents.from_texts(sample)
    )
    first = {text: row for row, text in reversed(list(enumerate(texts))) if row not in dropped}
    wanted = [(first[text], place) for place, text in enumerate(sample) if text in first]
    assert list(zip(rows.tolist(), inside.tolist(), strict=True)) == wanted


def test_the_first_row_wins_across_blocks() -> None:
    """The table is searched a million rows at a time."""
    uid = Documents.from_texts(["same", "other"]).uid
    column = np.zeros((1 << 20) + 3, np.uint64)
    column[[5, (1 << 20) + 1]] = uid[0]
    column[(1 << 20) + 2] = uid[1]
    sample = Documents.from_texts(["other", "same"])
    rows, inside = choosing.sample_rows(column, np.ones(len(column), np.bool_), sample)
    assert rows.tolist() == [(1 << 20) + 2, 5]
    assert inside.tolist() == [0, 1]
