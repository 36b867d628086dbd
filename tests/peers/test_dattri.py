"""Influence by dattri with the whole Hessian, inverted and by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dataworth.features.gradients.preconditioners import (
    ConjugateGradients,
    Damping,
    Products,
    dense,
)
from dataworth.features.gradients.scoring import scores
from peers.classifier import Classifier, alike, classifier

dattri = pytest.importorskip("dattri", reason="the peer dattri is not installed")
from dattri.algorithm import IFAttributorCG, IFAttributorExplicit  # noqa: E402
from dattri.task import AttributionTask  # noqa: E402

DECAY = 0.05  # more than the most negative direction of the Hessian


def theirs(case: Classifier, solver: str) -> Any:
    def loss(parameters: Any, batch: Any) -> Tensor:
        x, y = batch
        return functional.cross_entropy(torch.func.functional_call(case.model, parameters, (x,)), y)

    task = AttributionTask(loss_func=loss, model=case.model, checkpoints=case.model.state_dict())
    if solver == "explicit":
        attributor = IFAttributorExplicit(task, regularization=DECAY)
    else:
        attributor = IFAttributorCG(task, max_iter=100, tol=1e-6, regularization=DECAY)
    train, queries = (
        torch.utils.data.DataLoader(part, batch_size=len(part)) for part in case.parts()
    )
    attributor.cache(train)
    return attributor.attribute(train, queries).detach().numpy()


@pytest.mark.parametrize("solver", ["explicit", "cg"])
@pytest.mark.filterwarnings("ignore")
def test_influence_is_that_of_dattri(
    solver: str, record_property: Callable[[str, object], None]
) -> None:
    case = classifier(hidden=8, layers=1)
    engine = case.engine()
    exact = dense(engine, case.train, kind="hessian", damping=Damping(fixed=DECAY))
    if solver == "explicit":
        ours = scores(engine, case.train, case.queries, exact)
    else:
        products = Products(engine, case.train, "hessian")
        solved = ConjugateGradients(products, exact.damping, tolerance=1e-5, most=200)
        ours = scores(engine, case.train, case.queries, solved)
    found = alike(ours, theirs(case, solver))
    record_property(f"dattri, {solver}|least correlation of 30 queries|0.999", f"{found:.6f}")
    assert found >= 0.999
