"""The base of methods that ask a language model about each document.

The model is a folder. What was learned from it (vectors, curvature) is saved, the model itself is
not: it is read again where documents are scored, and must be the same one.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.engine.device import (
    AUTO,
    HELP,
    check_device,
    exclusive,
    find_device,
    find_dtype,
)
from dataworth.errors import ConfigError, DataworthError, check_extra
from dataworth.features.embeddings.base import model_folder
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.options import name_of, option

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader

log = logging.getLogger("dataworth")

Values = NDArray[np.float64]
EMPTY = "without a token to predict"
_TRIED = 8  # documents on which the time is measured


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
PER_TOKEN = ("normalise", {"length": "token", "none": "document"})
per_option = partial(
    option,
    "token",
    help='"token": nats for each token of the document, so that a budget of tokens goes where it '
    'helps most; "document": for the whole document.',
    was=PER_TOKEN,
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
    """Options of a step that asks a language model: the windows of documents that the model reads.

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
        reader: Reader = self._readers()
        if self.identity and reader.identity != self.identity:
            raise DataworthError(
                f"{self.source}: holds another model than the one that the step was fitted with; "
                "put that one back, or fit the step again in another folder"
            )
        return reader


def target_gradient(
    step: str, reader: Reader, documents: Documents, name: str
) -> NDArray[np.float32]:
    """Return the gradient of the loss of a target's documents in nats per token, float32 [P]."""
    gradient, tokens = reader.gradient(documents)
    if not tokens:
        raise DataworthError(
            f"{step}: the target {name!r} has no token to predict"
            + (" in one of its examples" if len(documents) == 1 else "")
        )
    found: NDArray[np.float32] = (gradient / tokens).cpu().numpy().astype(np.float32)
    return found


def target_gradients(step: str, reader: Reader, targets: Targets) -> NDArray[np.float32]:
    """Return the gradients of all targets' losses in nats per token, float32 [targets, P]."""
    return np.stack(
        [target_gradient(step, reader, targets.fit[name], name) for name in targets.names]
    )


@dataclass(frozen=True, kw_only=True)
class ModelScore(Reads, Score):
    """Base of the steps that ask one or several language models about each document.

    The state holds `models`, [folder, identity] of each: documents are scored with the models that
    were fitted on, or not at all. A document of which nothing is predicted has no utility. A step
    computes `values`; one without a target that only measures documents is a `ModelMeasure`.
    """

    reasons: ClassVar[tuple[str, ...]] = (EMPTY,)
    slow: ClassVar[bool] = True
    measured: ClassVar[str] = ""
    """The unit of what is measured."""

    @property
    def unit(self) -> str:
        """The unit of the utilities."""
        return self.measured if self._sign > 0 else f"{self.measured}, negative"

    @property
    def _sign(self) -> int:
        return 1 if getattr(self, "prefer", "high") == "high" else -1

    def models_of(self, state: State) -> tuple[Model, ...]:
        """Return the models that the step was fitted with."""

        def named() -> tuple[Model, ...]:
            known = [str(identity) for _, identity in state["models"]]
            return tuple(
                self.of(source, identity=one)
                for source, one in zip(self.sources, known, strict=True)
            )

        return state.once("models", named)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing, but tell the time."""
        reader = self.of(self.sources[0], cut=False).reader
        with reader.working():
            tell_cost(self, reader, pool, Targets({}), scored=len(self.sources))
        return self.known()

    def known(self, **learned: Any) -> dict[str, Any]:
        """Return what was learned, with the models that it was learned of."""
        models = [[source, self.of(source).reader.identity] for source in self.sources]
        return {"models": models, **learned}

    def piece(self, state: State) -> int:
        """Return how many bytes of text are half a minute of work."""
        vectors = state.get("vectors", state.targets)
        return self.models_of(state)[0].reader.piece(max(1, len(vectors)))

    def utilities(self, batch: Batch, state: State) -> Values:
        """Return the utilities; none for a document without a token to predict."""
        if not len(batch):
            return np.zeros((0, len(self.utility_names(state.targets))))
        values, tokens = self.asked(batch, state)
        values[tokens == 0] = np.nan
        return values

    def asked(self, batch: Batch, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return `values` with the model in its place, and tokens that are predicted [n].

        Raises DataworthError for a model whose numbers are none.
        """
        reader = self.models_of(state)[0].reader
        with reader.working(), exclusive(reader.engine.device):
            values, tokens = self.values(batch.documents, state)
        values = np.array(values, np.float64)
        wrong = int(np.isnan(values[tokens > 0]).any(1).sum())
        if wrong:
            raise DataworthError(
                f"{self.name}: the model gives no number (NaN) for {wrong} documents; it has "
                "diverged, or needs another dtype"
            )
        return values, tokens

    @abstractmethod
    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return utilities [n, targets], and tokens that are predicted [n]."""

    def vectors(self, state: State, name: str, size: int | None = None) -> NDArray[np.float32]:
        """Return one of the state's arrays, float32 [targets, size]."""
        return state.array(name, np.float32, (len(state.targets), size))


@dataclass(frozen=True, kw_only=True)
class ModelMeasure(ModelScore):
    """Base of the steps that measure each document with language models, without a target.

    A step says what it measures (`measure`, in the unit `measured`), and its option `prefer` if
    much of it is good.
    """

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return the measure's mean per token and over the models [n, 1], and tokens [n]."""
        total, tokens = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        models = self.models_of(state)
        for model in models:
            sums, tokens = self.measure(model.reader, documents)
            total += sums / np.maximum(tokens, 1) / len(models)
        return self._sign * total[:, None], tokens

    @abstractmethod
    def measure(
        self, reader: Reader, documents: Documents
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the measure summed over a document's tokens [n], and how many tokens [n]."""


def tell_cost(
    step: ModelScore,
    reader: Reader,
    pool: Pool,
    targets: Targets,
    *,
    passes: float = 0,
    scored: float = 1,
    cut: bool = False,
) -> None:
    """Log the time that fitting and scoring will take, measured on a few documents.

    `passes`: documents of the pool whose gradients are taken to fit, each time that they are.
    `scored`: models that each document is asked of. `cut`: only the windows that are scored are
    looked at while fitting, too.
    """
    sample = pool.sample()
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
    total = pool.documents
    most = step.windows * (reader.context - 1) if step.windows else int(tokens.max())
    counted = float(np.minimum(tokens, most).sum()) / max(float(tokens.sum()), 1.0)
    log.info(
        "%s: fitting will take about %s, and then scoring %s documents about %s with one worker, "
        "in %s",
        step.name,
        _duration((passes * mean * (counted if cut else 1) + asked * scored) * each),
        f"{total:,.0f}",
        _duration(total * mean * each * scored * counted),
        reader.window,
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
