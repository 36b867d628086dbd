"""The attribution: in which order things are done, and what comes of it.

settings.json      what was asked for
fitted/            the queries' gradients with the curvature applied
scores/            a store: every document's score for every query
attribution.json   the documents at either end, their tokens, statistics
report.html
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.files import write_error
from dataworth.engine import survey as surveys
from dataworth.engine.files import read_json, sweep, write_json
from dataworth.engine.folder import WorkFolder, differences, differing
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.engine.survey import Survey
from dataworth.errors import ConfigError, RunError
from dataworth.features.gradients.language import Reader, Reading
from dataworth.features.gradients.preconditioners import Preconditioner
from dataworth.features.gradients.queries import QueryScores, fit_vectors, mapped
from dataworth.features.gradients.solving import Curvature, solve
from dataworth.features.store import Store, build, open_store
from dataworth.flow.attributing import extremes
from dataworth.flow.attributing.forecast import Forecast, forecast, peak, release
from dataworth.flow.scoring import check_pool, input_record
from dataworth.report import format as f
from dataworth.report.attribution_model import Attribution as Facts
from dataworth.report.attribution_model import Document, Query
from dataworth.version import __version__

log = logging.getLogger("dataworth")

SETTINGS, FACTS, REPORT = "settings.json", "attribution.json", "report.html"
_VECTORS = Path("fitted") / "vectors.npy"
_SAMPLE_BYTES = 4 * 2**20
_SHOWN = 6000  # characters of a document, and of a query


@dataclass(frozen=True)
class AttributionSettings:
    """What is asked for, but for the data. `top`: documents at either end."""

    model: str
    reading: Reading = field(default_factory=Reading)
    curvature: Curvature = field(default_factory=Curvature)
    normalise: str = "none"
    top: int = 5
    max_bad: float = 0.01

    def __post_init__(self) -> None:
        if self.normalise not in ("none", "length"):
            raise ConfigError(f"normalise must be none or length, not {self.normalise!r}")
        if self.top < 1:
            raise ConfigError(f"top is at least 1, not {self.top}")

    def as_dict(self) -> dict[str, Any]:
        """JSON; `model` apart, since a folder may be moved."""
        return {
            "reading": asdict(self.reading) | {"layers": list(self.reading.layers)},
            "curvature": asdict(self.curvature),
            "normalise": self.normalise,
            "top": self.top,
        }


class Attribution:
    """What was found: `facts`, the `scores` of all documents, and ways to show them."""

    def __init__(
        self, facts: Facts, folder: Path | None, keep: TemporaryDirectory[str] | None = None
    ) -> None:
        self.facts = facts
        self.folder = folder
        self._keep = keep

    def __repr__(self) -> str:
        facts = self.facts
        return (
            f"Attribution({len(facts['queries'])} queries, {facts['documents']:,} documents, "
            f"{facts['solver']})"
        )

    @property
    def queries(self) -> list[Query]:
        """Each query with its most helpful and most harmful documents."""
        return self.facts["queries"]

    @property
    def store(self) -> Store:
        """Row-aligned scores: float32 [documents, queries + 1], the last one tokens; `.uid`."""
        if self.folder is None:
            raise RunError("this was a forecast alone: nothing was scored")
        return open_store(self.folder / "scores")

    @property
    def scores(self) -> NDArray[np.float32]:
        """The scores of all documents in memory: [documents, queries]."""
        return np.asarray(self.store.matrix()[:, :-1], np.float32)

    def report(self, file: str | Path) -> Path:
        """Write the HTML page: one file that needs nothing else."""
        from dataworth.report import attribution_page

        path = Path(file)
        try:
            attribution_page.write(self.facts, path)
        except OSError as error:
            raise write_error(path, error) from error
        return path


def attribute_documents(
    train: Corpus,
    queries: Documents,
    settings: AttributionSettings,
    folder: Path,
    *,
    engine: Engine,
    progress: Progress,
    overwrite: bool = False,
    dry_run: bool = False,
    keep: TemporaryDirectory[str] | None = None,
) -> Attribution:
    """Score every document for every query; see `dataworth.attribute`."""
    start = time.perf_counter()
    reader = Reader(settings.model, settings.reading)
    record = _record(reader, train, queries, settings)
    curvature = settings.curvature
    held: AbstractContextManager[Any] = nullcontext()
    if not dry_run:
        held = AttributionFolder.open(folder, record, overwrite=overwrite)
    with held, reader.working():
        survey = surveys.survey(
            train, engine, seed=curvature.seed, sample_bytes=_SAMPLE_BYTES, progress=progress
        )
        check_pool(survey.bad, survey.documents, train, settings.max_bad, whole=survey.whole)
        workers = min(engine.size, max(len(train.units), 1))
        told = forecast(
            reader,
            survey.sample,
            queries,
            curvature,
            documents=_documents(train, survey),
            workers=workers,
            shown=2 * settings.top,
        )
        log.info(
            "attribute: about %s and %s of memory for %s documents and %s",
            f.duration(told.seconds),
            f.size(told.memory),
            f"{told.documents:,.0f}",
            "1 query" if len(queries) == 1 else f"{len(queries):,} queries",
        )
        if dry_run:
            return Attribution(_facts(reader, train, settings, told), None)
        about = _fit(reader, survey.sample, queries, settings, folder, told)
        source = str(reader.folder)
        feature = QueryScores(source, settings.reading, folder / _VECTORS, record["configuration"])
        store = build(train, feature, folder / "scores", engine.threads(), progress)
        release()
        facts = _facts(reader, train, settings, told)
        facts["about"], facts["unit"] = about["about"], about["unit"]
        _tell(facts, reader, train, queries, store, settings, mapped(folder / _VECTORS))
        facts["bad"] = survey.bad.total() if survey.whole else 0
        facts["used"] = {
            "seconds": round(time.perf_counter() - start, 1),
            "memory": float(peak()),
        }
        write_json(folder / FACTS, facts)
        found = Attribution(facts, folder, keep)
        found.report(folder / REPORT)
    return found


def _documents(train: Corpus, survey: Survey) -> float:
    if survey.whole or not len(survey.sample):
        return float(survey.documents)
    return train.size / max(float(survey.sample.bytes.mean()), 1.0)


def _record(
    reader: Reader, train: Corpus, queries: Documents, settings: AttributionSettings
) -> dict[str, Any]:
    """What the folder belongs to."""
    return {
        "configuration": {
            "model": reader.identity,
            **settings.as_dict(),
            "queries": [f"{uid:016x}" for uid in queries.uid.tolist()],
        },
        "train": input_record(train),
        "made_by": __version__,
    }


class AttributionFolder(WorkFolder):
    """An attribution's folder, locked while it is open. What was given as text is spooled first."""

    noun = "attribution"
    record_file = SETTINGS
    mark = "train"
    ours = ("fitted", "scores")
    our_files = (FACTS, REPORT)
    early = ("spool", "proxies")

    @staticmethod
    def open(folder: Path, record: dict[str, Any], *, overwrite: bool) -> AttributionFolder:
        """Start, or go on with what is there; RunError for a folder that holds something else."""
        opened = AttributionFolder.locked(folder)
        try:
            path = folder / SETTINGS
            if overwrite:
                opened.clear()
            sweep(folder)
            if not path.is_file():
                write_json(path, record)
            changes = list(differences(read_json(path), record))
            if changes:
                raise differing(folder, "holds another attribution", changes)
        except BaseException:
            opened.close()
            raise
        return opened


