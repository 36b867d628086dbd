"""Resolution of the model and data files that a step's options name, from one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

from dataworth.config import class_of
from dataworth.methods.base import Step
from dataworth.registry import STEPS


def placed(step: Step, folder: Path, expand: Callable[[str], str] = str) -> Step:
    """Return the step with whole paths for the models and data files that lie in `folder`.

    A name of which nothing lies there stays: it may be that of a model of Hugging Face. `expand`
    is put on each name first.
    """
    changed = {}
    for name in _content_options(type(step)):
        value = getattr(step, name)
        whole = _whole(value, folder, expand)
        if whole != value:
            changed[name] = whole
    return cast(Step, replace(cast(Any, step), **changed)) if changed else step


def placed_options(step: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the options of a step, named as in a recipe, with whole paths in the same way."""
    content = _content_options(class_of(step, STEPS))
    return {
        name: _whole(value, folder) if name in content else value for name, value in options.items()
    }


def _content_options(step: Any) -> list[str]:
    """Return the names of the options that are models or data files."""
    if not is_dataclass(step):
        return []
    return [field.name for field in fields(step) if field.metadata.get("content")]


def _whole(value: Any, folder: Path, expand: Callable[[str], str] = str) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_whole(item, folder, expand) for item in value)
    if not isinstance(value, str) or not value:
        return value
    value = expand(value)
    path = folder / Path(value).expanduser()
    is_path = path.is_dir() or (path.suffix != "" and path.is_file())
    return str(path.absolute()) if is_path else value
