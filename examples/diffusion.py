"""Whom does a diffusion model owe an image to? A loss of its own, and the bias of its timesteps.

    python examples/diffusion.py

A small network learns to take noise out of scikit-learn's digits. Its loss hangs on a timestep and
a noise, so an image has no one gradient but one for each draw of the two: a task of one's own
(`Denoising`) makes them, and `scores_over_draws` averages. Gradients are much longer at some
timesteps than at others, which decides alone how influential an image looks; Diffusion-ReTrac (Xie,
Li, Bai and Hsieh 2024, arXiv 2401.09031) divides each draw's gradient by its length. Shown are

1. the mean length of gradients by timestep,
2. the places among the most influential images that a few "generally influential" ones take,
   plain (Diffusion-TracIn) and with unit gradients, where all images share their draws and where
   each image has its own, as in training,
3. how far scores agree if all is drawn again: draws that images and queries share are better,
4. how many of the most influential images stay if the training loss is multiplied by 10 at one
   timestep.

Needs the extras `lm` and `classify`; takes some 20 seconds on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dataworth.features.gradients import Batch, Examples, Gradients, Task
from dataworth.features.gradients.scoring import gradient_lengths, scores_over_draws
from dataworth.measures.statistics import spearman

Floats = NDArray[np.float32]
TIMESTEPS = 100
# What is left of the image's variance after each timestep (a cosine schedule).
LEFT = torch.cos(torch.linspace(0.02, 0.99, TIMESTEPS) * math.pi / 2) ** 2
WAVES = 8
TOP = 20


class Denoiser(nn.Module):
    """The noise in an image [n, 64], told the timestep as waves [n, 2 * WAVES]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64 + 2 * WAVES, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 64),
        )

    def forward(self, noisy: Tensor, waves: Tensor) -> Tensor:
        """[n, 64]."""
        found: Tensor = self.layers(torch.cat([noisy, waves], 1))
        return found


@dataclass(frozen=True)
class Denoising(Task):
    """Items are `(image [64], timestep, noise [64])`; the loss is the error in the noise.

    `factors`: what the training loss is multiplied with at some timesteps; a query's measure never.
    """

    factors: tuple[tuple[int, float], ...] = ()

    def lay(self, items: Sequence[Any], uid: NDArray[np.uint64]) -> Batch:
        """Images with noise, waves; the noise as targets."""
        images, noise = torch.stack([i[0] for i in items]), torch.stack([i[2] for i in items])
        steps = torch.tensor([item[1] for item in items])
        left = LEFT[steps, None]
        noisy = left.sqrt() * images + (1 - left).sqrt() * noise
        angles = steps[:, None] / TIMESTEPS * math.pi * torch.arange(1, WAVES + 1)
        weights = torch.ones(len(items))
        for step, factor in self.factors:
            weights[steps == step] = factor
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        return Batch((noisy, waves), noise, weights, None, uid)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Squared error [n], with the factors."""
        assert batch.weights is not None
        return self.measure(outputs, batch) * batch.weights

    def measure(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Squared error [n]."""
        return (outputs - batch.targets).square().sum(1)


def draws(images: Tensor, steps: Sequence[int], seed: int, *, shared: bool) -> list[Examples]:
    """The images in one draw for each of `steps`: examples for `scores_over_draws`.

    `shared`: all images have the same timestep and noise in a draw; else each has its own, both by
    lot, as in training.
    """
    generator = torch.Generator().manual_seed(seed)
    out = []
    for step in steps:
        if shared:
            chosen = [step] * len(images)
            noise = torch.randn(1, 64, generator=generator).expand(len(images), -1)
        else:
            chosen = torch.randint(0, TIMESTEPS, (len(images),), generator=generator).tolist()
            noise = torch.randn(len(images), 64, generator=generator)
        items = list(zip(images, chosen, noise, strict=True))
        out.append(Denoising().examples(items, size=512))
    return out


def train(images: Tensor, width: int, rounds: int) -> Denoiser:
    """By Adam, each image with a new timestep and noise in every round."""
    torch.manual_seed(0)
    model, task = Denoiser(width), Denoising()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for number in range(rounds):
        (examples,) = draws(images, [0], number, shared=False)
        shuffled = examples.take(torch.randperm(len(images)).numpy())
        for _, batch in task.examples(shuffled.items, size=128):
            optimizer.zero_grad()
            loss = task.loss(task.outputs(model, batch), batch).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


