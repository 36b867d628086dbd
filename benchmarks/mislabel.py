"""Which scores find wrong labels? A tenth of them is flipped, and rows are ranked by suspicion.

    python benchmarks/mislabel.py [--seeds 5] [--rows 3000]

AG News (four classes) and SST-2 (two), two representations of a text: TF-IDF of its words, and
MiniLM's sentence embedding. On each a small network is trained on the labels as they are given, and
every score is computed from that network, its checkpoints or some more trainings of its kind. A
draw is a sample of the rows, of the flips and of the start; intervals are over draws. Beside the
scores that need gradients stand plain ones: loss, held-out loss, the labels of the nearest rows.

What is done is kept in $DATAWORTH_BENCH_DIR. Writes benchmarks/results/mislabel.md.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from common import data_folder, scratch, table, write_results
from dataworth.features.embeddings import SentenceModel
from dataworth.features.gradients import Batch, Examples, Gradients, Supervised
from dataworth.features.gradients.metagradient import Descent, Run, metagradients
from dataworth.features.gradients.preconditioners import (
    Damping,
    Identity,
    Preconditioner,
    dense,
    diagonal,
    gram,
    kronecker,
)
from dataworth.features.gradients.projection import Sparse
from dataworth.features.gradients.scoring import gradient_lengths, scores, self_scores
from dataworth.measures.statistics import paired

Floats = NDArray[np.float64]
SETS = {"AG News": ("ag_news", "test"), "SST-2": ("sst2", "dev")}
WAYS = ("bag of words", "MiniLM")
FLIPPED, CLEAN = 0.1, 500
WORDS, LENGTH = 1024, 4.0
HIDDEN = {"bag of words": 32, "MiniLM": 16}
RATES = {"bag of words": 0.05, "MiniLM": 0.1}
MOMENTUM, BATCH, EPOCHS = 0.9, 32, 5
TRACED = (1, 2, 5, 15)  # epochs at which scores are compared
EARLY, MODELS, FOLDS, NEAREST, DIMENSION = 1, 3, 5, 10, 512
INSPECTED = (0.1, 0.2)


@dataclass(frozen=True, eq=False)
class Problem:
    """`x` [n, d], labels as given `y` [n], `wrong` [n] of them flipped; clean rows `vx`, `vy`."""

    x: Tensor
    y: Tensor
    wrong: NDArray[np.bool_]
    vx: Tensor
    vy: Tensor
    classes: int
    hidden: int
    rate: float
    seed: int

    def network(self, seed: int) -> nn.Sequential:
        """A hidden layer, smooth."""
        torch.manual_seed(seed)
        width = self.x.shape[1]
        return nn.Sequential(
            nn.Linear(width, self.hidden), nn.GELU(), nn.Linear(self.hidden, self.classes)
        )

    def order(self, rows: NDArray[np.int64], seed: int, epochs: int) -> list[NDArray[np.int64]]:
        """The rows of each step."""
        generator = np.random.default_rng([seed, 1])
        out = []
        for _ in range(epochs):
            shuffled = generator.permutation(rows)
            whole = len(rows) // BATCH * BATCH
            out += list(shuffled[:whole].reshape(-1, BATCH))
        return out

    def train(
        self, seed: int, epochs: int, rows: NDArray[np.int64] | None = None
    ) -> list[nn.Sequential]:
        """The network after each epoch, trained by descent with momentum."""
        rows = np.arange(len(self.x)) if rows is None else rows
        model = self.network(seed)
        optimizer = torch.optim.SGD(model.parameters(), self.rate, MOMENTUM)
        steps = self.order(rows, seed, epochs)
        kept = []
        for number, chosen in enumerate(steps, 1):
            optimizer.zero_grad()
            places = torch.from_numpy(chosen)
            nn.functional.cross_entropy(model(self.x[places]), self.y[places]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if number % (len(steps) // epochs) == 0:
                kept.append(self.network(seed))
                kept[-1].load_state_dict(model.state_dict())
        return kept

    def examples(self) -> Examples:
        """The rows."""
        return Supervised().examples(list(zip(self.x, self.y, strict=True)), size=256)

    def check(self) -> Examples:
        """All clean rows as one query, whose loss is their sum."""
        return Supervised().examples([(self.vx, self.vy)])


class Margin(Supervised):
    """Minus log(p / (1 - p)) of the label in place of a loss (TRAK)."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """[n]."""
        own = batch.targets[:, None]
        others = outputs.scatter(1, own, -torch.inf).logsumexp(1)
        return others - outputs.gather(1, own)[:, 0]


@dataclass
class Trained:
    """The network after each epoch, and what is made of it once."""

    problem: Problem
    checkpoints: list[nn.Sequential]
    _curvatures: dict[str, Preconditioner] = field(default_factory=dict)

    def engine(self, epoch: int = -1) -> Gradients:
        """Of a checkpoint."""
        return Gradients(self.checkpoints[epoch], Supervised())

    def curvature(self, kind: str, epoch: int = -1) -> Preconditioner:
        """Fitted on all rows."""
        key = f"{kind} {epoch}"
        if key not in self._curvatures:
            engine, train = self.engine(epoch), self.problem.examples()
            found: Preconditioner = Identity()
            if kind == "diagonal":
                found = diagonal(engine, train)
            elif kind in ("kfac", "ekfac"):
                found = kronecker(engine, train, kind=kind)  # type: ignore[arg-type]
            elif kind == "dense":
                found = dense(engine, train)
            self._curvatures[key] = found
        return self._curvatures[key]

    def itself(self, kind: str, epoch: int = -1) -> Floats:
        """Self-influence [n]."""
        found = self_scores(
            self.engine(epoch), self.problem.examples(), self.curvature(kind, epoch)
        )
        return np.asarray(found, np.float64)

    def harm(self, kind: str, epoch: int = -1) -> Floats:
        """Minus the influence on the clean rows [n]."""
        engine, problem = self.engine(epoch), self.problem
        found = scores(engine, problem.examples(), problem.check(), self.curvature(kind, epoch))
        return -found[:, 0].astype(np.float64)

    def metagradient_harm(self) -> Floats:
        """Minus the derivative of the clean rows' loss through the training [n]."""
        problem = self.problem
        run = Run(
            problem.network(problem.seed),
            Supervised(),
            problem.examples().items,
            problem.order(np.arange(len(problem.x)), problem.seed, EPOCHS),
            Descent(problem.rate, MOMENTUM),
        )
        return -metagradients(run, problem.check().items, branching=32).scores[:, 0]

    def tracin(self) -> Floats:
        """Squared gradients over the checkpoints [n]."""
        lengths = [gradient_lengths(self.engine(e), self.problem.examples()) for e in range(EPOCHS)]
        return np.asarray(
            self.problem.rate * (np.stack(lengths).astype(np.float64) ** 2).sum(0), np.float64
        )

    def trak(self) -> Floats:
        """Self-influence with projected gradients of the margin [n]."""
        engine = Gradients(self.checkpoints[-1], Margin())
        projector = Sparse(DIMENSION, seed=self.problem.seed).bind(engine.blocks)
        rows = torch.empty(len(self.problem.x), DIMENSION)
        for places, batch in self.problem.examples():
            rows[torch.from_numpy(places)] = projector(engine.factors(batch))
        leverage = (gram([rows], damping=Damping(0.1)).apply(rows) * rows).sum(1)
        found = leverage * (1 - own(self.checkpoints[-1], self.problem)) ** 2
        return np.asarray(found.numpy(), np.float64)


