"""TiKMiX-D: shares by the influence of whole groups on validation losses."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from dataworth.engine.files import damaged
from dataworth.errors import ConfigError
from dataworth.mixture.learned import water_fill
from dataworth.mixture.online import Measured
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import ONLINE, Floats, SwarmGroups
from dataworth.mixture.swarm_text import SwarmText
from dataworth.options import option

if TYPE_CHECKING:
    from torch import Tensor

    from dataworth.lm.llama import LanguageModel
    from dataworth.lm.packing import TokenStream

_SLACK = 100.0  # price of a unit by which a target falls below the natural mixture
_CHECKPOINT = 200


@register
@dataclass(frozen=True)
class TiKMiX(Measured):
    """The shares of greatest influence on the targets that leave none of them worse off.

    A model is trained on the natural mixture p (or `model` is taken: one of a stage of a training).
    The influence A_kv is the inner product of the mean gradients of group k and of target v under a
    preconditioner: how fast v's loss falls where k is up-weighted; a column is divided by the mean
    of its absolute values. The shares maximise mean_v (A'w)_v - kl KL(w, p) under the caps, with
    (A'w)_v >= (A'p)_v or the least slack. Without targets the held-out text of each group is one
    (Wang et al. 2025, "TiKMiX", arXiv 2508.17677, from its abstract: no code is published; the
    preconditioner, the norm of a column, KL and slack are dataworth's own). TiKMiX-M, the fit on
    mixed batches, is left out: with a fixed model the influence of a mean gradient is linear in w.
    """

    name: ClassVar[str] = "tikmix"
    minimise: tuple[str, ...] = option(
        (), help="Targets or groups of the swarm that are to gain; the run's targets."
    )
    model: str = option("", help="A model to take instead of training one.", content=True)
    hessian: Literal["adam", "identity"] = option(
        "adam", help="What stands for the inverse Hessian: Adam's second moments, or nothing."
    )
    damping: float = option(
        0.1, help="Added to the roots of the moments, in parts of their mean.", above=0
    )
    batches: int = option(
        32, help="Batches of each group and target whose gradients are averaged.", minimum=2
    )
    kl: float = option(1.0, help="Weight of the KL divergence from the natural mixture.", above=0)

    unlike: ClassVar[tuple[str, ...]] = (*Measured.unlike, "kl")

    def targets(self, targets: Sequence[str]) -> Sequence[str]:
        """Return the targets that are to gain."""
        return self.minimise or tuple(targets)

    def learn(self, groups: SwarmGroups, targets: Sequence[str], caps: Floats) -> Floats:
        """Return the shares of greatest influence, kept to the caps."""
        found = self.found(groups, targets)
        with damaged(groups.folder / ONLINE):
            effects = np.array(found["effects"], np.float64).reshape(len(caps), -1)
        return caps if caps.sum() <= 1 else best_shares(effects, groups.natural, caps, self.kl)

    def measure(self, text: SwarmText, targets: Sequence[str], folder: Path) -> dict[str, Any]:
        """Return the influence [k][v] of groups on targets, and its standard errors."""
        model, precondition = self._model(text, folder)
        size = text.preset.batch_sequences
        probes = [
            gradients(model, stream, self.batches, size, self.seed).mean(0) * precondition
            for stream in text.held_out(targets)
        ]
        effects, errors = [], []
        for stream in text.streams:
            each = gradients(model, stream, self.batches, size, self.seed)
            values = np.array([[float(row @ probe) for probe in probes] for row in each])
            effects.append(values.mean(0).tolist())
            errors.append((values.std(0, ddof=1) / np.sqrt(len(values))).tolist())
        return {"effects": effects, "errors": errors}

    def _model(self, text: SwarmText, folder: Path) -> tuple[LanguageModel, Tensor]:
        """Return the model, and what its gradients [p] are multiplied by."""
        import torch

        from dataworth.lm.model import load_model, save_model
        from dataworth.lm.moments import FILE as MOMENTS
        from dataworth.lm.moments import load_moments, save_moments
        from dataworth.lm.training import train

        path = Path(self.model) if self.model else folder / "proxy"
        if not self.model and not (path / MOMENTS).is_file():
            model = text.model()
            last: list[Any] = []
            stream = text.mixed(text.groups.natural, self.tokens)
            config = text.config(self.tokens, checkpoint_every=_CHECKPOINT)
            train(model, stream, config, folder=folder / "training", on_step=last.append)
            if last:
                save_model(model, path, text.tokenizer)
                save_moments(path, model.as_module(), last[-1].optimizer, last[-1].travelled)
            shutil.rmtree(folder / "training")
            if not last:  # killed between its last step and saving, with no optimizer to ask
                return self._model(text, folder)
        model = load_model(path)
        parameters = dict(model.as_module().named_parameters())
        if self.model and model.vocabulary < text.streams[0].vocabulary:
            raise ConfigError(f"{path}: knows fewer tokens than the swarm's tokenizer has")
        if self.hessian == "identity":
            return model, torch.ones(sum(one.numel() for one in parameters.values()))
        moments = load_moments(path)
        if moments is None:
            raise ConfigError(
                f"{path}: has no moments of Adam beside it: take tikmix(hessian=identity)"
            )
        second = [torch.from_numpy(moments.second[name]).flatten() for name in parameters]
        roots = (torch.cat(second) / (1 - moments.betas[1] ** moments.step)).sqrt()
        return model, 1 / (roots + self.damping * roots.mean())


def gradients(
    model: LanguageModel, stream: TokenStream, batches: int, size: int, seed: int
) -> Tensor:
    """Return the gradient of the mean loss of each of some batches, float32 [batches, p].

    A batch has `size` sequences of the model's context.
    """
    import torch

    from dataworth.lm.online import token_losses
    from dataworth.lm.packing import sequences

    rows = sequences(stream, model.context, batches * size * model.context, seed)
    parameters = list(model.as_module().parameters())
    vectors = []
    for start in range(0, batches * size, size):
        inputs, targets = (torch.from_numpy(one) for one in rows.batch(start, size))
        loss = token_losses(model, inputs, targets, stream.end).mean()
        vectors.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    return torch.stack(vectors)


def best_shares(effects: Floats, natural: Floats, caps: Floats, kl: float) -> Floats:
    """Return the shares [k] of greatest mean influence (`effects` [k, v]), near the natural ones.

    No target falls below the natural mixture's influence on it, or all by the least slack.
    """
    from scipy.optimize import minimize

    columns = effects / np.maximum(np.abs(effects).mean(0), 1e-300)
    gain, prior = columns.mean(1), np.maximum(natural, 1e-9)
    least, count = columns.T @ natural, len(natural)

    def objective(x: Floats) -> tuple[float, Floats]:
        shares = x[:-1]
        ratio = np.log(np.maximum(shares, 1e-12) / prior)
        slope = np.append(kl * (ratio + 1) - gain, _SLACK)
        return float(kl * (shares * ratio).sum() - gain @ shares + _SLACK * x[-1]), slope

    start = water_fill(prior * np.exp((gain - gain.max()) / kl), caps)
    slack = max(float((least - columns.T @ start).max()), 0.0)
    rows = np.column_stack([columns.T, np.ones(len(least))])
    solution = minimize(
        objective,
        np.append(start, slack),
        jac=True,
        method="SLSQP",
        bounds=[*((0.0, float(cap)) for cap in caps), (0.0, None)],
        constraints=[
            {
                "type": "eq",
                "fun": lambda x: x[:-1].sum() - 1,
                "jac": lambda x: np.append(np.ones(count), 0.0),
            },
            {"type": "ineq", "fun": lambda x: rows @ x - least, "jac": lambda x: rows},
        ],
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    return water_fill(np.clip(solution.x[:-1], 0.0, caps), caps)
