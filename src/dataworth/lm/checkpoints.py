"""Checkpoints of a training: the weights, AdamW's two moments, the step and the curve.

    checkpoints/step-00000100/  state.safetensors  facts.json

Each is a folder that is there as a whole or not at all. Nothing in it can execute.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dataworth.engine.files import atomic_folder, damaged, read_object, sweep
from dataworth.errors import RunError

_STATE, _FACTS = "state.safetensors", "facts.json"
_MORE = "more."
_MOMENTS = ("exp_avg", "exp_avg_sq")  # torch's names


@dataclass
class State:
    """All that a training changes. `more`: arrays by name that an online mixture has learned."""

    module: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    more: dict[str, torch.Tensor] = field(default_factory=dict)

    def note(self, loss: float, tokens: int, every: int, *, last: bool) -> None:
        """Remember a step's loss; after `every` steps their mean is a point of the curve."""
        self.recent.append(loss)
        if len(self.recent) == every or last:
            self.curve.append((tokens, sum(self.recent) / len(self.recent)))
            self.recent.clear()


class Checkpoints:
    """The checkpoints of one training; `identity` says which training it is."""

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = Path(folder) / "checkpoints", dict(identity)
        sweep(self.folder)

    def save(self, state: State, *, keep: bool) -> None:
        """Write the state; those before are removed unless `keep`."""
        names = {parameter: name for name, parameter in state.module.named_parameters()}
        tensors = {f"weight.{name}": one.detach() for one, name in names.items()}
        for parameter, values in state.optimizer.state.items():
            for moment in _MOMENTS:
                tensors[f"{moment}.{names[cast(nn.Parameter, parameter)]}"] = values[moment]
        tensors |= {f"{_MORE}{name}": one for name, one in state.more.items()}
        facts = {
            "step": state.step,
            "curve": state.curve,
            "recent": state.recent,
            "identity": self.identity,
        }
        before = self._all()
        with atomic_folder(self.folder / f"step-{state.step:08d}") as temporary:
            save_file({name: one.contiguous() for name, one in tensors.items()}, temporary / _STATE)
            (temporary / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
        for path in [] if keep else before:
            shutil.rmtree(path, ignore_errors=True)

    def restore(self, state: State) -> None:
        """Set `state` to the newest checkpoint, if there is one.

        Raises RunError if it is of another training, or damaged.
        """
        found = self._all()
        if not found:
            return
        path = found[-1]
        remedy = "delete the folder and run the same command again"
        facts = read_object(path / _FACTS, remedy)
        with damaged(path, remedy):
            self._compare(path, facts.get("identity", {}))
            step = int(facts["step"])
            curve = [(int(tokens), float(loss)) for tokens, loss in facts["curve"]]
            recent = [float(loss) for loss in facts["recent"]]
            _load(state, load_file(path / _STATE), step)
        state.step, state.curve, state.recent = step, curve, recent

    def _compare(self, path: Path, identity: Mapping[str, Any]) -> None:
        names = sorted(
            name
            for name in {*identity, *self.identity}
            if identity.get(name) != self.identity.get(name)
        )
        if names:
            lines = [f"{name}: {identity.get(name)} → {self.identity.get(name)}" for name in names]
            raise RunError(
                f"{path}: is of another training; use another folder or remove this one. "
                f"Changed: {'; '.join(lines)}"
            )

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))


def _load(state: State, tensors: Mapping[str, torch.Tensor], step: int) -> None:
    some = (name for name in tensors if name.startswith(_MORE))
    state.more = {name.removeprefix(_MORE): tensors[name] for name in some}
    with torch.no_grad():
        for name, parameter in state.module.named_parameters():
            parameter.copy_(tensors[f"weight.{name}"])
            if f"{_MOMENTS[0]}.{name}" in tensors:
                state.optimizer.state[parameter] = {
                    # Fused AdamW counts where the parameter lies.
                    "step": torch.full((), float(step), device=parameter.device),
                    **{m: tensors[f"{m}.{name}"].to(parameter.device) for m in _MOMENTS},
                }
