"""CLIMB: a mixture in rounds, of which each trains models where the ones before look best."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dataworth.engine.device import AUTO, processes
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError, check_extra
from dataworth.mixture.learned import ByLoss, check_models, water_fill
from dataworth.mixture.registry import register
from dataworth.mixture.regmix import boosted
from dataworth.mixture.swarm import (
    FEWEST,
    ROUNDS,
    RUNS,
    TARGET,
    Floats,
    SwarmGroups,
    SwarmTable,
    read_groups,
    read_table,
    runs_of,
)
from dataworth.mixture.swarm_models import Run, TrainRuns
from dataworth.options import option

log = logging.getLogger("dataworth")
_SEED = 42
_KEPT = 4  # one in so many draws is kept in a round


@register
@dataclass(frozen=True)
class Climb(ByLoss):
    """The mean of the mixtures that look best after rounds of training where they look good.

    The first round is that of the swarm's first models. A predictor is fitted on all models so far,
    the best quarter of the `draws` that are left (at first mixtures from Dirichlet(p), p the
    natural shares, kept to the caps) is kept, and the next round's models are trained on random
    ones of them. In the end the mean of the `best` by the last predictor is the mixture (Diao et
    al. 2025, "CLIMB", arXiv 2504.13161: rounds of 64, 32 and 16 models, trees; the quarter, the
    draws and the mean are dataworth's own). Groups may be clusters: a field of their numbers.
    """

    name: ClassVar[str] = "climb"
    rounds: tuple[int, ...] = option(
        (64, 32, 16), help="Models of each round; the first are the swarm's own.", minimum=1
    )
    model: Literal["lightgbm", "square_root"] = option(
        "lightgbm", help="The predictor: trees, or least squares in the shares' square roots."
    )
    draws: int = option(100_000, help="Simulated mixtures.", minimum=1)
    best: int = option(128, help="How many of them are averaged.", minimum=1)
    workers: int = option(1, help="Processes that train.", minimum=1, run_only=True)

    def __post_init__(self) -> None:
        check_extra(self.name, "lm")
        if self.model == "lightgbm":
            check_extra("climb(model=lightgbm)", "mixtures")
        if not self.rounds or self.rounds[0] < FEWEST:
            raise ConfigError(
                f"climb: rounds begin with {FEWEST} models or more: fewer tell nothing"
            )

    def learn(self, groups: SwarmGroups, targets: Sequence[str], caps: Floats) -> Floats:
        """Return the best shares after all rounds."""
        table = read_table(self.swarm)
        names = self.minimise or tuple(targets)
        losses = self.losses(table, targets).mean(1)
        if caps.sum() <= 1:
            return caps
        first = self.rounds[0]
        check_models(table, first, self.name)
        natural = np.maximum(table.natural, 1e-9)
        rng = np.random.default_rng(_SEED)
        draws = water_fill(rng.dirichlet(natural, self.draws), caps)
        weights, values = table.weights[:first], losses[:first]
        beside = self._beside(groups, names, caps)
        for number, count in enumerate(self.rounds[1:], 1):
            order = np.argsort(self._predict(weights, values, draws), kind="stable")
            draws = draws[order[: max(len(draws) // _KEPT, min(count, len(draws)))]]
            chosen = draws[rng.permutation(len(draws))[:count]]
            log.info("climb: round %d, %d models", number + 1, len(chosen))
            more = self._train(groups, names, chosen, f"{beside}/{number}")
            weights = np.vstack([weights, more.weights])
            values = np.append(values, more.of(names).mean(1))
        order = np.argsort(self._predict(weights, values, draws), kind="stable")
        mean = draws[order[: self.best]].mean(0)
        shares: Floats = mean / mean.sum()
        return shares

    def _predict(self, weights: Floats, loss: Floats, draws: Floats) -> Floats:
        if self.model == "lightgbm":
            return boosted(weights, loss, draws)
        columns = [np.column_stack([np.ones(len(w)), np.sqrt(w)]) for w in (weights, draws)]
        fitted: Floats = columns[1] @ np.linalg.lstsq(columns[0], loss, rcond=None)[0]
        return fitted

    def _beside(self, groups: SwarmGroups, names: Sequence[str], caps: Floats) -> str:
        """Return the folder of the rounds in that of the swarm, named by what they depend on."""
        marks = {name: groups.targets.get(name) for name in names}
        about = [self.rounds, self.model, self.draws, marks, caps.tolist()]
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        return f"{ROUNDS}/{key}"

    def _train(
        self, groups: SwarmGroups, names: Sequence[str], mixtures: Floats, beside: str
    ) -> SwarmTable:
        """Return the table of a round, whose models are trained and measured unless they are."""
        asked = groups.facts["swarm"]
        plain = [name.removeprefix(TARGET) for name in names]
        marks = {name: groups.targets[name] for name in plain if name in groups.targets}
        how = (str(asked["size"]), int(asked["tokens"]), int(asked["seed"]))
        work = TrainRuns(groups.folder, *how, bool(groups.facts["compiled"]), AUTO, marks, beside)
        runs = [Run(number, tuple(shares.tolist())) for number, shares in enumerate(mixtures)]
        left = [run for run in runs if not work.is_done(run)]
        if left:
            count = min(processes(AUTO, self.workers), len(left))
            engine = Engine(count, "processes" if count > 1 else "threads")
            list(engine.map(work, left, name=self.name))
        return runs_of(read_groups(self.swarm), groups.folder / beside / RUNS)
