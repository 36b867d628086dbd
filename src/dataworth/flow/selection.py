"""The results of a choice: chosen rows, their metrics, their shards, and explanations."""

from __future__ import annotations

import contextlib
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.files import writing_to
from dataworth.corpus.uid import hash_uid
from dataworth.corpus.units import Unit
from dataworth.corpus.write.card import write_card
from dataworth.corpus.write.convert import parquet_schema
from dataworth.corpus.write.extract import extract
from dataworth.corpus.write.writing import (
    Limits,
    ShardInfo,
    ShardWriter,
    check_format,
    default_format,
)
from dataworth.engine.files import damaged, local_path, read_object, write_json, write_parquet
from dataworth.engine.local import Tick
from dataworth.errors import ConfigError, DataworthError
from dataworth.flow.choosing import Choice, sample_rows
from dataworth.flow.licences import licence_counts, licence_lines
from dataworth.flow.lookup import find_document
from dataworth.flow.metrics import (
    SelectionText,
    measure,
    temperature_of,
    unit_of,
)
from dataworth.flow.samples import describe_rows
from dataworth.flow.scoring import Scored
from dataworth.flow.settings import WriteSettings, deciding, fingerprint
from dataworth.flow.texts import check_files, load_text, texts_of
from dataworth.options import public
from dataworth.options.calls import Format, Order, WriteOptions
from dataworth.report import page
from dataworth.report import render as pages
from dataworth.results import selection as model
from dataworth.results.inert import markdown

if TYPE_CHECKING:
    from dataworth.flow.scores import Scores

_ORDERS = {
    "shuffled": "shuffled by a seeded hash",
    "pool": "in the order of the pool",
    "rank": "in the order of choice, best first",
}
_SHUFFLE = 0x6F75747075740000  # of `hash_uid`, for the order of the output
# Chosen rows go to temporary files when they are more than this, and are then written out whenever
# so many bytes have come together.
_IN_MEMORY = 128 * 2**20
_MEMORY_BYTES = 32 * 2**20
_TEXT_BYTES = 16 * 2**20  # of chosen documents that metrics look at
_UNPACKED_BYTES = 512 * 2**20  # of compressed files that may be read for them


