"""The attribution: in which order things are done, and what comes of it.

In the folder of a run, beside what is selected there: the scores are columns of its table
(`scores.py`), what was fitted lies in `fitted/`, and what is told of the last attribution in

attribution.json   the documents at either end, their tokens, statistics
attribution.html
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from dataworth.attributing.asking import answering
from dataworth.attributing.checking import agreement
from dataworth.attributing.forecast import Forecast, forecast, peak, release
from dataworth.attributing.scores import QUERIES, QueryScores
from dataworth.attributing.telling import tell
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.files import write_error
from dataworth.engine.files import damaged, local_path, read_object, write_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, InputError, RunError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.queries import mapped
from dataworth.features.gradients.reading import Reading
from dataworth.features.gradients.solving import Curvature, check_solver
from dataworth.flow.identity import documents_record
from dataworth.flow.scoring import Scored, check_pool, input_record, score_lists, survey_of
from dataworth.flow.settings import ScoreSettings, fields_dict
from dataworth.methods.base import Targets
from dataworth.options import check
from dataworth.options.calls import AttributeOptions, Per, same
from dataworth.results import format as f
from dataworth.results.attribution import Attribution as Facts
from dataworth.results.attribution import Check, Query
from dataworth.table import survey as surveys
from dataworth.table.folder import WorkFolder
from dataworth.table.keys import key_of
from dataworth.table.run import FILE, Deciding, RunFolder
from dataworth.table.survey import Survey
from dataworth.table.table import Table
from dataworth.table.wide import WideColumn
from dataworth.version import __version__

log = logging.getLogger("dataworth")

FACTS, REPORT = "attribution.json", "attribution.html"
_FREE = ("device", "batch_tokens")  # of reading: they change scores by rounding alone
_SAMPLE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class AttributionSettings:
    """Settings of an attribution, apart from the data. `top`: documents at either end."""

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
        """Tell if scores are cosines: documents' gradients are divided by their norms too."""
        return self.curvature.solver == "cosine"

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON; `model` apart, since a folder may be moved."""
        reading = {k: v for k, v in asdict(self.reading).items() if k not in _FREE}
        return {
            "reading": reading | {"layers": list(self.reading.layers)},
            "curvature": asdict(self.curvature),
            "per": self.per,
            "top": self.top,
        }

    def step(self, reader: Reader, tokens: float) -> QueryScores:
        """Return the step that makes the scores; `tokens` of all documents."""
        reading, how = self.reading, self.curvature
        return QueryScores(
            model=str(reader.folder),
            identity=reader.identity,
            tokens=tokens if how.fitted else 0.0,
            **asdict(reading),
            **asdict(how),
        )


class Attribution:
    """Results of an attribution: `facts`, all documents' `scores`, and ways to show them."""

    def __init__(
        self,
        facts: Facts,
        folder: Path | None,
        table: Table | None = None,
        keep: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.facts = facts
        self.folder = folder
        self._table = table
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
    def table(self) -> Table:
        """The documents table. RunError after a forecast alone."""
        if self._table is None:
            raise RunError("this was a forecast alone: nothing was scored")
        return self._table

    @property
    def store(self) -> WideColumn:
        """The scores as a column of the table, float32 [documents, queries]; see `.uid` too."""
        return WideColumn(self.table, QueryScores.scores)

    @property
    def scores(self) -> NDArray[np.float32]:
        """The scores of all documents in memory: [documents, queries]."""
        return self.store.matrix()

    @property
    def tokens(self) -> NDArray[np.int64]:
        """The tokens of each document that are predicted, [documents]."""
        return self.table.column(QueryScores.counts)

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
    held: AbstractContextManager[Any] = nullcontext()
    if not dry_run:
        held = AttributionFolder.open(folder, _configuration(train, settings), overwrite=overwrite)
    score = ScoreSettings(
        steps=(),
        fields=train.fields,
        seed=settings.curvature.seed,
        holdout=0,
        sample_bytes=_SAMPLE_BYTES,
        max_bad=settings.max_bad,
    )
    with held as run, reader.working():
        checked = None if dry_run else _checked(reader, settings, folder, check)
        survey = _survey(run, train, score, engine, progress)
        check_pool(survey.bad, survey.documents, train, settings.max_bad, whole=survey.whole)
        told = _estimate(reader, train, survey, queries, settings, engine, start)
        facts = _facts(reader, train, settings, told)
        if run is None:
            return Attribution(facts, None)
        if len(survey.sample) and not answering(survey.sample).any():
            raise InputError(
                "no chat has words of the assistant, from which alone a model learns: name the "
                "fields that hold them (--text-field)"
            )
        step = settings.step(reader, told.tokens)
        scored = _scored(run, train, queries, replace(score, steps=(step,)), engine, progress)
        (fitted,) = scored.fitted
        facts["about"], facts["unit"] = fitted.about, fitted.unit
        if "residual" in fitted.state:
            facts["residual"] = fitted.residual
        if checked is not None:
            facts["check"] = checked
        tell(
            facts,
            reader,
            train,
            queries,
            scored.table,
            mapped(fitted.vectors),
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
        done = Attribution(facts, folder, scored.table, keep)
        done.report(folder / REPORT)
    return done


def _survey(
    run: AttributionFolder | None,
    train: Corpus,
    settings: ScoreSettings,
    engine: Engine,
    progress: Progress,
) -> Survey:
    """Draw the documents' sample; it is kept in the folder, where there is one."""
    if run is None:
        seed, size = settings.seed, settings.sample_bytes
        return surveys.survey(train, engine, seed=seed, sample_bytes=size, progress=progress)
    files = input_record(train)
    run.check_inputs({"pool": files})
    key = key_of(documents_record(train, files))
    return survey_of(run, train, key, settings, engine, progress)


def _estimate(
    reader: Reader,
    train: Corpus,
    survey: Survey,
    queries: Documents,
    settings: AttributionSettings,
    engine: Engine,
    start: float,
) -> Forecast:
    """Estimate time and memory of the whole, with what has passed since `start`; log them."""
    estimate = forecast(
        reader,
        survey.sample,
        queries,
        settings.curvature,
        documents=_documents(train, survey),
        workers=engine.size,
        shown=2 * settings.top,
        lengths=settings.cosine,
    )
    estimate = replace(estimate, seconds=estimate.seconds + time.perf_counter() - start)
    log.info(
        "attribute: about %s and %s of memory for %s documents and %s",
        f.duration(estimate.seconds),
        f.size(estimate.memory),
        f"{estimate.documents:,.0f}",
        "1 query" if len(queries) == 1 else f"{len(queries):,} queries",
    )
    return estimate


def _scored(
    run: AttributionFolder,
    train: Corpus,
    queries: Documents,
    settings: ScoreSettings,
    engine: Engine,
    progress: Progress,
) -> Scored:
    """Score all documents and return the table."""
    targets = Targets({QUERIES: queries})
    threads = engine.threads()
    (scored,) = score_lists(run, train, {}, [settings], threads, progress, targets=targets)
    release()
    return scored


def _documents(train: Corpus, survey: Survey) -> float:
    if survey.whole or not len(survey.sample):
        return float(survey.documents)
    return train.size / max(float(survey.sample.bytes.mean()), 1.0)


def _configuration(train: Corpus, settings: AttributionSettings) -> dict[str, Any]:
    """Return the configuration recorded of a folder that holds nothing else."""
    own = {"model": str(settings.model), **settings.as_dict()}
    return {"score": {"fields": fields_dict(train.fields)}, "attribute": own}


class AttributionFolder(RunFolder):
    """A run's folder in which documents are attributed; whatever else it holds stays."""

    # Documents from memory, and a model that is trained, are written before the folder is opened.
    ours: ClassVar[tuple[str, ...]] = tuple(name for name in RunFolder.ours if name != "spool")
    early = (*RunFolder.early, "spool", "proxies")
    beside: ClassVar[bool] = True

    @classmethod
    def open(
        cls,
        folder: Path,
        configuration: Mapping[str, Any],
        *,
        overwrite: bool,
        deciding: Deciding = dict,
    ) -> Self:
        """Open the folder as a run's; RunError for scores of a version that kept them elsewhere."""
        if EarlierFolder.holds(folder):
            if not overwrite:
                raise RunError(
                    f"{folder}: holds an attribution of an earlier version of dataworth, which "
                    "cannot be read; choose another folder, or start afresh with --overwrite "
                    "(overwrite=True)"
                )
            with EarlierFolder.locked(folder) as earlier:
                earlier.clear()
        return super().open(folder, configuration, overwrite=overwrite, deciding=deciding)

    def clear(self) -> None:
        """Remove the attributions, or all that a run makes where there is nothing else."""
        if not (self.folder / FILE).is_file() or "list" not in self.record:
            return super().clear()
        try:
            for room in ("table", "fitted"):
                for path in (self.folder / room).glob(f"{QueryScores.name}-*"):
                    shutil.rmtree(path)
            for name in (FACTS, REPORT):
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error

    def finish(self, name: str, **facts: Any) -> None:
        """Record the last attribution; the list that is chosen from stays."""
        self.update(attribution=name, **facts)


class EarlierFolder(WorkFolder):
    """The folder of an attribution by an earlier version, which had a store of its own."""

    noun = "attribution"
    record_file = "settings.json"
    mark = "train"
    ours = ("fitted", "scores")
    our_files = (FACTS, "report.html")

    @classmethod
    def holds(cls, folder: Path) -> bool:
        """Tell if a folder is one."""
        return cls._is_ours(folder)


def _checked(
    reader: Reader, settings: AttributionSettings, folder: Path, wanted: bool
) -> Check | None:
    """Return the solver's agreement with the exact answer; a check that was kept is read."""
    key = key_of([reader.identity, settings.as_dict()["reading"], asdict(settings.curvature)])
    path = folder / "fitted" / f"check-{key}.json"
    if wanted and not path.is_file():
        write_json(path, agreement(reader, settings.curvature))
    if not path.is_file():
        return None
    known = read_object(path)
    with damaged(path):
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
