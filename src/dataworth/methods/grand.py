"""GraNd: the length of a document's gradient.

Paul, Ganguli and Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early in
Training", NeurIPS 2021: the expected norm of the loss gradient early in training, the mean over
several models. For a language model the loss is the mean over the document's tokens.
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
class GraNd:
    """The length of the gradient of a document's mean loss, the mean over models; no target.

    `models`: folders, early in training and of several seeds. `prefer`: "high" keeps what is hard,
    as the paper does; "low" what is easy (the utility is the negative), for noisy pools.
    `layers`, `windows`: as in `influence`.
    """

    name: ClassVar[str] = "grand"
    models: tuple[str, ...] = ()
    prefer: Literal["low", "high"] = "high"
    layers: tuple[str, ...] = ()
    windows: int = 0

    def __post_init__(self) -> None:
        check_models(self.name, self.models, "models=[FOLDER, ...]")
        check_choice(self.name, "prefer", self.prefer, ("low", "high"))
        if self.windows < 0:
            raise ConfigError(f"{self.name}: windows is 0 (all) or more, not {self.windows}")

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedGraNd:
        """Nothing is learned; the time is told."""
        reader = Model(self.models[0], self.layers).reader
        with reader.working():
            count = len(self.models)
            tell_cost(self.name, reader, pool, Targets({}), context, scored=count)
        return FittedGraNd(self, identified(self.models, self.layers, self.windows))

    @staticmethod
    def load(step: GraNd, folder: Path) -> FittedGraNd:
        """The fitted step from its folder."""
        known = [identity for _, identity in load_modelled(folder)[0]["models"]]
        return FittedGraNd(step, identified(step.models, step.layers, step.windows, known))


class FittedGraNd(Modelled):
    """The step, ready to use."""

    step: GraNd

    def __init__(self, step: GraNd, models: list[Model]) -> None:
        unit = "nats" if step.prefer == "high" else "nats, negative"
        super().__init__(step, models, [""], f"gradient length, {unit}", {}, {})

    def values(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Utilities [n, 1], and tokens that are predicted [n]."""
        total, tokens = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        for model in self.models:
            found, tokens = model.reader.lengths(documents)
            total += found / np.maximum(tokens, 1) / len(self.models)
        return (total if self.step.prefer == "high" else -total)[:, None], tokens
