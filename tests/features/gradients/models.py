"""Small models for the tests, and the slow, general truth by torch.func."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dataworth.features.gradients import Batch, Blocks, Gradients


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seeded(seed: int, model: nn.Module, spread: float = 0.5) -> nn.Module:
    """All parameters drawn at random, in float64."""
    model.double()
    generator = rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model


def truth(model: nn.Module, engine: Gradients, batch: Batch, of: str = "loss") -> Tensor:
    """Per-example gradients by torch.func, one example after the other: [n, P]."""
    model.eval()
    rows = []
    for row in range(len(batch)):
        one = batch.take(slice(row, row + 1))

        def loss(parameters: dict[str, Tensor], one: Batch = one) -> Tensor:
            inner = _Called(model, parameters)
            outputs = engine.task.outputs(inner, one)
            return getattr(engine.task, of)(outputs, one).sum()

        grads = torch.func.grad(loss)({k: v.detach() for k, v in engine.parameters().items()})
        rows.append(engine.blocks.flatten(grads))
    return torch.stack(rows)


class _Called(nn.Module):
    """A model called with other parameters."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self.inner = [model]
        self.values = parameters
        self.config = getattr(model, "config", None)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return torch.func.functional_call(self.inner[0], self.values, args, kwargs)


class TinyLM(nn.Module):
    """Ids to logits: tables, attention, a gated layer, RMS norms, tied read-out or not."""

    def __init__(self, vocabulary: int = 17, hidden: int = 8, tied: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, hidden)
        self.places = nn.Embedding(32, hidden)
        self.first = nn.RMSNorm(hidden, eps=1e-5)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)
        self.second = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, 12)
        self.down = nn.Linear(12, hidden, bias=False)
        self.read = nn.Linear(hidden, vocabulary, bias=False)
        if tied:
            self.read.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids) + self.places(torch.arange(ids.shape[1])[None])
        q, k, v = self.qkv(self.first(x)).unsqueeze(1).chunk(3, -1)
        x = x + self.out(
            nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1)
        )
        x = x + self.down(torch.tanh(self.up(self.second(x))))
        return self.read(x)


def documents(
    count: int, seed: int = 0, vocabulary: int = 17, longest: int = 12
) -> list[list[int]]:
    """Sequences of ids of several lengths."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, longest + 1, count)
    return [generator.integers(1, vocabulary, length).tolist() for length in lengths]


def names(blocks: Blocks) -> list[str]:
    return [block.name for block in blocks]
