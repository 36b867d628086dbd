"""Where the files lie that a step's options name: found from one folder, whatever comes later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from dataworth.methods.base import Step

_PATHS = ("model", "models", "tokens")


def placed(step: Step, folder: Path) -> Step:
    """Return the step with whole paths for the models and tokenizers that lie in `folder`.

    A name of which nothing lies there stays: it may be that of a model of Hugging Face.
    """
    changes: dict[str, Any] = {}
    for name in _PATHS:
        value = getattr(step, name, None)
        if isinstance(value, str):
            changes[name] = _whole(value, folder)
        elif isinstance(value, tuple):
            changes[name] = tuple(_whole(item, folder) for item in value)
    if all(getattr(step, name) == value for name, value in changes.items()):
        return step
    return cast(Step, replace(cast(Any, step), **changes))


def _whole(name: str, folder: Path) -> str:
    path = folder / Path(name).expanduser()
    is_path = path.is_dir() or (path.suffix == ".json" and path.is_file())
    return str(path.absolute()) if name and is_path else name
