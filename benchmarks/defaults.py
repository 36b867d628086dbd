"""Evidence for the defaults of DSIR: smoothing, temperature, sample, buckets, n-grams and more.

    python benchmarks/defaults.py                      all experiments, to results/defaults.md
    python benchmarks/defaults.py --only temperature --seeds 1

Needs DATAWORTH_TEST_DATA. Numbers are KL reductions in nats on each target's validation file
(judging.py), on the pool as it is, mean over six targets and the seeds ± standard deviation of the
mean over targets between seeds. The seed is the run's, and draws the small targets. Everything not
named is at its default: half of the target to learn from, the automatic temperature.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

import dataworth
import pools
from common import cores, table, write_results
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.features.ngrams import HashedNgrams
from dataworth.flow.choosing import sample_rows
from dataworth.flow.scores import Scores
from dataworth.flow.selection import Selection
from dataworth.flow.targets import halves
from dataworth.measures.temperature import GRID, Found, find_temperature
from judging import RIGHT, Distance, Yardstick, read, target_file, target_files

AUTO = "gumbel_top_k(temperature=auto)"
SIZES = (20, 100, None)
SMOOTHING = (0, 0.01, 0.1, 1)
STEP = "dsir"
_STREAM = 0x736D616C6C
Targets = Mapping[str, Any]


def score(steps: Sequence[str], targets: Targets, seed: int, **options: Any) -> Scores:
    """A run on the plain pool."""
    return dataworth.score(
        str(pools.build("plain")),
        targets,
        steps=list(steps),
        id_field="id",
        group_by=("domain", "source"),
        seed=seed,
        engine=cores(),
        **options,
    )


@cache
def ruler() -> Yardstick:
    """The pool, read once."""
    return Yardstick(score([STEP], target_files(), 0))


@cache
def other_distance() -> Distance:
    """A distance over other buckets than those that the default counts in: 1- to 3-grams."""
    feature = HashedNgrams(ngrams=3, buckets=100_000, hash="sha256")
    return Distance(ruler().documents, feature)


def small(size: int | None, seed: int) -> dict[str, list[str] | str]:
    """Each target cut to `size` random documents, or its file."""
    if size is None:
        return dict(target_files())
    found: dict[str, list[str] | str] = {}
    for name in RIGHT:
        documents = read(target_file(name))
        order = np.argsort(hash_uid(seed, documents.uid, _STREAM))
        found[name] = documents.take(order[:size]).texts()
    return found


def choose(
    scores: Scores, target: str, *, place: int = 0, mechanism: str = AUTO, seed: int
) -> Selection:
    """The choice for one target by the step at a place."""
    label = scores.settings.labels[place]
    budget = ruler().budget[target]
    return scores.choose(budget, utility=f"{label}:{target}", mechanism=mechanism, seed=seed)


def reduction(selection: Selection, target: str, distance: Distance | None = None) -> float:
    """KL reduction of a selection on the validation file."""
    yard = ruler()
    return (distance or yard.distance).reduction(target, yard.documents.take(selection.rows))


def in_threads(function: Callable[[str], Any]) -> list[Any]:
    """A function of each target, in their order."""
    with ThreadPoolExecutor(cores()) as threads:
        return list(threads.map(function, RIGHT))


def of_steps(
    scores: Scores, count: int, seed: int, distance: Distance | None = None
) -> list[list[float]]:
    """KL reductions [steps][targets]."""
    return [
        in_threads(
            lambda t, place=place: reduction(  # type: ignore[misc]
                choose(scores, t, place=place, seed=seed), t, distance
            )
        )
        for place in range(count)
    ]


def mean_and_spread(runs: Iterable[Sequence[float]]) -> str:
    """Runs [seeds][targets] as mean ± standard deviation between seeds."""
    means = [statistics.fmean(run) for run in runs]
    sd = statistics.stdev(means) if len(means) > 1 else 0.0
    return f"{statistics.fmean(means):.3f} ± {sd:.3f}"


def per_target(runs: Sequence[Sequence[float]]) -> list[str]:
    """The means of runs [seeds][targets] by target."""
    return [f"{statistics.fmean(values):.3f}" for values in zip(*runs, strict=True)]


def smoothing(seeds: Sequence[int]) -> str:
    """Smoothing by size of the target, and by how much of it is held out."""
    rows = []
    for size in SIZES:
        for holdout in (0.5, 0.0):
            runs: list[list[list[float]]] = []
            for seed in seeds:
                steps = [f"dsir(smoothing={value})" for value in SMOOTHING]
                scores = score(steps, small(size, seed), seed, holdout=holdout)
                runs.append(of_steps(scores, len(SMOOTHING), seed))
            by_step = [mean_and_spread(run[i] for run in runs) for i in range(len(SMOOTHING))]
            rows.append([size or "all", f"{holdout:.0%}", *by_step])
    names = [f"λ = {value}" for value in SMOOTHING]
    return table(["documents of the target", "held out", *names], rows)


def temperature(seeds: Sequence[int]) -> str:
    """The automatic temperature against the best of its grid and against cross-validation."""
    rows = []
    for size in (20, None):
        found: list[list[tuple[list[float], int, int]]] = []
        for seed in seeds:
            scores = score([STEP], small(size, seed), seed)
            quarters = cross_scores(scores, seed)
            found.append(in_threads(lambda t: tried(scores, quarters, t, seed)))  # noqa: B023
        for number, name in enumerate(RIGHT):
            rows.append([size or "all", name, *summary([run[number] for run in found])])
        everything = [item for run in found for item in run]
        rows.append([size or "all", "**all**", *summary(everything)])
    header = ["documents of the target", "target", "automatic", "cross-validated", "best of grid"]
    header += ["top-k", "automatic τ", "cross-validated τ", "best τ"]
    unit = "τ is in units of half the span of the middle 68 % of the utilities; its range is shown."
    return table(header, rows) + "\n" + unit


def summary(found: Sequence[tuple[list[float], int, int]]) -> list[str]:
    """Mean reduction by each rule, and the range of temperatures that each one takes."""
    auto = [values[i] for values, i, _ in found]
    crossed = [values[i] for values, _, i in found]
    best = [max(values) for values, _, _ in found]
    top = [values[0] for values, _, _ in found]
    taken = [
        [GRID[i] for _, i, _ in found],
        [GRID[i] for _, _, i in found],
        [GRID[int(np.argmax(values))] for values, _, _ in found],
    ]
    means = [f"{statistics.fmean(values):.3f}" for values in (auto, crossed, best, top)]
    return [*means, *(f"{min(each):g} to {max(each):g}" for each in taken)]


def cross_scores(scores: Scores, seed: int) -> Scores:
    """A run that learns from each half of what the first one learns from: targets NAME-0, -1."""
    targets: dict[str, list[str]] = {}
    for name, documents in scores.scored.targets.fit.items():
        for number, part in enumerate(halves(documents, 0.5, seed + 1)):
            targets[f"{name}-{number}"] = part.texts()
    return score([STEP], targets, seed, holdout=0.0)


def tried(scores: Scores, quarters: Scores, target: str, seed: int) -> tuple[list[float], int, int]:
    """(reduction at each temperature of the grid, place of the automatic one, cross-validated)."""
    selection = choose(scores, target, seed=seed)
    (rule,) = selection.choice.temperatures.values()
    values = []
    for value, _ in rule.tried:
        mechanism = f"gumbel_top_k(temperature={value!r})"
        chosen = choose(scores, target, mechanism=mechanism, seed=seed)
        values.append(reduction(chosen, target))
    automatic = int(np.argmin([divergence for _, divergence in rule.tried]))
    far = np.zeros(len(GRID))
    for number in (0, 1):
        other = quarters.scored.targets.fit[f"{target}-{1 - number}"]
        found = cross_found(quarters, f"{target}-{number}", other, ruler().budget[target], seed)
        far += [divergence for _, divergence in found.tried]
    return values, automatic, int(np.argmin(far))


def cross_found(scores: Scores, target: str, other: Documents, budget: int, seed: int) -> Found:
    """The rule with the utility learned from one part of a target and judged by the other."""
    table = scores.table
    everything = np.ones(len(table), np.bool_)
    tokens = table.column("tokens")
    sample = scores.scored.survey.sample
    rows, inside = sample_rows(table.column("uid"), everything, sample)
    return find_temperature(
        sample.take(inside),
        table.column(f"utility:{STEP}:{target}")[rows],
        tokens[rows],
        other,
        share=budget / tokens.sum(),
        seed=seed,
    )


def sample(seeds: Sequence[int]) -> str:
    """How large the pool's random sample is: it fits the raw model and finds the temperature."""
    rows = []
    settings: list[tuple[str, str, int]] = [
        (f"{size} MiB", STEP, size << 20) for size in (1, 2, 4, 8, 16, 32, 64)
    ]
    settings.append(("32 MiB, raw model on all", "dsir(raw=all)", 32 << 20))
    settings.append(("256 MiB: the whole pool", STEP, 256 << 20))
    for name, step, size in settings:
        runs = []
        start = time.perf_counter()
        for seed in seeds:
            scores = score([step], target_files(), seed, sample_bytes=size)
            runs += of_steps(scores, 1, seed)
        seconds = (time.perf_counter() - start) / len(seeds)
        rows.append([name, *per_target(runs), mean_and_spread(runs), seconds])
    return table(["sample", *RIGHT, "mean", "seconds a run"], rows)


