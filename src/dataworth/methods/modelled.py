"""What methods have in common that ask a language model about each document.

The model is a folder. What was learned from it (vectors, curvature) is saved, the model itself is
not: it is read again where documents are scored, and must be the same one.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column, Documents
from dataworth.engine.device import (
    AUTO,
    HELP,
    check_device,
    exclusive,
    find_device,
    find_dtype,
)
from dataworth.engine.files import check_array, read_arrays, read_object
from dataworth.errors import ConfigError, DataworthError, RunError, check_extra
from dataworth.features.embeddings.base import model_folder
from dataworth.methods.base import (
    DROP,
    Context,
    Step,
    Targets,
    utility_column,
    write_arrays,
)
from dataworth.options import name_of, option

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader

log = logging.getLogger("dataworth")

Values = NDArray[np.float64]
EMPTY = "without a token to predict"
_TRIED = 8  # documents on which the time is measured


def check_targets(step: str, targets: Targets) -> list[str]:
    """The targets' names; ConfigError if there is none."""
    if not targets.names:
        raise ConfigError(f"{step} needs a target: give examples of what the model should learn")
    return targets.names


# The options that several of these methods have.
model_option = partial(
    option,
    "",
    help="The folder of a causal language model, of Hugging Face or of dataworth.lm, trained on "
    "the pool or the like.",
    content=True,
)
models_option = partial(option, (), content=True)
layers_option = partial(
    option, (), help='Patterns of the modules that count, such as ["*feed*"]; none: all.'
)
normalise_option = partial(
    option,
    "length",
    help='"length": nats for each token of the document, so that a budget of tokens goes where it '
    'helps most; "none": for the whole document.',
)
prefer_option = partial(
    option,
    help='"high" keeps documents with much of it, "low" those with little (the utility is the '
    "negative).",
)
damping_option = partial(
    option, 0.1, help="Share of each block's mean curvature that is added.", minimum=0
)
sample_option = partial(
    option, 256, help="Documents of the pool that the curvature is fitted on.", minimum=1
)
trained_option = partial(
    option,
    0,
    help="Tokens that the model was trained on; 0: as many as the pool has. A factor of all "
    "utilities, no more.",
    minimum=0,
)
factor_width_option = partial(
    option,
    2048,
    help="The side of a layer whose factor kfac, ekfac, ekfac_cg and lissa take whole; wider ones "
    "go in blocks.",
    minimum=1,
)


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What a step asks a language model for, and how the model reads documents.

    Its models are the option `model` or `models` of the step.
    """

    windows: int = option(
        0,
        help="Windows of the model's context that count of a document, from its beginning; 0: all "
        "of it.",
        minimum=0,
    )
    context: int = option(
        0,
        help="Tokens that the model sees at once, at least 2; 0: as many as it was made for, 2,048 "
        "at most.",
        minimum=0,
    )
    batch_tokens: int = option(
        0, help="Positions that run at once; 0: as suits the model.", minimum=0, run_only=True
    )
    device: str = option(AUTO, help=HELP, run_only=True)
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = option(
        "float32", help="The numbers of the model."
    )
    chats: Literal["model", "text"] = option(
        "model",
        help='"model" reads chats by the chat template beside the model, if there is one; "text" '
        "as the template of the run makes them.",
    )

    def __post_init__(self) -> None:
        """Raise ConfigError without a model, and for what no model can be told to do."""
        name = name_of(type(self))
        if not all(self.sources):
            write = "models=[FOLDER, ...]" if hasattr(self, "models") else "model=FOLDER"
            raise ConfigError(
                f"{name}: needs a causal language model: {write}, of Hugging Face or of "
                "dataworth.lm; `dataworth proxy POOL` trains small ones"
            )
        if self.context == 1:
            raise ConfigError(f"{name}: a context has at least 2 tokens")
        check_device(self.device, self.dtype, where=name, sums="float64")

    @property
    def sources(self) -> tuple[str, ...]:
        """The folders of the models; an empty one where none is named."""
        return getattr(self, "models", ()) or (getattr(self, "model", ""),)

    def check(self) -> None:
        """Raise MissingExtra without lm, ConfigError for no whole model or a device not there."""
        check_extra(getattr(self, "name", "a method that asks a language model"), "lm")
        from dataworth.features.gradients.adapters import check_folder
        from dataworth.lm.tokenizer import load_tokenizer

        for source in self.sources:
            check_folder(model_folder(source, "causal model"))
            load_tokenizer(source)
        find_dtype(self.dtype, find_device(self.device))

    def of(self, source: str, *, cut: bool = True, identity: str = "") -> Model:
        """Return a model of the step. `cut`: only the windows that count are read."""
        return Model(
            source,
            tuple(getattr(self, "layers", ())),
            replace(self, windows=self.windows if cut else 0),
            identity,
        )


@dataclass(frozen=True)
class Model:
    """A model by its folder, with how it reads. `identity`: of the one that was fitted on."""

    source: str
    layers: tuple[str, ...]
    reads: Reads
    identity: str = ""

    @cached_property
    def _readers(self) -> Any:
        try:
            from dataworth.features.gradients.language import Readers
            from dataworth.features.gradients.reading import Reading
        except ImportError as error:
            from dataworth.errors import MissingExtra

            raise MissingExtra("a method that asks a language model", "lm") from error
        reads = self.reads
        reading = Reading(
            layers=self.layers,
            context=reads.context,
            windows=reads.windows,
            batch_tokens=reads.batch_tokens,
            chats=reads.chats,
            device=reads.device,
            dtype=reads.dtype,
        )
        return Readers(self.source, reading)

    @property
    def reader(self) -> Reader:
        """This thread's reader. DataworthError if the folder now holds another model."""
        found: Reader = self._readers()
        if self.identity and found.identity != self.identity:
            raise DataworthError(
                f"{self.source}: holds another model than the one that the step was fitted with; "
                "put that one back, or fit the step again in another folder"
            )
        return found