def _fit(
    reader: Reader,
    sample: Documents,
    queries: Documents,
    settings: AttributionSettings,
    folder: Path,
    told: Forecast,
) -> dict[str, str]:
    """Write the queries' vectors, unless they are there; what the preconditioner is, in words."""
    place = folder / "fitted" / "about.json"
    if not place.is_file():
        found: Preconditioner = solve(reader, sample, settings.curvature, told.tokens)
        fit_vectors(reader, queries, found, folder / _VECTORS)
        write_json(place, {"about": found.describe(), "unit": found.unit})
        del found
        release()
    known: dict[str, str] = read_json(place)
    return known


def _facts(reader: Reader, train: Corpus, settings: AttributionSettings, told: Forecast) -> Facts:
    return {
        "attribution_version": 1,
        "version": __version__,
        "model": settings.model,
        "train": ", ".join(file.path for file in train.files[:3])
        + (f" and {len(train.files) - 3} more" if len(train.files) > 3 else ""),
        "solver": settings.curvature.solver,
        "about": "",
        "unit": "",
        "parameters": reader.engine.size,
        "documents": round(told.documents),
        "tokens": round(told.tokens),
        "bad": 0,
        "queries": [],
        "common": [],
        "predicted": told.as_dict(),
        "used": {},
        "settings": settings.as_dict(),
        "notes": [],
    }


