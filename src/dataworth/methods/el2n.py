"""EL2N: how far the model's prediction is from what came, the mean over a document's tokens.

Paul, Ganguli and Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early in
Training", NeurIPS 2021: the Euclidean length of softmax(logits) minus the one-hot label, early in
training, the mean over several models. For a language model the labels are the next tokens. Between
0 (right and certain) and the root of 2 (wrong and certain); forward passes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.methods.base import Context, Targets, check_choice
from dataworth.methods.modelled import (
    Model,
    Modelled,
    Values,
    check_models,
    identified,
    load_modelled,
    tell_cost,
)


@dataclass(frozen=True)
class EL2N:
    """The length of prediction minus truth, the mean over tokens and models; without a target.

    `models`: folders, early in training and of several seeds. `prefer`: "high" keeps what is hard,
    as the paper does; "low" what is easy (the utility is the negative), for noisy pools.
    `windows`: as in `influence`.
    """

    name: ClassVar[str] = "el2n"
    models: tuple[str, ...] = ()
    prefer: Literal["low", "high"] = "high"
    windows: int = 0

    def __post_init__(self) -> None:
        check_models(self.name, self.models, "models=[FOLDER, ...]")
        check_choice(self.name, "prefer", self.prefer, ("low", "high"))
        if self.windows < 0:
            raise ConfigError(f"{self.name}: windows is 0 (all) or more, not {self.windows}")

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedEL2N:
        """Nothing is learned; the time is told."""
        reader = Model(self.models[0]).reader
        with reader.working():
            count = len(self.models)
            tell_cost(self.name, reader, pool, Targets({}), context, scored=count)
        return FittedEL2N(self, identified(self.models, (), self.windows))

    @staticmethod
    def load(step: EL2N, folder: Path) -> FittedEL2N:
        """The fitted step from its folder."""
        known = [identity for _, identity in load_modelled(folder)[0]["models"]]
        return FittedEL2N(step, identified(step.models, (), step.windows, known))


class FittedEL2N(Modelled):
    """The step, ready to use."""

    step: EL2N

    def __init__(self, step: EL2N, models: list[Model]) -> None:
        unit = "length" if step.prefer == "high" else "length, negative"
        super().__init__(step, models, [""], unit, {}, {})

    def values(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Utilities [n, 1], and tokens that are predicted [n]."""
        total, tokens = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        for model in self.models:
            found, tokens = model.reader.errors(documents)
            total += found / np.maximum(tokens, 1) / len(self.models)
        return (total if self.step.prefer == "high" else -total)[:, None], tokens
