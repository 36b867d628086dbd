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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dataworth.attributing.asking import answering
from dataworth.attributing.checking import agreement
from dataworth.attributing.forecast import Forecast, forecast, peak, release
from dataworth.attributing.slices import cut, slice_of
from dataworth.attributing.telling import tell
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.files import damaged, local_path, read_object, sweep, write_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, InputError, RunError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import Preconditioner
from dataworth.features.gradients.queries import QueryScores, fit_vectors, mapped
from dataworth.features.gradients.reading import Reading
from dataworth.features.gradients.solving import Curvature, check_solver, residual_of, solve
from dataworth.features.store import Store, build, open_store
from dataworth.flow.scoring import check_pool, input_record
from dataworth.options import check
from dataworth.options.calls import AttributeOptions, Per, same
from dataworth.results import format as f
from dataworth.results.attribution import Attribution as Facts
from dataworth.results.attribution import Check, Query
from dataworth.table import survey as surveys
from dataworth.table.folder import WorkFolder, differences, differing
from dataworth.table.survey import Survey
from dataworth.version import __version__

log = logging.getLogger("dataworth")

SETTINGS, FACTS, REPORT = "settings.json", "attribution.json", "report.html"
_VECTORS = Path("fitted") / "vectors.npy"
_FREE = ("device", "batch_tokens")  # of reading: they change scores by rounding alone
_SAMPLE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class AttributionSettings:
    """What is asked for, but for the data. `top`: documents at either end."""

    model: str
    reading: Reading = field(default_factory=Reading)
    curvature: Curvature = field(default_factory=Curvature)
    per: Per = same(AttributeOptions, "per")
    top: int = same(AttributeOptions, "top")
    max_bad: float = same(AttributeOptions, "max_bad")

    def __post_init__(self) -> None:
        check(self)
        if self.cosine and self.per != "document":
            raise ConfigError("a cosine has no share of a token: leave per out")

    @property
    def cosine(self) -> bool:
        """Whether the documents' gradients are taken without their lengths too."""
        return self.curvature.solver == "cosine"

    def as_dict(self) -> dict[str, Any]:
        """JSON; `model` apart, since a folder may be moved."""
        reading = {k: v for k, v in asdict(self.reading).items() if k not in _FREE}
        return {
            "reading": reading | {"layers": list(self.reading.layers)},
            "curvature": asdict(self.curvature),
            "per": self.per,
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

        path = local_path(file)
        attribution_page.write(self.facts, path)
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
    check: bool = False,
    keep: TemporaryDirectory[str] | None = None,
) -> Attribution:
    """Score every document for every query; see `dataworth.attribute`."""
    start = time.perf_counter()
    reader = Reader(settings.model, settings.reading)
    check_solver(reader, settings.curvature.solver)
    record = _record(reader, train, queries, settings)
    train = cut(train, reader, len(queries))
    held: AbstractContextManager[Any] = nullcontext()
    if not dry_run:
        held = AttributionFolder.open(folder, record, overwrite=overwrite)
    with held, reader.working():
        checked = None if dry_run else _checked(reader, settings, folder, check)
        seed = settings.curvature.seed
        survey = surveys.survey(
            train, engine, seed=seed, sample_bytes=_SAMPLE_BYTES, progress=progress
        )
        check_pool(survey.bad, survey.documents, train, settings.max_bad, whole=survey.whole)
        told = _foretold(reader, train, survey, queries, settings, engine, start)
        if dry_run:
            return Attribution(_facts(reader, train, settings, told), None)
        if len(survey.sample) and not answering(survey.sample).any():
            raise InputError(
                "no chat has words of the assistant, from which alone a model learns: name the "
                "fields that hold them (--text-field)"
            )
        about = _fit(reader, survey.sample, queries, settings, folder, told)
        facts = _facts(reader, train, settings, told)
        facts["about"], facts["unit"] = about["about"], about["unit"]
        if "residual" in about:
            facts["residual"] = about["residual"]
        if checked is not None:
            facts["check"] = checked
        store = _scored(reader, train, settings, folder, told, record, engine, progress)
        tell(
            facts,
            reader,
            train,
            queries,
            store,
            mapped(folder / _VECTORS),
            top=settings.top,
            by_token=settings.per == "token",
            cosine=settings.cosine,
        )
        if reader.known_context > reader.context:
            facts["notes"].append(f"Documents are read in {reader.window}.")
        facts["bad"] = survey.bad.total() if survey.whole else 0
        facts["used"] = {
            "seconds": round(time.perf_counter() - start, 1),
            "memory": float(peak()),
        }
        write_json(folder / FACTS, facts)
        done = Attribution(facts, folder, keep)
        done.report(folder / REPORT)
    return done


