"""Every option of every step and mechanism: help, types and bounds, checked in every way alike."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from contract.cases import needed
from dataworth.config import describe, from_dict, parse_call, variants
from dataworth.errors import ConfigError
from dataworth.options import list_options
from dataworth.registry import MECHANISMS, STEPS
from judge_server import standing

EVERYTHING = [(registry, name) for registry in (STEPS, MECHANISMS) for name in registry]
PAGES = Path(__file__).parent.parent.parent / "docs" / "methods"
NEEDED = {"at": 0.0, "pairs": "file", "like": "file"}
RUN_ONLY = {
    *("device", "batch_tokens", "workers", "url", "key_variable", "timeout", "retries"),
    *("per_minute", "price_in", "price_out", "max_cost", "max_calls"),
}
CASES = [
    ("dsir", "ngrams", 0, "(1 or more)"),
    ("dsir", "smoothing", float("inf"), "(0 or more)"),
    ("dsir", "raw", "some", '"sample" or "all"'),
    ("dsir_discriminative", "strength", 0, "(above 0)"),
    ("classifier", "calibrate", 1.0, "(between 0 and 0.9)"),
    ("length", "minimum", -1, "(0 or more)"),
    ("bm25", "b", 1.5, "(between 0 and 1)"),
    ("embedding_similarity", "sample", 0, "(1 or more)"),
    ("influence", "damping", -0.1, "(0 or more)"),
    ("influence", "context", 1.5, "a whole number"),
    ("self_influence", "prefer", "both", '"low" or "high"'),
    ("tracin", "learning_rates", [1, 0], "a list of a number (above 0)"),
    ("trak", "dimension", -4, "(0 or more)"),
    ("metagradient", "batch", 0, "(1 or more)"),
    ("el2n", "dtype", "int8", '"float32" or'),
    ("grand", "windows", -1, "(0 or more)"),
    ("gumbel_top_k", "temperature", {"a": -1.0}, "(0 or more)"),
    ("per_target", "proportions", {"a": float("nan")}, "(0 or more)"),
    ("pareto", "alpha", 0, "(above 0)"),
    ("threshold", "at", float("nan"), "a number"),
]


def registry_of(name: str) -> Any:
    return STEPS if name in STEPS else MECHANISMS


@pytest.mark.parametrize(("name", "option", "value", "allowed"), CASES)
def test_three_ways_say_the_same(name: str, option: str, value: Any, allowed: str) -> None:
    registry = registry_of(name)
    cls = registry[name]
    known = {item.name for item in list_options(cls)}
    options = {key: given for key, given in NEEDED.items() if key in known} | {option: value}
    text = ", ".join(f"{key}={given!r}" for key, given in options.items())
    said = set()
    for build in (
        lambda: cls(**options),
        lambda: parse_call(f"{name}({text})", registry),
        lambda: from_dict({name: options}, registry),
    ):
        with pytest.raises(ConfigError) as raised:
            build()
        said.add(str(raised.value))
    assert len(said) == 1
    (line,) = said
    assert line.startswith(f"{name}: option {option} must be ") and allowed in line
    assert "\n" not in line


@pytest.mark.parametrize(("registry", "name"), EVERYTHING)
def test_every_option_has_its_help_and_a_default_that_fits(registry: Any, name: str) -> None:
    cls = registry[name]
    assert cls.name == name and dataclasses.is_dataclass(cls)
    for option in list_options(cls):
        assert option.help.endswith(".") and len(option.help) < 300, option.name
        assert not option.run_only or option.name in RUN_ONLY, option.name
    if registry is STEPS:
        assert cls.version == 1
    if registry is STEPS:
        made = from_dict(
            {name: needed(name) | (standing() if "judge" in _names(cls) else {})}, STEPS
        )
    else:
        made = cls(**{key: value for key, value in NEEDED.items() if key in _names(cls)})
    assert parse_call(describe(made, registry, full=True), registry) == made
    for variant in variants(cls).values():
        assert isinstance(variant(), cls)


def _names(cls: Any) -> set[str]:
    return {option.name for option in list_options(cls)}


@pytest.mark.parametrize("name", [name for name in STEPS if PAGES.joinpath(f"{name}.md").exists()])
def test_the_page_of_a_method_names_its_options(name: str) -> None:
    """Those that a family shares may stand on a page that it links to."""
    page = PAGES / f"{name}.md"
    text = page.read_text("utf-8")
    linked = [link for link in re.findall(r"\]\(([\w./]+\.md)", text) if "results" not in link]
    texts = [text, *(page.parent.joinpath(link).read_text("utf-8") for link in linked)]
    named = {word for one in texts for word in re.findall(r"`(\w+)(?:=[^`]*)?`", one)}
    assert not _names(STEPS[name]) - named
