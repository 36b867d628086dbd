"""Perplexity correlations from tables: labels, the classifier, and tables that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.errors import ConfigError, InputError
from dataworth.features.correlations import spearmanr
from dataworth.features.loss_table import LossTable, read_loss_table
from dataworth.methods.fitted import Fitted
from dataworth.methods.perplexity_correlations import PerplexityCorrelations
from methods.fitting import docs, utility
from methods.losses import fit_on_file, losses_of, uids, write_tables
from methods.modelled import POOL, texts

GOOD = [number % 2 == 0 for number in range(len(POOL))]  # sums


def test_the_classifier_finds_what_is_like_the_good_documents(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, uids(POOL), losses_of(GOOD))
    for options in ({}, {"projection": "l2", "ratio": 0.5}, {"estimator": "sign"}):
        step = PerplexityCorrelations(**tables, **options)
        step.check()
        fitted = fit_on_file(step, POOL, tmp_path)
        assert min(utility(fitted, texts("sums", 5, 7))) > max(utility(fitted, texts("seas", 5, 7)))  # type: ignore[type-var]
    fitted.save(tmp_path / "saved")
    again = Fitted.load(step, tmp_path / "saved")
    assert again.annotate(docs(POOL)).equals(fitted.annotate(docs(POOL)))
    assert again.annotate(docs([" "])).column("drop").to_pylist() == ["without a word"]


def test_the_best_domains_up_to_their_share_of_the_pool() -> None:
    """Four domains of 10, 20, 30 and 40 % of the bytes: no repeats in a fifth of the pool."""
    step = PerplexityCorrelations(losses="a", scores="b", ratio=0.2)
    losses = np.array([[1, 4, 2, 1], [2, 3, 2.5, 2], [3, 2, 1.5, 4], [4, 1, 3, 3]])
    errors = np.array([0.1, 0.2, 0.3, 0.4])
    assert spearmanr(losses, errors) == pytest.approx([1, -1, 0.4, 0.8])
    table = LossTable(("m",) * 4, ("w", "x", "y", "z"), losses, errors)
    sizes = np.array([10.0, 20.0, 30.0, 40.0])
    assert step.labels(table, sizes).tolist() == [1, -1, -1, 1]
    tenth = PerplexityCorrelations(losses="a", scores="b", ratio=0.1)
    assert tenth.labels(table, sizes).tolist() == [1, -1, -1, -1]


def test_domains_are_a_field_of_the_pool(tmp_path: Path) -> None:
    kinds = ["sums" if good else "seas" for good in GOOD]
    rows = [{"text": text, "kind": kind} for text, kind in zip(POOL, kinds, strict=True)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables = write_tables(tmp_path, ["sums", "seas", "none"], losses_of([True, False, True]))
    step = PerplexityCorrelations(**tables, names="kind", ratio=0.5)
    scores = dataworth.score(tmp_path / "pool.jsonl", steps=step, group_by="kind")
    found = scores.to_arrow()
    values = np.array(found["utility:perplexity_correlations:"])
    assert ((values > 0) == (np.array(found["kind"]) == "sums")).all()
    with pytest.raises(ConfigError, match="read without the field 'kind'; give it to --group-by"):
        dataworth.score(tmp_path / "pool.jsonl", steps=step)


def test_tables_are_read_either_way_round(tmp_path: Path) -> None:
    losses = losses_of([True, False, True])
    tables = write_tables(tmp_path, ["a", "b", "c"], losses)
    read = read_loss_table(**tables, metric="accuracy")
    assert read.columns == ("a", "b", "c") and read.losses == pytest.approx(losses.T)
    assert read.errors == pytest.approx(1 - np.linspace(0.2, 0.7, 6))
    columns = {"model": read.models, **dict(zip("abc", losses, strict=True))}
    pq.write_table(pa.table(columns), tmp_path / "losses.parquet")
    turned = read_loss_table(str(tmp_path / "losses.parquet"), tables["scores"], metric="error")
    assert turned.columns == read.columns and (turned.losses == read.losses).all()
    assert turned.errors == pytest.approx(1 - read.errors)


def test_models_without_a_score_and_columns_without_a_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses = losses_of([True, False, True])
    losses[1, 2] = np.nan
    tables = write_tables(tmp_path, ["a", "b", "c"], losses, [0.1, 0.2, 0.3, 0.3, 0.4, 0.5])
    lines = (tmp_path / "losses.csv").read_text().replace("nan", "")
    (tmp_path / "losses.csv").write_text(lines)
    kept = (tmp_path / "scores.csv").read_text().replace("m5,0.5\n", "other,0.9\n")
    (tmp_path / "scores.csv").write_text(kept)
    read = read_loss_table(**tables, metric="accuracy")
    assert read.models == ("m0", "m1", "m2", "m3", "m4") and read.columns == ("a", "c")
    assert "1 models have the score of another" in caplog.text
    assert "1 columns lack a model's loss" in caplog.text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("losses.csv", "document,m0,m1,m2\na,1,2,3\n", "3 of its 3 models have scores"),
        ("losses.csv", "document,m0\na,1\na,2\n", "names in column 'document' are not one for"),
        ("losses.csv", "document,m0\na,x\n", "column 'm0' holds string, not numbers"),
        ("losses.csv", "", "is no table in CSV or Parquet"),
        ("scores.csv", "name,exam\nm0,1\n", "no first column 'model'"),
        ("scores.csv", "model,exam\nm0,\n", "a number for each model and benchmark"),
        ("scores.csv", "model,exam\nm0,1\nm1,1\nm2,1\nm3,1\n", "all models have one score"),
    ],
)
def test_bad_tables_are_one_line(tmp_path: Path, file: str, content: str, message: str) -> None:
    tables = write_tables(tmp_path, uids(POOL), losses_of(GOOD))
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        PerplexityCorrelations(**tables).check()
    assert "\n" not in str(caught.value) and file in str(caught.value)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs losses=TABLE and scores=TABLE"):
        PerplexityCorrelations()
    tables: Any = write_tables(tmp_path, ["a", "b"], losses_of([True, False]))
    with pytest.raises(InputError, match="names no document of the pool"):
        fit_on_file(PerplexityCorrelations(**tables), POOL, tmp_path)
    tables = write_tables(tmp_path, uids(POOL), losses_of(GOOD))
    with pytest.raises(InputError, match="called good, so there is nothing to tell apart"):
        fit_on_file(PerplexityCorrelations(**tables, ratio=1.0), POOL, tmp_path)
