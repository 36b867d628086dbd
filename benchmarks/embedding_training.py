"""The second criterion of the study of embeddings: does diversifying train a better model?

Each training is a job of (selection, seed) in a process of its own workers; its result is kept as
JSON, so a run that was stopped goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import table
from dataworth.corpus.uid import hash_uid
from dataworth.engine.files import read_json, write_json
from dataworth.features.embeddings import kmeans, round_robin
from dataworth.measures.statistics import paired
from embedding_study import EMBEDDINGS, Study, slug

UNIFORM, DOMAINS = "random documents", "balanced by the true domains"
_STREAM = 0x756E69666F726D  # of `hash_uid`: the random selection


@dataclass(frozen=True)
class Job:
    """One training: the texts to train on, and where its result is kept."""

    texts: list[str]
    validation: list[str]
    domains: list[int]
    tokenizer: str
    size: str
    tokens: int
    seed: int
    facts: dict[str, Any]
    path: str


def run(job: Job) -> str:
    """Train and measure; returns the path of the result."""
    from dataworth.lm.evaluation import document_losses
    from dataworth.lm.model import SIZES, build
    from dataworth.lm.packing import stream_of
    from dataworth.lm.steps import threads
    from dataworth.lm.tokenizer import load_tokenizer
    from dataworth.lm.training import TrainConfig, train

    tokenizer, size = load_tokenizer(job.tokenizer), SIZES[job.size]
    stream = stream_of(job.texts, tokenizer)
    config = TrainConfig(
        tokens=job.tokens,
        learning_rate=size.learning_rate,
        batch_sequences=size.batch_sequences,
        seed=job.seed,
    )
    trained = train(build(size.model, job.seed), stream, config)
    with threads(1):
        found = document_losses(trained.model, tokenizer, job.validation)
    domains = np.array(job.domains)
    nats = np.bincount(domains, found.nats)
    counts = np.bincount(domains, found.tokens)
    seen = counts > 0
    result = {
        **job.facts,
        "domain losses": (nats[seen] / counts[seen]).tolist(),
        "macro": float((nats[seen] / counts[seen]).mean()),
        "seconds": trained.seconds,
        "epochs": trained.epochs,
    }
    write_json(Path(job.path), result)
    return job.path


def selection(
    study: Study, name: str, seed: int, budget: int, lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Documents of the study in the order of a selection, as many as fit the budget of tokens."""
    rows = study.roles["study"]
    uid = study.documents.uid[rows]
    if name == UNIFORM:
        order = np.argsort(hash_uid(seed, uid, _STREAM))
    elif name == DOMAINS:
        order = round_robin(study.codes("domain")[rows], uid, seed=seed)
    else:
        clusters = min(max(round(budget / lengths.mean()), 2), len(rows))
        labels = kmeans(study.centred(name, "study"), clusters, seed=seed).labels
        order = round_robin(labels, uid, seed=seed)
    stop = int(np.searchsorted(np.cumsum(lengths[order]), budget)) + 1
    return order[:stop]


def diversify(study: Study, options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The results of all trainings, by selection, in the order of the seeds."""
    names = [UNIFORM, DOMAINS, *EMBEDDINGS]  # clusters of random vectors are the control
    folder = study.folder / "results" / f"{options.train_size}-{options.train_tokens}"
    paths = {
        (name, seed): folder / f"{slug(name)}-{seed}.json"
        for name in names
        for seed in range(options.seeds)
    }
    missing = [key for key, path in paths.items() if not path.exists()]
    if missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(study.engine.size, mp_context=context) as workers:
            jobs = (_job(study, *key, paths[key], options) for key in missing)
            for done, path in enumerate(workers.map(run, list(jobs)), 1):
                print(f"trained {done} of {len(missing)}: {Path(path).stem}", flush=True)
    return {name: [read_json(paths[name, seed]) for seed in range(options.seeds)] for name in names}


def _job(study: Study, name: str, seed: int, path: Path, options: argparse.Namespace) -> Job:
    rows, held = study.roles["study"], study.roles["validation"]
    lengths = study.lengths
    chosen = selection(study, name, seed, options.train_tokens, lengths)
    share = np.bincount(study.codes("domain")[rows[chosen]], lengths[chosen])
    share = share[share > 0] / share.sum()
    facts = {
        "documents": len(chosen),
        "bytes a document": float(study.documents.text_bytes[rows[chosen]].mean()),
        "effective domains": float(np.exp(-np.sum(share * np.log(share)))),
        "rows": hash_of(study.documents.uid[rows[chosen]]),
    }
    return Job(
        [study.documents.text(row) for row in rows[chosen].tolist()],
        [study.documents.text(row) for row in held.tolist()],
        study.codes("domain")[held].tolist(),
        str(study.folder / "tokenizer.json"),
        options.train_size,
        options.train_tokens,
        seed,
        facts,
        str(path),
    )


def hash_of(uid: NDArray[np.uint64]) -> str:
    """A selection's name: the sum of its uid."""
    return f"{int(uid.sum(dtype=np.uint64)):016x}"


def training_table(found: Mapping[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Differences from random documents in nats per token, paired by seed; below 0 is better."""
    header = ["selection", "loss, mean of domains", "difference", "95 % interval", "verdict"]
    header += ["points", "domains better", "effective domains", "documents", "bytes a document"]
    base = [one["macro"] for one in found[UNIFORM]]
    rows: list[list[object]] = []
    for name, some in found.items():
        macro = [one["macro"] for one in some]
        row: list[object] = [name, float(np.mean(macro))]
        if name == UNIFORM:
            row += ["", "", "", "", ""]
        else:
            difference = paired(macro, base)
            by_domain = np.mean([one["domain losses"] for one in some], axis=0)
            by_random = np.mean([one["domain losses"] for one in found[UNIFORM]], axis=0)
            row += [
                f"{difference.difference:+.4f}",
                f"{difference.low:+.4f} to {difference.high:+.4f}",
                difference.verdict,
                " ".join(f"{point:+.3f}" for point in difference.points),
                f"{int((by_domain < by_random).sum())} of {len(by_domain)}",
            ]
        row += [float(np.mean([one["effective domains"] for one in some]))]
        row += [round(float(np.mean([one["documents"] for one in some])))]
        row += [round(float(np.mean([one["bytes a document"] for one in some])))]
        rows.append(row)
    rows[1:] = sorted(rows[1:], key=lambda row: float(str(row[1])))
    note = (
        "Loss in nats per token on validation documents of every domain, each domain counting the "
        f"same; {options.seeds} seeds, which decide selection, first weights and order alike. "
        "Effective domains: exp of the entropy of the domains' shares of tokens."
    )
    return f"{note}\n\n{table(header, rows)}"
