"""The base of online mixtures: a small model whose own training finds the shares.

    swarm/online/NAME-KEY/found.json     what a training found

The text is that of a swarm's folder, of which no model is needed. A training is done once, whatever
is chosen by it afterwards, and goes on from its last checkpoint where it was stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dataworth.engine.files import damaged, read_object, write_json
from dataworth.errors import check_extra
from dataworth.features.embeddings.base import folder_identity
from dataworth.mixture.learned import OverSwarm, water_fill
from dataworth.mixture.swarm import ONLINE, Floats, SwarmGroups
from dataworth.mixture.swarm_text import SwarmText
from dataworth.options import option
from dataworth.table.folder import lock_folder

if TYPE_CHECKING:
    from dataworth.lm.online import Seen
    from dataworth.lm.packing import TokenStream

log = logging.getLogger("dataworth")
_FILE = "found.json"
_EVERY = 200  # steps between checkpoints
_POINTS = 20  # of the way of the weights that is kept


@dataclass(frozen=True)
class Measured(OverSwarm):
    """A mixture by what a training on a swarm's text measures. Implement `measure` and `learn`."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    unlike: ClassVar[tuple[str, ...]] = ("swarm", "epochs", "by")
    tokens: int = option(
        0, help="Tokens of a training; 0: as many as those of the swarm's models.", minimum=0
    )
    seed: int = option(0, help="Of the first weights and of what is drawn.", minimum=0)

    def __post_init__(self) -> None:
        check_extra(self.name, "lm")

    @abstractmethod
    def measure(self, text: SwarmText, targets: Sequence[str], folder: Path) -> dict[str, Any]:
        """Return what a training in a folder finds, JSON."""

    def found(self, groups: SwarmGroups, targets: Sequence[str]) -> Mapping[str, Any]:
        """Return what `measure` found, which is done if it is not yet."""
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.unlike}
        for f in fields(self):
            path = getattr(self, f.name)
            if f.metadata.get("content") and f.name in options and path:
                options[f.name] = folder_identity(Path(path))
        marks = {name: groups.targets.get(name) for name in self.targets(targets)}
        about = [self.name, self.version, options, marks]
        about += [groups.facts["swarm"], groups.facts["domains"]]
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        folder = groups.folder / ONLINE / f"{self.name}-{key}"
        if not (folder / _FILE).is_file():
            with lock_folder(folder, "training a mixture"):
                log.info("%s: training on the text of %d groups", self.name, len(groups.names))
                text = SwarmText(groups, self.seed)
                write_json(folder / _FILE, self.measure(text, self.targets(targets), folder))
        return read_object(folder / _FILE)

    def targets(self, targets: Sequence[str]) -> Sequence[str]:
        """Return the targets that it depends on, by the run's."""
        return ()


@dataclass(frozen=True)
class Online(Measured):
    """A mixture that is learned while a small model is trained. Implement `rule`.

    Shares above what a group has are cut to it, and the rest goes to the others in proportion.
    """

    @abstractmethod
    def rule(self, text: SwarmText, targets: Sequence[str], folder: Path) -> Rule:
        """Return the state of a new training. `folder`: where what it needs first may be kept."""

    def batch(self, text: SwarmText) -> int:
        """Return the sequences of a step."""
        return text.preset.batch_sequences

    def learn(self, groups: SwarmGroups, targets: Sequence[str], caps: Floats) -> Floats:
        """Return the shares that the training finds, kept to the caps."""
        found = self.found(groups, targets)
        with damaged(groups.folder / ONLINE):
            shares = np.array([found["shares"][name] for name in groups.names], np.float64)
        return caps if caps.sum() <= 1 else water_fill(shares, caps)

    def measure(self, text: SwarmText, targets: Sequence[str], folder: Path) -> dict[str, Any]:
        """Return the mean of the weights over a training by group, and their way there."""
        from dataworth.lm.training import train

        rule = self.rule(text, targets, folder)
        rule.name = folder.name
        changes = {"batch_sequences": self.batch(text), "checkpoint_every": _EVERY}
        config = text.config(self.tokens, **changes)
        train(text.model(), text.streams, config, folder=folder, mixture=rule)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        names = text.groups.names
        shares = {name: float(x) for name, x in zip(names, rule.shares, strict=True)}
        return {"shares": shares, "way": rule.state["way"].tolist()}


class Rule(ABC):
    """The state of an online mixture in a training; implements `lm.online.OnlineMixture`.

    Implement `learn`. The shares are the mean over the steps of state["weights"], which are also
    what the next step is drawn by unless `weights` says otherwise.
    """

    gradients = False
    probes: Sequence[TokenStream] = ()

    def __init__(self, start: Floats, **more: Any) -> None:
        self.state: dict[str, Any] = {
            "weights": start,
            "sum": np.zeros(len(start)),
            "way": np.zeros((0, len(start) + 1)),
            **more,
        }
        self.name = ""

    def identity(self) -> str:
        """Return its mixture with all options."""
        return self.name

    def weights(self) -> Floats:
        """Return what the next step is drawn by, float64 [k]."""
        return np.asarray(self.state["weights"])

    def observe(self, seen: Seen) -> Floats | None:
        """Learn from a step and count its shares."""
        factors = self.learn(seen)
        weights = self.state["weights"]
        self.state["sum"] = self.state["sum"] + weights
        if (seen.step + 1) % max(seen.steps // _POINTS, 1) == 0:
            self.state["way"] = np.vstack([self.state["way"], [seen.step + 1, *weights]])
        return factors

    @abstractmethod
    def learn(self, seen: Seen) -> Floats | None:
        """Set state["weights"], and return what each domain's loss is multiplied by."""

    @property
    def shares(self) -> Floats:
        """The mean of the weights over all steps so far, float64 [k]."""
        total = self.state["sum"]
        shares: Floats = total / total.sum()
        return shares
