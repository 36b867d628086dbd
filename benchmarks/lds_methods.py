"""The methods that lds.py judges: each makes scores [examples, queries] by public functions.

A method by seed sees the whole run of one seed (or its end); one by name sees no model of a run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import dataworth
from dataworth.corpus.uid import hash_uid
from dataworth.features.gradients import Gradients, Supervised
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.metagradient import Run, metagradients
from dataworth.features.gradients.preconditioners import (
    AdamDiagonal,
    ConjugateGradients,
    Damping,
    Diagonal,
    Eigen,
    Moments,
    Preconditioner,
    Products,
    dense,
    diagonal,
    kronecker,
)
from dataworth.features.gradients.projected import projected_scores, wrong_share
from dataworth.features.gradients.projection import Dense, Sparse
from dataworth.features.gradients.scoring import gradient_lengths, scores
from lds_setups import Setup

Scores = NDArray[np.float32]
EXACT, SOLVED = "metagradients", "influence, EK-FAC and conjugate gradients"
SOLVED_EARLY = "influence, conjugate gradients, damped for stopping early"
SLOW = (EXACT, SOLVED, SOLVED_EARLY)
CHECKPOINTS = 5
MODELS = 5


@dataclass(frozen=True, eq=False)
class Trained:
    """A model of a setup, with what methods need: parameters [P] in the order of the run.

    `weights`: that it was trained with, all 1 if None.
    """

    setup: Setup
    run: Run
    vector: Tensor
    weights: Tensor | None = None

    @cached_property
    def engine(self) -> Gradients:
        """Its gradients."""
        return self.engine_of(self.setup.task)

    def engine_of(self, task: Any) -> Gradients:
        """Its gradients in another task."""
        model = copy.deepcopy(self.run.model)
        model.load_state_dict(self.run.named(self.vector), strict=False)
        return Gradients(model, task)

    @cached_property
    def examples(self) -> Examples:
        """Those that are trained on."""
        return self.setup.task.examples(self.setup.items, size=self.setup.batch)

    @cached_property
    def queries(self) -> Examples:
        """Those that are asked about."""
        return self.setup.task.examples(self.setup.queries, size=self.setup.batch)

    def scores(self, preconditioner: Preconditioner | None = None) -> Scores:
        """With a preconditioner."""
        return scores(self.engine, self.examples, self.queries, preconditioner)


def exact(model: Trained) -> Scores:
    """The derivative of the run itself."""
    setup, weights = model.setup, model.weights
    together = 100 if setup.together > 1 else 4
    found = metagradients(model.run, setup.queries, weights=weights, together=together)
    return found.scores.astype(np.float32)


def whole(model: Trained) -> Scores:
    """The dense Gauss-Newton matrix, the strength of weight decay as damping."""
    damping = Damping(fixed=model.setup.decay)
    return model.scores(dense(model.engine, model.examples, damping=damping))


def stopped(model: Trained) -> Scores:
    """The same, with the damping that a training is like that stops after its steps."""
    return model.scores(dense(model.engine, model.examples, damping=early_damping(model)))


def early_damping(model: Trained) -> Damping:
    """Weight decay, and 1 / (rate * steps)."""
    run = model.run
    rates: Any = run.optimizer.learning_rate  # type: ignore[attr-defined]
    momentum: float = run.optimizer.momentum  # type: ignore[attr-defined]
    early = Damping.of_descent(float(np.mean(rates)), len(run.order), momentum).fixed or 0.0
    return Damping(fixed=model.setup.decay + early)


def factored(
    model: Trained, kind: Literal["kfac", "ekfac"] = "ekfac", damping: float = 0.1
) -> Eigen:
    """Kronecker factors."""
    given = Damping(damping)
    if model.setup.decay:
        given = Damping(fixed=model.setup.decay)
    return kronecker(model.engine, model.examples, kind=kind, damping=given)


def solved(model: Trained, steps: int = 10, damping: float = 0.1) -> Scores:
    """Conjugate gradients from EK-FAC."""
    inner = factored(model, damping=damping)
    return model.scores(conjugate(model, inner, inner.damping, steps))


def conjugate(
    model: Trained, inner: Diagonal | Eigen, damping: Tensor, steps: int
) -> ConjugateGradients:
    """The solver, on a sample of the examples, all queries sharing their directions."""
    setup = model.setup
    order = np.argsort(hash_uid(1, setup.uid))[: setup.sample]
    products = Products(
        model.engine, replace(model.examples.take(order), size=setup.batch), together=setup.vectors
    )
    count = len(setup.items)
    return ConjugateGradients(
        products, damping, inner, tolerance=1e-2, most=steps, count=count, block=True
    )


def adam_damping(model: Trained) -> Tensor:
    """What a training with Adam is like that stops after its steps, of each parameter: [P]."""
    run, flat = model.run, model.engine.blocks.flatten
    optimizer: Any = run.optimizer
    state, steps = run.train(model.weights), len(run.order)
    first, second = (flat(run.named(state[i])) for i in (1, 2))
    # This Adam has an epsilon in the root too, beside the corrected moment.
    second = second + optimizer.epsilon_root * (1 - optimizer.betas[1] ** steps)
    rates = torch.full_like(second, float(np.sum(optimizer.learning_rate)))
    moments = Moments(first, second, steps, optimizer.betas, optimizer.epsilon, rates)
    return moments.stopped()


def solved_early(model: Trained, steps: int = 10) -> Scores:
    """Conjugate gradients with that damping."""
    damping = adam_damping(model)
    plain = diagonal(model.engine, model.examples, damping=Damping(fixed=0.0))
    inner = Diagonal(plain.curvature + damping, 1 / len(model.setup.items), "diagonal")
    return model.scores(conjugate(model, inner, damping, steps))


def factored_early(model: Trained) -> Scores:
    """EK-FAC with the mean of that damping in each block."""
    if model.setup.decay:
        found = kronecker(model.engine, model.examples, damping=early_damping(model))
        return model.scores(found)
    plain = kronecker(model.engine, model.examples, damping=Damping(fixed=0.0))
    each = adam_damping(model)
    means = torch.stack([each[block.span].mean() for block in plain.blocks])
    values = [value + mean for value, mean in zip(plain.values, means, strict=True)]
    return model.scores(replace(plain, values=values, damping=means))


def plain_diagonal(model: Trained) -> Scores:
    """The diagonal of the Fisher information."""
    damping = Damping(fixed=model.setup.decay) if model.setup.decay else Damping()
    return model.scores(diagonal(model.engine, model.examples, damping=damping))


def cosine(model: Trained) -> Scores:
    """Inner products of gradients of length 1."""
    mine = gradient_lengths(model.engine, model.examples)
    theirs = gradient_lengths(model.engine, model.queries, "measure")
    found: Scores = model.scores() / np.maximum(mine[:, None] * theirs, 1e-30)
    return found


def traced(model: Trained, *, adam: bool = False) -> Scores:
    """Inner products at checkpoints of the run, times the rate; `adam`: in the moments' scale."""
    run = model.run
    total: Any = 0
    for place in range(1, CHECKPOINTS + 1):
        stop = len(run.order) * place // CHECKPOINTS
        state = replace(run, order=run.order[:stop]).train()
        rates: Any = run.optimizer.learning_rate  # type: ignore[attr-defined]
        there = Trained(model.setup, run, state[0])
        # The last rate is 0 or near it: the mean of those since the checkpoint before.
        begin = len(run.order) * (place - 1) // CHECKPOINTS
        rate = float(np.mean(rates[begin:stop]))
        chosen = None
        if adam:
            flat = there.engine.blocks.flatten
            first, second = (flat(run.named(state[i])) for i in (1, 2))
            betas = run.optimizer.betas  # type: ignore[attr-defined]
            chosen = AdamDiagonal(Moments(first, second, stop, betas))
        total = total + rate * there.scores(chosen)
    return np.asarray(total, np.float32)


