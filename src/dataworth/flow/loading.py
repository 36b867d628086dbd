"""Recipes and plans out of YAML and JSON files, whoever wrote them: bounded in size and time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from dataworth.errors import ConfigError

MOST_BYTES = 16 * 2**20
_MOST_NODES = 200_000  # with all that aliases stand for
_DEEPEST = 50
_LONGEST_NUMBER = 64  # characters
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LARGEST = 2**63


def load_file(path: Path, what: str) -> Any:
    """Return the content of a YAML or JSON file; errors say that it should be a `what`.

    Raises ConfigError for a file that cannot be read, is too large or neither YAML nor JSON, for
    aliases that stand for too much or for themselves, and for numbers beyond 64 bits.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ConfigError(f"{path}: is larger than {MOST_BYTES >> 20} MB, so it is no {what}")
        content = _content(data.decode("utf-8"))
        _check_numbers(content)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a {what}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: is neither YAML nor JSON ({_place(error)})") from None
    return content


def _content(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)  # YAML takes 1e-08 for text, which JSON does not
        except ValueError as error:
            said = error
        try:
            return _yaml(text)
        except yaml.YAMLError:
            raise said from None
    return _yaml(text)


def _yaml(text: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, 0)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Return how many nodes this one stands for, aliases followed; ValueError for too many."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError(f"line {node.start_mark.line + 1}: it holds an alias of itself")
        return known[id(node)]
    if depth > _DEEPEST:
        raise ValueError(f"line {node.start_mark.line + 1}: it is nested too deeply")
    known[id(node)] = 0
    total = 1
    if isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise ValueError(f"line {node.start_mark.line + 1}: the number is too long")
    else:
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        total += sum(_count(part, known, depth + 1) for part in parts)
    if total > _MOST_NODES:
        raise ValueError(f"line {node.start_mark.line + 1}: its aliases stand for too much")
    known[id(node)] = total
    return total


def _check_numbers(value: Any, depth: int = 0) -> None:
    """Raise ValueError for a number beyond 64 bits, or what is nested too deeply."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise ValueError("a number in it is larger than 64 bits hold")
    parts = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    for part in parts:
        _check_numbers(part, depth + 1)


def _place(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    mark = getattr(error, "problem_mark", None)
    said = (str(getattr(error, "problem", None) or error).splitlines() or [type(error).__name__])[0]
    return f"line {mark.line + 1}: {said}" if mark is not None else said
