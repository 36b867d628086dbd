"""dataworth, through its public functions, on the very model and sequences of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dataworth.corpus.corpus import Corpus
from dataworth.engine.local import Engine
from dataworth.features.gradients import CausalLM, Gradients
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.documents import DocumentGradients
from dataworth.features.gradients.preconditioners import (
    ConjugateGradients,
    Identity,
    Preconditioner,
    Products,
    diagonal,
    gram,
    kronecker,
)
from dataworth.features.gradients.projection import Dense, Projection, Sparse, TwoSided
from dataworth.features.gradients.rows import Held, Stored, score_rows
from dataworth.features.gradients.scoring import scores
from dataworth.flow.features import feature_column
from dataworth.lm.tokenizer import load_tokenizer
from peers.work import Work, begin, size_of

PATTERNS = ("*_proj",)


def projection(work: Work) -> Projection:
    """The one that a job asks for: `store`, `trak`, `sparse`, or `kind:numbers`."""
    kind, _, numbers = work.job.partition(":")
    side = int(numbers or work.settings["side"])
    count = int(numbers or work.settings["dimension"])
    if kind in ("store", "two"):
        return TwoSided(side, side)
    return Sparse(count) if kind == "sparse" else Dense(count)


def from_store(work: Work) -> None:
    """Gradients of documents into a column on disk, and scores from it alone."""
    feature = DocumentGradients(
        work.model(),
        load_tokenizer(Path(work.model_folder)),
        projection(work),
        context=work.train.shape[1],
        patterns=PATTERNS,
        tokens=work.batch * work.train.shape[1],
    )
    corpus = Corpus.open(work.folder / "train.jsonl")
    queries = Corpus.open(work.folder / "queries.jsonl").read_all()[0].texts()
    with work.phase("collect"):
        column = feature_column(corpus, feature, work.out / "store", Engine(1, "threads"))
    work.stored = size_of(work.out / "store")
    kept = Stored(column)
    with work.phase("fit"):
        rows = (torch.from_numpy(np.array(block)) for _, block in kept.blocks())
        fitted = gram(rows) if work.job == "trak" else Identity()
    with work.phase("score"):
        asked = Held(feature.gradients(queries).numpy())
        found = score_rows(kept, asked, fitted)
    work.done(found, score_rows(kept, asked))


def fitted(work: Work, engine: Gradients, train: Examples) -> Preconditioner:
    """The preconditioner that the job names, of the true labels."""
    if work.job == "diagonal":
        return diagonal(engine, train, labels="true")
    if work.job == "kfac":
        return kronecker(engine, train, kind="kfac", labels="true")
    if work.job == "ekfac":
        return kronecker(engine, train, labels="true")
    if work.job == "cg":
        # Damping and steps as the peer is asked for; it stops at no tolerance before them.
        ridge = torch.full((len(engine.blocks),), float(work.settings["cg_ridge"]))
        products = Products(engine, train, "hessian")
        steps = int(work.settings["cg_steps"])
        return ConjugateGradients(products, ridge, tolerance=0.0, most=steps)
    return Identity()


def direct(work: Work) -> None:
    """Fit on the examples and score them, nothing being projected."""
    task = CausalLM("sum", "sum", PATTERNS)
    engine = Gradients(work.model(), task)
    tokens = work.batch * work.train.shape[1]
    rows, asked = work.train, work.queries
    if work.job == "cg":
        rows, asked = rows[: work.settings["cg_train"]], asked[: work.settings["cg_queries"]]
    train = task.examples(rows.tolist(), size=64, tokens=tokens)
    queries = task.examples(asked.tolist(), size=64, tokens=tokens)
    with work.phase("fit"):
        preconditioner = fitted(work, engine, train)
    with work.phase("score"):
        found = scores(engine, train, queries, preconditioner)
    work.done(found)


if __name__ == "__main__":
    given = begin()
    if given.job in ("identity", "diagonal", "kfac", "ekfac", "cg"):
        direct(given)
    else:
        from_store(given)
