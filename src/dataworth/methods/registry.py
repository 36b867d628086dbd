"""The steps by name. A new method is a file beside this one and a line here.

Classes are imported when they are first asked for, so that naming a step costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dataworth.config import describe, from_dict
from dataworth.engine.files import damaged
from dataworth.errors import ConfigError
from dataworth.methods.base import Checks, Fitted, Needs, Step

_WHERE = {
    "bm25": ("dataworth.methods.bm25", "BM25"),
    "dsir": ("dataworth.methods.dsir", "DSIR"),
    "dsir_discriminative": ("dataworth.methods.dsir_discriminative", "DiscriminativeDSIR"),
    "el2n": ("dataworth.methods.el2n", "EL2N"),
    "embedding_similarity": ("dataworth.methods.embedding_similarity", "EmbeddingSimilarity"),
    "exact_duplicates": ("dataworth.methods.exact_duplicates", "ExactDuplicates"),
    "grand": ("dataworth.methods.grand", "GraNd"),
    "influence": ("dataworth.methods.influence", "Influence"),
    "length": ("dataworth.methods.length", "Length"),
    "metagradient": ("dataworth.methods.metagradient", "Metagradient"),
    "minhash": ("dataworth.methods.minhash", "MinHash"),
    "self_influence": ("dataworth.methods.self_influence", "SelfInfluence"),
    "semdedup": ("dataworth.methods.semdedup", "SemDeDup"),
    "tracin": ("dataworth.methods.tracin", "TracIn"),
    "trak": ("dataworth.methods.trak", "TRAK"),
}

DEFAULT = ("dsir",)
"""The steps of `select` when none are named: what measures best on real data."""


class _Steps(Mapping[str, type[Any]]):
    """Name to class, imported on demand."""

    def __getitem__(self, name: str) -> type[Any]:
        module, cls = _WHERE[name]
        found: type[Any] = getattr(importlib.import_module(module), cls)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_WHERE)

    def __len__(self) -> int:
        return len(_WHERE)


STEPS: Mapping[str, type[Any]] = _Steps()


def parse_step(step: str | Mapping[str, Any] | Step) -> Step:
    """A step from its name and options, from a recipe's mapping, or as it is."""
    if isinstance(step, str | Mapping):
        parsed: Step = from_dict(step, STEPS)
        return parsed
    if not (hasattr(step, "name") and hasattr(step, "fit")):
        raise ConfigError(f"{step!r} is no step: write a name or {{name: {{option: value}}}}")
    return step


def with_filters(steps: Sequence[Step]) -> list[tuple[Step, bool]]:
    """The steps in order, each behind the filters it wants; True marks such a filter.

    A filter that is there already is not repeated.
    """
    out: list[tuple[Step, bool]] = []
    for step in steps:
        if isinstance(step, Needs):
            out.extend(
                (wanted, True)
                for wanted in step.filters
                if wanted not in [there for there, _ in out]
            )
        out.append((step, False))
    return out


def check_steps(steps: Sequence[Step]) -> None:
    """Raise a DataworthError unless all that the steps need is there: extras, packages, models."""
    for step, _ in with_filters(steps):
        if isinstance(step, Checks):
            step.check()


def load_fitted(step: Step, folder: Path) -> Fitted:
    """Return what a step learned, from its folder. RunError names the folder if it is damaged."""
    with damaged(folder):
        fitted: Fitted = type(step).load(step, folder)  # type: ignore[attr-defined]
        return fitted


def shown(step: Step) -> str:
    """A step as text that `parse_step` reads back, with the options that differ from defaults."""
    return describe(step, STEPS)