class Selection:
    """The chosen documents: counts, metrics, and the ways to write and explain them."""

    def __init__(self, scores: Scores, choice: Choice, folder: Path) -> None:
        self.scores = scores
        self.choice = choice
        self.folder = folder
        self._metrics: model.Metrics | None = None
        self._read: Path | None = None  # where the metrics were read from

    def __len__(self) -> int:
        return self.choice.cut.distinct

    def __repr__(self) -> str:
        made = self.choice.cut
        used = "" if made.budget.unit == "documents" else f", {made.used:,} {made.budget.unit}"
        return f"Selection({made.distinct:,} documents{used})"

    @property
    def rows(self) -> NDArray[np.int64]:
        """The chosen rows of the table, ascending, int64 [k]."""
        return np.flatnonzero(self.choice.counts)

    @property
    def table(self) -> pa.Table:
        """The chosen rows with all columns of the table, and `count`, their copies."""
        rows = self.rows
        table = self.scores.table.rows(rows)
        counts = pa.array(self.choice.counts[rows])
        tokens = pa.array(self.choice.tokens[rows])
        place = table.schema.get_field_index("tokens")
        return table.set_column(place, "tokens", tokens).append_column("count", counts)

    @property
    def metrics(self) -> model.Metrics:
        """All numbers of the report; measured when first asked for."""
        if self._metrics is None:
            path = self.folder / "metrics.json"
            if path.is_file():
                self._metrics = cast(model.Metrics, read_object(path))
                self._read = path
            else:
                self._metrics = self._measure(None)
        return self._metrics

    def _reading(self) -> AbstractContextManager[None]:
        """Blame the file for metrics that are none, where they are from one."""
        return nullcontext() if self._read is None else damaged(self._read)

    def save(self) -> None:
        """Write the chosen rows into the run's folder (`selections/<fingerprint>/rows.parquet`)."""
        path = self.folder / "rows.parquet"
        if not path.is_file():
            write_parquet(path, self.table)
        if not (self.folder / "choice.json").is_file():
            facts = {**self.choice.settings.as_dict(), "resolved": self.choice.mechanism_text}
            write_json(self.folder / "choice.json", {**facts, "list": self.scores.scored.list})

    def save_metrics(self) -> None:
        """Write the metrics beside the chosen rows."""
        write_json(self.folder / "metrics.json", self.metrics)

    def _measure(self, text: SelectionText | None) -> model.Metrics:
        scored = self.scores.scored
        if text is None:
            text = text_of_selection(scored, self.choice, self.scores.settings.seed)
        return measure(
            scored,
            self.choice,
            text,
            run=self.scores.run_facts(self),
            seed=self.scores.settings.seed,
            threads=self.scores.engine.size,
        )

    @public(WriteOptions, "dataworth.flow.selection:run_write")
    def write(
        self,
        folder: str | Path,
        *,
        format: Format | None = None,
        shard_bytes: int = 256_000_000,
        order: Order = "shuffled",
        overwrite: bool = False,
    ) -> list[ShardInfo]:
        """Write the chosen rows as shards, and a card, so that `load_dataset(folder)` opens them.

        `format`: jsonl, jsonl.gz, jsonl.zst or parquet; None takes Parquet if all of the pool is,
        else jsonl.zst. `shard_bytes`: uncompressed. `order`: "shuffled" by the seeded hash of uid,
        "pool" or "rank". JSON lines and Parquet rows keep all their fields; a line keeps its bytes.
        """
        raise NotImplementedError  # never run: `public` hands the call on

    def explain(self, document: str) -> model.Explanation:
        """Explain why a document was kept or not. `document`: its uid (16 hexadecimal digits),
        the value of its id field, `FILE:OFFSET`, or its text.

        Raises DataworthError if there is no such document.
        """
        row = find_document(self.scores, document)
        choice = self.choice
        sample = describe_rows(self.scores.scored, choice, np.array([row]))[0]
        names = choice.view.utilities
        temperatures = {name: temperature_of(choice, name) for name in names}
        noisy = [t for t in temperatures.values() if t]
        found = self.metrics
        with self._reading():
            metrics = {item["column"]: item.get("threshold") for item in found["utilities"]}
        return {
            "document": sample,
            "kept": bool(choice.counts[row]),
            "eligible": int(choice.candidates.eligible.sum()),
            "chosen": choice.cut.distinct,
            "thresholds": {name: metrics.get(name) for name in names},
            "units": {name: unit_of(self.scores.scored, choice, name) for name in names},
            "noise": f"Gumbel noise, temperature {noisy[0]:g}" if noisy else None,
            "quiet_rank": _quiet_rank(choice, row, sample) if noisy else None,
        }

    def report(self, file: str | Path) -> Path:
        """Write the HTML report: one file that needs nothing else."""
        path = local_path(file)
        metrics = self.metrics
        with writing_to(path), self._reading():
            html = page.render(metrics)
        return pages.write(html, path)


def run_write(selection: Selection, options: WriteOptions) -> list[ShardInfo]:
    """Write chosen rows; see `Selection.write`."""
    settings = WriteSettings(options.format, options.shard_bytes, options.order)
    folder = local_path(options.folder)
    return write_selection(selection, folder, settings, overwrite=options.overwrite)


def _quiet_rank(choice: Choice, row: int, sample: model.Sample) -> int | None:
    """Return a document's rank by its utility alone; None for one that is not eligible."""
    column = sample.get("column")
    if column is None or not choice.candidates.eligible[row]:
        return None
    values = choice.view.column(column)
    return 1 + int(np.count_nonzero(values[choice.candidates.eligible] > values[row]))


