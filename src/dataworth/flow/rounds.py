"""The rounds of a loop: their steps, their trainer, and the record that each leaves.

rounds/1/round.json    what the round depended on, its list of steps, selection and checkpoint
rounds/1/checkpoint/   what the trainer wrote
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataworth.config import describe, parse_call
from dataworth.engine.files import damaged, read_object, write_json
from dataworth.errors import ConfigError, DataworthError, MissingExtra, RunError
from dataworth.flow.identity import content_of
from dataworth.flow.trainer import SmallTrainer
from dataworth.methods.base import Step
from dataworth.methods.registry import check_steps, parse_step

CHECKPOINT = "{checkpoint}"
"""Stands in a step's options for the model of the round before."""
ROUNDS, RECORD, MODEL = "rounds", "round.json", "checkpoint"
TRAINERS: dict[str, type[Any]] = {SmallTrainer.name: SmallTrainer}

Trainer = Callable[..., Any]
"""(selection, previous checkpoint or None, number of the round, folder) → checkpoint's folder."""

_PLACE = re.compile(r"""(?<!["'])\{checkpoint\}[^\s,()\[\]{}"']*""")  # without quotes, with a path
_FUNCTION = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)")


def steps_of_rounds(steps: Any, rounds: int) -> list[tuple[Step, ...]]:
    """Return the steps of each round: one list for all, or a list of lists, the last one for all
    rounds after it.

    Raises ConfigError for more lists than rounds, or lists beside single steps.
    """
    items = [steps] if isinstance(steps, str | Mapping) or hasattr(steps, "fit") else list(steps)
    lists = [isinstance(item, list | tuple) for item in items]
    if not any(lists):
        return [tuple(_step(item) for item in items)] * rounds
    if not all(lists):
        raise ConfigError(
            "steps: give one list for all rounds, or one list for each, not a mixture"
        )
    if len(items) > rounds:
        raise ConfigError(
            f"steps: {len(items)} lists for {rounds} rounds; give at most one a round"
        )
    items += [items[-1]] * (rounds - len(items))
    return [tuple(_step(step) for step in item) for item in items]


def _step(value: Any) -> Step:
    """Return a step; `{checkpoint}` may stand in its text without quotes."""
    return parse_step(_PLACE.sub(r'"\g<0>"', value) if isinstance(value, str) else value)


def asks_checkpoint(steps: Sequence[Step]) -> bool:
    """Return whether an option of one of the steps stands for the model of the round before."""
    return any(_mentions(step) for step in steps)


def _mentions(value: Any) -> bool:
    if isinstance(value, str):
        return CHECKPOINT in value
    if isinstance(value, Mapping):
        return any(map(_mentions, value.values()))
    if dataclasses.is_dataclass(value):
        return any(_mentions(getattr(value, field.name)) for field in dataclasses.fields(value))
    return isinstance(value, list | tuple) and any(map(_mentions, value))


def filled(value: Any, checkpoint: str) -> Any:
    """Return a step, or a value of its options, with the model's folder for `{checkpoint}`."""
    if not _mentions(value):
        return value
    if isinstance(value, str):
        return value.replace(CHECKPOINT, checkpoint)
    if isinstance(value, list | tuple):
        return type(value)(filled(item, checkpoint) for item in value)
    if isinstance(value, Mapping):
        return {name: filled(item, checkpoint) for name, item in value.items()}
    names = [field.name for field in dataclasses.fields(value) if field.init]
    options = {name: getattr(value, name) for name in names if _mentions(getattr(value, name))}
    return dataclasses.replace(value, **{n: filled(v, checkpoint) for n, v in options.items()})


def budgets_of(budget: Any, rounds: int) -> list[Any]:
    """Return the budget of each round: one for all, or a list of one a round."""
    if not isinstance(budget, list | tuple):
        return [budget] * rounds
    if len(budget) != rounds:
        raise ConfigError(f"budget: {len(budget)} budgets for {rounds} rounds; give one, or each's")
    return list(budget)


def check_trainer(train: Trainer) -> None:
    """Raise a DataworthError for what a trainer lacks, where it can tell."""
    if type(train) in TRAINERS.values():
        train.check()  # type: ignore[attr-defined]


