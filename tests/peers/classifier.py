"""A small trained classifier, and how alike two tables of scores are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from dataworth.features.gradients import Examples, Gradients, Supervised


@dataclass
class Classifier:
    """`model`, trained on the first rows of `x` [n, features] and `y` [n]; the rest are queries."""

    model: nn.Module
    x: Tensor
    y: Tensor
    count: int

    @property
    def task(self) -> Supervised:
        return Supervised()

    def engine(self) -> Gradients:
        return Gradients(self.model, self.task)

    def examples(self, rows: slice) -> Examples:
        items = [(x, int(y)) for x, y in zip(self.x[rows], self.y[rows], strict=True)]
        return self.task.examples(items, size=50)

    @property
    def train(self) -> Examples:
        return self.examples(slice(0, self.count))

    @property
    def queries(self) -> Examples:
        return self.examples(slice(self.count, None))

    def parts(self) -> tuple[torch.utils.data.TensorDataset, torch.utils.data.TensorDataset]:
        """The same as datasets."""
        sets = torch.utils.data.TensorDataset
        return (
            sets(self.x[: self.count], self.y[: self.count]),
            sets(self.x[self.count :], self.y[self.count :]),
        )


def classifier(hidden: int = 16, layers: int = 2, count: int = 250, steps: int = 200) -> Classifier:
    """Three classes of ten features, a tenth of the labels drawn at random."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count + 30, 10, generator=generator)
    flipped = (torch.rand(len(x), generator=generator) < 0.1).long()
    y = (x[:, :3].argmax(1) + flipped) % 3
    torch.manual_seed(0)
    inner = [part for _ in range(layers - 1) for part in (nn.Linear(hidden, hidden), nn.Tanh())]
    model = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), *inner, nn.Linear(hidden, 3))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x[:count]), y[:count]).backward()
        optimizer.step()
    return Classifier(model.eval(), x, y, count)


def ranks_alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The least rank correlation over the queries, [examples, queries] both."""
    return min(float(spearmanr(a, b)[0]) for a, b in zip(ours.T, theirs.T, strict=True))


def alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The least correlation over the queries."""
    return min(float(np.corrcoef(a, b)[0, 1]) for a, b in zip(ours.T, theirs.T, strict=True))