def concentration(table: Floats) -> float:
    """The share of the places among each query's TOP images that the TOP most frequent take.

    With as many images that all queries have in common it is 1; with none in common it is 1 by the
    number of queries.
    """
    order = np.argsort(-table, axis=0)[:TOP]
    return float(np.sort(np.bincount(order.ravel()))[::-1][:TOP].sum() / order.size)


def agreement(one: Floats, other: Floats) -> float:
    """The mean over queries of the correlation of ranks."""
    return float(np.mean([spearman(a, b) for a, b in zip(one.T, other.T, strict=True)]))


def kept(one: Floats, other: Floats) -> float:
    """The share of each query's TOP images that are there in both, the mean over queries."""
    tops = [np.argsort(-table, axis=0)[:TOP] for table in (one, other)]
    pairs = zip(tops[0].T, tops[1].T, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / TOP for a, b in pairs]))


def influence(
    model: nn.Module,
    images: list[Examples],
    queries: list[Examples],
    *,
    unit: bool,
    factors: tuple[tuple[int, float], ...] = (),
) -> Floats:
    """Scores [n, q]."""
    task = Denoising(factors)
    weighed = [task.examples(draw.items, size=512) for draw in images]
    return scores_over_draws(Gradients(model, task), weighed, queries, unit=unit)


def show_lengths(model: nn.Module, images: list[Examples], steps: Sequence[int]) -> None:
    """Mean lengths of gradients by timestep."""
    engine = Gradients(model, Denoising())
    print("Mean length of an image's gradient by timestep (0 is the least noise):")
    shown = [
        f"{step}: {gradient_lengths(engine, draw).mean():.0f}"
        for step, draw in zip(steps, images, strict=True)
    ]
    print("  " + "   ".join(shown) + "\n")


def main(images: int = 1200, queries: int = 40, rounds: int = 150, grid: int = 10) -> None:
    """Train, score in all ways, compare."""
    torch.set_num_threads(1)
    data = torch.from_numpy(load_digits().data / 8 - 1).float()
    data = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(0))]
    seen, asked = data[:images], data[images : images + queries]
    model = train(seen, 128, rounds)
    steps = [int(step) for step in np.linspace(0, TIMESTEPS - 1, grid)]
    together = draws(seen, steps, 1, shared=True), draws(asked, steps, 1, shared=True)
    again = draws(seen, steps, 2, shared=True), draws(asked, steps, 2, shared=True)
    own = draws(seen, steps, 3, shared=False), draws(asked, steps, 1, shared=True)
    other = draws(seen, steps, 4, shared=False), draws(asked, steps, 2, shared=True)
    show_lengths(model, together[0], steps)
    print(f"{'':<34}{'TracIn':>8}{'ReTrac':>8}")
    both = {}
    for title, first, second in (("shared", together, again), ("own", own, other)):
        one = [influence(model, *first, unit=unit) for unit in (False, True)]
        two = [influence(model, *second, unit=unit) for unit in (False, True)]
        both[title] = one
        shares = [concentration(table) for table in one]
        print(f"{f'places of {TOP} images, {title} draws':<34}{shares[0]:>8.0%}{shares[1]:>8.0%}")
        alike = [agreement(a, b) for a, b in zip(one, two, strict=True)]
        print(f"{f'agreement when drawn again, {title}':<34}{alike[0]:>8.2f}{alike[1]:>8.2f}")
    chance = concentration(np.random.default_rng(0).random((images, queries)).astype(np.float32))
    print(f"{f'places of {TOP} images by chance':<34}{chance:>8.0%}{chance:>8.0%}")
    factors = ((steps[grid // 3], 10.0),)
    changed = [influence(model, *together, unit=u, factors=factors) for u in (False, True)]
    alike = [kept(a, b) for a, b in zip(both["shared"], changed, strict=True)]
    title = f"kept, loss times 10 at timestep {factors[0][0]}"
    print(f"{title:<34}{alike[0]:>8.0%}{alike[1]:>8.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=150)
    given = parser.parse_args()
    main(given.images, rounds=given.rounds)
