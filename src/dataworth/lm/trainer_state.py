"""Read Adam's memory in a checkpoint of transformers' Trainer: `optimizer.pt`, `optimizer.bin`.

The file numbers parameters in the order of its groups and names none of them (older versions of
torch): Trainer puts those that decay into the first group and norms and biases into the second,
each in the order of the model. The shapes tell if that is so.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dataworth.engine.files import read_json
from dataworth.errors import ConfigError
from dataworth.lm.moments import OptimizerState

log = logging.getLogger("dataworth")

FILES = ("optimizer.pt", "optimizer.bin")
_NORM = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)
# Which parameters Trainer lets decay, by its versions: the first that fits the shapes is taken.
_DECAYS: tuple[Callable[[str, Tensor], bool], ...] = (
    lambda name, value: not _NORM.search(name),
    lambda name, value: value.dim() > 1,
    lambda name, value: "bias" not in name,
)


def trainer_state(folder: Path, module: nn.Module) -> OptimizerState | None:
    """Return the state beside a model, by the names of `module`; None if there is none.

    Raises ConfigError for one that is of no Adam, or of other parameters.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    found = _read(path)
    named = {name: value for name, value in module.named_parameters() if value.requires_grad}
    groups = found["param_groups"]
    names = _names(path, groups, found["state"], named)
    rates = _travelled(folder, groups, found["state"])
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    travelled: dict[str, float] = {}
    decay: dict[str, float] = {}
    steps = 0
    for group, of, rate in zip(groups, names, rates, strict=True):
        for key, name in of:
            state = found["state"][key]
            first[name] = _array(state["exp_avg"])
            second[name] = _array(state["exp_avg_sq"])
            travelled[name], decay[name] = rate, float(group.get("weight_decay", 0.0))
            steps = max(steps, int(state["step"]))
    betas, epsilon = groups[0].get("betas", (0.9, 0.999)), groups[0].get("eps", 1e-8)
    return OptimizerState(
        first, second, travelled, decay, steps, (float(betas[0]), float(betas[1])), float(epsilon)
    )


def _read(path: Path) -> dict[str, Any]:
    """Return the file's groups and states. Nothing in it is run."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{path}: not the state of an optimizer that can be read without running code of it "
            f"({reason}); remove the file to do without"
        ) from error
    state = found.get("state") if isinstance(found, dict) else None
    groups = found.get("param_groups") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not state or not isinstance(groups, list):
        raise ConfigError(f"{path}: holds no state of an optimizer")
    for one in state.values():
        if not isinstance(one, dict) or not {"step", "exp_avg", "exp_avg_sq"} <= set(one):
            kinds = ", ".join(map(str, one)) if isinstance(one, dict) else type(one).__name__
            raise ConfigError(
                f"{path}: is not of Adam in full precision: its state holds {kinds}; moments need "
                "step, exp_avg and exp_avg_sq (optim=adamw_torch)"
            )
    return {"state": state, "param_groups": groups}


def _names(
    path: Path,
    groups: Sequence[Mapping[str, Any]],
    state: Mapping[Any, Any],
    named: Mapping[str, Tensor],
) -> list[list[tuple[Any, str]]]:
    """Return for each group (key of the state, name of the parameter). Raises ConfigError."""
    keys = [list(group["params"]) for group in groups]

    def fits(names: Sequence[Sequence[str]]) -> bool:
        return [len(of) for of in names] == [len(of) for of in keys] and all(
            name in named
            and (key not in state or tuple(state[key]["exp_avg"].shape) == tuple(named[name].shape))
            for of, some in zip(keys, names, strict=True)
            for key, name in zip(of, some, strict=True)
        )

    ways: list[list[list[str]]] = []
    if all(group.get("param_names") for group in groups):
        ways.append([list(group["param_names"]) for group in groups])
    if all(isinstance(key, str) for of in keys for key in of):  # saved by name
        ways.append([[str(key) for key in of] for of in keys])
    ways.append([list(named)])
    for decays in _DECAYS:
        parts: list[list[str]] = [[], []]
        for name, value in named.items():
            parts[0 if decays(name, value) else 1].append(name)
        ways.append(parts)
    way = next((way for way in ways if fits(way)), None)
    if way is None:
        raise ConfigError(
            f"{path}: is of another model, or of other parameters than those that are trained "
            f"here: {sum(map(len, keys)):,} in groups of {', '.join(str(len(of)) for of in keys)} "
            f"do not fit the model's {len(named):,} by their shapes"
        )
    return [
        [(key, name) for key, name in zip(of, some, strict=True) if key in state]
        for of, some in zip(keys, way, strict=True)
    ]


def _travelled(
    folder: Path, groups: Sequence[Mapping[str, Any]], state: Mapping[Any, Any]
) -> list[float]:
    """Return the sum of the learning rates of all steps, for each group.

    From what Trainer logged in trainer_state.json, between whose lines the rate is taken as
    straight; without it the first rate is taken for all steps, and a warning says so.
    """
    firsts = [float(group.get("initial_lr", group.get("lr", 0.0))) for group in groups]
    steps = max(int(one["step"]) for one in state.values())
    file = folder / "trainer_state.json"
    logged = read_json(file).get("log_history", []) if file.is_file() else []
    known = {
        int(one["step"]): float(one["learning_rate"]) for one in logged if "learning_rate" in one
    }
    if not known:
        log.warning(
            "%s: no learning rates were logged (trainer_state.json): the first one is taken for "
            "all %d steps, which adam_cg reads",
            folder,
            steps,
        )
        return [first * steps for first in firsts]
    at = sorted(known)
    total = float(np.interp(np.arange(1, steps + 1), at, [known[step] for step in at]).sum())
    return [total * (first / firsts[0] if firsts[0] else 1.0) for first in firsts]


def _array(value: Tensor) -> Any:
    return value.detach().float().cpu().numpy()