def identified(
    step: Reads, sources: Sequence[str], known: Sequence[str] | None = None
) -> list[Model]:
    """The models by their folders, with the identities `known` or those of what is there now."""
    if known is None:
        known = [step.of(source).reader.identity for source in sources]
    return [step.of(source, identity=one) for source, one in zip(sources, known, strict=True)]


def target_gradient(step: str, reader: Reader, targets: Targets, name: str) -> NDArray[np.float32]:
    """The gradient of a target's loss in nats a token: float32 [P]."""
    gradient, tokens = reader.gradient(targets.fit[name])
    if not tokens:
        raise DataworthError(f"{step}: the target {name!r} has no token to predict")
    found: NDArray[np.float32] = (gradient / tokens).cpu().numpy().astype(np.float32)
    return found


class Modelled(ABC):
    """A fitted step that has one or several models, and a utility for each target.

    `targets`: their names, [""] for a utility without one. `arrays`, `facts`: what is saved.
    A document of which nothing is predicted is dropped, for the `reason`.
    """

    reason = EMPTY

    def __init__(
        self,
        step: Step,
        models: Sequence[Model],
        targets: Sequence[str],
        unit: str,
        arrays: dict[str, NDArray[Any]],
        facts: dict[str, Any],
    ) -> None:
        self.step = step
        self.models = list(models)
        self.targets = list(targets)
        self.unit = unit
        self.arrays = arrays
        self.facts = facts
        self.columns = (
            *(utility_column(step.name, name, unit) for name in targets),
            Column(DROP, pa.string(), "reason", step.name),
        )

    @abstractmethod
    def values(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Utilities [n, targets], and tokens that are predicted [n]."""

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """A utility for each target, and `drop` for documents without a token to predict."""
        if len(documents):
            reader = self.models[0].reader
            with reader.working(), exclusive(reader.engine.device):
                values, tokens = self.values(documents)
        else:
            values, tokens = np.zeros((0, len(self.targets))), np.zeros(0, np.int64)
        empty = tokens == 0
        utilities = [pa.array(np.ascontiguousarray(of), mask=empty) for of in values.T]
        drop = pa.array([self.reason]).take(
            pa.array(np.zeros(len(documents), np.int64), mask=~empty)
        )
        names = [column.name for column in self.columns]
        return pa.RecordBatch.from_arrays([*utilities, drop], names)

    def vectors(self, name: str, size: int | None = None) -> NDArray[np.float32]:
        """One of the arrays, [targets, size]; RunError if it is another or not there."""
        found = self.arrays.get(name, np.empty(0))
        kind = found.dtype if found.dtype.kind == "f" else np.dtype(np.float32)
        try:
            return check_array(found, kind, (len(self.targets), size))
        except ValueError as error:
            raise RunError(
                f"{self.step.name}: {name} of the fitted step does not fit the model ({error}); "
                "delete its folder in fitted/ and run the same command again"
            ) from error

    def save(self, folder: Path) -> None:
        """`step.json` and `arrays.npz`."""
        facts = {
            "targets": self.targets,
            "unit": self.unit,
            "models": [[model.source, model.identity] for model in self.models],
            **self.facts,
        }
        write_arrays(folder, facts, **self.arrays)


class Untargeted(Modelled):
    """A measure of a document by itself: its mean a token, and over the models.

    The step's `prefer`: "high" takes it as the utility, "low" its negative.
    """

    def __init__(
        self,
        step: Preferring,
        models: Sequence[Model],
        unit: str,
        arrays: dict[str, NDArray[Any]] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.sign = 1 if step.prefer == "high" else -1
        unit = unit if self.sign > 0 else f"{unit}, negative"
        super().__init__(step, models, [""], unit, arrays or {}, facts or {})

    @abstractmethod
    def measure(
        self, reader: Reader, documents: Documents
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The measure summed over a document's tokens [n], and tokens that are predicted [n]."""

    def values(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Utilities [n, 1], and tokens that are predicted [n]."""
        total, tokens = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        for model in self.models:
            found, tokens = self.measure(model.reader, documents)
            total += found / np.maximum(tokens, 1) / len(self.models)
        return self.sign * total[:, None], tokens


class Preferring(Step, Protocol):
    """A step that takes what is high or what is low."""

    @property
    def prefer(self) -> str:
        """Which end is wanted: "high" or "low"."""
        ...


def ready_models(
    step: Reads, name: str, sources: Sequence[str], pool: Corpus, context: Context
) -> list[Model]:
    """The models of a step that learns nothing, after its cost was told."""
    reader = step.of(sources[0], cut=False).reader
    with reader.working():
        scored, windows = len(sources), step.windows
        tell_cost(name, reader, pool, Targets({}), context, scored=scored, windows=windows)
    return identified(step, sources)


def tell_cost(
    step: str,
    reader: Reader,
    pool: Corpus,
    targets: Targets,
    context: Context,
    *,
    passes: float = 0,
    scored: float = 1,
    windows: int = 0,
    cut: bool = False,
) -> None:
    """Log the time that fitting and scoring will take, measured on a few documents.

    `passes`: documents of the pool whose gradients are taken to fit, each time that they are.
    `scored`: models that each document is asked of. `windows`: of a document that are scored.
    `cut`: only these are looked at while fitting, too.
    """
    sample = context.sample()
    few = sample.take(np.arange(min(_TRIED, len(sample))))
    if not len(few):
        return
    reader.lengths(few.take(np.arange(1)))  # what is done once only
    start = time.perf_counter()
    _, tokens = reader.lengths(few)
    each = (time.perf_counter() - start) / max(int(tokens.sum()), 1)
    mean = float(sample.text_bytes.mean()) * int(tokens.sum()) / max(int(few.text_bytes.sum()), 1)
    asked = sum(float(docs.text_bytes.sum()) for docs in targets.fit.values())
    asked *= int(tokens.sum()) / max(int(few.text_bytes.sum()), 1)
    total = pool_documents(pool, context)
    most = windows * (reader.context - 1) if windows else int(tokens.max())
    counted = float(np.minimum(tokens, most).sum()) / max(float(tokens.sum()), 1.0)
    log.info(
        "%s: fitting will take about %s, and then scoring %s documents about %s with one worker, "
        "in %s",
        step,
        _duration((passes * mean * (counted if cut else 1) + asked * scored) * each),
        f"{total:,.0f}",
        _duration(total * mean * each * scored * counted),
        reader.window,
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def load_modelled(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(facts, arrays) of a fitted step's folder."""
    return read_object(folder / "step.json"), read_arrays(folder / "arrays.npz")


def models_again(step: Reads, facts: dict[str, Any], sources: Sequence[str]) -> list[Model]:
    """The models of a fitted step; each must be the one that it was fitted with."""
    known = [identity for _, identity in facts["models"]]
    return identified(step, sources, known)


def pool_documents(pool: Corpus, context: Context) -> float:
    """Documents of the pool: as counted, or as its size lets guess where it was not read whole."""
    survey = context.survey
    if survey.whole or not len(survey.sample):
        return float(survey.documents)
    return pool.size / max(float(survey.sample.bytes.mean()), 1.0)
