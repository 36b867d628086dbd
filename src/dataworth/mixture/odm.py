"""ODM: online data mixing by a bandit that prefers groups of high loss."""

from __future__ import annotations

import math
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


@register
@dataclass(frozen=True)
class ODM(Online):
    """The mean over a training of the shares of an EXP3 bandit whose reward is the loss.

    A step's reward of a group is its loss over `scale`, times its part of the step's sequences over
    the share that they were drawn by; R is the sum over steps. The next step is drawn by
    (1 - k e_t) softmax(e_{t-1} R) + e_t, where e_t = min(1/k, sqrt(ln k / (k t))) (Albalak et al.
    2023, "Efficient Online Data Mixing", arXiv 2312.02406, algorithm 1; rewards as in its released
    code). The published step is of one group; with several it has the same mean.
    """

    name: ClassVar[str] = "odm"
    scale: float = option(10.0, help="What a loss is divided by for a reward.", above=0)

    def rule(self, text: SwarmText, targets: Sequence[str], folder: Path) -> Rule:
        """Return the state of a training that draws by the bandit."""
        return Bandit(len(text.groups.names), self.scale)


class Bandit(Rule):
    """The shares of a bandit and its rewards so far."""

    def __init__(self, count: int, scale: float) -> None:
        super().__init__(np.full(count, 1 / count), rewards=np.zeros(count))
        self.scale = scale

    def learn(self, seen: Seen) -> None:
        """Add the step's rewards, and set the shares of the next step."""
        part = seen.counts / seen.counts.sum()
        reward = np.nan_to_num(seen.losses) / self.scale * part / self.state["weights"]
        self.state["rewards"] = self.state["rewards"] + reward
        self.state["weights"] = explore(self.state["rewards"], seen.step + 1)


def explore(rewards: Floats, step: int) -> Floats:
    """Return the shares [k] after `step` steps of EXP3 with these sums of rewards [k]."""
    count = len(rewards)
    rate, before = (
        min(1 / count, math.sqrt(math.log(count) / (count * max(t, 1)))) if t else 1 / count
        for t in (step, step - 1)
    )
    grown = np.exp(before * (rewards - rewards.max()))
    shares: Floats = (1 - count * rate) * grown / grown.sum() + rate
    return shares
