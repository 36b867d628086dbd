"""Scores of kronfluence for a classifier, its true labels and its damping being used by both."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn import functional

from dataworth.features.gradients.preconditioners import Identity, diagonal, kronecker
from dataworth.features.gradients.scoring import scores
from peers.classifier import alike, classifier, ranks_alike

kronfluence = pytest.importorskip("kronfluence", reason="the peer kronfluence is not installed")
from kronfluence.analyzer import Analyzer, prepare_model  # noqa: E402
from kronfluence.arguments import FactorArguments, ScoreArguments  # noqa: E402
from kronfluence.task import Task  # noqa: E402

FITS: dict[str, Callable[[Any, Any], Any]] = {
    "ekfac": lambda engine, train: kronecker(engine, train, labels="true"),
    "kfac": lambda engine, train: kronecker(engine, train, kind="kfac", labels="true"),
    "diagonal": lambda engine, train: diagonal(engine, train, labels="true"),
    "identity": lambda engine, train: Identity(),
}


class Classification(Task):  # type: ignore[misc]
    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        x, y = batch
        return functional.cross_entropy(model(x), y, reduction="sum")

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


@pytest.mark.parametrize("solver", list(FITS))
def test_scores_are_those_of_kronfluence(
    solver: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    case = classifier(layers=3)
    engine, task = case.engine(), Classification()
    ours = scores(engine, case.train, case.queries, FITS[solver](engine, case.train))
    model = prepare_model(copy.deepcopy(case.model), task)
    analyzer = Analyzer(
        "agreement", model, task, cpu=True, output_dir=str(tmp_path), disable_tqdm=True
    )
    train, queries = case.parts()
    analyzer.fit_all_factors(
        solver,
        train,
        per_device_batch_size=50,
        factor_args=FactorArguments(strategy=solver, use_empirical_fisher=True),
    )
    analyzer.compute_pairwise_scores(
        "scores",
        solver,
        queries,
        train,
        per_device_query_batch_size=30,
        per_device_train_batch_size=50,
        score_args=ScoreArguments(damping_factor=None),  # a tenth of the mean eigenvalue
    )
    theirs = analyzer.load_pairwise_scores("scores")["all_modules"].numpy().T
    found = ranks_alike(ours, theirs)
    record_property(f"kronfluence, {solver}|least Spearman of 30 queries|0.99", f"{found:.5f}")
    assert found >= 0.99
    assert alike(ours, theirs) >= 0.99