def probabilities(model: nn.Module, x: Tensor) -> Tensor:
    """[n, classes]."""
    with torch.no_grad():
        found: Tensor = model(x).softmax(1)
    return found


def own(model: nn.Module, problem: Problem) -> Tensor:
    """The probability of the label as given [n]."""
    return probabilities(model, problem.x).gather(1, problem.y[:, None])[:, 0]


def losses(model: nn.Module, problem: Problem) -> Floats:
    """Nats [n]."""
    with torch.no_grad():
        found = nn.functional.cross_entropy(model(problem.x), problem.y, reduction="none")
    return np.asarray(found.numpy(), np.float64)


def errors(model: nn.Module, problem: Problem) -> Floats:
    """The length of prediction minus label [n] (EL2N)."""
    one_hot = nn.functional.one_hot(problem.y, problem.classes)
    return np.asarray((probabilities(model, problem.x) - one_hot).norm(dim=1), np.float64)


def early(problem: Problem, measure: Callable[[nn.Sequential], Floats]) -> Floats:
    """The mean over models after the first epoch."""
    starts = range(problem.seed + 1, problem.seed + 1 + MODELS)
    found = [measure(problem.train(seed, EARLY)[-1]) for seed in starts]
    return np.asarray(np.mean(found, 0), np.float64)


def held_out(problem: Problem) -> Floats:
    """The loss of each row under a network that did not see it [n]."""
    parts = np.array_split(np.random.default_rng(problem.seed).permutation(len(problem.x)), FOLDS)
    out = np.empty(len(problem.x))
    for number, part in enumerate(parts):
        rest = np.concatenate(parts[:number] + parts[number + 1 :])
        model = problem.train(problem.seed, EPOCHS, rest)[-1]
        out[part] = losses(model, problem)[part]
    return out


