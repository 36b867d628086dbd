"""dattri: TracIn without projection, TRAK, LoGra and conjugate gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from dattri.algorithm import (
    IFAttributorCG,
    LoGraAttributor,
    TracInAttributor,
    TRAKAttributor,
)
from dattri.task import AttributionTask
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from peers.work import Work, begin, linears, summed_loss


def functional_task(model: nn.Module, mean: bool = False) -> AttributionTask:
    """The summed loss as a function of the parameters; or its mean over the batch."""

    def loss(parameters: Any, batch: Any) -> Tensor:
        ids = batch[0]
        ids = ids if ids.dim() == 2 else ids.unsqueeze(0)
        given = {"input_ids": ids, "use_cache": False}
        found = summed_loss(functional_call(model, parameters, (), given).logits, ids)
        return found / len(ids) if mean else found

    return AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())


def loader(rows: Tensor, batch: int) -> Any:
    """In order."""
    return DataLoader(TensorDataset(rows), batch_size=batch, shuffle=False)


def named_loader(rows: Tensor, batch: int) -> Any:
    """Batches as LoGra wants them; of queries it takes the mean loss that the model gives."""
    items: Any = [{"input_ids": row, "labels": row} for row in rows]
    return DataLoader(items, batch_size=batch)


def store(work: Work, model: nn.Module) -> None:
    """LoGra, held in memory."""

    def loss(model: nn.Module, batch: Any, device: str) -> Tensor:
        ids = batch["input_ids"]
        return summed_loss(model(input_ids=ids, use_cache=False).logits, ids)

    task = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
    attributor = LoGraAttributor(
        task,
        layer_names=linears(model),
        hessian="Identity",
        proj_dim=int(work.settings["side"]) ** 2,
        offload="cpu",  # to disk it asks for pinned memory, which needs a GPU
    )
    train, queries = (named_loader(rows, work.batch) for rows in (work.train, work.queries))
    with work.phase("collect"):
        attributor.cache(train)
    work.stored = 4 * len(work.train) * int(attributor.total_proj_dim)
    with work.phase("score"):
        found = attributor.attribute(train, queries)
    work.done(stored=found[: len(work.train)])  # it has rows of 0 up to a full chunk


def job(work: Work, model: nn.Module) -> Callable[[Any, Any], Any]:
    """A function of both loaders that gives the scores."""
    layers = [f"{name}.weight" for name in linears(model)]
    if work.job == "cg":
        attributor = IFAttributorCG(
            functional_task(model, mean=True),
            layer_name=layers,
            max_iter=int(work.settings["cg_steps"]),
            tol=0.0,
            regularization=float(work.settings["cg_ridge"]),
        )

        def solve(train: Any, queries: Any) -> Any:
            attributor.cache(train)
            return attributor.attribute(train, queries)

        return solve
    task = functional_task(model)
    if work.job == "identity":
        identity = {"proj_type": "identity"}
        tracin = TracInAttributor(task, torch.ones(1), False, identity, layer_name=layers)
        return tracin.attribute  # type: ignore[no-any-return]
    options = {"proj_dim": int(work.settings["dimension"])}
    trak = TRAKAttributor(
        task,
        lambda parameters, batch: torch.zeros(()),
        options,
        layer_name=layers,
        regularization=float(work.settings["ridge"]),
    )
    return lambda train, queries: trak.attribute(queries, train)


def run(work: Work) -> None:
    """The job."""
    warnings.simplefilter("ignore")
    # Only plain attention can be differentiated twice.
    model = work.model("eager" if work.job == "cg" else None)
    if work.job == "store":
        store(work, model)
        return
    rows, asked, batch = work.train, work.queries, work.batch
    if work.job == "cg":
        rows, asked = rows[: work.settings["cg_train"]], asked[: work.settings["cg_queries"]]
        batch = len(rows)
    # Gradients of the queries are taken anew for each batch: as few as can be of the others.
    solved = job(work, model)
    with work.phase("fit and score"):
        found = solved(loader(rows, batch), loader(asked, len(asked)))
    work.done(found)


if __name__ == "__main__":
    run(begin())
