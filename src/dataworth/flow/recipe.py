"""Recipes: the options of a selection as a file; the record of a run is one too.

    pool: pool/*.jsonl.zst
    target: {math: targets/math.jsonl}
    steps: [{dsir: {ngrams: 3}}]
    budget: 100M
    out: runs/math

The names are those of `dataworth.select`, and `workers`. Relative paths start at the recipe's
folder, so that a recipe means the same wherever it is run from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dataworth.corpus.read.find import URL
from dataworth.engine.files import damaged, read_object
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError, DataworthError
from dataworth.flow.amounts import parse_share, parse_size
from dataworth.flow.loading import load_file
from dataworth.flow.mixtures import is_file, parse_mixture
from dataworth.flow.settings import ChoiceSettings
from dataworth.methods.places import placed, placed_options
from dataworth.methods.registry import parse_step
from dataworth.options import near
from dataworth.options.calls import SelectOptions
from dataworth.table.run import FILE

_OPTIONS = {field.name: field.metadata["kind"] for field in fields(SelectOptions)}
_KNOWN = sorted({*_OPTIONS, "workers"} - {"progress"})


@dataclass(frozen=True)
class Recipe:
    """`options`: keyword arguments of `dataworth.select`, or of `score` if it does not choose."""

    options: dict[str, Any]
    chooses: bool = True


def read_recipe(file: str | Path) -> Recipe:
    """Read a recipe from YAML or JSON, or from the record (`run.json`) of an earlier run.

    Raises ConfigError for an option that there is not, and for what cannot be read.
    """
    path = Path(file)
    if path.is_dir() and (path / FILE).is_file():
        path = path / FILE
    content = load_file(path, "recipe")
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: a recipe has a line for each option, such as 'pool: FOLDER'")
    if "configuration" in content:
        with damaged(path):
            return _from_record(content, path)
    return Recipe(_options(content, path))


def read_part(path: Path) -> dict[str, Any]:
    """Return the options in a YAML or JSON file that need not name a pool. Raises ConfigError."""
    content = load_file(path, "recipe")
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: a recipe has a line for each option, such as 'budget: 10%'")
    return _options(content, path, needs_pool=False)


@dataclass(frozen=True)
class Recorded:
    """A choice that was made before: its settings, and the list of steps that it is from."""

    settings: ChoiceSettings
    steps: str | None


def recorded_choice(folder: Path, name: str | None = None) -> Recorded:
    """Return a choice that a run's folder holds: its own one, or the one that is named.

    A name is that of a folder in `selections`, or the beginning of one. A run that was scored only
    has no own choice: then it is the last one that was made.
    """
    folders = sorted(
        (file.parent for file in (folder / "selections").glob("*/choice.json")),
        key=lambda place: place.stat().st_mtime,
    )
    if name is None:
        with damaged(folder / FILE):
            record = read_object(folder / FILE)
            own = record["configuration"].get("choose")
            name = record.get("selection")
            if name is None and own is not None:
                return Recorded(_choice(own), None)
    matching = [place for place in folders if place.name.startswith(name or "")]
    if not matching:
        problem = f"no choice {name!r}" if name else "chosen nothing yet"
        raise DataworthError(
            f"{folder}: has {problem}; choose first: dataworth choose {folder} --budget 10%"
        )
    with damaged(matching[-1] / "choice.json"):
        values = read_object(matching[-1] / "choice.json")
        return Recorded(_choice(values), str(values["list"]))


def _choice(values: Mapping[str, Any]) -> ChoiceSettings:
    values = {name: value for name, value in values.items() if name not in ("resolved", "list")}
    lists = {name: tuple(values[name]) for name in ("quotas", "exclude")}
    return ChoiceSettings(**{**values, **lists})


def _options(content: Mapping[Any, Any], path: Path, *, needs_pool: bool = True) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in _KNOWN:
            raise ConfigError(f"{path}: there is no option {str(key)!r}{near(name, _KNOWN)}")
        if value is None:
            continue
        try:
            options[name] = _value(name, value, path.absolute().parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: {name}: {error}") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"{path}: {name}: is of another kind than asked ({error})") from None
    if "workers" in options or "engine" in options:
        options["engine"] = Engine(options.pop("workers", 0), options.get("engine", "threads"))
    if needs_pool and "pool" not in options:
        raise ConfigError(f"{path}: the recipe names no pool: add a line 'pool: FOLDER'")
    return options


def _value(name: str, value: Any, folder: Path) -> Any:
    kind = _OPTIONS.get(name, "")
    if kind in ("path", "paths", "targets") or (kind == "mixture" and is_file(value)):
        return _anchored(value, folder)
    if kind == "mixture" and isinstance(value, str | Mapping):
        return _mixture(value, folder)
    if kind == "size":
        return parse_size(value)
    if kind == "share":
        return parse_share(value)
    if kind == "shares" and isinstance(value, Mapping):
        return {str(target): parse_share(share) for target, share in value.items()}
    if kind == "steps":
        if isinstance(value, Mapping):
            value = [{step: options} for step, options in value.items()]
        elif not isinstance(value, list):
            value = [value]
        return [_step(step, folder) for step in value]
    return value


def _mixture(value: Any, folder: Path) -> Any:
    """Return the mixture with paths from the recipe's folder; as it stands there if it has none."""
    try:
        parsed, found = parse_mixture(value), parse_mixture(value, folder)
    except ConfigError:
        return value  # told where it is used
    return value if found == parsed else found


def _step(step: Any, folder: Path) -> Any:
    """Return the step with paths from the recipe's folder; as it stands there if it has none."""
    if isinstance(step, Mapping):
        return {
            name: placed_options(name, options, folder) if isinstance(options, Mapping) else options
            for name, options in step.items()
        }
    parsed = parse_step(step)
    found = placed(parsed, folder)
    return step if found == parsed else found


def _anchored(value: Any, folder: Path) -> Any:
    """Anchor relative paths, wherever they are within the value, at the recipe's folder."""
    if isinstance(value, Mapping):
        return {str(key): _anchored(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_anchored(item, folder) for item in value]
    text = str(value)
    if URL.match(text):
        return text
    # A path and not text, so that a file that is missing cannot be taken for a document.
    return Path(os.path.normpath(folder / Path(text).expanduser()))


def _from_record(record: Mapping[str, Any], path: Path) -> Recipe:
    """Return the options that lead to a run's configuration, on the files that it read."""
    configuration = record["configuration"]
    inputs = record.get("inputs")
    if not inputs or "score" not in configuration:
        raise ConfigError(
            f"{path}: the run stopped before it had looked at its pool; run its command again"
        )
    files = {role: [_source(item["path"]) for item in items] for role, items in inputs.items()}
    targets = {
        role.removeprefix("target "): paths for role, paths in files.items() if role != "pool"
    }
    score = dict(configuration["score"])
    fields, target_fields = dict(score.pop("fields")), score.pop("target_fields")
    options = {
        **score,
        "pool": files["pool"],
        "target": targets or None,
        "text_field": fields.pop("text"),
        "target_text_field": target_fields["text"],
        "target_template": target_fields["template"] or "none",
        "id_field": fields.pop("id"),
        "group_by": fields.pop("groups"),
        **fields,
        "out": str(path.absolute().parent),
    }
    if "choose" not in configuration:
        return Recipe(options, chooses=False)
    write = dict(configuration["write"])
    options |= {"format": write.pop("form"), **write}
    return Recipe({**options, **configuration["choose"], "seed": score["seed"]})


def _source(path: str) -> str | Path:
    """Return a file of a record: as a path, it cannot be taken for a document's text."""
    return path if URL.match(path) else Path(path)
