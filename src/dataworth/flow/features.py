"""Features as columns of the documents table: what is dear to compute is computed once.

    column = feature_column(Corpus.open("pool/"), WordVectors(), "run/")

The folder is that of a run: whatever else is computed on the same documents lies beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError
from dataworth.features.feature import DTYPES, Feature, FeatureColumn, Works
from dataworth.flow.identity import column_record, documents_record
from dataworth.flow.scoring import BYTES_PER_TOKEN, annotate_pool, input_record
from dataworth.flow.settings import fields_dict
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.fitted import Fitted
from dataworth.table.keys import canonical, key_of
from dataworth.table.run import RunFolder
from dataworth.table.table import Layout, Source, Table

log = logging.getLogger("dataworth")


@dataclass(frozen=True)
class FeatureStep:
    """A feature as a step, which learns nothing: a wide column, or one for each named number."""

    feature: Feature
    dtype: str

    @property
    def name(self) -> str:
        """The feature's."""
        return self.feature.name

    @property
    def slow(self) -> bool:
        """Tell if a model is asked about each document."""
        return isinstance(self.feature, Works)

    @property
    def key(self) -> str:
        """Text that differs whenever the numbers may: the feature's name, settings and type."""
        feature = self.feature
        return canonical([feature.name, dict(feature.settings), self.dtype])

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return the columns as they are declared."""
        feature, kind = self.feature, pa.from_numpy_dtype(np.dtype(self.dtype))
        if feature.columns:
            names = [f"{name}:{feature.name}" for name in feature.columns]
            return tuple(Column(name, kind, "", feature.name) for name in names)
        kind = pa.list_(kind, feature.dimension)
        return (Column(FeatureColumn.called(feature), kind, "", feature.name),)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return the numbers by column. DataworthError for any that is not finite."""
        name, n, dimension = self.name, len(batch), self.feature.dimension
        values = batch.values(self.feature)
        if values.shape != (n, dimension):
            raise DataworthError(
                f"{name}: gave {values.shape} for {n} documents of dimension {dimension}"
            )
        with np.errstate(over="ignore"):  # told below
            values = np.asarray(values, self.dtype)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            uid = int(batch.documents.uid[int(np.argmin(finite))])
            raise DataworthError(
                f"{name} is not finite as {self.dtype} for the document {uid:016x}; try another "
                "dtype or model"
            )
        columns = [column.name for column in self.columns(())]
        parts = values.T if self.feature.columns else [values]
        return dict(zip(columns, parts, strict=True))


class FeatureFolder(RunFolder):
    """A run's folder to which features are added; whatever else it holds stays."""

    early = (*RunFolder.early, "spool")
    beside: ClassVar[bool] = True


def feature_column(
    corpus: Corpus,
    feature: Feature,
    folder: str | Path,
    engine: Engine | None = None,
    progress: Progress | None = None,
    *,
    dtype: str | None = None,
) -> FeatureColumn:
    """Return a feature of all documents; what is missing is computed, the rest is not touched.

    Parameters
    ----------
    corpus, feature
        The documents, and what is computed of them.
    folder
        Of a run on these documents, or a new one.
    dtype
        How numbers are stored: float16, float32 or float64; the feature's own unless given.
        Several numbers without names are read as float32.

    Raises
    ------
    RunError
        If the folder holds other documents, something that is no run, or is in use.
    DataworthError
        If the feature gives a number that is not finite.
    """
    step = FeatureStep(feature, dtype or feature.dtype)
    if step.dtype not in DTYPES:
        raise ConfigError(f"dtype must be {', '.join(DTYPES)}, not {step.dtype!r}")
    engine, inputs = engine or Engine(), {"pool": input_record(corpus)}
    documents = documents_record(corpus, inputs["pool"])
    key = key_of(documents)
    name = f"{step.name}-{key_of(column_record(step, key, ''))}"
    configuration = {"score": {"fields": fields_dict(corpus.fields)}}
    with FeatureFolder.open(Path(folder), configuration, overwrite=False) as run:
        run.check_inputs(inputs)
        run.keep_inputs(inputs)
        source = Source(step.name, step.name, name)
        layout = Layout(f"documents-{key}", None, (source,), 0, 1 / BYTES_PER_TOKEN, {})
        lists = ((Fitted(step, State(), folder=name),),)
        (layout,) = annotate_pool(
            run, corpus, documents, lists, [layout], engine, progress or Progress()
        )
        run.update(units=len(corpus.units))
    table = Table(Path(folder) / "table", layout)
    bad = table.tally.bad.total()
    if bad:
        log.warning("%s: %d bad lines are no documents and were left out", folder, bad)
    return FeatureColumn(table, FeatureColumn.called(feature), feature)
