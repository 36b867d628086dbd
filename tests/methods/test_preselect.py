"""PreSelect: which documents predict the order of models, and the classifier of their like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataworth.errors import InputError
from dataworth.features.loss_table import LossTable
from dataworth.methods.preselect import PreSelect
from methods.fitting import utility
from methods.losses import MODELS, fit_on_file, losses_of, uids, write_tables
from methods.modelled import POOL, texts

GOOD = [number % 2 == 0 for number in range(len(POOL))]  # sums


def test_the_classifier_finds_what_predicts_the_order(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, uids(POOL), losses_of(GOOD))
    fitted = fit_on_file(PreSelect(**tables), POOL, tmp_path)
    assert min(utility(fitted, texts("sums", 5, 7))) > max(utility(fitted, texts("seas", 5, 7)))  # type: ignore[type-var]


def test_all_pairs_right_and_as_many_of_the_fewest() -> None:
    """Of six pairs; two bad ones for two good ones."""
    losses = np.array([[4, 1, 2, 4, 3], [3, 2, 1, 3, 4], [2, 3, 3, 1, 2], [1, 4, 0, 2, 1]])
    losses = np.hstack([losses, losses[:, :1] ** 3])
    table = LossTable(("m",) * 4, tuple("abcdef"), losses.astype(float), -np.arange(4.0))
    right = [
        sum(losses[j, d] > losses[k, d] for j in range(4) for k in range(j + 1, 4))
        for d in range(6)
    ]
    assert right == [6, 0, 4, 5, 5, 6]
    labels = PreSelect(losses="a", scores="b").labels(table, np.ones(6))
    assert labels.tolist() == [1, -1, -1, 0, 0, 1]
    lower = PreSelect(losses="a", scores="b", least=0.8).labels(table, np.ones(6))
    assert lower.tolist() == [1, -1, -1, 1, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_scale_of_losses_does_not_count(seed: int) -> None:
    draw = np.random.default_rng(seed)
    losses, errors = draw.normal(size=(4, 300)), draw.normal(size=4)
    step = PreSelect(losses="a", scores="b")
    tables = [LossTable((), (), one, errors) for one in (losses, np.exp(losses), losses**3)]
    labels = [step.labels(table, np.ones(300)).tolist() for table in tables]
    assert labels[0] == labels[1] == labels[2] and labels[0].count(1) == labels[0].count(-1) > 0


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, uids(POOL), losses_of([False] * len(POOL)))
    with pytest.raises(InputError, match=r"the best has 0 of 15 pairs right\); lower `least`"):
        fit_on_file(PreSelect(**tables), POOL, tmp_path)
    assert MODELS == 6