def _tell(
    facts: Facts,
    reader: Reader,
    train: Corpus,
    queries: Documents,
    store: Store,
    settings: AttributionSettings,
    vectors: Any,
) -> None:
    """Fill in what was found."""
    by_token = settings.normalise == "length"
    found = extremes.find(store, settings.top, normalise=by_token)
    nats, tokens = reader.losses(queries)
    facts["documents"], facts["tokens"] = found.documents, found.tokens
    for number, ends in enumerate(found.ends):
        sides = {}
        for name, rows in (("helpful", ends.helpful), ("harmful", ends.harmful)):
            sides[name] = _shown(reader, train, store, rows, number, vectors, by_token, found)
        text = queries.text(number)
        query: Query = {
            "number": number + 1,
            "text": text[:_SHOWN],
            "loss": float(nats[number] / max(int(tokens[number]), 1)),
            "tokens": int(tokens[number]),
            "helpful": sides["helpful"],
            "harmful": sides["harmful"],
            "mean": float(found.mean[number]),
            "deviation": float(found.deviation[number]),
            "share_positive": float(found.share_positive[number]),
            "half": float(found.half[number]),
        }
        facts["queries"].append(query)
    facts["common"] = extremes.common(facts["queries"])
    facts["notes"] = list(_notes(queries, store))


def _shown(
    reader: Reader,
    train: Corpus,
    store: Store,
    rows: NDArray[np.int64],
    query: int,
    vectors: Any,
    by_token: bool,
    found: extremes.Found,
) -> list[Document]:
    """The documents of some rows with what each token adds."""
    if not len(rows):
        return []
    documents = extremes.fetch(train, store, rows)
    parts = reader.positions(documents, vectors[query : query + 1])
    stored = store.rows(rows)
    encoded = reader.encode(documents.texts())
    out: list[Document] = []
    for place, one in enumerate(encoded):
        text = documents.text(place)
        count = int(stored[place, -1])
        share = 1 / max(count, 1) if by_token else 1.0
        pieces = _pieces(text, one.offsets, parts[place][0] * share)
        uid = int(documents.uid[place])
        document: Document = {
            "rank": place + 1,
            "uid": f"{uid:016x}",
            "score": float(stored[place, query]) * share,
            "tokens": count,
            "file": train.files[int(documents.file[place])].path,
            "offset": int(documents.offset[place]),
            "copies": found.copies[uid],
            "pieces": pieces,
        }
        if len(text) > _SHOWN:
            document["cut"] = True
        out.append(document)
    return out


def _pieces(
    text: str, offsets: list[tuple[int, int]], values: NDArray[np.float32]
) -> list[tuple[str, float]]:
    """The text in tokens with what each adds; several tokens in one character are one piece."""
    out: list[tuple[str, float]] = []
    at = 0
    for (_, end), value in zip(offsets, values.tolist(), strict=True):
        if at >= _SHOWN:
            break
        if end <= at and out:
            out[-1] = out[-1][0], out[-1][1] + value
            continue
        out.append((text[at:end], value))
        at = max(at, end)
    if at < min(len(text), _SHOWN):
        out.append((text[at:_SHOWN], 0.0))
    return [(piece, float(f"{value:.4g}")) for piece, value in out]


def _notes(queries: Documents, store: Store) -> list[str]:
    """What is good to know."""
    out = []
    same = np.flatnonzero(np.isin(queries.uid, store.uid))
    if len(same):
        which = ", ".join(str(number + 1) for number in same[:5].tolist())
        more = f" and {len(same) - 5} more" if len(same) > 5 else ""
        out.append(
            f"The very text of {'query' if len(same) == 1 else 'queries'} {which}{more} is among "
            "the training documents."
        )
    return out
