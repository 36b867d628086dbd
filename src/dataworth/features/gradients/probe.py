"""The accuracy of approximations, compared with the exact answer on a tiny copy.

The copy has the model's own architecture with a few hundred to a few thousand parameters, trained
for a moment on sequences with something to learn; there, the dense curvature can be formed and
every approximation has a correlation with the truth.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.preconditioners.base import Damping, Preconditioner
from dataworth.features.gradients.preconditioners.exact import dense
from dataworth.features.gradients.preconditioners.products import Kind
from dataworth.features.gradients.scoring import scores
from dataworth.features.gradients.task import CausalLM, Task

Fit = Callable[[Gradients, Examples], Preconditioner]
VOCABULARY = 24
_LENGTH = 16

# Of the configurations of Hugging Face models: what is made small, under each of its names.
_SMALL = {
    8: ("hidden_size", "n_embd", "d_model", "embed_dim"),
    16: ("intermediate_size", "n_inner", "ffn_dim", "d_ff"),
    2: (
        "num_attention_heads",
        "n_head",
        "num_heads",
        "num_hidden_layers",
        "n_layer",
        "num_layers",
        "num_key_value_heads",
    ),
    4: ("head_dim",),
    64: ("max_position_embeddings", "n_positions", "n_ctx"),
    VOCABULARY: ("vocab_size",),
}


def small_copy(model: nn.Module, seed: int = 0) -> nn.Module:
    """Build a tiny model of the same architecture: of Hugging Face models and those of `lm`.

    A model of PEFT gives a tiny base with adapters as they are configured, which alone are trained.
    Raises ConfigError for others: make one by hand.
    """
    from dataworth.lm.model import CausalLM as Ours
    from dataworth.lm.model import build

    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        return _small_adapters(model, seed)

    config: Any = getattr(model, "config", None)
    if isinstance(model, Ours):
        sizes = {"hidden": 8, "layers": 2, "heads": 2, "intermediate": 16, "context": 64}
        return build(
            dataclasses.replace(config, **sizes, vocabulary=VOCABULARY, mup_base=None), seed
        )
    if config is None or not hasattr(config, "to_dict"):
        raise _no_copy(model)
    config = copy.deepcopy(config)
    for size, names in _SMALL.items():
        for name in names:
            if getattr(config, name, None) is not None:
                setattr(config, name, size)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(config, name, None)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return type(model)(config)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _no_copy(model, error) from error


def _small_adapters(model: Any, seed: int) -> nn.Module:
    """Build a tiny base with new adapters of the model's kind beside it."""
    from peft import get_peft_model

    base = small_copy(model.get_base_model(), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            config = copy.deepcopy(model.active_peft_config)
            config.inference_mode = False  # or they would be frozen
            adapted: nn.Module = get_peft_model(base, config)
            return adapted
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise _no_copy(model, error) from error


def _no_copy(model: nn.Module, error: Exception | None = None) -> ConfigError:
    return ConfigError(
        f"no tiny copy can be made of {type(model).__name__}: give a small model as `probe`"
        + (f" ({error})" if error else "")
    )


def sequences(count: int, seed: int) -> list[list[int]]:
    """Draw ids of a Markov chain that mostly takes one of two ways on: there is much to learn."""
    ways = np.random.default_rng(7).integers(0, VOCABULARY, (VOCABULARY, 2))
    generator = np.random.default_rng([8, seed])
    out = []
    for _ in range(count):
        ids = [int(generator.integers(VOCABULARY))]
        for _ in range(_LENGTH - 1):
            free = generator.random() < 0.1
            ids.append(
                int(generator.integers(VOCABULARY) if free else generator.choice(ways[ids[-1]]))
            )
        out.append(ids)
    return out


@dataclass(frozen=True)
class Agreement:
    """The agreement of one approximation with the dense answer: correlations of values and of
    ranks, and the ratio of their spreads (1 where the scale is right too).
    """

    name: str
    about: str
    pearson: float
    spearman: float
    spread: float


@dataclass(frozen=True)
class SelfCheck:
    """A comparison of approximations with the truth on a small copy, and its results."""

    architecture: str
    parameters: int
    examples: int
    queries: int
    truth: str
    found: tuple[Agreement, ...]

    def __str__(self) -> str:
        lines = [
            f"Against the {self.truth}: a {self.architecture} of {self.parameters:,} parameters, "
            f"{self.examples} examples, {self.queries} queries.",
            f"{'approximation':<16}{'correlation':>12}{'of ranks':>10}{'spread':>10}",
        ]
        lines += [
            f"{one.name:<16}{one.pearson:>12.4f}{one.spearman:>10.4f}{one.spread:>10.3g}"
            for one in self.found
        ]
        return "\n".join(lines)


def compare(
    engine: Gradients,
    examples: Examples,
    queries: Examples,
    fits: Mapping[str, Fit],
    *,
    kind: Kind = "gauss_newton",
    damping: Damping | None = None,
) -> SelfCheck:
    """Compare scores by each of `fits` with those by the dense curvature, under one damping rule.

    Correlations are within queries and averaged over them. ConfigError if the model has too many
    parameters for a dense curvature.
    """
    exact = dense(engine, examples, kind=kind, damping=damping)
    truth = scores(engine, examples, queries, exact).astype(np.float64)
    agreements = []
    for name, fit in fits.items():
        preconditioner = fit(engine, examples)
        ours = scores(engine, examples, queries, preconditioner).astype(np.float64)
        agreements.append(
            Agreement(
                name,
                preconditioner.describe(),
                _correlation(ours, truth),
                _correlation(_ranks(ours), _ranks(truth)),
                float(ours.std() / truth.std()),
            )
        )
    return SelfCheck(
        type(engine.model).__name__,
        engine.size,
        len(examples),
        len(queries),
        exact.describe(),
        tuple(agreements),
    )


def _correlation(ours: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return the mean over columns of Pearson's correlation."""
    a, b = ours - ours.mean(0), truth - truth.mean(0)
    both = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return float(np.mean((a * b).sum(0) / np.where(both > 0, both, 1)))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.argsort(np.argsort(values, axis=0), axis=0), np.float64)


def self_check(
    model: nn.Module,
    fits: Mapping[str, Fit],
    *,
    probe: nn.Module | None = None,
    task: Task | None = None,
    damping: Damping | None = None,
    examples: int = 48,
    queries: int = 8,
    steps: int = 200,
    seed: int = 0,
) -> SelfCheck:
    """Compare approximations on a tiny copy of a causal language model.

    `probe`: a small model to use instead; it is trained here, so give one that may be changed.
    `damping`: of the exact answer, and what the approximations should have too.
    """
    tiny = probe if probe is not None else small_copy(model, seed)
    task = task or CausalLM()
    engine = Gradients(tiny, task)
    train = task.examples(sequences(examples, seed), size=16)
    _train(engine, train, steps)
    test = task.examples(sequences(queries, seed + 1), size=16)
    return compare(engine, train, test, fits, damping=damping)


def _train(engine: Gradients, examples: Examples, steps: int) -> None:
    """Train by Adam on all examples at once for a moment, the same each time."""
    optimizer = torch.optim.Adam(list(engine.parameters().values()), 1e-2)
    batches = [batch.to(engine.device) for _, batch in examples]
    for _ in range(steps):
        optimizer.zero_grad()
        for batch in batches:
            outputs = engine.task.outputs(engine.model, batch)
            loss = engine.task.loss(outputs, batch).sum() / len(examples)
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
