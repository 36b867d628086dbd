"""Where the files lie that a step's options name: found from one folder, whatever comes later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

from dataworth.methods.base import Step

_PATHS = ("model", "models", "tokens", "file", "benchmarks")


def placed(step: Step, folder: Path) -> Step:
    """Return the step with whole paths for the models and tokenizers that lie in `folder`.

    A name of which nothing lies there stays: it may be that of a model of Hugging Face.
    """
    if not is_dataclass(step):
        return step
    named = [f.name for f in fields(cast(Any, step)) if f.metadata.get("content")]
    options = {name: getattr(step, name) for name in named}
    changed = {name: _whole(value, folder) for name, value in options.items()}
    return step if changed == options else cast(Step, replace(cast(Any, step), **changed))


def placed_options(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the options of a step with whole paths in the same way."""
    return {
        name: _whole(value, folder) if name in _PATHS else value for name, value in options.items()
    }


def _whole(value: Any, folder: Path) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_whole(item, folder) for item in value)
    if not isinstance(value, str) or not value:
        return value
    path = folder / Path(value).expanduser()
    is_path = path.is_dir() or (path.suffix != "" and path.is_file())
    return str(path.absolute()) if is_path else value
