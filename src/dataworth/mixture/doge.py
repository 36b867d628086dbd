"""DoGE: shares that grow for groups whose gradients help the others, or a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dataworth.mixture.online import Online, Rule
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import Floats
from dataworth.mixture.swarm_text import SwarmText
from dataworth.options import option

if TYPE_CHECKING:
    from dataworth.lm.online import Seen
    from dataworth.lm.packing import TokenStream


@register
@dataclass(frozen=True)
class DoGE(Online):
    """The mean over a training of shares that grow with the alignment of gradients.

    Each step draws all groups alike. The score of a group is the sum of the inner products of its
    gradient with those of the targets (without targets: of the other groups), over the mean norm
    of the groups' gradients, each clipped to the norm 1, and itself clipped to 0 to `most`. The
    weights become a exp(rate score / mu), normalised, where rate is the learning rate of the step,
    and the model descends the groups' losses weighed so (Fan et al. 2023, "DoGE", arXiv
    2310.15393; norms, clipping and the values of mu and `most` as in its released code).
    """

    name: ClassVar[str] = "doge"
    minimise: tuple[str, ...] = option(
        (), help="Targets or groups of the swarm that are to be helped; the run's targets."
    )
    mu: float = option(0.05, help="Weight of the distance to the weights before.", above=0)
    most: float = option(5.0, help="The largest score of a step.", minimum=0)

    def targets(self, targets: Sequence[str]) -> Sequence[str]:
        """Return the targets whose gradients are compared with."""
        return self.minimise or tuple(targets)

    def batch(self, text: SwarmText) -> int:
        """Return the sequences of a step: as many of each group."""
        count = len(text.groups.names)
        return count * max(round(text.preset.batch_sequences / count), 1)

    def rule(self, text: SwarmText, targets: Sequence[str], folder: Path) -> Rule:
        """Return the state of a training in which gradients are compared."""
        probes = text.held_out(targets) if targets else []
        return Alignment(len(text.groups.names), probes, self.mu, self.most)


class Alignment(Rule):
    """The weights of a training that compares gradients; all groups are drawn alike."""

    gradients = True

    def __init__(self, count: int, probes: Sequence[TokenStream], mu: float, most: float) -> None:
        super().__init__(np.full(count, 1 / count))
        self.probes, self.mu, self.most = probes, mu, most

    def weights(self) -> Floats:
        """Return the uniform shares."""
        count = len(self.state["weights"])
        return np.full(count, 1 / count)

    def learn(self, seen: Seen) -> Floats:
        """Take the step of the weights, and return k times them: the factors of the losses."""
        assert seen.gram is not None
        score = alignment(seen.gram, len(self.state["weights"]), self.most)
        logs = np.log(self.state["weights"]) + seen.learning_rate * score / self.mu
        grown = np.exp(logs - logs.max())
        self.state["weights"] = np.maximum(grown / grown.sum(), 1e-12)
        return len(grown) * np.asarray(self.state["weights"])


def alignment(gram: Floats, count: int, most: float) -> Floats:
    """Return the scores [k] from the inner products of k groups' gradients and p probes'.

    `gram` [k + p, k + p]; without probes a group is compared with all the others.
    """
    norms = np.sqrt(np.diag(gram))
    clip = np.minimum(1 / np.maximum(norms, 1e-12), 1)
    gram = gram * clip * clip[:, None]
    own, others = gram[:count, :count], gram[:count, count:]
    score = others.sum(1) if others.size else own.sum(1) - np.diag(own)
    scores: Floats = np.clip(score / (np.sqrt(np.diag(own)).mean() + 1e-6), 0, most)
    return scores
