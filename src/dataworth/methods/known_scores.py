"""Scores from a file as utilities: of other tools, classifiers, or people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import uids
from dataworth.errors import ConfigError, InputError
from dataworth.features.rows import read_rows
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class KnownScores(Score):
    """A column of scores from a file, by the documents' id or uid; the larger the better.

    The file, or each file of a folder, is Parquet or JSON lines with a row for each document. A row
    of Dolma's attributes counts too, `{"id": …, "attributes": {"NAME": [[start, end, score], …]}}`:
    its score is the mean over the spans, weighted by their lengths. Documents without a score are
    dropped.
    """

    name: ClassVar[str] = "known_scores"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("no known score",)
    file: str = option(
        help="Parquet, JSON lines, or Dolma's attributes; or a folder of such files.", content=True
    )
    column: str = option(help="The column with the scores, or the attribute's name.")
    by: Literal["uid", "id"] = option(
        "uid",
        help='What the file names documents by: "uid" (16 hexadecimal digits, or a number), or '
        '"id", the field that `id_field` names.',
    )
    key: str = option("", help="The file's column with it; as `by` if empty.")
    sign: Literal["larger", "smaller"] = option("larger", help="Which scores are better.")

    @property
    def unit(self) -> str:
        """Tell whose unit it is."""
        return f"as {self.column} of the file"

    def check(self) -> None:
        """Raise ConfigError for a file that is not there."""
        if not self._files():
            raise ConfigError(f"{self.name}: {self.file}: there is no such file of scores")

    def _files(self) -> list[Path]:
        """Return the file, or those of the folder."""
        path = Path(self.file)
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        return [one for one in inside if one.is_file() and not one.name.startswith(".")]

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Read the scores: of each document a key and a number."""
        key = self.key or self.by
        keys, values = [], []
        for row in (row for path in self._files() for row in read_rows(path)):
            if key not in row:
                raise InputError(f"{self.file}: a row has no {key!r}; name the column in `key`")
            value = _score(row, self.column)
            if value is not None:
                keys.append(row[key])
                values.append(value)
        if not keys:
            raise InputError(f"{self.file}: no row has a number under {self.column!r}")
        hashed = _hashed(keys) if self.by == "id" else np.array([_uid(k) for k in keys], np.uint64)
        order = np.argsort(hashed, kind="stable")
        return {"keys": hashed[order], "values": np.array(values, np.float64)[order]}

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the scores [n, 1], NaN where there is none."""
        documents = batch.documents
        keys = documents.uid
        if self.by == "id" and len(batch):
            if "id" not in documents.columns:
                raise ConfigError(f"{self.name}: name the field with the ids in `id_field`")
            keys = _hashed(documents.columns["id"].to_pylist())
        nearest = np.minimum(np.searchsorted(state["keys"], keys), len(state["keys"]) - 1)
        values = np.where(state["keys"][nearest] == keys, state["values"][nearest], np.nan)
        return (values if self.sign == "larger" else -values)[:, None]


def _score(row: Mapping[str, Any], column: str) -> float | None:
    """Return a row's score: a number, or the weighted mean over spans of an attribute."""
    attributes = row.get("attributes")
    value = row.get(column)
    if value is None and isinstance(attributes, Mapping):
        value = attributes.get(column)
    if isinstance(value, list):
        weights = [max(float(end - start), 0.0) for start, end, _ in value]
        total = sum(weights)
        scores = [float(score or 0) for _, _, score in value]
        return sum(w * s for w, s in zip(weights, scores, strict=True)) / total if total else None
    return float(value) if isinstance(value, int | float) else None


def _uid(value: Any) -> int:
    try:
        return value if isinstance(value, int) else int(str(value), 16)
    except ValueError:
        raise InputError(f"{value!r} is no uid: 16 hexadecimal digits, or a number") from None


def _hashed(keys: Any) -> NDArray[np.uint64]:
    """Return a hash of each id, whether it is written as text or as a number."""
    documents = Documents.from_texts([str(key) for key in keys])
    return uids(documents.data, documents.starts, documents.ends)
