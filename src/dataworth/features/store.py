"""Stores: numbers of every document of a corpus, row by row, memory-mapped, keyed by uid.

What is dear to compute (embeddings, losses, gradients) is computed once and read by all methods. A
store is a folder of plain files:

    store.json       the feature and its settings, the inputs' fingerprints, dimension, dtype
    00000.npy        the numbers of unit 0, [documents, dimension], in the unit's order
    00000.uid.npy    the documents' uid, uint64 [documents]
    work/            rows of units that are under way

Rows come in the order of the corpus's units, as in the table of a run over the same files. A unit
is done if and only if its `.npy` exists. What a killed build leaves is used: whole slices of
`SLICE` documents are kept, so that a result does not depend on interruptions. A folder belongs to
one feature with one set of settings on one state of the inputs; another one is refused with what
differs.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.files import write_error
from dataworth.corpus.read.sources import fingerprint as file_fingerprint
from dataworth.corpus.units import Unit
from dataworth.engine.files import atomic, damaged, read_array, read_object, sweep, write_json
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError, RunError
from dataworth.features.bfloat16 import from_disk, in_memory, on_disk, to_disk
from dataworth.features.feature import DTYPES, Feature, fingerprint, working
from dataworth.table.folder import differences, differing, lock_folder

__all__ = ["Feature", "Store", "build", "fingerprint", "open_store"]

log = logging.getLogger("dataworth")

FILE = "store.json"
VERSION = 1
SLICE = 1024
"""Documents that are computed together, and saved before the next ones, unless told otherwise."""
_EMPTY = 128  # bytes of a part's header
_ROWS = 1 << 16
_MOST_PARTS = 1 << 24


def build(
    corpus: Corpus,
    feature: Feature,
    folder: str | Path,
    engine: Engine | None = None,
    progress: Progress | None = None,
    *,
    dtype: str | None = None,
    overwrite: bool = False,
    together: int = 0,
) -> Store:
    """The store of a feature over a corpus: what is missing is computed, the rest is not touched.

    `dtype`: how numbers are stored, one of `DTYPES`; float16 halves the room of embeddings.
    bfloat16 has fewer digits in the same room, and is read as float32.
    `together`: documents that are computed, and saved, before the next ones, 0: `SLICE`; a store
    that was begun with another number goes on with that one.
    `overwrite`: remove what another feature or other inputs left in the folder.

    Raises RunError if the folder holds another store (with the differences), something that is no
    store, or is in use; DataworthError if the feature gives a number that is not finite.
    """
    folder = Path(folder)
    dtype = dtype or feature.dtype
    if dtype not in DTYPES:
        raise ConfigError(f"dtype must be {', '.join(DTYPES)}, not {dtype!r}")
    record = _record(corpus, feature, dtype, together or SLICE)
    with lock_folder(folder, "building this store"):
        _begin(folder, record, overwrite)
        missing = [unit for unit in corpus.units if not _part(folder, unit.index).is_file()]
        if missing:
            fill = _Fill(corpus, feature, folder, dtype, record["slice"])
            with working(feature):
                work = (engine or Engine()).map(fill, missing, progress=progress, name=feature.name)
                bad = sum(work)
            if bad:
                log.warning("%s: %d bad lines are no documents and were left out", folder, bad)
        shutil.rmtree(folder / "work", ignore_errors=True)
    return open_store(folder)


def open_store(folder: str | Path, expected: str | None = None) -> Store:
    """A finished store.

    `expected`: the `fingerprint` of the feature that is wanted. Raises RunError if it is another
    one or the store is not finished, DataworthError if there is none or a part is damaged.
    """
    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise DataworthError(f"{folder}: holds no store ({FILE} is missing); build it first")
    remedy = "build the store again in another folder"
    record = read_object(folder / FILE, remedy)
    if record.get("version") != VERSION:
        raise RunError(f"{folder}: was built by another version of dataworth; build it again")
    with damaged(folder / FILE, remedy):
        if expected is not None and expected != record["fingerprint"]:
            raise RunError(
                f"{folder}: holds {record['feature']} with the fingerprint "
                f"{record['fingerprint']}, not {expected}; its settings are in {FILE}"
            )
        if not 0 <= int(record["units"]) <= _MOST_PARTS:
            raise ValueError(f"it tells of {record['units']} parts")
        parts = [_part(folder, unit) for unit in range(record["units"])]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise RunError(
            f"{folder}: is not finished, {len(missing)} of {len(parts)} parts are missing "
            f"({missing[0]} …); build it again, which goes on where it stopped"
        )
    held = [_mapped(part) for part in parts]
    with damaged(folder / FILE, remedy):
        return Store(folder, record, held)


class Store:
    """A finished store: numbers of all documents, read from disk when asked for.

    `feature`, `settings`: what was computed. `dimension`, `dtype`, `columns`: see `Feature`.
    """

    def __init__(
        self, folder: Path, record: Mapping[str, Any], parts: Sequence[NDArray[Any]]
    ) -> None:
        self.folder = folder
        self.record = record
        self.feature: str = record["feature"]
        self.settings: dict[str, Any] = record["settings"]
        self.dimension: int = record["dimension"]
        self.dtype = in_memory(record["dtype"])
        held = on_disk(record["dtype"])
        self.columns: tuple[str, ...] = tuple(record["columns"])
        self.fingerprint: str = record["fingerprint"]
        self._parts = parts
        for unit, part in enumerate(parts):
            if part.dtype != held or part.shape[1:] != (self.dimension,):
                raise DataworthError(
                    f"{_part(folder, unit)}: holds {part.dtype} {part.shape}, not {held} "
                    f"[documents, {self.dimension}]; delete it and build the store again"
                )

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def __repr__(self) -> str:
        name = self.record["dtype"]
        return f"Store({self.feature}, {len(self):,} documents x {self.dimension}, {name})"

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """The number of each unit's first row, and after the last the number of rows."""
        sizes = [len(part) for part in self._parts]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])

    @cached_property
    def uid(self) -> NDArray[np.uint64]:
        """The documents' uid, uint64 [rows]."""
        out = np.empty(len(self), np.uint64)
        for unit, part in enumerate(self._parts):
            path = _uid_part(self.folder, unit)
            uid = _mapped(path) if path.is_file() else np.empty(0, np.uint64)
            if uid.dtype != np.uint64 or uid.shape != part.shape[:1]:
                raise DataworthError(
                    f"{path}: does not fit {_part(self.folder, unit).name}; delete both and build "
                    "the store again"
                )
            out[self.firsts[unit] : self.firsts[unit + 1]] = uid
        return out

    def find(self, uid: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each uid, int64 [n]; the first one of equal texts. KeyError if one is not."""
        order = np.argsort(self.uid, kind="stable")
        place = np.searchsorted(self.uid, uid, sorter=order)
        rows = order[np.minimum(place, max(len(self) - 1, 0))] if len(self) else place
        if len(uid) and (not len(self) or (self.uid[rows] != uid).any()):
            wrong = uid if not len(self) else uid[self.uid[rows] != uid]
            raise KeyError(f"{len(wrong)} documents are not in {self.folder}, such as {wrong[0]}")
        return rows

    def rows(self, indices: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Some rows in the order given, [n, dimension], negative numbers not allowed."""
        out = np.empty((len(indices), self.dimension), self.dtype)
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
            raise IndexError(f"rows must lie in 0 … {len(self) - 1}")
        order = np.argsort(indices, kind="stable")
        ordered = indices[order]
        bounds = np.searchsorted(ordered, self.firsts)
        for unit, part in enumerate(self._parts):
            low, high = bounds[unit], bounds[unit + 1]
            if high > low:
                out[order[low:high]] = self._read(part[ordered[low:high] - self.firsts[unit]])
        return out

    def blocks(self, rows: int = _ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """(number of the first row, rows [at most `rows`, dimension]) for all rows in order."""
        for first, part in zip(self.firsts[:-1].tolist(), self._parts, strict=True):
            for start in range(0, len(part), rows):
                yield first + start, self._read(part[start : start + rows])

    def matrix(self) -> NDArray[Any]:
        """All rows in memory, [rows, dimension]."""
        out = np.empty((len(self), self.dimension), self.dtype)
        for first, block in self.blocks():
            out[first : first + len(block)] = block
        return out

    def column(self, name: str) -> NDArray[Any]:
        """One named number of every document, [rows]. KeyError if there is none of that name."""
        if name not in self.columns:
            raise KeyError(f"{self.folder} has no column {name!r}: {', '.join(self.columns)}")
        place = self.columns.index(name)
        columns = [self._read(part[:, place]) for part in self._parts]
        return np.concatenate(columns or [np.empty(0, self.dtype)])

    def _read(self, held: NDArray[Any]) -> NDArray[Any]:
        return from_disk(held, self.record["dtype"])


@dataclass(frozen=True)
class _Fill:
    """The work on one unit: its rows slice by slice into `work/`, then into their place."""

    corpus: Corpus
    feature: Feature
    folder: Path
    dtype: str
    together: int

    def __call__(self, unit: Unit, tick: Tick) -> int:
        """Write the unit's part; returns the number of bad lines."""
        with working(self.feature):
            return self._fill(unit, tick)

    def _fill(self, unit: Unit, tick: Tick) -> int:
        path = self.folder / "work" / f"{unit.index:05d}.rows"
        width = self.feature.dimension * on_disk(self.dtype).itemsize
        uid: list[NDArray[np.uint64]] = []
        total = bad = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as rows:
                have = rows.tell() // width
                for block in self.corpus.blocks(unit):
                    documents = block.documents
                    bad += len(block.bad)
                    uid.append(documents.uid)
                    for start in range(0, max(len(documents), 1), self.together):
                        stop = min(start + self.together, len(documents))
                        part = documents.take(np.arange(start, stop))
                        if len(part) and total + len(part) > have:
                            rows.truncate(total * width)
                            rows.write(self._values(part, unit).tobytes())
                            rows.flush()
                            have = 0
                        total += len(part)
                        tick(len(part), block.raw_bytes * len(part) // max(len(documents), 1))
                rows.truncate(total * width)
            self._finish(unit, path, total, uid)
        except OSError as error:
            raise write_error(path, error) from error
        return bad

    def _values(self, documents: Documents, unit: Unit) -> NDArray[Any]:
        values = self.feature.values(documents)
        if values.shape != (len(documents), self.feature.dimension):
            raise DataworthError(
                f"{self.feature.name}: gave {values.shape} for {len(documents)} documents of "
                f"dimension {self.feature.dimension}"
            )
        with np.errstate(over="ignore"):  # told below, with the place
            stored = to_disk(values, self.dtype)
        finite = np.isfinite(from_disk(stored, self.dtype)).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise DataworthError(
                f"{unit.file.path}: {self.feature.name} is not finite as {self.dtype} for the "
                f"document at {int(documents.offset[row]):,}; try another dtype or model"
            )
        return stored

    def _finish(self, unit: Unit, rows: Path, total: int, uid: list[NDArray[np.uint64]]) -> None:
        """Put the part in its place: the uid first, since the part says that the unit is done."""
        with atomic(_uid_part(self.folder, unit.index)) as temporary, temporary.open("wb") as file:
            np.save(file, np.concatenate(uid) if uid else np.empty(0, np.uint64))
        header = {
            "descr": np.lib.format.dtype_to_descr(on_disk(self.dtype)),
            "fortran_order": False,
            "shape": (total, self.feature.dimension),
        }
        with atomic(_part(self.folder, unit.index)) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            with rows.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        rows.unlink()


def _record(corpus: Corpus, feature: Feature, dtype: str, together: int) -> dict[str, Any]:
    """The content of store.json."""
    inputs = [
        {"path": file.path, **file_fingerprint(file, corpus.storage_options)}
        for file in corpus.files
    ]
    # Ids and groups are beside the text, and change no number.
    fields = {k: v for k, v in asdict(corpus.fields).items() if k not in ("id", "groups")}
    record = {
        "version": VERSION,
        "feature": feature.name,
        "fingerprint": fingerprint(feature),
        "settings": dict(feature.settings),
        "columns": list(feature.columns),
        "dimension": feature.dimension,
        "dtype": dtype,
        "slice": together,
        "units": len(corpus.units),
        "fields": fields,
        "inputs": inputs,
    }
    # As it will be read back: tuples are lists, keys are strings.
    result: dict[str, Any] = json.loads(json.dumps(record))
    return result


def _begin(folder: Path, record: dict[str, Any], overwrite: bool) -> None:
    """Start a store or go on with it; RunError if the folder holds something else."""
    path = folder / FILE
    if not path.is_file():
        others = [item.name for item in folder.iterdir() if not item.name.startswith(".")]
        if others:
            raise RunError(
                f"{folder}: is not empty and holds no store ({others[0]} …); choose another folder"
            )
    elif overwrite:
        _clear(folder)
    else:
        before = read_object(path, "build the store in another folder")
        begun = before.get("slice")
        if isinstance(begun, int) and 1 <= begun <= _ROWS:
            record["slice"] = begun
        changes = list(differences(_by_path(before), _by_path(record)))
        if changes:
            raise differing(folder, "holds another store", changes)
    sweep(folder)
    if not path.is_file():
        write_json(path, record)


def _clear(folder: Path) -> None:
    """Remove a store, the record last: without it, what is left would be somebody else's."""
    try:
        shutil.rmtree(folder / "work", ignore_errors=True)
        for path in folder.glob("[0-9]*.npy"):
            path.unlink()
        (folder / FILE).unlink()
    except OSError as error:
        raise write_error(folder, error) from error


def _by_path(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the inputs by path, so that a difference names the file."""
    inputs = {str(item.get("path")): item for item in record.get("inputs", [])}
    rest = {key: value for key, value in record.items() if key != "fingerprint"}
    return {**rest, "inputs": inputs}


def _part(folder: Path, unit: int) -> Path:
    return folder / f"{unit:05d}.npy"


def _uid_part(folder: Path, unit: int) -> Path:
    return folder / f"{unit:05d}.uid.npy"


def _mapped(path: Path) -> NDArray[Any]:
    remedy = "delete it and build the store again"
    with damaged(path, remedy):
        # A part without rows cannot be mapped.
        return read_array(path, remedy, mapped=path.stat().st_size > _EMPTY)
