"""Recipes that come with the package: options of `select` by name, without pool and target.

They lie in the folder `recipes` as YAML, each with what is alike and what is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from dataworth.errors import ConfigError
from dataworth.flow.recipe import read_part
from dataworth.methods.registry import parse_step

_FOLDER = Path(str(files("dataworth.flow"))) / "recipes"


def preset_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_preset(name: str | Path) -> dict[str, Any]:
    """Return the options of a recipe that comes with the package, or of a file.

    Raises ConfigError for a name that is neither.
    """
    path = _FOLDER / f"{name}.yaml"
    if str(name) in preset_names():
        return read_part(path)
    if not Path(name).is_file():
        raise ConfigError(
            f"there is no recipe {str(name)!r}: name a file, or one of {', '.join(preset_names())}"
        )
    return read_part(Path(name))


def with_options(steps: Any, options: Mapping[str, Any]) -> list[Any]:
    """Return steps with the options that each of them has, by name."""
    parsed = [parse_step(step) for step in steps]
    changed = []
    for step in parsed:
        own = {field.name for field in dataclasses.fields(step)}  # type: ignore[arg-type]
        fitting = {name: value for name, value in options.items() if name in own}
        changed.append(dataclasses.replace(step, **fitting))  # type: ignore[type-var]
    return changed
