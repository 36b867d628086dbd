"""Do the rows that attribution calls most helpful help? They are left out, and models trained anew.

    python benchmarks/removal.py [--epochs 20] [--seeds 50] [--queries 20]

UCI Concrete with the published protocol (kronfluence, examples/uci): an MLP 8-128-128-128-1, SGD
0.03, weight decay 1e-5, batches of 32, nine tenths for training by RandomState(0), everything
standardised. For each method: take the k rows of the highest scores for a query out of the training
set, train again with many seeds, and look at the mean loss of the query. Two tables: one query as
published, with every k; and many queries, because one is an anecdote.

All trainings of one removal run at once as batched products; what is trained is kept in
$DATAWORTH_BENCH_DIR, so that a run goes on where it stopped. Writes benchmarks/results/removal.md.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common import data_folder, scratch, table, write_results
from dataworth.features.gradients import Examples, Gradients, Supervised
from dataworth.features.gradients.metagradient import Descent, Run, metagradients
from dataworth.features.gradients.preconditioners import (
    ConjugateGradients,
    Damping,
    Identity,
    Preconditioner,
    Products,
    dual,
    gram,
    kronecker,
)
from dataworth.features.gradients.projection import Sparse
from dataworth.features.gradients.scoring import gradient_lengths, scores
from dataworth.measures.statistics import paired

Floats = NDArray[np.float64]
SIZES = (8, 128, 128, 128, 1)
RATE, DECAY, BATCH = 0.03, 1e-5, 32
REMOVED = (0, 5, 10, 15, 20, 25, 30)
FEW = (0, 10, 30)
RANDOM_ORDERS = 3
FIRST_MODEL = 1000  # seeds of the models that are asked; those trained again are 0, 1, …
MODELS = 10
ALIKE = (0.01, 0.05)  # losses of queries that start about where the published one does, at 0.026
PUBLISHED = {
    "EK-FAC, published": (0.026, 0.16, 0.28, 0.30, 0.36, 0.365, 0.457),
    "identity, published": (0.026, 0.114, 0.187, 0.145, 0.138, 0.196, 0.153),
    "random, published": (0.026, 0.061, 0.052, 0.047, 0.028, 0.018, 0.032),
}


@dataclass(frozen=True, eq=False)
class Rows:
    """Standardised rows: `x` [n, 8], `y` [n, 1] for training, `qx` [q, 8], `qy` [q] for queries."""

    x: Tensor
    y: Tensor
    qx: Tensor
    qy: Tensor

    @staticmethod
    def read(path: Path) -> Rows:
        """Split and standardised as published."""
        raw = np.loadtxt(path).astype(np.float32)
        shuffled = raw[np.random.RandomState(0).choice(len(raw), len(raw), replace=False)]
        count = int(np.round(len(raw) * 0.9))
        mean, spread = shuffled[:count].mean(0), shuffled[:count].std(0)
        values = torch.from_numpy((shuffled - mean) / spread)
        x, y = values[:, :-1], values[:, -1:]
        return Rows(x[:count], y[:count], x[count:], y[count:, 0])

    def __len__(self) -> int:
        return len(self.x)


def network(seed: int) -> nn.Sequential:
    """The MLP with torch's own start."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for rows, columns in itertools.pairwise(SIZES):
        layers += [nn.Linear(rows, columns), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def order(count: int, seed: int, epochs: int, removed: Sequence[int]) -> NDArray[np.int64]:
    """The rows of each step, [steps, BATCH]: the order of the full set with the removed cut out.

    So trainings with and without some rows share their start and all they can of their order.
    """
    generator = np.random.default_rng(seed)
    kept = np.ones(count, np.bool_)
    kept[list(removed)] = False
    steps = []
    for _ in range(epochs):
        shuffled = generator.permutation(count)
        shuffled = shuffled[kept[shuffled]]
        whole = len(shuffled) // BATCH * BATCH  # a last, smaller batch is dropped, as published
        steps.append(shuffled[:whole].reshape(-1, BATCH))
    return np.concatenate(steps)


def train(rows: Rows, orders: Tensor, seeds: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases by layer, [runs, …], of one run for each seed; `orders` [runs, steps, b].

    Plain SGD on the mean squared error, all runs in the same batched products.
    """
    started = [[layer for layer in network(seed) if isinstance(layer, nn.Linear)] for seed in seeds]
    depth = len(SIZES) - 1
    weights = [torch.stack([one[i].weight.detach() for one in started]) for i in range(depth)]
    biases = [torch.stack([one[i].bias.detach() for one in started])[:, None] for i in range(depth)]
    for number in range(orders.shape[1]):
        chosen = orders[:, number]
        inputs = [rows.x[chosen]]
        for layer in range(depth):
            out = torch.baddbmm(biases[layer], inputs[-1], weights[layer].transpose(1, 2))
            inputs.append(out.relu_() if layer < depth - 1 else out)
        slope = (inputs[-1] - rows.y[chosen]) * (2 / BATCH)
        for layer in reversed(range(depth)):
            by_weight = torch.bmm(slope.transpose(1, 2), inputs[layer])
            by_bias = slope.sum(1, keepdim=True)
            if layer:
                slope = torch.bmm(slope, weights[layer]).mul_(inputs[layer] > 0)
            weights[layer].mul_(1 - RATE * DECAY).sub_(by_weight, alpha=RATE)
            biases[layer].mul_(1 - RATE * DECAY).sub_(by_bias, alpha=RATE)
    return weights, biases


def predictions(parameters: tuple[list[Tensor], list[Tensor]], x: Tensor) -> Tensor:
    """Of each run for each row: [runs, rows]."""
    weights, biases = parameters
    out = x.expand(len(weights[0]), *x.shape)
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        out = torch.baddbmm(bias, out, weight.transpose(1, 2))
        out = out.relu() if layer < len(weights) - 1 else out
    return out[..., 0]


class Retrained:
    """Losses of all queries after training without some rows; kept on disk."""

    def __init__(self, rows: Rows, epochs: int) -> None:
        self.rows = rows
        self.epochs = epochs
        self.folder = scratch(f"removal/{epochs}")
        self.trained = 0

    def losses(self, removed: Sequence[int], seeds: int) -> Floats:
        """[seeds, queries]."""
        name = hashlib.sha256(np.sort(np.asarray(removed, np.int64)).tobytes()).hexdigest()[:24]
        path = self.folder / f"{name}.npy"
        known = np.load(path) if path.exists() else np.empty((0, len(self.rows.qx)), np.float32)
        if len(known) < seeds:
            wanted = range(len(known), seeds)
            orders = [order(len(self.rows), seed, self.epochs, removed) for seed in wanted]
            parameters = train(self.rows, torch.from_numpy(np.stack(orders)), wanted)
            found = predictions(parameters, self.rows.qx).numpy()
            known = np.concatenate([known, found])
            self.trained += len(wanted)
            temporary = path.with_suffix(".part.npy")
            np.save(temporary, known)
            temporary.replace(path)
        errors = known[:seeds].astype(np.float64) - self.rows.qy.numpy()
        return np.asarray(errors**2, np.float64)


@dataclass(frozen=True, eq=False)
class Asked:
    """One trained model, its run, and the examples of both sides."""

    rows: Rows
    seed: int
    epochs: int
    engine: Gradients
    train: Examples
    queries: Examples

    @staticmethod
    def trained(rows: Rows, seed: int, epochs: int, queries: int) -> Asked:
        """Trained on all rows."""
        steps = order(len(rows), seed, epochs, ())
        weights, biases = train(rows, torch.from_numpy(steps[None]), [seed])
        model = network(seed)
        with torch.no_grad():
            for number, layer in enumerate(m for m in model if isinstance(m, nn.Linear)):
                layer.weight.copy_(weights[number][0])
                layer.bias.copy_(biases[number][0, 0])
        task = Supervised("squared")
        train_items = list(zip(rows.x, rows.y, strict=True))
        query_items = list(zip(rows.qx[:queries], rows.qy[:queries, None], strict=True))
        engine = Gradients(model, task)
        return Asked(
            rows,
            seed,
            epochs,
            engine,
            task.examples(train_items, size=128),
            task.examples(query_items, size=128),
        )

    def influence(self, solver: str) -> Floats:
        """Scores [n, q]."""
        if solver == "identity":
            return self._scores(Identity())
        if solver == "gauss_newton":
            return self._scores(dual(self.engine, self.train))
        if solver == "damped":
            steps = self.epochs * (len(self.rows) // BATCH)
            damping = Damping.of_descent(2 * RATE, steps)  # of half the squared error
            return self._scores(dual(self.engine, self.train, damping=damping))
        inner = kronecker(self.engine, self.train, seed=self.seed)
        if solver == "ekfac":
            return self._scores(inner)
        products = Products(self.engine, self.train, keep=True)
        return self._scores(ConjugateGradients(products, inner.damping, inner, 1e-3, 200))

    def _scores(self, preconditioner: Preconditioner) -> Floats:
        found = scores(self.engine, self.train, self.queries, preconditioner)
        return np.asarray(found, np.float64)

    def cosine(self) -> Floats:
        """Inner products by the lengths of the rows' gradients: [n, q]."""
        lengths = gradient_lengths(self.engine, self.train)
        return np.asarray(self.influence("identity") / lengths[:, None], np.float64)

    def trak(self, dimension: int = 512) -> Floats:
        """Projected gradients of the outputs, whitened, times both residuals (Park et al. 2023,
        section 3): [n, q].
        """
        task = Output("squared")
        engine = Gradients(self.engine.model, task)
        projector = Sparse(dimension, seed=self.seed).bind(engine.blocks)
        sides = []
        for examples in (self.train, self.queries):
            projected = torch.empty(len(examples), dimension)
            for places, batch in examples:
                projected[torch.from_numpy(places)] = projector(engine.factors(batch))
            sides.append(projected)
        with torch.no_grad():
            wrong = self.engine.model(self.rows.x) - self.rows.y
            asked = self.engine.model(self.rows.qx)[:, 0] - self.rows.qy
        kernel = sides[0] @ gram([sides[0]], damping=Damping(0.1)).apply(sides[1]).T
        found = kernel * wrong * asked[None, : kernel.shape[1]] / len(self.rows)
        return np.asarray(found.numpy(), np.float64)

    def metagradient(self) -> Floats:
        """By going back through the very training of this model: [n, q]."""
        # Half the squared error at twice the rate, and half the decay, is the same step.
        run = Run(
            network(self.seed),
            self.engine.task,
            self.train.items,
            list(order(len(self.rows), self.seed, self.epochs, ())),
            Descent(2 * RATE, weight_decay=DECAY / 2),
        )
        found = metagradients(run, self.queries.items, branching=32)
        for name, value in self.engine.parameters().items():
            # The same run but for rounding, which hundreds of steps blow up.
            apart = (found.parameters[name] - value).norm() / value.norm()
            assert apart < 0.02, f"the replay is another run: {name} is {apart:.1%} off"
        return found.scores


class Output(Supervised):
    """The output itself in place of a loss."""

    def loss(self, outputs: Tensor, batch: object) -> Tensor:
        """[n]."""
        return outputs[:, 0]


METHODS: Mapping[str, Callable[[Asked], Floats]] = {
    "metagradient": Asked.metagradient,
    "Gauss-Newton, exact": lambda asked: asked.influence("gauss_newton"),
    "Gauss-Newton, damped as the run": lambda asked: asked.influence("damped"),
    "EK-FAC with CG": lambda asked: asked.influence("ekfac_cg"),
    "EK-FAC": lambda asked: asked.influence("ekfac"),
    "TRAK": Asked.trak,
    "gradient cosine": Asked.cosine,
    "identity": lambda asked: asked.influence("identity"),
}


# Those that are also averaged over several models; conjugate gradients come to the exact answer.
AVERAGED = (
    *("metagradient", "Gauss-Newton, exact", "Gauss-Newton, damped as the run"),
    *("EK-FAC", "TRAK"),
)


def attributed(rows: Rows, epochs: int, queries: int) -> tuple[dict[str, Floats], dict[str, float]]:
    """Scores [n, q] by method, of the first model and the mean of all; seconds for one model."""
    folder = scratch(f"removal/{epochs}/scores-{queries}")
    found: dict[str, Floats] = {}
    seconds: dict[str, float] = {}
    for name, method in METHODS.items():
        parts = []
        for seed in range(FIRST_MODEL, FIRST_MODEL + (MODELS if name in AVERAGED else 1)):
            path = folder / f"{name.replace(' ', '_')}-{seed}.npz"
            if not path.exists():
                asked = Asked.trained(rows, seed, epochs, queries)
                start = time.process_time()
                one = method(asked)
                np.savez(path, scores=one, seconds=time.process_time() - start)
            with np.load(path) as kept:
                parts.append(kept["scores"])
                seconds.setdefault(name, float(kept["seconds"]))
        found[name] = parts[0]
        if name in AVERAGED:
            found[f"{name}, {MODELS} models"] = np.mean(parts, 0)
        print(f"{name}: {seconds[name]:.1f} s a model", flush=True)
    distances = torch.cdist(rows.x, rows.qx[:queries]).numpy()
    found["nearest rows"] = -distances.astype(np.float64)
    return found, seconds


def best(column: Floats, count: int) -> list[int]:
    """The rows of the highest scores."""
    return [int(row) for row in np.argsort(-column, kind="stable")[:count]]


def random_curves(retrained: Retrained, removed: Sequence[int], seeds: int) -> Floats:
    """Losses [orders * seeds, k, queries] with random rows left out."""
    out = []
    for number in range(RANDOM_ORDERS):
        shuffled = np.random.default_rng([7, number]).permutation(len(retrained.rows))
        out.append(np.stack([retrained.losses(shuffled[:k].tolist(), seeds) for k in removed], 1))
    return np.concatenate(out)


def area(curves: Floats, removed: Sequence[int]) -> Floats:
    """The mean height of curves along axis 1, by the trapezoid rule."""
    width = np.diff(removed)[None, :, *([None] * (curves.ndim - 2))]
    heights = (curves[:, 1:] + curves[:, :-1]) / 2
    return np.asarray((heights * width).sum(1) / (removed[-1] - removed[0]), np.float64)


def interval(values: Floats) -> str:
    """Mean and the reach of its 95 % t interval."""
    shown = paired(values, np.zeros(len(values)))
    return f"{shown.difference:.3f} ± {shown.high - shown.difference:.3f}"


def one_query(retrained: Retrained, found: Mapping[str, Floats], query: int, seeds: int) -> str:
    """The table of the published protocol."""
    curves = {}
    for name, values in found.items():
        chosen = best(values[:, query], REMOVED[-1])
        losses = [retrained.losses(chosen[:k], seeds)[:, query] for k in REMOVED]
        curves[name] = np.stack(losses, 1)
        print(f"{name}: {curves[name].mean(0).round(3)}", flush=True)
    curves["random"] = random_curves(retrained, REMOVED, seeds)[:, :, query]
    lines: list[list[object]] = [
        [name, *curve.mean(0).tolist(), interval(area(curve, REMOVED))]
        for name, curve in curves.items()
    ]
    for name, published in PUBLISHED.items():
        lines.append([name, *published, f"{area(np.array([published]), REMOVED)[0]:.3f}"])
    return table(["removed", *map(str, REMOVED), "area"], lines)


def many_queries(
    retrained: Retrained,
    found: Mapping[str, Floats],
    seconds: Mapping[str, float],
    queries: int,
    seeds: int,
) -> str:
    """The table over queries: means, intervals over queries, pairs with EK-FAC."""
    curves = {}
    for name, values in found.items():
        every = []
        for query in range(queries):
            chosen = best(values[:, query], FEW[-1])
            losses = [retrained.losses(chosen[:k], seeds)[:, query].mean() for k in FEW]
            every.append(losses)
        curves[name] = np.array(every)
        print(f"{name}: {curves[name].mean(0).round(3)}, {retrained.trained:,} runs", flush=True)
    curves["random"] = random_curves(retrained, FEW, seeds).mean(0)[:, :queries].T
    areas = {name: area(curve, FEW) for name, curve in curves.items()}
    lines: list[list[object]] = []
    for name, curve in curves.items():
        ratio = float(np.median(areas[name] / areas["random"]))
        against = paired(areas[name], areas["EK-FAC"], lower_is_better=False)
        line: list[object] = [name, *curve.mean(0).tolist(), interval(areas[name]), ratio]
        line.append("" if name == "EK-FAC" else f"{against.difference:+.3f}, {against.verdict}")
        lines.append([*line, seconds.get(name, float("nan"))])
    header = ["removed", *map(str, FEW), "area", "median ratio to random"]
    text = table([*header, "area against EK-FAC, paired", "CPU seconds"], lines)
    first = curves["random"][:, 0]
    alike = (first > ALIKE[0]) & (first < ALIKE[1])
    text += f"\nThe same of the {alike.sum()} queries whose loss is {ALIKE[0]} to {ALIKE[1]} with "
    text += "nothing removed:\n\n"
    lines = [[name, *curve[alike].mean(0).tolist()] for name, curve in curves.items()]
    return text + table(["removed", *map(str, FEW)], lines)


def main() -> None:
    """Attribute, remove, train again, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=50, help="trainings for the one query")
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--query", type=int, default=0, help="the row of the test set to show")
    parser.add_argument("--many-seeds", type=int, default=10, help="trainings for each of many")
    parser.add_argument("--name", default="removal", help="of the file of results")
    parser.add_argument("--no-results", action="store_true", help="print the tables only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows.read(data_folder() / "tabular" / "concrete.data")
    retrained = Retrained(rows, given.epochs)
    found, seconds = attributed(rows, given.epochs, given.queries)
    body = f"### One query: row {given.query} of the test set, {given.seeds} seeds\n\n"
    body += one_query(retrained, found, given.query, given.seeds)
    body += f"\n### {given.queries} queries, {given.many_seeds} seeds each\n\n"
    body += many_queries(retrained, found, seconds, given.queries, given.many_seeds)
    print(body)
    if not given.no_results:
        settings = {
            "command": "python benchmarks/removal.py " + " ".join(sys.argv[1:]),
            "epochs": given.epochs,
            "threads": torch.get_num_threads(),
            "loss": "squared error of the standardised target",
        }
        title = "Removal curves on UCI Concrete"
        write_results(given.name, title, settings=settings, body=body)


if __name__ == "__main__":
    main()