def _foretold(
    reader: Reader,
    train: Corpus,
    survey: Survey,
    queries: Documents,
    settings: AttributionSettings,
    engine: Engine,
    start: float,
) -> Forecast:
    """Time and memory of the whole, with what has passed since `start`; logged."""
    told = forecast(
        reader,
        survey.sample,
        queries,
        settings.curvature,
        documents=_documents(train, survey),
        workers=min(engine.size, max(len(train.units), 1)),
        shown=2 * settings.top,
        lengths=settings.cosine,
    )
    told = replace(told, seconds=told.seconds + time.perf_counter() - start)
    log.info(
        "attribute: about %s and %s of memory for %s documents and %s",
        f.duration(told.seconds),
        f.size(told.memory),
        f"{told.documents:,.0f}",
        "1 query" if len(queries) == 1 else f"{len(queries):,} queries",
    )
    return told


def _scored(
    reader: Reader,
    train: Corpus,
    settings: AttributionSettings,
    folder: Path,
    told: Forecast,
    record: dict[str, Any],
    engine: Engine,
    progress: Progress,
) -> Store:
    """The store of all documents' scores."""
    feature = QueryScores(
        str(reader.folder),
        settings.reading,
        folder / _VECTORS,
        record["configuration"],
        unit=settings.cosine,
    )
    size = slice_of(reader, feature.dimension - 1, told.tokens / max(told.documents, 1))
    store = build(train, feature, folder / "scores", engine.threads(), progress, together=size)
    release()
    return store


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
            changes = list(differences(read_object(path), record))
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
) -> dict[str, Any]:
    """Write the queries' vectors, unless they are there; what the preconditioner is, in words.

    `about`, `unit`, and `residual` where vectors were solved for step by step.
    """
    place = folder / "fitted" / "about.json"
    if not place.is_file():
        how = settings.curvature
        found: Preconditioner = solve(reader, sample, how, told.tokens)
        fit_vectors(reader, queries, found, folder / _VECTORS)
        # After the vectors: only now it is known how far they were solved.
        about: dict[str, Any] = {"about": found.describe(), "unit": found.unit}
        residual = residual_of(found)
        if residual is not None:
            about["residual"] = float(f"{residual:.3g}")
        write_json(place, about)
        del found
        release()
    known = read_object(place)
    with damaged(place):
        facts: dict[str, Any] = {"about": str(known["about"]), "unit": str(known["unit"])}
        if "residual" in known:
            facts["residual"] = float(known["residual"])
        return facts


def _checked(
    reader: Reader, settings: AttributionSettings, folder: Path, wanted: bool
) -> Check | None:
    """How near the solver comes to the exact answer on a tiny model; what is known is kept."""
    place = folder / "fitted" / "check.json"
    if wanted and not place.is_file():
        write_json(place, agreement(reader, settings.curvature))
    if not place.is_file():
        return None
    known = read_object(place)
    with damaged(place):
        for name in ("correlation", "ranks", "spread", "parameters", "examples", "queries"):
            if name in known:
                _ = float(known[name])
        return cast(Check, known)


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
        "context": reader.context,
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
