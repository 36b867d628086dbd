"""kronfluence: factors and pairwise scores."""

from __future__ import annotations

import logging
from typing import Any

import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from peers.work import Work, begin, linears, summed_loss


class Language(Task):  # type: ignore[misc]
    """Next-token prediction; the last position predicts nothing and is masked."""

    def __init__(self, modules: list[str]) -> None:
        self.modules = modules

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        """Summed nats."""
        (ids,) = batch
        return summed_loss(model(input_ids=ids, use_cache=False).logits, ids)

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        """The same."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """The blocks' linear layers."""
        return self.modules

    def get_attention_mask(self, batch: Any) -> Tensor:
        """Positions whose gradient counts."""
        mask = torch.ones_like(batch[0])
        mask[:, -1] = 0
        return mask


def run(work: Work) -> None:
    """Fit and score; the strategy is the job."""
    logging.disable(logging.WARNING)
    model = work.model()
    task = Language(linears(model))
    analyzer = Analyzer(
        "peer",
        prepare_model(model, task),
        task,
        cpu=True,
        output_dir=str(work.out / "kronfluence"),
        disable_tqdm=True,
    )
    train, queries = TensorDataset(work.train), TensorDataset(work.queries)
    factors = FactorArguments(strategy=work.job, use_empirical_fisher=True)
    with work.phase("fit"):
        analyzer.fit_all_factors(
            work.job, train, per_device_batch_size=work.batch, factor_args=factors
        )
    with work.phase("score"):
        analyzer.compute_pairwise_scores(
            "scores",
            work.job,
            queries,
            train,
            per_device_query_batch_size=work.batch,
            per_device_train_batch_size=work.batch,
            score_args=ScoreArguments(damping_factor=None),
        )
        found = analyzer.load_pairwise_scores("scores")["all_modules"]
    work.done(found.numpy().T)


if __name__ == "__main__":
    run(begin())
