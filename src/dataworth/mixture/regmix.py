"""RegMix: a regression from mixtures to losses, and the best of many simulated mixtures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from dataworth.errors import check_extra
from dataworth.mixture.learned import Learned, check_models, water_fill
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import Floats, SwarmTable
from dataworth.options import option

_SEED = 42
_ROUNDS, _PATIENCE = 1000, 3
_HELD = 10  # one in so many models tells when to stop
_SPLITS = 64  # models without which trees have next to nothing to split


@register
@dataclass(frozen=True)
class RegMix(Learned):
    """The mean of the mixtures that a regression on the swarm holds for the best.

    A regression from shares to each loss (gradient-boosted trees, or least squares in the shares)
    predicts the losses of `draws` mixtures from Dirichlet(p), p the natural shares; the mean of the
    `best` is the mixture (Liu et al. 2024, "RegMix: Data Mixture as Regression for Language Model
    Pre-training", section 3; defaults of the published code, which fits on 512 models). Trees stop
    growing by one tenth of the models, where the published notebook stops by those it reports on.
    Draws keep to the caps, which are dataworth's own.
    """

    name: ClassVar[str] = "regmix"
    model: Literal["lightgbm", "linear"] = option("lightgbm", help="The regression.")
    draws: int = option(100_000, help="Simulated mixtures.", minimum=1)
    best: int = option(128, help="How many of them are averaged.", minimum=1)

    def __post_init__(self) -> None:
        if self.model == "lightgbm":
            check_extra("regmix(model=lightgbm)", "mixtures")

    def optimum(self, table: SwarmTable, losses: Floats, caps: Floats) -> Floats:
        """Return the mean of the best simulated shares, float64 [k]."""
        linear = self.model == "linear"
        least = len(caps) + 1 if linear else _SPLITS
        check_models(table, least, f"regmix(model={self.model})")
        rng = np.random.default_rng(_SEED)
        # A concentration of zero is none: a group of no tokens has no share either.
        natural = np.maximum(table.natural, 1e-9)
        draws = water_fill(rng.dirichlet(natural, self.draws), caps)
        predict = _linear if linear else boosted
        loss = np.sum([predict(table.weights, each, draws) for each in losses.T], axis=0)
        best = np.argsort(loss, kind="stable")[: self.best]
        mean: Floats = draws[best].mean(0)
        shares: Floats = mean / mean.sum()
        return shares


def _linear(weights: Floats, loss: Floats, draws: Floats) -> Floats:
    """Predict by least squares in the shares; they add up to 1, which stands for the constant."""
    predicted: Floats = draws @ np.linalg.lstsq(weights, loss, rcond=None)[0]
    return predicted


def boosted(weights: Floats, loss: Floats, draws: Floats) -> Floats:
    """Predict by gradient-boosted trees; a loss is centred, as trees start from its mean."""
    import lightgbm

    held = np.random.default_rng(_SEED).permutation(len(loss)) % _HELD == 0
    options: dict[str, Any] = {
        "objective": "regression",
        "metric": "l2",
        "learning_rate": 0.01,
        "seed": _SEED,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    train = lightgbm.Dataset(weights[~held], loss[~held])
    valid = lightgbm.Dataset(weights[held], loss[held], reference=train)
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    trees = lightgbm.train(options, train, _ROUNDS, valid_sets=[valid], callbacks=[stop])
    return np.asarray(trees.predict(draws, num_threads=1), np.float64)
