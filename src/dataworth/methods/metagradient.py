"""Metagradients: the target's loss after a training, differentiated by each document's weight.

Engstrom, Ilyas, Chen, Feldmann, Moses and Madry, "Optimizing ML Training with Metagradient
Descent", arXiv 2503.13751 (remembered from a specification). Theirs is a descent over many
trainings on how often each example is used; this is its first step, from the pool as it is: every
document once. A model goes on training over the whole pool, and what one more copy of a document
would have done to the target's loss at the end is found by going back through all steps. Exact for
that run; hence for pools and models that fit.

Not from the paper: the constant learning rate, so that no document weighs less because the rate had
fallen when it came; and the second run, in the reverse order, for what the place in the order does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError, DataworthError
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.modelled import ModelScore, Values, model_option, per_option, tell_cost
from dataworth.options import option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader
    from dataworth.features.gradients.metagradient import Run
    from dataworth.features.gradients.reading import Items

log = logging.getLogger("dataworth")

MOST = 100_000  # documents: their states are trained through, and all are in memory
_ORDER = 0x6D657461  # the stream of `hash_uid` for the order of a run
_TRAININGS = 7  # that going back through a run for one target takes as long as
_LOOKED_AT = 32  # windows of the targets by which smoothness is measured
_SMOOTH = 0.8
_CHUNK = 4  # windows that run at once: their logits stay in the cache


@register
@dataclass(frozen=True)
class Metagradient(ModelScore):
    """The fall of the target's loss, after training on the pool, by one more copy of a document."""

    name: ClassVar[str] = "metagradient"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    reasons: ClassVar[tuple[str, ...]] = (
        "without a token to predict, or not of the pool that was trained on",
    )
    model: str = model_option(
        help="The folder of a causal language model, of Hugging Face or of dataworth.lm, from "
        "which training goes on."
    )
    learning_rate: float = option(
        2e-3, help="Of Adam, constant after a tenth of the steps.", above=0
    )
    batch: int = option(16, help="Windows in a step.", minimum=1)
    runs: int = option(
        2,
        help="Trainings whose derivatives are averaged; every second one has the order of the one "
        "before, reversed.",
        minimum=1,
    )
    per: Literal["token", "document"] = per_option()
    windows: int = option(
        1,
        help="Windows of the model's context that count of a document, from its beginning; 0: all "
        "of it.",
        minimum=0,
    )

    @property
    def unit(self) -> str:
        """The unit of the utility."""
        return "nats saved per token" if self.per == "token" else "nats saved"

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Train over the pool and go back.

        Raises ConfigError for a pool of too many documents, DataworthError for a target without a
        token.
        """
        names = targets.names
        if pool.documents > MOST:
            raise ConfigError(
                f"{self.name}: trains on every document of the pool, so on {MOST:,} at most, and "
                f"there are {pool.documents:,.0f}: score a part of the pool, or use another method"
            )
        documents = pool.read()
        model = self.of(self.model)
        reader = model.reader
        with reader.working():
            trainings = self.runs * (1 + _TRAININGS * len(names)) + 3  # of smoothness
            passes = trainings * len(documents)
            tell_cost(self, reader, pool, targets, passes=passes, scored=0, cut=True)
            items = reader.items(documents)
            asked, mix = _asked(self.name, reader, targets, names)
            total = np.zeros((len(documents), len(names)))
            for number in range(self.runs):
                run = self._run(reader, items, pool.seed, number)
                if not number:
                    _tell_smoothness(self.name, run, asked)
                np.add.at(total, items.owner, _back(run, asked, mix) / self.runs)
        # A text that is there several times has the mean of what its copies do.
        uid, place, copies = np.unique(documents.uid, return_inverse=True, return_counts=True)
        values = np.zeros((len(uid), len(names)))
        np.add.at(values, place, total)
        tokens = np.zeros(len(uid), np.int64)
        tokens[place] = items.tokens
        return self.known(uid=uid, saved=values / copies[:, None], tokens=tokens)

    def _run(self, reader: Reader, items: Items, seed: int, number: int) -> Run:
        """Return the training over all windows, in the order of one of the runs."""
        from dataworth.features.gradients.metagradient import Adam, Run

        if not items.items:
            raise DataworthError(f"{self.name}: no document of the pool has a token to predict")
        order = np.argsort(hash_uid(seed + number // 2, items.uid, _ORDER), kind="stable")
        order = order[::-1].copy() if number % 2 else order
        steps = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        warm = max(1, len(steps) // 10)
        rates = [self.learning_rate * min(1.0, (step + 1) / warm) for step in range(len(steps))]
        # Losses are sums over tokens here; these make the steps those of a mean over tokens.
        scale = float(items.tokens.sum()) / len(items.items)
        adam = Adam(rates, (0.9, 0.98), 1e-8 * scale, 1e-6 * scale**2)
        return Run(reader.model, reader.engine.task, items.items, steps, adam, _CHUNK)

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return utilities [n, targets], and tokens that are predicted [n]; 0 for an unknown."""
        uids = state.array("uid", np.uint64, (None,))
        values = state.array("saved", np.float64, (len(uids), len(state.targets)))
        counts = state.array("tokens", np.int64, (len(uids),))
        if not len(uids):
            return np.zeros((len(documents), len(state.targets))), np.zeros(len(documents), int)
        nearest = np.minimum(np.searchsorted(uids, documents.uid), len(uids) - 1)
        tokens = np.where(uids[nearest] == documents.uid, counts[nearest], 0)
        values = values[nearest]
        if self.per == "token":
            values = values / np.maximum(tokens, 1)[:, None]
        return values, tokens


def _asked(
    step: str, reader: Reader, targets: Targets, names: list[str]
) -> tuple[list[Any], NDArray[np.float64]]:
    """The windows of all targets [q], and the shares [targets, q] of them in a loss by token."""
    items_of = [reader.items(targets.fit[name]) for name in names]
    for name, items in zip(names, items_of, strict=True):
        if not items.items:
            raise DataworthError(f"{step}: the target {name!r} has no token to predict")
    windows = [window for items in items_of for window in items.items]
    mix = np.zeros((len(names), len(windows)))
    start = 0
    for row, items in enumerate(items_of):
        # A window is measured by its sum over tokens.
        mix[row, start : start + len(items.items)] = 1 / items.tokens.sum()
        start += len(items.items)
    return windows, mix


def _back(run: Run, asked: list[Any], mix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fall of each target's loss by one more copy of each window: [windows, targets]."""
    import torch

    from dataworth.features.gradients.metagradient import metagradients

    return metagradients(run, asked, mix=torch.from_numpy(mix)).scores


def _tell_smoothness(step: str, run: Run, asked: list[Any]) -> None:
    """Log how smooth the training is; warn of one whose derivatives say little."""
    from dataworth.features.gradients.metagradient import smoothness

    few = asked[:: max(1, len(asked) // _LOOKED_AT)][:_LOOKED_AT]
    smooth = smoothness(run, few)
    log.info("%s: metasmoothness %.2f over %d steps", step, smooth, len(run.order))
    if not smooth >= _SMOOTH:
        log.warning(
            "%s: the training is not smooth (metasmoothness %.2f, 1 is smooth), so what its "
            "derivatives say of other trainings is little: take a lower learning rate",
            step,
            smooth,
        )
