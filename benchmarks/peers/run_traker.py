"""traker: TRAK with the projector it takes on a CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from trak import TRAKer
from trak.modelout_functions import AbstractModelOutput

from peers.work import Work, begin, linears, summed_loss


class Language(AbstractModelOutput):  # type: ignore[misc]
    """The summed loss as output, and no weights, so that all libraries take the same gradients."""

    def __init__(self) -> None:
        pass

    @staticmethod
    def get_output(model: nn.Module, weights: Any, buffers: Any, ids: Tensor) -> Tensor:
        """Of one sequence [length]."""
        given = {"input_ids": ids.unsqueeze(0), "use_cache": False}
        return summed_loss(functional_call(model, (weights, buffers), (), given).logits, ids[None])

    def get_out_to_loss_grad(
        self, model: nn.Module, weights: Any, buffers: Any, batch: Iterable[Tensor]
    ) -> Tensor:
        """Ones."""
        (ids,) = batch
        return torch.ones(len(ids), 1)


def run(work: Work) -> None:
    """Featurize, finalize and score."""
    logging.disable(logging.WARNING)
    model = work.model()
    traker = TRAKer(
        model=model,
        task=Language(),
        train_set_size=len(work.train),
        save_dir=str(work.out / "traker"),
        device="cpu",
        proj_dim=int(work.settings["dimension"]),
        use_half_precision=False,
        lambda_reg=float(work.settings["ridge"]),
        grad_wrt=[f"{name}.weight" for name in linears(model)],
        logging_level=logging.ERROR,
    )
    state = model.state_dict()
    traker.load_checkpoint(state, model_id=0)
    with work.phase("collect"):
        for ids in work.batches(work.train):
            traker.featurize(batch=(ids,), num_samples=len(ids))
    kept = torch.from_numpy(traker.saver.current_store["grads"][:].copy())
    work.stored = kept.numel() * kept.element_size()
    with work.phase("fit"):
        traker.finalize_features()
    with work.phase("score"):
        traker.start_scoring_checkpoint("queries", state, 0, num_targets=len(work.queries))
        for ids in work.batches(work.queries):
            traker.score(batch=(ids,), num_samples=len(ids))
        asked = torch.from_numpy(traker.saver.current_store["queries_grads"][:].copy())
        found = traker.finalize_scores("queries")
    work.done(found, kept @ asked.T)


if __name__ == "__main__":
    run(begin())