def check_rounds(lists: Sequence[Sequence[Step]], start: Path | None) -> None:
    """Raise a DataworthError for what the steps of any round lack, before any work."""
    for number, steps in enumerate(lists, 1):
        asking = [step for step in steps if asks_checkpoint([step])]
        if asking and number == 1 and start is None:
            raise ConfigError(
                f"round 1: {asking[0].name} asks for {CHECKPOINT}, but nothing was trained before; "
                "give round 1 other steps, or the model to start from (--start FOLDER)"
            )
        check_steps([step for step in steps if step not in asking])
        for step in asking:
            try:
                check_steps([filled(step, str(start))] if start is not None else [step])
            except MissingExtra:
                raise
            except DataworthError:
                if start is not None:
                    raise


def trainer_of(train: Any) -> tuple[Trainer, str]:
    """Return a trainer and what it is called in records.

    `train`: a callable, `module:function`, or the house's own as text, `small(epochs=2)`. Raises
    ConfigError for a function that cannot be imported.
    """
    if isinstance(train, str):
        match = _FUNCTION.fullmatch(train.strip())
        if match is None:
            made: Any = parse_call(train, TRAINERS)
            return made, describe(made, TRAINERS, full=True)
        return _imported(*match.groups()), train.strip()
    if type(train) in TRAINERS.values():
        return train, describe(train, TRAINERS, full=True)
    if not callable(train):
        raise ConfigError(
            "train: give a function (selection, previous, round, folder), its name as "
            f"module:function, or 'small(epochs=1)', not {str(train)[:60]!r}"
        )
    cls = train if hasattr(train, "__qualname__") else type(train)
    return train, f"{cls.__module__}:{cls.__qualname__}"


def _imported(module: str, name: str) -> Trainer:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise ConfigError(f"train: the module {module} has no {name}") from None
    except (Exception, SystemExit) as error:
        line = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ConfigError(
            f"train: {module}:{name} cannot be imported ({line}); PYTHONPATH=FOLDER makes the "
            "modules of a folder known"
        ) from error
    if not callable(found):
        raise ConfigError(f"train: {module}:{name} is no function")
    trainer: Trainer = found
    return trainer


@dataclass(frozen=True)
class Round:
    """A finished round, as its record says.

    `documents`: the key of what it trained on. `checkpoint`: a folder, `digest`: of its content.
    """

    depends: dict[str, Any]
    list: str
    selection: str
    documents: str
    checkpoint: Path
    digest: str


def read_round(run: Path, number: int) -> Round | None:
    """Return a round's record; None for a round that is not finished.

    Raises RunError if it is damaged, or its checkpoint is gone or not what was trained.
    """
    folder = run / ROUNDS / str(number)
    path = folder / RECORD
    if not path.is_file():
        return None
    record = read_object(path)
    with damaged(path):
        place = Path(str(record["checkpoint"]))
        if ".." in place.parts:
            raise ValueError(f"{place} leads out of the folder")
        names = (str(record["list"]), str(record["selection"]), str(record["documents"]))
        found = Round(dict(record["depends"]), *names, folder / place, str(record["digest"]))
    if not found.checkpoint.is_dir() or content_of(found.checkpoint) != found.digest:
        what = "changed since" if found.checkpoint.is_dir() else "is gone"
        raise RunError(
            f"{found.checkpoint}: the checkpoint of round {number} {what}; put it back, or delete "
            f"{folder} and the rounds after it to train again"
        )
    return found


def write_round(run: Path, number: int, done: Round) -> None:
    """Write a round's record, which makes it finished."""
    folder = run / ROUNDS / str(number)
    place = done.checkpoint
    if place.is_relative_to(folder):
        place = place.relative_to(folder)
    record = {
        "depends": done.depends,
        "list": done.list,
        "selection": done.selection,
        "documents": done.documents,
        "checkpoint": str(place),
        "digest": done.digest,
    }
    write_json(folder / RECORD, record)


def trained(
    train: Trainer, name: str, selection: Any, previous: Path | None, number: int, folder: Path
) -> Path:
    """Train a round; return the folder of its checkpoint. Raises RunError for a failed trainer."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = train(selection, previous, number, folder)
    except (DataworthError, OSError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"round {number}: the trainer {name} failed ({said})") from error
    if not isinstance(found, str | Path) or not Path(found).is_dir():
        raise RunError(
            f"round {number}: the trainer {name} returned {str(found)[:80]!r}, which is no folder; "
            "a trainer returns the folder of the checkpoint that it wrote"
        )
    if not any(path.is_file() for path in Path(found).rglob("*")):
        raise RunError(f"round {number}: the trainer {name} left an empty folder, {found}")
    return Path(found).absolute()
