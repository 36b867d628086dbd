"""Two vectors of each document, such as of an image and its caption, out of the user's files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.engine.files import damaged, read_array, read_parquet
from dataworth.errors import InputError
from dataworth.features.embeddings import Vectors, unit_rows

_REMEDY = "give a file of vectors, float32 or float16, one row a document"


class PairVectors:
    """Vectors by the uid of a document's text.

    `file`: Parquet with a column `key` of the documents' texts. `image`, `text`: columns of it,
    lists of one length, or paths of `.npy` files with a row for each of its rows, which are mapped.
    Of rows with one text the first counts. InputError, which names the file, for what is none.
    """

    def __init__(self, file: str, image: str, text: str, key: str) -> None:
        path = Path(file)
        table = read_parquet(path, [key], f"name the column of texts (key=), which is {key!r} now")
        if table[key].null_count or not pa.types.is_string(table[key].type):
            raise InputError(f"{path}: column {key!r} is not text throughout: name another, key=")
        documents = Documents.from_texts(table[key].to_pylist())
        self.uid, self._rows = np.unique(documents.uid, return_index=True)
        self.image, self.text = (vectors_of(name, path, len(table)) for name in (image, text))

    def rows(self, documents: Documents) -> NDArray[np.int64]:
        """Return the row of each document, -1 where there is none."""
        if not len(self.uid):
            return np.full(len(documents), -1)
        place = np.minimum(np.searchsorted(self.uid, documents.uid), len(self.uid) - 1)
        return np.where(self.uid[place] == documents.uid, self._rows[place], -1)


def vectors_of(name: str, file: Path, rows: int | None = None) -> NDArray[Any]:
    """Return the vectors of an `.npy` file, mapped, or of a column of a Parquet file, [n, d].

    Raises InputError for another shape, numbers that are not finite, or not one for each of `rows`.
    """
    if name.endswith(".npy"):
        where, array = name, read_array(Path(name), _REMEDY, mapped=True)
    else:
        where = f"{file}: column {name!r}"
        column = read_parquet(file, [name], _REMEDY)[name].combine_chunks()
        with damaged(file, f"column {name!r} must hold lists of one length; {_REMEDY}"):
            flat = np.asarray(column.flatten())
            array = flat.reshape(len(column), len(flat) // max(len(column), 1))
            lists = pa.types.is_fixed_size_list(column.type)
            sizes = array.shape[1] if lists else np.diff(np.asarray(column.offsets))
            if column.null_count or np.any(sizes != array.shape[1]):
                raise ValueError("its lists differ in length or are missing")
    if array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        raise InputError(f"{where}: holds {array.dtype} {array.shape}; {_REMEDY}")
    if rows is not None and len(array) != rows:
        raise InputError(f"{where}: has {len(array)} rows, and {file} has {rows}")
    for start in range(0, len(array), 1 << 16):
        wrong = ~np.isfinite(array[start : start + (1 << 16)]).all(1)
        if wrong.any():
            row = start + int(wrong.argmax())
            raise InputError(f"{where}: row {row} has numbers that are not finite; mend or drop it")
    return array


@lru_cache(maxsize=4)
def open_pairs(
    file: str, image: str, text: str, key: str, marks: tuple[tuple[int, int], ...]
) -> PairVectors:
    """Return the vectors of some files, read once in this process; `marks` of their states."""
    return PairVectors(file, image, text, key)


def marks_of(*names: str) -> tuple[tuple[int, int], ...]:
    """Return size and time of the files among some names."""
    states = [Path(name).stat() for name in names if Path(name).is_file()]
    return tuple((state.st_size, state.st_mtime_ns) for state in states)


def clip_losses(
    image: NDArray[Any],
    text: NDArray[Any],
    others: tuple[Vectors, Vectors],
    batches: NDArray[np.bool_],
    same: NDArray[np.bool_],
    temperature: float,
) -> NDArray[np.float64]:
    """Return the negative contrastive loss of each pair, times the temperature, [n].

    The mean over batches of v·t - (τ/2) (log Σ exp(v·t_j/τ) + log Σ exp(v_j·t/τ)), where j runs
    over the pair itself and the others of the batch (Wang et al. 2024, arXiv 2405.19547).

    Parameters
    ----------
    image, text
        Unit vectors of the pairs, [n, d].
    others
        Those of other pairs, [m, d] each.
    batches
        Which others are in which batch, [m, batches].
    same
        Which others are the pair itself, and do not count, [n, m].
    temperature
        τ.
    """
    image, text = image.astype(np.float64), text.astype(np.float64)
    own = np.einsum("nd,nd->n", image, text)
    member = batches.astype(np.float64)
    total = np.zeros((len(own), batches.shape[1]))
    for mine, theirs in ((image, others[1]), (text, others[0])):
        cosine = mine @ theirs.T.astype(np.float64)
        cosine[same] = -np.inf
        greatest = np.maximum(cosine.max(1, initial=-np.inf), own)
        # At most e^0 and at least e^(-2/τ): the pair itself keeps the sum above 0.
        sums = np.exp((cosine - greatest[:, None]) / temperature) @ member
        sums += np.exp((own - greatest) / temperature)[:, None]
        total += greatest[:, None] + temperature * np.log(sums)
    return np.asarray(own - total.mean(1) / 2, np.float64)


def unit_at(vectors: NDArray[Any], rows: NDArray[np.int64]) -> Vectors:
    """Return some rows with length 1."""
    return unit_rows(np.asarray(vectors[rows], np.float32))