def features(seeds: Sequence[int]) -> str:
    """Buckets and n-grams, judged in the default's buckets and in others."""
    steps = [
        *(f"dsir(buckets={count})" for count in (2_000, 10_000, 50_000, 200_000)),
        *(f"dsir(ngrams={n})" for n in (1, 3)),
        'dsir(hash="sha256")',
    ]
    names = ["2,000 buckets", "10,000 (default)", "50,000", "200,000", "1-grams", "1- to 3-grams"]
    names.append("SHA-256")
    own: list[list[list[float]]] = []
    other: list[list[list[float]]] = []
    for seed in seeds:
        scores = score(steps, target_files(), seed)
        own.append(of_steps(scores, len(steps), seed))
        other.append(of_steps(scores, len(steps), seed, other_distance()))
    rows = []
    for place, name in enumerate(names):
        mine = [run[place] for run in own]
        theirs = mean_and_spread(run[place] for run in other)
        rows.append([name, *per_target(mine), mean_and_spread(mine), theirs])
    last = "mean, judged by 1- to 3-grams in 100,000 other buckets"
    return table(["feature", *RIGHT, "mean", last], rows)


def holdout(seeds: Sequence[int]) -> str:
    """What is held out for the report is not learned from: what that costs."""
    shares = (0.0, 0.1, 0.2, 0.5, 0.8)
    rows = []
    for size in SIZES:
        line: list[object] = [size or "all"]
        for share in shares:
            runs = []
            for seed in seeds:
                scores = score([STEP], small(size, seed), seed, holdout=share)
                runs += of_steps(scores, 1, seed)
            line.append(mean_and_spread(runs))
        rows.append(line)
    return table(["documents of the target", *(f"{share:.0%} held out" for share in shares)], rows)


