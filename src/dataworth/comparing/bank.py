"""Text and tokens of every document that was chosen, each once, looked up by uid.

Hundreds of choices share most of their documents, so that tokenizing each choice would cost more
than training on it. A choice's token stream is put together from the bank in the worker that
trains on it, and is written nowhere.

    bank/text/     index.npz: uid uint64 [documents], growing, start and size int64 in text.bin
    bank/tokens-<tokenizer>/   index.npz: start and size of the same documents in tokens.bin
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.comparing.choices import rows_of
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.engine.files import (
    atomic_folder,
    check_array,
    damaged,
    read_arrays,
    read_object,
    write_json,
)
from dataworth.errors import RunError
from dataworth.flow.scoring import Scored
from dataworth.flow.texts import texts_of

_BATCH_BYTES = 16 * 2**20
_STREAM = 0x62616E6B  # of `hash_uid`, for the order of documents in a stream
_REMEDY = "delete the folder and run the same command again"
Index = tuple[NDArray[np.int64], NDArray[np.int64]]


def build_texts(
    folder: Path, wanted: NDArray[np.uint64], scored: Scored, finished: Iterable[Corpus]
) -> None:
    """Write the texts of the wanted uids (sorted, different), unless they are there.

    Where some are not, the bank, of which the folder is a part, is made anew: from the pool, and
    what is not in it from the files of finished selections. Raises RunError for a document that is
    in neither.
    """
    if (folder / "index.npz").is_file():
        if np.isin(wanted, TextBank(folder).uid).all():
            return
        shutil.rmtree(folder.parent)  # the tokens too, which lie in the order of the texts
    start = np.zeros(len(wanted), np.int64)
    size = np.full(len(wanted), -1, np.int64)
    at = 0
    with atomic_folder(folder) as place, (place / "text.bin").open("wb") as file:
        for uid, data in _texts(wanted, scored, finished):
            row = int(np.searchsorted(wanted, uid))
            if size[row] < 0:
                start[row], size[row] = at, len(data)
                at += file.write(data)
        missing = int((size < 0).sum())
        if missing:
            raise RunError(
                f"{missing} chosen documents are no longer where they were: the pool or a finished "
                "selection changed; start afresh with --overwrite (overwrite=True)"
            )
        np.savez(place / "index.npz", uid=wanted, start=start, size=size)


def _texts(
    wanted: NDArray[np.uint64], scored: Scored, finished: Iterable[Corpus]
) -> Iterator[tuple[np.uint64, bytes]]:
    table = scored.table
    uid = table.column("uid")
    known, rows = rows_of(uid, wanted)
    rows = np.sort(rows)
    sizes = np.asarray(table.rows(rows, ["text_bytes"])["text_bytes"], np.int64)
    # Whole units at a time, as far as they are small: a compressed one is read from its beginning.
    units = np.searchsorted(table.firsts, rows, side="right")
    batch = (np.cumsum(sizes) - sizes) // _BATCH_BYTES
    small = np.bincount(units, sizes, minlength=1) <= 8 * _BATCH_BYTES
    batch = np.where(small[units], -units, batch)
    edges = np.flatnonzero(np.diff(batch)) + 1
    for part in np.split(rows, edges) if len(rows) else []:
        for row, text in zip(part, texts_of(scored, part), strict=True):
            yield uid[row], text.encode("utf-8")
    left = set(wanted[~known].tolist())
    for corpus in finished if left else ():
        for unit in corpus.units:
            for block in corpus.blocks(unit):
                documents = block.documents
                for row in np.flatnonzero(np.isin(documents.uid, wanted)):
                    if int(documents.uid[row]) in left:
                        left.discard(int(documents.uid[row]))
                        yield documents.uid[row], documents.text(int(row)).encode("utf-8")


class TextBank:
    """The texts that `build_texts` wrote."""

    def __init__(self, folder: Path) -> None:
        with damaged(folder, _REMEDY):
            self.data = mapped(folder / "text.bin", np.uint8)
            arrays = read_arrays(folder / "index.npz", _REMEDY)
            self.uid = check_array(arrays["uid"], np.uint64, (None,))
            self.start, self.size = _places(arrays, len(self.uid), len(self.data))

    def rows(self, uid: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the rows of some uids. RunError for a uid that the bank lacks."""
        rows = np.searchsorted(self.uid, uid)
        if len(uid) and not np.array_equal(self.uid[np.minimum(rows, len(self.uid) - 1)], uid):
            raise RunError("a chosen document is not in the bank: start afresh with --overwrite")
        return rows

    def documents(self, uid: NDArray[np.uint64]) -> Documents:
        """Return the documents of some uids; their texts stay on disk until they are read."""
        rows = self.rows(uid)
        starts = self.start[rows]
        return Documents(
            data=self.data,
            starts=starts,
            ends=starts + self.size[rows],
            uid=uid,
            file=np.zeros(len(uid), np.int32),
            offset=np.arange(len(uid), dtype=np.int64),
            bytes=self.size[rows],
        )


