"""DoReMi: shares that a small model finds by descending its worst excess loss over a reference."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from dataworth.mixture.online import Online, Rule
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import Floats
from dataworth.mixture.swarm_text import SwarmText
from dataworth.options import option

if TYPE_CHECKING:
    from dataworth.lm.online import Seen


@register
@dataclass(frozen=True)
class DoReMi(Online):
    """The mean over a training of shares that grow where a proxy is worse than a reference.

    A reference is trained on the natural mixture, then a proxy of the same size with sequences of
    all groups: in each step the excess of a group is the mean over its tokens of max(proxy -
    reference, 0), the weights become a exp(eta excess), normalised, then (1 - c) a + c / k, and the
    proxy descends the loss with the groups weighed so. No target is needed (Xie et al. 2023,
    "DoReMi", arXiv 2305.10429, algorithm 1; eta, c and the order of clipping as in its released
    code). A group that a step has not drawn keeps its excess.
    """

    name: ClassVar[str] = "doremi"
    eta: float = option(1.0, help="Step size of the weights, per nat of excess.", minimum=0)
    smoothing: float = option(
        1e-3, help="Part of each step that is uniform: c.", minimum=0, maximum=1
    )
    draw: Literal["uniform", "natural"] = option(
        "uniform", help="The shares by which the proxy's sequences are drawn."
    )

    def rule(self, text: SwarmText, targets: Sequence[str], folder: Path) -> Rule:
        """Return the state of the proxy's training, after that of its reference."""
        from dataworth.lm.model import load_model, save_model
        from dataworth.lm.training import train

        home = folder / "reference"
        if not (home / "config.json").is_file():
            model = text.model()
            stream = text.mixed(text.groups.natural, self.tokens)
            config = text.config(self.tokens, checkpoint_every=200)
            train(model, stream, config, folder=folder / "reference-training")
            save_model(model, home, text.tokenizer)
            shutil.rmtree(folder / "reference-training")
        count = len(text.groups.names)
        uniform = np.full(count, 1 / count)
        drawn = uniform if self.draw == "uniform" else text.groups.natural
        reference = load_model(home)
        return Excess(reference, text.streams[0].end, drawn, self.eta, self.smoothing)


class Excess(Rule):
    """The weights of a proxy's training; sequences are drawn by fixed shares."""

    def __init__(
        self, reference: Any, end: int, drawn: Floats, eta: float, smoothing: float
    ) -> None:
        count = len(drawn)
        super().__init__(np.full(count, 1 / count), excess=np.zeros(count))
        self.reference, self.end, self.drawn = reference, end, drawn
        self.eta, self.smoothing = eta, smoothing

    def weights(self) -> Floats:
        """Return the fixed shares."""
        return self.drawn

    def learn(self, seen: Seen) -> Floats:
        """Take the step of the weights, and return them over the shares that were drawn by.

        They are divided by their mean over the step's sequences, so that it is 1.
        """
        from dataworth.lm.online import token_losses

        with torch.no_grad():
            before = token_losses(self.reference, seen.inputs, seen.targets, self.end)
        excess = seen.mean((seen.nats - before).clamp(min=0))
        self.state["excess"] = np.where(np.isnan(excess), self.state["excess"], excess)
        weights = ascend(self.state["weights"], self.state["excess"], self.eta, self.smoothing)
        self.state["weights"] = weights
        ratio = weights / np.maximum(self.drawn, 1e-12)
        factors: Floats = ratio * seen.counts.sum() / (ratio * seen.counts).sum()
        return factors


def ascend(weights: Floats, excess: Floats, eta: float, smoothing: float) -> Floats:
    """Return the weights [k] after an exponentiated step along the excess [k], smoothed."""
    grown = weights * np.exp(eta * (excess - excess.max()))
    stepped: Floats = (1 - smoothing) * grown / grown.sum() + smoothing / len(weights)
    return stepped