def minimum(seeds: Sequence[int]) -> str:
    """A least length, in words: short documents have extreme mean weights, but few tokens."""
    rows: list[list[object]] = []
    for least in (0, 20, 50, 100):
        runs, effective, documents = [], [], []
        for seed in seeds:
            scores = score([f"dsir(minimum={least})"], target_files(), seed)
            selections = in_threads(lambda t: choose(scores, t, seed=seed))  # noqa: B023
            outcomes = [
                ruler().judge(target, selection)
                for target, selection in zip(RIGHT, selections, strict=True)
            ]
            runs.append([outcome.kl for outcome in outcomes])
            effective += [outcome.effective for outcome in outcomes]
            documents += [outcome.documents for outcome in outcomes]
        numbers = [statistics.median(effective), statistics.fmean(documents)]
        rows.append([least, *per_target(runs), mean_and_spread(runs), *numbers])
    header = ["least words", *RIGHT, "mean", "effective size / chosen", "documents"]
    return table(header, rows)


EXPERIMENTS: dict[str, tuple[str, Callable[[Sequence[int]], str]]] = {
    "smoothing": ("Smoothing of the target's model, by the target's size", smoothing),
    "temperature": ("The automatic temperature", temperature),
    "sample": ("Size of the pool's random sample", sample),
    "features": ("Buckets and n-grams", features),
    "holdout": ("The share of the target that is held out", holdout),
    "minimum": ("A least length", minimum),
}


def main() -> None:
    """Run the experiments and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    parts = ["KL reduction in nats on the targets' validation files: see benchmarks/defaults.py."]
    for name in arguments.only:
        title, experiment = EXPERIMENTS[name]
        start = time.perf_counter()
        parts += [f"## {title}", experiment(range(arguments.seeds))]
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    body = "\n\n".join(parts)
    print(body)
    if arguments.only == list(EXPERIMENTS):
        settings = {
            "command": "python benchmarks/defaults.py " + " ".join(sys.argv[1:]),
            "seeds": arguments.seeds,
        }
        write_results("defaults", "Evidence for the defaults", settings=settings, body=body)


if __name__ == "__main__":
    main()
