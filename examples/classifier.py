"""Training images behind a classifier's answers: scikit-learn's digits, through the task interface.

    python examples/classifier.py

A logistic regression is fitted by scikit-learn and its weights are put into a `torch.nn.Linear`;
any trained module would do. Its curvature is formed whole (`dense`) with the very penalty that it
was fitted with as damping, so scores estimate what fitting again would do. Shown are

1. the most helpful and the most harmful training images of one query,
2. whether the estimates are true: groups of images are left out and the model is fitted again,
3. whether wrong labels are found: a tenth is flipped, and images are ranked by self-influence.

Needs the extras `lm` and `classify`; takes some 20 seconds on one core.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from dataworth.features.gradients import Examples, Gradients, Supervised
from dataworth.features.gradients.preconditioners import Damping, dense
from dataworth.features.gradients.scoring import scores, self_scores

Floats = NDArray[np.float64]
STRENGTH = 0.1  # scikit-learn's C: the smaller, the stronger the penalty
SHADES = " .:-=+*#%@"


@dataclass(frozen=True, eq=False)
class Images:
    """`x` float64 [n, 64], brightness 0 to 1; `y` int64 [n], the digit."""

    x: Floats
    y: NDArray[np.int64]

    def take(self, rows: NDArray[np.integer]) -> Images:
        """Some of them."""
        return Images(self.x[rows], self.y[rows])

    def examples(self) -> Examples:
        """As items of the task."""
        return Supervised().examples(list(zip(self.x, self.y, strict=True)), size=256)


def fit(images: Images) -> nn.Linear:
    """The model that scikit-learn finds, as a module in float64."""
    found = LogisticRegression(C=STRENGTH, tol=1e-8, max_iter=2000).fit(images.x, images.y)
    layer = nn.Linear(images.x.shape[1], len(found.classes_)).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(found.coef_))
        layer.bias.copy_(torch.from_numpy(found.intercept_))
    return layer


def influence(model: nn.Module, train: Images, queries: Images) -> Floats:
    """Scores [n, q]: nats that a query's loss falls by one more copy of an image."""
    engine = Gradients(model, Supervised())
    curvature = dense(engine, train.examples(), damping=penalty(len(train.y)))
    return scores(engine, train.examples(), queries.examples(), curvature).astype(np.float64)


def penalty(rows: int) -> Damping:
    """What scikit-learn adds to the mean loss's curvature, 1 / (C n), though not for biases."""
    return Damping(fixed=1 / (STRENGTH * rows))


def losses(model: nn.Module, images: Images) -> Floats:
    """Nats [n]."""
    with torch.no_grad():
        logits = model(torch.from_numpy(images.x))
    found = nn.functional.cross_entropy(logits, torch.from_numpy(images.y), reduction="none")
    return found.numpy()


def side_by_side(images: Images, captions: list[str]) -> str:
    """Images as characters, one beside the other."""
    lines = ["  ".join(caption.ljust(16) for caption in captions)]
    shades = (images.x * (len(SHADES) - 1)).round().astype(int).reshape(-1, 8, 8)
    for row in range(8):
        drawn = ["".join(SHADES[value] * 2 for value in image[row]) for image in shades]
        lines.append("  ".join(drawn))
    return "\n".join(line.rstrip() for line in lines)


def show_extremes(train: Images, queries: Images, table: Floats, query: int, many: int) -> None:
    """The images that helped and harmed a query most."""
    order = np.argsort(-table[:, query])
    print(f"Query, a {queries.y[query]}:")
    print(side_by_side(queries.take(np.array([query])), [""]))
    for title, rows in (("most helpful", order[:many]), ("most harmful", order[::-1][:many])):
        print(f"\nThe {title} of {len(train.y):,} training images (label, score in nats):")
        captions = [f"{train.y[row]}  {table[row, query]:+.4f}" for row in rows]
        print(side_by_side(train.take(rows), captions))


def left_out(
    train: Images, queries: Images, table: Floats, query: int, size: int, random: int
) -> tuple[Floats, Floats]:
    """(estimated, true) change of the query's loss for groups of images left out.

    The most helpful, the most harmful, and `random` groups drawn by lot.
    """
    order = np.argsort(-table[:, query])
    generator = np.random.default_rng(0)
    groups = [order[:size], order[-size:]]
    groups += [generator.permutation(len(order))[:size] for _ in range(random)]
    asked = queries.take(np.array([query]))
    before = losses(fit(train), asked)[0]
    true = []
    for group in groups:
        rest = np.setdiff1d(np.arange(len(order)), group)
        true.append(losses(fit(train.take(rest)), asked)[0] - before)
    return np.array([table[group, query].sum() for group in groups]), np.array(true)


def mislabelled(train: Images, share: float) -> dict[str, tuple[float, float]]:
    """(AUC, part found by inspecting twice the share) of flipped labels, by score."""
    generator = np.random.default_rng(1)
    wrong = np.zeros(len(train.y), np.bool_)
    wrong[generator.permutation(len(train.y))[: round(share * len(train.y))]] = True
    labels = train.y.copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, 10, wrong.sum())) % 10
    given = Images(train.x, labels)
    model = fit(given)
    engine = Gradients(model, Supervised())
    curvature = dense(engine, given.examples(), damping=penalty(len(labels)))
    found: dict[str, Floats] = {
        "self-influence": self_scores(engine, given.examples(), curvature).astype(np.float64),
        "loss": losses(model, given),
        "random": generator.random(len(labels)),
    }
    inspected = round(2 * share * len(labels))
    return {
        name: (
            float(roc_auc_score(wrong, values)),
            float(wrong[np.argsort(-values)[:inspected]].mean() * inspected / wrong.sum()),
        )
        for name, values in found.items()
    }


def main(train_images: int = 1200, groups: int = 40, size: int = 20) -> None:
    """Fit, attribute, leave out, flip; print what comes of it."""
    torch.set_num_threads(1)
    digits = load_digits()
    images = Images(digits.data / 16, digits.target.astype(np.int64))
    images = images.take(np.random.default_rng(0).permutation(len(images.y)))
    train = images.take(np.arange(train_images))
    queries = images.take(np.arange(train_images, train_images + 200))
    model = fit(train)
    table = influence(model, train, queries)
    query = int(np.argmax(losses(model, queries)))  # the one that the model gets most wrong
    show_extremes(train, queries, table, query, 4)
    estimated, true = left_out(train, queries, table, query, size, groups)
    print(f"\nThe loss of the query after {size} images are left out, and the model fitted again:")
    for name, place in (("most helpful", 0), ("most harmful", 1)):
        print(f"  the {name:<14}{true[place]:+.3f} nats, estimated {estimated[place]:+.3f}")
    alike = np.corrcoef(estimated[2:], true[2:])[0, 1]
    print(f"  {groups} groups by lot: correlation of estimate and truth {alike:.3f}")
    print("\nA tenth of the labels flipped; AUC, and the part found by inspecting a fifth:")
    for name, (auc, part) in mislabelled(train, 0.1).items():
        print(f"  {name:<16}{auc:.3f}  {part:.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train-images", type=int, default=1200)
    parser.add_argument("--groups", type=int, default=40)
    given = parser.parse_args()
    main(given.train_images, given.groups)