def build_tokens(
    folder: Path, texts: TextBank, tokenizer: Any, end: int, start: int | None = None
) -> None:
    """Write the tokens of all texts by a `tokenizers.Tokenizer`, each text's last one `end`.

    `start`: the id that stands before each text, if the model was trained so.
    """
    if (folder / "index.npz").is_file():
        return
    kind = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    first = [] if start is None else [start]
    begins = np.zeros(len(texts.uid), np.int64)
    size = np.zeros(len(texts.uid), np.int64)
    order = np.argsort(texts.start, kind="stable")
    at = 0
    with atomic_folder(folder) as place:
        with (place / "tokens.bin").open("wb") as file:
            for rows in _batches(order, texts.size):
                batch = [
                    texts.data[texts.start[row] : texts.start[row] + texts.size[row]]
                    .tobytes()
                    .decode("utf-8")
                    for row in rows
                ]
                encoded = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
                for row, item in zip(rows, encoded, strict=True):
                    ids = np.array([*first, *item.ids, end], kind)
                    file.write(ids.tobytes())
                    begins[row], size[row] = at, len(ids)
                    at += len(ids)
        np.savez(place / "index.npz", start=begins, size=size)
        write_json(place / "tokens.json", {"dtype": np.dtype(kind).name, "tokens": at})


def _batches(order: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    number = np.cumsum(sizes[order]) // _BATCH_BYTES
    yield from np.split(order, np.flatnonzero(np.diff(number)) + 1) if len(order) else ()


class TokenBank:
    """The tokens that `build_tokens` wrote."""

    def __init__(self, folder: Path, texts: TextBank) -> None:
        self.texts = texts
        with damaged(folder, _REMEDY):
            kind = read_object(folder / "tokens.json", _REMEDY)["dtype"]
            if kind not in ("uint16", "uint32"):
                raise ValueError(f"its tokens are of type {kind!r}")
            self.tokens = mapped(folder / "tokens.bin", kind)
            arrays = read_arrays(folder / "index.npz", _REMEDY)
            self.start, self.size = _places(arrays, len(texts.uid), len(self.tokens))

    def stream(
        self, uid: NDArray[np.uint64], counts: NDArray[np.int64], seed: int, most: int
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        """Return (tokens, starts int64 [copies + 1], bytes int64 [copies]) of a choice's documents.

        In the order of a seeded hash of uid, the same for equal documents in any choice; of more
        than `most` tokens the first ones in this order.
        """
        rows = self.texts.rows(uid)
        copies = np.repeat(np.arange(len(uid)), counts)
        number = np.arange(len(copies)) - np.repeat(np.cumsum(counts) - counts, counts)
        keys = hash_uid(seed, uid[copies], _STREAM) + number.astype(np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        rows = rows[copies][np.argsort(keys, kind="stable")]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.size[rows])])
        if starts[-1] > most:
            rows = rows[: int(np.searchsorted(starts, most))]
            starts = starts[: len(rows) + 1]
        out = np.empty(int(starts[-1]), self.tokens.dtype)
        for place, row in enumerate(rows.tolist()):
            first = self.start[row]
            out[starts[place] : starts[place + 1]] = self.tokens[first : first + self.size[row]]
        return out, starts, self.texts.size[rows]

    def count(self, uid: NDArray[np.uint64], counts: NDArray[np.int64]) -> int:
        """Count the tokens of a choice's documents with their copies."""
        return int((self.size[self.texts.rows(uid)] * counts).sum())


def _places(arrays: dict[str, NDArray[Any]], documents: int, length: int) -> Index:
    """Return (start, size) of each document, which all lie within `length`; else ValueError."""
    start, size = (check_array(arrays[name], np.int64, (documents,)) for name in ("start", "size"))
    if documents and (start.min() < 0 or size.min() < 0 or (size > length - start).any()):
        raise ValueError("a document lies outside of its file")
    return start, size


def mapped(path: Path, dtype: Any) -> NDArray[Any]:
    """Map a file of numbers as a read-only array that is read from disk when needed."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype)
    array: NDArray[Any] = np.asarray(np.memmap(path, dtype, mode="r"))
    return array


def union(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return all different uids, sorted."""
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)