def projected(models: list[Trained], dimension: int) -> Scores:
    """TRAK: the mean over models, each with a projection of its own."""
    found, shares = [], []
    for number, model in enumerate(models):
        setup = model.setup
        margins = isinstance(setup.task, Supervised)
        task = replace(setup.task, measured="margin") if margins else setup.task  # type: ignore[type-var]
        engine = model.engine_of(task)
        examples, queries = (
            task.examples(items, size=setup.batch) for items in (setup.items, setup.queries)
        )
        projection = (
            Dense(dimension, seed=number)
            if engine.size < 1 << 15
            else Sparse(dimension // 4 * 4, seed=number)
        )
        of: Literal["loss", "measure"] = "measure" if margins else "loss"
        found.append(projected_scores(engine, examples, queries, projection, of=of))
        shares.append(wrong_share(engine, examples) if margins else np.ones(len(setup.items)))
    result: Scores = np.mean(found, 0) * np.mean(shares, 0)[:, None]
    return result.astype(np.float32)


def of_halves(setup: Setup) -> dict[str, Callable[[list[Trained]], Scores]]:
    """Methods that take the mean over models of other seeds, each trained on a half."""
    words = f"{MODELS} models of halves"
    found: dict[str, Callable[[list[Trained]], Scores]] = {
        f"TRAK, {words}": lambda models: projected(models, dimension_of(setup)),
        f"influence, EK-FAC, {words}": lambda models: np.mean(
            [model.scores(factored(model)) for model in models], 0
        ),
    }
    if setup.together > 1:
        found[f"{EXACT}, {MODELS} runs on halves"] = lambda models: np.mean(
            [exact(model) for model in models], 0
        )
    return found


def dimension_of(setup: Setup) -> int:
    """That gradients are projected to: a quarter of the examples."""
    return len(setup.items) // 4


def by_seed(setup: Setup) -> dict[str, Callable[[Trained], Scores]]:
    """Methods that explain one run, by the name in the table."""
    found: dict[str, Callable[[Trained], Scores]] = {
        EXACT: exact,
        SOLVED: solved,
        "influence, EK-FAC": lambda model: model.scores(factored(model)),
        "influence, EK-FAC, damped for stopping early": factored_early,
        "influence, K-FAC": lambda model: model.scores(factored(model, "kfac")),
        "influence, diagonal": plain_diagonal,
        "gradient dot": lambda model: model.scores(),
        "gradient cosine": cosine,
        f"TracIn, {CHECKPOINTS} checkpoints": traced,
        "TRAK, 1 model": lambda model: projected([model], dimension_of(setup)),
    }
    if setup.decay:
        found["influence, dense"] = whole
        found["influence, dense, damped for stopping early"] = stopped
    else:
        found[SOLVED_EARLY] = solved_early
        found[f"TracIn, {CHECKPOINTS} checkpoints, scaled as Adam does"] = lambda model: traced(
            model, adam=True
        )
    return found


def by_text(setup: Setup, folder: Path, step: str) -> Scores:
    """A step that reads, each query being a target of its own."""
    folder.mkdir(parents=True, exist_ok=True)

    def written(name: str, texts: Any) -> Path:
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        return path

    pool = written("pool", setup.texts)
    names = [f"q{number:03}" for number in range(len(setup.query_texts))]
    asked = {
        name: str(written(name, [text]))
        for name, text in zip(names, setup.query_texts, strict=True)
    }
    found = dataworth.score(str(pool), asked, steps=(step,), holdout=0.0, engine=1).to_arrow()
    order = np.argsort(found["offset"].to_numpy())
    label = step.partition("(")[0]
    columns = [found[f"utility:{label}:{name}"].to_numpy()[order] for name in names]
    return np.stack(columns, 1).astype(np.float32)


def chance(setup: Setup) -> Scores:
    """Numbers that know nothing."""
    random = np.random.default_rng(0)
    return random.standard_normal((len(setup.items), len(setup.queries))).astype(np.float32)