def write_selection(
    selection: Selection, folder: Path, settings: WriteSettings, *, overwrite: bool
) -> list[ShardInfo]:
    """Write the shards in `folder/data` with the card beside them; measures what was written."""
    scores, choice = selection.scores, selection.choice
    corpus = scores.scored.corpus
    pieces = corpus.fields.split_words is not None
    form = check_format(settings.form or ("jsonl.zst" if pieces else default_format(corpus.files)))
    if pieces and form == "parquet":
        raise ConfigError("pieces of documents (split_words) are written as JSON lines: jsonl.zst")
    rows, positions = output_positions(choice, settings.order, scores.settings.seed)
    table = scores.table
    names = ["uid", "offset", "bytes", *(["piece"] if pieces else [])]
    places = table.rows(np.unique(rows), ["file", *names])
    units = np.searchsorted(table.firsts, rows, side="right") - 1
    index = np.searchsorted(np.unique(rows), rows)
    files = places.select(["file"]).take(pa.array(index))
    check_files(corpus, units, files)
    schema = None
    if form == "parquet" and any(file.format == "parquet" for file in corpus.files):
        schema = parquet_schema(corpus.files, corpus.storage_options, corpus.fields.text)
    sizes = np.asarray(places["bytes"], np.int64)
    expected = int(sizes[index].sum())
    writer = ShardWriter(
        folder / "data",
        form,
        total_rows=len(rows),
        expected_bytes=expected,
        work=folder / "work",
        schema=schema,
        limits=Limits(
            shard_bytes=settings.shard_bytes,
            memory_bytes=_IN_MEMORY if expected <= _IN_MEMORY else _MEMORY_BYTES,
            threads=scores.engine.size,
        ),
        overwrite=overwrite,
    )
    with writer:
        work = _Extract(scores, writer, rows, positions, units, index, places)
        wanted = [corpus.units[int(unit)] for unit in np.unique(units)]
        for _ in scores.engine.threads().map(work, wanted, progress=scores.progress, name="write"):
            pass
        check_files(corpus, units, files)
        shards = writer.finish()
    shutil.rmtree(folder / "work", ignore_errors=True)
    read_back(selection, folder, shards, settings)
    identity = identity_of(selection, settings)
    write_card(
        folder,
        form,
        body=card_body(selection, shards, settings.order, folder),
        rows=len(rows),
        identity=identity,
    )
    return shards


class _Extract:
    """The chosen rows of one unit into the writer."""

    def __init__(
        self,
        scores: Scores,
        writer: ShardWriter,
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        units: NDArray[np.int64],
        index: NDArray[np.int64],
        places: pa.Table,
    ) -> None:
        self._corpus = scores.scored.corpus
        self._writer = writer
        self._positions = positions
        order = np.argsort(units, kind="stable")
        self._order, self._units = order, units[order]
        self._index = index
        self._places = {name: places[name].to_numpy() for name in places.column_names}

    def __call__(self, unit: Unit, tick: Tick) -> None:
        low, high = np.searchsorted(self._units, [unit.index, unit.index + 1])
        mine = self._order[low:high]
        place = self._index[mine]
        numbers = self._places.get("piece")
        extract(
            self._writer,
            unit,
            self._places["offset"][place],
            self._places["bytes"][place],
            self._positions[mine],
            self._corpus.fields,
            uid=self._places["uid"][place],
            storage_options=self._corpus.storage_options,
            pieces=None if numbers is None else numbers[place],
        )
        tick(len(mine), int(self._places["bytes"][place].sum()))