def neighbours(problem: Problem) -> Floats:
    """The share of the nearest rows that have another label [n]."""
    unit = nn.functional.normalize(problem.x, dim=1)
    near = unit @ unit.T
    near.fill_diagonal_(-torch.inf)
    labels = problem.y[near.topk(NEAREST, 1).indices]
    return np.asarray((labels != problem.y[:, None]).double().mean(1).numpy(), np.float64)


def lengths_of(model: nn.Sequential, problem: Problem) -> Floats:
    """Of the gradients [n]."""
    found = gradient_lengths(Gradients(model, Supervised()), problem.examples())
    return np.asarray(found, np.float64)


METHODS: Mapping[str, Callable[[Trained], Floats]] = {
    "self-influence, dense": lambda t: t.itself("dense"),
    "self-influence, EK-FAC": lambda t: t.itself("ekfac"),
    "self-influence, K-FAC": lambda t: t.itself("kfac"),
    "self-influence, diagonal": lambda t: t.itself("diagonal"),
    "self-influence, identity": lambda t: t.itself("identity"),
    "self-influence, TRAK": Trained.trak,
    "self-influence, TracIn": Trained.tracin,
    "EL2N, early": lambda t: early(t.problem, lambda model: errors(model, t.problem)),
    "GraNd, early": lambda t: early(t.problem, lambda model: lengths_of(model, t.problem)),
    "harm to clean rows, dense": lambda t: t.harm("dense"),
    "harm to clean rows, EK-FAC": lambda t: t.harm("ekfac"),
    "harm to clean rows, identity": lambda t: t.harm("identity"),
    "harm to clean rows, metagradient": Trained.metagradient_harm,
    "loss, end": lambda t: losses(t.checkpoints[-1], t.problem),
    "loss, mean of epochs": lambda t: np.mean([losses(c, t.problem) for c in t.checkpoints], 0),
    "loss, held out": lambda t: held_out(t.problem),
    "labels of nearest rows": lambda t: neighbours(t.problem),
    "random": lambda t: np.random.default_rng(t.problem.seed).random(len(t.problem.x)),
}
TRACES: Mapping[str, Callable[[Trained, int], Floats]] = {
    "loss": lambda t, e: losses(t.checkpoints[e], t.problem),
    "EL2N": lambda t, e: errors(t.checkpoints[e], t.problem),
    "self-influence, identity": lambda t, e: t.itself("identity", e),
    "self-influence, EK-FAC": lambda t, e: t.itself("ekfac", e),
    "harm to clean rows, identity": lambda t, e: t.harm("identity", e),
    "harm to clean rows, EK-FAC": lambda t, e: t.harm("ekfac", e),
}


