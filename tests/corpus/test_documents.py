"""Batches of documents: whatever is taken, compacted or joined, texts and columns stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents, RoleSpans
from dataworth.corpus.uid import uid_of

TEXTS = st.lists(st.text(max_size=30), max_size=12)


def make(texts: list[str], *, spans: bool = False) -> Documents:
    """Documents with a column and, if asked for, one span for each character's bytes."""
    made = Documents.from_texts(texts)
    columns = {"id": pa.array([f"id-{i}" for i in range(len(texts))], pa.string())}
    roles = None
    if spans:
        rows, starts, ends, names = [], [], [], []
        for row, text in enumerate(texts):
            at = 0
            for char in text:
                rows.append(row)
                starts.append(at)
                at += len(char.encode())
                ends.append(at)
                names.append(char)
        roles = RoleSpans(*(np.array(part, np.int64) for part in (rows, starts, ends)), names)
    return replace(made, columns=columns, spans=roles)


def check(documents: Documents, texts: list[str], ids: list[str]) -> None:
    assert len(documents) == len(texts)
    assert documents.texts() == texts
    assert documents.arrow().to_pylist() == texts
    assert documents.columns["id"].to_pylist() == ids
    assert documents.uid.tolist() == [uid_of(text) for text in texts]
    assert documents.text_bytes.tolist() == [len(text.encode()) for text in texts]
    spans = documents.spans
    if spans is not None:
        said: list[list[str]] = [[] for _ in texts]
        for row, start, end, role in zip(
            spans.document.tolist(), spans.start, spans.end, spans.role, strict=True
        ):
            assert texts[row].encode()[start:end].decode() == role
            said[row].append(role)
        assert ["".join(chars) for chars in said] == texts


@settings(deadline=None, max_examples=100, derandomize=True)
@given(texts=TEXTS, data=st.data(), spans=st.booleans())
def test_take_compact_and_concatenate(texts: list[str], data: st.DataObject, spans: bool) -> None:
    documents = make(texts, spans=spans)
    ids = [f"id-{i}" for i in range(len(texts))]
    check(documents, texts, ids)
    rows = data.draw(st.permutations(range(len(texts))))[: data.draw(st.integers(0, len(texts)))]
    taken = documents.take(np.array(rows, np.int64))
    texts_taken, ids_taken = [texts[i] for i in rows], [ids[i] for i in rows]
    check(taken, texts_taken, ids_taken)
    assert taken.data is documents.data or not len(documents.data)
    compact = taken.compact()
    check(compact, texts_taken, ids_taken)
    assert len(compact.data) == sum(len(text.encode()) for text in texts_taken)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))))
    masked = documents.take(mask.astype(np.bool_))
    texts_kept = [text for text, keep in zip(texts, mask, strict=True) if keep]
    check(masked, texts_kept, [i for i, keep in zip(ids, mask, strict=True) if keep])
    joined = Documents.concatenate([taken, documents, masked])
    check(
        joined,
        texts_taken + texts + texts_kept,
        ids_taken + ids + masked.columns["id"].to_pylist(),
    )


def test_offsets_and_files_follow() -> None:
    documents = make(["a", "bb", "ccc"])
    documents = replace(documents, file=np.array([4, 5, 6], np.int32))
    taken = documents.take(np.array([2, 0]))
    assert taken.file.tolist() == [6, 4]
    assert taken.offset.tolist() == [2, 0]
    assert taken.bytes.tolist() == [3, 1]
    both = Documents.concatenate([taken, documents])
    assert both.file.tolist() == [6, 4, 4, 5, 6] and both.file.dtype == np.int32


def test_nothing() -> None:
    for nothing in (
        Documents.from_texts([]),
        Documents.concatenate([]),
        Documents.from_texts(["a"]).take(np.zeros(1, np.bool_)),
        Documents.from_texts(["a"]).take(np.empty(0, np.int64)).compact(),
    ):
        assert len(nothing) == 0 and nothing.texts() == []
        assert nothing.arrow().to_pylist() == []
        assert nothing.uid.dtype == np.uint64


def test_arrow_shares_the_buffer_where_texts_touch() -> None:
    documents = Documents.from_texts(["ab", "", "cd", "e"])
    middle = documents.take(np.array([1, 2]))
    column = middle.arrow()
    assert column.to_pylist() == ["", "cd"]
    assert column.buffers()[2].address == documents.data.ctypes.data
    assert documents.take(np.array([0, 2])).arrow().to_pylist() == ["ab", "cd"]
    assert documents.take(np.array([3, 0])).arrow().to_pylist() == ["e", "ab"]


def test_spans_are_kept_only_if_all_have_them() -> None:
    with_spans, without = make(["a"], spans=True), make(["b"])
    assert Documents.concatenate([with_spans, without]).spans is None
    assert Documents.concatenate([with_spans, with_spans]).spans is not None


def test_text_that_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        Documents.from_texts(["\ud800"])
