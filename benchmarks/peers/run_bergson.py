"""bergson: its own commands as functions, in one process, on the CPU."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import torch
from bergson.build import build
from bergson.cli.trak import trak
from bergson.config.config import (
    DataConfig,
    DistributedConfig,
    HessianConfig,
    HessianPipelineConfig,
    IndexConfig,
    InversionConfig,
    PreprocessConfig,
    QuerySetConfig,
    ScoreConfig,
    TrakConfig,
)
from bergson.data import load_gradients
from bergson.hessians.pipeline import hessian_pipeline
from bergson.score.score import score_dataset
from datasets import Dataset
from torch import Tensor

from peers.work import Work, begin, size_of


def dataset(work: Work, name: str, rows: Tensor) -> DataConfig:
    """Sequences as a dataset on disk, with the columns that bergson would make itself."""
    place = work.out / f"{name}.hf"
    columns = {"input_ids": rows.tolist(), "length": [rows.shape[1]] * len(rows)}
    Dataset.from_dict(columns).save_to_disk(str(place))
    return DataConfig(dataset=str(place))


def index(work: Work, name: str, data: DataConfig, **more: object) -> IndexConfig:
    """What one of its steps is told."""
    return IndexConfig(
        str(work.out / name),
        model=work.model_folder,
        data=data,
        precision="fp32",
        distributed=DistributedConfig(nproc_per_node=1),
        token_batch_size=work.batch * work.train.shape[1],
        **more,
    )


def read_scores(folder: Path) -> np.ndarray:
    """[train, queries]."""
    info = json.loads((folder / "info.json").read_text())
    rows = np.memmap(folder / "scores.bin", dtype=info["dtype"], shape=(info["num_rows"],))
    return np.stack([rows[f"score_{q}"] for q in range(info["num_scores"])], 1)


def store(work: Work, train: DataConfig, queries: DataConfig) -> None:
    """`build` with two-sided projections, and the products of two such stores."""
    side = int(work.settings["side"])
    with work.phase("collect"):
        build(index(work, "store", train, projection_dim=side), PreprocessConfig())
    work.stored = size_of(work.out / "store")
    with work.phase("score"):
        build(index(work, "asked", queries, projection_dim=side), PreprocessConfig())
        kept = torch.from_numpy(np.asarray(load_gradients(work.out / "store")))
        asked = torch.from_numpy(np.asarray(load_gradients(work.out / "asked")))
        found = kept @ asked.T
    work.done(stored=found)


def identity(work: Work, train: DataConfig, queries: DataConfig) -> None:
    """Whole gradients of the queries, past which those of the training set are streamed."""
    with work.phase("score"):
        build(index(work, "asked", queries), PreprocessConfig())
        score = ScoreConfig(query_path=str(work.out / "asked"))
        score_dataset(index(work, "scores", train), score, PreprocessConfig())
    work.done(read_scores(work.out / "scores"))


def factored(work: Work, train: DataConfig, queries: DataConfig) -> None:
    """Its pipeline of K-FAC, eigenvalues corrected or not."""
    hessian = HessianConfig("kfac", ev_correction=work.job == "ekfac", use_dataset_labels=True)
    query = QuerySetConfig.from_data(queries, aggregation="none")
    with work.phase("fit and score"):
        hessian_pipeline(
            index(work, "run", train),
            hessian,
            ScoreConfig(),
            PreprocessConfig(),
            HessianPipelineConfig(query=query, inversion_cfg=InversionConfig(damping_factor=0.1)),
        )
    work.done(read_scores(work.out / "run" / "scores"))


def projected(work: Work, train: DataConfig, queries: DataConfig) -> None:
    """Its TRAK: one dense projection of all layers, gradients of the log odds."""
    options = {"projection_target": "global", "loss_fn": "log_odds"}
    dimension = int(work.settings["dimension"])
    given = index(work, "run", train, projection_dim=dimension, **options)
    query = QuerySetConfig.from_data(queries, aggregation="none")
    # Its own choice is no damping, which needs more sequences than dimensions.
    damped = PreprocessConfig(inversion_cfg=InversionConfig(damping_factor=0.1))
    with work.phase("fit and score"):
        trak(given, TrakConfig(query=query, preprocess_cfg=damped))
    work.done(read_scores(work.out / "run" / "scores"))


def run(work: Work) -> None:
    """The job."""
    train = dataset(work, "train", work.train)
    queries = dataset(work, "queries", work.queries)
    with contextlib.redirect_stdout(io.StringIO()):
        if work.job == "store":
            store(work, train, queries)
        elif work.job == "identity":
            identity(work, train, queries)
        elif work.job == "trak":
            projected(work, train, queries)
        else:
            factored(work, train, queries)


if __name__ == "__main__":
    run(begin())
