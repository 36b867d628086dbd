"""Perplexity under an n-gram model of good text, with the buckets head, middle and tail of CCNet.

Wenzek et al., "CCNet", LREC 2020, arXiv 1911.00359, section 4.4: a 5-gram model of Wikipedia, each
line a sentence; of a sample, the 30th and the 60th percentile of perplexity part head, middle and
tail. Departures: the model is of the target's words rather than of the pieces of SentencePiece, and
of text as it is but in lower case, where CCNet also takes accents away and makes digits 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.errors import ConfigError, DataworthError, InputError, check_extra
from dataworth.features.ngram_lm.fitting import fit_ngram_model
from dataworth.features.ngram_lm.kenlm import KenlmModel, check_file
from dataworth.features.ngram_lm.model import NgramModel
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import DROP, Batch, Pool, Score, State, Targets
from dataworth.methods.keeping import keep_option, keep_unit, kept, sorted_losses
from dataworth.methods.length import tokens_option
from dataworth.options import option
from dataworth.registry import register

BUCKETS = ("head", "middle", "tail")
_RANKS = 1001  # of the sample's losses that are kept


@register
@dataclass(frozen=True)
class NgramPerplexity(Score):
    """Cross-entropy in nats per word under an n-gram model of the target, a text or a file.

    Every line is a sentence; its end counts as a word. The exponential is the perplexity.
    """

    name: ClassVar[str] = "ngram_perplexity"
    mechanism: ClassVar[str] = "top_k"
    reasons: ClassVar[tuple[str, ...]] = ("without a word", *(f"in the {one}" for one in BUCKETS))
    ngrams: int = option(5, help="The longest n-gram.", minimum=1)
    tokens: str = tokens_option()
    text: str = option(
        "", help="A text file that the model is of, rather than of the target.", content=True
    )
    arpa: str = option(
        "", help="A model file of KenLM, .arpa or binary, in place of our own.", content=True
    )
    keep: Literal["low", "middle", "high"] = keep_option("low")
    buckets: tuple[str, ...] = option(
        BUCKETS, help="What stays: documents of the head, the middle, the tail; others are dropped."
    )
    percentiles: tuple[float, float] = option(
        (30.0, 60.0), help="Of the sample, the ends of head and middle.", minimum=0, maximum=100
    )

    def __post_init__(self) -> None:
        HashedNgrams(1, 2, self.tokens)
        if not self.buckets or not set(self.buckets) <= set(BUCKETS):
            raise ConfigError(
                f"{self.name}: buckets are some of {', '.join(BUCKETS)}, not {self.buckets}"
            )
        if self.percentiles[0] > self.percentiles[1]:
            raise ConfigError(f"{self.name}: percentiles rise, not {self.percentiles}")
        if self.text and self.arpa:
            raise ConfigError(f"{self.name}: text makes a model, and arpa is one: give one of them")

    def check(self) -> None:
        """Raise MissingExtra without kenlm, InputError for a file that cannot be read."""
        if self.text:
            _read(self.text)
        if self.arpa:
            check_extra(self.name, "kenlm")
            check_file(self.arpa)

    @property
    def needs_target(self) -> bool:  # type: ignore[override]
        """Tell if the model is the target's."""
        return not (self.text or self.arpa)

    @property
    def unit(self) -> str:
        """The unit of the utilities."""
        return keep_unit(self.keep, "nats per word")

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return utilities, the bucket for each target, and `drop`."""
        *utilities, drop = super().columns(targets)
        names = self.utility_names(targets)
        buckets = [
            Column(f"bucket:{self.name}:{one}", pa.string(), "bucket", self.name) for one in names
        ]
        return (*utilities, *buckets, drop)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit a model of each target and measure the sample with it.

        DataworthError for text without a word.
        """
        learned: dict[str, Any] = {}
        texts = {"": _read(self.text)} if self.text else targets.fit if self.needs_target else {}
        for t, name in enumerate(sorted(texts)):
            try:
                model = fit_ngram_model(texts[name], self.ngrams, self.tokens)
            except DataworthError as error:
                raise DataworthError(f"{self.name}: {self.text or name}: {error}") from error
            learned |= model.arrays(f"model{t}")
        state = State(learned, targets.names if self.needs_target else ())
        losses = self._losses(Batch(pool.sample()), state)
        ranked = [sorted_losses(self.name, column) for column in losses.T]
        few = np.linspace(0, len(ranked[0]) - 1, min(len(ranked[0]), _RANKS)).round().astype(int)
        learned["ranks"] = np.stack([one[few] for one in ranked])
        learned["cuts"] = np.stack([np.percentile(one, self.percentiles) for one in ranked])
        return learned

    def _losses(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Nats per word [n, targets], NaN for a document without a word."""

        def models() -> list[Any]:
            if self.arpa:
                return [KenlmModel(self.arpa, self.tokens)]
            count = len(self.utility_names(state.targets))
            names = [f"model{t}" for t in range(count)]
            return [NgramModel.read(state.array, self.tokens, name) for name in names]

        scores = [model.score(batch.documents).nats for model in state.once("models", models)]
        return np.stack(scores, 1)

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utilities [n, targets]."""
        return self._utilities(self._losses(batch, state), state)

    def _utilities(self, losses: NDArray[np.float64], state: State) -> NDArray[np.float64]:
        columns = zip(losses.T, state["ranks"], strict=True)
        return np.stack([kept(self.keep, column, ranks) for column, ranks in columns], 1)

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return utilities, buckets, and who is dropped: in none that stays, for any target.

        The reason is the best of a document's buckets.
        """
        losses = self._losses(batch, state)
        columns = zip(state["cuts"], losses.T, strict=True)
        numbers = np.stack([np.searchsorted(cut, column, "right") for cut, column in columns], 1)
        empty = np.isnan(losses[:, 0])
        stays = np.isin(numbers, [BUCKETS.index(one) for one in self.buckets]).any(1)
        buckets = [pa.array(np.array(BUCKETS)[column], mask=empty) for column in numbers.T]
        values = [*self._utilities(losses, state).T, *buckets]
        names = [column.name for column in self.columns(state.targets)[:-1]]
        drop = np.where(empty, 1, np.where(stays, 0, 2 + numbers.min(1)))
        return {**dict(zip(names, values, strict=True)), DROP: drop.astype(np.uint8)}


def _read(path: str) -> Documents:
    """Return a text file as one document; InputError if it is none."""
    try:
        return Documents.from_texts([Path(path).read_text("utf-8")])
    except OSError as error:
        raise InputError(f"{path}: cannot be read as text ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text in UTF-8 (byte {error.start:,})") from error
