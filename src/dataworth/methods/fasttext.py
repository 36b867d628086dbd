"""fastText quality classifier, as DCLM's: the probability that a line is of the target's kind.

Joulin et al. 2016 (arXiv 1607.01759) for the model; Li et al. 2024, "DataComp-LM" (arXiv
2406.11794) for the filter: `wordNgrams=2` and fastText's defaults, the target's texts against as
many of the pool's, the score of the positive label. fastText trains on one thread, or no training
would be like another. What it learned is made into one table of words and n-grams
(features/ngrams/lines.py), with which scoring needs no fastText, little memory, and gives the same
probabilities without the 1e-5 that fastText adds.

Texts become lines as in DCLM: line ends are spaces, and words that look like labels are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, check_extra
from dataworth.features.line_classifier import (
    POSITIVE,
    PREFIX,
    is_table,
    load,
    tabulated,
    train,
)
from dataworth.features.ngrams.lines import LineTable
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.classes import two_classes
from dataworth.methods.linear import mechanism_option
from dataworth.options import option
from dataworth.registry import register

_ADDED = 1e-5  # what fastText adds to a probability before its logarithm


@register
@dataclass(frozen=True)
class FastText(Score):
    """Probability of the positive label, by a classifier trained here or one from a file."""

    name: ClassVar[str] = "fasttext"
    exact: ClassVar[bool] = True
    reasons: ClassVar[tuple[str, ...]] = ("without a known word",)
    version: ClassVar[int] = 1
    model: str = option(
        "", help="A classifier's file (.bin, .ftz); empty: one is trained.", content=True
    )
    label: str = option(
        "", help="The label of a file whose probability is wanted; __label__hq unless given."
    )
    output: Literal["probability", "logit"] = option(
        "probability", help='The utility: the probability, or its log odds in nats ("logit").'
    )
    ngrams: int = option(2, help="The longest n-gram of words (DCLM: 2).", minimum=1, maximum=100)
    dimension: int = option(100, help="Numbers in the vector of a word.", minimum=1)
    epochs: int = option(5, help="Passes over the texts.", minimum=1)
    learning_rate: float = option(0.1, help="The first learning rate; it falls to 0.", above=0)
    buckets: int = option(
        2_000_000, help="Rows that n-grams are hashed into.", minimum=1, maximum=2**31 - 1
    )
    minimum_count: int = option(1, help="Words that are rarer get no vector.", minimum=1)
    negatives: int = option(
        0, help="Documents of the pool's sample, at most; 0: as many as the target has.", minimum=0
    )
    mechanism: str = mechanism_option("top_k")

    @property
    def needs_target(self) -> bool:  # type: ignore[override]
        """Tell if a classifier is trained: one from a file needs no target."""
        return not self.model

    @property
    def reads_pool(self) -> bool:
        """Tell if the pool's documents are learned from."""
        return not self.model

    @property
    def unit(self) -> str:
        """The unit of the utilities."""
        return "probability" if self.output == "probability" else "nats"

    @property
    def even(self) -> float:  # type: ignore[override]
        """The utility of what is as likely of the one class as of the other."""
        return 0.5 if self.output == "probability" else 0.0

    def check(self) -> None:
        """Raise MissingExtra without the extra classify, ConfigError for a file of no use."""
        check_extra(self.name, "classify")
        if self.model:
            self._label(load(self.name, self.model).labels)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Train a classifier for each target, or read the one that there is."""
        check_extra(self.name, "classify")
        if self.model:
            model = load(self.name, self.model)
            if is_table(model):
                return _numbered(tabulated(model), 0)
            return {"labels_0": list(model.labels)}
        learned: dict[str, Any] = {}
        for t, name in enumerate(targets.names):
            count = self.negatives or len(targets.fit[name])
            documents, positive = two_classes(self.name, pool, targets, name, count)
            learned |= _numbered(tabulated(self._train(documents, positive, pool.seed)), t)
        return learned

    def _train(self, documents: Documents, positive: NDArray[np.bool_], seed: int) -> Any:
        """Return a model of fastText, trained on one thread."""
        return train(
            documents,
            positive,
            seed,
            lr=self.learning_rate,
            dim=self.dimension,
            epoch=self.epochs,
            minCount=self.minimum_count,
            wordNgrams=self.ngrams,
            bucket=self.buckets,
        )

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the probability or its log odds; NaN for a text without a known word."""
        columns = []
        for t in range(max(len(state.targets), 1)):
            labels = state[f"labels_{t}"]
            label = self._label(labels)
            if f"table_{t}" in state:
                logits = _lines(state, t).logits(batch.documents)
                at = labels.index(label)
                others = np.logaddexp.reduce(np.delete(logits, at, 1), 1)
                columns.append(logits[:, at] - others)
            else:
                columns.append(self._predicted(batch.documents, label))
        odds = np.stack(columns, 1)
        return odds if self.output == "logit" else 0.5 * (1 + np.tanh(0.5 * odds))

    def _predicted(self, documents: Documents, label: str) -> NDArray[np.float64]:
        """Return log odds as fastText says, for models that are no table: [n]."""
        texts = [text.replace("\n", " ") for text in documents.texts()]
        odds = np.full(len(texts), np.nan)
        for row, (names, values) in enumerate(
            zip(*load(self.name, self.model).predict(texts, k=-1), strict=True)
        ):
            known = dict(zip(names, values, strict=True))
            if known:
                p = min(max(float(known.get(label, 0.0)) - _ADDED, 1e-9), 1 - 1e-9)
                odds[row] = np.log(p) - np.log1p(-p)
        return odds

    def _label(self, labels: Sequence[str]) -> str:
        """Return the positive label. ConfigError for one that there is not, or one class alone."""
        where = f"{self.name}: {self.model or 'the classifier'}"
        listed = ", ".join(labels[:8]) + (" …" if len(labels) > 8 else "")
        if len(labels) < 2:
            raise ConfigError(f"{where} has one class only ({listed})")
        label = self.label or POSITIVE
        label = label if label.startswith(PREFIX) else PREFIX + label
        if label not in labels:
            wrong = f"has no label {label!r}" if self.label else "wants label=LABEL"
            raise ConfigError(f"{where} {wrong}; its labels: {listed}")
        return label


def _numbered(values: dict[str, Any], t: int) -> dict[str, Any]:
    return {f"{name}_{t}": value for name, value in values.items()}


def _lines(state: State, t: int) -> LineTable:
    keys = state.array(f"keys_{t}", np.uint64, (None,))
    return LineTable(
        state.array(f"table_{t}", np.float32, (None, len(state[f"labels_{t}"]))),
        keys,
        state.array(f"rows_{t}", np.int32, (len(keys),)),
        **state[f"facts_{t}"],
    )
