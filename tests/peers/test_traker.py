"""TRAK by traker, given the same projection and the same regularisation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dataworth.features.gradients import FunctionTask, Gradients
from dataworth.features.gradients.preconditioners import Damping, gram
from dataworth.features.gradients.projection import Dense, Projector
from peers.classifier import Classifier, alike, classifier

trak = pytest.importorskip("trak", reason="the peer traker is not installed")
from trak.projectors import AbstractProjector  # noqa: E402

SIZE, DAMPING = 48, 0.05


class Ours(AbstractProjector):  # type: ignore[misc]
    """Our projection in the place of traker's."""

    def __init__(self, engine: Gradients, projector: Projector) -> None:
        super().__init__(engine.size, SIZE, 0, "ours", "cpu")
        self.engine, self.projector = engine, projector

    def project(self, grads: Any, model_id: int) -> Tensor:
        return self.projector.flat(self.engine.blocks.flatten(grads))


def margin(outputs: Tensor, batch: Any) -> Tensor:
    """Minus the log odds of the right class, [n]."""
    right = outputs.gather(1, batch.targets[:, None]).squeeze(1)
    others = outputs.scatter(1, batch.targets[:, None], -torch.inf).logsumexp(1)
    return others - right


def ours(case: Classifier, engine: Gradients, projector: Projector) -> Any:
    """Scores [train, queries]: gradients of the log odds, weighed with 1 - p of the example."""
    rows = [
        torch.cat([projector(engine.factors(batch)) for _, batch in examples])
        for examples in (
            engine.task.examples(part.items, size=50) for part in (case.train, case.queries)
        )
    ]
    solved = gram([rows[0]], damping=Damping(fixed=DAMPING)).apply(rows[1])
    with torch.no_grad():
        shares = functional.softmax(case.model(case.x[: case.count]), 1)
    right = shares.gather(1, case.y[: case.count, None])
    return ((rows[0] @ solved.T) * (1 - right)).numpy()


def theirs(case: Classifier, folder: Path, engine: Gradients, projector: Projector) -> Any:
    parts = case.x[: case.count], case.y[: case.count]
    queries = case.x[case.count :], case.y[case.count :]
    traker = trak.TRAKer(
        model=case.model,
        task="image_classification",
        train_set_size=case.count,
        save_dir=str(folder),
        device="cpu",
        projector=Ours(engine, projector),
        use_half_precision=False,
        # Its rows are divided by the root of the parameters, and summed, not averaged.
        lambda_reg=DAMPING * case.count / engine.size,
        logging_level=logging.ERROR,
    )
    state = case.model.state_dict()
    traker.load_checkpoint(state, model_id=0)
    traker.featurize(batch=parts, num_samples=len(parts[0]))
    traker.finalize_features()
    traker.start_scoring_checkpoint("queries", state, 0, num_targets=len(queries[0]))
    traker.score(batch=queries, num_samples=len(queries[0]))
    return np.array(traker.finalize_scores("queries"))


def test_scores_are_those_of_traker(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    case = classifier()
    task = FunctionTask(case.task.lay, margin)
    engine = Gradients(case.model, task)
    projector = Dense(SIZE).bind(engine.blocks)
    found = alike(ours(case, engine, projector), theirs(case, tmp_path, engine, projector))
    record_property("traker, same projection|least correlation of 30 queries|0.99", f"{found:.6f}")
    assert found >= 0.99
