"""Trainings to do: each different selection once for each seed, size and number of tokens.

A training's name hangs on all that its numbers hang on: the documents, their copies, the seed, the
model, the tokens, the settings of training and the tokenizer. Equal selections of several
candidates, targets or comparisons are one training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataworth.comparing.choices import Chosen
from dataworth.comparing.plan import ComparePlan, SizePlan
from dataworth.engine.files import damaged, read_object
from dataworth.flow.settings import fingerprint

FORM = 1
"""Goes up when a training of the same settings would give other numbers."""


@dataclass(frozen=True)
class Unit:
    """One model to train. `targets`: whose sets it is measured on."""

    name: str
    content: str
    seed: int
    size: str
    tokens: int
    targets: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the unit as JSON."""
        return {**vars(self), "targets": list(self.targets)}


Key = tuple[str, str, int, str, int]
"""(selection, target, seed, size, tokens)."""


def units_of(
    plan: ComparePlan, chosens: Sequence[Chosen], marks: Mapping[str, str]
) -> tuple[list[Unit], dict[Key, str]]:
    """Return (all different trainings in working order, the training of each place in the grid).

    `marks`: the fingerprint of each size's tokenizer. The order goes by size and tokens as the plan
    has them, then by seeds, so that what is there when it is stopped is whole for the first ones.
    """
    places = {(item.selection, item.target, item.seed): item.content for item in chosens}
    wanted: dict[str, tuple[Unit, set[str]]] = {}
    grid: dict[Key, str] = {}
    for size in plan.sizes:
        for tokens in plan.tokens:
            for seed in plan.seeds:
                for candidate in plan.candidates:
                    for target in plan.targets:
                        content = places.get((candidate.name, target, seed))
                        if content is None:
                            content = places[candidate.name, None, seed]
                        name = name_of(plan, size, content, seed, tokens, marks[size.name])
                        unit = Unit(name, content, seed, size.name, tokens, ())
                        measured = plan.targets if plan.transfer else (target,)
                        wanted.setdefault(name, (unit, set()))[1].update(measured)
                        grid[candidate.name, target, seed, size.name, tokens] = name
    units = [Unit(**{**vars(unit), "targets": tuple(sorted(of))}) for unit, of in wanted.values()]
    return units, grid


def name_of(
    plan: ComparePlan, size: SizePlan, content: str, seed: int, tokens: int, mark: str
) -> str:
    """Return the name of a training's folder."""
    options = size.as_dict()
    options.pop("name")
    return fingerprint([FORM, content, seed, tokens, options, dict(plan.training), mark])


def result_file(folder: Path, name: str) -> Path:
    """Return the file of a training's numbers: it is done if and only if this is there."""
    return folder / name / "result.json"


def read_result(path: Path) -> dict[str, Any]:
    """Return a training's numbers. RunError names the file if it is damaged."""
    result = read_object(path)
    with damaged(path):
        for name in ("parameters", "tokens_seen", "unique_tokens"):
            result[name] = int(result[name])
        for name in ("epochs", "seconds"):
            result[name] = float(result[name])
        result["curve"] = [(int(tokens), float(loss)) for tokens, loss in result["curve"]]
        result["evaluations"] = {
            key: {measure: float(value) for measure, value in values.items()}
            for key, values in result["evaluations"].items()
        }
    return result


def model_folder(folder: Path, name: str) -> Path:
    """Return the folder of a training's model, which is there if models are kept."""
    return folder / name / "model"


def missing(
    units: Iterable[Unit],
    folder: Path,
    keys: Mapping[str, Sequence[str]],
    *,
    models: bool = False,
) -> list[Unit]:
    """Return the units not done; `keys`: target → sets; `models`: they are to leave a model."""
    return [unit for unit in units if not done(unit, folder, keys, models=models)]


def done(
    unit: Unit, folder: Path, keys: Mapping[str, Sequence[str]], *, models: bool = False
) -> bool:
    """Tell if there is a result with all that is measured, and the model if that is wanted."""
    path = result_file(folder, unit.name)
    if not path.is_file() or not covers(read_result(path), unit, keys):
        return False
    return not models or model_folder(folder, unit.name).is_dir()


def covers(result: Mapping[str, Any], unit: Unit, keys: Mapping[str, Sequence[str]]) -> bool:
    """Tell if a result holds the measures of all the unit's targets, and of the pool's sample."""
    wanted = [key for target in (*unit.targets, "") for key in keys.get(target, ())]
    return all(key in result["evaluations"] for key in wanted)
