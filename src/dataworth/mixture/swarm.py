"""A swarm: small models trained on many mixtures of a pool's groups, as a table.

The mixtures are drawn as RegMix draws them (Liu et al. 2024, "RegMix", section 3.1), and the losses
of the models are what the learned mixtures are fitted on. `swarm_models` trains the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.files import damaged, read_object
from dataworth.errors import ConfigError

FILE = "swarm.json"
RUNS = "runs"
ONLINE, ROUNDS = "online", "rounds"
"""Folders of what mixtures train beside the swarm's own models."""
MODELS, HELD_OUT, TARGETS = "models", "held_out.parquet", "targets.parquet"
GROUP, TARGET = "group:", "target:"
"""What the name of a loss begins with: on the held-out text of a group, or on a target."""
GRAIN = 2e-4
"""Shares are multiples of this; smaller ones are 0."""
FEWEST = 4
"""Models below which nothing is fitted."""
_TEMPER = 0.5  # the power of the natural shares that mixtures are drawn around
_STRENGTHS = np.geomspace(0.1, 5, 15)  # of the Dirichlet distribution
_ATTEMPTS = 100  # draws for each mixture that is wanted
_REMEDY = "run `dataworth swarm` on this folder again"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SwarmTable:
    """Mixtures and the losses of the models that were trained on them.

    `field`: its values are the groups `names` [k]. `natural` float64 [k]: their shares of the
    pool's tokens. `weights` float64 [n, k]: their shares of each mixture. `losses`: float64 [n] by
    name, nats per token, of each group's held-out text and of each target.
    """

    field: str
    names: tuple[str, ...]
    natural: Floats
    weights: Floats
    losses: Mapping[str, Floats]

    def of(self, wanted: Sequence[str]) -> Floats:
        """Return losses by name, float64 [n, wanted]: a target's or, if there is none, a group's.

        Without names those of all groups. Raises ConfigError for a loss that was not measured.
        """
        full = [self._full(name) for name in wanted] or [GROUP + name for name in self.names]
        return np.stack([self.losses[name] for name in full], axis=1)

    def _full(self, name: str) -> str:
        for full in (name, TARGET + name, GROUP + name):
            if full in self.losses:
                return full
        known = ", ".join(name.partition(":")[2] for name in self.losses)
        raise ConfigError(
            f"the swarm has no loss on {name!r}, only on {known}: run `dataworth swarm` on its "
            f"folder with --target {name}=PATH, which measures the models that are there"
        )


@dataclass(frozen=True)
class SwarmGroups:
    """The groups of a swarm, which its folder holds text of, whatever was trained on it.

    `field`, `names` [k] and `natural` float64 [k] as in a table. `used`: int64 [k], tokens of each
    group that a training reads. `targets`: a fingerprint of each by name. `facts`: of swarm.json.
    """

    folder: Path
    field: str
    names: tuple[str, ...]
    natural: Floats
    used: NDArray[np.int64]
    targets: Mapping[str, str]
    facts: Mapping[str, Any]


def read_groups(folder: str | Path) -> SwarmGroups:
    """Return the groups of a swarm's folder.

    Raises ConfigError for a folder that is no swarm's, or is not prepared yet, and RunError for a
    damaged file.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ConfigError(f"{folder}: is no swarm; train one with `dataworth swarm` first")
    facts = read_object(path, _REMEDY)
    with damaged(path, _REMEDY):
        domains: list[dict[str, Any]] = facts.get("domains", [])
        names = tuple(str(one["name"]) for one in domains)
        tokens = np.array([one["tokens"] for one in domains], np.float64)
        used = np.array([one.get("used", 0) for one in domains], np.int64)
        field, targets = str(facts["swarm"]["field"]), dict(facts.get("targets", {}))
    if not names:
        raise ConfigError(f"{folder}: is not prepared yet; {_REMEDY}")
    return SwarmGroups(Path(folder), field, names, tokens / tokens.sum(), used, targets, facts)


def read_table(folder: str | Path) -> SwarmTable:
    """Return what a swarm's folder holds so far.

    Raises ConfigError for a folder that is no swarm's, or has fewer than four models, and RunError
    for a damaged file.
    """
    groups = read_groups(folder)
    table = runs_of(groups, groups.folder / RUNS)
    if len(table.weights) < FEWEST:
        raise ConfigError(
            f"{folder}: holds {len(table.weights)} trained models, and fewer than {FEWEST} tell "
            "nothing of mixtures; run `dataworth swarm` on it again, which goes on where it stopped"
        )
    return table


def runs_of(groups: SwarmGroups, folder: Path) -> SwarmTable:
    """Return the shares and losses of all trainings whose records lie in a folder."""
    names, targets = groups.names, groups.targets
    runs = [read_object(file, _REMEDY) for file in sorted(folder.glob("*.json"))]
    with damaged(folder, _REMEDY):
        weights = np.array([run["weights"] for run in runs], np.float64).reshape(-1, len(names))
        losses = {GROUP + name: _column(runs, GROUP + name) for name in names}
        for name, mark in targets.items():
            measured = [run["losses"].get(TARGET + name, {}).get("mark") == mark for run in runs]
            if all(measured):
                losses[TARGET + name] = _column(runs, TARGET + name)
    return SwarmTable(groups.field, names, groups.natural, weights, losses)


def _column(runs: Sequence[Mapping[str, Any]], name: str) -> Floats:
    return np.array([run["losses"][name]["loss"] for run in runs], np.float64)


def draw_mixtures(natural: Floats, caps: Floats, count: int, seed: int) -> Floats:
    """Return `count` different mixtures, float64 [count, k], around the natural shares [k].

    Each is drawn from Dirichlet(s p'), where p' is the natural shares to the power 0.5, normalised,
    and s is one of 15 strengths from 0.1 to 5, evenly spaced in their logarithm. One with a share
    above its cap is drawn anew. Shares are multiples of 2e-4 that add up to 1. Departures from the
    published code: mixtures are kept in the order of drawing, so that more of them begin with the
    same ones, and rounding keeps their sum (largest remainders).

    Raises ConfigError where the caps leave no mixture, or too few.
    """
    if len(natural) < 2:
        raise ConfigError("a mixture is of two groups or more, and the pool has one")
    if caps.sum() < 1:
        raise ConfigError(
            f"the caps of the groups add up to {caps.sum():.3g}, less than the whole: allow "
            "more epochs, or a smaller budget"
        )
    rng = np.random.default_rng(seed)
    tempered = natural**_TEMPER
    tempered /= tempered.sum()
    kept: dict[bytes, Floats] = {}
    for _ in range(_ATTEMPTS * count):
        shares = rng.dirichlet(rng.choice(_STRENGTHS) * tempered)
        if not (shares <= caps).all():
            continue
        shares[shares < GRAIN] = 0
        grains = shares / shares.sum() / GRAIN
        whole = np.floor(grains)
        short = round(1 / GRAIN - whole.sum())
        whole[np.argsort(whole - grains, kind="stable")[:short]] += 1
        kept.setdefault(whole.tobytes(), whole * GRAIN)
        if len(kept) == count:
            return np.stack(list(kept.values()))
    raise ConfigError(
        f"only {len(kept)} of {count} mixtures keep within what the groups hold: take fewer "
        "mixtures, allow more epochs, or a smaller budget"
    )