def read(name: str, part: str) -> tuple[list[str], list[str]]:
    """Texts and labels of one file."""
    folder = data_folder() / "labelled"
    found = next(folder.glob(f"{name}.{part}.jsonl*"))
    raw = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
    rows = [json.loads(line) for line in raw.splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def represent(
    way: str, name: str, train: Sequence[str], clean: Sequence[str]
) -> tuple[Tensor, ...]:
    """Vectors of training and clean texts."""
    if way == "bag of words":
        words = TfidfVectorizer(max_features=WORDS, stop_words="english", sublinear_tf=True)
        words.fit(train)
        parts = [words.transform(texts).toarray() for texts in (train, clean)]
        return tuple(torch.from_numpy(LENGTH * part.astype(np.float32)) for part in parts)
    path = scratch("mislabel") / f"{name}.npz"
    if not path.exists():
        model = SentenceModel()
        np.savez(path, train=model.embed(list(train)), clean=model.embed(list(clean)))
    with np.load(path) as kept:
        return torch.from_numpy(kept["train"]), torch.from_numpy(kept["clean"])


def draw(name: str, part: str, way: str, rows: int, seed: int) -> Problem:
    """A sample of rows with flipped labels, and one of clean rows."""
    texts, labels = read(name, "train")
    clean, clean_labels = read(name, part)
    x, vx = represent(way, name, texts, clean)
    classes = sorted(set(labels))
    generator = np.random.default_rng([seed, len(texts)])
    chosen = np.sort(generator.permutation(len(texts))[:rows])
    held = np.sort(generator.permutation(len(clean))[:CLEAN])
    y = np.array([classes.index(labels[row]) for row in chosen])
    wrong = np.zeros(len(y), np.bool_)
    wrong[generator.permutation(len(y))[: round(FLIPPED * len(y))]] = True
    y[wrong] = (y[wrong] + generator.integers(1, len(classes), wrong.sum())) % len(classes)
    vy = torch.tensor([classes.index(clean_labels[row]) for row in held])
    kept, held_rows = torch.from_numpy(chosen), torch.from_numpy(held)
    return Problem(
        x[kept],
        torch.from_numpy(y),
        wrong,
        vx[held_rows],
        vy,
        len(classes),
        HIDDEN[way],
        RATES[way],
        seed,
    )


def quality(suspicion: Floats, problem: Problem) -> list[float]:
    """AUC, and the share of the flipped that is found by inspecting parts; ties by lot."""
    lot = np.random.default_rng(problem.seed).random(len(suspicion))
    ranked = problem.wrong[np.lexsort((lot, -suspicion))]
    shares = [ranked[: round(part * len(ranked))].sum() / ranked.sum() for part in INSPECTED]
    return [float(roc_auc_score(problem.wrong, suspicion)), *map(float, shares)]


def measured(
    title: str, way: str, rows: int, seed: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], float]:
    """(quality and seconds by method, AUC by traced score and epoch, accuracy) of one draw."""
    name, part = SETS[title]
    settings = [WORDS, LENGTH, HIDDEN, RATES, MOMENTUM, BATCH, EPOCHS, TRACED, EARLY, MODELS, FOLDS]
    settings += [NEAREST, DIMENSION, FLIPPED, CLEAN, list(METHODS), list(TRACES)]
    known = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
    path = scratch("mislabel") / f"{name}-{way.replace(' ', '_')}-{rows}-{seed}-{known}.json"
    if path.exists():
        found, traced, accuracy = json.loads(path.read_text("utf-8"))
        return found, traced, accuracy
    problem = draw(name, part, way, rows, seed * 100)
    trained = Trained(problem, problem.train(problem.seed, EPOCHS))
    found = {}
    for method, suspect in METHODS.items():
        if "dense" in method and way != "MiniLM":
            continue  # too many parameters
        start = time.process_time()
        suspicion = suspect(trained)
        found[method] = [*quality(suspicion, problem), time.process_time() - start]
    long = Trained(problem, problem.train(problem.seed, TRACED[-1]))
    traced = {
        score: [quality(suspect(long, epoch - 1), problem)[0] for epoch in TRACED]
        for score, suspect in TRACES.items()
    }
    right = probabilities(trained.checkpoints[-1], problem.vx).argmax(1) == problem.vy
    accuracy = float(right.double().mean())
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps([found, traced, accuracy]), "utf-8")
    temporary.replace(path)
    print(f"{path.stem}: accuracy {accuracy:.3f}", flush=True)
    return found, traced, accuracy


def interval(values: Sequence[float]) -> str:
    """Mean and the reach of its 95 % t interval."""
    shown = paired(values, np.zeros(len(values)))
    return f"{shown.difference:.3f} ± {shown.high - shown.difference:.3f}"


def report(title: str, way: str, rows: int, seeds: int) -> str:
    """The tables of one set in one representation."""
    draws = [measured(title, way, rows, seed) for seed in range(seeds)]
    accuracy = interval([one[2] for one in draws])
    text = f"### {title}, {way}\n\nAccuracy on the clean rows after {EPOCHS} epochs: {accuracy}\n\n"
    lines: list[list[object]] = []
    for method in draws[0][0]:
        columns = list(zip(*(one[0][method] for one in draws), strict=True))
        shown = [interval(column) for column in columns[:3]]
        lines.append([method, *shown, float(np.median(columns[3]))])
    order = sorted(lines, key=lambda line: str(line[1]), reverse=True)
    header = ["score", "AUC", *(f"found in {part:.0%}" for part in INSPECTED), "CPU seconds"]
    text += table(header, order) + "\nAUC by the epoch at which a score is computed:\n\n"
    traces = [
        [score, *(interval(column) for column in zip(*(d[1][score] for d in draws), strict=True))]
        for score in draws[0][1]
    ]
    return text + table(["score", *(f"epoch {epoch}" for epoch in TRACED)], traces)


def main() -> None:
    """Flip, train, suspect, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="draws")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--no-results", action="store_true", help="print the tables only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    body = "\n".join(
        report(title, way, given.rows, given.seeds) for title in SETS for way in given.ways
    )
    print(body)
    if not given.no_results:
        settings = {
            "command": "python benchmarks/mislabel.py " + " ".join(sys.argv[1:]),
            "draws": given.seeds,
            "rows": f"{given.rows}, {FLIPPED:.0%} flipped, {CLEAN} clean rows beside them",
            "network": f"{WORDS} (384 for MiniLM) - {HIDDEN} - classes, GELU",
            "training": f"descent {RATES}, momentum {MOMENTUM}, batches of {BATCH}",
            "threads": torch.get_num_threads(),
        }
        write_results("mislabel", "Finding wrong labels", settings=settings, body=body)


if __name__ == "__main__":
    main()