def output_positions(
    choice: Choice, order: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, position in the output) of every copy, both int64 [copies], by growing row."""
    chosen = np.flatnonzero(choice.counts)
    many = choice.counts[chosen].astype(np.int64)
    rows = np.repeat(chosen, many)
    copy = np.arange(len(rows)) - np.repeat(np.cumsum(many) - many, many)
    if order == "pool":
        return rows, np.arange(len(rows))
    if order == "rank":
        keys = np.repeat(choice.ranks(chosen), many)
    else:
        uid = choice.candidates.uid[rows]
        keys = np.empty(len(rows), np.uint64)
        for number in range(int(many.max(initial=0))):
            of_copy = copy == number
            keys[of_copy] = hash_uid(seed, uid[of_copy], _SHUFFLE + number)
    position = np.empty(len(rows), np.int64)
    position[np.lexsort((rows, copy, keys))] = np.arange(len(rows))
    return rows, position


def read_back(
    selection: Selection, folder: Path, shards: list[ShardInfo], settings: WriteSettings
) -> None:
    """Measure the selection on the rows that were written."""
    text = None
    if settings.order == "shuffled" and shards:
        documents = load_text(
            folder / "data",
            [shard.name for shard in shards],
            _TEXT_BYTES,
            selection.scores.scored.corpus,
        )
        if documents is not None and len(documents):
            text = _text_of(selection.choice, documents)
    selection._metrics, selection._read = selection._measure(text), None


def text_of_selection(scored: Scored, choice: Choice, seed: int) -> SelectionText:
    """Return the text that a shuffled selection begins with, read from the pool.

    So a choice has the numbers that it has when it is written. Where the pool is gone or changed,
    or too much of it would have to be unpacked, it is the chosen documents in the pool's sample.
    """
    rows, positions = output_positions(choice, "shuffled", seed)
    rows = rows[np.argsort(positions)]
    rows = rows[: _enough(choice.candidates.column("text_bytes")[rows])]
    units = np.unique(np.searchsorted(scored.table.firsts, rows, side="right") - 1)
    packed = sum(_packed_bytes(scored.corpus.units[int(unit)]) for unit in units)
    if packed <= _UNPACKED_BYTES:
        with contextlib.suppress(DataworthError, OSError):
            documents = Documents.from_texts(texts_of(scored, rows))
            return _text_of(choice, replace(documents, uid=choice.candidates.uid[rows]))
    sample = scored.survey.sample
    rows, inside = sample_rows(choice.candidates.uid, choice.counts > 0, sample)
    documents = sample.take(inside[choice.counts[rows] > 0])
    return _text_of(choice, documents, " in the pool's sample")


def _text_of(choice: Choice, documents: Documents, where: str = "") -> SelectionText:
    """Return about the first `_TEXT_BYTES` of chosen documents, as it is measured."""
    documents = documents.take(np.arange(_enough(documents.text_bytes)))
    of = choice.cut.documents
    how = f"all {of:,}" if len(documents) >= of else f"{len(documents):,} random ones of {of:,}"
    return SelectionText(documents, f"{how} chosen documents{where}")


def _enough(sizes: NDArray[np.int64]) -> int:
    """Return how many documents make `_TEXT_BYTES`."""
    return min(int(np.searchsorted(np.cumsum(sizes), _TEXT_BYTES)) + 1, len(sizes))


def _packed_bytes(unit: Unit) -> int:
    """Return the bytes that must be read to reach any row of a unit: none of plain files."""
    return unit.file.size if unit.file.compression or unit.file.format == "parquet" else 0


def identity_of(selection: Selection, settings: WriteSettings) -> str:
    """Return a digest of all that the written rows depend on, as a short name."""
    record = read_object(selection.scores.folder / "run.json")
    how = [deciding(selection.scores.settings.as_dict()), selection.folder.name, settings.as_dict()]
    return fingerprint([record.get("inputs"), *how])


def card_body(selection: Selection, shards: list[ShardInfo], order: str, folder: Path) -> str:
    """Return the dataset card's text: its content and the way it was chosen."""
    metrics = selection.metrics
    account = metrics["accounting"]
    kept, facts = account["kept"], metrics["run"]
    lines = [
        "# A selection by dataworth",
        "",
        f"{kept['documents']:,} of {account['documents']:,} documents, about "
        f"{kept.get('tokens') or 0:,} tokens, chosen for the budget "
        f"{selection.choice.settings.budget}. The rows are {_ORDERS[order]}.",
        "",
        "```",
        'from datasets import load_dataset\nload_dataset("path/to/this/folder")',
        "```",
        "",
        "| target | gain (nats per word) | of a selection just like it |",
        "|---|---|---|",
    ]
    for target in metrics.get("targets", []):
        gain: Any = target.get("gain") or {}
        value, bound = gain.get("value"), gain.get("bound")
        if value is not None and bound is not None:
            lines.append(f"| {markdown(target['name'])} | {value:.3f} | {bound:.3f} |")
    lines += [
        "",
        f"Mechanism: {markdown(selection.choice.mechanism_text, 1000)}. "
        f"dataworth {facts.get('version', '')}, "
        f"seed {facts.get('seed', 0)}. Files: {len(shards)}.",
    ]
    names = [shard.name for shard in shards]
    licences = licence_counts(selection.scores.scored.corpus, metrics, folder / "data", names)
    if licences is not None:
        lines += licence_lines(*licences)
    return "\n".join(lines)
