"""The maximal update parametrisation (muP) for Adam: one learning rate for all widths.

Yang et al. 2022 (arXiv 2203.03466), with the width multiplier m = hidden / mup_base:

| part | here |
|---|---|
| hidden matrices | variance 1 / fan-in at the start, learning rate divided by m |
| embedding, norms | as without muP |
| read-out | output divided by m; starts at zero unless it is the embedding |
| attention | q·k/d instead of q·k/sqrt(d), the same at a head size of 32 |

Depth, batch and number of tokens are not covered: find the learning rate with those of the final
run. `coordinate_check` shows whether it works: activations do not grow with width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dataworth.lm.llama import CausalLM, ModelConfig, build


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Group parameters for an optimizer: `factor` multiplies the learning rate.

    Matrices decay, norms and biases do not. Under muP the hidden matrices have factor
    mup_base / hidden; all other factors are 1.
    """
    config = model.config if isinstance(model, CausalLM) else None
    factor = 1 / config.multiplier if config is not None else 1.0
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        hidden = parameter.ndim > 1 and not name.startswith(("embed", "read_out"))
        key = (factor if hidden else 1.0, weight_decay if parameter.ndim > 1 else 0.0)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in sorted(groups.items())
    ]


@dataclass(frozen=True)
class Coordinate:
    """Mean absolute activation of one layer at one width after some steps, over the seeds."""

    layer: str
    width: int
    step: int
    size: float


@dataclass(frozen=True)
class CoordinateCheck:
    """`table`: all activations. `slopes`: for each layer d log(size) / d log(width), last step."""

    table: tuple[Coordinate, ...]
    slopes: dict[str, float]


def coordinate_check(
    widths: Sequence[int] = (32, 64, 128, 256),
    steps: int = 4,
    *,
    mup: bool = True,
    learning_rate: float = 1e-2,
    layers: int = 2,
    vocabulary: int = 256,
    seeds: int = 3,
) -> CoordinateCheck:
    """Train models of several widths for a few steps on one batch and compare activations.

    With muP every slope is near zero or below: the change of an activation does not grow with the
    width. Without it, at the same learning rate, the logits and the stream grow. The batch is
    random tokens, the same for all widths; the base width is the first of `widths`. Activations
    are those after the last step.
    """
    table = []
    for width in widths:
        shape = ModelConfig(
            width, layers, max(width // 16, 1), 2 * width, vocabulary, 32, tied=False
        )
        config = replace(shape, mup_base=widths[0]) if mup else shape
        sizes = [_activations(config, steps, learning_rate, seed) for seed in range(seeds)]
        for step in range(steps + 1):
            for layer in sizes[0][step]:
                mean = float(np.mean([one[step][layer] for one in sizes]))
                table.append(Coordinate(layer, width, step, mean))
    return CoordinateCheck(tuple(table), _slopes(table, steps))


def _slopes(table: Sequence[Coordinate], step: int) -> dict[str, float]:
    out = {}
    for layer in dict.fromkeys(row.layer for row in table):
        rows = [row for row in table if row.layer == layer and row.step == step]
        x, y = np.log([row.width for row in rows]), np.log([row.size for row in rows])
        out[layer] = float(np.polyfit(x, y, 1)[0])
    return out


def _activations(
    config: ModelConfig, steps: int, learning_rate: float, seed: int
) -> list[dict[str, float]]:
    """Return mean |activation| of each layer before training and after each step."""
    model = build(config, seed)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.0), lr=learning_rate)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(config.vocabulary, (4, config.context + 1), generator=generator)
    seen: dict[str, float] = {}

    def watch(name: str, module: nn.Module) -> None:
        def note(_: nn.Module, __: Any, output: Tensor) -> None:
            seen[name] = float(output.detach().abs().mean())

        module.register_forward_hook(note)

    watch("embedding", model.embed)
    for i, block in enumerate(model.blocks):
        watch(f"block {i}", block)
    history = []
    for _ in range(steps + 1):
        logits = model(tokens[:, :-1])
        seen["logits"] = float(logits.detach().abs().mean())
        history.append(dict(seen))
        loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return history
