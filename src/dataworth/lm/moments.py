"""The state of AdamW at the end of a training, kept beside the model: `moments.npz`.

For methods that take a step as the optimizer would, or that ask how far it came before it stopped.
It is no part of the model: neither loading nor the model's identity depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dataworth.engine.files import atomic, damaged, read_arrays

FILE = "moments.npz"


@dataclass(frozen=True)
class OptimizerState:
    """AdamW's state by parameter name: `first`, `second` moments, in the parameter's shape;
    `rates`: the sum of the learning rates of all steps; `decay`: decoupled weight decay.

    Moments are not corrected for their start: `betas`, `step`.
    """

    first: dict[str, NDArray[np.float32]]
    second: dict[str, NDArray[np.float32]]
    rates: dict[str, float]
    decay: dict[str, float]
    step: int
    betas: tuple[float, float]
    epsilon: float


def save_moments(
    folder: Path, module: nn.Module, optimizer: torch.optim.Adam, travelled: float
) -> None:
    """Write the state of an optimizer that has stepped.

    `travelled`: the sum of the learning rates so far, which each group's `factor` multiplies.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    found: dict[str, Any] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name, state = names[parameter], optimizer.state[parameter]
            found[f"first.{name}"] = state["exp_avg"].cpu().numpy()
            found[f"second.{name}"] = state["exp_avg_sq"].cpu().numpy()
            found[f"rates.{name}"] = travelled * group.get("factor", 1.0)
            found[f"decay.{name}"] = group["weight_decay"]
            found |= {"step": int(state["step"]), "epsilon": group["eps"]}
            found["betas"] = group["betas"]
    with atomic(folder / FILE) as temporary, temporary.open("wb") as file:
        np.savez(file, **found)


def load_moments(folder: Path) -> OptimizerState | None:
    """Load the state beside a model, None without one. DataworthError for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return None
    by_kind: dict[str, dict[str, Any]] = {"first": {}, "second": {}, "rates": {}, "decay": {}}
    remedy = "train the model again, or remove the file to do without"
    arrays = read_arrays(path, remedy)
    with damaged(path, remedy):
        for key, value in arrays.items():
            kind, _, name = key.partition(".")
            if name:
                by_kind[kind][name] = value if value.ndim else float(value)
        step, epsilon = int(arrays["step"]), float(arrays["epsilon"])
        betas = (float(arrays["betas"][0]), float(arrays["betas"][1]))
        return OptimizerState(**by_kind, step=step, betas=betas, epsilon=epsilon)
